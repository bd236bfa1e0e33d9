//! An issuer's table of sessions, as `auth.issuers.sessions` names it.

use jwt_verify::UnixTime;
use pgrx::pg_sys;
use serde_json::{Map, Value};

use crate::pg::row::{INSTANT_TYPES, NAME_TYPES};
use crate::trust::claim_path::ClaimPath;
use crate::trust::schema::SCHEMA;
use crate::trust::source::table::{self, Choice, Member, Presence, Source};

pub const ID: usize = 0;
/// The columns of which each ends the session.
pub const ENDS: [usize; 3] = [1, 2, 3];

/// [`ID`] and [`ENDS`] are indexes into it.
pub const MEMBERS: [Member; 4] = [
    Member {
        name: "id",
        defaults: &["id"],
        types: &NAME_TYPES,
        types_in_words: "text, varchar, uuid, smallint, integer or bigint",
        presence: Presence::Required,
    },
    end("expires_at", &["expiresAt", "expires_at"]),
    end("not_after", &["notAfter", "not_after"]),
    end("revoked_at", &["revokedAt", "revoked_at"]),
];

const fn end(name: &'static str, defaults: &'static [&'static str]) -> Member {
    const TYPES: &[pg_sys::Oid] = &INSTANT_TYPES;
    Member {
        name,
        defaults,
        types: TYPES,
        types_in_words: "timestamp with or without time zone",
        presence: Presence::Optional,
    }
}

/// Microseconds since 1970.
const FOLLOWED_AT: &str = "followed_at";

/// A choice for each of [`MEMBERS`].
pub type Choices = [Choice; MEMBERS.len()];

/// The column `sessions` of a row of `auth.issuers`, as `auth.follow_sessions` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSource {
    /// The table and its owner.
    pub table: Source,
    /// The claim that names the session.
    pub claim: ClaimPath,
    pub columns: Choices,
    /// Time since when it is followed.
    pub followed_at: Option<UnixTime>,
}

impl SessionSource {
    /// From the column's JSON; `None` if it is not what [`to_json`](Self::to_json) writes.
    pub fn from_json(json: &str) -> Option<Self> {
        let Value::Object(mut members) = serde_json::from_str(json).ok()? else {
            return None;
        };
        let mut text = |name: &str| match members.remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        let (schema, table, owner) = (text("schema")?, text("table")?, text("owner")?);
        let owner_id = text("owner_id");
        let Value::Array(claim) = members.remove("claim")? else {
            return None;
        };
        let claim = claim.into_iter().map(|name| match name {
            Value::String(name) => Some(name),
            _ => None,
        });
        let claim = ClaimPath::of(claim.collect::<Option<Vec<_>>>()?)?;
        let columns = table::choices(members.remove("columns")?.as_object()?, &MEMBERS).ok()?;
        let followed_at = match members.remove(FOLLOWED_AT) {
            None => None,
            Some(micros) => Some(UnixTime::from_micros(micros.as_i64()?)),
        };
        members.is_empty().then_some(Self {
            table: Source::of_name(schema, table, owner, owner_id),
            claim,
            columns,
            followed_at,
        })
    }

    /// The column's JSON.
    pub fn to_json(&self) -> String {
        let mut members = Map::new();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        let table = &self.table;
        add("schema", Value::from(table.schema.as_str()));
        add("table", Value::from(table.table.as_str()));
        add("owner", Value::from(table.owner.as_str()));
        if let Some(id) = &table.owner_id {
            add("owner_id", Value::from(id.as_str()));
        }
        add("claim", Value::from(self.claim.parts()));
        add(
            "columns",
            Value::from(table::columns_json(&MEMBERS, &self.columns)),
        );
        if let Some(at) = self.followed_at {
            add(FOLLOWED_AT, Value::from(at.as_micros()));
        }
        Value::from(members).to_string()
    }

    /// The call of `auth.follow_sessions` that follows the table in the same way.
    pub fn follow_statement(&self, issuer: &str) -> String {
        let literal = |text: &str| pgrx::spi::quote_literal(text);
        let mut arguments = vec![
            literal(&self.table.qualified_name()),
            format!("issuer => {}", literal(issuer)),
            format!("claim => {}", literal(&self.claim.to_string())),
        ];
        let columns = table::columns_json(&MEMBERS, &self.columns);
        if !columns.is_empty() {
            let columns = Value::from(columns).to_string();
            arguments.push(format!("columns => {}", literal(&columns)));
        }
        format!("SELECT {SCHEMA}.follow_sessions({});", arguments.join(", "))
    }
}

/// The sessions that an issuer's row follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// `None` if the column cannot be parsed: then no token counts.
    pub source: Option<SessionSource>,
}

impl Sessions {
    /// From the column's JSON.
    pub fn of(json: &str) -> Self {
        Self {
            source: SessionSource::from_json(json),
        }
    }
}
