//! Helpers that the integration tests share.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub mod cases;
pub mod harness;
pub mod sign;
pub mod worst;

use std::io::Write;

use jwt_verify::Terms;

/// The names that the advice of `inspect` uses in the tests.
pub const PLACES: Terms = Terms {
    add_issuer: "write it into the list of issuers",
    issuers: "the list of issuers",
    unknown_key: "after a rotation, call the loader of keys",
    no_keys: "call the loader of keys",
    expired_key: "set a later end in the list of keys",
    keys: "the list of keys",
    present_keys: "call the loader of keys again",
    takes_secrets: true,
    audiences: "the owner sees what is accepted",
};

/// Writes a line that the test harness does not capture: the harness shows output of failed tests
/// only, and a summary should always be shown.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
