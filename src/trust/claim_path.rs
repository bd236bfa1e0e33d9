//! A claim by its name, or by its path within the claims.

use std::fmt::{self, Write};

use pgrx::datum::IntoDatum;
use serde_json::Value;

use crate::pg::function::sql_function;

/// Most parts of a path. Real ones have three.
const MAX_PARTS: usize = 16;

/// The place of a claim: member names, and positions in arrays, from the outermost on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// Reads a name, or a path as an array literal of Postgres: `{realm_access,roles,0}`. `None` if it
    /// is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = match text.strip_prefix('{') {
            Some(rest) => elements(rest.strip_suffix('}')?)?,
            None => vec![text.to_owned()],
        };
        Self::of(parts)
    }

    /// The path of these parts; `None` if they are too many, or none, or one is empty.
    pub fn of(parts: Vec<String>) -> Option<Self> {
        let is_good = (1..=MAX_PARTS).contains(&parts.len()) && !parts.iter().any(String::is_empty);
        is_good.then_some(Self(parts))
    }

    /// The value at this place.
    pub fn find_in<'v>(&self, claims: &'v Value) -> Option<&'v Value> {
        let mut parts = self.0.iter();
        parts.try_fold(claims, |value, part| match value {
            Value::Array(elements) => {
                let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
                let position: usize = part.parse().ok().filter(|_| is_number)?;
                elements.get(position)
            }
            value => value.get(part),
        })
    }

    pub fn parts(&self) -> &[String] {
        &self.0
    }
}

/// As [`ClaimPath::parse`] reads it.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [name] = self.0.as_slice()
            && !name.starts_with('{')
        {
            return f.write_str(name);
        }
        for (number, part) in self.0.iter().enumerate() {
            f.write_char(if number == 0 { '{' } else { ',' })?;
            let is_special =
                |ch: char| ch.is_whitespace() || matches!(ch, '{' | '}' | ',' | '"' | '\\');
            if !part.contains(is_special) && !part.eq_ignore_ascii_case("null") {
                f.write_str(part)?;
                continue;
            }
            f.write_char('"')?;
            for ch in part.chars() {
                if matches!(ch, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(ch)?;
            }
            f.write_char('"')?;
        }
        f.write_char('}')
    }
}

/// The elements of a one-dimensional array literal, without its braces (PostgreSQL documentation,
/// section 8.15.2).
fn elements(literal: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = literal.trim_start();
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (part, after) = quoted_element(quoted)?;
                parts.push(part);
                after
            }
            None => {
                let (part, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                let part = part.trim_end();
                if part.contains(['{', '}', '"', '\\']) || part.eq_ignore_ascii_case("null") {
                    return None;
                }
                parts.push(part.to_owned());
                after
            }
        };
        match after.trim_start() {
            "" => return Some(parts),
            after => rest = after.strip_prefix(',')?.trim_start(),
        }
    }
}

/// The element that begins after a quote, and the text behind the closing one.
fn quoted_element(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((part, chars.as_str())),
            '\\' => part.push(chars.next()?),
            other => part.push(other),
        }
    }
}

sql_function!(
    /// `auth.claim_path_is_valid(claim text) RETURNS boolean`, for the constraint of `auth.issuers`.
    pg_auth_jwt_claim_path_is_valid,
    |arguments| {
        let claim = arguments.text(0)?.unwrap_or_default();
        Ok(ClaimPath::parse(&claim).is_some().into_datum())
    }
);

#[cfg(test)]
mod tests {
    use super::ClaimPath;

    fn parts(text: &str) -> Option<Vec<String>> {
        ClaimPath::parse(text).map(|path| path.parts().to_vec())
    }

    #[test]
    fn reads_names_and_array_literals() {
        for (text, wanted) in [
            ("role", &["role"][..]),
            ("https://app.example/role", &["https://app.example/role"]),
            ("a,b", &["a,b"]),
            (" role ", &[" role "]),
            ("{role}", &["role"]),
            ("{realm_access,roles,0}", &["realm_access", "roles", "0"]),
            ("{ a , b }", &["a", "b"]),
            (
                "{https://app.example/claims,x-role}",
                &["https://app.example/claims", "x-role"],
            ),
            ("{\"a,b\",\"c}\"}", &["a,b", "c}"]),
            ("{\"a\\\"b\\\\\"}", &["a\"b\\"]),
            ("{\"null\"}", &["null"]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(parts(text), Some(wanted), "{text}");
            let path = ClaimPath::parse(text);
            let written = path.as_ref().map(ToString::to_string).unwrap_or_default();
            assert_eq!(ClaimPath::parse(&written), path, "{written}");
        }
    }

    #[test]
    fn finds_members_and_elements() {
        let claims = serde_json::json!({"a": {"b": ["x", {"c": 7}]}, "0": "zero", "n": null});
        let find = |path: &str| ClaimPath::parse(path)?.find_in(&claims).cloned();
        assert_eq!(find("{a,b,0}"), Some("x".into()));
        assert_eq!(find("{a,b,1,c}"), Some(7.into()));
        assert_eq!(find("0"), Some("zero".into()));
        for path in [
            "b",
            "{a,c}",
            "{a,b,2}",
            "{a,b,-1}",
            "{a,b,+0}",
            "{a,b,x}",
            "{a,b,0,0}",
            "{n,a}",
            "a,b",
            "{a,b,99999999999999999999}",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn refuses_what_is_neither() {
        for text in [
            "", "{}", "{", "{a", "{a}b", "{a,}", "{,a}", "{a,,b}", "{{a}}", "{null}", "{a,NULL}",
            "{\"a}", "{\"a\"b}", "{\"\"}", "{a\"b}", "{a\\b}",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
        assert!(parts(&format!("{{{}}}", ["a"; 16].join(","))).is_some());
        assert!(parts(&format!("{{{}}}", ["a"; 17].join(","))).is_none());
    }
}
