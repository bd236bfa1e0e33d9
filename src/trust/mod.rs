//! Trust of this database: the issuers and keys of the tables `auth.issuers` and `auth.jwks`.
//!
//! Imports go from the first room to the last: [`owner`] has the functions that the extension's owner
//! calls, [`sessions`] whether the session of a token is still there, [`keys`] what a backend has read and how it
//! learns that this is stale, [`revocation`] whether a token is revoked, [`fetch`] the fetching of keys behind a URL,
//! [`lookup`] the reasons why a key does or does not count, [`store`] the checks on writing, [`source`] what
//! `auth.issuers.source` may say, [`tables`] the rows, [`claim_path`] the place of a claim, [`problem`] the codes of
//! what can be wrong with keys, [`schema`] the name of the schema, and [`sql`] helpers for SPI.

pub mod claim_path;
pub mod fetch;
pub mod keys;
mod lookup;
mod owner;
mod problem;
pub mod revocation;
pub mod schema;
pub mod sessions;
mod source;
pub mod sql;
mod store;
pub mod tables;
#[cfg(login_by_token)]
pub mod writers;
