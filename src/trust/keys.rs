//! The keys that this backend has found in the tables `auth.issuers` and `auth.jwks`, and their
//! freshness.
//!
//! A change to either table makes Postgres send a relcache invalidation to every backend when it
//! commits (a trigger asks for it, see sql/tables.sql). The callback below only sets a flag; what was
//! found is looked up again at its next use.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jwt_verify::{Keyring, UnixTime, Wanted};
use lru::LruCache;
use pgrx::pg_sys;

use crate::pg::report;
use crate::trust::lookup::{self, Answer, Sight, State};
use crate::trust::news;
use crate::trust::tables::Tables;
use crate::trust::triggers::Faults;
use crate::trust::watched;

/// How many keys are kept: those of the tokens that come to one backend, at about 2 KiB each. Beyond
/// this, those that were used the longest time ago are looked up again when a token needs them.
const MAX_KEPT: usize = 256;

/// The longest names, together, for which keys are kept: a token chooses them freely where its issuer
/// is `*`. Longer ones are looked up each time.
const MAX_NAMES_BYTES: usize = 1_024;

/// How long keys of a followed table are good where no trigger announces its changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// For how long keys that are known go on where the followed table is locked, by a migration for example.
/// A key that was withdrawn right before the lock lives on for so long at most.
const MAX_LOCKED: Duration = Duration::from_secs(120);

/// For how long a login waits for a locked table of which it knows no key, and how often it tries.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Set when what was found may no longer be what the tables hold.
static STALE: AtomicBool = AtomicBool::new(true);

/// The tables in which it was found; 0 while there are none.
static ISSUERS: AtomicU32 = AtomicU32::new(0);
static JWKS: AtomicU32 = AtomicU32::new(0);

/// Set where a change to the tables may send no invalidation, because a trigger of theirs was altered:
/// then what is found is good for one statement.
static UNANNOUNCED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static FOUND: Found = Found {
        generation: Cell::new(Generation(0)),
        opened_in: Cell::new(None),
        keys: RefCell::new(LruCache::unbounded()),
        kept: Cell::new(0),
    };
    /// What this session was last warned of.
    static WARNED_OF: RefCell<Faults> = RefCell::new(Faults::default());
}

/// Counts the times at which everything that was found became doubtful.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

struct Found {
    generation: Cell<Generation>,
    /// When the tables were last found and their triggers looked at.
    opened_in: Cell<Option<Generation>>,
    keys: RefCell<LruCache<Names, (Keys, Generation)>>,
    /// How many keys that is.
    kept: Cell<usize>,
}

/// What the tables held for the tokens that name one issuer and key id.
#[derive(Clone)]
pub struct Keys(Rc<FoundKeys>);

struct FoundKeys {
    names: Names,
    keyring: Keyring,
    /// What was seen of the source, where the keys are followed.
    sight: Option<Sight>,
    /// From when on they must be looked up again, although nothing was announced.
    due: Cell<UnixTime>,
    /// Since when the source is locked, so that they could not be looked up again.
    locked_since: Cell<Option<UnixTime>>,
}

impl Keys {
    fn new(names: Names, answer: Answer) -> Self {
        Self(Rc::new(FoundKeys {
            names,
            keyring: answer.keyring,
            sight: answer.sight,
            due: Cell::new(UnixTime::MAX),
            locked_since: Cell::new(None),
        }))
    }

    /// Whether they must be looked up again at that time.
    #[inline]
    pub fn are_due(&self, now: UnixTime) -> bool {
        self.0.due.get() <= now
    }

    /// What was seen of the source, where the keys are followed.
    pub fn sight(&self) -> Option<&Sight> {
        self.0.sight.as_ref()
    }

    /// Notes that they were looked up at that time, and found to be these.
    fn looked_up(&self, now: UnixTime) {
        let is_polled = matches!(&self.0.sight, Some(sight) if sight.state != State::Live);
        self.0.due.set(if is_polled {
            now.saturating_add(POLL_INTERVAL)
        } else {
            UnixTime::MAX
        });
        self.0.locked_since.set(None);
    }

    /// Notes that they could not be looked up at that time. False, where that is so for too long.
    fn go_on(&self, now: UnixTime) -> bool {
        let since = self.0.locked_since.get().unwrap_or(now);
        self.0.locked_since.set(Some(since));
        self.0.due.set(UnixTime::MIN);
        // A clock that was set back ends it too.
        since <= now && now < since.saturating_add(MAX_LOCKED)
    }

    fn are_the_same(&self, answer: &Answer) -> bool {
        self.0.keyring == answer.keyring && self.0.sight == answer.sight
    }
}

impl Deref for Keys {
    type Target = Keyring;

    fn deref(&self) -> &Keyring {
        &self.0.keyring
    }
}

/// A [`Wanted`] to be kept.
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

/// Asks Postgres to call [`relation_changed`]; once per backend, for there is no way to take it back.
pub fn register_invalidation_callback() {
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
    }
}

/// Can be called at almost any point of the backend's work, so it sets a flag and nothing else.
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let oid = relation.to_u32();
    // No oid: every relation may have changed.
    if oid == 0
        || oid == ISSUERS.load(Ordering::Relaxed)
        || oid == JWKS.load(Ordering::Relaxed)
        || watched::contain(relation)
    {
        STALE.store(true, Ordering::Relaxed);
    }
}

/// Whether the tables may have changed since [`renew`] was called.
#[inline]
pub fn are_stale() -> bool {
    STALE.load(Ordering::Relaxed)
}

/// Takes in what other backends have committed. A statement that takes no new lock would otherwise
/// see none of it, so the session calls this once per statement.
pub fn accept_invalidations() {
    if UNANNOUNCED.load(Ordering::Relaxed) {
        STALE.store(true, Ordering::Relaxed);
    }
    // SAFETY: Postgres itself calls it whenever it locks a relation, which a function may do.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Makes everything that was found doubtful: it is looked up again before it is used.
pub fn renew() {
    FOUND.with(|found| {
        let Generation(count) = found.generation.get();
        found.generation.set(Generation(count.wrapping_add(1)));
    });
    // From here on an invalidation counts: whatever is looked up after this sees what was announced
    // before it.
    STALE.store(false, Ordering::Relaxed);
}

/// When what is found now is found.
pub fn generation() -> Generation {
    FOUND.with(|found| found.generation.get())
}

/// The keys for a token that names these, at the statement's time. They are what the tables hold now only
/// if [`are_stale`] is false.
pub fn find(wanted: Wanted, now: UnixTime) -> Keys {
    FOUND.with(|found| found.find(Names::of(wanted), now))
}

/// These keys, if the tables hold the same as when they were found.
pub fn renewed(keys: &Keys, now: UnixTime) -> Option<Keys> {
    let found = FOUND.with(|found| found.find(keys.0.names.clone(), now));
    let are_the_same = Rc::ptr_eq(&found.0, &keys.0) || found.0.keyring == keys.0.keyring;
    are_the_same.then_some(found)
}

/// As [`find`], with what else there is where the token's issuer or key is not known, as advice.
pub fn find_for_advice(wanted: Wanted) -> Keys {
    let answer = FOUND.with(|found| {
        let tables = found.open();
        tables.map(|tables| lookup::keyring_for_advice(&tables, wanted))
    });
    Keys::new(Names::of(wanted), answer.unwrap_or_default())
}

impl Found {
    fn find(&self, names: Names, now: UnixTime) -> Keys {
        let generation = self.generation.get();
        let known = self.keys.borrow_mut().get(&names).cloned();
        if let Some((keys, found_in)) = &known
            && *found_in == generation
            && !keys.are_due(now)
        {
            return keys.clone();
        }
        let known = known.map(|(keys, _)| keys);
        let mut answer = self.look_up(&names);
        if answer.is_locked() {
            match known {
                Some(keys) if keys.go_on(now) => return keys,
                _ => answer = self.look_up_patiently(&names),
            }
        }
        if let Some(sight) = &answer.sight {
            news::tell(sight);
        }
        // What is the same stays the same: keys that were admitted need not be admitted again.
        let keys = match known {
            Some(keys) if keys.are_the_same(&answer) => keys,
            _ => Keys::new(names, answer),
        };
        keys.looked_up(now);
        self.keep(&keys, generation);
        keys
    }

    fn look_up(&self, names: &Names) -> Answer {
        self.open()
            .map(|tables| lookup::keyring(&tables, names.wanted()))
            .unwrap_or_default()
    }

    /// Tries again for a while where the followed table is locked: most locks are short.
    fn look_up_patiently(&self, names: &Names) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.look_up(names);
            if !answer.is_locked() || start.elapsed() >= LOCK_PATIENCE {
                return answer;
            }
            // SAFETY: sleeps; then raises what the client or an operator asks for meanwhile.
            unsafe { pg_sys::pg_usleep(LOCK_RETRY.as_micros() as _) };
            pgrx::check_for_interrupts!();
        }
    }

    /// Opens the tables; `None` where there are none.
    fn open(&self) -> Option<Tables> {
        let generation = self.generation.get();
        if self.opened_in.get() == Some(generation) {
            let oids = [&ISSUERS, &JWKS].map(|oid| pg_sys::Oid::from(oid.load(Ordering::Relaxed)));
            let tables = Tables::reopen(oids);
            // Unless something was announced while the locks were waited for.
            if tables.is_some() && !are_stale() {
                return tables;
            }
        }
        let Some(tables) = Tables::open() else {
            // No extension in this database (any more): no keys. That stays doubtful, because nothing
            // would tell of tables that are created later.
            STALE.store(true, Ordering::Relaxed);
            return None;
        };
        let [issuers, jwks] = tables.oids();
        if [issuers.to_u32(), jwks.to_u32()]
            != [
                ISSUERS.load(Ordering::Relaxed),
                JWKS.load(Ordering::Relaxed),
            ]
        {
            ISSUERS.store(issuers.to_u32(), Ordering::Relaxed);
            JWKS.store(jwks.to_u32(), Ordering::Relaxed);
            // What was announced of these tables before was not heard.
            self.keys.borrow_mut().clear();
            self.kept.set(0);
        }
        let faults = tables.trigger_faults();
        UNANNOUNCED.store(!faults.is_empty(), Ordering::Relaxed);
        self.opened_in.set(Some(generation));
        warn_of(faults);
        Some(tables)
    }

    /// Keeps what was found, if there are keys: what else a token may name is without end.
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

/// Warns of triggers that do not announce every change: once, until something else is wrong with them.
fn warn_of(faults: Faults) {
    // Parallel workers leave it to their leader.
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        return;
    }
    let is_news = WARNED_OF.with_borrow(|warned_of| *warned_of != faults);
    if is_news {
        WARNED_OF.set(faults.clone());
        if !faults.is_empty() {
            report::warning(&faults.warning());
        }
    }
}
