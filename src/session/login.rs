//! `auth.login`: the role that a token names, if its issuer's row and Postgres allow it.

use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::report::Report;
use crate::session::errors;
use crate::session::{self, identity::Identity};
use crate::settings;
use crate::trust::keys::Login;

/// The suffix of a token's role in `pg_auth_jwt.token`, without memory of Rust's, because Postgres may
/// raise an error while it is in use.
pub struct Suffix {
    text: [u8; MOST],
    length: usize,
}

/// A space and the digits of an oid.
const MOST: usize = 11;

impl Suffix {
    fn of(role: pg_sys::Oid) -> Self {
        let mut text = [0; MOST];
        let digits = settings::token::suffix(role);
        let length = digits.len().min(MOST);
        for (place, byte) in text.iter_mut().zip(digits.bytes()) {
            *place = byte;
        }
        Self { text, length }
    }

    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// Verifies the token, and sets the role that it names for the rest of the transaction, as SET LOCAL
/// ROLE does. The token itself is not set yet.
///
/// # Errors
///
/// If the token is not good, if it names no role that its issuer's row allows, or if Postgres does not
/// let this connection become that role.
pub fn set_role(token: &[u8]) -> Result<Suffix, Report> {
    let (identity, keys) = session::verify_for_login(token)?;
    let login = keys.login().ok_or_else(errors::no_login)?;
    let name = role_name(&identity, login)?;
    // SAFETY: the name is NUL-terminated; a look-up in the catalogs.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    if role == pg_sys::InvalidOid {
        return Err(errors::role_missing(&encoding::from_server_lossy(
            name.to_bytes(),
        )));
    }
    // SAFETY: both texts are NUL-terminated, and Postgres copies them. As for SET LOCAL ROLE
    // (src/backend/utils/misc/guc.c), whose check hook asks whether the session's user may become
    // that role, and which is refused within a SECURITY DEFINER function. A superuser's context
    // matters to no hook of this setting.
    unsafe {
        pg_sys::set_config_option(
            c"role".as_ptr(),
            name.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
    Ok(Suffix::of(role))
}

/// The role that the claims name, in the server's encoding.
fn role_name(identity: &Identity, login: &Login) -> Result<CString, Report> {
    let path: Option<Vec<CString>> = (login.claim.parts().iter())
        .map(|part| encoding::to_server(part))
        .collect();
    let claimed = path
        .and_then(|path| identity.claims()?.string_at(&path))
        .ok_or_else(|| errors::no_role_claim(login.claim.parts()))?;
    let claimed = claimed.text_bytes();
    let allowed = (login.roles.iter())
        .filter_map(|role| encoding::to_server(role))
        .find(|role| role.to_bytes() == claimed);
    allowed
        // A longer name would be looked up as its beginning.
        .filter(|role| role.count_bytes() < pg_sys::NAMEDATALEN as usize)
        .ok_or_else(|| errors::role_not_allowed(&encoding::from_server_lossy(claimed)))
}
