//! Every conformance and attack case, against the expected verdict and the
//! expected reason.
//!
//! The verdicts come from the vectors, the reasons from a file beside them (`*.expected`): a token
//! that is refused for the wrong reason fails. After an intended change, `UPDATE_EXPECTED=1 cargo
//! test -p jwt_verify` writes the file again; review its diff.

use std::collections::BTreeMap;
use std::{env, fs};

use jwt_verify::{ErrorKind, verify};

use crate::common::cases::{Case, claim, path, read_cases};
use crate::common::harness::check_memory;
use crate::common::report;

/// A key of the set signed these, but by another scheme than the header states, or it is not the
/// key that the header names. Here the signature itself is wrong. All others marked `sig_ok` must
/// be refused by a rule.
const SIGNED_OTHERWISE: [&str; 7] = [
    "rs256-header-pss-signature",
    "ps256-header-ps512-signature",
    "ps256-salt-0",
    "ps256-salt-20",
    "ps256-salt-max",
    "hs256-mac-sha512-mac",
    "kid-case-sensitive-wrong",
];

#[test]
fn cases() {
    run("cases", read_cases("cases.json", 554));
}

#[test]
fn rfc_cases() {
    run("rfc_cases", read_cases("rfc_cases.json", 43));
}

#[test]
fn wycheproof_jws() {
    run("wycheproof_jws", read_cases("wycheproof_jws.json.gz", 401));
}

fn run(name: &str, cases: Vec<Case>) {
    let path = path(&format!("{name}.expected"));
    let expected = read_expected(&fs::read_to_string(&path).unwrap_or_default());
    let update = env::var_os("UPDATE_EXPECTED").is_some();

    let mut outcomes = String::new();
    let mut failures = Vec::new();
    for case in &cases {
        let outcome = outcome_of(case);
        if let Err(failure) = check(case, &outcome) {
            failures.push(format!("{}: {failure}", case.name));
        } else if !update && expected.get(&case.name) != Some(&outcome.reason) {
            failures.push(format!(
                "{}: expected reason {:?}, got {:?}",
                case.name,
                expected.get(&case.name),
                outcome.reason
            ));
        }
        outcomes.push_str(&format!("{}\t{}\n", case.name, outcome.reason));
    }
    if update {
        fs::write(&path, outcomes).unwrap();
    }
    let passed = cases.len() - failures.len();
    report(&format!(
        "conformance: {name}: {} cases, {passed} passed",
        cases.len()
    ));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

struct Outcome {
    verdict: &'static str,
    /// `accept`, or the kind and text of the error, and the errors of the keys of the set.
    reason: String,
    kind: Option<ErrorKind>,
    claims: String,
}

fn outcome_of(case: &Case) -> Outcome {
    let (keyring, refused_keys) = case.keyring();
    let verdict = verify(&case.token, &keyring, case.now());
    check_memory(&case.token, &keyring, case.now(), &verdict);
    let mut outcome = match verdict {
        Ok(verified) => Outcome {
            verdict: "accept",
            reason: "accept".to_owned(),
            kind: None,
            claims: verified.claims,
        },
        Err(error) => Outcome {
            verdict: "reject",
            reason: format!("{:?}: {error}", error.kind()),
            kind: Some(error.kind()),
            claims: String::new(),
        },
    };
    for refused in refused_keys {
        outcome.reason.push_str(&format!("; {refused}"));
    }
    outcome
}

fn check(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let expected = case.expected();
    if expected.is_some_and(|expected| expected != outcome.verdict) {
        return Err(format!("expected {expected:?}, got {}", outcome.reason));
    }
    let signed_otherwise = SIGNED_OTHERWISE.contains(&case.name.as_str());
    let refused_by_signature = outcome.kind == Some(ErrorKind::Signature);
    if case.sig_ok && refused_by_signature != signed_otherwise {
        return Err(format!("not refused by the right rule: {}", outcome.reason));
    }
    if outcome.verdict == "accept" {
        for (name, value) in case.claims.iter().flatten() {
            let got = claim(&outcome.claims, name);
            if got.as_ref() != Some(value) {
                return Err(format!("claim {name:?} is {got:?}, not {value:?}"));
            }
        }
    }
    Ok(())
}

fn read_expected(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .collect()
}
