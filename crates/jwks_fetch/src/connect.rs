//! Connects to the first of a host's addresses that answers (RFC 8305, "Happy Eyeballs").
//!
//! Addresses are tried in their order. The next one is tried when one fails, in any way, or after
//! [`ATTEMPT_DELAY`], while the former ones go on. So an address without an answer costs a quarter
//! of a second, and a firewall's refusal nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use jwks_rules::limits::ATTEMPT_DELAY;
use jwks_rules::wire::{Failure, FailureKind};
use shared_types::{Excerpt, plain};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::progress::{Phase, Progress, shown};

/// Stack of a thread that connects, in bytes.
const STACK_BYTES: usize = 64 * 1024;

/// A way to open connections.
pub trait Dial: Send + Sync + 'static {
    /// Connects to an address, within that time.
    ///
    /// # Errors
    /// No connection.
    fn dial(&self, address: SocketAddr, at_most: Duration) -> io::Result<TcpStream>;
}

/// Connections of the operating system.
pub struct SystemDial;

impl Dial for SystemDial {
    fn dial(&self, address: SocketAddr, at_most: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&address, at_most)
    }
}

/// Result of a race that no address has won.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Addresses that failed.
    failed: Vec<(SocketAddr, io::Error)>,
    /// Addresses without an answer.
    silent: Vec<SocketAddr>,
    /// Number of addresses that there was no time for.
    untried: usize,
}

/// Connects to one of the addresses, in their order; gives `at_most` to all of them together. The
/// next one is tried after `delay`, or sooner if more of them have to share the time.
///
/// Threads that still connect when another has won are not waited for: they end when their time is
/// over, or with the process.
pub(crate) fn race(
    dial: &Arc<dyn Dial>,
    addresses: &[SocketAddr],
    delay: Duration,
    at_most: Duration,
    mut tries: impl FnMut(SocketAddr),
) -> Result<(SocketAddr, TcpStream), Lost> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let delay = delay.min(at_most.checked_div(count).unwrap_or(delay));
    let start = Instant::now();
    let (sender, outcomes) = channel();
    let mut waiting = addresses.iter().copied();
    let mut silent: Vec<SocketAddr> = vec![];
    let mut failed = vec![];
    loop {
        let left = at_most.saturating_sub(start.elapsed());
        let address = match left.is_zero() {
            true => None,
            false => waiting.next(),
        };
        if let Some(address) = address {
            tries(address);
            let (dial, sender) = (Arc::clone(dial), sender.clone());
            let run = move || {
                // There is no receiver if another address has won.
                let _ = sender.send((address, dial.dial(address, left)));
            };
            let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
            match thread {
                Ok(_) => silent.push(address),
                Err(error) => {
                    failed.push((address, error));
                    continue;
                }
            }
        }
        let next = match waiting.len() {
            0 => left,
            _ => delay.min(left),
        };
        if silent.is_empty() && waiting.len() == 0 || left.is_zero() {
            let untried = waiting.len();
            // Sorted by address, because the order of their errors differs each time.
            failed.sort_by_key(|(address, _)| addresses.iter().position(|other| other == address));
            return Err(Lost {
                failed,
                silent,
                untried,
            });
        }
        match outcomes.recv_timeout(next) {
            Ok((address, Ok(stream))) => return Ok((address, stream)),
            Ok((address, Err(error))) => {
                silent.retain(|other| *other != address);
                failed.push((address, error));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

impl Lost {
    /// The failure to connect to `host`, with the addresses.
    fn failure(mut self, host: &str) -> Failure {
        let host = Excerpt::new(host);
        // Its own time limit, as that of the others.
        let is_timeout = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            )
        };
        let (late, failed): (Vec<_>, Vec<_>) = self
            .failed
            .into_iter()
            .partition(|(_, error)| is_timeout(error));
        self.silent
            .extend(late.into_iter().map(|(address, _)| address));
        self.silent.sort_unstable();
        let mut reasons: Vec<(String, Vec<SocketAddr>)> = vec![];
        for (address, error) in failed {
            let reason = plain(&error.to_string());
            match reasons.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, addresses)) => addresses.push(address),
                None => reasons.push((reason, vec![address])),
            }
        }
        if reasons.is_empty() && !self.silent.is_empty() {
            let addresses = shown(&self.silent);
            let message =
                format!("time limit was reached while connecting to host {host} at {addresses}");
            return Failure::new(FailureKind::Timeout, message);
        }
        let mut parts: Vec<String> = reasons
            .iter()
            .map(|(reason, addresses)| format!("{reason} at {}", shown(addresses)))
            .collect();
        if !self.silent.is_empty() {
            parts.push(format!("no answer from {}", shown(&self.silent)));
        }
        if self.untried > 0 {
            parts.push(format!("no time was left for {} more", self.untried));
        }
        let message = format!("could not connect to host {host}: {}", parts.join("; "));
        Failure::new(FailureKind::Connect, message)
    }
}

/// The first link of the chain of connectors.
pub(crate) struct HappyConnector {
    pub dial: Arc<dyn Dial>,
    pub progress: Progress,
    pub at_most: Duration,
    pub host: String,
}

impl fmt::Debug for HappyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

impl Connector for HappyConnector {
    type Out = Tcp;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<Tcp>, ureq::Error> {
        self.progress.set(Phase::Connection);
        let at_most = self.at_most.min(*details.timeout.after);
        let won = race(
            &self.dial,
            &details.addrs,
            ATTEMPT_DELAY,
            at_most,
            |address| {
                self.progress.tries(address);
            },
        );
        let (address, stream) =
            won.map_err(|lost| ureq::Error::Other(Box::new(lost.failure(&self.host))))?;
        self.progress.connected(address);
        stream.set_nodelay(true)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Tcp { stream, buffers }))
    }
}

/// A connection.
pub(crate) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.stream, f)
    }
}

/// The end of the time in `timeout`; an error if that is over.
fn time_left(timeout: NextTimeout) -> Result<Duration, ureq::Error> {
    match *timeout.after {
        Duration::ZERO => Err(ureq::Error::Timeout(timeout.reason)),
        after => Ok(after),
    }
}

/// The error of a read or a write with a time limit, which the system reports in two ways.
fn of_io(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(Some(time_left(timeout)?))?;
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or_default();
        (&self.stream)
            .write_all(output)
            .map_err(|error| of_io(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // The thread blocks all signals, so that none interrupts the read.
        self.stream.set_read_timeout(Some(time_left(timeout)?))?;
        let input = self.buffers.input_append_buf();
        let amount = (&self.stream)
            .read(input)
            .map_err(|error| of_io(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // No connection is used twice.
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;

    /// A time so long that no test waits for it.
    const NEVER: Duration = Duration::from_secs(3_600);

    #[derive(Clone, Copy)]
    enum Does {
        Answers,
        Fails(io::ErrorKind),
        IsSilent,
    }
    use Does::{Answers, Fails, IsSilent};

    /// Addresses that do as the test says; keeps the order in which they were tried.
    struct Script {
        does: HashMap<SocketAddr, Does>,
        listener: TcpListener,
        tried: Mutex<Vec<SocketAddr>>,
    }

    impl Dial for Script {
        fn dial(&self, address: SocketAddr, at_most: Duration) -> io::Result<TcpStream> {
            self.tried.lock().unwrap().push(address);
            match self.does[&address] {
                Answers => TcpStream::connect(self.listener.local_addr().unwrap()),
                Fails(kind) => Err(kind.into()),
                IsSilent => {
                    thread::sleep(at_most);
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        }
    }

    fn address(n: usize) -> SocketAddr {
        format!("[2001:db8::{n}]:443").parse().unwrap()
    }

    /// The number of the address that won, or the failure; and which were tried.
    fn run(
        does: &[Does],
        delay: Duration,
        at_most: Duration,
    ) -> (Result<usize, Failure>, Vec<usize>) {
        let addresses: Vec<SocketAddr> = (0..does.len()).map(address).collect();
        let script = Arc::new(Script {
            does: addresses
                .iter()
                .copied()
                .zip(does.iter().copied())
                .collect(),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            tried: Mutex::default(),
        });
        let number = |wanted: SocketAddr| addresses.iter().position(|a| *a == wanted).unwrap();
        let dial: Arc<dyn Dial> = script.clone();
        let mut announced = vec![];
        let won = race(&dial, &addresses, delay, at_most, |a| {
            announced.push(number(a))
        });
        let won = won.map(|(address, _)| number(address));
        (won.map_err(|lost| lost.failure("idp.test")), announced)
    }

    #[test]
    fn an_error_of_one_address_is_none_of_the_next() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            // A firewall that rejects (ICMP administratively prohibited).
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::Other,
        ] {
            let (won, tried) = run(&[Fails(kind), Fails(kind), Answers, Answers], NEVER, NEVER);
            assert_eq!((won.unwrap(), tried), (2, vec![0, 1, 2]), "{kind}");
        }
    }

    #[test]
    fn a_silent_address_is_left_behind_after_the_delay() {
        let mut does = [IsSilent; 9];
        does[8] = Answers;
        let (won, tried) = run(&does, Duration::from_millis(5), NEVER);
        assert_eq!((won.unwrap(), tried), (8, (0..9).collect()));
    }

    #[test]
    fn many_addresses_share_the_time() {
        let mut does = [IsSilent; 16];
        does[15] = Answers;
        // By the delay alone, the last one would be tried after fifteen hours.
        let (won, tried) = run(&does, NEVER, Duration::from_secs(4));
        assert_eq!((won.unwrap(), tried.len()), (15, 16));
    }

    #[test]
    fn what_was_tried_is_named() {
        let refused = Fails(io::ErrorKind::ConnectionRefused);
        let denied = Fails(io::ErrorKind::PermissionDenied);
        let message = |does: &[Does]| {
            let (won, _) = run(does, Duration::from_millis(1), Duration::from_millis(500));
            let failure = won.unwrap_err();
            (failure.kind, failure.message)
        };
        assert_eq!(
            message(&[refused, denied, refused]),
            (
                FailureKind::Connect,
                "could not connect to host \"idp.test\": connection refused at 2001:db8::, \
                 2001:db8::2; permission denied at 2001:db8::1"
                    .to_owned()
            )
        );
        assert_eq!(
            message(&[IsSilent, IsSilent]),
            (
                FailureKind::Timeout,
                "time limit was reached while connecting to host \"idp.test\" at 2001:db8::, \
                 2001:db8::1"
                    .to_owned()
            )
        );
        assert_eq!(
            message(&[denied, IsSilent]),
            (
                FailureKind::Connect,
                "could not connect to host \"idp.test\": permission denied at 2001:db8::; no \
                 answer from 2001:db8::1"
                    .to_owned()
            )
        );
        let (kind, many) = message(&[IsSilent; 16]);
        assert_eq!(kind, FailureKind::Timeout);
        assert!(many.ends_with(" and 12 more"), "{many}");
        assert_eq!(message(&[]).0, FailureKind::Connect);
    }
}
