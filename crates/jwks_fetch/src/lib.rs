//! The HTTPS client of pg_auth_jwt.
//!
//! A library of its own, so that the extension's library, which every backend loads, has no HTTP
//! and no TLS in it. The background worker that fetches an issuer's keys loads it, by the functions
//! in [`c_interface`]. One fetch is one thread: the worker stays able to answer an interrupt while
//! a name server or an endpoint does not answer at all.
//!
//! The crate `jwks_rules` decides which hosts may be asked, and when.
//!
//! # What it relies on
//!
//! - The thread blocks all signals, so that Postgres's handlers run in the main thread alone.
//! - `getaddrinfo` reads the locale and the environment (`RES_OPTIONS`, `LOCALDOMAIN`), and looking for
//!   certificates reads `SSL_CERT_FILE` and `SSL_CERT_DIR`. So the main thread must not call `setlocale`,
//!   `setenv` or `putenv` while a fetch runs. Postgres does so when a process connects to its database
//!   and when `lc_messages` changes; the worker does neither then.
//! - The process may end at any time: the thread holds nothing that outlives it.
//! - The library stays loaded until then. Loading it runs the initialisers of Rust's standard library
//!   (arguments) and of aws-lc (the processor's features), half a millisecond in all.
//! - It has a copy of aws-lc, as the extension's library has. Neither exports it.
//!
//! An allocation that fails ends the process, as everywhere in Rust. The memory of a fetch is
//! bounded by [`jwks_rules::limits`].

#![deny(missing_docs, unsafe_code)]
#![warn(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

pub use connect::{Dial, SystemDial};
pub use fetch::{fetch, fetch_by};
pub use progress::{Phase, Progress};
pub use resolver::{Lookup, SystemLookup};

pub mod c_interface;

mod connect;
mod failure;
mod fetch;
mod http;
mod job;
mod progress;
mod resolver;
mod roots;
mod tls_reason;
