//! The cases of tests/vectors and how they are set up.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use jwt_verify::cross_check::{add_key_even_published, admit_even_published};
use jwt_verify::{AlgorithmSet, JwksEntry, Key, KeyError, Keyring, Policy, UnixMicros, read_jwks};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The time of a case that does not say: 2026-01-01.
const NOW: i64 = 1_767_225_600;

const SECOND: UnixMicros = 1_000_000;

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
    pub leeway: Option<i64>,
    pub typ: Option<String>,
    pub algs: Option<Vec<String>>,
}

impl Case {
    pub fn now(&self) -> UnixMicros {
        self.now.unwrap_or(NOW) * SECOND
    }

    /// What the case says is right, if it says anything.
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
            leeway: self.opts.leeway.unwrap_or(0) * SECOND,
            token_types: self.opts.typ.clone().map(|typ| vec![typ]),
            ..Policy::default()
        }
    }

    /// The keyring, and what is wrong with the keys that are not in it.
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

/// The entry's key, although its private half is published: the RFCs' own vectors are about tokens.
pub fn key_even_published(entry: &JwksEntry, algorithms: AlgorithmSet) -> Result<Key, KeyError> {
    match &entry.key {
        Err(KeyError::Published { .. }) => admit_even_published(&entry.jwk, algorithms),
        key => key.clone(),
    }
}

pub fn all_algorithms() -> AlgorithmSet {
    AlgorithmSet::from_names([
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        "HS256", "HS384", "HS512",
    ])
    .unwrap()
}

/// `claims ->> name`, as Postgres has it: strings plain, all else as written.
pub fn claim(claims: &str, name: &str) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(claims).unwrap();
    let text = members.get(name)?.get();
    match text.starts_with('"') {
        true => serde_json::from_str(text).unwrap(),
        false => Some(text.to_owned()),
    }
}

/// The project's own vectors.
pub fn own(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file)
}

/// Vectors that stay outside the repository, in a folder beside it. `None`
/// where there is none.
pub fn shared(file: &str) -> Option<Vec<u8>> {
    // Through symlinks, so that `..` is the neighbour of the real repository.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().ok()?;
    let path = root.join("../../../shared/vectors").join(file);
    let bytes = fs::read(path).ok()?;
    if !file.ends_with(".gz") {
        return Some(bytes);
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut text)
        .unwrap();
    Some(text)
}
