//! The HTTPS client of pg_auth_jwt.
//!
//! A library of its own, so that the extension's library, which every backend loads, has no HTTP and
//! no TLS in it. The background worker that refreshes an issuer's keys loads it, by the functions in
//! [`c_interface`]. One fetch is one thread: the worker stays able to answer an interrupt while a
//! name server or an endpoint does not answer at all.
//!
//! What may be asked, and when, is decided in the crate `jwks_fetch`.
//!
//! # What the process must grant
//!
//! - The thread blocks all signals, so that Postgres's handlers run in the main thread alone.
//! - `getaddrinfo` reads the locale and the environment, so nothing may call `setlocale`, `setenv` or
//!   `putenv` while a fetch runs. Postgres's processes do so while they start, not later.
//! - The process may end at any time. The thread holds nothing that outlives the process.
//! - The library stays loaded until the process ends.

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

pub use fetch::fetch;
pub use progress::{Phase, Progress};
pub use resolver::{Lookup, SystemLookup};

pub mod c_interface;

mod failure;
mod fetch;
mod http;
mod job;
mod progress;
mod resolver;
mod roots;
