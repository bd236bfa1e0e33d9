//! Any bytes as a token.
#![no_main]

#[path = "../../crates/jwt_verify/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::harness::any_token(data));
