//! Any bytes as a JWK Set.
#![no_main]

#[path = "../../crates/jwt_verify/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::harness::any_jwks(data));
