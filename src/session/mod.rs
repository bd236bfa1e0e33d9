//! The session's user.
//!
//! The identity is the value of `pg_auth_jwt.token` and nothing else. This module caches the
//! results of verifying such values. Statics outlive DISCARD ALL and every transaction, so nothing
//! here is used unless the setting, the keys and the clock still agree with it.

mod advice;
#[cfg(login_by_token)]
pub mod audit;
#[cfg(not(login_by_token))]
mod audit;
mod cache;
mod citus;
pub mod claim_functions;
mod errors;
mod execution;
pub mod executor;
pub mod functions;
mod guarded;
pub mod identity;
pub mod login;
mod refusal;
pub mod signatures;
mod signed_out;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jwt_verify::{Revocable, UnixTime, Wanted};
use pgrx::pg_sys;

use crate::errors::sqlstate;
use crate::pg::clock::StatementId;
use crate::pg::report::Report;
use crate::pg::unguarded;
use crate::session::cache::{Cache, Remembered};
use crate::session::identity::Identity;
use crate::session::refusal::{Refusal, RefusedToken};
use crate::settings;
use crate::stats::{self, Event};
use crate::trust::fetch::start::Tried;
use crate::trust::keys::{self, Keys};
use crate::trust::{revocation, sessions};

/// The state of this backend's session.
struct Session {
    /// The last statement in which invalidations were processed and the clock was read.
    statement: Cell<StatementId>,
    /// The identity of the setting's present value.
    current: RefCell<Option<Rc<Identity>>>,
    /// Whether `current` can be relied on.
    state: Cell<Resolution>,
    /// The role to which the setting's present value is bound; 0 for none.
    role: Cell<pg_sys::Oid>,
    /// Counts how often `current` was determined: the same number means the same identity.
    serial: Cell<u64>,
    verified: Cache,
}

/// The state of the session's identity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolution {
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
        state: Cell::new(Resolution::Unresolved),
        role: Cell::new(pg_sys::InvalidOid),
        serial: const { Cell::new(0) },
        verified: Cache::new(),
    };
}

/// Calls `look` with the session's identity, for a claim function; `None` without a token. `caller`
/// is the memory context of the function's call info.
///
/// # Errors
///
/// If there is a token and it is not, or no longer, good; if there is none and a setting does not
/// allow that (see [`without_token`]); or if the query that calls the function has used another
/// one.
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
        // Read in each call, and not kept with `state`: the setting may change at any time.
        if current.is_none()
            && let Some(refusal) = without_token()
            && !execution::is_estimate()
        {
            return Err(refusal);
        }
        Ok(look(current.as_deref()))
    })
}

/// Has the identity determined again by the next claim function. Called in a hook: cannot raise.
fn doubt() {
    // The thread's end is the process's.
    let _ = SESSION.try_with(|session| {
        if session.state.get() == Resolution::Verified {
            session.state.set(Resolution::Unresolved);
        }
    });
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

/// The error that a claim function raises without a token; `None` if it returns NULL.
#[inline]
pub fn without_token() -> Option<Report> {
    if settings::refuses_unverified()
        && let Some(name) = settings::unverified::first_set()
    {
        return Some(errors::unverified_claims_set(&name.to_string_lossy()));
    }
    settings::require_token().then(errors::no_token)
}

/// Verifies `token` by the session's rules, and changes nothing.
///
/// # Errors
///
/// If it is not good.
pub fn verify(token: &[u8]) -> Result<Rc<Identity>, Report> {
    attempt(token).map_err(|refusal| refusal.report(token))
}

fn attempt(token: &[u8]) -> Result<Rc<Identity>, Refusal> {
    settings::check()?;
    SESSION.with(|session| {
        session.synchronize();
        session.identity_of(token)
    })
}

/// The identity of a good token, and the roles that its issuer's tokens give.
///
/// # Errors
///
/// As for [`verify_patiently`].
pub fn verify_for_login(token: &[u8]) -> Result<(Rc<Identity>, Keys), Report> {
    let identity = verify_patiently(token)?;
    let keys = SESSION.with(|session| {
        let now = session.statement.get().time();
        keys::find(identity.wanted(), now, &mut Tried::default())
    });
    Ok((identity, keys))
}

/// Makes the keys current for this statement, with the changes that other backends have committed.
pub fn synchronize() {
    SESSION.with(Session::synchronize);
}

/// As [`verify`]. If the token's key is not known, and this session has therefore started a fetch
/// of its issuer's keys, waits for a while and tries once more.
///
/// # Errors
///
/// If it is not good.
pub fn verify_patiently(token: &[u8]) -> Result<Rc<Identity>, Report> {
    let outcome = attempt(token).or_else(|mut refusal| {
        let has_ended = match &mut refusal {
            Refusal::Token(refused) if refused.is_for_key() => {
                refused.tried.wait(settings::fetch_wait())
            }
            Refusal::Token(_) | Refusal::Other(_) => false,
        };
        if !has_ended {
            return Err(refusal);
        }
        keys::accept_invalidations();
        attempt(token)
    });
    outcome.map_err(|refusal| refusal.report(token))
}

/// Has keys fetched again for a refused token, if a missing key may be the only reason.
fn fetch_early(
    error: &jwt_verify::Error,
    text: &str,
    keys: &Keys,
    now: UnixTime,
    tried: &mut Tried,
) {
    use jwt_verify::Error::{KeyAlgorithm, NoKeys, UnknownKey};
    let Some(seen) = keys.endpoint() else { return };
    // An issuer without key ids, or one that uses them again, may have a new key of another type.
    let is_unknown = matches!(
        error,
        UnknownKey { .. } | NoKeys { .. } | KeyAlgorithm { .. }
    );
    if is_unknown && seen.row.may_be_early(now) && jwt_verify::lacks_only_key(text, keys, now) {
        tried.early(seen);
    }
}

/// The error if the key tables could not be read, so that no issuer is known: a fault of this
/// server, and not of the token.
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

/// The error if a good token was ended before its time.
fn ended(
    token: &str,
    revocable: &Revocable,
    session_id: Option<&str>,
    keys: &Keys,
    now: UnixTime,
) -> Result<Option<jwt_verify::Error>, Report> {
    let leeway = keys.leeway(revocable.issuer.as_deref());
    if let Some(revoked) = revocation::find(revocable, token, leeway.unwrap_or_default(), now)? {
        return Ok(Some(revoked.error));
    }
    match keys.sessions() {
        Some(sessions) => sessions::check(sessions, session_id, now),
        None => Ok(None),
    }
}

impl Session {
    /// Whether `current` is still the answer. Called for each row: a few loads and compares.
    #[inline]
    fn is_resolved(&self) -> bool {
        !settings::token::was_assigned()
            && match self.state.get() {
                Resolution::Unresolved => false,
                Resolution::Anonymous => true,
                Resolution::Verified => {
                    !keys::are_stale()
                        && !revocation::are_doubtful()
                        && self.statement.get() == StatementId::current()
                        && self.has_its_role()
                }
            }
    }

    /// Whether the role of `SET ROLE` is the one that `auth.login` has set with the token, or the token
    /// of the login has opened, if it is bound to one. A SECURITY DEFINER function does not change that role.
    #[inline]
    fn has_its_role(&self) -> bool {
        let role = self.role.get();
        role == pg_sys::InvalidOid || role == unguarded::GetOuterUserId()
    }

    /// Determines the identity again.
    #[cold]
    fn resolve(&self) -> Result<(), Report> {
        self.state.set(Resolution::Unresolved);
        self.current.replace(None);
        self.serial.set(self.serial.get().wrapping_add(1));
        settings::token::clear_assigned();
        sessions::forget_look();
        settings::check()?;
        self.role
            .set(settings::token::role().unwrap_or(pg_sys::InvalidOid));
        if !self.has_its_role() {
            return Err(errors::other_role());
        }
        if settings::token::is_refused() {
            return Err(errors::token_not_admitted());
        }
        // Without a token no keys are needed, so a new connection reads none.
        if settings::token::with(<[u8]>::is_empty)? {
            self.state.set(Resolution::Anonymous);
            return Ok(());
        }
        self.synchronize();
        let now = self.statement.get().time();
        let mut tried = Tried::default();
        let known = settings::token::with(|token| {
            let known = self.verified.get(token, now, &mut tried);
            known
                .map_err(|refusal| refusal.report(token))
                .map(|known| known.ok_or_else(|| token.to_vec()))
        })?;
        let identity = match known? {
            Ok(identity) => identity,
            Err(token) => self
                .verify_anew(&token, now, tried)
                .map_err(|refusal| refusal.report(&token))?,
        };
        self.current.replace(Some(identity));
        signed_out::identity_is_known();
        // If statements cannot be distinguished, each call counts as a statement.
        if StatementId::are_distinct() {
            self.state.set(Resolution::Verified);
        }
        Ok(())
    }

    /// Once per statement, processes the commits of other backends, and marks found keys as
    /// doubtful if the tables may have changed.
    fn synchronize(&self) {
        let statement = StatementId::current();
        if self.statement.get() != statement || !StatementId::are_distinct() {
            // `current` has not been compared with the new statement's clock; the
            // next claim function must not take the new id for a sign that it has.
            self.state.set(Resolution::Unresolved);
            keys::accept_invalidations();
            self.statement.set(statement);
        }
        if keys::are_stale() {
            self.state.set(Resolution::Unresolved);
            stats::count(None, Event::Reread);
            keys::renew();
        }
        if revocation::are_doubtful() {
            self.state.set(Resolution::Unresolved);
            revocation::renew();
        }
    }

    /// The identity of a token at the statement's time: remembered, or verified now.
    fn identity_of(&self, token: &[u8]) -> Result<Rc<Identity>, Refusal> {
        let now = self.statement.get().time();
        let mut tried = Tried::default();
        match self.verified.get(token, now, &mut tried)? {
            Some(identity) => Ok(identity),
            None => self.verify_anew(token, now, tried),
        }
    }

    /// The identity of a token under the present keys and revocations.
    fn verify_anew(
        &self,
        token: &[u8],
        now: UnixTime,
        mut tried: Tried,
    ) -> Result<Rc<Identity>, Refusal> {
        signatures::attach();
        // The bytes may not be UTF-8; invalid ones become a character that no token may contain.
        let text = match str::from_utf8(token) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(token),
        };
        let as_of = keys::generation();
        let mut used = None;
        let mut issuer = None;
        let find = |wanted: Wanted| {
            let found = used.insert(keys::find(wanted, now, &mut tried)).clone();
            issuer = found.issuer_for(wanted.issuer).map(str::to_owned);
            found
        };
        let outcome = signatures::with(|memory| jwt_verify::verify_with(&text, find, memory, now));
        let outcome = outcome.map_err(|error| unless_unread(error, used.as_ref()));
        let cleared_in = revocation::generation();
        let mut session_id = None;
        let outcome = match outcome {
            Ok(verified) => {
                let sessions = used.as_ref().and_then(Keys::sessions);
                session_id = sessions::named_in(sessions, &verified.claims);
                if sessions.is_some() {
                    let event = match session_id {
                        Some(_) => Event::SessionNamed(now),
                        None => Event::SessionUnnamed(now),
                    };
                    stats::count(issuer.as_deref(), event);
                }
                let ended = used.as_ref().map(|keys| {
                    ended(&text, &verified.revocable, session_id.as_deref(), keys, now)
                });
                match ended.transpose()?.flatten() {
                    None => Ok(verified),
                    Some(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        audit::log(&text, &outcome);
        let event = match &outcome {
            Ok(_) => Event::Accepted(now),
            Err(error) => Event::Refused(sqlstate(error.kind()), now),
        };
        stats::count(issuer.as_deref(), event);
        if outcome.as_ref().is_ok_and(|verified| verified.from_memory) {
            stats::count(issuer.as_deref(), Event::SignatureCacheHit);
        }
        let verified = match outcome {
            Ok(verified) => verified,
            Err(error) => {
                if let Some(keys) = &used {
                    fetch_early(&error, &text, keys, now, &mut tried);
                }
                return Err(RefusedToken::new(error, used, tried, now).into());
            }
        };
        let identity = Rc::new(Identity::new(token, &verified)?);
        if let Some(keys) = used {
            self.verified.put(Remembered {
                identity: Rc::clone(&identity),
                keys,
                as_of,
                revocable: verified.revocable,
                cleared_in,
                session_id: session_id.map(Rc::from),
            });
        }
        Ok(identity)
    }
}
