//! An endpoint on loopback, certificates for it, and fetches from it.

#![allow(
    dead_code,
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jwks_rules::wire::{Answer, FailureKind, Outcome, Request};
use pg_auth_jwt_fetch::{Dial, Lookup, Progress, fetch, fetch_by};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The host's name in all tests: it has the addresses that the test says.
pub const HOST: &str = "keys.example.test";

pub const KEYS: &str = r#"{"keys":[]}"#;

/// Enough on a machine that is busy with other things.
pub const PLENTY: Duration = Duration::from_secs(60);

/// Both ends of a connection, with TLS or without.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A certificate authority, its certificate in a file until it is dropped.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = temporary_file(&issuer.pem());
        Self { issuer, file }
    }

    pub fn file(&self) -> String {
        self.file.to_str().unwrap().to_owned()
    }

    /// The TLS of a server with a certificate for `name`.
    pub fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.server_with(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    pub fn server_with(&self, params: CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

pub fn temporary_file(text: &str) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("pg_auth_jwt_fetch-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A server on loopback. Its threads end with the process.
pub struct Endpoint {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    /// The headers of the requests that came.
    pub requests: Arc<Mutex<Vec<String>>>,
    authority: Authority,
}

impl Endpoint {
    /// `answer` writes what it likes to each connection, after the request's header.
    pub fn https(answer: impl Fn(&str, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let config = authority.server(HOST);
        Self::with_tls(authority, config, answer)
    }

    pub fn with_tls(
        authority: Authority,
        config: Arc<ServerConfig>,
        answer: impl Fn(&str, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(vec![]));
        let seen = Arc::clone(&requests);
        let handle = move |tcp: TcpStream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, tcp);
            // The client may end the connection at any time.
            let Ok(request) = read_header(&mut stream) else {
                return;
            };
            seen.lock().unwrap().push(request.clone());
            answer(&request, &mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        };
        let mut endpoint = Self::tcp(authority, handle);
        endpoint.requests = requests;
        endpoint
    }

    /// Always the same bytes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::https(move |_, stream| {
            let _ = stream.write_all(&answer);
        })
    }

    /// `handle` gets each connection, without TLS.
    pub fn tcp(authority: Authority, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for tcp in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let handle = Arc::clone(&handle);
                thread::spawn(move || handle(tcp.unwrap()));
            }
        });
        Self {
            port,
            connections,
            requests: Arc::default(),
            authority,
        }
    }

    /// A request for this endpoint, which lists it by its exact name.
    pub fn request(&self) -> Request {
        Request {
            url: format!("https://{HOST}:{}/jwks", self.port),
            discover: false,
            issuer: String::new(),
            hosts: format!("{HOST}:{}", self.port),
            ca_file: self.authority.file(),
            etag: None,
            timeout_ms: 60_000,
            connect_timeout_ms: 60_000,
            user_agent: "pg_auth_jwt/test".to_owned(),
        }
    }

    pub fn fetch(&self) -> Answer {
        run(&self.request())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Names with fixed addresses, and how often they were asked for.
pub struct Names {
    addresses: Vec<Vec<IpAddr>>,
    pub lookups: AtomicUsize,
}

impl Names {
    /// Each look-up has the next addresses; the last ones stay.
    pub fn in_turn(addresses: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self {
            addresses: addresses.iter().map(parse).collect(),
            lookups: AtomicUsize::new(0),
        })
    }

    pub fn loopback() -> Arc<Self> {
        Self::in_turn(&[&["127.0.0.1"]])
    }
}

impl Lookup for Names {
    fn addresses(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let number = self.lookups.fetch_add(1, Ordering::SeqCst);
        let addresses = self
            .addresses
            .get(number)
            .or(self.addresses.last())
            .unwrap();
        Ok(addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect())
    }
}

pub fn run(request: &Request) -> Answer {
    run_with(request, Names::loopback())
}

pub fn run_with(request: &Request, lookup: Arc<dyn Lookup>) -> Answer {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms);
    fetch(request, lookup, Progress::default(), deadline)
}

/// With connections by `dial`.
pub fn run_by(request: &Request, lookup: Arc<dyn Lookup>, dial: Arc<dyn Dial>) -> Answer {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms);
    fetch_by(request, lookup, dial, Progress::default(), deadline)
}

/// Fetches with longer and longer time limits, until one was long enough for `reached`: what is to be
/// shown comes after that, and takes longer than any of them.
pub fn run_until(mut request: Request, reached: impl Fn() -> bool) -> Answer {
    for timeout_ms in [500, 2_000, 8_000, 32_000] {
        request.timeout_ms = timeout_ms;
        let answer = run(&request);
        if reached() {
            return answer;
        }
    }
    panic!("the endpoint was never reached");
}

pub fn read_header(stream: &mut dyn Stream) -> io::Result<String> {
    let mut header = vec![];
    while !header.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        header.extend(byte);
    }
    Ok(String::from_utf8(header).unwrap())
}

pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[track_caller]
pub fn failed(answer: &Answer, kind: FailureKind, message: &str) {
    assert_eq!(answer.outcome, Outcome::Failed, "{answer:?}");
    assert_eq!(answer.body, "", "{answer:?}");
    let error = answer.error.as_ref().unwrap();
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(!error.message.contains(char::is_control), "{error:?}");
    assert!(error.message.contains(message), "{error:?}");
}

#[track_caller]
pub fn fetched(answer: &Answer) {
    assert_eq!(answer.outcome, Outcome::Fetched, "{answer:?}");
    assert_eq!(answer.body, KEYS);
    assert_eq!(answer.error, None);
}
