//! A whole fetch: the gate, the discovery document, the JWK Set.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jwks_rules::wire::{Answer, Failure, FailureKind, Outcome, Request};
use jwks_rules::{
    DiscoveryError, EndpointUrl, HostList, Scheme, Target, discovery_url, headers, metadata_url,
    read_discovery,
};
use shared_types::Excerpt;
use ureq::http::header::{self, HeaderName};
use ureq::tls::RootCerts;

use crate::connect::{Dial, SystemDial};
use crate::http::{Client, Response};
use crate::progress::Progress;
use crate::resolver::Lookup;
use crate::roots;

/// Fetches the keys for `request`, until `deadline`. Names are resolved by `lookup`.
///
/// A lookup may take longer than that: the receiver of the answer keeps the time.
#[must_use]
pub fn fetch(
    request: &Request,
    lookup: Arc<dyn Lookup>,
    progress: Progress,
    deadline: Instant,
) -> Answer {
    fetch_by(request, lookup, Arc::new(SystemDial), progress, deadline)
}

/// As [`fetch`], with connections by `dial`.
#[must_use]
pub fn fetch_by(
    request: &Request,
    lookup: Arc<dyn Lookup>,
    dial: Arc<dyn Dial>,
    progress: Progress,
    deadline: Instant,
) -> Answer {
    let mut answer = Answer::new(Outcome::Failed);
    let ways = (lookup, dial);
    match fill(&mut answer, request, ways, progress, deadline) {
        Ok(()) => answer,
        // Nothing of an incomplete answer counts, least of all its entity tag.
        Err(failure) => Answer {
            jwks_uri: answer.jwks_uri,
            retry_after: answer.retry_after,
            roots: answer.roots,
            ..Answer::failed(failure)
        },
    }
}

/// Fills in `answer` as far as the fetch comes.
fn fill(
    answer: &mut Answer,
    request: &Request,
    (lookup, dial): (Arc<dyn Lookup>, Arc<dyn Dial>),
    progress: Progress,
    deadline: Instant,
) -> Result<(), Failure> {
    let hosts = HostList::read(&request.hosts);
    let mut target = admitted(&hosts, EndpointUrl::parse(&request.url).map_err(gate)?)?;
    let mut client = Client {
        roots: roots_for(&target, answer, request)?,
        lookup,
        dial,
        progress,
        deadline,
        connect_timeout: Duration::from_millis(request.connect_timeout_ms),
        user_agent: visible_ascii(&request.user_agent),
    };

    if request.discover {
        let url = discover(answer, &client, &hosts, &target, &request.issuer)?;
        answer.jwks_uri = Some(url.as_str().to_owned());
        target = admitted(&hosts, url)?;
        if answer.roots.is_none() {
            client.roots = roots_for(&target, answer, request)?;
        }
    }

    let etag = request.etag.as_deref().filter(|_| !request.discover);
    let etag = etag.and_then(headers::etag);
    let response = client.get(&target, etag)?;
    answer.outcome = check_status(answer, &response, etag.is_some())?;
    let value = |name| header(&response, name);
    answer.etag = value(header::ETAG)
        .and_then(headers::etag)
        .map(str::to_owned);
    answer.date = value(header::DATE).and_then(headers::date);
    answer.last_modified = value(header::LAST_MODIFIED).and_then(headers::date);
    answer.age = value(header::AGE).and_then(headers::seconds);
    answer.max_age = max_age(&response);
    if answer.outcome == Outcome::Fetched {
        answer.body = response.body()?;
    }
    Ok(())
}

/// The certificates that the target's certificate is checked against; none without TLS.
fn roots_for(
    target: &Target,
    answer: &mut Answer,
    request: &Request,
) -> Result<RootCerts, Failure> {
    match target.url().scheme() {
        Scheme::Http => Ok(RootCerts::new_with_certs(&[])),
        Scheme::Https => {
            let (kind, roots) = roots::load(&request.ca_file)?;
            answer.roots = Some(kind);
            Ok(roots)
        }
    }
}

/// Returns the URL of the JWK Set, from the document at `target`. If an issuer has none at its own
/// discovery URL, its OAuth metadata has the same members (RFC 8414).
fn discover(
    answer: &mut Answer,
    client: &Client,
    hosts: &HostList,
    target: &Target,
    issuer: &str,
) -> Result<EndpointUrl, Failure> {
    let first = match document(answer, client, target, issuer) {
        Ok(url) => return Ok(url),
        Err(failure) => failure,
    };
    let is_own = discovery_url(issuer).is_ok_and(|own| own == *target.url());
    if !is_own || !first.means_none() {
        return Err(first.failure);
    }
    // A failure that is no answer of the issuer would be the same for the other document.
    let Ok(other) = metadata_url(issuer)
        .map_err(gate)
        .and_then(|url| admitted(hosts, url))
    else {
        return Err(first.failure);
    };
    let asked_for = answer.retry_after.take();
    document(answer, client, &other, issuer).map_err(|second| {
        answer.retry_after = answer.retry_after.max(asked_for);
        let message = format!(
            "{}; and {}. If the issuer has no such document, name the URL of its keys: \
             auth.follow_url(..., url => 'https://...')",
            first.failure, second.failure
        );
        Failure::new(first.failure.kind, message)
    })
}

/// Reason why a document says nothing about the keys.
struct NoDocument {
    failure: Failure,
    /// The status that the host answered with, if it answered.
    status: Option<u16>,
}

impl NoDocument {
    /// Whether there is no such document, judged by the answer: many hosts answer with a page of
    /// theirs, or with a redirect to one, for a missing document.
    fn means_none(&self) -> bool {
        let is_absent = |status| status == 200 || ((300..500).contains(&status) && status != 429);
        let is_other = matches!(
            self.failure.kind,
            FailureKind::Status | FailureKind::Redirect | FailureKind::Discovery
        );
        is_other && self.status.is_some_and(is_absent)
    }
}

/// Returns the URL of the JWK Set, from one document.
fn document(
    answer: &mut Answer,
    client: &Client,
    target: &Target,
    issuer: &str,
) -> Result<EndpointUrl, NoDocument> {
    let mut status = None;
    let text = (|| {
        let response = client.get(target, None)?;
        status = Some(response.status);
        check_status(answer, &response, false)?;
        response.body()
    })();
    let text = text.map_err(|failure| NoDocument {
        failure: Failure::new(
            failure.kind,
            format!("discovery document {}: {failure}", target.url()),
        ),
        status,
    })?;
    read_discovery(&text, issuer).map_err(|error| NoDocument {
        // A document that names another issuer, or no URL that can be fetched, is the issuer's
        // answer.
        status: status.filter(|_| error == DiscoveryError::NotADocument),
        failure: Failure::new(FailureKind::Discovery, error),
    })
}

fn gate(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Gate, error)
}

fn admitted(hosts: &HostList, url: EndpointUrl) -> Result<Target, Failure> {
    hosts.admit(url).map_err(gate)
}

/// Returns whether the answer is new or, if that was asked, still the stored one.
fn check_status(
    answer: &mut Answer,
    response: &Response,
    may_be_unmodified: bool,
) -> Result<Outcome, Failure> {
    let status = response.status;
    match status {
        200 => return Ok(Outcome::Fetched),
        304 if may_be_unmodified => return Ok(Outcome::NotModified),
        _ => {}
    }
    // A date in Retry-After is compared with the endpoint's own clock, if it sent that.
    let date = header(response, header::DATE).and_then(headers::date);
    let date = date.and_then(|date| u64::try_from(date).ok());
    let now = date.map_or_else(SystemTime::now, |date| {
        let since = Duration::from_secs(date);
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .unwrap_or_else(SystemTime::now)
    });
    answer.retry_after =
        header(response, header::RETRY_AFTER).and_then(|value| headers::retry_after(value, now));
    let host = Excerpt::new(response.host());
    Err(match (status, header(response, header::LOCATION)) {
        (300..304 | 305..400, location) => {
            let to = location.map(|url| format!(" to {}", Excerpt::new(url)));
            let to = to.unwrap_or_default();
            let message = format!(
                "host {host} redirects{to} (status {status}), and redirects are not followed"
            );
            Failure::new(FailureKind::Redirect, message)
        }
        (304, _) => Failure::new(
            FailureKind::Status,
            format!("host {host} answered \"not modified\" (status 304), which was not asked"),
        ),
        _ => Failure::new(
            FailureKind::Status,
            format!("host {host} answered with status {status}"),
        ),
    })
}

/// The first header of this name, if it is ASCII.
fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers.get(name)?.to_str().ok()
}

/// The smallest `max-age` of all headers `Cache-Control`.
fn max_age(response: &Response) -> Option<u64> {
    let values = response.headers.get_all(header::CACHE_CONTROL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.filter_map(headers::max_age).min()
}

/// A header's value, without characters that no header may have.
fn visible_ascii(text: &str) -> String {
    let visible = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    visible.take(200).collect()
}
