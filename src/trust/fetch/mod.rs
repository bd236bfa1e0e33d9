//! Fetches the keys of issuers whose source is an
//! [`Endpoint`](crate::trust::source::endpoint::Endpoint).
//!
//! The keys are rows of `auth.jwks`, so they are looked up as any others. [`start`] lets a backend
//! start a fetch; [`worker`] is the process that fetches, with the HTTPS client of the [`library`],
//! and [`answer`] writes the answer; [`launcher`] is the process that starts fetches if no backend
//! does. [`refresh`] is `auth.refresh()`. [`fetch_state`](jwks_rules::fetch_state) decides when a
//! fetch begins, what its end writes, and how long the keys count;
//! [`withdrawn`](crate::trust::store::withdrawn) keeps keys that were withdrawn by hand from coming
//! back.
//!
//! Backends do no network I/O.

mod answer;
mod claim;
mod errors;
pub mod hosts;
pub mod launcher;
mod library;
pub mod refresh;
pub mod start;
pub mod timetable;
mod usable;
mod words;
pub mod worker;
