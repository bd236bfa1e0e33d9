//! Tokens that were verified before in this session, with the keys that verified them.

use std::cell::RefCell;
use std::rc::Rc;

use jwt_verify::{Error, Revocable, UnixTime};
use lru::LruCache;

use crate::errors::sqlstate;
use crate::session::audit;
use crate::session::identity::Identity;
use crate::session::refusal::{Refusal, RefusedToken};
use crate::settings;
use crate::stats::{self, Event};
use crate::trust::fetch::start::Tried;
use crate::trust::keys::{self, Generation, Keys};
use crate::trust::{revocation, sessions};

/// The last verified tokens, at most `pg_auth_jwt.cache_size`. The key is the whole token.
pub struct Cache(RefCell<LruCache<Rc<[u8]>, Remembered>>);

/// A token that was verified before.
pub struct Remembered {
    pub identity: Rc<Identity>,
    /// The rules and keys that verified it.
    pub keys: Keys,
    /// Time at which the tables were last known to hold the same.
    pub as_of: Generation,
    /// The claims by which it can be revoked.
    pub revocable: Revocable,
    /// Time at which it was last known not to be revoked.
    pub cleared_in: revocation::Generation,
    /// The session that it names, if its issuer's sessions are followed.
    pub session_id: Option<Rc<str>>,
}

impl Cache {
    pub fn new() -> Self {
        Self(RefCell::new(LruCache::unbounded()))
    }

    /// The identity that the present keys gave a token earlier, if it is valid now.
    ///
    /// # Errors
    ///
    /// If the token is revoked, or that cannot be known. It stays here, so that to refuse it again
    /// costs no signature.
    pub fn get(
        &self,
        token: &[u8],
        now: UnixTime,
        tried: &mut Tried,
    ) -> Result<Option<Rc<Identity>>, Refusal> {
        if settings::cache_size() == 0 {
            self.0.borrow_mut().clear();
        }
        let (identity, mut keys, as_of, cleared_in, session_id) = {
            let mut verified = self.0.borrow_mut();
            // An expired token goes through the whole check again, which reports the reason.
            let known = verified.get(token);
            let Some(known) = known.filter(|known| known.identity.is_valid_at(now)) else {
                return Ok(None);
            };
            (
                Rc::clone(&known.identity),
                known.keys.clone(),
                known.as_of,
                known.cleared_in,
                known.session_id.clone(),
            )
        };
        let generation = keys::generation();
        if as_of != generation || keys.are_due(now) {
            // With the same rules and keys the signature need not be checked again.
            let renewed = keys::renewed(&keys, now, tried);
            let mut verified = self.0.borrow_mut();
            let Some(renewed) = renewed else {
                verified.pop(token);
                return Ok(None);
            };
            keys = renewed;
            if let Some(known) = verified.get_mut(token) {
                known.keys = keys.clone();
                known.as_of = generation;
            }
        } else {
            keys.confirm(now);
        }
        if cleared_in != revocation::generation() && !self.clear(token, &keys, now)? {
            return Ok(None);
        }
        if let Some(sessions) = keys.sessions()
            && let Some(error) = sessions::check(sessions, session_id.as_deref(), now)?
        {
            return Err(refuse(token, error, &keys, now));
        }
        stats::count(None, Event::CacheHit);
        Ok(Some(identity))
    }

    /// Notes that a token is not revoked; false if it is not here any more.
    ///
    /// # Errors
    ///
    /// If it is, or that cannot be known.
    fn clear(&self, token: &[u8], keys: &Keys, now: UnixTime) -> Result<bool, Refusal> {
        let revocable = match self.0.borrow_mut().get_mut(token) {
            Some(known) => known.revocable.clone(),
            None => return Ok(false),
        };
        let generation = revocation::generation();
        let issuer = revocable.issuer.as_deref();
        let text = String::from_utf8_lossy(token);
        let leeway = keys.leeway(issuer).unwrap_or_default();
        if let Some(revoked) = revocation::find(&revocable, &text, leeway, now)? {
            return Err(refuse(token, revoked.error, keys, now));
        }
        if let Some(known) = self.0.borrow_mut().get_mut(token) {
            known.cleared_in = generation;
        }
        Ok(true)
    }

    /// Keeps a token in place of the one that was used least recently.
    pub fn put(&self, remembered: Remembered) {
        let mut verified = self.0.borrow_mut();
        // The setting may have been lowered since the last time.
        while verified.len() >= settings::cache_size().max(1) {
            verified.pop_lru();
        }
        if settings::cache_size() > 0 {
            let token = Rc::clone(remembered.identity.token());
            verified.put(token, remembered);
        }
    }
}

/// Refuses a token that was verified before.
fn refuse(token: &[u8], error: Error, keys: &Keys, now: UnixTime) -> Refusal {
    let text = String::from_utf8_lossy(token);
    audit::log_refusal(&text, &error);
    let issuer = jwt_verify::unverified_claims(&text).issuer;
    let event = Event::Refused(sqlstate(error.kind()), now);
    stats::count(keys.issuer_for(issuer.as_deref()), event);
    RefusedToken::new(error, Some(keys.clone()), Tried::default(), now).into()
}
