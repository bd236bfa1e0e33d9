//! Types that `jwt_verify` and `jwks_rules` share, so that neither needs the other.
//!
//! [`UnixTime`] is an instant. [`Excerpt`], [`plain`] and [`cut`] are the three ways in which text
//! that others wrote gets into a message: each is bounded, and ends in the same three dots if it is
//! cut.

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

pub use excerpt::{Excerpt, MAX_EXCERPT_CHARS, cut, plain};
pub use time::{Seconds, UnixTime};

mod excerpt;
mod time;
