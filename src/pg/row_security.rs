//! Roles to which Postgres applies no policies.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::encoding;

/// Reason why Postgres applies no policies to a role.
pub enum Exemption {
    /// It is a superuser.
    Superuser,
    /// It has BYPASSRLS.
    Bypasses,
    /// It owns this table, or has the rights of the owner. The name is quoted as in SQL.
    Owns(String),
}

/// A catalog `pg_class` with at most this many pages, up to 1,200 tables and indexes, is read as a
/// whole. A new connection waits for that, and looking up one table with policies takes as long as
/// reading two pages.
const SMALL_CATALOG_PAGES: u32 = 32;

/// Maximum number of tables that are looked up one by one.
const MOST_TABLES: usize = 32;

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// The catalog of policies, its index by table, and the column, as in
/// src/include/catalog/pg_policy.h.
const POLICIES: pg_sys::Oid = pg_sys::Oid::from_u32(3256);
const POLICIES_BY_TABLE: pg_sys::Oid = pg_sys::Oid::from_u32(3258);
const ANUM_POLRELID: pg_sys::AttrNumber = 3;

/// Reason why policies do not apply to the role that runs the client's queries: the current user,
/// outside of SECURITY DEFINER functions. `None` if they apply, at least to the tables that are
/// looked at.
pub fn exemption() -> Option<Exemption> {
    // SAFETY: look-ups in the catalogs' caches.
    unsafe {
        let role = pg_sys::GetOuterUserId();
        if pg_sys::superuser_arg(role) {
            Some(Exemption::Superuser)
        } else if pg_sys::has_bypassrls_privilege(role) {
            Some(Exemption::Bypasses)
        } else {
            first_exempt_table(role).map(Exemption::Owns)
        }
    }
}

/// The first table with policies that do not apply to the role, by oid.
fn first_exempt_table(role: pg_sys::Oid) -> Option<String> {
    // SAFETY: the catalog is open while its size is asked for.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::RelationRelationId, LOCK);
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(catalog, fork);
        let found = if pages <= SMALL_CATALOG_PAGES {
            first_exempt_of_all(catalog, role)
        } else {
            first_exempt_by_policies(role)
        };
        pg_sys::table_close(catalog, LOCK);
        found.and_then(name)
    }
}

/// By the catalog of tables, in any order: what decides is in each table's row.
///
/// # Safety
///
/// `catalog` must be `pg_class`, open.
unsafe fn first_exempt_of_all(catalog: pg_sys::Relation, role: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a scan of a system catalog, without an index as a table of few pages is read; each
    // tuple is read before the next one is fetched. Postgres releases what an error leaves open.
    unsafe {
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            pg_sys::Anum_pg_class_relrowsecurity as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_BOOLEQ),
            pg_sys::Datum::from(true),
        );
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(catalog, pg_sys::InvalidOid, false, none, 1, &raw mut key);
        let mut found: Option<pg_sys::Oid> = None;
        // Most tables have the same owner.
        let mut last_owner = (pg_sys::InvalidOid, false);
        let mut looked_up = 0;
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
            let (table, owner) = ((*form).oid, (*form).relowner);
            if (*form).relforcerowsecurity
                || found.is_some_and(|found| found.to_u32() < table.to_u32())
            {
                continue;
            }
            if last_owner.0 != owner {
                last_owner = (owner, pg_sys::has_privs_of_role(role, owner));
            }
            if last_owner.1 && looked_up < MOST_TABLES {
                looked_up = looked_up.saturating_add(1);
                if has_policies(table) {
                    found = Some(table);
                }
            }
        }
        pg_sys::systable_endscan(scan);
        found
    }
}

/// Whether the table has a policy, which it may have while they are off.
fn has_policies(table: pg_sys::Oid) -> bool {
    // SAFETY: a scan of a system catalog, as RelationBuildRowSecurity in
    // src/backend/commands/policy.c. Postgres releases what an error leaves open.
    unsafe {
        let catalog = pg_sys::table_open(POLICIES, LOCK);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &raw mut key,
            ANUM_POLRELID,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(table),
        );
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(catalog, POLICIES_BY_TABLE, true, none, 1, &raw mut key);
        let has_one = !pg_sys::systable_getnext(scan).is_null();
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, LOCK);
        has_one
    }
}

/// By the catalog of policies, whose index lists those of a table one after the other: the first
/// [`MOST_TABLES`] that have any.
fn first_exempt_by_policies(role: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: as in `has_policies`; each tuple is read before the next one is fetched, and the
    // column is not null.
    unsafe {
        let catalog = pg_sys::table_open(POLICIES, LOCK);
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(catalog, POLICIES_BY_TABLE, true, none, 0, none.cast());
        let mut last = pg_sys::InvalidOid;
        let mut looked_up = 0;
        let mut found = None;
        while found.is_none() && looked_up < MOST_TABLES {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut is_null = false;
            let column = i32::from(ANUM_POLRELID);
            let table = pg_sys::heap_getattr(tuple, column, (*catalog).rd_att, &mut is_null);
            let table = pg_sys::Oid::from(u32::try_from(table.value()).unwrap_or_default());
            if table != last {
                last = table;
                looked_up = looked_up.saturating_add(1);
                let applies = pg_sys::check_enable_rls(table, role, true);
                let is_exempt =
                    u32::try_from(applies) == Ok(pg_sys::CheckEnableRlsResult::RLS_NONE_ENV);
                found = is_exempt.then_some(table);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, LOCK);
        found
    }
}

/// The relation's name with its schema; `None` if it was dropped meanwhile.
fn name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: look-ups in the catalogs' caches; each gives NULL or a NUL-terminated text.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        if name.is_null() || schema.is_null() {
            return None;
        }
        let quoted = pg_sys::quote_qualified_identifier(schema, name);
        Some(encoding::from_server_lossy(
            CStr::from_ptr(quoted).to_bytes(),
        ))
    }
}
