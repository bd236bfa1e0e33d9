//! The SQL functions that policies read: `auth.user_id()` and its kin.
//!
//! Each gives NULL without a token and raises for one that is not good, so that a bad or expired
//! token is never taken for an anonymous user.

use crate::ffi::{Arguments, SqlResult, sql_function};
use crate::identity::{Identity, Image, copy_to_datum};
use crate::session;

/// The readers' names in the library, by which the planner knows a call of one.
pub const SYMBOLS: [&str; 7] = [
    "pg_auth_jwt_session",
    "pg_auth_jwt_user_id",
    "pg_auth_jwt_uid",
    "pg_auth_jwt_role",
    "pg_auth_jwt_email",
    "pg_auth_jwt_organization",
    "pg_auth_jwt_organization_id",
];

fn read(arguments: &Arguments, choose: impl FnOnce(&Identity) -> Option<&Image>) -> SqlResult {
    let answer = session::with_identity(arguments.memory_context(), |identity| {
        identity.and_then(choose).map(Image::bytes)
    })?;
    // SAFETY: nothing that palloc calls can end the session's identity before the copy is made.
    Ok(answer.map(|bytes| unsafe { copy_to_datum(bytes) }))
}

sql_function!(
    /// `auth.session()`, `auth.jwt()`: all claims, a `jsonb`.
    pg_auth_jwt_session,
    pg_finfo_pg_auth_jwt_session,
    |arguments| read(&arguments, |identity| Some(identity.claims()))
);

sql_function!(
    /// `auth.user_id()`: `sub`, a `text`.
    pg_auth_jwt_user_id,
    pg_finfo_pg_auth_jwt_user_id,
    |arguments| read(&arguments, Identity::user_id)
);

sql_function!(
    /// `auth.uid()`: `sub`, a `uuid`.
    pg_auth_jwt_uid,
    pg_finfo_pg_auth_jwt_uid,
    |arguments| read(&arguments, Identity::uid)
);

sql_function!(
    /// `auth.role()`: `role`, a `text`.
    pg_auth_jwt_role,
    pg_finfo_pg_auth_jwt_role,
    |arguments| read(&arguments, Identity::role)
);

sql_function!(
    /// `auth.email()`: `email`, a `text`.
    pg_auth_jwt_email,
    pg_finfo_pg_auth_jwt_email,
    |arguments| read(&arguments, Identity::email)
);

sql_function!(
    /// `auth.organization()`: `o`, a `jsonb`.
    pg_auth_jwt_organization,
    pg_finfo_pg_auth_jwt_organization,
    |arguments| read(&arguments, Identity::organization)
);

sql_function!(
    /// `auth.organization_id()`: `id` of `o`, a `uuid`.
    pg_auth_jwt_organization_id,
    pg_finfo_pg_auth_jwt_organization_id,
    |arguments| read(&arguments, Identity::organization_id)
);
