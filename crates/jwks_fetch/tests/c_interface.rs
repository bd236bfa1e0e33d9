//! The library as the extension loads it: by `dlopen`, through its C interface.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::ffi::{c_int, c_void};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::{env, ptr, slice, thread};

use common::*;
use jwks_rules::wire::{Answer, FailureKind, Request, VERSION};
use libloading::{Library, Symbol};

type Start = unsafe extern "C" fn(*const u8, usize) -> *mut c_void;
type Poll = unsafe extern "C" fn(*mut c_void, *mut *const u8, *mut usize) -> c_int;
type Free = unsafe extern "C" fn(*mut c_void);

struct Loaded(Library);

impl Loaded {
    fn new() -> Self {
        let mut path: PathBuf = env::current_exe().unwrap();
        path.set_file_name(format!(
            "{}pg_auth_jwt_fetch{}",
            env::consts::DLL_PREFIX,
            env::consts::DLL_SUFFIX
        ));
        // SAFETY: what the library does when it is loaded needs nothing.
        Self(unsafe { Library::new(path) }.unwrap())
    }

    fn function<T>(&self, name: &str) -> Symbol<'_, T> {
        // SAFETY: the types are those of the C interface.
        unsafe { self.0.get(name.as_bytes()) }.unwrap()
    }

    fn start(&self, request: &[u8]) -> *mut c_void {
        let start = self.function::<Start>("pg_auth_jwt_fetch_start");
        // SAFETY: a slice.
        unsafe { start(request.as_ptr(), request.len()) }
    }

    fn poll(&self, fetch: *mut c_void) -> Option<Answer> {
        let poll = self.function::<Poll>("pg_auth_jwt_fetch_poll");
        let (mut answer, mut length) = (ptr::null(), 0);
        // SAFETY: `fetch` is from `start`; what is read is valid until it is freed.
        let text = unsafe {
            match poll(fetch, &raw mut answer, &raw mut length) {
                0 => return None,
                _ => slice::from_raw_parts(answer, length),
            }
        };
        Some(Answer::from_json(text).unwrap())
    }

    fn free(&self, fetch: *mut c_void) {
        let free = self.function::<Free>("pg_auth_jwt_fetch_free");
        // SAFETY: `fetch` is from `start`, or null, and is not used afterwards.
        unsafe { free(fetch) }
    }

    fn run(&self, request: &Request) -> Answer {
        let fetch = self.start(request.to_json().unwrap().as_bytes());
        assert!(!fetch.is_null());
        let answer = loop {
            if let Some(answer) = self.poll(fetch) {
                break answer;
            }
            thread::yield_now();
        };
        // It stays.
        assert_eq!(self.poll(fetch).as_ref(), Some(&answer));
        self.free(fetch);
        answer
    }
}

/// A host whose name every system resolves to loopback.
const LOCALHOST: &str = "localhost";

fn endpoint() -> (Endpoint, Request) {
    let authority = Authority::new();
    let config = authority.server(LOCALHOST);
    let endpoint = Endpoint::with_tls(authority, config, |_, stream| {
        let _ = stream.write_all(ok(KEYS).as_bytes());
    });
    let mut request = endpoint.request();
    request.url = format!("https://{LOCALHOST}:{}/jwks", endpoint.port);
    request.hosts = format!("{LOCALHOST}:{}", endpoint.port);
    (endpoint, request)
}

#[test]
fn fetches_by_the_c_interface() {
    let library = Loaded::new();
    let version = library.function::<extern "C" fn() -> u32>("pg_auth_jwt_fetch_version");
    assert_eq!(version(), VERSION);
    let (_endpoint, request) = endpoint();
    fetched(&library.run(&request));
    // A second one, with all that the library has initialised.
    fetched(&library.run(&request));
}

#[test]
fn what_is_no_request_is_not_started() {
    let library = Loaded::new();
    for request in [
        &b""[..],
        b"{}",
        b"\xff",
        b"null",
        &[b'['; 100_000],
        &[b' '; 300_000],
    ] {
        assert!(library.start(request).is_null());
    }
    let start = library.function::<Start>("pg_auth_jwt_fetch_start");
    // SAFETY: null, and a length that no memory has, are looked for.
    unsafe {
        assert!(start(ptr::null(), 10).is_null());
        assert!(start(b"{}".as_ptr(), usize::MAX).is_null());
    }
    let poll = library.function::<Poll>("pg_auth_jwt_fetch_poll");
    // SAFETY: null is looked for.
    let ended = unsafe { poll(ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
    assert_eq!(ended, 0);
    library.free(ptr::null_mut());
}

#[test]
fn a_failure_is_an_answer() {
    let library = Loaded::new();
    let (endpoint, mut request) = endpoint();
    request.hosts = String::new();
    failed(&library.run(&request), FailureKind::Gate, "fetching is off");
    assert_eq!(endpoint.connections(), 0);
    // No name of this form has an address (RFC 6761 §6.4).
    request.hosts = "*".to_owned();
    request.url = "https://nowhere.invalid/".to_owned();
    failed(
        &library.run(&request),
        FailureKind::Dns,
        "\"nowhere.invalid\"",
    );
}

/// Runs the test `name` in a process of its own, with these variables in its environment.
fn in_a_process_of_its_own(name: &str, variables: &[(&str, &str)]) -> std::process::Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// The proxies that the environment names are not asked, by any of the names that such variables
/// have.
#[test]
fn proxies_of_the_environment_are_ignored() {
    const PROXY: &str = "PG_AUTH_JWT_FETCH_PROXY";
    if env::var_os(PROXY).is_some() {
        let (_endpoint, request) = endpoint();
        fetched(&Loaded::new().run(&request));
        return;
    }
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = proxy.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    thread::spawn(move || {
        for _ in proxy.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    for scheme in ["http", "socks5"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let names = [
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "HTTP_PROXY",
            PROXY,
        ];
        let variables = names.map(|name| (name, url.as_str()));
        let output = in_a_process_of_its_own("proxies_of_the_environment_are_ignored", &variables);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

/// Certificates of the system's are those that OpenSSL would use; where there are none, the bundled
/// ones are used, and the answer says so.
#[test]
fn without_a_file_the_certificates_are_those_of_the_system() {
    const FETCH_FROM: &str = "PG_AUTH_JWT_FETCH_FROM";
    const ROOTS: &str = "PG_AUTH_JWT_FETCH_ROOTS";
    if let (Ok(port), Ok(roots)) = (env::var(FETCH_FROM), env::var(ROOTS)) {
        let mut request = Endpoint::answering("").request();
        request.url = format!("https://{LOCALHOST}:{port}/");
        request.hosts = format!("{LOCALHOST}:{port}");
        request.ca_file = String::new();
        let answer = Loaded::new().run(&request);
        assert_eq!(format!("{:?}", answer.roots.unwrap()), roots);
        match roots.as_str() {
            "System" => fetched(&answer),
            _ => failed(&answer, FailureKind::Tls, "UnknownIssuer"),
        }
        return;
    }
    let (endpoint, request) = endpoint();
    let port = endpoint.port.to_string();
    for (file, roots) in [
        (request.ca_file.as_str(), "System"),
        ("/nonexistent", "Bundled"),
    ] {
        let variables = [
            (FETCH_FROM, port.as_str()),
            (ROOTS, roots),
            ("SSL_CERT_FILE", file),
            ("SSL_CERT_DIR", ""),
        ];
        let name = "without_a_file_the_certificates_are_those_of_the_system";
        let output = in_a_process_of_its_own(name, &variables);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(endpoint.requests().len(), 1);
}

/// The process ends with the status that it chose, at once, and without a word, wherever the thread
/// is: one waits for the endpoint, another one has just begun.
#[test]
fn the_process_may_end_while_a_fetch_runs() {
    const CHILD: &str = "PG_AUTH_JWT_FETCH_CHILD";
    if env::var_os(CHILD).is_some() {
        end_while_fetching();
    }
    for _ in 0..5 {
        let name = "the_process_may_end_while_a_fetch_runs";
        let output = in_a_process_of_its_own(name, &[(CHILD, "1")]);
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

fn end_while_fetching() -> ! {
    let library = Loaded::new();
    let (sender, reached) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let endpoint = Endpoint::tcp(Authority::new(), move |mut tcp: TcpStream| {
        let _ = tcp.read(&mut [0; 1]);
        let _ = sender.lock().unwrap().send(());
        thread::sleep(PLENTY);
    });
    let mut request = endpoint.request();
    request.url = format!("https://127.0.0.1:{}/", endpoint.port);
    request.hosts = format!("127.0.0.1:{}", endpoint.port);
    let request = request.to_json().unwrap();
    let waiting = library.start(request.as_bytes());
    assert!(!waiting.is_null());
    reached.recv().unwrap();
    let beginning = library.start(request.as_bytes());
    assert!(!beginning.is_null());
    assert_eq!(library.poll(waiting), None);
    library.free(waiting);
    // With the handlers of `atexit` and the destructors of libraries, as Postgres's processes do.
    exit(77);
}
