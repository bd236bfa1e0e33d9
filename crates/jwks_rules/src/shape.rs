//! Names an answer that is no JWK Set for what it is: for a message, and nothing else.

use serde_json::{Map, Value};

use crate::excerpt;

/// Form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing, or white space.
    Empty,
    /// HTML or XML.
    WebPage,
    /// A byte order mark before the rest.
    ByteOrderMark,
    /// A function's call with JSON in it (JSONP), or another script.
    Script,
    /// A key or a certificate in PEM form.
    Pem,
    /// A token in compact form.
    Token,
    /// An array of keys; with whether one of them has secret members.
    Array {
        /// Whether it has.
        has_secret: bool,
    },
    /// A discovery document; with the URL of the keys that it names: quoted, escaped, shortened.
    Discovery {
        /// The URL.
        jwks_uri: String,
    },
    /// Anything else.
    Other,
}

/// Members of a JWK that only a private key or a shared secret has (RFC 7518 §6).
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Shape {
    /// The form of an answer's text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.starts_with('\u{feff}') {
            return Self::ByteOrderMark;
        }
        let text = text.trim();
        let Some(first) = text.chars().next() else {
            return Self::Empty;
        };
        if first == '<' {
            return Self::WebPage;
        }
        if text.starts_with("-----BEGIN") {
            return Self::Pem;
        }
        if text.starts_with("eyJ") {
            return Self::Token;
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Self::of_object(&members),
            Ok(Value::Array(keys)) => Self::Array {
                has_secret: keys.iter().any(is_secret),
            },
            Ok(_) => Self::Other,
            Err(_) if first.is_ascii_alphabetic() || first == '/' => Self::Script,
            Err(_) => Self::Other,
        }
    }

    fn of_object(members: &Map<String, Value>) -> Self {
        match members.get("jwks_uri") {
            Some(Value::String(uri)) if !members.contains_key("keys") => Self::Discovery {
                jwks_uri: excerpt::quoted(uri),
            },
            _ => Self::Other,
        }
    }
}

fn is_secret(key: &Value) -> bool {
    let members = key.as_object();
    members.is_some_and(|members| SECRET.iter().any(|name| members.contains_key(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_named_for_what_it_is() {
        let cases = [
            ("", Shape::Empty),
            (" \n", Shape::Empty),
            ("\n<!DOCTYPE html>", Shape::WebPage),
            ("<?xml version=\"1.0\"?>", Shape::WebPage),
            ("\u{feff}{\"keys\":[]}", Shape::ByteOrderMark),
            ("callback({\"keys\":[]})", Shape::Script),
            ("/**/ f({})", Shape::Script),
            ("-----BEGIN PUBLIC KEY-----", Shape::Pem),
            ("eyJhbGciOiJSUzI1NiJ9.e30.x", Shape::Token),
            ("[]", Shape::Array { has_secret: false }),
            (
                r#"[{"kty":"OKP","x":"a"}]"#,
                Shape::Array { has_secret: false },
            ),
            (
                r#"[{"kty":"OKP","x":"a"},{"kty":"OKP","d":null}]"#,
                Shape::Array { has_secret: true },
            ),
            (
                r#"[{"kty":"oct","k":"a"}]"#,
                Shape::Array { has_secret: true },
            ),
            (
                r#"{"issuer":"i","jwks_uri":"https://a/\u001b"}"#,
                Shape::Discovery {
                    jwks_uri: r#""https://a/\u{1b}""#.to_owned(),
                },
            ),
            (r#"{"jwks_uri":5}"#, Shape::Other),
            (r#"{"jwks_uri":"https://a","keys":{}}"#, Shape::Other),
            ("{}", Shape::Other),
            ("true", Shape::Other),
            (r#"{"keys":["#, Shape::Other),
        ];
        for (text, shape) in cases {
            assert_eq!(Shape::of(text), shape, "{text}");
        }
        assert_eq!(Shape::of(&"[".repeat(100_000)), Shape::Other);
    }
}
