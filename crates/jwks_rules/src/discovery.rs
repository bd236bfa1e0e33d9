//! Discovery: the document in which an issuer names the URL of its keys. OpenID Connect and OAuth
//! 2.0 have one each, with the same two members.

use std::fmt;

use serde::Deserialize;
use shared_types::Excerpt;

use crate::endpoint_url::{EndpointUrl, UrlError};

/// Path of the discovery document below an issuer (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Returns the URL of an issuer's discovery document (OpenID Connect Discovery 1.0 §4.1): the
/// issuer without a slash at its end, and the well-known path.
///
/// # Errors
/// The issuer is no URL that can be fetched, or it has a query.
pub fn discovery_url(issuer: &str) -> Result<EndpointUrl, UrlError> {
    if issuer.contains(['?', '#']) {
        return Err(UrlError::NotAUrl);
    }
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    EndpointUrl::parse(&format!("{issuer}{WELL_KNOWN}"))
}

/// Path of OAuth metadata at the issuer's host; the issuer's own path comes after it (RFC 8414 §3.1).
const OAUTH_WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";

/// Returns the URL of an issuer's OAuth metadata, which may exist without a discovery document.
///
/// # Errors
/// As for [`discovery_url`].
pub fn metadata_url(issuer: &str) -> Result<EndpointUrl, UrlError> {
    if issuer.contains(['?', '#']) {
        return Err(UrlError::NotAUrl);
    }
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let (scheme, rest) = issuer.split_once("://").ok_or(UrlError::NotAUrl)?;
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) => (host, format!("/{path}")),
        None => (rest, String::new()),
    };
    EndpointUrl::parse(&format!("{scheme}://{host}{OAUTH_WELL_KNOWN}{path}"))
}

/// Whether a URL is that of a discovery document or of OAuth metadata, by its path. A query and a slash at
/// its end do not matter.
#[must_use]
pub fn is_discovery(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.ends_with(WELL_KNOWN) {
        return true;
    }
    // The issuer's path comes after this one. Some issuers have their keys there, too.
    let has_keys = |path: &str| {
        let last = path.rsplit('/').next().unwrap_or(path);
        ["jwks", "jwks.json", "keys", "certs"].contains(&last)
    };
    match path.split_once(OAUTH_WELL_KNOWN) {
        Some((_, "")) => true,
        Some((_, behind)) => behind.starts_with('/') && !has_keys(behind),
        None => false,
    }
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Returns the URL of the JWK Set that a discovery document names.
///
/// # Errors
/// It is no such document, has one of the two members twice, is of another issuer (OpenID Connect
/// Discovery 1.0 §4.3: to the byte), or names no URL that can be fetched.
pub fn read_discovery(document: &str, issuer: &str) -> Result<EndpointUrl, DiscoveryError> {
    let document: Document =
        serde_json::from_str(document).map_err(|_| DiscoveryError::NotADocument)?;
    if document.issuer != issuer {
        return Err(DiscoveryError::OtherIssuer(Excerpt::new(&document.issuer)));
    }
    EndpointUrl::parse(&document.jwks_uri).map_err(DiscoveryError::JwksUri)
}

/// Reason why a discovery document is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Not a JSON object with one text `issuer` and one text `jwks_uri`.
    NotADocument,
    /// The issuer that it names.
    OtherIssuer(Excerpt),
    /// Fault of its `jwks_uri`.
    JwksUri(UrlError),
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADocument => f.write_str(
                "discovery document is not a JSON object with \"issuer\" and \"jwks_uri\"",
            ),
            Self::OtherIssuer(issuer) => {
                write!(f, "discovery document is of the issuer {issuer}")
            }
            Self::JwksUri(error) => write!(f, "discovery document's \"jwks_uri\": {error}"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://example.com";

    fn read(document: &str) -> Result<String, DiscoveryError> {
        read_discovery(document, ISSUER).map(|url| url.as_str().to_owned())
    }

    #[test]
    fn the_document_is_below_the_issuer() {
        let url = |issuer| discovery_url(issuer).map(|url| url.as_str().to_owned());
        let expected = "https://example.com/.well-known/openid-configuration";
        assert_eq!(url("https://example.com").unwrap(), expected);
        assert_eq!(url("https://example.com/").unwrap(), expected);
        assert_eq!(
            url("https://example.com/tenant").unwrap(),
            "https://example.com/tenant/.well-known/openid-configuration"
        );
        assert_eq!(url("accounts.example.com"), Err(UrlError::NotAUrl));
        assert_eq!(url("http://1.1.1.1"), Err(UrlError::NotEncrypted));
        assert_eq!(
            url("http://localhost:3000").unwrap(),
            "http://localhost:3000/.well-known/openid-configuration"
        );
        assert_eq!(url("https://example.com/?a"), Err(UrlError::NotAUrl));
        assert_eq!(url("*"), Err(UrlError::NotAUrl));
    }

    #[test]
    fn metadata_is_at_the_host() {
        let url = |issuer| metadata_url(issuer).map(|url| url.as_str().to_owned());
        let expected = "https://example.com/.well-known/oauth-authorization-server";
        assert_eq!(url("https://example.com").unwrap(), expected);
        assert_eq!(url("https://example.com/").unwrap(), expected);
        assert_eq!(
            url("https://example.com:8443/realms/a/").unwrap(),
            "https://example.com:8443/.well-known/oauth-authorization-server/realms/a"
        );
        for issuer in ["example.com", "https://example.com/?a", "*", ""] {
            assert_eq!(url(issuer), Err(UrlError::NotAUrl), "{issuer}");
        }
    }

    #[test]
    fn a_document_is_known_by_its_path() {
        for path in [
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/",
            "/v2.0/.well-known/openid-configuration?appid=1",
            "/v2.0/.well-known/openid-configuration/?appid=1/2",
            "/.well-known/oauth-authorization-server",
            "/.well-known/oauth-authorization-server/",
            "/.well-known/oauth-authorization-server/realms/a?x",
            "/a/.well-known/oauth-authorization-server",
        ] {
            assert!(
                is_discovery(&format!("https://example.com{path}")),
                "{path}"
            );
        }
        for path in [
            "",
            "/jwks",
            "/.well-known/jwks.json",
            // IdentityServer's keys.
            "/.well-known/openid-configuration/jwks",
            "/.well-known/openid-configurations",
            "/jwks?of=/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-servers",
            "/.well-known/oauth-authorization-server/jwks.json",
        ] {
            assert!(
                !is_discovery(&format!("https://example.com{path}")),
                "{path}"
            );
        }
    }

    #[test]
    fn names_the_url_of_the_keys() {
        let document = r#"{"issuer":"https://example.com","other":[{}],
            "jwks_uri":"https://keys.example.com/jwks"}"#;
        assert_eq!(read(document).unwrap(), "https://keys.example.com/jwks");
    }

    #[test]
    fn the_issuer_is_compared_to_the_byte() {
        for issuer in [
            "https://example.com/",
            "https://EXAMPLE.com",
            "",
            "https://example.org",
        ] {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://a.example/"}}"#);
            let error = read(&document).unwrap_err();
            assert_eq!(error, DiscoveryError::OtherIssuer(Excerpt::new(issuer)));
        }
    }

    #[test]
    fn refuses_what_is_no_document() {
        let deep = "[".repeat(100_000);
        for document in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"issuer":"https://example.com"}"#,
            r#"{"issuer":"https://example.com","jwks_uri":null}"#,
            r#"{"issuer":["https://example.com"],"jwks_uri":"https://a.example/"}"#,
            r#"{"issuer":"x","issuer":"https://example.com","jwks_uri":"https://a.example/"}"#,
            r#"{"issuer":"https://example.com","jwks_uri":"https://a.example/"} x"#,
            &deep,
        ] {
            assert_eq!(
                read(document),
                Err(DiscoveryError::NotADocument),
                "{document}"
            );
        }
        // Also where the depth is in a member that is not looked at.
        let document = format!(r#"{{"issuer":"{ISSUER}","a":{deep}"#);
        assert_eq!(read(&document), Err(DiscoveryError::NotADocument));
    }

    #[test]
    fn refuses_urls_that_cannot_be_fetched() {
        for (url, error) in [
            ("file:///etc/passwd", UrlError::Scheme),
            ("http://1.1.1.1/jwks", UrlError::NotEncrypted),
            ("/jwks", UrlError::NotAUrl),
        ] {
            let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{url}"}}"#);
            assert_eq!(read(&document), Err(DiscoveryError::JwksUri(error)));
        }
    }
}
