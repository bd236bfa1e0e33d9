//! Every bound on the work that a token or a key can cause, with its reason.

/// Longest token, in bytes.
///
/// HTTP servers accept at most 8 to 16 KiB of headers; tokens with hundreds of roles come near
/// that. The signature of ML-DSA-87 takes 6 KiB. No real token is longer than this.
pub const MAX_TOKEN_BYTES: usize = 65_536;

/// Deepest nesting of arrays and objects in a JSON text; the outermost object
/// counts as 1.
///
/// The parser recurses, so this bounds its use of the backend's stack (a few
/// dozen KiB). Real claims nest less than 10 deep.
pub const MAX_JSON_DEPTH: usize = 128;

/// Largest absolute value of a number's written exponent.
///
/// A decimal type prints `1e-1000` with all its zeros, so a few bytes of token
/// would become megabytes of text. 1000 is beyond what a double can hold.
pub const MAX_NUMBER_EXPONENT: i32 = 1_000;

/// Most digits before the decimal point; the limit of Postgres's `numeric`.
pub const MAX_NUMBER_INTEGER_DIGITS: usize = 131_072;

/// Most digits after the decimal point; the limit of Postgres's `numeric`.
pub const MAX_NUMBER_FRACTION_DIGITS: usize = 16_383;

/// Longest JWK, in bytes.
///
/// A key of ML-DSA-87 takes 3.5 KiB, an RSA key of 8192 bits 1.5 KiB; the rest is room for an `x5c`
/// chain.
pub const MAX_JWK_BYTES: usize = 65_536;

/// Longest JWK Set, in bytes: room for [`MAX_JWKS_KEYS`] ordinary keys.
pub const MAX_JWKS_BYTES: usize = 16 * 1024 * 1024;

/// Most keys in one JWK Set. Issuers publish a handful, rarely a hundred.
pub const MAX_JWKS_KEYS: usize = 16_384;

/// Shortest RSA modulus, in bits (RFC 7518 §3.3 and §3.5).
pub const RSA_MIN_BITS: usize = 2_048;

/// Longest RSA modulus, in bits. The time of a check grows with its square;
/// beyond this, one bad key in a set would make every token expensive.
pub const RSA_MAX_BITS: usize = 8_192;

/// Smallest RSA public exponent. With 1 a signature is the padded hash itself,
/// so anyone could sign.
pub const RSA_MIN_EXPONENT: u64 = 3;

/// Largest RSA public exponent: 32 bits. Real ones are 3 and 65537, and the
/// time of a check grows with the exponent's length.
pub const RSA_MAX_EXPONENT: u64 = u32::MAX as u64;

/// Most keys that an issuer may have for a token without `kid` to be accepted.
///
/// Such a token is only accepted if exactly one key takes its algorithm, and finding that out takes
/// a look at every key. An issuer with more keys sets `kid`.
pub const MAX_KEYS_TRIED: usize = 100;
