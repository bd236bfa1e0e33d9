//! The issuers and keys that this database trusts, in the tables `auth.issuers` and `auth.jwks`.
//!
//! [`admission`] has the trigger that checks keys, [`cascade`] the one that deletes them with their
//! issuer, and [`init`] loads a JWKS. [`keys`] holds what a
//! backend has read, and knows when that is stale. [`lookup`], [`tables`] and [`index`] read the
//! rows that a token names, and [`inventory`] all rows. [`fetch`] fetches the keys of those whose
//! source is an [`endpoint`]. [`triggers`] checks that changes are announced.

pub mod admission;
mod cascade;
mod endpoint;
pub mod fetch;
mod follow;
mod index;
pub mod init;
mod inventory;
pub mod keys;
mod kind;
mod lock;
pub mod lookup;
mod news;
mod progress;
mod seen;
mod source;
pub mod sql;
mod status;
mod stored;
mod tables;
mod triggers;
mod watched;
pub mod withdrawn;
