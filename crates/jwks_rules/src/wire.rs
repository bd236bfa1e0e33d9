//! Messages between the extension and the library `pg_auth_jwt_fetch`: one JSON text each way.
//!
//! Both are built from the same commit and installed together, but a server that runs while a new
//! version is installed has the old extension and the new library. So a member that the reader does
//! not know is ignored, and a new member has a default.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_MESSAGE_CHARS, MAX_REQUEST_BYTES};

/// The version of the C interface and of these types. A library of another version is not used.
pub const VERSION: u32 = 1;

/// One fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// URL of the JWK Set; with [`discover`](Self::discover), of the OpenID discovery document.
    pub url: String,
    /// Whether the URL is that of a discovery document, which names the JWK Set's URL.
    #[serde(default)]
    pub discover: bool,
    /// The issuer that a discovery document must name, to the byte.
    #[serde(default)]
    pub issuer: String,
    /// The value of `pg_auth_jwt.fetch_hosts`.
    pub hosts: String,
    /// The value of `pg_auth_jwt.fetch_ca_file`; empty: the system's certificates.
    #[serde(default)]
    pub ca_file: String,
    /// The entity tag of the stored answer from this very URL: if it is still current, the server
    /// says so (304). Not sent with [`discover`](Self::discover), because the discovery document
    /// may name another URL by now, whose server may use the same tag for other keys.
    #[serde(default)]
    pub etag: Option<String>,
    /// Milliseconds for everything.
    pub timeout_ms: u64,
    /// Milliseconds for connecting to a host, with all of its addresses.
    pub connect_timeout_ms: u64,
    /// The header `User-Agent`.
    pub user_agent: String,
}

/// Result of a fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the other members describe an answer or a failure.
    pub outcome: Outcome,
    /// The JWK Set's text; empty unless [`Outcome::Fetched`]. At most
    /// [`MAX_BODY_BYTES`](crate::limits::MAX_BODY_BYTES), and not parsed.
    #[serde(default)]
    pub body: String,
    /// The JWK Set's URL, from the discovery document.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// The header `ETag`, for the next request.
    #[serde(default)]
    pub etag: Option<String>,
    /// The header `Date`, in Unix seconds.
    #[serde(default)]
    pub date: Option<i64>,
    /// The header `Last-Modified`, in Unix seconds.
    #[serde(default)]
    pub last_modified: Option<i64>,
    /// `max-age` of the header `Cache-Control`, in seconds.
    #[serde(default)]
    pub max_age: Option<u64>,
    /// The header `Age`, in seconds.
    #[serde(default)]
    pub age: Option<u64>,
    /// The header `Retry-After` of a failure, in seconds from now.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// Certificates that the server's certificate was checked against; absent if the check did not
    /// take place.
    #[serde(default)]
    pub roots: Option<Roots>,
    /// Reason why the fetch failed; present if [`Outcome::Failed`].
    #[serde(default)]
    pub error: Option<Failure>,
}

/// Outcome of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new answer, with its body.
    Fetched,
    /// The stored answer is still current (304).
    NotModified,
    /// No answer that counts.
    Failed,
}

/// The certificates that a server's certificate was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roots {
    /// Those of `pg_auth_jwt.fetch_ca_file`.
    File,
    /// Those of the operating system.
    System,
    /// Mozilla's, as they were when the library was built: the system has none.
    Bundled,
}

/// Reason why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Kind of failure.
    pub kind: FailureKind,
    /// One sentence. Foreign text in it is escaped and shortened.
    pub message: String,
}

/// Kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The URL, its host or every address of the host is not allowed.
    Gate,
    /// The host's name has no address.
    Dns,
    /// No connection to any address.
    Connect,
    /// No TLS session, or a certificate that is not accepted.
    Tls,
    /// No complete answer in time.
    Timeout,
    /// A status other than 200, or 304 if it was not asked for.
    Status,
    /// A redirect. None is followed.
    Redirect,
    /// An answer beyond [`limits`](crate::limits).
    TooLarge,
    /// An answer that breaks HTTP's rules or ours; or an error in the library.
    Protocol,
    /// A discovery document of another issuer, or without the JWK Set's URL.
    Discovery,
    /// The file of `pg_auth_jwt.fetch_ca_file` cannot be used.
    CaFile,
}

impl Request {
    /// The request as it is handed over.
    ///
    /// # Errors
    /// As for [`from_json`](Self::from_json), so that what this returns can be read.
    pub fn to_json(&self) -> Result<String, WireError> {
        let text = serde_json::to_string(self).map_err(|_| WireError)?;
        if text.len() > MAX_REQUEST_BYTES {
            return Err(WireError);
        }
        Ok(text)
    }

    /// # Errors
    /// Not JSON, not of this form, or longer than [`MAX_REQUEST_BYTES`].
    pub fn from_json(text: &[u8]) -> Result<Self, WireError> {
        if text.len() > MAX_REQUEST_BYTES {
            return Err(WireError);
        }
        serde_json::from_slice(text).map_err(|_| WireError)
    }
}

impl Failure {
    /// A failure; `message` is cut after [`MAX_MESSAGE_CHARS`].
    #[must_use]
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: shared_types::cut(&message.to_string(), MAX_MESSAGE_CHARS),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Answer {
    /// An answer with the outcome alone.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            body: String::new(),
            jwks_uri: None,
            etag: None,
            date: None,
            last_modified: None,
            max_age: None,
            age: None,
            retry_after: None,
            roots: None,
            error: None,
        }
    }

    /// A failure.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self {
            error: Some(failure),
            ..Self::new(Outcome::Failed)
        }
    }

    /// The answer as it is handed over.
    ///
    /// # Errors
    /// None that is known: every value of this type has a JSON text.
    pub fn to_json(&self) -> Result<String, WireError> {
        serde_json::to_string(self).map_err(|_| WireError)
    }

    /// # Errors
    /// Not JSON, or not of this form.
    pub fn from_json(text: &[u8]) -> Result<Self, WireError> {
        serde_json::from_slice(text).map_err(|_| WireError)
    }
}

/// The text is not of the form that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError;

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text is no request, or no answer, of the fetch library")
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"url":"https://example.com/jwks","discover":false,"issuer":"",
        "hosts":"example.com","ca_file":"","etag":null,"timeout_ms":4500,
        "connect_timeout_ms":2000,"user_agent":"pg_auth_jwt/0.1.0","later":1}"#;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let request = Request::from_json(REQUEST.as_bytes()).unwrap();
        assert_eq!(request.url, "https://example.com/jwks");
        assert_eq!(request.etag, None);
        let text = request.to_json().unwrap();
        assert_eq!(Request::from_json(text.as_bytes()).unwrap(), request);
    }

    #[test]
    fn a_member_that_is_missing_or_too_long_is_an_error() {
        assert_eq!(Request::from_json(b"{}"), Err(WireError));
        assert_eq!(Request::from_json(b"\xff"), Err(WireError));
        let mut request = Request::from_json(REQUEST.as_bytes()).unwrap();
        request.hosts = "x".repeat(MAX_REQUEST_BYTES);
        assert_eq!(request.to_json(), Err(WireError));
        let text = serde_json::to_vec(&request).unwrap();
        assert_eq!(Request::from_json(&text), Err(WireError));
    }

    #[test]
    fn a_request_of_the_longest_length_is_handed_over() {
        let mut request = Request::from_json(REQUEST.as_bytes()).unwrap();
        let rest = request.to_json().unwrap().len() - request.hosts.len();
        request.hosts = "x".repeat(MAX_REQUEST_BYTES - rest);
        let text = request.to_json().unwrap();
        assert_eq!(text.len(), MAX_REQUEST_BYTES);
        assert_eq!(Request::from_json(text.as_bytes()).unwrap(), request);
        request.hosts.push('x');
        assert_eq!(request.to_json(), Err(WireError));
        let longer = serde_json::to_vec(&request).unwrap();
        assert_eq!(Request::from_json(&longer), Err(WireError));
    }

    #[test]
    fn answers_name_outcomes_in_lower_case() {
        let failure = Failure::new(FailureKind::TooLarge, "too large");
        let text = Answer::failed(failure.clone()).to_json().unwrap();
        assert!(text.contains(r#""outcome":"failed""#), "{text}");
        assert!(
            text.contains(r#""error":{"kind":"too_large","message":"too large"}"#),
            "{text}"
        );
        let read = Answer::from_json(text.as_bytes()).unwrap();
        assert_eq!(read.error, Some(failure));
        let text = Answer::new(Outcome::NotModified).to_json().unwrap();
        assert!(text.contains(r#""outcome":"not_modified""#), "{text}");
    }

    #[test]
    fn messages_are_bounded() {
        let failure = Failure::new(FailureKind::Tls, "x".repeat(1_000_000));
        assert_eq!(failure.message.len(), MAX_MESSAGE_CHARS + "...".len());
    }

    #[test]
    fn an_answer_needs_only_its_outcome() {
        let read = Answer::from_json(br#"{"outcome":"not_modified","later":[1]}"#).unwrap();
        assert_eq!(read, Answer::new(Outcome::NotModified));
        assert_eq!(Answer::from_json(br#"{"outcome":"other"}"#), Err(WireError));
    }
}
