//! The claims of a token that was not verified, for an audit log.

use crate::claims::Claims;
use crate::header;
use crate::json::Value;
use crate::token::Token;

/// The claims of a token without any proof: nothing in it was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnverifiedClaims {
    /// `iss`, if it is a string.
    pub issuer: Option<String>,
    /// `kid` of the header, if it is a string.
    pub key_id: Option<String>,
    /// `sub`, if it is a string.
    pub subject: Option<String>,
    /// `jti`, if it is a string.
    pub token_id: Option<String>,
}

/// Reads as much as possible of a token that [`verify`](crate::verify()) refused. Never use it for
/// a decision: anyone can write such a token.
pub fn unverified_claims(token: &str) -> UnverifiedClaims {
    let Ok(token) = Token::parse(token) else {
        return UnverifiedClaims::default();
    };
    let header = header::parse(&token.header).ok();
    let key_id = header
        .as_ref()
        .and_then(|header| header.get("kid")?.as_str());
    let claims = Claims::parse(&token.payload).ok();
    let claim = |name| {
        let value: Option<&Value<'_>> = claims.as_ref().and_then(|claims| claims.get(name));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    UnverifiedClaims {
        issuer: claim("iss"),
        key_id: key_id.map(str::to_owned),
        subject: claim("sub"),
        token_id: claim("jti"),
    }
}

/// The payload of such a token as JSON; `None` if it has not the form of a token.
pub fn unverified_payload(token: &str) -> Option<String> {
    Some(Token::parse(token).ok()?.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        // {"alg":"none","kid":"k"} . {"iss":"i","sub":5,"jti":"j"} . x
        let token = "eyJhbGciOiJub25lIiwia2lkIjoiayJ9.eyJpc3MiOiJpIiwic3ViIjo1LCJqdGkiOiJqIn0.eA";
        let expected = UnverifiedClaims {
            issuer: Some("i".to_owned()),
            key_id: Some("k".to_owned()),
            subject: None,
            token_id: Some("j".to_owned()),
        };
        assert_eq!(unverified_claims(token), expected);
    }

    #[test]
    fn is_empty_for_what_is_no_token() {
        for text in ["", "..", "a.b.c", "not a token"] {
            assert_eq!(
                unverified_claims(text),
                UnverifiedClaims::default(),
                "{text}"
            );
        }
    }
}
