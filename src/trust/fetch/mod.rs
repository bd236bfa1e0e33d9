//! Fetching of the keys of issuers whose source is an [`Endpoint`](crate::trust::source::endpoint::Endpoint).
//!
//! The keys are rows of `auth.jwks`, so they are looked up as any others. [`start`] lets a backend
//! start a fetch; [`worker`] is the process that does it, with the HTTPS client of the [`library`], and
//! [`store`] writes what it got; [`launcher`] is the process that starts fetches where no backend does.
//! [`refresh`] is `auth.refresh()`. [`seen`](crate::trust::lookup::seen) tells how long the keys count, and
//! [`withdrawn`](crate::trust::store::withdrawn) keeps what was withdrawn by hand from coming back.
//!
//! Backends do no network I/O.

mod claim;
mod errors;
pub mod hosts;
pub mod launcher;
mod library;
pub mod refresh;
pub mod start;
mod store;
pub mod timetable;
mod usable;
mod words;
pub mod worker;
