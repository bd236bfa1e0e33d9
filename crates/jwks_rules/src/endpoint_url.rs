//! The URLs that can be fetched.

use std::fmt;
use std::net::IpAddr;

use shared_types::Excerpt;
use url::{Host, Url};

use crate::address::AddressClass;
use crate::limits::MAX_URL_BYTES;

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without TLS: only to internal addresses, of hosts that are listed as such.
    Http,
}

/// A URL that can be fetched, in its normal form.
///
/// The WHATWG URL Standard's parser reads it, as browsers do. So an IPv4 address in any spelling
/// (decimal, octal, hexadecimal, with fewer than four parts) is an address here, and a name is in
/// IDNA's ASCII form and in lower case (UTS #46). So the host that is compared with the list is the
/// one that is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl {
    scheme: Scheme,
    host: Host<String>,
    port: u16,
    text: String,
}

impl EndpointUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Anything but `https://host[:port]/path`, or the same with `http` and a name or an internal
    /// address. No user, no fragment; no white space and no control characters, which the Standard's parser would
    /// remove; no backslash, which it would take for a slash.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
        {
            return Err(UrlError::Character);
        }
        let url = Url::parse(text).map_err(|_| UrlError::NotAUrl)?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(UrlError::Scheme),
        };
        // The parser takes any number of slashes, none too, for the two.
        let authority = authority(text).ok_or(UrlError::NotAUrl)?;
        // An empty user (`https://@host/`) leaves no trace in the parsed form.
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::User);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let host = url.host().ok_or(UrlError::NotAUrl)?.to_owned();
        check_host(&host)?;
        let is_internal = |ip| AddressClass::of(ip) == AddressClass::Internal;
        if scheme == Scheme::Http && !address_of(&host).is_none_or(is_internal) {
            return Err(UrlError::NotEncrypted);
        }
        // The parser omits the scheme's default port.
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or(UrlError::Port)?;
        let text = String::from(url);
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        Ok(Self {
            scheme,
            host,
            port,
            text,
        })
    }

    /// The URL in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as a URL has it: a name in lower case, or an address, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The address, if the host is not a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        address_of(&self.host)
    }

    /// The entry of `pg_auth_jwt.fetch_hosts` that lists it: without the port if that is 443.
    #[must_use]
    pub fn entry(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Https, 443) => self.host(),
            (Scheme::Https, port) => format!("{}:{port}", self.host()),
            (Scheme::Http, port) => format!("http://{}:{port}", self.host()),
        }
    }

    /// The port, which is 443 if the URL has none; 80 for [`Scheme::Http`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn parsed_host(&self) -> &Host<String> {
        &self.host
    }
}

/// The address, if the host is not a name.
pub(crate) fn address_of(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(IpAddr::V4(*v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(*v6)),
    }
}

/// The text between `://` and the next delimiter, unless it is empty.
fn authority(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(':')?;
    let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    (!authority.is_empty()).then_some(authority)
}

/// A name of 1 to 63 letters, digits, hyphens and underscores in each part, 253 in all (RFC 1035
/// §2.3.4). No dot at its end: `example.com.` is the same host as `example.com` to a resolver, and
/// another one to a list of hosts.
pub(crate) fn check_host(host: &Host<String>) -> Result<(), UrlError> {
    let Host::Domain(name) = host else {
        return Ok(());
    };
    if name.ends_with('.') {
        return Err(UrlError::TrailingDot);
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(UrlError::HostName);
    }
    Ok(())
}

/// Reason why a text is no URL that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    TooLong,
    /// White space, a control character or a backslash.
    Character,
    /// Not of the form of a URL, or without a host.
    NotAUrl,
    /// Neither `https` nor `http`.
    Scheme,
    /// `http` to an address that is not internal.
    NotEncrypted,
    /// A user or a password.
    User,
    /// A fragment.
    Fragment,
    /// A host name that ends with a dot.
    TrailingDot,
    /// A host name that no DNS has.
    HostName,
    /// Port 0.
    Port,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "URL is longer than {MAX_URL_BYTES} bytes"),
            Self::Character => {
                f.write_str("URL has white space, a control character or a backslash")
            }
            Self::NotAUrl => f.write_str("text is not a URL with a host"),
            Self::Scheme => f.write_str("URL's scheme is not \"https\""),
            Self::NotEncrypted => f.write_str(
                "URL's scheme \"http\" is accepted for hosts of a private network alone",
            ),
            Self::User => f.write_str("URL has a user or a password"),
            Self::Fragment => f.write_str("URL has a fragment"),
            Self::TrailingDot => f.write_str("URL's host ends with a dot"),
            Self::HostName => f.write_str("URL's host is not a name of the DNS"),
            Self::Port => f.write_str("URL's port is 0"),
        }
    }
}

impl std::error::Error for UrlError {}

/// The URL in a message: quoted, escaped, shortened.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Excerpt::new(&self.text).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, u16, String) {
        let url = EndpointUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (url.host(), url.port(), url.as_str().to_owned())
    }

    #[track_caller]
    fn host(text: &str, expected: &str) {
        assert_eq!(parsed(text).0, expected, "{text}");
    }

    #[track_caller]
    fn refused(error: UrlError, texts: &[&str]) {
        for text in texts {
            assert_eq!(EndpointUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_url_of_the_longest_length_is_read_and_a_longer_one_is_not() {
        let url = |length: usize| format!("{:x<length$}", "https://example.com/");
        assert!(EndpointUrl::parse(&url(MAX_URL_BYTES)).is_ok());
        refused(UrlError::TooLong, &[&url(MAX_URL_BYTES + 1)]);
        // Its normal form is longer: each character takes six bytes there, and two here.
        let escaped = |length: usize| format!("https://example.com/{}", "\u{e9}".repeat(length));
        let longest = (MAX_URL_BYTES - "https://example.com/".len()) / 6;
        assert!(EndpointUrl::parse(&escaped(longest)).is_ok());
        refused(UrlError::TooLong, &[&escaped(longest + 1)]);
    }

    #[test]
    fn a_name_of_the_longest_length_is_read_and_a_longer_one_is_not() {
        let labels = ["x".repeat(63), "x".repeat(63), "x".repeat(63)].join(".");
        let longest = format!("{labels}.{}", "y".repeat(61));
        assert_eq!(longest.len(), 253);
        host(&format!("https://{longest}/"), &longest);
        refused(UrlError::HostName, &[&format!("https://{longest}y/")]);
    }

    #[test]
    fn reads_urls() {
        assert_eq!(
            parsed("https://example.com/.well-known/jwks.json"),
            (
                "example.com".to_owned(),
                443,
                "https://example.com/.well-known/jwks.json".to_owned()
            )
        );
        assert_eq!(parsed("https://example.com:8443/a?b=c").1, 8443);
        assert_eq!(parsed("https://example.com:443").2, "https://example.com/");
        assert_eq!(parsed("http://127.0.0.1:8080/jwks").1, 8080);
        assert_eq!(parsed("http://127.0.0.1/jwks").1, 80);
        assert_eq!(parsed("http://keycloak:8080/jwks").0, "keycloak");
        assert_eq!(parsed("http://[::1]/").0, "[::1]");
        assert_eq!(parsed("http://10.1.2.3/").0, "10.1.2.3");
        // A user's name may be in the path or in the query.
        assert_eq!(parsed("https://example.com/a@b?c@d").0, "example.com");
    }

    #[test]
    fn names_are_in_lower_case_ascii() {
        host("https://EXAMPLE.com/", "example.com");
        host("HTTPS://bücher.example/", "xn--bcher-kva.example");
        host("https://BÜCHER.example/", "xn--bcher-kva.example");
        host("https://ｅｘａｍｐｌｅ。com/", "example.com");
        host("https://%65xample.com/", "example.com");
        host("https://a_b.example.com/", "a_b.example.com");
    }

    #[test]
    fn addresses_are_read_in_every_spelling() {
        for text in [
            "https://169.254.169.254/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://0xA9.0xFE.0xA9.0xFE/",
            "https://0251.0376.0251.0376/",
            "https://169.254.43518/",
            "https://169.16689662/",
            "https://１６９.254.169.254/",
            "https://%31%36%39.254.169.254/",
            "https://169.254.169.254./",
        ] {
            host(text, "169.254.169.254");
        }
        host("https://127.1/", "127.0.0.1");
        host("https://[::FFFF:169.254.169.254]/", "[::ffff:a9fe:a9fe]");
        host("https://[0:0:0:0:0:0:0:1]/", "[::1]");
        let url = EndpointUrl::parse("https://[fd00::1]:8443/").unwrap();
        assert_eq!(url.address(), Some("fd00::1".parse().unwrap()));
        let url = EndpointUrl::parse("https://example.com/").unwrap();
        assert_eq!(url.address(), None);
    }

    #[test]
    fn refuses_what_is_no_https_url() {
        refused(
            UrlError::NotAUrl,
            &[
                "",
                "example.com/jwks",
                "/jwks",
                "https://",
                "https:example.com",
                "https:/example.com/",
                "https:///example.com/",
                "https:///@example.com/",
                "https:////user@example.com/",
                "https://:443/",
                "https://1.2.3.4.5/",
                "https://256.1.1.1/",
                "https://[::1/",
                "https://[fe80::1%25eth0]/",
                "https://example.com:65536/",
                "https://example.com:x/",
                "https://exa<mple.com/",
                "https://%00.com/",
                "https://xn--a/",
            ],
        );
        refused(
            UrlError::Scheme,
            &[
                "ftp://example.com/",
                "file:///etc/passwd",
                "httpss://example.com/",
            ],
        );
        refused(
            UrlError::NotEncrypted,
            &[
                "http://1.1.1.1/",
                "http://134744072/",
                "http://[2606::1]/",
                "http://[::ffff:1.1.1.1]/",
                "http://169.254.169.254/",
                "http://0.0.0.0/",
                "http://[fd00:ec2::254]/",
            ],
        );
        refused(
            UrlError::User,
            &[
                "https://user@example.com/",
                "https://user:password@example.com/",
                "https://@example.com/",
                "https://:@example.com/",
                "https://example.com@169.254.169.254/",
            ],
        );
        refused(
            UrlError::Fragment,
            &["https://example.com/#a", "https://example.com/#"],
        );
        refused(UrlError::Port, &["https://example.com:0/"]);
    }

    #[test]
    fn refuses_characters_that_the_parser_would_drop() {
        refused(
            UrlError::Character,
            &[
                " https://example.com/",
                "https://example.com/\n",
                "https://exam\tple.com/",
                "https://example.com/\u{0}",
                "https:\\\\example.com\\",
                "https://example.com\\@169.254.169.254/",
                "https://example.com/\u{a0}",
            ],
        );
    }

    #[test]
    fn refuses_names_that_no_dns_has() {
        refused(
            UrlError::TrailingDot,
            &["https://example.com./", "https://localhost./"],
        );
        let long = format!("https://{}.com/", "a".repeat(64));
        let longer = format!("https://{}com/", "a.".repeat(126));
        refused(
            UrlError::HostName,
            &[
                "https://a..example.com/",
                "https://.example.com/",
                &long,
                &longer,
            ],
        );
    }

    #[test]
    fn is_bounded_before_and_after_normalising() {
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
        refused(UrlError::TooLong, &[&long]);
        // Each of these becomes nine bytes.
        let grows = format!("https://example.com/{}", "日".repeat(600));
        assert!(grows.len() < MAX_URL_BYTES);
        refused(UrlError::TooLong, &[&grows]);
    }

    proptest::proptest! {
        /// The client's parser sees the host that the list was asked about.
        #[test]
        fn the_normal_form_is_stable(text in "https?://[ -~]{0,40}") {
            if let Ok(url) = EndpointUrl::parse(&text) {
                proptest::prop_assert_eq!(&EndpointUrl::parse(url.as_str()).unwrap(), &url);
                proptest::prop_assert!(url.as_str().is_ascii());
            }
        }
    }
}
