//! What a token needs from a keyring.

/// The issuer and the key that a token names; nothing in it is verified.
///
/// [`verify_with`](crate::verify_with()) reaches the same verdict with every keyring that agrees on
/// these:
///
/// * the issuer of exactly that name, or its absence;
/// * where it is absent or the token names none, the issuer `"*"`, or its
///   absence;
/// * of whichever of the two there is, the keys of that `kid`; where the token
///   names none, all its keys, of which more than
///   [`MAX_KEYS_TRIED`](crate::limits::MAX_KEYS_TRIED) are as good as one more
///   than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'t> {
    /// `iss`.
    pub issuer: Option<&'t str>,
    /// `kid` of the header.
    pub key_id: Option<&'t str>,
}
