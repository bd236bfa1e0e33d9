//! Errors about settings.

use jwt_verify::Excerpt;

use crate::pg::report::{Report, SqlState};

/// The first use of the library during an operation in which Postgres would forget its settings.
pub fn loaded_too_late() -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cannot load pg_auth_jwt during a parallel operation",
    )
    .detail("The settings pg_auth_jwt.* of this session would be lost.")
    .hint("Load it from the connection's start, with session_preload_libraries = 'pg_auth_jwt'.")
}

/// A connection option that the client may not set; in Postgres's words.
pub fn setting_denied(name: &str) -> Report {
    Report::new(
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied to set parameter \"{name}\""),
    )
}

/// A setting whose value cannot be read; `place` names its source, and `remedy` the correction.
pub fn setting_unreadable(
    name: &str,
    value: &str,
    available: &str,
    place: &str,
    remedy: &str,
) -> Report {
    let value = Excerpt::new(value);
    Report::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{name}\": {value}"),
    )
    .detail(format!("The value {value} of {name} {place}. {available}"))
    .hint(remedy.to_owned())
}

/// A name with our prefix that is not one of our settings. Its value is not shown: it may be a
/// token.
pub fn setting_unknown(name: &str, place: &str, remedy: &str) -> Report {
    let name = Excerpt::new(name);
    Report::new(
        SqlState::INVALID_NAME,
        format!("invalid configuration parameter name {name}"),
    )
    .detail(format!(
        "The setting {} {place}, and pg_auth_jwt has no setting of this name.",
        name.as_str()
    ))
    .hint(remedy.to_owned())
}
