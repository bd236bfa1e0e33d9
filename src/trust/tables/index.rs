//! Finds a table's rows by name, by an index if there is one.
//!
//! As Postgres does for its own catalogs (src/backend/access/index/genam.c), except that the
//! tables' indexes are not known in advance: the owner of a table may drop or replace them.

use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::row::Columns;
use crate::pg::uuid;

/// A column that equals a text, or a value that one of [`NAME_TYPES`](crate::pg::row::NAME_TYPES)
/// writes as this text.
pub type Name<'a> = (&'a str, &'a str);

/// A table with at most this many pages is scanned: opening an index for the first time in a
/// connection costs more than reading some dozen rows.
const SMALL_TABLE_PAGES: u32 = 4;

/// The operator family `uuid_ops` of btree, in src/include/catalog/pg_opfamily.dat.
const UUID_BTREE_FAMILY: pg_sys::Oid = pg_sys::Oid::from_u32(2968);

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Way to find rows: with these scan keys, by an index or by a scan. It finds all wanted rows, and
/// maybe others.
pub struct Path {
    pub index: Option<LockedIndex>,
    pub keys: Vec<pg_sys::ScanKeyData>,
}

/// An index that is locked (ACCESS SHARE) until this is dropped.
pub struct LockedIndex(pg_sys::Oid);

impl LockedIndex {
    /// `None` if it is locked in a conflicting mode (by REINDEX, for example): waiting would block
    /// a login.
    fn lock(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: plain values.
        unsafe { pg_sys::ConditionalLockRelationOid(oid, LOCK) }.then(|| Self(oid))
    }

    pub fn oid(&self) -> pg_sys::Oid {
        self.0
    }
}

impl Drop for LockedIndex {
    fn drop(&mut self) {
        // While an error unwinds, Postgres releases the locks.
        if !std::thread::panicking() {
            // SAFETY: it was locked in this mode.
            unsafe { pg_sys::UnlockRelationOid(self.0, LOCK) }
        }
    }
}

/// A column that must equal a value.
struct Condition {
    column: pg_sys::AttrNumber,
    value: pg_sys::Datum,
    /// The type's function for `=`, and its btree operator family.
    equals: u32,
    family: pg_sys::Oid,
}

/// Plans how to find the rows whose columns equal these texts. `None`: there are no such rows.
///
/// # Safety
///
/// The relation must be an ordinary table that is open and locked, and `columns` its own.
pub unsafe fn plan(relation: pg_sys::Relation, columns: &Columns, names: &[Name]) -> Option<Path> {
    let mut wanted = Vec::with_capacity(names.len());
    for (column, name) in names {
        let number = columns.number(column)? as pg_sys::AttrNumber;
        let type_id = columns.type_of(column)?;
        let (value, equals, family) = value(type_id, name)?;
        // In some encodings two texts become the same in UTF-8, and an index distinguishes them.
        if encoding::has_one_form(name) {
            wanted.push(Condition {
                column: number,
                value,
                equals,
                family,
            });
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        let best = if wanted.is_empty() || pages(relation) <= SMALL_TABLE_PAGES {
            None
        } else {
            best(relation, &wanted)
        };
        let (index, collations) = best.unzip();
        if let Some(collations) = &collations {
            wanted.truncate(collations.len());
        }
        let keys = wanted
            .iter()
            .enumerate()
            .map(|(place, wanted)| {
                let collation = collations
                    .as_ref()
                    .and_then(|collations| collations.get(place).copied())
                    // Compares byte by byte. Types without collations ignore it.
                    .unwrap_or(pg_sys::C_COLLATION_OID);
                let mut key = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyEntryInitialize(
                    &raw mut key,
                    0,
                    wanted.column,
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::InvalidOid,
                    collation,
                    pg_sys::Oid::from(wanted.equals),
                    wanted.value,
                );
                key
            })
            .collect();
        Some(Path { index, keys })
    }
}

/// Number of pages of the table.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn pages(relation: pg_sys::Relation) -> u32 {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: as the caller promises.
    unsafe { pg_sys::RelationGetNumberOfBlocksInFork(relation, fork) }
}

/// The index that has these columns, of type `text`, as its leading ones, in this order, and compares
/// them byte by byte.
///
/// # Safety
///
/// As for [`plan`].
pub unsafe fn of_columns(
    relation: pg_sys::Relation,
    columns: &Columns,
    names: &[&str],
) -> Option<LockedIndex> {
    let conditions = names.iter().map(|name| {
        let number = columns.number(name)? as pg_sys::AttrNumber;
        (columns.type_of(name)? == pg_sys::TEXTOID).then_some(Condition {
            column: number,
            value: pg_sys::Datum::from(0),
            equals: pg_sys::F_TEXTEQ,
            family: pg_sys::TEXT_BTREE_FAM_OID,
        })
    });
    let conditions: Vec<_> = conditions.collect::<Option<_>>()?;
    // SAFETY: as the caller promises.
    let (index, collations) = unsafe { best(relation, &conditions) }?;
    let is_whole = collations.len() == conditions.len();
    let is_bytewise = collations.iter().all(|oid| *oid == pg_sys::C_COLLATION_OID);
    (is_whole && is_bytewise).then_some(index)
}

/// Whether a usable index begins with this column, of one of
/// [`NAME_TYPES`](crate::pg::row::NAME_TYPES).
///
/// # Safety
///
/// As for [`plan`].
pub unsafe fn begins_with(relation: pg_sys::Relation, columns: &Columns, column: &str) -> bool {
    let family = match columns.type_of(column) {
        Some(pg_sys::TEXTOID | pg_sys::VARCHAROID) => pg_sys::TEXT_BTREE_FAM_OID,
        Some(pg_sys::UUIDOID) => UUID_BTREE_FAMILY,
        Some(_) => pg_sys::INTEGER_BTREE_FAM_OID,
        None => return false,
    };
    let condition = Condition {
        column: columns.number(column).unwrap_or_default() as pg_sys::AttrNumber,
        value: pg_sys::Datum::from(0),
        equals: 0,
        family,
    };
    // SAFETY: as the caller promises.
    unsafe { best(relation, &[condition]) }.is_some()
}

/// A scan key: that the column, of type `text`, equals a value byte by byte. `None`: no row does, as
/// the server's encoding lacks a character of it.
pub fn equals(columns: &Columns, column: &str, value: &str) -> Option<pg_sys::ScanKeyData> {
    let number = columns.number(column)? as pg_sys::AttrNumber;
    let value = encoding::to_datum(value)?;
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: the value is a text, as the function's arguments are.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &raw mut key,
            0,
            number,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            pg_sys::C_COLLATION_OID,
            pg_sys::Oid::from(pg_sys::F_TEXTEQ),
            value,
        );
    }
    Some(key)
}

/// The value of this type that Postgres writes as `name`, with the type's function for `=` and its
/// operator family. `None`: there is no such value, or the type is not one of
/// [`NAME_TYPES`](crate::pg::row::NAME_TYPES).
fn value(type_id: pg_sys::Oid, name: &str) -> Option<(pg_sys::Datum, u32, pg_sys::Oid)> {
    let integer = |value: i64| (value.to_string() == name).then_some(value);
    match type_id {
        pg_sys::TEXTOID | pg_sys::VARCHAROID => Some((
            // No row has text that the server's encoding lacks.
            encoding::to_datum(name)?,
            pg_sys::F_TEXTEQ,
            pg_sys::TEXT_BTREE_FAM_OID,
        )),
        pg_sys::UUIDOID => {
            let bytes = uuid::parse(name).filter(|bytes| uuid::format(*bytes) == name)?;
            // SAFETY: palloc returns that many bytes, or raises. A uuid is a pointer to its bytes.
            let datum = unsafe {
                let copy = pg_sys::palloc(bytes.len()).cast::<[u8; 16]>();
                copy.write(bytes);
                pg_sys::Datum::from(copy)
            };
            Some((datum, pg_sys::F_UUID_EQ, UUID_BTREE_FAMILY))
        }
        pg_sys::INT2OID => {
            let value = i16::try_from(integer(name.parse().ok()?)?).ok()?;
            Some((
                value.into_datum()?,
                pg_sys::F_INT2EQ,
                pg_sys::INTEGER_BTREE_FAM_OID,
            ))
        }
        pg_sys::INT4OID => {
            let value = i32::try_from(integer(name.parse().ok()?)?).ok()?;
            Some((
                value.into_datum()?,
                pg_sys::F_INT4EQ,
                pg_sys::INTEGER_BTREE_FAM_OID,
            ))
        }
        pg_sys::INT8OID => {
            let value = integer(name.parse().ok()?)?;
            Some((
                value.into_datum()?,
                pg_sys::F_INT8EQ,
                pg_sys::INTEGER_BTREE_FAM_OID,
            ))
        }
        _ => None,
    }
}

/// The index with the most of these columns as its leading ones, in this order, and their
/// collations.
///
/// # Safety
///
/// The relation must be open and locked.
unsafe fn best(
    relation: pg_sys::Relation,
    columns: &[Condition],
) -> Option<(LockedIndex, Vec<pg_sys::Oid>)> {
    // SAFETY: the list is a copy of oids. Each index belongs to the locked table, so it cannot
    // disappear, and it is locked while it is open.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        let indexes: Vec<pg_sys::Oid> = pgrx::PgList::<pg_sys::Oid>::from_pg(list)
            .iter_oid()
            .collect();
        let mut best: Option<(LockedIndex, Vec<pg_sys::Oid>)> = None;
        for oid in indexes {
            let Some(locked) = LockedIndex::lock(oid) else {
                continue;
            };
            let index = pg_sys::index_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE);
            let collations = usable_columns(index, columns);
            pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
            let length = collations.len();
            if length > best.as_ref().map_or(0, |(_, best)| best.len()) {
                best = Some((locked, collations));
            }
            if length == columns.len() {
                break;
            }
        }
        best
    }
}

/// The collations of the leading columns of the index that are these columns, in this order; none
/// if it cannot be used. Values that are equal byte by byte are equal under every collation.
///
/// # Safety
///
/// The index must be open.
unsafe fn usable_columns(index: pg_sys::Relation, columns: &[Condition]) -> Vec<pg_sys::Oid> {
    // SAFETY: as the caller promises: an open index has its row of pg_index, and an operator family
    // and a collation for each key column.
    unsafe {
        let form = (*index).rd_index;
        let is_whole = pg_sys::heap_attisnull(
            (*index).rd_indextuple,
            pg_sys::Anum_pg_index_indpred as i32,
            std::ptr::null_mut(),
        );
        // An index with indcheckxmin may lack rows that an old snapshot sees.
        let is_usable = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && (*form).indisvalid
            && (*form).indislive
            && !(*form).indcheckxmin
            && is_whole;
        if !is_usable {
            return Vec::new();
        }
        let length = (*form).indnkeyatts as usize;
        let numbers = (*form).indkey.values.as_slice(length);
        let families = std::slice::from_raw_parts((*index).rd_opfamily, length);
        let collations = std::slice::from_raw_parts((*index).rd_indcollation, length);
        columns
            .iter()
            .zip(numbers.iter().zip(families.iter().zip(collations)))
            .take_while(|(wanted, (number, (family, _)))| {
                wanted.column == **number && wanted.family == **family
            })
            .map(|(_, (_, (_, collation)))| *collation)
            .collect()
    }
}
