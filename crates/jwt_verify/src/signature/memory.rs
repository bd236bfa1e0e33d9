//! A memory of signatures that were found good, for processes that check the same tokens.
//!
//! The answer of a signature check depends on four things alone: the key, the algorithm, the signed
//! bytes and the signature. So it never changes, and nothing here has to be invalidated: whether the
//! key may still be used, and what the token may do now, is judged at each verification, by the
//! caller. A hit takes the place of the check by the crypto provider, and of nothing else.
//!
//! # Meaning of a hit
//!
//! A fingerprint is the first 128 bits of HMAC-SHA-256 over the four things, under a random secret
//! that only the server's processes have. [`fingerprint`](SignatureMemory::fingerprint) writes the
//! length of each before it, so that no two different lists of four are the same bytes. The key
//! stands in it by its thumbprint (RFC 7638), which is of its material and not of its names. A
//! fingerprint is noted after the provider has found the signature good, and at no other time.
//!
//! A place has two words, `first` and `second`, which are written and read one at a time and
//! without a lock. A fingerprint (a, b) is stored as `first` = a, `second` = a ^ b, and is known if
//! a place has both. The two words of a place that is read were then written
//!
//! 1. by one note: that of (a, b) itself. It was noted, so its signature is good.
//! 2. by notes of two fingerprints (a, p) and (q, r) with q ^ r = a ^ b, of which the first was
//!    overwritten in part: a torn read. If (a, b) was never noted, then its 128 bits are independent
//!    of those that were, because nobody can compute them without the secret; so each read place
//!    agrees with them with a probability of 2^-128. The `^` sees to it that not even fingerprints
//!    that share a half can be put together from two.
//!
//! An attacker who sends n tokens with forged signatures gets one accepted with a probability of at
//! most 4n * 2^-128, since four places are read for each; so after 2^64 tokens still less than
//! 2^-61. No number of good tokens improves that: they overwrite places, which makes others be
//! checked again.
//!
//! HMAC algorithms stay out: their check is one HMAC too, so they would gain nothing, and the memory
//! would hold something that is computed from a shared secret.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::algorithm::Algorithm;
use crate::jwk::Key;
use crate::signature::Signature;

/// Length of the secret under which a [`SignatureMemory`] computes fingerprints, in bytes.
pub const SECRET_BYTES: usize = 32;

/// Places for fingerprints, in one cache line. Zeros are an empty bucket.
#[repr(C, align(64))]
pub struct Bucket([Place; PLACES]);

const PLACES: usize = 4;

// Callers get the size of their memory in buckets of this size.
const _: () = assert!(size_of::<Bucket>() == 64);

/// Half a fingerprint, and both halves together by exclusive or. Zeros are an empty place.
#[repr(C)]
struct Place {
    first: AtomicU64,
    second: AtomicU64,
}

/// Signatures that were found good; see the head of its file for what that means.
///
/// `Debug` shows the number of buckets, and no fingerprint.
pub struct SignatureMemory<'m> {
    buckets: &'m [Bucket],
    secret: hmac_sha256::Key,
    /// Number of fingerprints that this process has noted in a full bucket.
    overwritten: AtomicU64,
}

/// 128 bits to compare, and 64 more that say where.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint {
    first: u64,
    second: u64,
    /// Selects the bucket.
    bucket: u64,
}

impl<'m> SignatureMemory<'m> {
    /// The memory in these buckets, which may be shared with other processes of the same server. All
    /// of them have the same secret, which nobody else may know: random bytes that are made anew
    /// together with the buckets.
    pub fn new(buckets: &'m [Bucket], secret: &[u8; SECRET_BYTES]) -> Self {
        Self {
            buckets,
            secret: hmac_sha256::key(secret),
            overwritten: AtomicU64::new(0),
        }
    }

    /// The fingerprint of a signature; `None` for algorithms that are not remembered.
    pub(crate) fn fingerprint(
        &self,
        key: &Key,
        alg: Algorithm,
        message: &[u8],
        signature: Signature<'_>,
    ) -> Option<Fingerprint> {
        if alg.is_symmetric() {
            return None;
        }
        let parts = [
            key.thumbprint().as_bytes(),
            alg.name().as_bytes(),
            message,
            signature.encoded.as_bytes(),
        ];
        let hash = hmac_sha256::of_parts(&self.secret, &parts);
        let mut words = hash
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes));
        Some(Fingerprint {
            // An empty place has 0.
            first: words.next()?.max(1),
            second: words.next()?,
            bucket: words.next()?,
        })
    }

    /// Whether the fingerprint was noted and is still there.
    pub(crate) fn knows(&self, fingerprint: Fingerprint) -> bool {
        self.bucket(fingerprint)
            .is_some_and(|bucket| bucket.0.iter().any(|place| place.has(fingerprint)))
    }

    /// Notes the fingerprint of a good signature, in an empty place or in place of another.
    pub(crate) fn note(&self, fingerprint: Fingerprint) {
        let Some(Bucket(places)) = self.bucket(fingerprint) else {
            return;
        };
        let empty = places
            .iter()
            .find(|place| place.first.load(Ordering::Relaxed) == 0);
        // Another place each time. If it were one that the fingerprint selects, two users whose
        // fingerprints select the same would overwrite each other for ever, beside places of tokens
        // that nobody uses any more.
        let next = || {
            let turn = self.overwritten.fetch_add(1, Ordering::Relaxed);
            places.get(usize::try_from(turn.checked_rem(PLACES as u64)?).ok()?)
        };
        if let Some(place) = empty.or_else(next) {
            place.store(fingerprint);
        }
    }

    /// The bucket of a fingerprint; `None` if there is no bucket at all.
    fn bucket(&self, fingerprint: Fingerprint) -> Option<&'m Bucket> {
        let scaled = u128::from(fingerprint.bucket).checked_mul(self.buckets.len() as u128)?;
        self.buckets.get(usize::try_from(scaled >> 64).ok()?)
    }
}

impl Bucket {
    /// A bucket without fingerprints: zeros.
    pub const fn empty() -> Self {
        Self([const { Place::empty() }; PLACES])
    }

    #[cfg(any(test, feature = "cross_check"))]
    pub(crate) fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.0
            .iter()
            .flat_map(|Place { first, second }| [first, second])
    }
}

impl Place {
    const fn empty() -> Self {
        Self {
            first: AtomicU64::new(0),
            second: AtomicU64::new(0),
        }
    }

    fn has(&self, fingerprint: Fingerprint) -> bool {
        let first = self.first.load(Ordering::Relaxed);
        let second = self.second.load(Ordering::Relaxed);
        first == fingerprint.first && second ^ first == fingerprint.second
    }

    fn store(&self, fingerprint: Fingerprint) {
        self.first.store(fingerprint.first, Ordering::Relaxed);
        self.second
            .store(fingerprint.first ^ fingerprint.second, Ordering::Relaxed);
    }
}

impl fmt::Debug for SignatureMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureMemory")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}

/// HMAC-SHA-256 by the stack that checks signatures.
mod hmac_sha256 {
    use super::SECRET_BYTES;

    #[cfg(feature = "aws_lc_rs")]
    pub(super) type Key = aws_lc_rs::hmac::Key;
    #[cfg(not(feature = "aws_lc_rs"))]
    pub(super) type Key = hmac::Hmac<sha2::Sha256>;

    pub(super) fn key(secret: &[u8; SECRET_BYTES]) -> Key {
        #[cfg(feature = "aws_lc_rs")]
        return Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        #[cfg(not(feature = "aws_lc_rs"))]
        {
            // A key of a whole block: the secret, with the zeros that HMAC adds to a shorter one.
            let mut block = [0; 64];
            for (to, from) in block.iter_mut().zip(secret) {
                *to = *from;
            }
            hmac::KeyInit::new(&block.into())
        }
    }

    /// The HMAC of the parts, each after its length.
    pub(super) fn of_parts(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
        let lengths = parts.iter().map(|part| (part.len() as u64).to_le_bytes());
        let parts = lengths.zip(parts);

        #[cfg(feature = "aws_lc_rs")]
        {
            let mut context = aws_lc_rs::hmac::Context::with_key(key);
            for (length, part) in parts {
                context.update(&length);
                context.update(part);
            }
            let mut bytes = [0; 32];
            for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
                *to = *from;
            }
            bytes
        }
        #[cfg(not(feature = "aws_lc_rs"))]
        {
            use hmac::Mac;
            let mut context = key.clone();
            for (length, part) in parts {
                context.update(&length);
                context.update(part);
            }
            context.finalize().into_bytes().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::AlgorithmSet;

    const ONE: Fingerprint = Fingerprint {
        first: 0x0123_4567_89ab_cdef,
        second: 0xfedc_ba98_7654_3210,
        bucket: 0,
    };

    #[test]
    fn a_place_has_both_halves_of_one_fingerprint() {
        let place = Place::empty();
        assert!(!place.has(ONE));
        place.store(ONE);
        assert!(place.has(ONE));
        for bit in [1, 1 << 31, 1 << 63] {
            let first = ONE.first ^ bit;
            let second = ONE.second ^ bit;
            for other in [
                Fingerprint { first, ..ONE },
                Fingerprint { second, ..ONE },
                Fingerprint {
                    first,
                    second,
                    ..ONE
                },
            ] {
                assert!(!place.has(other), "{bit:x}");
            }
            // A torn read: one word of each of two, of which a half is the same.
            let other = Place::empty();
            other.store(Fingerprint { first, ..ONE });
            let torn = other.second.load(Ordering::Relaxed);
            let second = place.second.swap(torn, Ordering::Relaxed);
            assert!(!place.has(ONE), "{bit:x}");
            place.second.store(second, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_fingerprint_is_of_one_algorithm() {
        let memory = SignatureMemory::new(&[], &[7; SECRET_BYTES]);
        let jwk =
            r#"{"kty":"OKP","crv":"Ed25519","x":"bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI"}"#;
        let key = Key::from_jwk(jwk, AlgorithmSet::ASYMMETRIC).unwrap();
        let signature = Signature {
            encoded: "AAAA",
            bytes: 3,
        };
        let mut found: Vec<_> = AlgorithmSet::ASYMMETRIC
            .iter()
            .filter_map(|alg| memory.fingerprint(&key, alg, b"x", signature))
            .map(|fingerprint| (fingerprint.first, fingerprint.second))
            .collect();
        let count = found.len();
        assert!(count > 9);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count);
    }

    #[test]
    fn a_fingerprint_is_of_one_list_of_parts() {
        let key = hmac_sha256::key(&[7; SECRET_BYTES]);
        let of = |parts: &[&[u8]]| hmac_sha256::of_parts(&key, parts);
        let bytes: [u8; 9] = [b'a', b'b', 1, 0, 0, 0, 0, 0, 0];
        let lists: [&[&[u8]]; 7] = [
            &[b"ab", b"c"],
            &[b"a", b"bc"],
            &[b"abc", b""],
            &[b"", b"abc"],
            &[b"abc"],
            &[b"ab", b"c", b""],
            &[&bytes, b"c"],
        ];
        for (place, list) in lists.iter().enumerate() {
            for other in lists.iter().skip(place + 1) {
                assert_ne!(of(list), of(other), "{list:?} {other:?}");
            }
        }
    }
}
