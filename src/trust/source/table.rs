//! A followed table, as `auth.issuers.source` names it, and the purposes of its columns.

use std::time::Duration;

use pgrx::pg_sys;
use serde_json::{Map, Value};

use crate::pg::row::{INSTANT_TYPES, JSON_TYPES, NAME_TYPES};
use crate::trust::schema::SCHEMA;
use crate::trust::source::kind::Kind;

/// The argument `grace` of `auth.follow` where none is given, as sql/follow.sql has it: that of
/// Better Auth.
const DEFAULT_GRACE: Duration = Duration::from_secs(30 * 86_400);

/// The purpose of a column of a followed table.
pub struct Member {
    /// Its name in the argument `columns` of `auth.follow`.
    pub name: &'static str,
    /// The names of the column in Better Auth and similar software; the table may have at most one
    /// of them.
    pub defaults: &'static [&'static str],
    pub types: &'static [pg_sys::Oid],
    /// The types in words.
    pub types_in_words: &'static str,
    pub presence: Presence,
}

/// Whether a table must have a column.
#[derive(PartialEq)]
pub enum Presence {
    /// Without it there is no key.
    Required,
    /// It may be absent. Once it is mapped it makes the rules stricter, so it must not disappear.
    Optional,
    /// It is shown and has no effect.
    Informative,
}

pub const KID: usize = 0;
pub const PUBLIC_KEY: usize = 1;
pub const EXPIRES_AT: usize = 2;
pub const ALG: usize = 3;
pub const REVOKED_AT: usize = 4;
pub const CREATED_AT: usize = 5;

/// The constants above are indexes into it.
pub const MEMBERS: [Member; 6] = [
    Member {
        name: "kid",
        defaults: &["id", "kid"],
        types: &NAME_TYPES,
        types_in_words: "text, varchar, uuid, smallint, integer or bigint",
        presence: Presence::Required,
    },
    Member {
        name: "public_key",
        defaults: &["publicKey", "public_key"],
        types: &JSON_TYPES,
        types_in_words: "text, varchar, json or jsonb",
        presence: Presence::Required,
    },
    Member {
        name: "expires_at",
        defaults: &["expiresAt", "expires_at"],
        types: &INSTANT_TYPES,
        types_in_words: "timestamp with or without time zone",
        presence: Presence::Optional,
    },
    Member {
        name: "alg",
        defaults: &["alg"],
        types: &[pg_sys::TEXTOID, pg_sys::VARCHAROID],
        types_in_words: "text or varchar",
        presence: Presence::Optional,
    },
    Member {
        name: "revoked_at",
        defaults: &["revokedAt", "revoked_at"],
        types: &INSTANT_TYPES,
        types_in_words: "timestamp with or without time zone",
        presence: Presence::Optional,
    },
    Member {
        name: "created_at",
        defaults: &["createdAt", "created_at"],
        types: &INSTANT_TYPES,
        types_in_words: "timestamp with or without time zone",
        presence: Presence::Informative,
    },
];

impl Member {
    /// Whether the column must stay, once it is mapped.
    pub fn is_pinned(&self) -> bool {
        self.presence != Presence::Informative
    }
}

/// The column for a [`Member`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one that has a default name, if there is one.
    ByDefault,
    /// None, even if a column has a default name.
    NotUsed,
    /// This one, which must be there.
    Named(String),
}

/// A choice for each of [`MEMBERS`].
pub type Choices = [Choice; MEMBERS.len()];

/// The column of each of [`MEMBERS`], if it has one.
pub type Mapped = [Option<String>; MEMBERS.len()];

/// The column `source` of a row of `auth.issuers`, as `auth.follow` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub schema: String,
    pub table: String,
    /// The role that owned the table when it was followed.
    pub owner: String,
    /// Distinguishes that role from others of the name, see [`role_id`].
    pub owner_id: Option<String>,
    /// Time for which a key counts after it has expired; whole seconds.
    pub grace: Duration,
    pub columns: Choices,
}

impl Source {
    /// A table of this name, of which no column is read as a key.
    pub fn of_name(schema: String, table: String, owner: String, owner_id: Option<String>) -> Self {
        Self {
            schema,
            table,
            owner,
            owner_id,
            grace: Duration::ZERO,
            columns: std::array::from_fn(|_| Choice::NotUsed),
        }
    }

    /// From the column's JSON; `None` if it is not what [`to_json`](Self::to_json) writes.
    pub fn from_json(json: &str) -> Option<Self> {
        let mut members = Kind::members(json)?;
        if Kind::take(&mut members)? != Kind::Table {
            return None;
        }
        let mut text = |name: &str| match members.remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        let (schema, table, owner) = (text("schema")?, text("table")?, text("owner")?);
        let owner_id = text("owner_id");
        let grace = Duration::from_secs(members.remove("grace")?.as_u64()?);
        let columns = choices(members.remove("columns")?.as_object()?, &MEMBERS).ok()?;
        members.is_empty().then_some(Self {
            schema,
            table,
            owner,
            owner_id,
            grace,
            columns,
        })
    }

    /// The column's JSON.
    pub fn to_json(&self) -> String {
        let text = |text: &String| Value::from(text.as_str());
        let owner_id = self.owner_id.as_ref().map(|id| ("owner_id", text(id)));
        let members = [
            ("schema", text(&self.schema)),
            ("table", text(&self.table)),
            ("owner", text(&self.owner)),
            ("grace", Value::from(self.grace.as_secs())),
            (
                "columns",
                Value::from(columns_json(&MEMBERS, &self.columns)),
            ),
        ];
        Kind::Table.with(members.into_iter().chain(owner_id))
    }

    /// The call of `auth.follow` that follows the table in the same way. The audience stays as it
    /// is stored.
    pub fn follow_statement(&self, issuer: &str) -> String {
        let literal = |text: &str| pgrx::spi::quote_literal(text);
        let mut arguments = vec![
            literal(&self.qualified_name()),
            format!("issuer => {}", literal(issuer)),
        ];
        if self.grace != DEFAULT_GRACE {
            arguments.push(format!("grace => '{} s'", self.grace.as_secs()));
        }
        let is_default = |(member, choice): (&Member, &Choice)| match choice {
            Choice::ByDefault => true,
            Choice::NotUsed => false,
            Choice::Named(column) => member.defaults.contains(&column.as_str()),
        };
        if !MEMBERS.iter().zip(&self.columns).all(is_default) {
            let columns = Value::from(columns_json(&MEMBERS, &self.columns)).to_string();
            arguments.push(format!("columns => {}", literal(&columns)));
        }
        format!("SELECT {SCHEMA}.follow({});", arguments.join(", "))
    }

    /// The table's schema and name.
    pub fn table_name(&self) -> (&str, &str) {
        (&self.schema, &self.table)
    }

    /// The table's name, qualified and quoted as SQL wants it.
    pub fn qualified_name(&self) -> String {
        [&self.schema, &self.table]
            .map(pgrx::spi::quote_identifier)
            .join(".")
    }
}

/// The object `columns`, as it is stored.
pub fn columns_json(members: &[Member], choices: &[Choice]) -> Map<String, Value> {
    let mut columns = Map::new();
    for (member, choice) in members.iter().zip(choices) {
        match choice {
            Choice::ByDefault => continue,
            Choice::NotUsed => columns.insert(member.name.to_owned(), Value::Null),
            Choice::Named(column) => {
                columns.insert(member.name.to_owned(), Value::from(column.as_str()))
            }
        };
    }
    columns
}

/// The object `columns` that `auth.follow` and `auth.follow_sessions` take and store.
///
/// # Errors
///
/// The name of the first member that is unknown, or neither a string nor null.
pub fn choices<const N: usize>(
    given: &Map<String, Value>,
    members: &[Member; N],
) -> Result<[Choice; N], String> {
    let mut choices = std::array::from_fn(|_| Choice::ByDefault);
    for (name, value) in given {
        let place = members.iter().position(|member| member.name == name);
        let choice = match value {
            Value::String(column) => Choice::Named(column.clone()),
            Value::Null => Choice::NotUsed,
            _ => return Err(name.clone()),
        };
        match place.and_then(|place| choices.get_mut(place)) {
            Some(place) => *place = choice,
            None => return Err(name.clone()),
        }
    }
    Ok(choices)
}
