//! How far a fetch has come, which says what a time limit or an I/O error is about.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Before the first request: the URL, the certificates.
    Preparation,
    /// Asking for the host's addresses.
    Resolution,
    /// Connecting to one of them.
    Connection,
    /// Agreeing on TLS.
    Handshake,
    /// Sending the request and reading the answer.
    Exchange,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparation => "preparing the request",
            Self::Resolution => "resolving the host's name",
            Self::Connection => "connecting",
            Self::Handshake => "agreeing on TLS",
            Self::Exchange => "waiting for the complete answer",
        })
    }
}

/// The phase of one fetch, seen by its thread and by the thread that waits for it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// The fetch has come to `phase`.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// Where the fetch is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        [
            Phase::Preparation,
            Phase::Resolution,
            Phase::Connection,
            Phase::Handshake,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == self.0.load(Ordering::Relaxed))
        .unwrap_or(Phase::Exchange)
    }
}

/// A link of a chain of connectors that says that its predecessor has connected.
#[derive(Debug)]
pub(crate) struct Reached(pub Progress, pub Phase);

impl<In: Transport> Connector<In> for Reached {
    type Out = In;

    fn connect(
        &self,
        _details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<In>, ureq::Error> {
        self.0.set(self.1);
        Ok(chained)
    }
}
