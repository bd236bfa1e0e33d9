//! Login by a token, on Postgres 18 and later: this library as a validator of `oauth_validator_libraries`.
//!
//! 1. Postgres calls [`validator`] in the process of the new connection, which is in no database yet.
//! 2. [`checks`] refuses what needs no key to be refused.
//! 3. A [`worker`], which runs once, in the database `pg_auth_jwt.login_database`, verifies the token there as
//!    `auth.jwt_session_init` does, and applies the rules for logins ([`rules`], [`role`]). So the database that the
//!    client asks for, and its owner, have no say in it.
//! 4. The token becomes the session's, as if it were set before the session's first statement, and RESET returns to it.
//!    The session's own database verifies it by its own rows, as any token.
//!
//! The client learns nothing but that it is refused; the reason is in the server's log.

mod checks;
mod errors;
mod issuer;
mod message;
mod role;
mod rules;
mod validator;
mod worker;

use crate::pg::oauth::Callbacks;
use validator::TokenValidator;

static CALLBACKS: Callbacks = Callbacks::of::<TokenValidator>();

/// Postgres looks this function up in a library of `oauth_validator_libraries`.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _PG_oauth_validator_module_init() -> *const Callbacks {
    &raw const CALLBACKS
}
