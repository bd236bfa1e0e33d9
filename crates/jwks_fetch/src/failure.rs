//! Errors of the HTTP client, in our words.

use std::io;

use jwks_rules::wire::{Failure, FailureKind};
use shared_types::{Excerpt, plain};
use ureq::Error;

use crate::progress::{Phase, Progress};
use crate::tls_reason;

/// The failure that no answer came in time.
pub(crate) fn timed_out(progress: &Progress) -> Failure {
    Failure::new(
        FailureKind::Timeout,
        format!("time limit was reached while {}", progress.words()),
    )
}

/// The failure for `error`, in a request to `host` with this `progress`.
pub(crate) fn of(error: Error, host: &str, progress: &Progress) -> Failure {
    match error {
        Error::Other(error) => match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => protocol(host, &error.to_string()),
        },
        Error::Timeout(_) => timed_out(progress),
        Error::Io(error) => of_io(&error, host, progress),
        Error::Rustls(error) => tls(host, progress, &tls_reason::of(&error)),
        Error::Tls(reason) => tls(host, progress, reason),
        Error::LargeResponseHeader(..) => Failure::new(
            FailureKind::TooLarge,
            format!(
                "answer of host {} has too long a header",
                Excerpt::new(host)
            ),
        ),
        error => protocol(host, &error.to_string()),
    }
}

fn of_io(error: &io::Error, host: &str, progress: &Progress) -> Failure {
    let phase = progress.phase();
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls(host, progress, &tls_reason::of(error));
    }
    if phase == Phase::Handshake {
        return tls(host, progress, &error.to_string());
    }
    match phase {
        Phase::Preparation | Phase::Resolution | Phase::Connection | Phase::Handshake => {
            let (host, reason) = (Excerpt::new(host), plain(&error.to_string()));
            let message = format!("could not connect to host {host}: {reason}");
            Failure::new(FailureKind::Connect, message)
        }
        Phase::Exchange => protocol(host, &error.to_string()),
    }
}

fn tls(host: &str, progress: &Progress, reason: &str) -> Failure {
    let (host, reason) = (Excerpt::new(host), plain(reason));
    let at = progress.peer().map(|peer| format!(" at {}", peer.ip()));
    let at = at.unwrap_or_default();
    let message = format!("could not agree on TLS with host {host}{at}: {reason}");
    Failure::new(FailureKind::Tls, message)
}

pub(crate) fn protocol(host: &str, reason: &str) -> Failure {
    let (host, reason) = (Excerpt::new(host), plain(reason));
    let message = format!("could not read the answer of host {host}: {reason}");
    Failure::new(FailureKind::Protocol, message)
}
