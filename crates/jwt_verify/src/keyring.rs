//! The issuers and keys that tokens are checked against.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::OnceLock;
use std::time::Duration;

use shared_types::Excerpt;

use crate::algorithm::Algorithm;
use crate::error::Error;
use crate::jwk::{Key, parse_jwk};
use crate::limits::MAX_KEYS_TRIED;
use crate::policy::Policy;
use crate::time::UnixTime;

/// The name of the row for any issuer, or for none.
const ANY_ISSUER: &str = "*";

/// Issuers, their rules and their keys.
///
/// Looking up a key by issuer and `kid` takes two hash lookups, whatever the
/// number of keys.
///
/// Two keyrings are equal if they were given the same issuers and keys, each issuer's keys in the
/// same order. [`verify`](crate::verify()) gives the same results for equal keyrings.
#[derive(Default, PartialEq)]
pub struct Keyring {
    issuers: HashMap<Box<str>, Issuer>,
}

/// One issuer.
#[derive(PartialEq)]
pub(crate) struct Issuer {
    policy: Policy,
    slots: Vec<Slot>,
    /// The first slot of each `kid`; the others follow in `Slot::next`.
    by_kid: HashMap<Box<str>, usize>,
}

/// A key: its JWK and, once it was used, the result of its admission.
struct Slot {
    jwk: Box<str>,
    alg: Option<Box<str>>,
    expires_at: UnixTime,
    next: Option<usize>,
    /// Filled at first use, because most keys of a set are never used.
    key: OnceLock<Option<Box<Key>>>,
}

/// The key that a token has to be signed with.
pub(crate) struct Selected<'k> {
    pub(crate) key: &'k Key,
    /// Time at which the key itself expires.
    pub(crate) expires_at: UnixTime,
    /// Before this instant another key might have been chosen: it is when the last of the expired
    /// keys that were passed over expired.
    pub(crate) selected_from: UnixTime,
}

impl PartialEq for Slot {
    /// Ignores the result of admission, which follows from the other fields and the issuer's
    /// policy.
    fn eq(&self, other: &Self) -> bool {
        let Self {
            jwk,
            alg,
            expires_at,
            next,
            key: _,
        } = self;
        *jwk == other.jwk
            && *alg == other.alg
            && *expires_at == other.expires_at
            && *next == other.next
    }
}

impl Keyring {
    /// A keyring without issuers, which accepts nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an issuer: the exact `iss` of its tokens, or `"*"` for any or none. Replaces an
    /// existing issuer of that name, without its keys.
    pub fn add_issuer(&mut self, issuer: &str, policy: Policy) {
        let issuer_with_no_keys = Issuer {
            policy,
            slots: Vec::new(),
            by_kid: HashMap::new(),
        };
        self.issuers.insert(issuer.into(), issuer_with_no_keys);
    }

    /// Adds a key to an issuer. Returns false, and adds nothing, if the issuer is not known.
    ///
    /// Tokens can refer to the key only by `kid`, whatever the JWK states. `alg` overrides the
    /// JWK's own; with `None` that one applies. The key can be used before `expires_at`, or for
    /// ever.
    ///
    /// `jwk` is admitted at its first use, by the rules of [`Key::from_jwk`](crate::Key::from_jwk)
    /// and with the issuer's algorithms; a key that is not admitted counts as absent.
    pub fn add_key(
        &mut self,
        issuer: &str,
        kid: Option<&str>,
        alg: Option<&str>,
        jwk: &str,
        expires_at: Option<UnixTime>,
    ) -> bool {
        let Some(issuer) = self.issuers.get_mut(issuer) else {
            return false;
        };
        let index = issuer.slots.len();
        let next = kid.and_then(|kid| match issuer.by_kid.entry(kid.into()) {
            MapEntry::Occupied(mut first) => Some(first.insert(index)),
            MapEntry::Vacant(place) => {
                place.insert(index);
                None
            }
        });
        issuer.slots.push(Slot {
            jwk: jwk.into(),
            alg: alg.map(Box::from),
            expires_at: expires_at.unwrap_or(UnixTime::MAX),
            next,
            key: OnceLock::new(),
        });
        true
    }

    /// Adds a key that needs no admission.
    #[cfg(any(test, feature = "cross_check"))]
    pub(crate) fn add_admitted_key(&mut self, issuer: &str, key: Key) -> bool {
        let is_added = self.add_key(issuer, key.kid(), None, "", None);
        let slot = self
            .issuers
            .get_mut(issuer)
            .and_then(|issuer| issuer.slots.last_mut());
        if let Some(slot) = slot {
            slot.key = OnceLock::from(Some(Box::new(key)));
        }
        is_added
    }

    /// Whether the other one has the same issuers with the same rules, whatever
    /// the keys of both.
    pub fn has_rules_of(&self, other: &Self) -> bool {
        self.issuers.len() == other.issuers.len()
            && self.issuers.iter().all(|(name, issuer)| {
                let there = other.issuers.get(name);
                there.is_some_and(|there| there.policy == issuer.policy)
            })
    }

    /// Whether no key was added: then no token is accepted.
    pub fn is_empty(&self) -> bool {
        self.key_count() == 0
    }

    /// Number of keys that were added.
    pub fn key_count(&self) -> usize {
        self.issuers.values().map(|issuer| issuer.slots.len()).sum()
    }

    /// The issuer of a token with this `iss`: the row of exactly that name, else the row for any
    /// issuer. A disabled row of that name still counts.
    pub(crate) fn issuer(&self, iss: Option<&str>) -> Result<&Issuer, Error> {
        let exact = iss.and_then(|iss| self.issuers.get(iss));
        let issuer = exact.or_else(|| self.issuers.get(ANY_ISSUER));
        match issuer {
            None => Err(Error::UnknownIssuer {
                issuer: iss.map(Excerpt::new),
            }),
            Some(issuer) if !issuer.policy.enabled => Err(Error::DisabledIssuer {
                issuer: iss.map(Excerpt::new),
            }),
            Some(issuer) => Ok(issuer),
        }
    }

    /// The name of the row that is asked about a token with this `iss`: that very name, or `"*"`.
    pub fn issuer_for(&self, iss: Option<&str>) -> Option<&str> {
        let exact = iss.and_then(|iss| self.issuers.get_key_value(iss));
        let row = exact.or_else(|| self.issuers.get_key_value(ANY_ISSUER));
        row.map(|(name, _)| name.as_ref())
    }

    /// The audiences that a token with this `iss` must be for; `None` if they are not checked, or there is no row.
    pub fn audience(&self, iss: Option<&str>) -> Option<&[String]> {
        self.issuer(iss).ok()?.policy.audience.as_deref()
    }

    /// The leeway for a token with this `iss`.
    pub fn leeway(&self, iss: Option<&str>) -> Option<Duration> {
        Some(self.issuer(iss).ok()?.policy.leeway)
    }

    /// Whether there is a row of this very name.
    pub(crate) fn has_issuer(&self, name: &str) -> bool {
        name != ANY_ISSUER && self.issuers.contains_key(name)
    }

    pub(crate) fn issuer_names(&self) -> impl Iterator<Item = &str> {
        self.issuers.keys().map(AsRef::as_ref)
    }
}

impl Issuer {
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.by_kid.keys().map(AsRef::as_ref)
    }

    /// The key for a token with this header (RFC 7515 §6). The key decides which algorithms are
    /// allowed, never the header (RFC 8725 §3.1).
    pub(crate) fn select(
        &self,
        alg: Algorithm,
        kid: Option<&str>,
        iss: Option<&str>,
        now: UnixTime,
    ) -> Result<Selected<'_>, Error> {
        if !self.policy.algorithms.contains(alg) {
            return Err(Error::AlgorithmNotAllowed { alg });
        }
        match kid {
            Some(kid) => self.select_named(alg, kid, now),
            None => self.select_only(alg, iss, now),
        }
    }

    /// The key of this `kid` and of the algorithm's type.
    fn select_named(
        &self,
        alg: Algorithm,
        kid: &str,
        now: UnixTime,
    ) -> Result<Selected<'_>, Error> {
        let mut slot = self.by_kid.get(kid).copied();
        let slots = std::iter::from_fn(|| {
            let this = self.slots.get(slot?)?;
            slot = this.next;
            Some(this)
        });
        let mut found = Candidates::new(now);
        for slot in slots.take(MAX_KEYS_TRIED) {
            found.consider(slot, self, alg, |key| key.key_type() == alg.key_type());
        }

        let kid = || Excerpt::new(kid);
        match found.only {
            Some(_) if found.several => Err(Error::AmbiguousKey {
                alg,
                kid: Some(kid()),
            }),
            Some(selected) if selected.key.algorithms().contains(alg) => Ok(Selected {
                selected_from: found.last_expiry.unwrap_or(UnixTime::MIN),
                ..selected
            }),
            _ if found.any_usable => Err(Error::KeyAlgorithm {
                alg,
                kid: Some(kid()),
            }),
            _ => Err(match found.last_expiry {
                Some(expired) => Error::ExpiredKey {
                    kid: kid(),
                    expired,
                },
                None => Error::UnknownKey { kid: kid() },
            }),
        }
    }

    /// The only key that takes the algorithm, for a token without `kid`. Keys are counted, not the
    /// names that one may have.
    fn select_only(
        &self,
        alg: Algorithm,
        iss: Option<&str>,
        now: UnixTime,
    ) -> Result<Selected<'_>, Error> {
        if self.slots.len() > MAX_KEYS_TRIED {
            return Err(Error::MissingKeyId);
        }
        let mut found = Candidates::new(now);
        for slot in &self.slots {
            found.consider(slot, self, alg, |key| key.algorithms().contains(alg));
        }
        match found.only {
            Some(_) if found.several => Err(Error::AmbiguousKey { alg, kid: None }),
            Some(selected) => Ok(Selected {
                selected_from: found.last_expiry.unwrap_or(UnixTime::MIN),
                ..selected
            }),
            None if found.any_usable => Err(Error::KeyAlgorithm { alg, kid: None }),
            None => Err(Error::NoKeys {
                issuer: iss.map(Excerpt::new),
            }),
        }
    }
}

/// The state of a search among slots.
struct Candidates<'k> {
    now: UnixTime,
    only: Option<Selected<'k>>,
    several: bool,
    any_usable: bool,
    /// The time when the last of the expired keys expired.
    last_expiry: Option<UnixTime>,
}

impl<'k> Candidates<'k> {
    fn new(now: UnixTime) -> Self {
        Self {
            now,
            only: None,
            several: false,
            any_usable: false,
            last_expiry: None,
        }
    }

    fn consider(
        &mut self,
        slot: &'k Slot,
        issuer: &Issuer,
        alg: Algorithm,
        wanted: impl Fn(&Key) -> bool,
    ) {
        if slot.expires_at <= self.now {
            self.last_expiry = self.last_expiry.max(Some(slot.expires_at));
            return;
        }
        let Some(key) = slot.key(issuer.policy()) else {
            return;
        };
        self.any_usable = true;
        if !wanted(key) {
            return;
        }
        // The same key counts once, under each of its names and algorithms, and until the last ends.
        if let Some(only) = &self.only {
            self.several |= !only.key.is_the_same_as(key);
            let rank = |key: &Key, expires_at| (key.algorithms().contains(alg), expires_at);
            if rank(key, slot.expires_at) <= rank(only.key, only.expires_at) {
                return;
            }
        }
        self.only = Some(Selected {
            key,
            expires_at: slot.expires_at,
            selected_from: UnixTime::MIN,
        });
    }
}

impl Slot {
    fn key(&self, policy: &Policy) -> Option<&Key> {
        let admit = || {
            let jwk = parse_jwk(&self.jwk).ok()?;
            let key = Key::admit(&jwk, self.alg.as_deref(), policy.algorithms);
            key.ok().map(Box::new)
        };
        self.key.get_or_init(admit).as_deref()
    }
}
