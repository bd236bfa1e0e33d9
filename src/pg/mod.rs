//! What pgrx lacks: the calling convention of SQL functions, errors with an SQLSTATE of our own, rows and
//! encodings, the statement clock, Postgres's functions without pgrx's guard. Knows no token and no key
//! but for the limit of a token's length.

pub mod clock;
pub mod encoding;
pub mod function;
pub mod guard;
pub mod report;
pub mod row;
pub mod search;
pub mod unguarded;
