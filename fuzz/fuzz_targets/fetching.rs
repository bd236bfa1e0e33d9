//! Any text as a list of hosts, a URL, a header and an answer of an endpoint: a line each.
#![no_main]

use jwks_rules::wire::{Answer, Request};
use jwks_rules::{AddressClass, EndpointUrl, HostList, discovery_url, headers, read_discovery};

libfuzzer_sys::fuzz_target!(|data: &str| {
    let mut lines = data.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or("");
    let (hosts, url, header, answer) = (line(), line(), line(), line());

    let hosts = HostList::parse(hosts);
    if let Ok(url) = EndpointUrl::parse(url) {
        the_client_reads_the_same(&url);
        if let Ok(target) = hosts.unwrap_or_default().admit(url)
            && let Some(address) = target.url().address()
        {
            assert_ne!(AddressClass::of(address), AddressClass::Forbidden);
        }
    }
    if let Ok(url) = discovery_url(url) {
        the_client_reads_the_same(&url);
    }
    if let Ok(url) = read_discovery(answer, "https://example.com") {
        the_client_reads_the_same(&url);
    }

    let _ = (
        headers::date(header),
        headers::max_age(header),
        headers::seconds(header),
    );
    let _ = headers::retry_after(header, std::time::SystemTime::now());
    if let Some(etag) = headers::etag(header) {
        assert!(http::HeaderValue::from_str(etag).is_ok());
    }

    let _ = Request::from_json(answer.as_bytes());
    if let Ok(answer) = Answer::from_json(answer.as_bytes()) {
        let text = answer.to_json().unwrap_or_default();
        assert_eq!(Answer::from_json(text.as_bytes()), Ok(answer));
    }
});

/// The HTTP client has its own parser. It must see the host that the list was asked about.
fn the_client_reads_the_same(url: &EndpointUrl) {
    assert_eq!(EndpointUrl::parse(url.as_str()).as_ref(), Ok(url));
    if let Ok(uri) = url.as_str().parse::<http::Uri>() {
        assert_eq!(uri.host(), Some(url.host().as_str()));
        assert_eq!(uri.port_u16().unwrap_or(url.port()), url.port());
        assert_eq!(
            uri.scheme_str() == Some("https"),
            url.as_str().starts_with("https:")
        );
    }
}
