//! Values of `auth.issuers.source`: a [`table`] that is followed, or an [`endpoint`] with a URL.

pub mod endpoint;
pub mod fault;
pub mod kind;
pub mod open;
pub mod table;
