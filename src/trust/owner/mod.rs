//! Functions that the extension's owner calls: `auth.init`, `auth.follow`, `auth.follow_url`,
//! `auth.unfollow`, `auth.revoke`, `auth.unrevoke`, and the rows of `auth.key_status`.

mod errors;
mod follow;
mod follow_sessions;
mod follow_url;
mod init;
mod revoke;
mod status;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

use crate::pg::function::Arguments;
use crate::trust::store::issuer::StoredIssuer;

/// The argument `audience`, which is the third of each function that adds an issuer.
fn audience(arguments: &Arguments) -> DatumWithOid<'static> {
    match arguments.datum(2) {
        // SAFETY: the argument is declared text[], and stays in place until the call is over.
        Some(datum) => unsafe { DatumWithOid::new(datum, pg_sys::TEXTARRAYOID) },
        None => DatumWithOid::null_oid(pg_sys::TEXTARRAYOID),
    }
}

/// Whether the audience of the issuer is checked after the call: it is given, or the row has one.
fn audience_is_checked(arguments: &Arguments, stored: Option<&StoredIssuer>) -> bool {
    arguments.datum(2).is_some() || stored.is_some_and(|stored| stored.has_audience)
}
