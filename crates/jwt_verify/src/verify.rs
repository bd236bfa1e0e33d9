//! The verification of a token (RFC 7519 §7.2).

use std::fmt;
use std::ops::Deref;

use shared_types::Excerpt;

use crate::claims::Claims;
use crate::error::Error;
use crate::header::{self, Header};
use crate::json::Value;
use crate::keyring::{Issuer, Keyring, Selected};
use crate::policy::Policy;
use crate::revocation::Revocable;
use crate::signature::memory::SignatureMemory;
use crate::signature::{self, Good};
use crate::time::UnixTime;
use crate::token::Token;
use crate::wanted::Wanted;

/// An accepted token.
///
/// `Debug` leaves the claims out: they are personal data.
#[derive(Clone)]
pub struct Verified {
    /// The payload's JSON text, byte for byte as signed. An object without
    /// duplicate names at the top and without U+0000.
    pub claims: String,
    /// `sub`.
    pub subject: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `kid` of the token's header.
    pub key_id: Option<String>,
    /// The claims by which it can be revoked.
    pub revocable: Revocable,
    /// `jti`, if it is a string.
    pub token_id: Option<String>,
    /// The first instant at which the same keyring accepts the same token.
    pub valid_from: UnixTime,
    /// The first later instant at which it no longer does, because the token, its age or its key
    /// expires; [`UnixTime::MAX`] for never.
    pub valid_until: UnixTime,
    /// Whether its signature was found in the [`SignatureMemory`], and not checked now.
    pub from_memory: bool,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("issuer", &self.issuer.as_deref().map(Excerpt::new))
            .field("key_id", &self.key_id.as_deref().map(Excerpt::new))
            .field("valid_from", &self.valid_from)
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

/// Verifies `token` against `keyring`, at the time `now`.
///
/// # Errors
///
/// The first rule that refuses the token, in this order: its form (at most
/// [`MAX_TOKEN_BYTES`](crate::limits::MAX_TOKEN_BYTES), three parts, base64url,
/// JSON), its header, its issuer, its key, its signature, the key's own issuer, its claims. Only
/// lookups happen before the signature is checked, and no claim is judged.
pub fn verify(token: &str, keyring: &Keyring, now: UnixTime) -> Result<Verified, Error> {
    verify_with(token, |_| keyring, None, now)
}

/// As [`verify`], with a keyring that is made, or found, for the names in the token. The keyring is
/// requested once, or not at all if the token's form or header is refused.
///
/// A signature that the memory has is not checked again. The verdict is the same with and without
/// one.
///
/// # Errors
///
/// As for [`verify`].
pub fn verify_with<K: Deref<Target = Keyring>>(
    token: &str,
    keyring: impl FnOnce(Wanted<'_>) -> K,
    memory: Option<&SignatureMemory<'_>>,
    now: UnixTime,
) -> Result<Verified, Error> {
    let token = Token::parse(token)?;
    let header = header::parse(&token.header)?;
    let claims = Claims::parse(&token.payload)?;

    let header = Header::read(&header)?;
    let keyring = keyring(Wanted {
        issuer: claims.issuer()?,
        key_id: header.kid,
    });
    let issuer = find_issuer(&claims, &keyring)?;
    check_type(&header, issuer.policy())?;
    let selected = select_key(issuer, &header, &claims, now)?;
    let signature = check_signature(&token, &header, &selected, memory)?;
    check_key_issuer(&header, &claims, &selected)?;
    let window = claims.check(issuer.policy(), now)?;

    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Verified {
        subject: owned(claims.subject()?),
        issuer: owned(claims.issuer()?),
        key_id: owned(header.kid),
        token_id: owned(claims.token_id()),
        revocable: Revocable::of(&claims)?,
        valid_from: window.from.max(selected.selected_from),
        valid_until: window.until.min(selected.expires_at),
        from_memory: signature.was_known,
        claims: token.payload,
    })
}

/// Whether the token passes every check that takes no key: its form, its header, its issuer's rules
/// and its claims. Anyone can write such a token, so this proves nothing; it tells whether fetching
/// keys again could make the token acceptable.
pub fn lacks_only_key(token: &str, keyring: &Keyring, now: UnixTime) -> bool {
    let check = || -> Result<bool, Error> {
        let token = Token::parse(token)?;
        let header = header::parse(&token.header)?;
        let claims = Claims::parse(&token.payload)?;
        let header = Header::read(&header)?;
        let issuer = find_issuer(&claims, keyring)?;
        check_type(&header, issuer.policy())?;
        claims.check(issuer.policy(), now)?;
        Ok(issuer.policy().algorithms.contains(header.alg))
    };
    check().unwrap_or(false)
}

/// The issuer that the token names.
pub(crate) fn find_issuer<'k>(
    claims: &Claims<'_>,
    keyring: &'k Keyring,
) -> Result<&'k Issuer, Error> {
    keyring.issuer(claims.issuer()?)
}

/// Checks that the token's type is one that the issuer's tokens may have.
pub(crate) fn check_type(header: &Header<'_>, policy: &Policy) -> Result<(), Error> {
    match policy.accepts_type(header.typ) {
        true => Ok(()),
        false => Err(Error::TokenType {
            typ: header.typ.map(Excerpt::new),
        }),
    }
}

/// The key that must have signed the token.
pub(crate) fn select_key<'k>(
    issuer: &'k Issuer,
    header: &Header<'_>,
    claims: &Claims<'_>,
    now: UnixTime,
) -> Result<Selected<'k>, Error> {
    issuer.select(header.alg, header.kid, claims.issuer()?, now)
}

/// Checks that the key may sign tokens of this issuer.
pub(crate) fn check_key_issuer(
    header: &Header<'_>,
    claims: &Claims<'_>,
    selected: &Selected<'_>,
) -> Result<(), Error> {
    let Some(binding) = selected.key.binding() else {
        return Ok(());
    };
    let tid = claims.get("tid").and_then(Value::as_str);
    match binding.admits(claims.issuer()?.unwrap_or_default(), tid) {
        true => Ok(()),
        false => Err(Error::KeyIssuer {
            kid: header.kid.map(Excerpt::new),
            bound: Excerpt::new(binding.as_str()),
        }),
    }
}

/// Checks that the key signed the token.
pub(crate) fn check_signature(
    token: &Token<'_>,
    header: &Header<'_>,
    selected: &Selected<'_>,
    memory: Option<&SignatureMemory<'_>>,
) -> Result<Good, Error> {
    let message = token.signed.as_bytes();
    signature::check(selected.key, header.alg, message, token.signature, memory).ok_or_else(|| {
        Error::Signature {
            alg: header.alg,
            kid: header.kid.map(Excerpt::new),
        }
    })
}
