//! JSON Web Key Sets (RFC 7517 §5).

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use shared_types::Excerpt;

use crate::algorithm::AlgorithmSet;
use crate::json::{JsonError, JsonFault, KeySet, Object, Value};
use crate::jwk::{Key, KeyError, is_private, is_secret, parse_jwk};
use crate::key_type::KeyType;
use crate::limits::{MAX_JWKS_BYTES, MAX_JWKS_KEYS};

/// The entry that [`read_jwks`] found at one place of the set.
///
/// `Debug` leaves the JWK out: it may be private.
#[derive(Clone)]
pub struct JwksEntry {
    /// The place in the `keys` array, from 0; 0 for a lone JWK.
    pub index: usize,
    /// The entry's `kid`, even if the key itself is not usable.
    pub kid: Option<String>,
    /// The entry's JSON text, as given.
    pub jwk: String,
    /// The key, or why it cannot be used.
    pub key: Result<Key, KeyError>,
}

impl fmt::Debug for JwksEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksEntry")
            .field("index", &self.index)
            .field("kid", &self.kid.as_deref().map(Excerpt::new))
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why a text is neither a JWK Set nor a JWK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// The text is longer than [`MAX_JWKS_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is not an acceptable JSON object.
    Json(JsonError),
    /// There is no text but white space.
    Empty,
    /// The text begins with a byte order mark (RFC 8259 §8.1).
    ByteOrderMark,
    /// The text begins with `<`, as HTML and XML do.
    WebPage,
    /// The text is a key or a certificate in PEM form (RFC 7468).
    Pem,
    /// The text is a token in compact form (RFC 7515 §3.1).
    Token,
    /// The text is no JSON and begins as a script does, such as a function's call with JSON in it.
    Script,
    /// An array in place of a set.
    Array {
        /// Whether one of its objects is a private key.
        has_private_key: bool,
        /// Whether one of its objects is a shared secret.
        has_secret: bool,
    },
    /// The object names the URL of the set (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
    Discovery {
        /// The URL that it says, if that is a text.
        jwks_uri: Option<Excerpt>,
    },
    /// The object has neither `keys` (RFC 7517 §5.1) nor `kty` (§4.1).
    NotASet,
    /// `keys` is not an array (RFC 7517 §5.1).
    KeysNotAnArray,
    /// The set has more than [`MAX_JWKS_KEYS`] keys.
    TooManyKeys,
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "JWKS of {bytes} bytes is longer than {MAX_JWKS_BYTES} bytes"
            ),
            Self::Json(error) => write!(f, "JWKS {error}"),
            Self::Empty => write!(f, "JWKS is empty"),
            Self::ByteOrderMark => write!(f, "JWKS begins with a byte order mark"),
            Self::WebPage => write!(f, "JWKS is a web page: it begins with \"<\""),
            Self::Pem => write!(f, "JWKS is in PEM form, and a set is JSON"),
            Self::Token => write!(f, "JWKS is a token"),
            Self::Script => write!(f, "JWKS is a script, and a set is JSON"),
            Self::Array { .. } => write!(
                f,
                "JWKS is an array of keys, and a set is an object around it: {{\"keys\": [...]}}"
            ),
            Self::Discovery { .. } => write!(
                f,
                "JWKS is a discovery document: the keys are behind the URL in its member \"jwks_uri\""
            ),
            Self::NotASet => write!(f, "JWKS has neither a member \"keys\" nor \"kty\""),
            Self::KeysNotAnArray => write!(f, "member \"keys\" of the JWKS is not an array"),
            Self::TooManyKeys => write!(f, "JWKS has more than {MAX_JWKS_KEYS} keys"),
        }
    }
}

impl JwksError {
    /// Whether the text holds a private key, which should never be given to a verifier.
    pub fn is_private_key(&self) -> bool {
        matches!(
            self,
            Self::Array {
                has_private_key: true,
                ..
            }
        )
    }
}

impl std::error::Error for JwksError {}

/// Reads a JWK Set, or one JWK, and admits each key as [`Key::from_jwk`] does.
///
/// A key that cannot be used does not affect the others (RFC 7517 §5), so the errors are in the
/// entries. If two different usable keys have the same `kid` and type, both are unusable, because
/// nothing says which one is meant (RFC 7517 §4.5). An exact repetition is left out; the same key
/// under another `kid` or `alg` is an entry of its own, and counts under each.
///
/// # Errors
///
/// If the text as a whole is neither a set nor a key, or exceeds its limits.
pub fn read_jwks(text: &str, algorithms: AlgorithmSet) -> Result<Vec<JwksEntry>, JwksError> {
    if text.len() > MAX_JWKS_BYTES {
        return Err(JwksError::TooLong { bytes: text.len() });
    }
    let texts = match KeySet::parse(text).map_err(|error| not_an_object(text, error))? {
        KeySet::Keys(keys) => keys,
        KeySet::NoKeys { has_kty: true, .. } => vec![text.trim_ascii()],
        KeySet::NoKeys {
            has_jwks_uri: true, ..
        } => return Err(discovery(text)),
        KeySet::NoKeys { .. } => return Err(JwksError::NotASet),
        KeySet::KeysNotAnArray => return Err(JwksError::KeysNotAnArray),
        KeySet::TooManyKeys => return Err(JwksError::TooManyKeys),
    };
    let mut entries: Vec<_> = texts
        .into_iter()
        .enumerate()
        .map(|(index, jwk)| read_entry(index, jwk, algorithms))
        .collect();
    merge_repetitions(&mut entries);
    refuse_duplicate_ids(&mut entries);
    Ok(entries)
}

/// The error for a text that is no acceptable JSON object, by what it looks like.
fn not_an_object(text: &str, error: JsonError) -> JwksError {
    if text.starts_with('\u{feff}') {
        return JwksError::ByteOrderMark;
    }
    let start = text.trim_ascii_start();
    let Some(first) = start.chars().next() else {
        return JwksError::Empty;
    };
    if first == '<' {
        return JwksError::WebPage;
    }
    if start.starts_with("-----BEGIN") {
        return JwksError::Pem;
    }
    if start.starts_with("eyJ") {
        return JwksError::Token;
    }
    if error.fault != JsonFault::NotAnObject {
        let is_script = first.is_ascii_alphabetic() || first == '/';
        return match is_script {
            true => JwksError::Script,
            false => JwksError::Json(error),
        };
    }
    match KeySet::parse(&format!("{{\"keys\":{text}}}")) {
        Ok(KeySet::Keys(keys)) => JwksError::Array {
            has_private_key: keys.iter().any(|jwk| is_private(jwk)),
            has_secret: keys.iter().any(|jwk| is_secret(jwk)),
        },
        Ok(KeySet::NoKeys { .. } | KeySet::KeysNotAnArray | KeySet::TooManyKeys) | Err(_) => {
            JwksError::Json(error)
        }
    }
}

/// The error for a discovery document.
fn discovery(text: &str) -> JwksError {
    let document = Object::parse(text, &[]).ok();
    let uri = document
        .as_ref()
        .and_then(|members| members.get("jwks_uri"));
    JwksError::Discovery {
        jwks_uri: uri.and_then(Value::as_str).map(Excerpt::new),
    }
}

fn read_entry(index: usize, jwk: &str, algorithms: AlgorithmSet) -> JwksEntry {
    let (kid, key) = match parse_jwk(jwk) {
        Ok(object) => {
            let kid = object.get("kid").and_then(Value::as_str).map(str::to_owned);
            (kid, Key::admit(&object, None, algorithms))
        }
        Err(error) => (None, Err(error)),
    };
    JwksEntry {
        index,
        kid,
        jwk: jwk.to_owned(),
        key,
    }
}

/// Leaves out exact repetitions. The same key under another `kid` or `alg` stays: a name is an alias.
fn merge_repetitions(entries: &mut Vec<JwksEntry>) {
    type Name = (String, Option<String>, AlgorithmSet);
    let mut first_places: HashMap<Name, Key> = HashMap::new();
    entries.retain_mut(|entry| {
        let Ok(key) = &entry.key else {
            return true;
        };
        let name = (
            key.thumbprint().to_owned(),
            entry.kid.clone(),
            key.algorithms(),
        );
        match first_places.entry(name) {
            MapEntry::Vacant(place) => {
                place.insert(key.clone());
                true
            }
            MapEntry::Occupied(first) if first.get().is_the_same_as(key) => false,
            MapEntry::Occupied(_) => {
                entry.key = Err(KeyError::OtherIssuer);
                true
            }
        }
    });
}

/// Refuses keys that differ and have one name (RFC 7517 §4.5).
fn refuse_duplicate_ids(entries: &mut [JwksEntry]) {
    type Id = (String, KeyType);
    fn id(entry: &JwksEntry) -> Option<(Id, &str)> {
        let key = entry.key.as_ref().ok()?;
        Some(((entry.kid.clone()?, key.key_type()), key.thumbprint()))
    }

    let mut first: HashMap<Id, &str> = HashMap::new();
    let mut doubtful: HashSet<Id> = HashSet::new();
    for (id, thumbprint) in entries.iter().filter_map(id) {
        if *first.entry(id.clone()).or_insert(thumbprint) != thumbprint {
            doubtful.insert(id);
        }
    }
    for entry in entries {
        if id(entry).is_some_and(|(id, _)| doubtful.contains(&id)) {
            entry.key = Err(KeyError::DuplicateKeyId);
        }
    }
}
