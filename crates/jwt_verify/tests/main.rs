//! The tests of the verifier from outside, as one program: linked for each file, they would take a minute more.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

mod conformance;
mod inspect;
mod interop;
mod key_issuer;
mod keyring;
mod keys;
mod lacks_only_key;
mod ml_dsa;
mod properties;
mod signature_memory;
mod signatures;
mod tokens;
mod wanted;

/// A file that is not named above would never run.
#[test]
fn all_files_are_here() {
    // A program of its own, because it replaces the allocator.
    let others = ["main.rs", "bounded_work.rs"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files = 0;
    for name in names.filter(|name| name.ends_with(".rs") && !others.contains(&name.as_str())) {
        let module = format!("mod {};", name.trim_end_matches(".rs"));
        assert!(
            include_str!("main.rs").lines().any(|line| line == module),
            "{name}"
        );
        files += 1;
    }
    assert!(files > 10, "{files} files in {folder}");
}
