//! The JOSE header (RFC 7515 §4).
//!
//! `alg`, `kid` and `typ` are used, `crit` and `b64` are refused, and all other parameters are
//! ignored. `jwk`, `jku`, `x5u` and `x5c` let the sender choose the key, so they are never read.

use shared_types::Excerpt;

use crate::algorithm::Algorithm;
use crate::error::{Error, Part};
use crate::json::{Object, Value};

/// A header that keeps the rules that apply to every issuer.
pub(crate) struct Header<'h> {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<&'h str>,
    pub(crate) typ: Option<&'h str>,
}

/// Parses the header's JSON, without applying rules.
pub(crate) fn parse(text: &str) -> Result<Object<'_>, Error> {
    Object::parse(text, &[]).map_err(|error| Error::Json {
        part: Part::Header,
        error,
    })
}

impl<'h> Header<'h> {
    pub(crate) fn read(header: &'h Object<'_>) -> Result<Self, Error> {
        let name = string(header, "alg")?.ok_or(Error::MissingAlgorithm)?;
        let alg = Algorithm::from_name(name).ok_or_else(|| Error::UnknownAlgorithm {
            alg: Excerpt::new(name),
        })?;
        // Refused regardless of its content: no extension is understood, and an empty or malformed
        // list is an error too (RFC 7515 §4.1.11).
        if header.get("crit").is_some() {
            return Err(Error::CriticalExtension);
        }
        // `true` is the default; any other value may mean that the signature covers other bytes
        // than those that are read here (RFC 7797 §7).
        if !matches!(header.get("b64"), None | Some(Value::Bool(true))) {
            return Err(Error::UnencodedPayload);
        }
        Ok(Self {
            alg,
            kid: string(header, "kid")?,
            typ: string(header, "typ")?,
        })
    }
}

fn string<'h>(header: &'h Object<'_>, name: &'static str) -> Result<Option<&'h str>, Error> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::HeaderType {
            name,
            expected: "a string",
            found: other.type_name(),
        }),
    }
}
