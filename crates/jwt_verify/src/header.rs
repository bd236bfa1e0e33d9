//! The JOSE header (RFC 7515 §4).
//!
//! Of all its parameters `alg`, `kid` and `typ` are obeyed, `crit` and `b64`
//! refused. `jwk`, `jku`, `x5u` and `x5c` let the sender choose the key, so
//! they are never looked at.

use crate::algorithm::Algorithm;
use crate::error::{Error, Part};
use crate::excerpt::Excerpt;
use crate::json::{Object, Value};

/// A header that keeps the rules that hold for every issuer.
pub(crate) struct Header<'h> {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<&'h str>,
    pub(crate) typ: Option<&'h str>,
}

/// Reads the header's JSON, without judging it.
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
        // Whatever it lists: no extension is understood, and an empty or
        // malformed list is an error of its own (RFC 7515 §4.1.11).
        if header.get("crit").is_some() {
            return Err(Error::CriticalExtension);
        }
        // `true` is what holds anyway; anything else may mean that the
        // signature covers other bytes than those that we read (RFC 7797 §7).
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
