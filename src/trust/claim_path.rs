//! A claim by its name, or by its path within the claims.

use pgrx::datum::IntoDatum;

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
        let is_good = (1..=MAX_PARTS).contains(&parts.len()) && !parts.iter().any(String::is_empty);
        is_good.then_some(Self(parts))
    }

    pub fn parts(&self) -> &[String] {
        &self.0
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
