//! Hosts that may be asked, and their addresses: the value of `pg_auth_jwt.fetch_hosts`.
//!
//! [`HostList::admit`] decides about a URL, [`Target::admit_addresses`] about the addresses that
//! its host has at this moment. The client connects only to addresses that the latter returned.

use std::fmt;
use std::net::SocketAddr;

use shared_types::{Excerpt, plain};
use url::Host;

use crate::address::AddressClass;
use crate::endpoint_url::{EndpointUrl, Scheme, address_of, check_host};
use crate::limits::MAX_HOSTS_BYTES;

/// The hosts that a superuser allows.
///
/// Entries are separated by commas and white space:
///
/// | entry | allows |
/// |---|---|
/// | `auth.example.com` | this host, at port 443; also at internal addresses |
/// | `auth.example.com:8443` | the same, at this port alone |
/// | `10.0.0.5`, `[fd00::5]:8443` | this address |
/// | `*.example.com` | every host below this domain, at public addresses; not `example.com` |
/// | `*` | every host at public addresses |
/// | `http://keycloak:8080` | this host and port, without TLS; at internal addresses alone |
///
/// Without a port, an entry stands for port 443 alone, and one with `http://` for port 80.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostList {
    entries: Vec<Entry>,
    /// The first entry that cannot be read.
    unreadable: Option<HostListError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    scheme: Scheme,
    hosts: Hosts,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// The domain, with a dot at its beginning.
    Below(String),
    Exactly(Host<String>),
}

/// Form of the entry that lists a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    ByPattern,
    Exactly,
}

/// A URL that may be fetched, from the addresses that
/// [`admit_addresses`](Self::admit_addresses) admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: EndpointUrl,
    listed: Listed,
}

impl HostList {
    /// Reads the value of `pg_auth_jwt.fetch_hosts`. An entry that cannot be read lists nothing, and does
    /// not keep the others from doing so.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut list = Self::default();
        if text.len() > MAX_HOSTS_BYTES {
            list.unreadable = Some(HostListError::TooLong);
            return list;
        }
        let entries = text.split(|c: char| c.is_whitespace() || c == ',');
        for entry in entries.filter(|entry| !entry.is_empty()) {
            match Entry::parse(entry) {
                Ok(entry) => list.entries.push(entry),
                Err(reason) if list.unreadable.is_none() => {
                    let entry = Excerpt::new(entry);
                    list.unreadable = Some(HostListError::Entry { entry, reason });
                }
                Err(_) => {}
            }
        }
        list
    }

    /// Does the same as [`read`](Self::read), with an error for the role that sets the value.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn parse(text: &str) -> Result<Self, HostListError> {
        let list = Self::read(text);
        match list.unreadable {
            Some(error) => Err(error),
            None => Ok(list),
        }
    }

    /// The first entry that cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> Option<&HostListError> {
        self.unreadable.as_ref()
    }

    /// Whether nothing is listed, readable or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreadable.is_none()
    }

    /// Returns `url` as a target, if its host is listed with its port and scheme.
    ///
    /// # Errors
    /// It is not listed; or its host is an address that is not admitted.
    pub fn admit(&self, url: EndpointUrl) -> Result<Target, GateError> {
        if self.is_empty() {
            return Err(GateError::Off);
        }
        let listed = self.entries.iter().filter_map(|entry| entry.lists(&url));
        let Some(listed) = listed.max() else {
            return Err(GateError::NotListed {
                host: plain(&url.entry()),
                unreadable: self.unreadable.clone(),
            });
        };
        let address = url.address().map(|ip| SocketAddr::new(ip, url.port()));
        let target = Target { url, listed };
        if let Some(address) = address {
            target.admit_addresses([address])?;
        }
        Ok(target)
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, EntryError> {
        if text.starts_with("https://") {
            return Err(EntryError::HasScheme);
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let (host, port) = split_port(rest).ok_or(EntryError::NotAHost)?;
            if host.contains('*') {
                return Err(EntryError::OpenPattern);
            }
            let host = parse_host(host).ok_or(EntryError::NotAHost)?;
            if address_of(&host).is_some_and(|ip| AddressClass::of(ip) != AddressClass::Internal) {
                return Err(EntryError::NotInternal);
            }
            return Ok(Self {
                scheme: Scheme::Http,
                hosts: Hosts::Exactly(host),
                port: port.unwrap_or(80),
            });
        }
        let (host, port) = split_port(text).ok_or(EntryError::NotAHost)?;
        let hosts = if host == "*" {
            Hosts::All
        } else if let Some(domain) = host.strip_prefix("*.") {
            match parse_host(domain) {
                Some(Host::Domain(name)) => Hosts::Below(format!(".{name}")),
                _ => return Err(EntryError::NotAHost),
            }
        } else {
            Hosts::Exactly(parse_host(host).ok_or(EntryError::NotAHost)?)
        };
        Ok(Self {
            scheme: Scheme::Https,
            hosts,
            port: port.unwrap_or(443),
        })
    }

    fn lists(&self, url: &EndpointUrl) -> Option<Listed> {
        if self.scheme != url.scheme() || self.port != url.port() {
            return None;
        }
        match (&self.hosts, url.parsed_host()) {
            (Hosts::All, _) => Some(Listed::ByPattern),
            (Hosts::Below(suffix), Host::Domain(name)) => {
                name.ends_with(suffix).then_some(Listed::ByPattern)
            }
            (Hosts::Below(_), _) => None,
            (Hosts::Exactly(listed), host) => (listed == host).then_some(Listed::Exactly),
        }
    }
}

/// Reads the host of an entry as that of a URL. The parser of hosts alone takes characters that the
/// parser of URLs takes for the end of the host.
fn parse_host(text: &str) -> Option<Host<String>> {
    if text.contains(['/', '?', '#', '@', '\\', '*']) || text.chars().any(char::is_control) {
        return None;
    }
    let host = Host::parse(text).ok()?;
    check_host(&host).ok()?;
    Some(host)
}

/// Splits `host:port` or `[address]:port`. The port is none if there is no colon after the host;
/// the result is none if the text after the colon is no port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        // The colon belongs to the address.
        Some((_, after)) if after.ends_with(']') => Some((text, None)),
        Some((host, port)) => {
            let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
            Some((host, Some(port)))
        }
        None => Some((text, None)),
    }
}

impl Target {
    /// The URL.
    #[must_use]
    pub fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// Returns those of the host's `addresses` that may be connected to, in their order.
    ///
    /// # Errors
    /// None of them may be.
    pub fn admit_addresses(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, GateError> {
        let mut refused = None;
        let mut admitted = vec![];
        for address in addresses {
            match (
                AddressClass::of(address.ip()),
                self.url.scheme(),
                self.listed,
            ) {
                (AddressClass::Public, Scheme::Https, _)
                | (AddressClass::Internal, _, Listed::Exactly) => admitted.push(address),
                (AddressClass::Forbidden, ..) => {
                    refused = refused.or(Some(AddressClass::Forbidden));
                }
                // These say more to the administrator than a forbidden one.
                (class, ..) => refused = Some(class),
            }
        }
        if !admitted.is_empty() {
            return Ok(admitted);
        }
        let host = plain(&self.url.host());
        Err(match refused {
            Some(AddressClass::Internal) => GateError::Internal { host },
            Some(AddressClass::Public) => GateError::PublicWithoutTls { host },
            Some(AddressClass::Forbidden) => GateError::Forbidden { host },
            None => GateError::NoAddress { host },
        })
    }
}

/// Reason why the value of `pg_auth_jwt.fetch_hosts`, or an entry of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostListError {
    /// An entry.
    Entry {
        /// Its text.
        entry: Excerpt,
        /// The fault.
        reason: EntryError,
    },
    /// The whole value is too long.
    TooLong,
}

/// Fault of an entry of `pg_auth_jwt.fetch_hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// It is no host's name, address or pattern, with or without a port.
    NotAHost,
    /// It begins with `https://`.
    HasScheme,
    /// `http://` with a pattern.
    OpenPattern,
    /// `http://` with an address that is not internal.
    NotInternal,
}

impl fmt::Display for HostListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entry, reason) = match self {
            Self::TooLong => {
                return write!(f, "list of hosts is longer than {MAX_HOSTS_BYTES} bytes");
            }
            Self::Entry { entry, reason } => (entry, reason),
        };
        match reason {
            EntryError::NotAHost => write!(f, "{entry} in the list of hosts is no host"),
            EntryError::HasScheme => write!(
                f,
                "{entry} in the list of hosts is a URL: leave \"https://\" out"
            ),
            EntryError::OpenPattern => write!(
                f,
                "{entry} in the list of hosts is a pattern, and \"http://\" takes a host"
            ),
            EntryError::NotInternal => write!(
                f,
                "{entry} in the list of hosts is no address of a private network, and \"http://\" is for \
                 those alone"
            ),
        }
    }
}

impl std::error::Error for HostListError {}

/// Reason why a URL, or an address, is not admitted. The hosts are escaped and shortened.
///
/// The messages name no address of a host that was given by its name: a role that may choose the URL
/// need not be one that may ask the internal DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateError {
    /// The list is empty.
    Off,
    /// No entry lists this host with this port and scheme.
    NotListed {
        /// The host, as an entry would name it.
        host: String,
        /// An entry that may have been meant, and that lists nothing.
        unreadable: Option<HostListError>,
    },
    /// All of the host's addresses are internal, or forbidden, and it is listed by a pattern.
    Internal {
        /// The host.
        host: String,
    },
    /// All of the host's addresses are public, or forbidden, and it is listed without TLS.
    PublicWithoutTls {
        /// The host.
        host: String,
    },
    /// All of the host's addresses are forbidden.
    Forbidden {
        /// The host.
        host: String,
    },
    /// The host has no address.
    NoAddress {
        /// The host.
        host: String,
    },
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("fetching is off, because pg_auth_jwt.fetch_hosts is empty"),
            Self::NotListed { host, unreadable } => {
                let what = format!("host \"{host}\" is not listed in pg_auth_jwt.fetch_hosts");
                match unreadable {
                    Some(error) => write!(f, "{what}, and {error}"),
                    None => f.write_str(&what),
                }
            }
            Self::Internal { host } => write!(
                f,
                "host \"{host}\" has an internal address, and pg_auth_jwt.fetch_hosts does not \
                 list it by its exact name"
            ),
            Self::PublicWithoutTls { host } => write!(
                f,
                "host \"{host}\" has a public address, and without TLS only hosts of a private \
                 network are connected to"
            ),
            Self::Forbidden { host } => write!(
                f,
                "host \"{host}\" has an address that is never connected to: link-local, metadata, \
                 multicast or reserved"
            ),
            Self::NoAddress { host } => write!(f, "host \"{host}\" has no address"),
        }
    }
}

impl std::error::Error for GateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(hosts: &str, url: &str) -> Result<Target, GateError> {
        let hosts = HostList::parse(hosts).unwrap_or_else(|e| panic!("{e}"));
        hosts.admit(EndpointUrl::parse(url).unwrap_or_else(|e| panic!("{url}: {e}")))
    }

    #[track_caller]
    fn listed(hosts: &str, urls: &[&str]) {
        for url in urls {
            assert!(admit(hosts, url).is_ok(), "{url} in {hosts}");
        }
    }

    #[track_caller]
    fn not_listed(hosts: &str, urls: &[&str]) {
        for url in urls {
            let result = admit(hosts, url);
            assert!(
                matches!(result, Err(GateError::NotListed { .. })),
                "{url} in {hosts}: {result:?}"
            );
        }
    }

    fn at(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 443))
            .collect()
    }

    #[test]
    fn an_empty_list_turns_fetching_off() {
        for hosts in ["", " ", ",, \n"] {
            assert!(HostList::parse(hosts).unwrap().is_empty());
            assert_eq!(admit(hosts, "https://example.com/"), Err(GateError::Off));
        }
    }

    #[test]
    fn a_list_of_the_longest_length_is_read_and_a_longer_one_is_not() {
        let list = |length| format!("{:length$}", "example.com");
        assert!(HostList::parse(&list(MAX_HOSTS_BYTES)).is_ok());
        let longer = HostList::parse(&list(MAX_HOSTS_BYTES + 1));
        assert_eq!(longer, Err(HostListError::TooLong));
    }

    #[test]
    fn a_list_tells_its_first_entry_that_cannot_be_read() {
        assert_eq!(HostList::read("example.com").unreadable(), None);
        let list = HostList::read("example.com ** http://*");
        let error = HostList::parse("**").unwrap_err();
        assert_eq!(list.unreadable(), Some(&error));
    }

    #[test]
    fn an_exact_name_lists_itself_at_its_port() {
        listed(
            "example.com",
            &[
                "https://example.com/",
                "https://EXAMPLE.com:443/a?b",
                "https://example.com/other/path",
            ],
        );
        not_listed(
            "example.com",
            &[
                "https://www.example.com/",
                "https://example.com.evil.org/",
                "https://example.comm/",
                "https://notexample.com/",
                "https://example.com:8443/",
                "https://com/",
            ],
        );
        listed("example.com:8443", &["https://example.com:8443/"]);
        not_listed("example.com:8443", &["https://example.com/"]);
        listed("EXAMPLE.Com", &["https://example.com/"]);
        listed("bücher.example", &["https://xn--bcher-kva.example/"]);
        listed("xn--bcher-kva.example", &["https://BÜCHER.example/"]);
    }

    #[test]
    fn a_domain_lists_what_is_below_it() {
        listed(
            "*.example.com",
            &["https://a.example.com/", "https://a.b.example.com/"],
        );
        not_listed(
            "*.example.com",
            &[
                "https://example.com/",
                "https://notexample.com/",
                "https://a.example.com.org/",
                "https://a.example.com:8443/",
                "https://1.2.3.4/",
            ],
        );
        listed("*.example.com:8443", &["https://a.example.com:8443/"]);
    }

    #[test]
    fn a_star_lists_every_host_at_its_port() {
        listed(
            "*",
            &[
                "https://example.com/",
                "https://8.8.8.8/",
                "https://localhost/",
            ],
        );
        not_listed("*", &["https://example.com:8443/", "http://127.0.0.1:443/"]);
        listed("*:8443", &["https://example.com:8443/"]);
    }

    #[test]
    fn entries_are_separated_by_commas_and_spaces() {
        let hosts = "a.example, b.example,c.example\n\td.example ,, e.example";
        for host in ["a", "b", "c", "d", "e"] {
            listed(hosts, &[&format!("https://{host}.example/")]);
        }
        not_listed(hosts, &["https://f.example/"]);
    }

    #[test]
    fn plain_http_needs_the_very_entry() {
        listed("http://127.0.0.1:8080", &["http://127.0.0.1:8080/jwks"]);
        listed("http://127.0.0.1:8080", &["http://2130706433:8080/jwks"]);
        not_listed(
            "http://127.0.0.1:8080",
            &[
                "http://127.0.0.1:8081/",
                "http://127.0.0.1/",
                "https://127.0.0.1:8080/",
            ],
        );
        not_listed("127.0.0.1:8080, *:8080", &["http://127.0.0.1:8080/"]);
        listed("127.0.0.1:8443", &["https://127.0.0.1:8443/"]);
        listed("http://Keycloak:8080", &["http://keycloak:8080/jwks"]);
        listed(
            "http://keycloak",
            &["http://keycloak/", "http://keycloak:80/"],
        );
        listed("http://[::1]:3000", &["http://[0:0::1]:3000/"]);
        listed("http://10.1.2.3:3000", &["http://10.1.2.3:3000/"]);
        not_listed(
            "http://keycloak:8080",
            &[
                "http://keycloak/",
                "https://keycloak/",
                "https://keycloak:8080/",
                "http://keycloak.example:8080/",
                "http://a.keycloak:8080/",
            ],
        );
        not_listed(
            "keycloak:8080 *:8080 *:80",
            &["http://keycloak:8080/", "http://keycloak/"],
        );
    }

    #[test]
    fn plain_http_reaches_private_networks_alone() {
        let target = admit("* http://keycloak:8080", "http://keycloak:8080/").unwrap();
        let internal = at(&["10.0.0.5", "127.0.0.1", "::1", "fd00::1", "100.64.0.1"]);
        assert_eq!(target.admit_addresses(internal.clone()).unwrap(), internal);
        // A name that leads elsewhere, all of a sudden or in part.
        for public in ["1.1.1.1", "2606::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            assert_eq!(
                target.admit_addresses(at(&[public])).unwrap_err(),
                GateError::PublicWithoutTls {
                    host: "keycloak".to_owned()
                }
            );
            let mixed = at(&[public, "169.254.169.254", "10.0.0.5"]);
            assert_eq!(target.admit_addresses(mixed).unwrap(), at(&["10.0.0.5"]));
        }
        for forbidden in [
            "169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
        ] {
            assert!(matches!(
                target.admit_addresses(at(&[forbidden])),
                Err(GateError::Forbidden { .. })
            ));
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_keeps_no_other_from_listing() {
        let list = HostList::read("good.example, https://bad.example *.*.x other.example");
        for url in ["https://good.example/", "https://other.example/"] {
            assert!(
                list.admit(EndpointUrl::parse(url).unwrap()).is_ok(),
                "{url}"
            );
        }
        let missing = list.admit(EndpointUrl::parse("https://bad.example/").unwrap());
        assert_eq!(
            missing.unwrap_err().to_string(),
            "host \"bad.example\" is not listed in pg_auth_jwt.fetch_hosts, and \
             \"https://bad.example\" in the list of hosts is a URL: leave \"https://\" out"
        );
        // Nor does it list anything by itself.
        let list = HostList::read("https://*");
        assert!(!list.is_empty());
        let missing = list.admit(EndpointUrl::parse("https://a.example/").unwrap());
        assert!(matches!(missing, Err(GateError::NotListed { .. })));
        let long = HostList::read(&"a.example ".repeat(MAX_HOSTS_BYTES));
        let missing = long.admit(EndpointUrl::parse("https://a.example/").unwrap());
        assert!(matches!(missing, Err(GateError::NotListed { .. })));
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named() {
        for entry in [
            "https://example.com",
            "http://",
            "http://*",
            "http://*.example.com",
            "http://1.1.1.1",
            "http://169.254.169.254",
            "http://[fd00:ec2::254]:80",
            "http://0.0.0.0",
            "http://keycloak:",
            "http://keycloak.",
            "http://user@keycloak",
            "http://http://keycloak",
            "HTTP://keycloak",
            "http://127.0.0.1:8080/",
            "example.com/",
            "example.com:",
            "example.com:0",
            "example.com:+443",
            "example.com:65536",
            "example.com:https",
            "example.com.",
            ".example.com",
            "*.",
            "*.*.com",
            "*example.com",
            "a.*.com",
            "**",
            "*.1.2.3.4",
            "*.0.0.1",
            "user@example.com",
            "::1",
            "[::1",
            "[::1]443",
            "10.0.0.0/8",
            "1.2.3.4.5",
            "exam\u{0}ple.com",
        ] {
            let result = HostList::parse(&format!("good.example {entry}"));
            let message = result.expect_err(entry).to_string();
            let expected = format!("{} in the list of hosts", Excerpt::new(entry));
            assert!(message.starts_with(&expected), "{message}");
        }
        let long = "a.example ".repeat(MAX_HOSTS_BYTES / 10 + 1);
        assert!(HostList::parse(&long).is_err());
    }

    #[test]
    fn an_address_as_the_host_is_looked_at_at_once() {
        let forbidden = |hosts: &str, url: &str| {
            let result = admit(hosts, url);
            assert!(
                matches!(result, Err(GateError::Forbidden { .. })),
                "{url}: {result:?}"
            );
        };
        // However it is written, and however it is listed.
        for url in [
            "https://169.254.169.254/",
            "https://2852039166/",
            "https://0251.0376.0251.0376/",
            "https://0xa9fea9fe/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::169.254.169.254]/",
            "https://[2002:a9fe:a9fe::1]/",
            "https://[fd00:ec2::254]/",
        ] {
            forbidden("*", url);
            let host = EndpointUrl::parse(url).unwrap().host();
            forbidden(&host, url);
        }
        let internal = |url| {
            let result = admit("*", url);
            assert!(
                matches!(result, Err(GateError::Internal { .. })),
                "{url}: {result:?}"
            );
        };
        internal("https://10.0.0.5/");
        internal("https://127.1/");
        internal("https://[::1]/");
        internal("https://[::ffff:10.0.0.5]/");
        listed("10.0.0.5", &["https://10.0.0.5/", "https://167772165/"]);
        listed("[fd00::5]:8443", &["https://[fd00:0::5]:8443/"]);
    }

    #[test]
    fn a_pattern_does_not_reach_internal_addresses() {
        let internal = at(&["10.0.0.5", "127.0.0.1", "::1", "fd00::1", "100.64.0.1"]);
        let exactly = admit("a.example.com", "https://a.example.com/").unwrap();
        assert_eq!(exactly.admit_addresses(internal.clone()).unwrap(), internal);
        for hosts in ["*", "*.example.com", "*.com"] {
            let target = admit(hosts, "https://a.example.com/").unwrap();
            for address in &internal {
                assert!(matches!(
                    target.admit_addresses([*address]),
                    Err(GateError::Internal { .. })
                ));
            }
        }
        // Listed both ways: the exact name counts.
        let both = admit("* a.example.com", "https://a.example.com/").unwrap();
        assert_eq!(both.admit_addresses(internal.clone()).unwrap(), internal);
    }

    #[test]
    fn forbidden_addresses_are_left_out() {
        let target = admit("*", "https://example.com/").unwrap();
        let mixed = at(&[
            "169.254.169.254",
            "1.1.1.1",
            "10.0.0.1",
            "fe80::1",
            "2606::1",
        ]);
        assert_eq!(
            target.admit_addresses(mixed).unwrap(),
            at(&["1.1.1.1", "2606::1"])
        );
        let forbidden = target.admit_addresses(at(&["169.254.169.254", "::"]));
        assert_eq!(
            forbidden.unwrap_err().to_string(),
            "host \"example.com\" has an address that is never connected to: link-local, \
             metadata, multicast or reserved"
        );
        assert_eq!(
            target
                .admit_addresses(at(&["0.0.0.0", "10.0.0.1"]))
                .unwrap_err(),
            GateError::Internal {
                host: "example.com".to_owned()
            }
        );
        assert!(matches!(
            target.admit_addresses([]),
            Err(GateError::NoAddress { .. })
        ));
    }

    #[test]
    fn messages_name_the_entry_that_is_missing() {
        let message = |url| admit("other.example", url).unwrap_err().to_string();
        assert_eq!(
            message("https://example.com:8443/jwks"),
            "host \"example.com:8443\" is not listed in pg_auth_jwt.fetch_hosts"
        );
        assert!(message("https://example.com/").contains("\"example.com\""));
        assert!(message("http://127.0.0.1:80/").contains("\"http://127.0.0.1:80\""));
    }
}
