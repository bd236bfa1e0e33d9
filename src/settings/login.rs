//! The settings of logins by token.

/// See [`LOGIN_SESSION`](crate::settings::table::LOGIN_SESSION). If it cannot be read, off.
#[cfg(login_by_token)]
pub fn login_session() -> bool {
    crate::settings::table::LOGIN_SESSION.value() == Some(1)
}

/// Off: no token opens a connection of this version of Postgres.
#[cfg(not(login_by_token))]
pub fn login_session() -> bool {
    false
}

#[cfg(login_by_token)]
mod at_login {
    use std::ffi::CStr;

    use crate::pg::unguarded;
    use crate::pg::worker::force_setting;
    use crate::settings::table::{
        AUDIT_LOG, CACHE_SIZE, EVALUATE_ONCE, FETCH_WAIT, LOGIN_CLAIM, LOGIN_DATABASE,
        LOGIN_SESSION, LOGIN_SUPERUSER, LOGIN_WORKERS, REQUIRE_TOKEN, SCOPE, UNVERIFIED_CLAIMS,
    };
    use crate::settings::text_of;

    /// See [`LOGIN_DATABASE`].
    pub fn login_database() -> String {
        text_of(&LOGIN_DATABASE.text)
    }

    /// See [`LOGIN_CLAIM`].
    pub fn login_claim() -> String {
        text_of(&LOGIN_CLAIM.text)
    }

    /// See [`LOGIN_SUPERUSER`]. If it cannot be read, off.
    pub fn login_superuser() -> bool {
        LOGIN_SUPERUSER.value() == Some(1)
    }

    /// See [`LOGIN_WORKERS`]. If it cannot be read, the least.
    pub fn login_workers() -> u32 {
        let workers = LOGIN_WORKERS
            .value()
            .and_then(|number| u32::try_from(number).ok());
        workers.unwrap_or(1).max(1)
    }

    /// Gives the settings on which a login could depend their values in the worker that verifies it: those that are
    /// stored for a database or a role, readable or not, neither keep users out nor hold a place for long.
    pub fn force_at_login() {
        for (setting, value) in [
            (&SCOPE, c"auto"),
            (&CACHE_SIZE, c"1"),
            (&EVALUATE_ONCE, c"on"),
            (&REQUIRE_TOKEN, c"off"),
            (&UNVERIFIED_CLAIMS, c"ignore"),
            (&FETCH_WAIT, c"1s"),
            (&LOGIN_SESSION, c"on"),
        ] {
            force_setting(setting.name, value);
        }
        if AUDIT_LOG.value().is_none() {
            force_setting(AUDIT_LOG.name, c"failures");
        }
    }

    /// The meaning of a text as that of a boolean setting.
    pub fn boolean_of(text: &CStr) -> Option<bool> {
        let mut value = false;
        // SAFETY: a NUL-terminated text.
        unsafe { unguarded::parse_bool(text.as_ptr(), &raw mut value) }.then_some(value)
    }
}

#[cfg(login_by_token)]
pub use at_login::{
    boolean_of, force_at_login, login_claim, login_database, login_superuser, login_workers,
};
