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
use crate::row::{Columns, Row};

/// Set when the copy may no longer be what the tables hold.
static STALE: AtomicBool = AtomicBool::new(true);

/// The tables that the copy was made of; 0 while there are none.
static ISSUERS: AtomicU32 = AtomicU32::new(0);
static JWKS: AtomicU32 = AtomicU32::new(0);

/// What the rules are made of: the columns of the first version's tables, each of which can make a
/// rule stricter than it would be without. So where one is missing or of another type, nothing of that
/// table is believed. Columns of later versions are to be optional, and others are not looked at.
const ISSUER_COLUMNS: [(&str, pg_sys::Oid); 8] = [
    ("issuer", pg_sys::TEXTOID),
    ("audience", pg_sys::TEXTARRAYOID),
    ("algorithms", pg_sys::TEXTARRAYOID),
    ("required_claims", pg_sys::TEXTARRAYOID),
    ("leeway", pg_sys::INTERVALOID),
    ("max_age", pg_sys::INTERVALOID),
    ("token_types", pg_sys::TEXTARRAYOID),
    ("enabled", pg_sys::BOOLOID),
];

/// As above, for the keys.
pub const KEY_COLUMNS: [(&str, pg_sys::Oid); 6] = [
    ("issuer", pg_sys::TEXTOID),
    ("kid", pg_sys::TEXTOID),
    ("jwk", pg_sys::JSONBOID),
    ("alg", pg_sys::TEXTOID),
    ("thumbprint", pg_sys::TEXTOID),
    ("expires_at", pg_sys::TIMESTAMPTZOID),
];

thread_local! {
    static KEYRING: RefCell<Keyring> = RefCell::new(Keyring::new());
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
    // SAFETY: Postgres itself calls it whenever it locks a relation, which a function may do.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Uses the keys. They are what the tables hold now only if [`are_stale`] is false.
pub fn with_keyring<T>(use_keys: impl FnOnce(&Keyring) -> T) -> T {
    KEYRING.with_borrow(use_keys)
}

/// Reads the tables anew.
pub fn reload() {
    /// Leaves the copy marked stale unless all of it was read: an error may end the reading halfway.
    struct Unread;
    impl Drop for Unread {
        fn drop(&mut self) {
            STALE.store(true, Ordering::Relaxed);
        }
    }

    let unread = Unread;
    let Some((issuers, jwks)) = find_tables() else {
        // No extension in this database (any more): no keys. The copy stays stale, because nothing
        // would tell of tables that are created later.
        KEYRING.set(Keyring::new());
        return;
    };
    ISSUERS.store(issuers.to_u32(), Ordering::Relaxed);
    JWKS.store(jwks.to_u32(), Ordering::Relaxed);
    // From here on an invalidation counts: one that comes while the tables are read marks the copy
    // stale again, and it is read once more at the next use.
    STALE.store(false, Ordering::Relaxed);
    let keyring = read_tables(issuers, jwks);
    std::mem::forget(unread);
    KEYRING.set(keyring);
}

/// The two tables, if they are those that the extension owns: a schema of the same name made by
/// somebody else is none of ours.
fn find_tables() -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    // SAFETY: look-ups in the system catalogs by constant names; each takes and returns plain values.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pg_auth_jwt".as_ptr(), true);
        let schema = pg_sys::get_namespace_oid(c"auth".as_ptr(), true);
        if extension == pg_sys::InvalidOid || schema == pg_sys::InvalidOid {
            return None;
        }
        let table = |name: &std::ffi::CStr| {
            let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
            (oid != pg_sys::InvalidOid
                && pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, oid) == extension)
                .then_some(oid)
        };
        Some((table(c"issuers")?, table(c"jwks")?))
    }
}

/// Reads both tables as Postgres reads its own catalogs: with a fresh snapshot whatever the
/// transaction's isolation level (a key withdrawn is withdrawn), without privileges of the caller,
/// search_path or SQL, and in parallel workers too.
fn read_tables(issuers: pg_sys::Oid, jwks: pg_sys::Oid) -> Keyring {
    let mut keyring = Keyring::new();
    let mut context = PgMemoryContexts::new("pg_auth_jwt keys");
    // SAFETY: both relations stay open and locked, and the snapshot registered, for as long as
    // tuples of theirs are looked at; Postgres releases all three if an error ends this early.
    // Everything palloc'd lands in a context that is freed at the end.
    unsafe {
        context.switch_to(|_| {
            let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
            let issuers = pg_sys::table_open(issuers, lock);
            let jwks = pg_sys::table_open(jwks, lock);
            // One snapshot for both, so that a commit between the two cannot pair an old rule with a
            // new key. Registered, because detoasting wants one that is (and not only the catalog
            // snapshot itself, since Postgres 18).
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot((*jwks).rd_id));
            for_each_row(issuers, &ISSUER_COLUMNS, snapshot, |row| {
                add_issuer(&mut keyring, row);
            });
            for_each_row(jwks, &KEY_COLUMNS, snapshot, |row| {
                add_key(&mut keyring, row)
            });
            pg_sys::UnregisterSnapshot(snapshot);
            pg_sys::table_close(jwks, lock);
            pg_sys::table_close(issuers, lock);
        });
    }
    keyring
}

/// `row` is one of `auth.issuers`.
fn add_issuer(keyring: &mut Keyring, row: &Row) {
    let Some(name) = row.text("issuer") else {
        return;
    };
    // What is not UTF-8 here is nobody's name, and least of all that of two issuers at once.
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return;
    }
    let defaults = Policy::default();
    let algorithms = match row.strings("algorithms") {
        None => Some(AlgorithmSet::ASYMMETRIC),
        // The table admits known names only; were one unknown all the same, no algorithm is better
        // than a guess.
        Some(names) => AlgorithmSet::from_names(names.iter().map(String::as_str)).ok(),
    };
    let policy = Policy {
        enabled: row.boolean("enabled").unwrap_or(false) && algorithms.is_some(),
        audience: row.strings("audience"),
        algorithms: algorithms.unwrap_or(AlgorithmSet::ASYMMETRIC),
        required_claims: row
            .strings("required_claims")
            .unwrap_or(defaults.required_claims),
        leeway: row
            .interval("leeway")
            .map_or(defaults.leeway, |i| length(&i)),
        max_age: row.interval("max_age").map(|i| length(&i)),
        token_types: row.strings("token_types"),
    };
    keyring.add_issuer(&name, policy);
}

/// `row` is one of `auth.jwks`.
fn add_key(keyring: &mut Keyring, row: &Row) {
    let (Some(issuer), Some(jwk)) = (row.text("issuer"), row.json("jwk")) else {
        return;
    };
    keyring.add_key(
        &issuer,
        row.text("kid").as_deref(),
        row.text("alg").as_deref(),
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

/// Shows `see` each row, if the relation is an ordinary table and has these columns. Neither goes
/// without saying: its owner may alter the table, or put a view of its name in its place.
///
/// # Safety
///
/// `relation` must be open and locked, and `snapshot` registered.
unsafe fn for_each_row(
    relation: pg_sys::Relation,
    needed: &[(&str, pg_sys::Oid)],
    snapshot: pg_sys::Snapshot,
    mut see: impl FnMut(&Row),
) {
    // SAFETY: as the caller promises; each tuple is looked at before the next one is fetched.
    unsafe {
        let columns = Columns::of(relation);
        let is_table = (*(*relation).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION;
        if !is_table || !columns.have(needed) {
            return;
        }
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::InvalidOid,
            false,
            snapshot,
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            see(&Row::new(&columns, (*relation).rd_att, tuple));
        }
        pg_sys::systable_endscan(scan);
    }
}
