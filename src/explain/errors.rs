//! Errors of `auth.explain_access`.

use jwt_verify::Excerpt;

use crate::errors::{invalid, sentence};
use crate::pg::report::{Report, SqlState};

/// A missing role, in Postgres's words.
pub fn no_such_role(name: &str) -> Report {
    Report::new(
        SqlState::UNDEFINED_OBJECT,
        format!("role \"{name}\" does not exist"),
    )
}

/// `auth.explain_access` of a relation that cannot have policies.
pub fn not_a_table(name: &str) -> Report {
    Report::new(
        SqlState::WRONG_OBJECT_TYPE,
        format!("{name} is not a table"),
    )
    .detail("Only tables have policies.")
    .hint(
        "Ask about the tables that a view reads; auth.lint() lists the views that get around \
         their policies.",
    )
}

/// `auth.explain_access` of another command.
pub fn unknown_command(command: &str) -> Report {
    invalid(
        format!("command {} is not known", Excerpt::new(command)),
        None,
        Some("Available values: SELECT, INSERT, UPDATE, DELETE."),
    )
}

/// A query of the catalogs with an outcome that they cannot have.
pub fn catalogs(error: pgrx::spi::SpiError) -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "could not read the catalogs",
    )
    .detail(sentence(&error.to_string()))
}
