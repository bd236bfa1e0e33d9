//! Which index finds a table's rows by name.
//!
//! As Postgres does for its own catalogs (src/backend/access/index/genam.c), with the difference that
//! the tables' indexes are not known beforehand: their owner may drop or replace them.

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::row::Columns;

/// A column that equals a text.
pub type Name<'a> = (&'static str, &'a str);

/// A table of no more pages than this is read through: to open an index for the first time in a
/// connection costs more than to look at some dozen rows.
const SMALL_TABLE_PAGES: u32 = 4;

/// The index that finds the rows whose columns equal these texts (`InvalidOid`: by reading all rows), and
/// the scan keys to do it with, which find those rows, and may find others. `None`: there are no such
/// rows.
///
/// # Safety
///
/// The relation must be an ordinary table that is open and locked, `columns` its own, and the columns
/// named be of type `text`.
pub unsafe fn plan(
    relation: pg_sys::Relation,
    columns: &Columns,
    names: &[Name],
) -> Option<(pg_sys::Oid, Vec<pg_sys::ScanKeyData>)> {
    let mut wanted = Vec::with_capacity(names.len());
    for (column, name) in names {
        let number = columns.number(column)? as pg_sys::AttrNumber;
        // Text that the server's encoding lacks is in no row.
        let datum = encoding::to_datum(name)?;
        // Of some encodings two texts become the same in UTF-8, and an index tells them apart.
        if encoding::has_one_form(name) {
            wanted.push((number, datum));
        }
    }
    // SAFETY: as the caller promises.
    unsafe {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let mut index = pg_sys::InvalidOid;
        if !wanted.is_empty()
            && pg_sys::RelationGetNumberOfBlocksInFork(relation, fork) > SMALL_TABLE_PAGES
        {
            let numbers: Vec<_> = wanted.iter().map(|(number, _)| *number).collect();
            if let Some((found, length)) = best(relation, &numbers) {
                index = found;
                wanted.truncate(length);
            }
        }
        let keys = wanted
            .into_iter()
            .map(|(number, datum)| {
                let mut key = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyEntryInitialize(
                    &raw mut key,
                    0,
                    number,
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::InvalidOid,
                    pg_sys::C_COLLATION_OID,
                    pg_sys::Oid::from(pg_sys::F_TEXTEQ),
                    datum,
                );
                key
            })
            .collect();
        Some((index, keys))
    }
}

/// The index that has the most of these columns in front, in this order, and how many.
///
/// # Safety
///
/// The relation must be open and locked.
unsafe fn best(
    relation: pg_sys::Relation,
    columns: &[pg_sys::AttrNumber],
) -> Option<(pg_sys::Oid, usize)> {
    // SAFETY: the list is a copy of oids; each index is of the table that is locked, so it can't go
    // away, and it is closed before the next one is opened. The table's lock is enough to look at it.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let list = pg_sys::RelationGetIndexList(relation);
        let indexes: Vec<pg_sys::Oid> = pgrx::PgList::<pg_sys::Oid>::from_pg(list)
            .iter_oid()
            .collect();
        let mut best = None;
        for oid in indexes {
            let index = pg_sys::index_open(oid, lock);
            let length = usable_columns(index, columns);
            pg_sys::index_close(index, lock);
            if length > best.map_or(0, |(_, length)| length) {
                best = Some((oid, length));
            }
            if length == columns.len() {
                break;
            }
        }
        best
    }
}

/// How many of these columns the index has in front, in this order, as text that is compared byte by
/// byte; 0 where it cannot be used.
///
/// # Safety
///
/// The index must be open.
unsafe fn usable_columns(index: pg_sys::Relation, columns: &[pg_sys::AttrNumber]) -> usize {
    // SAFETY: as the caller promises: an open index has its row of pg_index, and for each of its key
    // columns an operator family and a collation.
    unsafe {
        let form = (*index).rd_index;
        let is_whole = pg_sys::heap_attisnull(
            (*index).rd_indextuple,
            pg_sys::Anum_pg_index_indpred as i32,
            std::ptr::null_mut(),
        );
        // One with indcheckxmin may lack rows that an old snapshot sees.
        let is_usable = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && (*form).indisvalid
            && (*form).indislive
            && !(*form).indcheckxmin
            && is_whole;
        if !is_usable {
            return 0;
        }
        let length = (*form).indnkeyatts as usize;
        let numbers = (*form).indkey.values.as_slice(length);
        let families = std::slice::from_raw_parts((*index).rd_opfamily, length);
        let collations = std::slice::from_raw_parts((*index).rd_indcollation, length);
        columns
            .iter()
            .zip(numbers.iter().zip(families.iter().zip(collations)))
            .take_while(|(column, (number, (family, collation)))| {
                column == number
                    && **family == pg_sys::TEXT_BTREE_FAM_OID
                    && **collation == pg_sys::C_COLLATION_OID
            })
            .count()
    }
}
