//! Progress of a fetch, which says what a time limit or an I/O error is about.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};

/// Phase of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Before the first request: the URL, the certificates.
    Preparation,
    /// Asking for the host's addresses.
    Resolution,
    /// Connecting to them.
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

/// Maximum number of addresses in a message.
const MAX_SHOWN: usize = 4;

/// Progress of one fetch, shared by its thread and by the thread that waits for it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Reach>);

#[derive(Debug, Default)]
struct Reach {
    phase: AtomicU8,
    /// While it connects, the addresses that were tried; then the one that it is connected to.
    addresses: Mutex<Vec<SocketAddr>>,
}

impl Progress {
    /// The fetch has come to `phase`.
    pub fn set(&self, phase: Phase) {
        if phase == Phase::Connection {
            self.addresses().clear();
        }
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// An address is tried.
    pub(crate) fn tries(&self, address: SocketAddr) {
        self.addresses().push(address);
    }

    /// An address was connected to.
    pub(crate) fn connected(&self, address: SocketAddr) {
        *self.addresses() = vec![address];
    }

    /// The address that the last request was connected to, if it was.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match *self.addresses().as_slice() {
            [address] => Some(address),
            _ => None,
        }
    }

    /// Phase of the fetch.
    #[must_use]
    pub fn phase(&self) -> Phase {
        [
            Phase::Preparation,
            Phase::Resolution,
            Phase::Connection,
            Phase::Handshake,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == self.0.phase.load(Ordering::Relaxed))
        .unwrap_or(Phase::Exchange)
    }

    /// The same in words, with the addresses.
    pub(crate) fn words(&self) -> String {
        let phase = self.phase();
        let before = match phase {
            Phase::Preparation | Phase::Resolution => return phase.to_string(),
            Phase::Connection => "to",
            Phase::Handshake => "with",
            Phase::Exchange => "of",
        };
        match shown(&self.addresses()) {
            addresses if addresses.is_empty() => phase.to_string(),
            addresses => format!("{phase} {before} {addresses}"),
        }
    }

    /// A thread that panicked with the lock has written all or nothing.
    fn addresses(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        let addresses = self.0.addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses, as a message names them.
pub(crate) fn shown(addresses: &[SocketAddr]) -> String {
    let names: Vec<String> = addresses
        .iter()
        .take(MAX_SHOWN)
        .map(|address| address.ip().to_string())
        .collect();
    let names = names.join(", ");
    match addresses.len().saturating_sub(MAX_SHOWN) {
        0 => names,
        more => format!("{names} and {more} more"),
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
