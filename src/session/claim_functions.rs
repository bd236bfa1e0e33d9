//! The SQL functions that policies read: `auth.user_id()` and the others.
//!
//! Each returns NULL without a token and raises for a token that is not good, so that a bad or
//! expired token never counts as an anonymous user.

use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::session;
use crate::session::identity::{DatumImage, Identity, copy_to_datum};

fn read(arguments: &Arguments, choose: impl FnOnce(&Identity) -> Option<&DatumImage>) -> SqlResult {
    let answer = session::with_identity(arguments.memory_context(), |identity| {
        identity.and_then(choose).map(DatumImage::bytes)
    })?;
    // SAFETY: nothing that palloc calls can end the session's identity before the copy is made.
    Ok(answer.map(|bytes| unsafe { copy_to_datum(bytes) }))
}

/// Declares the claim functions, and `SYMBOLS`: their names in the library, by which
/// [`crate::once`] recognises calls of them.
macro_rules! claim_functions {
    ($($(#[$meta:meta])* $name:ident => $choose:expr;)*) => {
        pub const SYMBOLS: &[&str] = &[$(stringify!($name)),*];
        $(sql_function!($(#[$meta])* $name, |arguments| read(&arguments, $choose));)*
    };
}

claim_functions! {
    /// `auth.session()`, `auth.jwt()`: all claims, a `jsonb`.
    pg_auth_jwt_session => Identity::claims;
    /// `auth.user_id()`: `sub`, a `text`.
    pg_auth_jwt_user_id => Identity::user_id;
    /// `auth.uid()`: `sub`, a `uuid`.
    pg_auth_jwt_uid => Identity::uid;
    /// `auth.role()`: `role`, a `text`.
    pg_auth_jwt_role => Identity::role;
    /// `auth.email()`: `email`, a `text`.
    pg_auth_jwt_email => Identity::email;
    /// `auth.organization()`: `o`, a `jsonb`.
    pg_auth_jwt_organization => Identity::organization;
    /// `auth.organization_id()`: `id` of `o`, a `uuid`.
    pg_auth_jwt_organization_id => Identity::organization_id;
}
