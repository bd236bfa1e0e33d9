//! Faults of a followed table, in words and as errors.

use jwt_verify::Excerpt;

use crate::errors::sentence;
use crate::pg::report::{Report, SqlState};
use crate::trust::problem::{Finding, Problem};
use crate::trust::source::table::Source;

/// Fault of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The column `source` holds something that `auth.follow` does not write.
    Unreadable,
    NoTable,
    NotATable,
    /// In the extension's own schema: `auth.jwks` has the keys of all issuers.
    OwnTable,
    NotPermanent,
    HasChildren,
    HasParent,
    NoColumn(String),
    AmbiguousColumn(Vec<String>),
    ColumnType {
        column: String,
        wanted: &'static str,
    },
    GeneratedColumn(String),
    OtherOwner(String),
    PublicMayWrite,
    /// Policies hide rows from the role, and rows are read here without policies.
    RowSecurity(String),
    SchemaNotUsable(String),
    NotReadable {
        role: String,
        column: String,
    },
}

impl Fault {
    /// The kind of problem.
    fn problem(&self) -> Problem {
        match self {
            Self::Unreadable => Problem::SourceUnreadable,
            Self::NoTable => Problem::TableMissing,
            Self::NotATable => Problem::NotATable,
            Self::OwnTable => Problem::OwnTable,
            Self::NotPermanent => Problem::NotPermanent,
            Self::HasChildren => Problem::HasChildren,
            Self::HasParent => Problem::HasParent,
            Self::NoColumn(_) => Problem::ColumnMissing,
            Self::AmbiguousColumn(_) => Problem::ColumnAmbiguous,
            Self::ColumnType { .. } => Problem::ColumnType,
            Self::GeneratedColumn(_) => Problem::ColumnGenerated,
            Self::OtherOwner(_) => Problem::OtherOwner,
            Self::PublicMayWrite => Problem::PublicMayWrite,
            Self::RowSecurity(_) => Problem::RowSecurity,
            Self::SchemaNotUsable(_) => Problem::SchemaNotUsable,
            Self::NotReadable { .. } => Problem::TableNotReadable,
        }
    }

    /// The problem with an issuer's source, for `auth.key_status`.
    pub fn finding(&self, issuer: &str, source: Option<&Source>) -> Finding {
        Finding {
            problem: self.problem(),
            detail: self.detail(source),
            fix: source.map(|source| self.fix(issuer, source)),
        }
    }

    /// The statement that corrects it; for what only the table's owner can decide, the one that
    /// follows the table again.
    fn fix(&self, issuer: &str, source: &Source) -> String {
        let table = source.qualified_name();
        let quoted = pgrx::spi::quote_identifier::<&str>;
        match self {
            Self::PublicMayWrite => {
                format!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON {table} FROM PUBLIC;")
            }
            Self::SchemaNotUsable(role) => {
                let (schema, role) = (quoted(&source.schema), quoted(role));
                format!("GRANT USAGE ON SCHEMA {schema} TO {role};")
            }
            Self::NotReadable { role, column } => {
                let (column, role) = (quoted(column), quoted(role));
                format!("GRANT SELECT ({column}) ON {table} TO {role};")
            }
            Self::NoTable => format!(
                "{} -- once the table is there",
                source.follow_statement(issuer)
            ),
            Self::OtherOwner(_) => format!(
                "{} -- if that role may write the issuer's keys",
                source.follow_statement(issuer)
            ),
            Self::NoColumn(_)
            | Self::AmbiguousColumn(_)
            | Self::ColumnType { .. }
            | Self::GeneratedColumn(_) => format!(
                "{} -- with the columns that the table has now",
                source.follow_statement(issuer)
            ),
            Self::Unreadable
            | Self::NotATable
            | Self::OwnTable
            | Self::NotPermanent
            | Self::HasChildren
            | Self::HasParent
            | Self::RowSecurity(_) => format!(
                "{} -- once the table is one that can be followed",
                source.follow_statement(issuer)
            ),
        }
    }

    /// The problem, as a sentence about the source where there is one.
    pub fn detail(&self, source: Option<&Source>) -> String {
        self.detail_by("auth.follow()", source)
    }

    /// The same for a table that this function follows.
    pub fn detail_by(&self, function: &str, source: Option<&Source>) -> String {
        let name = source.map_or_else(
            || "the table".to_owned(),
            |source| format!("table {}", source.qualified_name()),
        );
        sentence(&match self {
            Self::Unreadable => {
                "column \"source\" of auth.issuers does not hold what auth.follow() writes"
                    .to_owned()
            }
            Self::NoTable => format!("{name} does not exist"),
            Self::NotATable => format!("{name} is not an ordinary table"),
            Self::OwnTable => format!("{name} belongs to the extension"),
            Self::NotPermanent => format!("{name} is temporary or unlogged"),
            Self::HasChildren => format!("{name} has tables that inherit from it"),
            Self::HasParent => {
                format!("{name} is written by way of a parent: it is a partition, or inherits")
            }
            Self::NoColumn(column) => format!("{name} has no column \"{column}\""),
            Self::AmbiguousColumn(names) => {
                format!("{name} has both columns \"{}\"", names.join("\" and \""))
            }
            Self::ColumnType { column, wanted } => {
                format!("column \"{column}\" of {name} is not of type {wanted}")
            }
            Self::GeneratedColumn(column) => {
                format!("column \"{column}\" of {name} is a generated column")
            }
            Self::OtherOwner(owner) => {
                let pinned = source.map_or("", |source| &source.owner);
                let which = if owner == pinned {
                    "another role of that name, which was renamed or dropped".to_owned()
                } else {
                    format!("role \"{pinned}\"")
                };
                format!(
                    "{name} belongs to role \"{owner}\", and was followed as that of {which}; if that is \
                     meant, run {function} once more"
                )
            }
            Self::PublicMayWrite => format!("PUBLIC may write to {name}"),
            Self::RowSecurity(role) => {
                format!("row security of {name} applies to role \"{role}\"")
            }
            Self::SchemaNotUsable(role) => {
                format!("role \"{role}\" has no right USAGE on the schema of {name}")
            }
            Self::NotReadable { role, column } => {
                format!("role \"{role}\" may not read column \"{column}\" of {name}")
            }
        })
    }

    /// The error that `auth.follow` raises.
    pub fn report(&self, name: &str) -> Report {
        let (sqlstate, hint) = match self {
            Self::Unreadable => (b"55000", None),
            Self::NoTable => (b"42P01", None),
            Self::NotATable
            | Self::OwnTable
            | Self::NotPermanent
            | Self::HasChildren
            | Self::HasParent
            | Self::GeneratedColumn(_) => (
                b"0A000",
                Some("Follow the ordinary table that the issuer writes its keys to."),
            ),
            Self::NoColumn(_) | Self::AmbiguousColumn(_) => (
                if matches!(self, Self::NoColumn(_)) {
                    b"42703"
                } else {
                    b"42702"
                },
                Some(
                    "Name the columns: columns => '{\"kid\": \"...\", \"public_key\": \"...\", \
                     \"expires_at\": null}'; null is for what the table does not have.",
                ),
            ),
            Self::ColumnType { .. } => (
                b"42804",
                Some("Name another column with the argument columns, or null for none."),
            ),
            Self::OtherOwner(_) | Self::RowSecurity(_) => (b"42501", None),
            Self::PublicMayWrite => (
                b"42501",
                Some(
                    "Who can write there can be any user of the issuer. Run: REVOKE INSERT, UPDATE, \
                     DELETE, TRUNCATE, TRIGGER ON the table FROM PUBLIC.",
                ),
            ),
            Self::SchemaNotUsable(_) | Self::NotReadable { .. } => (
                b"42501",
                Some(
                    "Both the caller and the owner of the extension need USAGE on the schema and SELECT \
                     on the mapped columns. The private key's column needs no right.",
                ),
            ),
        };
        Report::new(
            SqlState(sqlstate),
            format!("cannot follow {}", Excerpt::new(name)),
        )
        .detail(self.detail(None))
        .hint_if(hint)
    }
}
