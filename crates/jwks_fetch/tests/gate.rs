//! Nothing is connected to that the list of hosts does not admit.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::atomic::Ordering;

use common::*;
use jwks_rules::wire::FailureKind;

#[test]
fn an_internal_address_needs_the_exact_name() {
    let endpoint = Endpoint::answering(ok(KEYS));
    fetched(&endpoint.fetch());
    assert_eq!(endpoint.connections(), 1);
    let mut request = endpoint.request();
    for hosts in ["*", "*.example.test", "*.test"] {
        request.hosts = format!("{hosts}:{}", endpoint.port);
        failed(
            &run(&request),
            FailureKind::Gate,
            "does not list it by its exact name",
        );
    }
    for hosts in ["", "*", "keys.example.test", "other.test"] {
        request.hosts = hosts.to_owned();
        failed(&run(&request), FailureKind::Gate, "pg_auth_jwt.fetch_hosts");
    }
    request.hosts = "*.*".to_owned();
    failed(
        &run(&request),
        FailureKind::Gate,
        "\"*.*\" in the list of hosts is no host",
    );
    assert_eq!(endpoint.connections(), 1);
    request.hosts = format!("*.* {HOST}:{}", endpoint.port);
    fetched(&run(&request));
}

#[test]
fn forbidden_addresses_are_left_out() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let request = endpoint.request();
    let names = Names::in_turn(&[&[
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "127.0.0.1",
        "::",
    ]]);
    fetched(&run_with(&request, names));
    let names = Names::in_turn(&[&["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1"]]);
    failed(
        &run_with(&request, names),
        FailureKind::Gate,
        "never connected to",
    );
    assert_eq!(endpoint.connections(), 1);
}

/// 0.0.0.0 and the mapped forms of 127.0.0.1 lead to this machine, as far as the system goes.
#[test]
fn other_names_of_this_machine_are_not_connected_to() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let mut request = endpoint.request();
    request.hosts = format!("*:{}", endpoint.port);
    for address in [
        "0.0.0.0",
        "127.0.0.1",
        "127.1.2.3",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
    ] {
        let answer = run_with(&request, Names::in_turn(&[&[address]]));
        failed(&answer, FailureKind::Gate, "host \"keys.example.test\"");
    }
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "0",
    ] {
        request.url = format!("https://{host}:{}/jwks", endpoint.port);
        failed(&run(&request), FailureKind::Gate, "address");
    }
    assert_eq!(endpoint.connections(), 0);
}

/// A name server that answers differently the second time has nothing to gain: what was checked is
/// what is connected to, and each request asks once.
#[test]
fn the_address_that_was_checked_is_connected_to() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let names = Names::in_turn(&[&["127.0.0.1"], &["169.254.169.254"]]);
    fetched(&run_with(&endpoint.request(), names.clone()));
    assert_eq!(names.lookups.load(Ordering::SeqCst), 1);

    // The discovery document's host was fine; the same host is asked for again for the keys.
    let document = r#"{"issuer":"i","jwks_uri":"https://keys.example.test:PORT/keys"}"#;
    let endpoint = Endpoint::https(move |request, stream| {
        let port = request.split_once("keys.example.test:").unwrap().1;
        let port = port.split("\r\n").next().unwrap();
        let _ = stream.write_all(ok(&document.replace("PORT", port)).as_bytes());
    });
    let mut request = endpoint.request();
    request.discover = true;
    request.issuer = "i".to_owned();
    let names = Names::in_turn(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let answer = run_with(&request, names.clone());
    failed(&answer, FailureKind::Gate, "never connected to");
    assert_eq!(names.lookups.load(Ordering::SeqCst), 2);
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn plain_http_is_for_a_listed_loopback_address() {
    let answer = |mut tcp: std::net::TcpStream| {
        let _ = read_header(&mut tcp);
        let _ = std::io::Write::write_all(&mut tcp, ok(KEYS).as_bytes());
    };
    let endpoint = Endpoint::tcp(Authority::new(), answer);
    let mut request = endpoint.request();
    request.url = format!("http://127.0.0.1:{}/jwks", endpoint.port);
    request.hosts = request.url.replace("/jwks", "");
    let answer = run(&request);
    fetched(&answer);
    assert_eq!(answer.roots, None);
    request.hosts = format!("127.0.0.1:{0} *:{0}", endpoint.port);
    failed(&run(&request), FailureKind::Gate, "is not listed");
    request.url = format!("http://1.1.1.1:{}/jwks", endpoint.port);
    failed(&run(&request), FailureKind::Gate, "private network alone");
    request.url = format!("http://{HOST}:{}/jwks", endpoint.port);
    failed(&run(&request), FailureKind::Gate, "is not listed");
    assert_eq!(endpoint.connections(), 1);

    // A name, for as long as it leads to a private network.
    request.hosts = format!("* http://{HOST}:{}", endpoint.port);
    fetched(&run(&request));
    fetched(&run_with(
        &request,
        Names::in_turn(&[&["1.1.1.1", "127.0.0.1"]]),
    ));
    for address in ["1.1.1.1", "2606::1", "169.254.169.254", "0.0.0.0"] {
        let answer = run_with(&request, Names::in_turn(&[&[address]]));
        failed(&answer, FailureKind::Gate, "host \"keys.example.test\" has");
    }
    assert_eq!(endpoint.connections(), 3);
}

/// The document comes without TLS, and names keys that come with it.
#[test]
fn plain_discovery_may_lead_to_tls() {
    let keys = Endpoint::answering(ok(KEYS));
    let mut request = keys.request();
    let document = format!(r#"{{"issuer":"i","jwks_uri":"{}"}}"#, request.url);
    let plain = Endpoint::tcp(Authority::new(), move |mut tcp: std::net::TcpStream| {
        let _ = read_header(&mut tcp);
        let _ = std::io::Write::write_all(&mut tcp, ok(&document).as_bytes());
    });
    request.hosts = format!("{} http://127.0.0.1:{}", request.hosts, plain.port);
    request.url = format!("http://127.0.0.1:{}/", plain.port);
    request.discover = true;
    request.issuer = "i".to_owned();
    let answer = run(&request);
    fetched(&answer);
    assert_eq!(answer.roots, Some(jwks_rules::wire::Roots::File));
    request.ca_file = Authority::new().file();
    assert_eq!(run(&request).outcome, jwks_rules::wire::Outcome::Failed);
}

#[test]
fn no_address_and_no_connection_are_told_apart() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let mut request = endpoint.request();
    let answer = run_with(&request, Names::in_turn(&[&[]]));
    failed(&answer, FailureKind::Dns, "host \"keys.example.test\"");
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    request.url = format!("https://{HOST}:{port}/jwks");
    request.hosts = format!("{HOST}:{port}");
    failed(
        &run(&request),
        FailureKind::Connect,
        "could not connect to host",
    );
}
