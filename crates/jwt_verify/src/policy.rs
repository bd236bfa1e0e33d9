//! The rules for an issuer's tokens.

use std::time::Duration;

use crate::algorithm::AlgorithmSet;

/// The type of a token whose header has no `typ` (RFC 7519 §5.1).
pub(crate) const DEFAULT_TOKEN_TYPE: &str = "JWT";

/// The rules for the tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether its tokens are accepted at all.
    pub enabled: bool,
    /// The audiences of which a token must have one, compared byte for byte
    /// (RFC 7519 §4.1.3). `None`: not checked, but `aud` must be well-formed.
    pub audience: Option<Vec<String>>,
    /// The algorithms that its tokens may use (RFC 8725 §3.1).
    pub algorithms: AlgorithmSet,
    /// The claims that a token must have.
    pub required_claims: Vec<String>,
    /// The allowed difference between the issuer's clock and ours.
    pub leeway: Duration,
    /// Time after `iat` for which a token is accepted. `None`: no limit. With a limit, `iat` is
    /// required.
    pub max_age: Option<Duration>,
    /// The accepted values of `typ` (RFC 8725 §3.11), in any case and with or without
    /// `application/` (RFC 7515 §4.1.9). An absent `typ` counts as `JWT`. `None`: not compared, but
    /// a `typ` must be a string.
    pub token_types: Option<Vec<String>>,
    /// Whether tokens that are bound to a key (claim `cnf`) are accepted.
    pub bound_tokens: BoundTokens,
}

/// Treatment of tokens that are bound to a key of their holder (RFC 7800), such as those of DPoP
/// (RFC 9449) or of mutual TLS (RFC 8705). The proof of that key is part of a request that the
/// verifier does not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoundTokens {
    /// They are refused.
    #[default]
    Refuse,
    /// They are accepted like bearer tokens, without a proof of the key.
    Accept,
}

impl BoundTokens {
    /// The treatment of this name, `refuse` or `accept`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "refuse" => Some(Self::Refuse),
            "accept" => Some(Self::Accept),
            _ => None,
        }
    }
}

impl Default for Policy {
    /// Enabled, any audience, the asymmetric algorithms, `exp` required, 60 seconds of
    /// leeway, no `max_age`, `typ` `JWT` or `at+jwt`, no bound tokens.
    fn default() -> Self {
        Self {
            enabled: true,
            audience: None,
            algorithms: AlgorithmSet::ASYMMETRIC,
            required_claims: vec!["exp".to_owned()],
            leeway: Duration::from_secs(60),
            max_age: None,
            token_types: Some(vec!["JWT".to_owned(), "at+jwt".to_owned()]),
            bound_tokens: BoundTokens::Refuse,
        }
    }
}

impl Policy {
    /// Whether a token whose header has this `typ` is of an accepted type.
    pub(crate) fn accepts_type(&self, typ: Option<&str>) -> bool {
        let Some(types) = &self.token_types else {
            return true;
        };
        let typ = bare_media_type(typ.unwrap_or(DEFAULT_TOKEN_TYPE));
        types
            .iter()
            .any(|accepted| bare_media_type(accepted).eq_ignore_ascii_case(typ))
    }
}

/// A media type without the optional `application/` (RFC 7515 §4.1.9).
fn bare_media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_any_case_with_or_without_prefix() {
        let policy = Policy::default();
        for typ in [
            "JWT",
            "jwt",
            "application/jwt",
            "APPLICATION/AT+JWT",
            "at+jwt",
        ] {
            assert!(policy.accepts_type(Some(typ)), "{typ}");
        }
        for typ in [
            "",
            "JOSE",
            "dpop+jwt",
            "jwt ",
            "text/jwt",
            "application/application/jwt",
            // As long as the prefix and the type.
            "applicationsjwt",
        ] {
            assert!(!policy.accepts_type(Some(typ)), "{typ}");
        }
        let prefixed = Policy {
            token_types: Some(vec!["application/at+jwt".to_owned()]),
            ..Policy::default()
        };
        assert!(prefixed.accepts_type(Some("AT+JWT")));
        assert!(!prefixed.accepts_type(Some("JWT")));
        let any = Policy {
            token_types: None,
            ..Policy::default()
        };
        assert!(any.accepts_type(Some("whatever")));
    }

    #[test]
    fn bound_tokens_are_refused_or_accepted_by_name() {
        assert_eq!(BoundTokens::from_name("refuse"), Some(BoundTokens::Refuse));
        assert_eq!(BoundTokens::from_name("accept"), Some(BoundTokens::Accept));
        for name in ["", "Accept", "accept ", "yes"] {
            assert_eq!(BoundTokens::from_name(name), None, "{name}");
        }
    }
}
