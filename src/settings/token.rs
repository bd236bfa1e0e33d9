//! Hooks and reader of the setting that holds the session's token. After a token that `auth.login` has
//! set stands a space, and the oid of the role that it belongs to. After the token of the login stands
//! [`LOGIN`], and the same if the token has opened that role.
//!
//! The hooks run outside of pgrx's guard. They change their argument and an atomic, or read the variable:
//! they cannot panic or raise.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use crate::errors::token_too_long;
use crate::pg::report::Report;
use crate::settings::login;
use crate::settings::table::TOKEN;

/// Set when Postgres assigns the token, in any way.
static ASSIGNED: AtomicBool = AtomicBool::new(true);

/// A token comes from the session, never from a default that is stored for a role or a database:
/// any role may store one for itself (ALTER ROLE ... SET), and if many users share the role, each
/// of them would start with that user's identity.
///
/// The value is replaced by an empty one and not refused: a refusal would quote it.
pub unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    use pg_sys::GucSource::{PGC_S_DATABASE_USER, PGC_S_ENV_VAR};
    if (PGC_S_ENV_VAR..=PGC_S_DATABASE_USER).contains(&source) {
        // SAFETY: Postgres passes a NUL-terminated copy that it made for this assignment.
        unsafe {
            if !(*value).is_null() {
                **value = 0;
            }
        }
    }
    // SAFETY: as above. A value that is not admitted has one character at least.
    unsafe {
        if !(*value).is_null() && !is_admitted(CStr::from_ptr(*value).to_bytes()) {
            **value = NOT_ADMITTED as c_char;
            *(*value).add(1) = 0;
        }
    }
    true
}

/// Value in place of a token that the connection may not have. Not the empty one, under which users would see nothing,
/// and no reason. It is a part of the setting, so that parallel workers know of it too.
const NOT_ADMITTED: u8 = 1;

/// A connection whose role the login's token has opened (`delegate_ident_mapping`): under that role, claims of a token
/// that names another one would be a user that no token is for. Such a connection begins and ends with its process.
struct Bound {
    /// The role that was opened.
    role: pg_sys::Oid,
    /// The last token that was verified here, and the role that it names.
    token: Vec<u8>,
    token_role: pg_sys::Oid,
}

thread_local! {
    static BOUND: RefCell<Option<Bound>> = const { RefCell::new(None) };
}

/// Whether the connection may have that value: any, unless the login's token has opened its role. Called in a hook:
/// cannot raise.
fn is_admitted(value: &[u8]) -> bool {
    if value.is_empty() {
        return true;
    }
    let is_admitted = |bound: &Bound| {
        let (token, role) = split(value);
        let token = token.strip_suffix(LOGIN).unwrap_or(token);
        !login::login_session() || (token == bound.token && role == Some(bound.token_role))
    };
    // The thread's end is the process's. Nothing assigns the setting while the cell is borrowed for a change.
    BOUND
        .try_with(|bound| {
            let bound = bound.try_borrow();
            bound.is_ok_and(|bound| bound.as_ref().is_none_or(is_admitted))
        })
        .unwrap_or(false)
}

/// The role that the login's token has opened, if the session's tokens must name that one.
pub fn bound_role() -> Option<pg_sys::Oid> {
    let role = BOUND.with_borrow(|bound| bound.as_ref().map(|bound| bound.role));
    role.filter(|_| login::login_session())
}

/// Lets the connection have a token that was verified, and names that role.
pub fn admit(token: &[u8], role: pg_sys::Oid) {
    BOUND.with_borrow_mut(|bound| {
        if let Some(bound) = bound {
            bound.token = token.to_vec();
            bound.token_role = role;
        }
    });
}

/// Whether the value stands for a token that the connection may not have.
pub fn is_refused() -> bool {
    value() == [NOT_ADMITTED]
}

/// Text that SHOW, `current_setting` and `set_config` return instead of the token: only whether
/// there is one.
pub unsafe extern "C-unwind" fn show() -> *const c_char {
    if token().is_empty() {
        c"".as_ptr()
    } else {
        c"<token>".as_ptr()
    }
}

pub unsafe extern "C-unwind" fn assigned(_value: *const c_char, _extra: *mut c_void) {
    note_assigned();
}

/// Makes the next use check the token again.
pub fn note_assigned() {
    ASSIGNED.store(true, Ordering::Relaxed);
}

/// Whether the token was assigned since [`clear_assigned`].
#[inline]
pub fn was_assigned() -> bool {
    ASSIGNED.load(Ordering::Relaxed)
}

/// Must be called before the token is read, so that no assignment is missed.
pub fn clear_assigned() {
    ASSIGNED.store(false, Ordering::Relaxed);
}

/// The role to which `auth.login`, or the login of the connection, has bound the token; `None` if nothing has.
pub fn role() -> Option<pg_sys::Oid> {
    parts().1
}

/// Calls `look` with the token, which is empty if there is none.
///
/// The token is borrowed, so `look` must call nothing that could assign the setting.
///
/// # Errors
///
/// If it is longer than any token, so that it is never copied: a setting may be as long as a
/// statement, and if Rust cannot allocate memory it ends the process, and Postgres then restarts
/// all its processes.
pub fn with<T>(look: impl FnOnce(&[u8]) -> T) -> Result<T, Report> {
    let token = token();
    if token.len() > jwt_verify::limits::MAX_TOKEN_BYTES {
        return Err(token_too_long(token.len()));
    }
    Ok(look(token))
}

fn token<'a>() -> &'a [u8] {
    parts().0
}

/// The token, which is empty if there is none, and its role. Those of the login count only if [`login::login_session`]
/// says so.
fn parts<'a>() -> (&'a [u8], Option<pg_sys::Oid>) {
    let (token, role) = split(value());
    match token.strip_suffix(LOGIN) {
        None => (token, role),
        Some(token) if login::login_session() => (token, role),
        Some(_) => (b"", None),
    }
}

/// Makes the token of the login the session's, with the role if the token has opened that. RESET and DISCARD ALL return
/// to it. No setting that is stored for the role or the database, and no option of the connection, replaces it.
#[cfg(login_by_token)]
pub fn set_at_login(token: &CStr, role: Option<pg_sys::Oid>) {
    let token = token.to_bytes();
    if let Some(role) = role {
        BOUND.set(Some(Bound {
            role,
            token: token.to_vec(),
            token_role: role,
        }));
    }
    let role = role.map(suffix).unwrap_or_default();
    let value = [token, LOGIN, role.as_bytes(), b"\0"].concat();
    // SAFETY: both texts are NUL-terminated, and Postgres copies them. The source is that of values which a session
    // cannot reset.
    unsafe {
        pg_sys::SetConfigOption(
            TOKEN.name.as_ptr(),
            value.as_ptr().cast(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// The setting's value, which lives until the next assignment.
fn value<'a>() -> &'a [u8] {
    // SAFETY: Postgres keeps the variable pointing to NULL or to a NUL-terminated string. No caller
    // keeps the value while the setting may be assigned.
    unsafe {
        let value = *TOKEN.text.as_ptr();
        if value.is_null() {
            b""
        } else {
            CStr::from_ptr(value).to_bytes()
        }
    }
}

/// Text after the token of the login. It is a part of the value, so that parallel workers know of it too, and no state
/// beside the setting has to agree with it. A user who writes it there by hand only narrows the use
/// of their own token.
const LOGIN: &[u8] = b" login";

/// Digits of the longest oid.
const OID_DIGITS: usize = 10;

/// A value's token, and the role after it. Whoever writes a role there by hand only narrows the use of
/// their own token.
fn split(value: &[u8]) -> (&[u8], Option<pg_sys::Oid>) {
    let role = || {
        let from = value.len().checked_sub(OID_DIGITS.saturating_add(1))?;
        let space = value.get(from..)?.iter().rposition(|byte| *byte == b' ')?;
        let (token, oid) = value.split_at_checked(from.saturating_add(space))?;
        let oid = std::str::from_utf8(oid.get(1..)?).ok()?;
        let is_oid = oid.bytes().all(|byte| byte.is_ascii_digit());
        let oid = oid.parse().ok().filter(|oid| is_oid && *oid != 0)?;
        Some((token, Some(pg_sys::Oid::from_u32(oid))))
    };
    role().unwrap_or((value, None))
}

/// Text after the token of a role, from the space on.
pub fn suffix(role: pg_sys::Oid) -> String {
    format!(" {}", role.to_u32())
}

#[cfg(test)]
mod tests {
    use pgrx::pg_sys;

    use super::{split, suffix};

    #[test]
    fn a_role_stands_after_the_token() {
        let token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2ln";
        for oid in [1, 10, 16_384, u32::MAX] {
            let role = pg_sys::Oid::from_u32(oid);
            let value = format!("{token}{}", suffix(role));
            assert_eq!(split(value.as_bytes()), (token.as_bytes(), Some(role)));
        }
    }

    #[test]
    fn anything_else_is_a_part_of_the_token() {
        for text in [
            "",
            " ",
            "1",
            " 1",
            "a.b.c",
            "a.b.1234567890",
            "eyJ.eyJ.sig ",
            "eyJ.eyJ.sig 0",
            "eyJ.eyJ.sig +1",
            "eyJ.eyJ.sig 4294967296",
            "eyJ.eyJ.sig 1 ",
            "eyJ.eyJ.sig x1",
            "eyJ.eyJ.sig 01234567890",
            "eyJ.eyJ.sig login",
        ] {
            assert_eq!(split(text.as_bytes()), (text.as_bytes(), None), "{text}");
        }
    }
}
