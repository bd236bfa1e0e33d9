//! The gate at the addresses: the client connects to what this resolver returns, and the resolver
//! returns the addresses that [`Target::admit_addresses`] admits. A name is resolved once for each
//! request, so an answer of the DNS that changes in between has no effect.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use jwks_rules::limits::MAX_ADDRESSES;
use jwks_rules::wire::{Failure, FailureKind};
use jwks_rules::{Target, in_turn};
use shared_types::{Excerpt, plain};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::progress::{Phase, Progress};

/// A way to resolve names.
pub trait Lookup: Send + Sync + 'static {
    /// Returns the addresses of a host's name.
    ///
    /// # Errors
    /// The name has none, or the name servers do not answer.
    fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Resolution by the operating system: `getaddrinfo`, which asks `/etc/hosts`, the DNS and other
/// sources of the system's configuration.
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((name, port).to_socket_addrs()?.collect())
    }
}

/// Resolves the host of one target, and nothing else.
pub(crate) struct TargetResolver {
    pub target: Target,
    pub lookup: Arc<dyn Lookup>,
    pub progress: Progress,
}

impl fmt::Debug for TargetResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.target, f)
    }
}

impl Resolver for TargetResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let admitted = self.admitted(uri);
        let admitted = admitted.map_err(|failure| ureq::Error::Other(Box::new(failure)))?;
        let mut addresses = self.empty();
        let peer = self.progress.peer();
        for address in in_turn(admitted, peer).into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl TargetResolver {
    fn admitted(&self, uri: &Uri) -> Result<Vec<SocketAddr>, Failure> {
        let url = self.target.url();
        let host = url.host();
        // Two parsers have read the URL. They must agree on its host and port.
        if uri.host() != Some(&host) || uri.port_u16().is_some_and(|port| port != url.port()) {
            let message = format!("host {} is read in two ways", Excerpt::new(&host));
            return Err(Failure::new(FailureKind::Gate, message));
        }
        let addresses = match url.address() {
            Some(ip) => vec![SocketAddr::new(ip, url.port())],
            None => {
                self.progress.set(Phase::Resolution);
                let found = self.lookup.addresses(&host, url.port());
                found.map_err(|error| no_address(&host, &error.to_string()))?
            }
        };
        if addresses.is_empty() {
            return Err(no_address(&host, "it has none"));
        }
        self.target
            .admit_addresses(addresses)
            .map_err(|error| Failure::new(FailureKind::Gate, error))
    }
}

fn no_address(host: &str, reason: &str) -> Failure {
    let (host, reason) = (Excerpt::new(host), plain(reason));
    let message = format!("could not find the address of host {host}: {reason}");
    Failure::new(FailureKind::Dns, message)
}
