//! Who the session's user is.
//!
//! The identity is the value of `pg_auth_jwt.token` and nothing else. This module caches the
//! results of verifying such values. Statics outlive DISCARD ALL and every transaction, so nothing
//! here is used unless the setting, the keys and the clock still agree with it.

mod advice;
mod audit;
pub mod claim_functions;
mod errors;
mod execution;
pub mod executor;
pub mod functions;
mod guarded;
pub mod identity;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jwt_verify::{ErrorKind, UnixTime, Wanted};
use lru::LruCache;
use pgrx::pg_sys;

use crate::errors::{FETCHED, FOLLOWED, LOADED, sqlstate, token_refused};
use crate::pg::clock::StatementId;
use crate::pg::report::Report;
use crate::session::identity::Identity;
use crate::settings;
use crate::stats::{self, Event};
use crate::trust::fetch::start;
use crate::trust::keys;
use crate::trust::keys::{Generation, Keys};

/// The state of this backend's session.
struct Session {
    /// The last statement in which invalidations were processed and the clock was read.
    statement: Cell<StatementId>,
    /// The identity of the setting's present value.
    current: RefCell<Option<Rc<Identity>>>,
    /// How far `current` can be relied on.
    state: Cell<State>,
    /// Counts how often `current` was determined: the same number means the same identity.
    serial: Cell<u64>,
    /// Tokens that were verified before; the key is the whole token.
    verified: RefCell<LruCache<Rc<[u8]>, Remembered>>,
}

/// A token that was verified before.
struct Remembered {
    identity: Rc<Identity>,
    /// The rules and keys that verified it, and when the tables were last known to hold the same.
    keys: Keys,
    as_of: Generation,
}

/// The state of the session's identity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Unknown: the token has to be checked.
    Unresolved,
    /// There is no token, until one is assigned.
    Anonymous,
    /// The token is good, until one is assigned, a key changes or a statement begins.
    Verified,
}

thread_local! {
    static SESSION: Session = Session {
        statement: Cell::new(StatementId::NEVER),
        current: const { RefCell::new(None) },
        state: Cell::new(State::Unresolved),
        serial: const { Cell::new(0) },
        verified: RefCell::new(LruCache::unbounded()),
    };
}

/// Calls `look` with the session's identity, for a claim function; `None` without a token. `caller`
/// is the memory context of the function's call info.
///
/// # Errors
///
/// Where there is a token and it is not, or no longer, good; where there is none and a setting does not
/// allow that (see [`without_token`]); and where the query that the function is called in has used
/// another one.
#[inline]
pub fn with_identity<T>(
    caller: pg_sys::MemoryContext,
    look: impl FnOnce(Option<&Identity>) -> T,
) -> Result<T, Report> {
    SESSION.with(|session| {
        if !session.is_resolved()
            && let Err(refusal) = session.resolve()
        {
            return Err(execution::refuse(caller, refusal));
        }
        let current = session.current.borrow();
        execution::admit(caller, session.serial.get(), &current)?;
        // Looked at in each call, and not kept with `state`: the setting may change at any time.
        if current.is_none()
            && let Some(refusal) = without_token()
            && !execution::is_estimate()
        {
            return Err(refusal);
        }
        Ok(look(current.as_deref()))
    })
}

/// Checks, before an execution that has an owner goes on, that the session's identity is still its
/// owner's.
///
/// # Errors
///
/// If it is another one, or the token is no longer good.
pub fn confirm_execution() -> Result<(), Report> {
    SESSION.with(|session| {
        let refusal = if session.is_resolved() {
            None
        } else {
            session.resolve().err()
        };
        execution::confirm(session.current.borrow().as_ref(), refusal)
    })
}

/// The error that a claim function raises where there is no token; `None` where it returns NULL.
#[inline]
pub fn without_token() -> Option<Report> {
    if settings::refuses_foreign()
        && let Some(name) = settings::foreign::first_set()
    {
        return Some(errors::unverified_claims_set(&name.to_string_lossy()));
    }
    settings::require_token().then(errors::no_token)
}

/// Verifies `token` by the session's rules, and changes nothing.
///
/// # Errors
///
/// Where it is not good.
pub fn verify(token: &[u8]) -> Result<Rc<Identity>, Report> {
    settings::check()?;
    SESSION.with(|session| {
        session.synchronize();
        let now = session.statement.get().time();
        match session.remembered(token, now) {
            Some(identity) => Ok(identity),
            None => session.verify(token, now),
        }
    })
}

/// Makes the keys, and what other backends have committed of them, current for this statement.
pub fn synchronize() {
    SESSION.with(Session::synchronize);
}

/// As [`verify`]. Where the token's key is not known, and this session has therefore started a
/// fetch of its issuer's keys, waits for that a while and tries once more.
///
/// # Errors
///
/// Where it is not good.
pub fn verify_patiently(token: &[u8]) -> Result<Rc<Identity>, Report> {
    start::forget();
    verify(token).or_else(|refused| {
        let is_for_key = [ErrorKind::Key, ErrorKind::Algorithm]
            .map(sqlstate)
            .contains(&refused.sqlstate);
        let started = start::last().filter(|_| is_for_key);
        let ended = started.and_then(|started| started.wait(settings::fetch_wait()));
        if ended.is_none() {
            return Err(refused);
        }
        // It has ended, so a second refusal is not to say that it is running.
        start::forget();
        keys::accept_invalidations();
        verify(token)
    })
}

/// Has keys fetched again for a token that was refused, if they may be why and nothing else is.
fn fetch_early(error: &jwt_verify::Error, text: &str, keys: &Keys, now: UnixTime) {
    use jwt_verify::Error::{KeyAlgorithm, NoKeys, UnknownKey};
    let Some(seen) = keys.endpoint() else { return };
    // An issuer without key ids, or one that uses them again, may have a new key of another type.
    let is_unknown = matches!(
        error,
        UnknownKey { .. } | NoKeys { .. } | KeyAlgorithm { .. }
    );
    if is_unknown && seen.row.may_be_early(now) && jwt_verify::lacks_only_key(text, keys, now) {
        start::early(seen);
    }
}

/// The words of advice for the source of these keys.
fn places(keys: Option<&Keys>) -> &'static jwt_verify::Places {
    match keys {
        Some(keys) if keys.endpoint().is_some() => &FETCHED,
        Some(keys) if keys.sight().is_some() => &FOLLOWED,
        _ => &LOADED,
    }
}

/// The error as it is where the key tables could not be read, so that nothing is known of any issuer: a
/// fault of this server's, and not of the token's.
fn unless_unread(error: jwt_verify::Error, keys: Option<&Keys>) -> jwt_verify::Error {
    match error {
        jwt_verify::Error::UnknownIssuer { issuer }
            if keys.is_some_and(|keys| !keys.are_read()) =>
        {
            jwt_verify::Error::NoKeys { issuer }
        }
        error => error,
    }
}

/// The error for a token that was refused; with what is wrong with its issuer's source, if that may be why.
fn refusal(error: &jwt_verify::Error, text: &str, keys: Option<&Keys>, now: UnixTime) -> Report {
    let is_for_key = error.kind() == ErrorKind::Key;
    if is_for_key && keys.is_some_and(|keys| !keys.are_read()) {
        return errors::keys_unread();
    }
    if let Some(seen) = keys.and_then(Keys::endpoint).filter(|_| is_for_key) {
        return seen.refusal(error, now);
    }
    match keys.map(|keys| (keys.sight(), !keys.is_empty())) {
        Some((Some(sight), has_row)) if error.kind() == ErrorKind::Key => {
            sight.refusal(error, has_row)
        }
        _ => token_refused(error, text, places(keys)),
    }
}

impl Session {
    /// Whether `current` is still the answer. Called for each row: a few loads and compares.
    #[inline]
    fn is_resolved(&self) -> bool {
        !settings::token_was_assigned()
            && match self.state.get() {
                State::Unresolved => false,
                State::Anonymous => true,
                State::Verified => {
                    !keys::are_stale() && self.statement.get() == StatementId::current()
                }
            }
    }

    /// Determines the identity again.
    #[cold]
    fn resolve(&self) -> Result<(), Report> {
        self.state.set(State::Unresolved);
        self.current.replace(None);
        self.serial.set(self.serial.get().wrapping_add(1));
        settings::clear_token_assigned();
        settings::check()?;
        // Without a token no keys are needed, so a new connection reads none.
        if settings::with_token(<[u8]>::is_empty)? {
            self.state.set(State::Anonymous);
            return Ok(());
        }
        self.synchronize();
        let now = self.statement.get().time();
        let known = settings::with_token(|token| {
            self.remembered(token, now).ok_or_else(|| token.to_vec())
        })?;
        let identity = match known {
            Ok(identity) => identity,
            Err(token) => self.verify(&token, now)?,
        };
        self.current.replace(Some(identity));
        // Where statements cannot be distinguished, each call counts as a statement.
        if StatementId::are_distinct() {
            self.state.set(State::Verified);
        }
        Ok(())
    }

    /// Once per statement, processes what other backends have committed, and marks what was found
    /// in the tables as doubtful where they may have changed.
    fn synchronize(&self) {
        let statement = StatementId::current();
        if self.statement.get() != statement || !StatementId::are_distinct() {
            // `current` has not been compared with the new statement's clock; the
            // next claim function must not take the new id for a sign that it has.
            self.state.set(State::Unresolved);
            keys::accept_invalidations();
            start::forget();
            self.statement.set(statement);
        }
        if keys::are_stale() {
            self.state.set(State::Unresolved);
            stats::count(None, Event::Reread);
            keys::renew();
        }
    }

    /// The identity that the present keys gave a token earlier, if it is valid now.
    fn remembered(&self, token: &[u8], now: UnixTime) -> Option<Rc<Identity>> {
        if settings::cache_size() == 0 {
            self.verified.borrow_mut().clear();
        }
        let (identity, keys, as_of) = {
            let mut verified = self.verified.borrow_mut();
            let known = verified.get(token)?;
            // An expired token goes through the whole check again, which knows what to report.
            if !known.identity.is_valid_at(now) {
                return None;
            }
            (Rc::clone(&known.identity), known.keys.clone(), known.as_of)
        };
        let generation = keys::generation();
        if as_of != generation || keys.are_due(now) {
            // With the same rules and keys the signature need not be checked again.
            let renewed = keys::renewed(&keys, now);
            let mut verified = self.verified.borrow_mut();
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

    /// The identity of a token under the present keys.
    fn verify(&self, token: &[u8], now: UnixTime) -> Result<Rc<Identity>, Report> {
        // The bytes may not be UTF-8; invalid ones become a character that no token may contain.
        let text = String::from_utf8_lossy(token);
        let as_of = keys::generation();
        let mut used = None;
        let mut issuer = None;
        let find = |wanted: Wanted| {
            let found = used.insert(keys::find(wanted, now)).clone();
            issuer = found.issuer_for(wanted.issuer).map(str::to_owned);
            found
        };
        let outcome = jwt_verify::verify_with(&text, find, now);
        let outcome = outcome.map_err(|error| unless_unread(error, used.as_ref()));
        audit::log(&text, &outcome);
        let event = match &outcome {
            Ok(_) => Event::Accepted(now),
            Err(error) => Event::Refused(sqlstate(error.kind()), now),
        };
        stats::count(issuer.as_deref(), event);
        let verified = outcome.map_err(|error| {
            if let Some(keys) = &used {
                fetch_early(&error, &text, keys, now);
            }
            refusal(&error, &text, used.as_ref(), now)
        })?;
        let identity = Rc::new(Identity::new(token, &verified)?);
        if let Some(keys) = used {
            self.remember(Remembered {
                identity: Rc::clone(&identity),
                keys,
                as_of,
            });
        }
        Ok(identity)
    }

    fn remember(&self, remembered: Remembered) {
        let mut verified = self.verified.borrow_mut();
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
