//! Roles that a token may open.

use std::ffi::CStr;

use jwt_verify::Excerpt;
use pgrx::pg_sys;

use crate::oauth::errors;
use crate::pg::report::Report;
use crate::pg::role_rights::{self, Right};
use crate::settings;

/// Checks the role that the client asks for, and returns its oid. Whether it has LOGIN, and may connect to the database,
/// Postgres checks.
///
/// This comes after the token was verified, so that nobody learns from the time that a refusal takes which roles there
/// are.
///
/// # Errors
///
/// If it does not exist; or if policies do not bind it, it may read everything by replication or from files, or it may
/// become such a role, unless `pg_auth_jwt.login_superuser` allows that.
pub fn admit(role: &CStr) -> Result<pg_sys::Oid, Report> {
    let role = role_rights::named(role).ok_or_else(errors::role_missing)?;
    if settings::login_superuser() {
        return Ok(role);
    }
    let Some(holder) = role_rights::holder(role) else {
        return Ok(role);
    };
    let right = match holder.right {
        Right::Superuser => "is a superuser",
        Right::Replication => "has REPLICATION",
        Right::BypassesPolicies => "has BYPASSRLS",
        Right::Server => "reaches files or programs of the server",
        Right::WritesEverywhere => "may write to all tables, those of keys too",
    };
    Err(errors::role_too_mighty(&match holder.through {
        Some(other) => format!(
            "is a member of role {}, which {right}",
            Excerpt::new(&other)
        ),
        None => right.to_owned(),
    }))
}
