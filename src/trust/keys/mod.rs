//! The keys that this backend has found in the tables `auth.issuers` and `auth.jwks`, and their
//! freshness.
//!
//! A change to either table makes Postgres send a relcache invalidation to every backend at commit
//! (a trigger requests it, see sql/tables.sql). The callback below only sets a flag; the keys are
//! looked up again at their next use.

mod news;

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jwt_verify::{Keyring, UnixTime, Wanted};
use lru::LruCache;
use pgrx::pg_sys;

use crate::pg::report;
use crate::trust::fetch::start::Tried;
pub use crate::trust::lookup::Login;
use crate::trust::lookup::seen::Seen;
use crate::trust::lookup::{self, LookedUp, Sight, SightState};
use crate::trust::revocation;
use crate::trust::source::sessions::Sessions;
use crate::trust::tables::Tables;
use crate::trust::tables::triggers::Faults;
use crate::trust::tables::watched;

/// Maximum number of kept keys: those of the tokens that reach one backend, at about 2 KiB each.
/// Beyond this, the least recently used keys are looked up again when a token needs them.
const MAX_KEPT: usize = 256;

/// Maximum length of issuer and key id together for which keys are kept: a token chooses them
/// freely if its issuer is `*`. Keys with longer names are looked up each time.
const MAX_NAMES_BYTES: usize = 1_024;

/// Time for which keys of a followed table are used if no trigger announces its changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which known keys stay usable while the followed table is locked, by a migration for
/// example. It counts from the last time at which they were known to be in the table. A key that
/// was withdrawn right before the lock stays usable for this time at most.
const MAX_LOCKED: Duration = Duration::from_secs(120);

/// Time that a login waits for a locked table of which it knows no key, and the interval of its
/// attempts.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Set when the tables may have changed since the keys were found.
static STALE: AtomicBool = AtomicBool::new(true);

/// Set while the cache may hold rows that this transaction wrote: other transactions do not see
/// them, and a trigger that announces them may fire too late, or never.
static UNCOMMITTED: AtomicBool = AtomicBool::new(false);

/// The tables of the cached rows; 0 while there are none.
static ISSUERS: AtomicU32 = AtomicU32::new(0);
static JWKS: AtomicU32 = AtomicU32::new(0);

/// `auth.endpoints`, once it was needed: of that table, only changes of its triggers are announced.
static ENDPOINTS: AtomicU32 = AtomicU32::new(0);

/// Set if a change to the tables may send no invalidation, because one of their triggers was
/// altered: then keys are only used for the statement in which they were found.
static UNANNOUNCED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static FOUND: Found = Found {
        generation: Cell::new(Generation(0)),
        opened_in: Cell::new(None),
        endpoints_opened_in: Cell::new(None),
        keys: RefCell::new(LruCache::unbounded()),
        kept: Cell::new(0),
    };
    /// The last warnings in this session: about the tables of issuers and keys, and about that of
    /// endpoints.
    static WARNED_OF: [RefCell<Faults>; 2] = const { [const { RefCell::new(Faults::none()) }; 2] };
}

/// Counts how often all found keys became doubtful.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

struct Found {
    generation: Cell<Generation>,
    /// Time at which the tables were last opened and their triggers checked.
    opened_in: Cell<Option<Generation>>,
    /// The same for `auth.endpoints`.
    endpoints_opened_in: Cell<Option<Generation>>,
    keys: RefCell<LruCache<Names, (Keys, Generation)>>,
    /// The number of keys in `keys`.
    kept: Cell<usize>,
}

/// The keys in the tables for tokens that name one issuer and key id.
#[derive(Clone)]
pub struct Keys(Rc<FoundKeys>);

struct FoundKeys {
    names: Names,
    keyring: Keyring,
    /// State of the source, for keys that are followed in a table.
    sight: Option<Sight>,
    /// State of fetching, for keys that are fetched.
    endpoint: Option<Seen>,
    /// The roles that the issuer's tokens give.
    login: Option<Login>,
    /// The sessions that the issuer's row follows.
    sessions: Option<Sessions>,
    /// Whether the tables could be read.
    is_read: bool,
    /// Time from which on they must be looked up again, even without an announced change.
    due: Cell<UnixTime>,
    /// Last time at which they were known to equal the tables.
    confirmed: Cell<UnixTime>,
    /// Number of announced changes of followed tables at that time.
    changes: Cell<u64>,
}

impl Keys {
    fn new(names: Names, answer: LookedUp) -> Self {
        Self(Rc::new(FoundKeys {
            names,
            keyring: answer.keyring,
            sight: answer.sight,
            endpoint: answer.endpoint,
            login: answer.login,
            sessions: answer.sessions,
            is_read: answer.is_read,
            due: Cell::new(UnixTime::MAX),
            confirmed: Cell::new(UnixTime::MIN),
            changes: Cell::new(0),
        }))
    }

    /// Whether they must be looked up again at that time.
    #[inline]
    pub fn are_due(&self, now: UnixTime) -> bool {
        let due = self.0.due.get();
        // A clock that was set back does not extend the time.
        due <= now || (due != UnixTime::MAX && now < self.0.confirmed.get())
    }

    /// Notes that nothing was announced until that time, for keys whose changes are announced.
    pub fn confirm(&self, now: UnixTime) {
        if self.0.due.get() == UnixTime::MAX {
            self.0.confirmed.set(now);
        }
    }

    /// State of the source, for keys that are followed in a table.
    pub fn sight(&self) -> Option<&Sight> {
        self.0.sight.as_ref()
    }

    /// State of fetching, for keys that are fetched.
    pub fn endpoint(&self) -> Option<&Seen> {
        self.0.endpoint.as_ref()
    }

    /// The roles that the issuer's tokens give to `auth.login`.
    pub fn login(&self) -> Option<&Login> {
        self.0.login.as_ref()
    }

    /// The sessions that the issuer's row follows.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.0.sessions.as_ref()
    }

    /// Whether the tables could be read; else nothing is known of any issuer.
    pub fn are_read(&self) -> bool {
        self.0.is_read
    }

    /// Records that they were looked up at that time and were still the same; `changes` is the
    /// number of changes of followed tables that had been announced before.
    fn looked_up(&self, now: UnixTime, changes: u64) {
        self.0.changes.set(changes);
        let is_polled = matches!(&self.0.sight, Some(sight) if sight.state != SightState::Live);
        self.0.due.set(match &self.0.endpoint {
            Some(endpoint) => endpoint.due(now),
            None if is_polled => now.saturating_add(POLL_INTERVAL),
            None => UnixTime::MAX,
        });
        self.0.confirmed.set(now);
    }

    /// Notes that the look-up failed at that time, with this answer. False if they were last known
    /// to be good too long ago, because an idle session may have missed a withdrawal; if a change
    /// was announced since, which may have withdrawn them; or if the issuer's rules or source
    /// changed, whatever the lock.
    fn go_on(&self, now: UnixTime, answer: &LookedUp) -> bool {
        let place = |sight: &Option<Sight>| {
            let sight = sight.as_ref()?;
            Some((sight.issuer.clone(), sight.source.clone()))
        };
        if self.0.changes.get() != watched::changes()
            || !self.0.keyring.has_rules_of(&answer.keyring)
            || self.0.login != answer.login
            || place(&self.0.sight) != place(&answer.sight)
            || self.0.sessions != answer.sessions
        {
            return false;
        }
        self.0.due.set(UnixTime::MIN);
        let confirmed = self.0.confirmed.get();
        // A clock that was set back ends the time too.
        confirmed <= now && now < confirmed.saturating_add(MAX_LOCKED)
    }

    fn are_the_same(&self, answer: &LookedUp) -> bool {
        self.0.keyring == answer.keyring
            && self.0.sight == answer.sight
            && self.0.endpoint == answer.endpoint
            && self.0.login == answer.login
            && self.0.sessions == answer.sessions
            && self.0.is_read == answer.is_read
    }
}

impl Deref for Keys {
    type Target = Keyring;

    fn deref(&self) -> &Keyring {
        &self.0.keyring
    }
}

/// An owned [`Wanted`].
#[derive(Clone, PartialEq, Eq, Hash)]
struct Names {
    issuer: Option<Box<str>>,
    key_id: Option<Box<str>>,
}

impl Names {
    fn of(wanted: Wanted) -> Self {
        Self {
            issuer: wanted.issuer.map(Box::from),
            key_id: wanted.key_id.map(Box::from),
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            issuer: self.issuer.as_deref(),
            key_id: self.key_id.as_deref(),
        }
    }

    fn bytes(&self) -> usize {
        let length = |name: &Option<Box<str>>| name.as_ref().map_or(0, |name| name.len());
        length(&self.issuer).saturating_add(length(&self.key_id))
    }
}

/// Caches that decide the meaning of a table's name, and the right to read it, without a change to
/// the table: names of schemas and roles, and memberships of roles.
const NAMING_CACHES: [pg_sys::SysCacheIdentifier::Type; 3] = {
    use pg_sys::SysCacheIdentifier::{AUTHMEMROLEMEM, AUTHOID, NAMESPACEOID};
    [NAMESPACEOID, AUTHOID, AUTHMEMROLEMEM]
};

/// Registers the callbacks below; once per backend, because Postgres cannot unregister them.
pub fn register_invalidation_callbacks() {
    // SAFETY: the callbacks live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
        for cache in NAMING_CACHES {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as _,
                Some(naming_changed),
                pg_sys::Datum::from(0),
            );
        }
        pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_ended), std::ptr::null_mut());
    }
}

/// Postgres may call this at almost any point of the backend's work, so it only sets a flag.
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let oid = relation.to_u32();
    // Oid 0 means that every relation may have changed.
    revocation::relation_changed(oid);
    let is_watched = oid == 0 || watched::contain(relation);
    if is_watched {
        watched::count_change();
    }
    let is_ours = |table: &AtomicU32| oid == table.load(Ordering::Relaxed);
    if is_watched || is_ours(&ISSUERS) || is_ours(&JWKS) || is_ours(&ENDPOINTS) {
        STALE.store(true, Ordering::Relaxed);
    }
}

/// As above.
unsafe extern "C-unwind" fn naming_changed(_: pg_sys::Datum, _: c_int, _: u32) {
    revocation::table_changed();
    STALE.store(true, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    // A prepared transaction is not committed yet either.
    let is_undone = matches!(event, XACT_EVENT_ABORT | XACT_EVENT_PREPARE);
    if is_undone || event == XACT_EVENT_COMMIT {
        revocation::transaction_ended(is_undone);
        let was_uncommitted = UNCOMMITTED.swap(false, Ordering::Relaxed);
        if was_uncommitted && is_undone {
            STALE.store(true, Ordering::Relaxed);
        }
    }
}

unsafe extern "C-unwind" fn subtransaction_ended(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        revocation::part_was_undone();
        if UNCOMMITTED.load(Ordering::Relaxed) {
            STALE.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the tables may have changed since [`renew`] was called.
#[inline]
pub fn are_stale() -> bool {
    STALE.load(Ordering::Relaxed)
}

/// Processes what other backends have committed. A statement that takes no new lock would otherwise
/// see none of it, so the session calls this once per statement.
pub fn accept_invalidations() {
    if UNANNOUNCED.load(Ordering::Relaxed) {
        STALE.store(true, Ordering::Relaxed);
    }
    revocation::accept_statement();
    // SAFETY: Postgres itself calls it whenever it locks a relation, which a function may do.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Marks all found keys as doubtful: they are looked up again before their next use.
pub fn renew() {
    FOUND.with(|found| {
        let Generation(count) = found.generation.get();
        found.generation.set(Generation(count.wrapping_add(1)));
    });
    // An invalidation counts from here on: every look-up after this sees the changes that were
    // announced before.
    STALE.store(false, Ordering::Relaxed);
}

/// The point in time for keys that are found now.
pub fn generation() -> Generation {
    FOUND.with(|found| found.generation.get())
}

/// Keys for a token that names these, at the statement's time. They equal the tables' present
/// content only if [`are_stale`] is false. A fetch that is due is started, and noted in `tried`.
pub fn find(wanted: Wanted, now: UnixTime, tried: &mut Tried) -> Keys {
    FOUND.with(|found| found.find(Names::of(wanted), now, tried))
}

/// These keys, if the tables have not changed since they were found.
pub fn renewed(keys: &Keys, now: UnixTime, tried: &mut Tried) -> Option<Keys> {
    let found = FOUND.with(|found| found.find(keys.0.names.clone(), now, tried));
    let are_the_same = Rc::ptr_eq(&found.0, &keys.0)
        || found.0.keyring == keys.0.keyring && found.0.sessions == keys.0.sessions;
    are_the_same.then_some(found)
}

/// As [`find`], with other issuers or keys as advice if the token's issuer or key is not known.
pub fn find_for_advice(wanted: Wanted) -> Keys {
    let answer = FOUND.with(|found| {
        let tables = found.open();
        tables.map(|tables| lookup::keyring_for_advice(&tables, wanted))
    });
    Keys::new(Names::of(wanted), answer.unwrap_or_default())
}

impl Found {
    fn find(&self, names: Names, now: UnixTime, tried: &mut Tried) -> Keys {
        let generation = self.generation.get();
        let known = self.keys.borrow_mut().get(&names).cloned();
        if let Some((keys, found_in)) = &known
            && *found_in == generation
            && !keys.are_due(now)
        {
            keys.confirm(now);
            return keys.clone();
        }
        let known = known.map(|(keys, _)| keys);
        let changes = watched::changes();
        let mut answer = self.look_up(&names);
        if answer.is_locked() {
            match known {
                Some(keys) if keys.go_on(now, &answer) => return keys,
                _ => answer = self.look_up_patiently(&names),
            }
        }
        if let Some(sight) = &answer.sight {
            news::tell(sight);
        }
        if let Some(seen) = &answer.endpoint {
            news::tell_of_endpoint(seen, now);
            tried.if_due(seen, now);
        }
        // Unchanged keys stay the same objects: keys that were admitted need not be admitted again.
        let keys = match known {
            Some(keys) if keys.are_the_same(&answer) => keys,
            _ => Keys::new(names, answer),
        };
        keys.looked_up(now, changes);
        self.keep(&keys, generation);
        keys
    }

    fn look_up(&self, names: &Names) -> LookedUp {
        // SAFETY: reads a variable of the backend.
        if unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId {
            UNCOMMITTED.store(true, Ordering::Relaxed);
        }
        let Some(tables) = self.open() else {
            return LookedUp::default();
        };
        let answer = lookup::keyring(&tables, names.wanted());
        self.check_endpoints(&tables);
        answer
    }

    /// Checks the triggers of `auth.endpoints`, if the look-up needed that table.
    fn check_endpoints(&self, tables: &Tables) {
        let generation = Some(self.generation.get());
        if self.endpoints_opened_in.get() == generation {
            return;
        }
        if let Some((oid, faults)) = tables.endpoint_trigger_faults() {
            ENDPOINTS.store(oid.to_u32(), Ordering::Relaxed);
            if !faults.is_empty() {
                UNANNOUNCED.store(true, Ordering::Relaxed);
            }
            self.endpoints_opened_in.set(generation);
            WARNED_OF.with(|[_, endpoints]| warn_of(endpoints, faults));
        }
    }

    /// Tries again for a while if the followed table is locked: most locks are short.
    fn look_up_patiently(&self, names: &Names) -> LookedUp {
        let start = Instant::now();
        loop {
            let answer = self.look_up(names);
            if !answer.is_locked() || start.elapsed() >= LOCK_PATIENCE {
                return answer;
            }
            // SAFETY: sleeps; then raises an error if the client or an operator cancelled
            // meanwhile.
            unsafe { pg_sys::pg_usleep(LOCK_RETRY.as_micros() as _) };
            pgrx::check_for_interrupts!();
        }
    }

    /// Opens the tables; `None` if there are none.
    fn open(&self) -> Option<Tables> {
        let generation = self.generation.get();
        if self.opened_in.get() == Some(generation) {
            let oids = [&ISSUERS, &JWKS].map(|oid| pg_sys::Oid::from(oid.load(Ordering::Relaxed)));
            let tables = Tables::reopen(oids);
            // A change may have been announced during the wait for the locks.
            if tables.is_some() && !are_stale() {
                return tables;
            }
        }
        let Some(tables) = Tables::open() else {
            // No extension in this database (any more): no keys. This result stays doubtful,
            // because no invalidation would announce tables that are created later.
            STALE.store(true, Ordering::Relaxed);
            return None;
        };
        revocation::table_is(tables.revocations());
        let [issuers, jwks] = tables.oids();
        if [issuers.to_u32(), jwks.to_u32()]
            != [
                ISSUERS.load(Ordering::Relaxed),
                JWKS.load(Ordering::Relaxed),
            ]
        {
            ISSUERS.store(issuers.to_u32(), Ordering::Relaxed);
            JWKS.store(jwks.to_u32(), Ordering::Relaxed);
            // Earlier invalidations of these tables were not noticed.
            self.keys.borrow_mut().clear();
            self.kept.set(0);
        }
        let faults = tables.trigger_faults();
        UNANNOUNCED.store(!faults.is_empty(), Ordering::Relaxed);
        self.opened_in.set(Some(generation));
        WARNED_OF.with(|[keys, _]| warn_of(keys, faults));
        Some(tables)
    }

    /// Keeps the found keys. An empty result is not kept: tokens may name any number of keys that
    /// do not exist.
    fn keep(&self, keys: &Keys, generation: Generation) {
        let FoundKeys { names, keyring, .. } = &*keys.0;
        let mut kept = self.keys.borrow_mut();
        if let Some((_, (former, _))) = kept.pop_entry(names) {
            self.kept
                .set(self.kept.get().saturating_sub(former.key_count()));
        }
        if keyring.is_empty() || names.bytes() > MAX_NAMES_BYTES {
            return;
        }
        let mut count = self.kept.get().saturating_add(keyring.key_count());
        kept.put(names.clone(), (keys.clone(), generation));
        while count > MAX_KEPT && kept.len() > 1 {
            let Some((_, (oldest, _))) = kept.pop_lru() else {
                break;
            };
            count = count.saturating_sub(oldest.key_count());
        }
        self.kept.set(count);
    }
}

/// Warns of triggers that do not announce every change: once, until another problem with them
/// occurs.
fn warn_of(warned_of: &RefCell<Faults>, faults: Faults) {
    // Parallel workers leave the warning to their leader.
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        return;
    }
    if *warned_of.borrow() == faults {
        return;
    }
    let warning = (!faults.is_empty()).then(|| faults.warning());
    warned_of.replace(faults);
    if let Some(warning) = warning {
        report::warning(&warning);
    }
}
