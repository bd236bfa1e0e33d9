//! Any bytes as a message and its signature, for every key and algorithm: both crypto stacks agree.
#![no_main]

#[path = "../../crates/jwt_verify/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: (&[u8], &[u8])| common::harness::any_signature(data.0, data.1));
