//! The SQL functions that take a token.

use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use crate::clock::Stamp;
use crate::ffi::sql_function;
use crate::settings::{self, Scope};
use crate::{keys, session, text, unguarded};

sql_function!(
    /// `auth.jwt_session_init(token text, is_local boolean) RETURNS void`: verifies the token, and
    /// only then makes it the session's.
    pg_auth_jwt_session_init,
    pg_finfo_pg_auth_jwt_session_init,
    |arguments| {
        let token = arguments.token(0)?.unwrap_or_default();
        if !token.is_empty() {
            session::verify(token)?;
        }
        set_token(token, arguments.boolean(1).unwrap_or(false));
        // As PG_RETURN_VOID.
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

sql_function!(
    /// `auth.verify(token text) RETURNS jsonb`: the token's claims, or the error.
    pg_auth_jwt_verify,
    pg_finfo_pg_auth_jwt_verify,
    |arguments| {
        let Some(token) = arguments.token(0)? else { return Ok(None) };
        let identity = session::verify(token)?;
        Ok(Some(identity.claims().to_datum()))
    }
);

/// What the advice of `auth.inspect` names.
const PLACES: jwt_verify::Places = jwt_verify::Places {
    load_keys: "auth.init",
    issuers: "auth.issuers",
    keys: "auth.jwks",
};

/// `auth.inspect(token text)`: why a token is or isn't accepted, step by step.
#[pg_extern(sql = false)]
fn inspect(
    token: &[u8],
) -> TableIterator<'static, (name!(step, String), name!(ok, bool), name!(detail, Vec<u8>))> {
    session::synchronize();
    let text = String::from_utf8_lossy(token);
    let now = Stamp::current().time();
    let steps = jwt_verify::inspect_with(&text, keys::find_for_advice, now, &PLACES);
    TableIterator::new(steps.into_iter().map(|step| {
        // The datum of a bytea is that of a text of the same bytes.
        let detail = text::to_server_lossy(&step.detail).into_bytes();
        (step.name.to_owned(), step.ok, detail)
    }))
}

/// Sets `pg_auth_jwt.token` as SET, or SET LOCAL, would.
fn set_token(token: &[u8], is_local: bool) {
    let forced = settings::scope() == Scope::Transaction;
    if forced && !is_local {
        // SAFETY: the argument is NUL-terminated.
        unsafe {
            pg_sys::WarnNoTransactionBlock(
                true,
                c"auth.jwt_session_init with pg_auth_jwt.scope = transaction".as_ptr(),
            );
        }
    }
    let action = if is_local || forced {
        pg_sys::GucAction::GUC_ACTION_LOCAL
    } else {
        pg_sys::GucAction::GUC_ACTION_SET
    };
    // SAFETY: palloc gives at least that many bytes or does not return. Name and value are
    // NUL-terminated, and Postgres copies them. PGC_USERSET and PGC_S_SESSION are what set_config()
    // passes for an ordinary role (src/backend/utils/misc/guc.c). Nothing needs a drop up to the SQL
    // function's own frame.
    unsafe {
        let value = unguarded::palloc(token.len() + 1).cast::<u8>();
        std::ptr::copy_nonoverlapping(token.as_ptr(), value, token.len());
        value.add(token.len()).write(0);
        unguarded::set_config_option(
            settings::TOKEN_NAME.as_ptr(),
            value.cast(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}
