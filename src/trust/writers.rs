//! Roles that decide about keys and are no superusers: by them, a login's token says what such a role wants.
//!
//! Privileges that `pg_write_all_data` gives are in no table's list: its members are not found here.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;

use crate::pg::role_rights;
use crate::pg::version;
use crate::trust::source::open::{WRITE_RIGHTS, role_name};
use crate::trust::source::table::Source;
use crate::trust::tables::{self, Table};

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Tables of the extension whose rows decide which tokens are good.
const TABLES: [&CStr; 5] = [
    c"issuers",
    c"jwks",
    c"endpoints",
    c"withdrawn_keys",
    c"revocations",
];

/// A role that is no superuser, and decides about an object.
pub struct Stranger {
    /// Its name; PUBLIC for every role.
    pub role: String,
    pub right: Right,
}

/// Its way to do so.
pub enum Right {
    /// It owns the present database, and can rename it and put another one in its place.
    OwnsDatabase,
    /// It owns the table of that name.
    Owns(String),
    /// It may write to the table of that name, or add triggers.
    Writes(String),
}

/// A role that decides about the extension's tables.
pub fn of_extension() -> Option<Stranger> {
    of_database().or_else(|| {
        TABLES
            .iter()
            .filter_map(|name| tables::find_table(name).and_then(Table::open))
            .find_map(|table| of_table(&table))
    })
}

/// A role that decides about the rows of a followed table. `None` for a table that is not there, of which no row counts.
pub fn of_source(source: &Source) -> Option<Stranger> {
    let table = source.find().and_then(Table::open)?;
    of_table(&table)
}

fn of_database() -> Option<Stranger> {
    // SAFETY: the tuple is one of pg_database, and is released after its last use.
    let owner = unsafe {
        let database = pg_sys::Datum::from(pg_sys::MyDatabaseId);
        let tuple = pg_sys::SearchSysCache1(version::DATABASEOID, database);
        if tuple.is_null() {
            pg_sys::InvalidOid
        } else {
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            let owner = (*form).datdba;
            pg_sys::ReleaseSysCache(tuple);
            owner
        }
    };
    stranger(owner, Right::OwnsDatabase)
}

fn of_table(table: &Table) -> Option<Stranger> {
    let name = || {
        let (schema, name) = table.names();
        format!("{schema}.{name}")
    };
    // SAFETY: the relation is open.
    let owner = unsafe { (*(*table.relation()).rd_rel).relowner };
    if !role_rights::is_superuser(owner) {
        return stranger(owner, Right::Owns(name()));
    }
    let may_write = |role: &pg_sys::Oid| may_write(table.oid(), *role);
    let writer = std::iter::once(pg_sys::InvalidOid)
        .chain(members(table))
        .filter(|role| !role_rights::is_superuser(*role))
        .find(may_write)?;
    stranger(writer, Right::Writes(name()))
}

/// The role, unless it is a superuser. Oid 0 is PUBLIC (ACL_ID_PUBLIC).
fn stranger(role: pg_sys::Oid, right: Right) -> Option<Stranger> {
    if role_rights::is_superuser(role) {
        return None;
    }
    let name = if role == pg_sys::InvalidOid {
        Some("PUBLIC".to_owned())
    } else {
        role_name(role)
    };
    Some(Stranger {
        role: name.unwrap_or_else(|| role.to_u32().to_string()),
        right,
    })
}

/// Whether the role may write to the table, or to a column.
fn may_write(table: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let rights = WRITE_RIGHTS as pg_sys::AclMode;
    let any = pg_sys::AclMaskHow::ACLMASK_ANY;
    let ok = pg_sys::AclResult::ACLCHECK_OK;
    // SAFETY: look-ups in the catalogs.
    unsafe {
        pg_sys::pg_class_aclcheck(table, role, rights) == ok
            || pg_sys::pg_attribute_aclcheck_all(table, role, rights, any) == ok
    }
}

/// The roles in the lists of privileges of the table and its columns.
fn members(table: &Table) -> Vec<pg_sys::Oid> {
    let mut roles = Vec::new();
    // SAFETY: look-ups in the catalogs. A tuple is released, or the next one is fetched, after its last use; Postgres
    // releases what an error leaves open.
    unsafe {
        let mut is_null = true;
        let oid = pg_sys::Datum::from(table.oid());
        let tuple = pg_sys::SearchSysCache1(version::RELOID, oid);
        if !tuple.is_null() {
            let number = pg_sys::Anum_pg_class_relacl as pg_sys::AttrNumber;
            let list = pg_sys::SysCacheGetAttr(version::RELOID, tuple, number, &raw mut is_null);
            if !is_null {
                add_members(list, &mut roles);
            }
            pg_sys::ReleaseSysCache(tuple);
        }
        let relation = pg_sys::table_open(pg_sys::AttributeRelationId, LOCK);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            pg_sys::Anum_pg_attribute_attrelid as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            oid,
        );
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::Oid::from(pg_sys::AttributeRelidNumIndexId),
            true,
            std::ptr::null_mut(),
            1,
            &raw mut key,
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let number = pg_sys::Anum_pg_attribute_attacl as c_int;
            let list = pg_sys::heap_getattr(tuple, number, (*relation).rd_att, &mut is_null);
            if !is_null {
                add_members(list, &mut roles);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, LOCK);
    }
    roles
}

/// Adds the roles that a list of privileges names.
///
/// # Safety
///
/// The datum must be an `aclitem[]`.
unsafe fn add_members(list: pg_sys::Datum, roles: &mut Vec<pg_sys::Oid>) {
    let mut found = std::ptr::null_mut();
    // SAFETY: as the caller promises. The array that Postgres returns has that many members, and is palloc'd.
    unsafe {
        let list = pg_sys::pg_detoast_datum(list.cast_mut_ptr());
        let count = pg_sys::aclmembers(list.cast(), &raw mut found);
        if let Ok(count) = usize::try_from(count)
            && !found.is_null()
        {
            roles.extend_from_slice(std::slice::from_raw_parts(found, count));
        }
    }
}
