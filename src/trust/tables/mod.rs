//! The key tables, read as Postgres reads its own catalogs: always with a fresh snapshot in every
//! isolation level (so a withdrawn key is never used), without SQL, search_path or privileges of
//! the caller, and in parallel workers too.

pub mod endpoints;
pub mod index;
pub mod revocations;
pub mod stored;
pub mod triggers;
pub mod watched;

use std::cell::OnceCell;
use std::ffi::CStr;

use jwks_rules::fetch_state::EndpointRow;
use pgrx::datum::{Array, FromDatum};
use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::row::{Columns, Row};
use crate::pg::version;
use crate::trust::schema::in_schema;
use crate::trust::tables::index::{LockedIndex, Name, Path};
use crate::trust::tables::triggers::{Faults, FoundTrigger, Watched};

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Number of times that the tables are looked up if others drop, rename or replace them meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Columns of the first version's tables, which the rules need: each can make a rule stricter. So
/// if one is missing or has another type, nothing of that table is used. Columns of later versions
/// must be optional, and other columns are ignored.
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

/// The same for the keys.
pub const KEY_COLUMNS: [(&str, pg_sys::Oid); 6] = [
    ("issuer", pg_sys::TEXTOID),
    ("kid", pg_sys::TEXTOID),
    ("jwk", pg_sys::JSONBOID),
    ("alg", pg_sys::TEXTOID),
    ("thumbprint", pg_sys::TEXTOID),
    ("expires_at", pg_sys::TIMESTAMPTZOID),
];

/// Both tables, open and locked (ACCESS SHARE) until this is dropped.
pub struct Tables {
    issuers: Table,
    jwks: Table,
    /// The oid of `auth.revocations`, if both were looked up by their names.
    revocations: Option<pg_sys::Oid>,
    /// `auth.endpoints`, once it was needed; `None` inside if there is none.
    endpoints: OnceCell<Option<Table>>,
}

impl Tables {
    /// Opens the tables that the extension owns: those in a schema of the same name that another
    /// role made are not used. `None` if there are none (any more).
    pub fn open() -> Option<Self> {
        let mut found = FoundTables::find()?;
        for _ in 0..MAX_ATTEMPTS {
            // As RangeVarGetRelidExtended in src/backend/catalog/namespace.c: during the wait for a
            // lock, the table may be dropped, renamed or removed from the extension. Once it is
            // locked this is impossible, so it is looked up again if any invalidation was processed
            // meanwhile.
            let before = invalidations();
            let opened = Table::open(found.issuers).zip(Table::open(found.jwks));
            let still = if opened.is_some() && invalidations() == before {
                found
            } else {
                FoundTables::find()?
            };
            if let Some((issuers, jwks)) = opened.filter(|_| still == found) {
                return Some(Self::of(issuers, jwks, found.revocations));
            }
            found = still;
        }
        None
    }

    /// The tables' oids, as invalidations name them.
    pub fn oids(&self) -> [pg_sys::Oid; 2] {
        [self.issuers.oid(), self.jwks.oid()]
    }

    /// The oid of `auth.revocations`, as it was found beside them by name.
    pub fn revocations(&self) -> Option<pg_sys::Oid> {
        self.revocations
    }

    /// The problems with the triggers that announce changes to other backends.
    pub fn trigger_faults(&self) -> Faults {
        let tables = [
            (Watched::Issuers, self.issuers.0),
            (Watched::Jwks, self.jwks.0),
        ];
        // SAFETY: both relations are open.
        unsafe { triggers::faults(tables) }
    }

    /// The same for `auth.endpoints`, and that table's oid; `None` if it was not needed, or there
    /// is none.
    pub fn endpoint_trigger_faults(&self) -> Option<(pg_sys::Oid, Faults)> {
        let table = self.endpoints.get()?.as_ref()?;
        // SAFETY: the relation is open.
        let faults = unsafe { triggers::faults([(Watched::Endpoints, table.0)]) };
        Some((table.oid(), faults))
    }

    /// Opens them by their known oids, for which no invalidation has come since. `None` if one no
    /// longer exists.
    pub fn reopen([issuers, jwks]: [pg_sys::Oid; 2]) -> Option<Self> {
        let (issuers, jwks) = Table::open(issuers).zip(Table::open(jwks))?;
        Some(Self::of(issuers, jwks, None))
    }

    fn of(issuers: Table, jwks: Table, revocations: Option<pg_sys::Oid>) -> Self {
        Self {
            issuers,
            jwks,
            revocations,
            endpoints: OnceCell::new(),
        }
    }

    /// Opens `auth.endpoints`, if it exists and belongs to the extension. Call it before
    /// [`look`](Self::look), so that the snapshot is not older than the lock.
    pub fn open_endpoints(&self) {
        self.endpoints
            .get_or_init(|| find_table(c"endpoints").and_then(Table::open));
    }

    /// Calls `look` with both tables as they are now: one snapshot for both, so that a commit
    /// between the two cannot combine an old rule with a new key.
    pub fn look<T>(&self, look: impl FnOnce(&Look) -> T) -> T {
        // SAFETY: the relations are open and locked. The snapshot stays registered until all tuples
        // were read, because detoasting needs a registered one (since Postgres 18 the catalog
        // snapshot itself is not enough). If an error ends this early, Postgres releases it.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(self.jwks.oid()));
            let outcome = look(&Look {
                tables: self,
                snapshot,
            });
            pg_sys::UnregisterSnapshot(snapshot);
            outcome
        }
    }
}

/// The tables at one moment.
pub struct Look<'t> {
    tables: &'t Tables,
    /// A registered snapshot.
    snapshot: pg_sys::Snapshot,
}

impl Look<'_> {
    /// Calls `see` with at most `limit` rows of `auth.issuers`: those whose columns equal these
    /// texts.
    pub fn issuers(&self, names: &[Name], limit: usize, see: impl FnMut(&Row)) {
        let table = &self.tables.issuers;
        // SAFETY: the snapshot is registered.
        unsafe { table.find(&ISSUER_COLUMNS, names, limit, self.snapshot, see) }
    }

    /// Whether `auth.issuers` has the columns that are read.
    pub fn has_issuers(&self) -> bool {
        let table = &self.tables.issuers;
        table.is_ordinary() && table.columns().have(&ISSUER_COLUMNS)
    }

    /// The same for `auth.jwks`.
    pub fn keys(&self, names: &[Name], limit: usize, see: impl FnMut(&Row)) {
        let table = &self.tables.jwks;
        // SAFETY: the snapshot is registered.
        unsafe { table.find(&KEY_COLUMNS, names, limit, self.snapshot, see) }
    }

    /// The issuer's row of `auth.endpoints`, or an empty one if there is none. `None`: that table
    /// has not been opened.
    pub fn endpoint(&self, issuer: &str) -> Option<EndpointRow> {
        let opened = self.tables.endpoints.get()?;
        let mut found = EndpointRow::default();
        if let Some(table) = opened {
            let names = [("issuer", issuer)];
            // SAFETY: the snapshot is registered.
            unsafe {
                table.find(&endpoints::NEEDED, &names, 1, self.snapshot, |row| {
                    found = endpoints::of_table(row);
                });
            }
        }
        Some(found)
    }

    /// The same for another table.
    ///
    /// # Safety
    ///
    /// It must be an ordinary table, and `columns` its own.
    pub unsafe fn rows(
        &self,
        table: &Table,
        columns: &Columns,
        names: &[Name],
        limit: usize,
        see: impl FnMut(&Row),
    ) {
        // SAFETY: as the caller promises; the snapshot is registered.
        unsafe { table.scan(columns, names, limit, self.snapshot, see) }
    }
}

/// Number of invalidations that this backend has processed.
pub fn invalidations() -> u64 {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::SharedInvalidMessageCounter }
}

/// The oids of `auth.issuers` and `auth.jwks`, if both exist and belong to the extension.
pub fn find() -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    FoundTables::find().map(|found| (found.issuers, found.jwks))
}

/// The oids of the tables that a verification reads.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FoundTables {
    issuers: pg_sys::Oid,
    jwks: pg_sys::Oid,
    revocations: Option<pg_sys::Oid>,
}

impl FoundTables {
    fn find() -> Option<Self> {
        let (extension, schema) = Extension::find().zip(schema())?;
        Some(Self {
            issuers: extension.table(schema, c"issuers")?,
            jwks: extension.table(schema, c"jwks")?,
            revocations: extension.table(schema, c"revocations"),
        })
    }
}

/// All required triggers of the extension's tables, as they are.
pub fn triggers() -> Vec<FoundTrigger> {
    let mut found = Vec::new();
    for watched in Watched::ALL {
        if let Some(table) = find_table(watched.name()).and_then(Table::open) {
            // SAFETY: the relation is open.
            found.extend(unsafe { triggers::found_triggers(watched, table.0, None) });
        }
    }
    found
}

/// Oid of another table of the extension.
pub fn find_table(name: &CStr) -> Option<pg_sys::Oid> {
    let (extension, schema) = Extension::find().zip(schema())?;
    extension.table(schema, name)
}

/// Oid of the extension's schema, if there is one.
fn schema() -> Option<pg_sys::Oid> {
    let name = in_schema!("@extschema@\0");
    // SAFETY: a look-up in the system catalogs by a constant name, which ends in a NUL.
    let schema = unsafe { pg_sys::get_namespace_oid(name.as_ptr().cast(), true) };
    (schema != pg_sys::InvalidOid).then_some(schema)
}

/// The extension's row of `pg_extension`.
struct Extension {
    oid: pg_sys::Oid,
    owner: pg_sys::Oid,
    /// Tables whose rows pg_dump includes, in `extconfig`. Only an extension's own script can put a
    /// table there, and Postgres takes it out with the table's membership.
    dumped: Vec<pg_sys::Oid>,
}

impl Extension {
    /// `None` if it is not in this database.
    fn find() -> Option<Self> {
        // SAFETY: a scan of a system catalog, as get_extension_oid in
        // src/backend/commands/extension.c; each tuple is looked at before the next one is fetched.
        // Postgres releases what an error leaves open. The table has few rows, and opening its
        // index for the first time in a connection costs more than reading them.
        unsafe {
            let relation = pg_sys::table_open(pg_sys::ExtensionRelationId, LOCK);
            let mut key = pg_sys::ScanKeyData::default();
            pg_sys::ScanKeyInit(
                &raw mut key,
                pg_sys::Anum_pg_extension_extname as pg_sys::AttrNumber,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::Oid::from(pg_sys::F_NAMEEQ),
                pg_sys::Datum::from(c"pg_auth_jwt".as_ptr()),
            );
            let scan = pg_sys::systable_beginscan(
                relation,
                pg_sys::InvalidOid,
                false,
                std::ptr::null_mut(),
                1,
                &raw mut key,
            );
            let tuple = pg_sys::systable_getnext(scan);
            let found = (!tuple.is_null()).then(|| {
                let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_extension>();
                let mut is_null = false;
                let dumped = pg_sys::heap_getattr(
                    tuple,
                    pg_sys::Anum_pg_extension_extconfig as i32,
                    (*relation).rd_att,
                    &mut is_null,
                );
                let dumped = Array::<pg_sys::Oid>::from_datum(dumped, is_null);
                Self {
                    oid: (*form).oid,
                    owner: (*form).extowner,
                    dumped: dumped.iter().flat_map(Array::iter).flatten().collect(),
                }
            });
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(relation, LOCK);
            found
        }
    }

    /// The table of that name in that schema, if it belongs to the extension.
    fn table(&self, schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
        let mut dumped = self.dumped.iter().copied();
        dumped
            .find(|oid| is_called(*oid, schema, name))
            .or_else(|| self.member(schema, name))
    }

    /// The table of that name, if it is a member of the extension by the catalog of dependencies. A
    /// table that was removed from the extension and added again is no longer among those that are
    /// dumped.
    #[cold]
    fn member(&self, schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
        // SAFETY: look-ups in the system catalogs; each takes and returns plain values.
        unsafe {
            let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
            (oid != pg_sys::InvalidOid
                && pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, oid) == self.oid)
                .then_some(oid)
        }
    }
}

/// Whether the relation has that name, in that schema.
fn is_called(relation: pg_sys::Oid, schema: pg_sys::Oid, name: &CStr) -> bool {
    // SAFETY: the tuple is one of pg_class, and is released after its last use; its name is
    // NUL-terminated.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(version::RELOID, pg_sys::Datum::from(relation));
        if tuple.is_null() {
            return false;
        }
        let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
        let is_called =
            (*form).relnamespace == schema && CStr::from_ptr((*form).relname.data.as_ptr()) == name;
        pg_sys::ReleaseSysCache(tuple);
        is_called
    }
}

/// Whether a subscription of this database brings the rows of `auth.endpoints`.
pub fn endpoints_are_subscribed() -> bool {
    let Some(endpoints) = find_table(c"endpoints") else {
        return false;
    };
    // SAFETY: a search of a system cache by the first column of its key; the list is released after its
    // last use.
    unsafe {
        let none = pg_sys::Datum::null();
        let subscriptions = pg_sys::SearchSysCacheList(
            version::SUBSCRIPTIONRELMAP,
            1,
            pg_sys::Datum::from(endpoints),
            none,
            none,
        );
        let is_subscribed = (*subscriptions).n_members > 0;
        pg_sys::ReleaseCatCacheList(subscriptions);
        is_subscribed
    }
}

/// Whether the catalog `pg_inherits` has a child of the relation.
fn has_children(parent: pg_sys::Oid) -> bool {
    // As in src/include/catalog/pg_inherits.h: the catalog, its index by parent, and the column.
    const INHERITS: pg_sys::Oid = pg_sys::Oid::from_u32(2611);
    const INHERITS_PARENT_INDEX: pg_sys::Oid = pg_sys::Oid::from_u32(2187);
    const ANUM_INHPARENT: pg_sys::AttrNumber = 2;
    // SAFETY: a scan of a system catalog, as find_inheritance_children in
    // src/backend/catalog/pg_inherits.c. Postgres releases what an error leaves open.
    unsafe {
        let relation = pg_sys::table_open(INHERITS, LOCK);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            ANUM_INHPARENT,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(parent),
        );
        let scan = pg_sys::systable_beginscan(
            relation,
            INHERITS_PARENT_INDEX,
            true,
            std::ptr::null_mut(),
            1,
            &raw mut key,
        );
        let has_one = !pg_sys::systable_getnext(scan).is_null();
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, LOCK);
        has_one
    }
}

/// The role that owns the extension; `None` if there is no extension.
pub fn extension_owner() -> Option<pg_sys::Oid> {
    Extension::find().map(|extension| extension.owner)
}

/// A relation, open and locked (ACCESS SHARE) until this is dropped.
pub struct Table(pg_sys::Relation);

impl Table {
    /// `None` if it no longer exists.
    pub fn open(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: takes and returns plain values; the relation stays open until it is closed.
        let relation = unsafe { pg_sys::try_relation_open(oid, LOCK) };
        // Not `then_some`, which would create a value from NULL and drop it.
        (!relation.is_null()).then(|| Self(relation))
    }

    /// Does the same as [`open`](Self::open), without a wait for the lock.
    pub fn open_unless_locked(oid: pg_sys::Oid) -> Result<Option<Self>, IsLocked> {
        // SAFETY: plain values. Two locks are held while it is open, and one is released here.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(oid, LOCK) {
                return Err(IsLocked);
            }
            let table = Self::open(oid);
            pg_sys::UnlockRelationOid(oid, LOCK);
            Ok(table)
        }
    }

    /// The open relation.
    pub fn relation(&self) -> pg_sys::Relation {
        self.0
    }

    /// Its columns.
    pub fn columns(&self) -> Columns {
        // SAFETY: the relation is open.
        unsafe { Columns::of(self.0) }
    }

    /// The names of its schema and its own; "?" for a schema that was dropped meanwhile.
    pub fn names(&self) -> (String, String) {
        // SAFETY: the relation is open, and its name NUL-terminated; the schema's is NULL, or palloc'd
        // and NUL-terminated.
        unsafe {
            let form = (*self.0).rd_rel;
            let schema = pg_sys::get_namespace_name((*form).relnamespace);
            let name = |name| encoding::from_server_lossy(CStr::from_ptr(name).to_bytes());
            let schema = if schema.is_null() {
                "?".to_owned()
            } else {
                name(schema)
            };
            (schema, name((*form).relname.data.as_ptr()))
        }
    }

    /// Its oid, as invalidations name it.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.0).rd_id }
    }

    /// Whether it is an ordinary table: no view, and not partitioned.
    pub fn is_ordinary(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe { (*(*self.0).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION }
    }

    /// Whether its rows can be written through another table, as a child or a partition of that.
    pub fn is_inheriting(&self) -> bool {
        // SAFETY: the relation is open. The columns show it without pg_inherits, which each new
        // connection would have to open.
        unsafe { (*(*self.0).rd_rel).relispartition || Columns::of(self.0).are_inherited() }
    }

    /// Whether tables inherit from it, or are partitions of it.
    pub fn has_children(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe {
            // Postgres clears this only in ANALYZE, long after the last child is gone.
            (*(*self.0).rd_rel).relhassubclass && has_children(self.oid())
        }
    }

    /// Calls `see` with at most `limit` rows whose columns equal these texts, if the relation is an
    /// ordinary table and has the needed columns. Both are checked, because its owner may alter the
    /// table, or put a view of its name in its place.
    ///
    /// # Safety
    ///
    /// `snapshot` must be registered.
    unsafe fn find(
        &self,
        needed: &[(&str, pg_sys::Oid)],
        names: &[Name],
        limit: usize,
        snapshot: pg_sys::Snapshot,
        see: impl FnMut(&Row),
    ) {
        let columns = self.columns();
        if self.is_ordinary() && columns.have(needed) {
            // SAFETY: as the caller promises.
            unsafe { self.scan(&columns, names, limit, snapshot, see) }
        }
    }

    /// Whether an index begins with this column, so that its rows are found by it.
    pub fn has_index(&self, columns: &Columns, column: &str) -> bool {
        // SAFETY: the relation is open, and the columns are its own.
        unsafe { index::begins_with(self.0, columns, column) }
    }

    /// Calls `see` with at most `limit` rows whose columns equal these texts now.
    ///
    /// # Safety
    ///
    /// The relation must be an ordinary table, and `columns` its own.
    pub unsafe fn rows_now(
        &self,
        columns: &Columns,
        names: &[Name],
        limit: usize,
        see: impl FnMut(&Row),
    ) {
        // SAFETY: as for the key tables, in `Tables::look`.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(self.oid()));
            self.scan(columns, names, limit, snapshot, see);
            pg_sys::UnregisterSnapshot(snapshot);
        }
    }

    /// Calls `see` with at most `limit` rows whose columns equal these texts.
    ///
    /// # Safety
    ///
    /// The relation must be an ordinary table, `columns` its own, and `snapshot` registered.
    unsafe fn scan(
        &self,
        columns: &Columns,
        names: &[Name],
        limit: usize,
        snapshot: pg_sys::Snapshot,
        mut see: impl FnMut(&Row),
    ) {
        // SAFETY: as the caller promises.
        let Some(Path { index, mut keys }) = (unsafe { index::plan(self.0, columns, names) })
        else {
            return;
        };
        let index = index.as_ref();
        let mut seen: usize = 0;
        let see_wanted = |row: &Row| {
            // Compares the characters, in addition to the comparison of the scan.
            let is_wanted = names.iter().all(|(column, wanted)| {
                // No character takes more than 4 bytes in any encoding.
                let limit = wanted.len().saturating_mul(4);
                matches!(row.name(column, limit), Ok(Some(text)) if text == *wanted)
            });
            if is_wanted {
                seen = seen.saturating_add(1);
                see(row);
            }
            seen < limit
        };
        if limit > 0 {
            // SAFETY: as the caller promises; the index and the keys are of this table.
            unsafe { self.scan_by(columns, index, &mut keys, snapshot, |_| true, see_wanted) }
        }
    }

    /// Calls `see` with the rows that these keys find, by this index if there is one, until it returns
    /// false: those of the tuples that `may_be_wanted`, which is there to be cheap.
    ///
    /// # Safety
    ///
    /// The relation must be an ordinary table, `columns`, the index and the keys its own, the keys'
    /// columns those that the index begins with, and `snapshot` registered.
    unsafe fn scan_by(
        &self,
        columns: &Columns,
        index: Option<&LockedIndex>,
        keys: &mut [pg_sys::ScanKeyData],
        snapshot: pg_sys::Snapshot,
        may_be_wanted: impl Fn(pg_sys::HeapTuple) -> bool,
        mut see: impl FnMut(&Row) -> bool,
    ) {
        let relation = self.0;
        // SAFETY: the relation is open and locked, and the snapshot registered, as the caller
        // promises; each tuple is read before the next one is fetched. The scan keys outlive the
        // scan.
        unsafe {
            let index = index.map(LockedIndex::oid);
            let scan = pg_sys::systable_beginscan(
                relation,
                index.unwrap_or(pg_sys::InvalidOid),
                index.is_some(),
                snapshot,
                keys.len() as i32,
                keys.as_mut_ptr(),
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                if !may_be_wanted(tuple) {
                    continue;
                }
                if !see(&Row::new(columns, (*relation).rd_att, tuple)) {
                    break;
                }
            }
            pg_sys::systable_endscan(scan);
        }
    }
}

/// Another session holds, or waits for, a lock that excludes readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsLocked;

impl Drop for Table {
    fn drop(&mut self) {
        // While an error unwinds, Postgres releases open relations and locks.
        if !std::thread::panicking() {
            // SAFETY: it was opened with this lock, and is not used after this.
            unsafe { pg_sys::relation_close(self.0, LOCK) }
        }
    }
}
