//! A memory of signatures with any content: what was noted, whole, torn and mixed. No forged token is accepted.
#![no_main]

#[path = "../../crates/jwt_verify/tests/common/mod.rs"]
mod common;

// Each three bytes are a step; 40 of them write every word several times.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let steps = data.as_chunks().0;
    common::harness::any_memory(&steps[..steps.len().min(40)]);
});
