//! Parts that pgrx lacks: the calling convention of SQL functions, errors with an SQLSTATE of our
//! own, rows and encodings, records of settings, the statement clock, shared memory, background
//! workers, and Postgres's functions without pgrx's guard. Nothing here knows tokens or keys.

pub mod attempt;
pub mod clock;
pub mod definition;
pub mod encoding;
pub mod function;
pub mod guard;
#[cfg(login_by_token)]
pub mod oauth;
pub mod placeholders;
pub mod report;
#[cfg(login_by_token)]
pub mod role_rights;
pub mod row;
pub mod row_security;
pub mod sandbox;
pub mod search;
#[cfg(login_by_token)]
pub mod segment;
pub mod set_local;
pub mod shared;
pub mod turns;
pub mod unguarded;
pub mod uuid;
pub mod version;
pub mod worker;
