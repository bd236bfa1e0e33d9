//! The rules for fetching a JWK Set from an issuer's endpoint.
//!
//! The crate does no I/O and has no clock: it says which hosts and addresses may be contacted, when
//! the next request is due, what the headers of an answer mean, and what becomes of an issuer's row
//! when a fetch begins and ends ([`fetch_state`]). The library `pg_auth_jwt_fetch`
//! makes the request by these rules, in a process of its own; the extension starts that process.
//! Both exchange the types in [`wire`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]
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

pub use address::{AddressClass, in_turn};
pub use discovery::{DiscoveryError, discovery_url, is_discovery, metadata_url, read_discovery};
pub use endpoint_url::{EndpointUrl, Scheme, UrlError};
pub use gate::{EntryError, GateError, HostList, HostListError, Target};

pub mod fetch_state;
pub mod headers;
pub mod limits;
pub mod schedule;
pub mod wire;

mod address;
mod discovery;
mod endpoint_url;
mod gate;
