//! The outer form of a token: a JWS in compact serialisation (RFC 7515 §7.1).

use crate::base64url;
use crate::error::{Error, Part};
use crate::json::JsonFault;
use crate::limits::MAX_TOKEN_BYTES;
use crate::signature::Signature;

/// A token split into its parts; nothing in it is trusted yet.
pub(crate) struct Token<'t> {
    /// The text that the signature covers: header, dot and payload as they came.
    pub(crate) signed: &'t str,
    pub(crate) signature: Signature<'t>,
    /// The header's JSON text.
    pub(crate) header: String,
    /// The payload's JSON text.
    pub(crate) payload: String,
}

impl<'t> Token<'t> {
    pub(crate) fn parse(token: &'t str) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TokenTooLong { bytes: token.len() });
        }
        let (signed, header, payload, signature) = split(token)?;
        for (part, text) in [
            (Part::Header, header),
            (Part::Payload, payload),
            (Part::Signature, signature),
        ] {
            if text.is_empty() {
                return Err(Error::EmptyPart(part));
            }
        }
        let header = decode(Part::Header, header)?;
        let payload = decode(Part::Payload, payload)?;
        let signature = Signature {
            encoded: signature,
            bytes: decode(Part::Signature, signature)?.len(),
        };
        Ok(Self {
            signed,
            signature,
            header: utf8(Part::Header, header)?,
            payload: utf8(Part::Payload, payload)?,
        })
    }
}

/// The signed text, the header, the payload and the signature.
fn split(token: &str) -> Result<(&str, &str, &str, &str), Error> {
    let parts = || {
        token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, payload) = signed.split_once('.')?;
            (!payload.contains('.')).then_some((signed, header, payload, signature))
        })
    };
    parts().ok_or_else(|| Error::PartCount {
        parts: token.split('.').count(),
    })
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, Error> {
    base64url::decode(text).map_err(|_| Error::NotBase64url(part))
}

fn utf8(part: Part, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::Json {
        part,
        error: JsonFault::NotUtf8.into(),
    })
}
