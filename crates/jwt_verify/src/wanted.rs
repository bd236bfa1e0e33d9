//! Issuer and key that a token needs from a keyring.

/// The issuer and the key that a token names; nothing in it is verified.
///
/// [`verify_with`](crate::verify_with()) reaches the same verdict with every keyring that agrees on
/// these:
///
/// * the issuer of exactly that name, or its absence;
/// * if it is absent or the token names none, the issuer `"*"`, or its absence;
/// * the keys of that `kid`, of the one of the two issuers that there is; if the
///   token names no `kid`, all its keys, or one more than
///   [`MAX_KEYS_TRIED`](crate::limits::MAX_KEYS_TRIED) of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'t> {
    /// `iss`.
    pub issuer: Option<&'t str>,
    /// `kid` of the header.
    pub key_id: Option<&'t str>,
}
