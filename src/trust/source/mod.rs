//! Values of `auth.issuers.source`, the [`origin`] of an issuer's keys: a [`table`] that is
//! followed, or an [`endpoint`] with a URL.

pub mod endpoint;
pub mod fault;
pub mod kind;
pub mod open;
pub mod origin;
pub mod sessions;
pub mod table;
