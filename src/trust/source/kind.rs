//! Kinds of source in the column `source` of `auth.issuers`, which `auth.source_is_known` of
//! sql/admission.sql lists too.

use serde_json::{Map, Value};

/// SQL for "the source of issuer `i` is an endpoint". The table's constraint refuses each source of
/// these kinds that `Endpoint::from_json` does not read.
pub const IS_ENDPOINT: &str = "(i.source OPERATOR(pg_catalog.->>) 'kind') \
     OPERATOR(pg_catalog.=) ANY ('{url,discovery}'::pg_catalog.text[])";

/// The member `kind` of the column's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The URL of the keys.
    Url,
    /// The URL of an OpenID discovery document, which names that of the keys.
    Discovery,
    /// A table of this database.
    Table,
}

const KIND: &str = "kind";

impl Kind {
    const ALL: [Self; 3] = [Self::Url, Self::Discovery, Self::Table];

    fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Discovery => "discovery",
            Self::Table => "table",
        }
    }

    /// The members of the column's object.
    pub fn members(json: &str) -> Option<Map<String, Value>> {
        match serde_json::from_str(json).ok()? {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Takes the kind out of the members.
    pub fn take(members: &mut Map<String, Value>) -> Option<Self> {
        let name = members.remove(KIND)?;
        Self::ALL.into_iter().find(|kind| name == kind.name())
    }

    /// The column's JSON, of this kind and with these members.
    pub fn with<'n>(self, members: impl IntoIterator<Item = (&'n str, Value)>) -> String {
        let mut object = Map::new();
        object.insert(KIND.to_owned(), Value::from(self.name()));
        let members = members.into_iter();
        object.extend(members.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(object).to_string()
    }
}
