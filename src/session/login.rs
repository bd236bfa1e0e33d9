//! `auth.login`: the role that a token names, if its issuer's row and Postgres allow it.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::report::Report;
use crate::session::errors;
use crate::session::{self, identity::Identity};
use crate::settings;
use crate::trust::keys::{Keys, Login};

/// The role that a token has given, without memory of Rust's, because Postgres may raise an error while
/// it is in use.
pub struct Given {
    name: [u8; NAME],
    suffix: [u8; SUFFIX],
}

/// A name with its NUL.
const NAME: usize = pg_sys::NAMEDATALEN as usize;
/// A space, the digits of an oid, and a NUL.
const SUFFIX: usize = 12;

impl Given {
    fn of(role: pg_sys::Oid, name: &CStr) -> Self {
        Self {
            name: padded(name.to_bytes()),
            suffix: padded(settings::token::suffix(role).as_bytes()),
        }
    }

    /// The role's name.
    pub fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.name).unwrap_or_default()
    }

    /// The suffix of the role in `pg_auth_jwt.token`.
    pub fn suffix(&self) -> &str {
        let suffix = CStr::from_bytes_until_nul(&self.suffix).unwrap_or_default();
        suffix.to_str().unwrap_or_default()
    }
}

/// The text with NULs after it; cut if it has no room for one.
fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    for (place, byte) in padded.iter_mut().zip(text).take(N.saturating_sub(1)) {
        *place = *byte;
    }
    padded
}

/// Verifies the token, and sets the role that it names for the rest of the transaction, as SET LOCAL
/// ROLE does. The token itself is not set yet.
///
/// # Errors
///
/// If the token is not good, if it names no role that its issuer's row allows, or if Postgres does not
/// let this connection become that role.
pub fn set_role(token: &[u8]) -> Result<Given, Report> {
    let (identity, keys) = session::verify_for_login(token)?;
    let name = role_of(&identity, &keys)?;
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
    settings::token::admit(token, role);
    Ok(Given::of(role, &name))
}

/// Verifies another token for a connection whose role the login's token has opened.
///
/// # Errors
///
/// If the token is not good, or does not name that role by this database's row.
pub fn of_role(token: &[u8], role: pg_sys::Oid) -> Result<Given, Report> {
    let (identity, keys) = session::verify_for_login(token)?;
    let name = role_of(&identity, &keys)?;
    // SAFETY: the name is NUL-terminated; a look-up in the catalogs.
    if unsafe { pg_sys::get_role_oid(name.as_ptr(), true) } != role {
        let name = encoding::from_server_lossy(name.to_bytes());
        return Err(errors::not_of_login(&name));
    }
    settings::token::admit(token, role);
    Ok(Given::of(role, &name))
}

/// The role that a verified token names, in the server's encoding.
///
/// # Errors
///
/// If it names none that its issuer's row allows.
pub fn role_of(identity: &Identity, keys: &Keys) -> Result<CString, Report> {
    let login = keys.login().ok_or_else(errors::no_login)?;
    role_name(identity, login)
}

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
