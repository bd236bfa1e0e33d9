//! The backend's copy of the tables `auth.issuers` and `auth.jwks`, and its freshness.
//!
//! A change to either table makes Postgres send a relcache invalidation to every backend when it
//! commits (a trigger asks for it, see sql/tables.sql). The callback below only sets a flag; the
//! tables are read again at the next use.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jwt_verify::{AlgorithmSet, Keyring, Policy};
use pgrx::datum::Interval;
use pgrx::{PgMemoryContexts, pg_sys};

use crate::clock;
use crate::report;
use crate::row::{NotUtf8, Row};
use crate::tables::Tables;
use crate::triggers::Faults;

/// Set when the copy may no longer be what the tables hold.
static STALE: AtomicBool = AtomicBool::new(true);

/// The tables that the copy was made of; 0 while there are none.
static ISSUERS: AtomicU32 = AtomicU32::new(0);
static JWKS: AtomicU32 = AtomicU32::new(0);

/// Set where a change to the tables may send no invalidation, because a trigger of theirs was altered:
/// then the copy is good for one statement.
static UNANNOUNCED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static KEYRING: RefCell<Keyring> = RefCell::new(Keyring::new());
    /// What this session was last warned of.
    static WARNED_OF: RefCell<Faults> = RefCell::new(Faults::default());
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
    if oid == 0 || oid == ISSUERS.load(Ordering::Relaxed) || oid == JWKS.load(Ordering::Relaxed) {
        STALE.store(true, Ordering::Relaxed);
    }
}

/// Whether the copy has to be read again before it may be used.
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

/// Uses the keys. They are what the tables hold now only if [`are_stale`] is false.
pub fn with_keyring<T>(use_keys: impl FnOnce(&Keyring) -> T) -> T {
    KEYRING.with_borrow(use_keys)
}

/// Reads the tables again.
pub fn reload() {
    /// Leaves the copy marked stale unless all of it was read: an error may end the reading halfway.
    struct Unread;
    impl Drop for Unread {
        fn drop(&mut self) {
            STALE.store(true, Ordering::Relaxed);
        }
    }

    let unread = Unread;
    let Some(tables) = Tables::open() else {
        // No extension in this database (any more): no keys. The copy stays stale, because nothing
        // would tell of tables that are created later.
        KEYRING.set(Keyring::new());
        return;
    };
    let [issuers, jwks] = tables.oids();
    ISSUERS.store(issuers.to_u32(), Ordering::Relaxed);
    JWKS.store(jwks.to_u32(), Ordering::Relaxed);
    // From here on an invalidation counts: one that comes while the tables are read marks the copy
    // stale again, and it is read once more at the next use.
    STALE.store(false, Ordering::Relaxed);
    let faults = tables.trigger_faults();
    UNANNOUNCED.store(!faults.is_empty(), Ordering::Relaxed);
    let keyring = read_tables(&tables);
    drop(tables);
    std::mem::forget(unread);
    KEYRING.set(keyring);
    warn_of(faults);
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

/// Everything that is palloc'd on the way lands in a context that is freed at the end.
fn read_tables(tables: &Tables) -> Keyring {
    let keyring = RefCell::new(Keyring::new());
    let mut context = PgMemoryContexts::new("pg_auth_jwt keys");
    // SAFETY: nothing that outlives the context is palloc'd in it.
    unsafe {
        context.switch_to(|_| {
            tables.read(
                |row| add_issuer(&mut keyring.borrow_mut(), row),
                |row| add_key(&mut keyring.borrow_mut(), row),
            );
        });
    }
    keyring.into_inner()
}

/// `row` is one of `auth.issuers`.
fn add_issuer(keyring: &mut Keyring, row: &Row) {
    // What is no UTF-8 is the name of no token's issuer.
    let Ok(Some(name)) = row.text("issuer") else {
        return;
    };
    // A rule that cannot be read is not one that is left out.
    let policy = policy(row).unwrap_or_else(|NotUtf8| Policy {
        enabled: false,
        ..Policy::default()
    });
    keyring.add_issuer(&name, policy);
}

/// The rules of a row of `auth.issuers`.
fn policy(row: &Row) -> Result<Policy, NotUtf8> {
    let defaults = Policy::default();
    let algorithms = match row.strings("algorithms")? {
        None => Some(AlgorithmSet::ASYMMETRIC),
        // The table admits known names only; were one unknown all the same, no algorithm is better
        // than a guess.
        Some(names) => AlgorithmSet::from_names(names.iter().map(String::as_str)).ok(),
    };
    Ok(Policy {
        enabled: row.boolean("enabled").unwrap_or(false) && algorithms.is_some(),
        audience: row.strings("audience")?,
        algorithms: algorithms.unwrap_or(AlgorithmSet::ASYMMETRIC),
        required_claims: row
            .strings("required_claims")?
            .unwrap_or(defaults.required_claims),
        leeway: row
            .interval("leeway")
            .map_or(defaults.leeway, |i| length(&i)),
        max_age: row.interval("max_age").map(|i| length(&i)),
        token_types: row.strings("token_types")?,
    })
}

/// `row` is one of `auth.jwks`; one that cannot be read is no key.
fn add_key(keyring: &mut Keyring, row: &Row) {
    let (Ok(Some(issuer)), Ok(kid), Ok(Some(jwk)), Ok(alg)) = (
        row.text("issuer"),
        row.text("kid"),
        row.json("jwk"),
        row.text("alg"),
    ) else {
        return;
    };
    keyring.add_key(
        &issuer,
        kid.as_deref(),
        alg.as_deref(),
        &jwk,
        row.timestamp("expires_at").map(clock::from_postgres),
    );
}

/// The length of an interval, a day being 24 hours and a month 30 days as in Postgres's comparison of
/// intervals (`interval_cmp_value`), saturating.
pub fn length(interval: &Interval) -> Duration {
    const DAY: i128 = 86_400_000_000;
    let days = i128::from(interval.months()) * 30 + i128::from(interval.days());
    let total = i128::from(interval.micros()) + days * DAY;
    Duration::from_micros(u64::try_from(total.max(0)).unwrap_or(u64::MAX))
}
