//! A host with several addresses is reached by the first one that answers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::*;
use jwks_rules::wire::{FailureKind, Request};
use pg_auth_jwt_fetch::{Dial, SystemDial};

/// No IPv6 address answers, as where a network's route for IPv6 leads nowhere. Keeps what was tried.
#[derive(Default)]
struct NoV6(Mutex<Vec<String>>);

impl Dial for NoV6 {
    fn dial(&self, address: SocketAddr, at_most: Duration) -> io::Result<TcpStream> {
        self.0.lock().unwrap().push(address.ip().to_string());
        if address.is_ipv6() {
            thread::sleep(at_most);
            return Err(io::ErrorKind::TimedOut.into());
        }
        SystemDial.dial(address, at_most)
    }
}

fn v6(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("fd00::{n}")).collect()
}

fn names(list: &[String]) -> Arc<Names> {
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    Names::in_turn(&[&list])
}

#[test]
fn eight_dead_addresses_cost_one_attempt() {
    let endpoint = Endpoint::answering(ok(KEYS));
    for count in [1, 8, 15, 30] {
        let mut addresses = v6(count);
        addresses.push("127.0.0.1".to_owned());
        let dial = Arc::new(NoV6::default());
        fetched(&run_by(
            &endpoint.request(),
            names(&addresses),
            dial.clone(),
        ));
        assert_eq!(*dial.0.lock().unwrap(), ["fd00::1", "127.0.0.1"], "{count}");
    }
}

/// The request for the keys, after that for the discovery document, knows which address answers.
#[test]
fn a_dead_address_is_waited_for_once() {
    let endpoint = Endpoint::https(|request, stream| {
        let port = request.split_once("keys.example.test:").unwrap().1;
        let port = port.split("\r\n").next().unwrap();
        let document =
            format!(r#"{{"issuer":"i","jwks_uri":"https://keys.example.test:{port}/keys"}}"#);
        let is_first = request.starts_with("GET /jwks ");
        let body = if is_first { document.as_str() } else { KEYS };
        let _ = stream.write_all(ok(body).as_bytes());
    });
    let request = Request {
        discover: true,
        issuer: "i".to_owned(),
        ..endpoint.request()
    };
    let dial = Arc::new(NoV6::default());
    let addresses = ["fd00::1".to_owned(), "127.0.0.1".to_owned()];
    fetched(&run_by(&request, names(&addresses), dial.clone()));
    let tried = dial.0.lock().unwrap();
    assert_eq!(*tried, ["fd00::1", "127.0.0.1", "127.0.0.1"]);
}

#[test]
fn a_refusal_leads_to_the_next_address() {
    let endpoint = Endpoint::answering(ok(KEYS));
    // Nothing listens there at this port.
    let names = Names::in_turn(&[&["127.0.0.2", "127.0.0.3", "127.0.0.1"]]);
    fetched(&run_with(&endpoint.request(), names));
}

/// As the system does it: a queue of connections that is full takes no more of them and says nothing.
#[test]
fn a_silent_address_leads_to_the_next_one() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let silent = TcpListener::bind(("127.0.0.2", endpoint.port)).unwrap();
    let address = silent.local_addr().unwrap();
    let mut queue = vec![];
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
    }
    let names = Names::in_turn(&[&["127.0.0.2", "127.0.0.1"]]);
    fetched(&run_with(&endpoint.request(), names));
    // Without another one, the message has the address.
    let mut request = endpoint.request();
    request.connect_timeout_ms = 300;
    let answer = run_with(&request, Names::in_turn(&[&["127.0.0.2"]]));
    let message = "while connecting to host \"keys.example.test\" at 127.0.0.2";
    failed(&answer, FailureKind::Timeout, message);
}

#[test]
fn a_server_without_the_right_certificate_is_named_with_its_address() {
    let endpoint = Endpoint::answering(ok(KEYS));
    let mut request = endpoint.request();
    let other = Authority::new();
    request.ca_file = other.file();
    let message = "could not agree on TLS with host \"keys.example.test\" at 127.0.0.1: ";
    failed(&run(&request), FailureKind::Tls, message);
}
