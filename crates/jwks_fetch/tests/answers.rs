//! Answers of an endpoint, and their results.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::thread;
use std::time::Duration;

use common::*;
use jwks_rules::limits::{MAX_BODY_BYTES, MAX_HEADER_BYTES};
use jwks_rules::wire::{Answer, FailureKind, Outcome, Roots};

#[test]
fn a_whole_answer_with_all_its_headers() {
    let endpoint = Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nETag: W/\"7\"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Last-Modified: Sun, 06 Nov 1994 08:49:07 GMT\r\nCache-Control: public\r\n\
         Cache-Control: max-age=600\r\nAge: 20\r\nContent-Length: {}\r\n\r\n{KEYS}",
        KEYS.len()
    ));
    let answer = endpoint.fetch();
    fetched(&answer);
    assert_eq!(answer.etag.as_deref(), Some("W/\"7\""));
    assert_eq!(answer.date, Some(784_111_777));
    assert_eq!(answer.last_modified, Some(784_111_747));
    assert_eq!(answer.max_age, Some(600));
    assert_eq!(answer.age, Some(20));
    assert_eq!(answer.roots, Some(Roots::File));
    let request = &endpoint.requests()[0].to_lowercase();
    assert!(request.starts_with("get /jwks http/1.1\r\n"), "{request}");
    assert!(
        request.contains("\r\nuser-agent: pg_auth_jwt/test\r\n"),
        "{request}"
    );
    assert!(
        request.contains("\r\naccept-encoding: identity\r\n"),
        "{request}"
    );
    let host = format!("\r\nhost: {HOST}:{}\r\n", endpoint.port);
    assert!(request.contains(&host), "{request}");
    assert!(!request.contains("if-none-match"), "{request}");
    assert!(!request.contains("authorization"), "{request}");
    assert!(!request.contains("cookie"), "{request}");
}

#[test]
fn headers_that_cannot_be_read_count_as_absent() {
    let endpoint = Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nETag: unquoted\r\nDate: yesterday\r\nCache-Control: max-age=x\r\n\
         Age: \u{e9}\r\nContent-Length: {}\r\n\r\n{KEYS}",
        KEYS.len()
    ));
    let answer = endpoint.fetch();
    fetched(&answer);
    assert_eq!((answer.etag, answer.date), (None, None));
    assert_eq!((answer.max_age, answer.age), (None, None));
}

#[test]
fn bodies_in_every_framing() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4\r\n{\"ke\r\n7\r\nys\":[]}\r\n0\r\n\r\n";
    fetched(&Endpoint::answering(chunked).fetch());
    let until_closed = format!("HTTP/1.0 200 OK\r\n\r\n{KEYS}");
    fetched(&Endpoint::answering(until_closed).fetch());
    let old = format!("HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\n{KEYS}");
    fetched(&Endpoint::answering(old).fetch());
    let hinted = format!("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n{}", ok(KEYS));
    fetched(&Endpoint::answering(hinted).fetch());
    let more = format!("{}HTTP/1.1 200 OK\r\n\r\nmore", ok(KEYS));
    fetched(&Endpoint::answering(more).fetch());
}

#[test]
fn not_modified_counts_where_it_was_asked() {
    let endpoint =
        Endpoint::answering("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=9\r\n\r\n");
    let mut request = endpoint.request();
    request.etag = Some("\"7\"".to_owned());
    let answer = run(&request);
    assert_eq!(answer.outcome, Outcome::NotModified, "{answer:?}");
    assert_eq!((answer.max_age, answer.error), (Some(9), None));
    let asked = endpoint.requests()[0].to_lowercase();
    assert!(asked.contains("\r\nif-none-match: \"7\"\r\n"), "{asked}");

    failed(&endpoint.fetch(), FailureKind::Status, "status 304");
    // A tag that is none is not sent, so it was not asked either.
    request.etag = Some("7\"\r\nX-Injected: 1".to_owned());
    failed(&run(&request), FailureKind::Status, "status 304");
    assert!(!endpoint.requests()[2].contains("Injected"));
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Endpoint::answering(ok(KEYS));
    for status in [300, 301, 302, 303, 307, 308] {
        let to = format!("https://{HOST}:{}/\u{1b}[31m", elsewhere.port);
        let endpoint = Endpoint::answering(format!(
            "HTTP/1.1 {status} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        ));
        let mut request = endpoint.request();
        request.hosts = format!("{HOST}:{} {HOST}:{}", endpoint.port, elsewhere.port);
        let answer = run(&request);
        // Some parsers refuse the escape character in a header, and that is as well.
        assert_eq!(answer.outcome, Outcome::Failed);
        assert!(!answer.error.unwrap().message.contains('\u{1b}'));
        let endpoint = Endpoint::answering(format!(
            "HTTP/1.1 {status} X\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = endpoint.fetch();
        failed(
            &answer,
            FailureKind::Redirect,
            "to \"https://elsewhere.test/\"",
        );
    }
    assert_eq!(elsewhere.connections(), 0);
    let without = Endpoint::answering("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n");
    failed(&without.fetch(), FailureKind::Redirect, "status 302");
}

#[test]
fn other_statuses_fail_and_may_ask_for_time() {
    for status in [201, 204, 206, 400, 401, 403, 404, 410, 429, 500, 503, 599] {
        let endpoint = Endpoint::answering(format!(
            "HTTP/1.1 {status} X\r\nRetry-After: 120\r\nETag: \"7\"\r\nContent-Length: 11\r\n\r\n{KEYS}"
        ));
        let answer = endpoint.fetch();
        failed(&answer, FailureKind::Status, &format!("status {status}"));
        assert_eq!(answer.retry_after, Some(120));
        assert_eq!(answer.etag, None);
    }
    let dated = Endpoint::answering(
        "HTTP/1.1 503 X\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(dated.fetch().retry_after, Some(60));
}

#[test]
fn a_body_beyond_the_limit_is_not_read() {
    let body = |length: usize| "x".repeat(length);
    let exactly = Endpoint::answering(ok(&body(MAX_BODY_BYTES)));
    assert_eq!(exactly.fetch().body.len(), MAX_BODY_BYTES);
    let one_more = Endpoint::answering(ok(&body(MAX_BODY_BYTES + 1)));
    failed(
        &one_more.fetch(),
        FailureKind::TooLarge,
        "longer than 262144 bytes",
    );
    // Without a length, and without an end.
    let endless = Endpoint::https(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\nxxxx\r\n").is_ok() {}
    });
    failed(
        &endless.fetch(),
        FailureKind::TooLarge,
        "longer than 262144 bytes",
    );
    let endless = Endpoint::https(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    failed(
        &endless.fetch(),
        FailureKind::TooLarge,
        "longer than 262144 bytes",
    );
    let announced = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    failed(
        &announced.fetch(),
        FailureKind::TooLarge,
        "longer than 262144 bytes",
    );
}

#[test]
fn a_header_beyond_the_limit_is_not_read() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n{KEYS}",
        "x".repeat(MAX_HEADER_BYTES)
    );
    failed(
        &Endpoint::answering(long).fetch(),
        FailureKind::TooLarge,
        "too long a header",
    );
    let endless = Endpoint::https(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream
            .write_all(b"X: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")
            .is_ok()
        {}
    });
    let answer = endless.fetch();
    let kind = answer.error.as_ref().unwrap().kind;
    // Too many of them, or too long in all: whichever is found first.
    assert!(
        matches!(kind, FailureKind::TooLarge | FailureKind::Protocol),
        "{answer:?}"
    );
}

/// Parts of an answer that have no length of their own.
#[test]
fn what_has_no_end_is_not_read_on() {
    for (start, piece) in [
        // A chunk's extension, the trailer, a reason, answers before the final one.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;",
            "x",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "X: y\r\n",
        ),
        ("HTTP/1.1 200 ", "x"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("", "\r\n"),
    ] {
        let endpoint = Endpoint::https(move |_, stream| {
            let _ = stream.write_all(start.as_bytes());
            let pieces = piece.repeat(1024);
            while stream.write_all(pieces.as_bytes()).is_ok() {}
        });
        let answer = run_until(endpoint.request(), || !endpoint.requests().is_empty());
        assert_eq!(answer.outcome, Outcome::Failed, "{start:?} {piece:?}");
    }
}

#[test]
fn an_encoded_body_is_refused() {
    for encoding in ["gzip", "br", "deflate", "zstd", "x", "identity, gzip"] {
        let endpoint = Endpoint::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 11\r\n\r\n{KEYS}"
        ));
        failed(&endpoint.fetch(), FailureKind::Protocol, "Content-Encoding");
    }
    let endpoint = Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 11\r\n\r\n{KEYS}"
    ));
    fetched(&endpoint.fetch());
}

#[test]
fn a_connection_that_ends_in_the_middle_fails() {
    for answer in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"keys\":[]}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"keys\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"keys\":[]}\r\n",
    ] {
        let endpoint = Endpoint::answering(answer);
        failed(
            &endpoint.fetch(),
            FailureKind::Protocol,
            "could not read the answer",
        );
    }
}

#[test]
fn the_headers_of_an_incomplete_answer_are_not_kept() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nETag: \"7\"\r\nCache-Control: max-age=9\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 12\r\n\r\n{\"keys\":[]}",
    );
    let answer = endpoint.fetch();
    failed(&answer, FailureKind::Protocol, "could not read the answer");
    assert_eq!(
        (answer.etag, answer.date, answer.max_age),
        (None, None, None)
    );
}

#[test]
fn what_is_no_http_fails() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"\r\n\r\n\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let endpoint = Endpoint::answering(answer);
        let answer = endpoint.fetch();
        assert_eq!(answer.outcome, Outcome::Failed, "{answer:?}");
        assert_eq!(answer.body, "");
    }
}

#[test]
fn a_server_that_answers_slowly_runs_into_the_time_limit() {
    let slowly = |start: &'static [u8], piece: &'static [u8]| {
        Endpoint::https(move |_, stream| {
            let _ = stream.write_all(start);
            while stream
                .write_all(piece)
                .and_then(|()| stream.flush())
                .is_ok()
            {
                thread::sleep(Duration::from_millis(100));
            }
        })
    };
    for endpoint in [
        // Nothing at all, the header byte by byte, the body byte by byte.
        Endpoint::https(|_, _| thread::sleep(PLENTY)),
        slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        slowly(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
    ] {
        let answer = run_until(endpoint.request(), || !endpoint.requests().is_empty());
        failed(
            &answer,
            FailureKind::Timeout,
            "time limit was reached while waiting for the complete answer",
        );
    }
}

#[test]
fn the_discovery_document_leads_to_the_keys() {
    let issuer = "https://issuer.example.test";
    let documents = move |request: &str, stream: &mut dyn Stream| {
        let port = request.split_once(&format!("{HOST}:")).unwrap().1;
        let port = port.split("\r\n").next().unwrap();
        let body = if request.starts_with("GET /keys ") {
            KEYS.to_owned()
        } else {
            let issuer = if request.contains("/wrong") {
                "https://other.test"
            } else {
                issuer
            };
            let host = if request.contains("/outside") {
                "outside.test"
            } else {
                HOST
            };
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"https://{host}:{port}/keys"}}"#)
        };
        let _ = stream.write_all(ok(&body).as_bytes());
    };
    let endpoint = Endpoint::https(documents);
    let base = format!("https://{HOST}:{}", endpoint.port);
    let mut request = endpoint.request();
    request.discover = true;
    request.issuer = issuer.to_owned();
    request.etag = Some("\"7\"".to_owned());
    request.url = format!("{base}/.well-known/openid-configuration");
    let answer = run(&request);
    fetched(&answer);
    assert_eq!(answer.jwks_uri, Some(format!("{base}/keys")));
    // The tag may be that of another URL.
    for request in endpoint.requests() {
        assert!(
            !request.to_lowercase().contains("if-none-match"),
            "{request}"
        );
    }

    request.url = format!("{base}/wrong");
    failed(
        &run(&request),
        FailureKind::Discovery,
        "is of the issuer \"https://other.test\"",
    );
    request.url = format!("{base}/outside");
    failed(&run(&request), FailureKind::Gate, "host \"outside.test");
    request.url = format!("{base}/keys");
    failed(
        &run(&request),
        FailureKind::Discovery,
        "is not a JSON object",
    );
    assert_eq!(endpoint.requests().len(), 5);

    let missing = Endpoint::answering("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n");
    let mut request = missing.request();
    request.discover = true;
    let message = "/jwks\": host \"keys.example.test\" answered with status 404";
    failed(&run(&request), FailureKind::Status, message);
}

#[test]
fn a_transfer_coding_besides_chunked_is_refused() {
    let chunked = |coding: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n\
             4\r\n{{\"ke\r\n7\r\nys\":[]}}\r\n0\r\n\r\n"
        )
    };
    fetched(&Endpoint::answering(chunked("Chunked")).fetch());
    for coding in [
        "gzip, chunked",
        "gzip,chunked",
        "deflate, chunked",
        "chunked, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ] {
        let answer = Endpoint::answering(chunked(coding)).fetch();
        failed(&answer, FailureKind::Protocol, "could not read the answer");
    }
}

/// The documents of an issuer at the endpoint's root, by path, and what was asked for.
fn discovered(path: &str, documents: &[(&'static str, &'static str)]) -> (Answer, Vec<String>) {
    let documents = documents.to_vec();
    let endpoint = Endpoint::https(move |request, stream| {
        let port = request.split_once(&format!("{HOST}:")).unwrap().1;
        let root = format!("https://{HOST}:{}", port.split("\r\n").next().unwrap());
        let asked = request.split(' ').nth(1).unwrap();
        let found = documents.iter().find(|(path, _)| *path == asked);
        let answer = match found {
            Some((_, answer)) if answer.starts_with("HTTP/") => (*answer).to_owned(),
            Some((_, body)) => ok(&body.replace("ROOT", &root)),
            None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let mut request = endpoint.request();
    let root = request.url.strip_suffix("/jwks").unwrap().to_owned();
    request.issuer = format!("{root}{path}");
    request.url = format!("{}/.well-known/openid-configuration", request.issuer);
    request.discover = true;
    let answer = run(&request);
    let asked = endpoint.requests();
    let paths = asked
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap().to_owned());
    (answer, paths.collect())
}

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";
const DOCUMENT: &str = r#"{"issuer":"ROOT","jwks_uri":"ROOT/keys"}"#;

#[test]
fn oauth_metadata_is_asked_for_where_there_is_no_discovery_document() {
    let (answer, asked) = discovered("", &[(OAUTH, DOCUMENT), ("/keys", KEYS)]);
    fetched(&answer);
    assert_eq!(asked, [OPENID, OAUTH, "/keys"]);
    // Behind the issuer's host, before its path.
    let with_path = [
        (
            "/.well-known/oauth-authorization-server/a/b",
            r#"{"issuer":"ROOT/a/b","jwks_uri":"ROOT/keys"}"#,
        ),
        ("/keys", KEYS),
    ];
    fetched(&discovered("/a/b", &with_path).0);
    // A host that answers everything with a page, or leads to one.
    for page in [
        "<!DOCTYPE html>",
        "HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n",
    ] {
        let documents = [(OPENID, page), (OAUTH, DOCUMENT), ("/keys", KEYS)];
        fetched(&discovered("", &documents).0);
    }
}

#[test]
fn a_discovery_document_that_is_there_is_the_only_one() {
    let (answer, asked) = discovered("", &[(OPENID, DOCUMENT), (OAUTH, "{}"), ("/keys", KEYS)]);
    fetched(&answer);
    assert_eq!(asked, [OPENID, "/keys"]);
    for refused in [
        r#"{"issuer":"https://other.example","jwks_uri":"ROOT/keys"}"#,
        r#"{"issuer":"ROOT","jwks_uri":"file:///etc/passwd"}"#,
        "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n",
    ] {
        let documents = [(OPENID, refused), (OAUTH, DOCUMENT), ("/keys", KEYS)];
        let (answer, asked) = discovered("", &documents);
        assert_eq!(answer.outcome, Outcome::Failed, "{refused}");
        assert_eq!(asked, [OPENID], "{refused}");
    }
    // The metadata must be of the issuer, too.
    let other = r#"{"issuer":"https://other.example","jwks_uri":"ROOT/keys"}"#;
    let (answer, _) = discovered("", &[(OAUTH, other), ("/keys", KEYS)]);
    assert_eq!(answer.outcome, Outcome::Failed);
}

#[test]
fn an_issuer_without_documents_is_told_what_to_do() {
    let (answer, asked) = discovered("", &[]);
    assert_eq!(asked, [OPENID, OAUTH]);
    for part in [OPENID, OAUTH, "status 404", "url =>"] {
        failed(&answer, FailureKind::Status, part);
    }
}
