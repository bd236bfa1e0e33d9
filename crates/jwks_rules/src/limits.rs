//! Bounds on the cost of an endpoint, with their reasons.

use std::time::Duration;

/// Longest body of an answer, in bytes.
///
/// A hundred RSA keys of 4096 bits, each with a certificate chain, take less; so do 70 keys of
/// ML-DSA-87, the longest kind.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Longest header of an answer, in bytes, its status line included. Servers send 1 to 4 KiB.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Most keys that an endpoint may publish. Issuers publish a handful.
pub const MAX_KEYS: usize = 100;

/// Longest URL, in bytes, as it is given and in its normal form.
pub const MAX_URL_BYTES: usize = 2_048;

/// Longest value of `pg_auth_jwt.fetch_hosts`, in bytes: room for a few hundred hosts.
pub const MAX_HOSTS_BYTES: usize = 16 * 1024;

/// Longest entity tag (RFC 9110 §8.8.3) that is kept, in bytes. A longer one is not kept, so that
/// the next answer comes in full.
pub const MAX_ETAG_BYTES: usize = 256;

/// Longest message of a failure, in characters: a sentence, with a few excerpts of other texts.
pub const MAX_MESSAGE_CHARS: usize = 500;

/// Longest sentence about a fetch that is stored, in characters: a message, or a line for each of the
/// first few keys that cannot be used.
pub const MAX_STORED_CHARS: usize = 1_000;

/// Longest request in JSON, in bytes: each member at its longest, every character escaped.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// Longest file of certificates, in bytes. Mozilla's take about 220 KiB.
pub const MAX_CA_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Most addresses of a host that are tried.
pub const MAX_ADDRESSES: usize = 16;

/// Longest time for everything: name resolution, connecting, TLS, and up to two answers.
///
/// `DROP DATABASE` waits 5 seconds for other processes to leave the database (Postgres,
/// `CountOtherDBBackends`), then fails.
pub const TIMEOUT: Duration = Duration::from_millis(4_500);

/// Longest time for connecting to a host, with all of its addresses. It leaves two seconds of
/// [`TIMEOUT`] for TLS and the answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Time from one address to the next, while the former does not answer (RFC 8305 §5, "Connection
/// Attempt Delay"). Ten addresses get that much of [`CONNECT_TIMEOUT`], and [`MAX_ADDRESSES`] get
/// 150 ms, more than the 100 ms that the RFC warns of.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
