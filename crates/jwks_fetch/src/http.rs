//! One request, by ureq with everything else turned off: no redirects, no proxy, no cookies, no
//! compression, no connection that is used twice.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jwks_rules::limits::{MAX_BODY_BYTES, MAX_HEADER_BYTES};
use jwks_rules::wire::{Failure, FailureKind};
use jwks_rules::{Scheme, Target};
use shared_types::Excerpt;
use ureq::http::{HeaderMap, header};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, Body};

use crate::connect::{Dial, HappyConnector};
use crate::failure;
use crate::progress::{Phase, Progress, Reached};
use crate::resolver::{Lookup, TargetResolver};

/// Context that all requests of a fetch share.
pub(crate) struct Client {
    pub roots: RootCerts,
    pub lookup: Arc<dyn Lookup>,
    pub dial: Arc<dyn Dial>,
    pub progress: Progress,
    pub deadline: Instant,
    pub connect_timeout: Duration,
    pub user_agent: String,
}

/// The header of an answer, whose body is still to be read.
pub(crate) struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    host: String,
    progress: Progress,
    body: Body,
}

impl Client {
    /// Asks for `target`, with `etag` as the entity tag of the stored answer.
    pub fn get(&self, target: &Target, etag: Option<&str>) -> Result<Response, Failure> {
        self.progress.set(Phase::Preparation);
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failure::timed_out(&self.progress));
        }
        let host = target.url().host();
        let agent = self.agent(target, left);
        let mut request = agent.get(target.url().as_str());
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request
            .call()
            .map_err(|error| failure::of(error, &host, &self.progress))?;
        let (parts, body) = response.into_parts();
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            host,
            progress: self.progress.clone(),
            body,
        })
    }

    fn agent(&self, target: &Target, left: Duration) -> Agent {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(self.roots.clone())
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(target.url().scheme() == Scheme::Https)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The default is the proxy that the environment names.
            .proxy(None)
            .accept("application/json, application/jwk-set+json")
            .accept_encoding("identity")
            .user_agent(self.user_agent.as_str())
            .timeout_global(Some(left))
            .max_response_header_size(MAX_HEADER_BYTES)
            .input_buffer_size(MAX_HEADER_BYTES.saturating_mul(2))
            .output_buffer_size(MAX_HEADER_BYTES)
            .max_idle_connections(0)
            .build();
        let reached = |phase| Reached(self.progress.clone(), phase);
        let connector = HappyConnector {
            dial: Arc::clone(&self.dial),
            progress: self.progress.clone(),
            at_most: self.connect_timeout,
            host: target.url().host(),
        };
        let connector = connector
            .chain(reached(Phase::Handshake))
            .chain(RustlsConnector::default())
            .chain(reached(Phase::Exchange));
        let resolver = TargetResolver {
            target: target.clone(),
            lookup: Arc::clone(&self.lookup),
            progress: self.progress.clone(),
        };
        Agent::with_parts(config, connector, resolver)
    }
}

impl Response {
    /// The host, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads the body.
    ///
    /// A body without a length, which the other side ends by closing the connection, counts as
    /// complete. The parser finds out if it is cut off: no JSON object is the beginning of another.
    ///
    /// # Errors
    /// Longer than [`MAX_BODY_BYTES`], not UTF-8, encoded or compressed, or not complete in time.
    pub fn body(mut self) -> Result<String, Failure> {
        let encoding = self.headers.get_all(header::CONTENT_ENCODING);
        let is_encoded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        if encoding.iter().any(|value| is_encoded(value.as_bytes())) {
            return Err(failure::protocol(&self.host, "it has a Content-Encoding"));
        }
        // Other codings that it names would still be in the body, after the chunks are put together.
        let mut codings = self.headers.get_all(header::TRANSFER_ENCODING).iter();
        if !codings.all(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            let reason = "it has a Transfer-Encoding other than \"chunked\"";
            return Err(failure::protocol(&self.host, reason));
        }
        let mut body = vec![];
        let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
        if self
            .body
            .content_length()
            .is_none_or(|length| length <= limit)
        {
            let reader = self.body.as_reader();
            reader
                .take(limit.saturating_add(1))
                .read_to_end(&mut body)
                .map_err(|error| failure::of(error.into(), &self.host, &self.progress))?;
            if body.len() <= MAX_BODY_BYTES {
                return String::from_utf8(body)
                    .map_err(|_| failure::protocol(&self.host, "it is not UTF-8"));
            }
        }
        let host = Excerpt::new(&self.host);
        let message = format!("answer of host {host} is longer than {MAX_BODY_BYTES} bytes");
        Err(Failure::new(FailureKind::TooLarge, message))
    }
}
