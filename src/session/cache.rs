//! Tokens that were verified before in this session, with the keys that verified them.

use std::cell::RefCell;
use std::rc::Rc;

use jwt_verify::UnixTime;
use lru::LruCache;

use crate::session::identity::Identity;
use crate::settings;
use crate::stats::{self, Event};
use crate::trust::fetch::start::Tried;
use crate::trust::keys::{self, Generation, Keys};

/// The last verified tokens, at most `pg_auth_jwt.cache_size`. The key is the whole token.
pub struct Cache(RefCell<LruCache<Rc<[u8]>, Remembered>>);

/// A token that was verified before.
pub struct Remembered {
    pub identity: Rc<Identity>,
    /// The rules and keys that verified it.
    pub keys: Keys,
    /// Time at which the tables were last known to hold the same.
    pub as_of: Generation,
}

impl Cache {
    pub fn new() -> Self {
        Self(RefCell::new(LruCache::unbounded()))
    }

    /// The identity that the present keys gave a token earlier, if it is valid now.
    pub fn get(&self, token: &[u8], now: UnixTime, tried: &mut Tried) -> Option<Rc<Identity>> {
        if settings::cache_size() == 0 {
            self.0.borrow_mut().clear();
        }
        let (identity, keys, as_of) = {
            let mut verified = self.0.borrow_mut();
            let known = verified.get(token)?;
            // An expired token goes through the whole check again, which reports the reason.
            if !known.identity.is_valid_at(now) {
                return None;
            }
            (Rc::clone(&known.identity), known.keys.clone(), known.as_of)
        };
        let generation = keys::generation();
        if as_of != generation || keys.are_due(now) {
            // With the same rules and keys the signature need not be checked again.
            let renewed = keys::renewed(&keys, now, tried);
            let mut verified = self.0.borrow_mut();
            let Some(renewed) = renewed else {
                verified.pop(token);
                return None;
            };
            if let Some(known) = verified.get_mut(token) {
                known.keys = renewed;
                known.as_of = generation;
            }
        } else {
            keys.confirm(now);
        }
        stats::count(None, Event::CacheHit);
        Some(identity)
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
