//! Checks of a login's token that take no key.
//!
//! Before the signature is verified they only save work: a token that they pass is as untrusted as before. The issuer and
//! the scopes are checked again in the verified token.

use std::time::Duration;

use jwt_verify::UnixTime;
use serde_json::Value;

use crate::oauth::errors;
use crate::pg::report::Report;

/// Time after `exp` from which on no worker is started for a token. Before that, the leeway of the issuer's row decides,
/// which only the worker knows.
const LONG_EXPIRED: Duration = Duration::from_secs(3_600);

/// The demands of a line of pg_hba.conf on a token.
pub struct Line<'a> {
    /// Its `iss`.
    pub issuer: &'a str,
    /// The scopes that it must have, separated by spaces.
    pub scope: &'a str,
}

/// Checks a token whose signature is not verified.
///
/// # Errors
///
/// If no key could make it acceptable.
pub fn before_verification(token: &str, line: &Line, now: UnixTime) -> Result<(), Report> {
    let payload = jwt_verify::unverified_payload(token).ok_or_else(errors::malformed)?;
    let claims = line.check(&payload)?;
    let ends = claims.get("exp").and_then(Value::as_f64);
    let is_over = |end: f64| {
        let now = now.as_micros() as f64 / 1e6;
        end + LONG_EXPIRED.as_secs_f64() <= now
    };
    if ends.is_some_and(is_over) {
        return Err(errors::expired());
    }
    Ok(())
}

impl Line<'_> {
    /// Checks the claims of a payload that the line asks for, and returns all claims.
    ///
    /// # Errors
    ///
    /// If the issuer is another one, or a scope is missing.
    pub fn check(&self, payload: &str) -> Result<Value, Report> {
        let claims: Value = serde_json::from_str(payload).map_err(|_| errors::malformed())?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err(errors::other_issuer(self.issuer));
        }
        if !self.has_scopes(&claims) {
            return Err(errors::no_scope(self.scope));
        }
        Ok(claims)
    }

    /// Whether the token has all scopes: in `scope` (RFC 8693 §4.2) or `scp`, as a text or as an array.
    fn has_scopes(&self, claims: &Value) -> bool {
        let claimed = || {
            let values = ["scope", "scp"].iter().filter_map(|name| claims.get(name));
            values.flat_map(|value| match value {
                Value::Array(items) => items.as_slice(),
                other => std::slice::from_ref(other),
            })
        };
        let has = |wanted: &str| {
            claimed()
                .filter_map(Value::as_str)
                .any(|text| text.split(' ').any(|scope| scope == wanted))
        };
        let mut wanted = self.scope.split([' ', '\t']);
        wanted.all(|scope| scope.is_empty() || has(scope))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jwt_verify::UnixTime;

    use super::{Line, before_verification};

    const LINE: Line = Line {
        issuer: "https://a.example",
        scope: "db  read",
    };

    fn token(payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part("{}"), part(payload), part("signature"))
    }

    /// The SQLSTATE of the refusal.
    fn refusal(token: &str, now: i64) -> Option<String> {
        let now = UnixTime::from_seconds(now);
        let refusal = before_verification(token, &LINE, now).err()?;
        Some(String::from_utf8_lossy(refusal.sqlstate.0).into_owned())
    }

    #[test]
    fn takes_each_form_of_scopes() {
        for scopes in [
            r#""scope": "db read""#,
            r#""scope": "write read db""#,
            r#""scp": "read db""#,
            r#""scp": ["db", "read"]"#,
            r#""scope": ["read"], "scp": ["db"]"#,
        ] {
            let payload = format!(r#"{{"iss": "https://a.example", {scopes}}}"#);
            assert_eq!(refusal(&token(&payload), 0), None, "{scopes}");
        }
    }

    #[test]
    fn refuses_a_token_that_lacks_a_scope() {
        for scopes in [
            r#""x": 1"#,
            r#""scope": "db""#,
            r#""scope": "dbread""#,
            r#""scope": "db,read""#,
            r#""scope": "DB READ""#,
            r#""scope": {"db": 1, "read": 1}"#,
            r#""scope": null"#,
            r#""scp": ["db", ["read"]]"#,
            r#""scopes": "db read""#,
        ] {
            let payload = format!(r#"{{"iss": "https://a.example", {scopes}}}"#);
            assert_eq!(
                refusal(&token(&payload), 0).as_deref(),
                Some("28J09"),
                "{scopes}"
            );
        }
    }

    #[test]
    fn refuses_another_issuer() {
        for issuer in [
            r#""https://a.example/""#,
            r#""https://b.example""#,
            r#"["https://a.example"]"#,
            "null",
            "1",
        ] {
            let payload = format!(r#"{{"iss": {issuer}, "scope": "db read"}}"#);
            assert_eq!(
                refusal(&token(&payload), 0).as_deref(),
                Some("28J07"),
                "{issuer}"
            );
        }
        let none = token(r#"{"scope": "db read"}"#);
        assert_eq!(refusal(&none, 0).as_deref(), Some("28J07"));
    }

    #[test]
    fn refuses_what_is_no_token() {
        let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
        for text in [
            "",
            "a",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            &token("[]"),
            &token("1"),
            &token(&deep),
        ] {
            let code = refusal(text, 0);
            assert!(
                matches!(code.as_deref(), Some("28J01" | "28J07")),
                "{code:?}"
            );
        }
    }

    #[test]
    fn leaves_a_token_that_has_just_expired_to_the_leeway() {
        let claims = r#""iss": "https://a.example", "scope": "db read""#;
        for (exp, now, wanted) in [
            ("1000", 0, None),
            ("1000", 1000, None),
            ("1000", 4599, None),
            ("1000", 4600, Some("28J05")),
            ("1000.5", 4600, None),
            ("-1e300", 0, Some("28J05")),
            ("1e300", 4600, None),
            ("\"1000\"", 9999, None),
        ] {
            let payload = format!(r#"{{{claims}, "exp": {exp}}}"#);
            assert_eq!(
                refusal(&token(&payload), now).as_deref(),
                wanted,
                "{exp} at {now}"
            );
        }
    }
}
