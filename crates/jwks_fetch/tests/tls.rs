//! Servers that are believed to be the ones that were asked for.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use common::*;
use jwks_rules::wire::{FailureKind, Roots};
use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use rustls::{ServerConnection, StreamOwned};

fn with(params: impl FnOnce(&mut CertificateParams)) -> Endpoint {
    let authority = Authority::new();
    let mut certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    params(&mut certificate);
    let config = authority.server_with(certificate);
    Endpoint::with_tls(authority, config, |_, stream| {
        let _ = stream.write_all(ok(KEYS).as_bytes());
    })
}

#[track_caller]
fn refused(endpoint: &Endpoint, reason: &str) {
    failed(&endpoint.fetch(), FailureKind::Tls, reason);
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn the_certificate_is_for_the_host_and_valid_now() {
    fetched(&with(|_| {}).fetch());
    refused(
        &with(|params| {
            *params = CertificateParams::new(vec!["other.example.test".to_owned()]).unwrap();
        }),
        "not valid for name",
    );
    refused(
        &with(|params| params.not_after = date_time_ymd(2020, 1, 1)),
        "certificate expired",
    );
    refused(
        &with(|params| params.not_before = date_time_ymd(2999, 1, 1)),
        "certificate not valid yet",
    );
    refused(
        &with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        "basicConstraints CA:FALSE",
    );
}

#[test]
fn the_certificate_is_of_a_known_authority() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let other = Authority::new();
    let mut request = endpoint.request();
    request.ca_file = other.file();
    // Both authorities have the same name.
    failed(&run(&request), FailureKind::Tls, "the same name");
    // The system's authorities, or the bundled ones.
    request.ca_file = String::new();
    let answer = run(&request);
    failed(&answer, FailureKind::Tls, "UnknownIssuer");
    assert!(matches!(answer.roots, Some(Roots::System | Roots::Bundled)));
    assert_eq!(endpoint.requests().len(), 0);
}

#[test]
fn a_file_of_certificates_that_cannot_be_used_is_an_error() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let mut request = endpoint.request();
    let good = std::fs::read_to_string(&request.ca_file).unwrap();
    let other = Authority::new();
    for (text, reason) in [
        (String::new(), "no certificate in PEM form"),
        ("certificates".to_owned(), "no certificate in PEM form"),
        (
            good.replace("CERTIFICATE", "PRIVATE KEY"),
            "no certificate in PEM form",
        ),
        (
            format!("{good}\n{}", good.replace("MII", "AII")),
            "certificate 2 in it is not usable",
        ),
        (
            good.replace("-----END CERTIFICATE-----", ""),
            "certificate 1 in it is not usable",
        ),
        ("x".repeat(4 * 1024 * 1024 + 1), "longer than 4194304 bytes"),
    ] {
        let file = temporary_file(&text);
        request.ca_file = file.to_str().unwrap().to_owned();
        let answer = run(&request);
        let _ = std::fs::remove_file(&file);
        failed(&answer, FailureKind::CaFile, reason);
        assert_eq!(answer.roots, None);
    }
    for path in ["/nonexistent", "/"] {
        request.ca_file = path.to_owned();
        failed(
            &run(&request),
            FailureKind::CaFile,
            "pg_auth_jwt.fetch_ca_file",
        );
    }
    assert_eq!(endpoint.connections(), 0);
    // Several certificates, with text between them.
    let both = std::fs::read_to_string(other.file()).unwrap();
    let file = temporary_file(&format!("first\n{both}\nsecond\n{good}"));
    request.ca_file = file.to_str().unwrap().to_owned();
    let answer = run(&request);
    let _ = std::fs::remove_file(&file);
    fetched(&answer);
}

/// Reads what the client sends first, then answers `bytes`.
fn after_client_hello(bytes: &'static [u8]) -> Endpoint {
    Endpoint::tcp(Authority::new(), move |mut tcp: TcpStream| {
        let _ = tcp.read(&mut [0; 4096]);
        let _ = tcp.write_all(bytes);
        // Until the client closes: its answer is an alert.
        let _ = tcp.read_to_end(&mut vec![]);
    })
}

#[test]
fn tls_before_1_2_is_refused() {
    let mut hello = vec![];
    // Record: handshake, TLS 1.1; message: ServerHello, TLS 1.1, a random of 32 bytes, no session,
    // TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2]);
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    let hello: &'static [u8] = hello.leak();
    failed(
        &after_client_hello(hello).fetch(),
        FailureKind::Tls,
        "could not agree on TLS",
    );
}

#[test]
fn what_is_no_tls_is_refused() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}"[..],
        b"",
        &[0xff; 4096],
    ] {
        let endpoint = Endpoint::tcp(Authority::new(), move |mut tcp: TcpStream| {
            let _ = tcp.read(&mut [0; 4096]);
            let _ = tcp.write_all(bytes);
        });
        let answer = endpoint.fetch();
        failed(
            &answer,
            FailureKind::Tls,
            "could not agree on TLS with host",
        );
    }
}

#[test]
fn a_refusal_to_agree_has_its_cure() {
    for (bytes, cure) in [
        (&b"HTTP/1.1 400 X\r\n\r\n"[..], "does not speak TLS"),
        // Alerts: handshake failure, protocol version.
        (b"\x15\x03\x03\x00\x02\x02\x28", "client certificate"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "neither TLS 1.2 nor 1.3"),
    ] {
        let endpoint = after_client_hello(bytes);
        failed(&endpoint.fetch(), FailureKind::Tls, cure);
    }
}

#[test]
fn a_server_that_stalls_in_the_handshake_runs_into_the_time_limit() {
    let endpoint = Endpoint::tcp(Authority::new(), |tcp: TcpStream| {
        thread::sleep(PLENTY);
        drop(tcp);
    });
    let answer = run_until(endpoint.request(), || endpoint.connections() > 0);
    failed(
        &answer,
        FailureKind::Timeout,
        "time limit was reached while agreeing on TLS",
    );
    // One byte at a time is no progress either.
    let endpoint = Endpoint::tcp(Authority::new(), |mut tcp: TcpStream| {
        let _ = tcp.write_all(&[22, 3, 3, 0x40, 0]);
        while tcp.write_all(&[0]).is_ok() {
            thread::sleep(std::time::Duration::from_millis(100));
        }
    });
    let answer = run_until(endpoint.request(), || endpoint.connections() > 0);
    failed(
        &answer,
        FailureKind::Timeout,
        "time limit was reached while agreeing on TLS",
    );
}

#[test]
fn agreeing_on_tls_takes_none_of_the_time_for_connecting() {
    let authority = Authority::new();
    let config = authority.server(HOST);
    // Later than the time for connecting is over.
    let late = |tcp: TcpStream| {
        thread::sleep(std::time::Duration::from_millis(400));
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, tcp);
        if read_header(&mut stream).is_ok() {
            let _ = stream.write_all(ok(KEYS).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    };
    thread::scope(|scope| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        scope.spawn(move || late(listener.accept().unwrap().0));
        let endpoint = Endpoint::tcp(Authority::new(), drop);
        let request = jwks_rules::wire::Request {
            url: format!("https://{HOST}:{port}/jwks"),
            hosts: format!("{HOST}:{port}"),
            ca_file: authority.file(),
            connect_timeout_ms: 300,
            ..endpoint.request()
        };
        fetched(&run(&request));
    });
}

#[test]
fn addresses_as_hosts_need_a_certificate_for_them() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1");
    let answer = |_: &str, stream: &mut dyn Stream| {
        let _ = stream.write_all(ok(KEYS).as_bytes());
    };
    let endpoint = Endpoint::with_tls(authority, Arc::clone(&config), answer);
    let mut request = endpoint.request();
    failed(&run(&request), FailureKind::Tls, "not valid for name");
    request.url = format!("https://127.0.0.1:{}/jwks", endpoint.port);
    request.hosts = format!("127.0.0.1:{}", endpoint.port);
    fetched(&run(&request));
}
