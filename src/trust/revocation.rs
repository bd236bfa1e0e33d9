//! Whether a verified token is revoked, by the rows of `auth.revocations`.
//!
//! A change of the table is announced as one of the key tables is, by a trigger and a relcache
//! invalidation. It makes verdicts doubtful and not keys: for each token that is used after it, some
//! index entries are looked up again. A backend that has found the table empty looks at nothing
//! until the next announcement.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jwt_verify::{Revocable, RevokedBy, UnixTime};
use pgrx::pg_sys;

use crate::pg::report::{self, Report, SqlState};
use crate::trust::lookup::{ANY_ISSUER, in_a_context};
use crate::trust::tables;
use crate::trust::tables::revocations::{self, Kinds, Name, Revocations, Rows};
use crate::trust::tables::triggers::Faults;

/// Number of times that the table is looked up if others drop, rename or replace it meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Maximum number of issuers whose kinds of revocations are known at a time.
const MAX_ISSUERS: usize = 16;

/// Set when the rows may have changed since the last verdict.
static DOUBTFUL: AtomicBool = AtomicBool::new(true);

/// Set when the table itself may have changed.
static ALTERED: AtomicBool = AtomicBool::new(true);

/// Set once it is known, for the present table, how its changes are announced.
static IS_LEARNT: AtomicBool = AtomicBool::new(false);

/// Set if [`TABLE`] was looked up since then.
static IS_NAMED: AtomicBool = AtomicBool::new(false);

/// Set while a verdict may rest on rows that this transaction wrote, or deleted.
static UNCOMMITTED: AtomicBool = AtomicBool::new(false);

/// Set if a change may send no invalidation, because a trigger of the table was altered: then a
/// verdict is for one statement only.
static UNANNOUNCED: AtomicBool = AtomicBool::new(false);

/// The table, and the relation in whose name its changes are announced; 0 while they are not known.
static TABLE: AtomicU32 = AtomicU32::new(0);
static ANNOUNCER: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static STATE: State = const {
        State {
            generation: Cell::new(Generation(0)),
            empty_in: Cell::new(None),
            kinds: RefCell::new(KnownKinds {
                as_of: None,
                of_issuers: Vec::new(),
            }),
            warned_of: RefCell::new(Faults::none()),
        }
    };
}

/// Counts how often all verdicts became doubtful.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

struct State {
    generation: Cell<Generation>,
    /// Time at which the table was last found to be empty.
    empty_in: Cell<Option<Generation>>,
    /// The kinds of revocations of the issuers whose tokens were looked at.
    kinds: RefCell<KnownKinds>,
    /// The last warning in this session.
    warned_of: RefCell<Faults>,
}

/// The kinds of revocations of some issuers, at one time.
struct KnownKinds {
    as_of: Option<Generation>,
    of_issuers: Vec<(Box<str>, Kinds)>,
}

/// The revocation that refuses a token.
pub struct Revoked {
    pub error: jwt_verify::Error,
    /// The reason that the revocation gives, which is not for the token's sender.
    pub reason: Option<String>,
}

/// A relation may have changed; 0: all relations. Called in a callback: only sets flags.
pub fn relation_changed(oid: u32) {
    let is = |known: &AtomicU32| oid == known.load(Ordering::Relaxed);
    if oid == 0 || is(&TABLE) {
        table_changed();
    }
    if is(&ANNOUNCER) {
        DOUBTFUL.store(true, Ordering::Relaxed);
    }
}

/// The table may have become another one. Called in a callback.
pub fn table_changed() {
    IS_NAMED.store(false, Ordering::Relaxed);
    ALTERED.store(true, Ordering::Relaxed);
    DOUBTFUL.store(true, Ordering::Relaxed);
}

/// The table is known to be this one, because the key tables were looked up. No invalidation was
/// processed since.
pub fn table_is(oid: Option<pg_sys::Oid>) {
    TABLE.store(oid.map_or(0, pg_sys::Oid::to_u32), Ordering::Relaxed);
    IS_NAMED.store(true, Ordering::Relaxed);
}

/// A transaction has ended; `is_undone`: and has not been committed. Called in a callback.
pub fn transaction_ended(is_undone: bool) {
    let was_uncommitted = UNCOMMITTED.swap(false, Ordering::Relaxed);
    if was_uncommitted && is_undone {
        table_changed();
    }
}

/// A part of a transaction was undone. Called in a callback.
pub fn part_was_undone() {
    if UNCOMMITTED.load(Ordering::Relaxed) {
        table_changed();
    }
}

/// Whether rows may have changed since [`renew`] was called.
#[inline]
pub fn are_doubtful() -> bool {
    DOUBTFUL.load(Ordering::Relaxed)
}

/// A statement begins: verdicts are doubtful if changes may not be announced.
pub fn accept_statement() {
    if UNANNOUNCED.load(Ordering::Relaxed) {
        table_changed();
    }
}

/// Makes all verdicts doubtful. An announcement counts from here on: every verdict after this sees
/// the changes that were announced before.
pub fn renew() {
    STATE.with(|state| {
        let Generation(count) = state.generation.get();
        state.generation.set(Generation(count.wrapping_add(1)));
    });
    DOUBTFUL.store(false, Ordering::Relaxed);
}

/// The point in time for verdicts that are reached now.
#[inline]
pub fn generation() -> Generation {
    STATE.with(|state| state.generation.get())
}

/// The revocation that covers this token at that time, if there is one. `token` is its text, and
/// `leeway` that of its issuer.
///
/// # Errors
///
/// If it is not known, because the table is missing or altered.
pub fn find(
    revocable: &Revocable,
    token: &str,
    leeway: Duration,
    now: UnixTime,
) -> Result<Option<Revoked>, Report> {
    STATE.with(|state| state.find(revocable, token, leeway, now))
}

impl State {
    fn find(
        &self,
        revocable: &Revocable,
        token: &str,
        leeway: Duration,
        now: UnixTime,
    ) -> Result<Option<Revoked>, Report> {
        let generation = self.generation.get();
        if self.empty_in.get() == Some(generation) {
            return Ok(None);
        }
        // SAFETY: reads a variable of the backend.
        if unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId {
            UNCOMMITTED.store(true, Ordering::Relaxed);
        }
        let table = self.open()?;
        Ok(in_a_context(|| {
            table.look(|rows| {
                if rows.are_none() {
                    self.empty_in.set(Some(generation));
                    return None;
                }
                let digest = OnceCell::new();
                let mut names = Vec::new();
                let issuers = [revocable.issuer.as_deref(), Some(ANY_ISSUER)];
                for issuer in issuers.into_iter().flatten() {
                    let kinds = self.kinds(rows, issuer, generation);
                    let of_claims = revocable.names().filter(|(by, _)| kinds.contain(*by));
                    names.extend(of_claims.map(|(by, value)| Name { issuer, by, value }));
                    if kinds.contain(RevokedBy::Token) {
                        let value = digest.get_or_init(|| jwt_verify::digest(token));
                        let by = RevokedBy::Token;
                        names.push(Name { issuer, by, value });
                    }
                }
                covering(rows, &names, revocable, leeway, now)
            })
        }))
    }

    /// The kinds of which the issuer may have revocations, at that time.
    fn kinds(&self, rows: &Rows, issuer: &str, generation: Generation) -> Kinds {
        let mut known = self.kinds.borrow_mut();
        if known.as_of != Some(generation) || known.of_issuers.len() >= MAX_ISSUERS {
            known.as_of = Some(generation);
            known.of_issuers.clear();
        }
        let mut of_issuers = known.of_issuers.iter();
        if let Some((_, kinds)) = of_issuers.find(|(name, _)| **name == *issuer) {
            return *kinds;
        }
        let kinds = rows.kinds(issuer);
        known.of_issuers.push((issuer.into(), kinds));
        kinds
    }

    /// Opens the table, and learns how its changes are announced.
    fn open(&self) -> Result<Revocations, Report> {
        for _ in 0..MAX_ATTEMPTS {
            // Not the flag alone: an error may end this at any point, such as the wait for the lock,
            // and then the next call has everything still to learn.
            if ALTERED.swap(false, Ordering::Relaxed) {
                IS_LEARNT.store(false, Ordering::Relaxed);
            }
            if !IS_NAMED.load(Ordering::Relaxed) {
                let before = tables::invalidations();
                let found = revocations::find();
                table_is(found);
                // The table may have become another one during the look-up.
                IS_NAMED.store(tables::invalidations() == before, Ordering::Relaxed);
            }
            // During the wait for the lock it may be dropped, renamed or replaced, which sets the
            // flag again.
            let table = Revocations::open(TABLE.load(Ordering::Relaxed).into());
            if ALTERED.load(Ordering::Relaxed) {
                continue;
            }
            let Some(table) = table.filter(Revocations::is_readable) else {
                break;
            };
            if !IS_LEARNT.load(Ordering::Relaxed) {
                ANNOUNCER.store(table.announcer().to_u32(), Ordering::Relaxed);
                let faults = table.trigger_faults();
                UNANNOUNCED.store(!faults.is_empty(), Ordering::Relaxed);
                IS_LEARNT.store(true, Ordering::Relaxed);
                self.warn_of(faults);
            }
            return Ok(table);
        }
        table_changed();
        Err(unreadable())
    }

    /// Warns of triggers that do not announce every change: once, until another problem with them
    /// occurs.
    fn warn_of(&self, faults: Faults) {
        // Parallel workers leave the warning to their leader.
        // SAFETY: reads a variable of the backend.
        if unsafe { pg_sys::ParallelWorkerNumber } >= 0 || *self.warned_of.borrow() == faults {
            return;
        }
        let warning = (!faults.is_empty()).then(|| faults.warning());
        self.warned_of.replace(faults);
        if let Some(warning) = warning {
            report::warning(&warning);
        }
    }
}

/// The first revocation of these names that covers the token. Each one counts by itself, so that
/// none can be hidden by another.
fn covering(
    rows: &Rows,
    names: &[Name],
    revocable: &Revocable,
    leeway: Duration,
    now: UnixTime,
) -> Option<Revoked> {
    let mut covering = None;
    if names.is_empty() {
        return None;
    }
    rows.of(names, |by, found| {
        // The tokens themselves count for the leeway after their end.
        let counts = found
            .expires_at
            .is_none_or(|end| end == UnixTime::MAX || now < end.saturating_add(leeway));
        let error = match counts {
            true => revocable.revoked_by(by, found.issued_before, leeway),
            false => None,
        };
        if let Some(error) = error {
            covering.get_or_insert(Revoked {
                error,
                reason: found.reason,
            });
        }
    });
    covering
}

/// A table of revocations that is missing or has other columns: what it would say is not known.
fn unreadable() -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "could not read the revocations",
    )
    .detail("Until they can be read, no token is accepted.")
    .hint("auth.revocations must be as the extension created it.")
}
