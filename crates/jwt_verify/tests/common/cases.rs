//! The cases of tests/vectors and their setup.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jwt_verify::cross_check::{add_key_even_published, admit_even_published};
use jwt_verify::{AlgorithmSet, JwksEntry, Key, KeyError, Keyring, Policy, UnixTime, read_jwks};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The time of a case that states none: 2026-01-01.
const NOW: i64 = 1_767_225_600;

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub jwks: Option<serde_json::Value>,
    pub jwks_text: Option<String>,
    pub token: String,
    pub expect: String,
    pub prefer: Option<String>,
    pub now: Option<i64>,
    #[serde(default)]
    pub opts: Opts,
    #[serde(default)]
    pub sym: bool,
    pub claims: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub sig_ok: bool,
    pub jws_expect: Option<String>,
}

#[derive(Default, Deserialize)]
pub struct Opts {
    pub aud: Option<String>,
    pub iss: Option<String>,
    pub leeway: Option<u64>,
    pub typ: Option<String>,
    pub algs: Option<Vec<String>>,
}

impl Case {
    pub fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.now.unwrap_or(NOW))
    }

    /// The expected verdict, if the case states one.
    pub fn expected(&self) -> Option<&str> {
        match self.expect.as_str() {
            "either" => self.prefer.as_deref(),
            expected => Some(expected),
        }
    }

    fn policy(&self) -> Policy {
        let algorithms = match &self.opts.algs {
            Some(names) => AlgorithmSet::from_names(names.iter().map(String::as_str)).unwrap(),
            None if self.sym => all_algorithms(),
            None => AlgorithmSet::ASYMMETRIC,
        };
        Policy {
            audience: self.opts.aud.clone().map(|audience| vec![audience]),
            algorithms,
            required_claims: vec![],
            leeway: Duration::from_secs(self.opts.leeway.unwrap_or(0)),
            token_types: self.opts.typ.clone().map(|typ| vec![typ]),
            ..Policy::default()
        }
    }

    /// The keyring, and the errors of the keys that are not in it.
    pub fn keyring(&self) -> (Keyring, Vec<String>) {
        let policy = self.policy();
        let algorithms = policy.algorithms;
        let issuer = self.opts.iss.as_deref().unwrap_or("*");
        let mut keyring = Keyring::new();
        keyring.add_issuer(issuer, policy);

        let text = match &self.jwks_text {
            Some(text) => text.clone(),
            None => self.jwks.as_ref().unwrap().to_string(),
        };
        let entries = match read_jwks(&text, algorithms) {
            Ok(entries) => entries,
            Err(error) => return (keyring, vec![error.to_string()]),
        };
        let mut refused = Vec::new();
        for entry in entries {
            match entry.key {
                Ok(key) => {
                    keyring.add_key(issuer, key.kid(), key.alg(), &entry.jwk, None);
                }
                Err(KeyError::Published { .. }) => {
                    let key = key_even_published(&entry, algorithms).unwrap();
                    add_key_even_published(&mut keyring, issuer, key);
                }
                Err(error) => refused.push(error.to_string()),
            }
        }
        (keyring, refused)
    }
}

/// The entry's key, even if its private half is published: the RFCs' own vectors test tokens.
pub fn key_even_published(entry: &JwksEntry, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    match &entry.key {
        Err(KeyError::Published { .. }) => admit_even_published(&entry.jwk, algorithms),
        key => key.clone(),
    }
}

pub fn all_algorithms() -> AlgorithmSet {
    AlgorithmSet::from_names([
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
        "ML-DSA-44",
        "ML-DSA-65",
        "ML-DSA-87",
        "HS256",
        "HS384",
        "HS512",
    ])
    .unwrap()
}

/// `claims ->> name`, as in Postgres: strings plain, all else as written.
pub fn claim(claims: &str, name: &str) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(claims).unwrap();
    let text = members.get(name)?.get();
    match text.starts_with('"') {
        true => serde_json::from_str(text).unwrap(),
        false => Some(text.to_owned()),
    }
}

/// The path of a file of the test data.
pub fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file)
}

/// The content of a file of the test data; if the file is missing, the test fails.
pub fn read(file: &str) -> Vec<u8> {
    let bytes = fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    if !file.ends_with(".gz") {
        return bytes;
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut text)
        .unwrap();
    text
}

/// The cases of a file. Checks their number, because a truncated file would test less.
pub fn read_cases(file: &str, count: usize) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&read(file)).unwrap();
    assert_eq!(cases.len(), count, "{file}");
    cases
}
