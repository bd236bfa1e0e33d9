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

/// Maximum number of tables with policies that are looked at. Each may have to be read into the
/// catalogs' cache, and a new connection waits for that.
const MOST_TABLES: usize = 32;

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

/// The first table with policies that do not apply to the role.
fn first_exempt_table(role: pg_sys::Oid) -> Option<String> {
    // As in src/include/catalog/pg_policy.h: the catalog, and its index by table.
    const POLICIES: pg_sys::Oid = pg_sys::Oid::from_u32(3256);
    const POLICIES_BY_TABLE: pg_sys::Oid = pg_sys::Oid::from_u32(3258);
    const ANUM_POLRELID: i32 = 3;
    const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: a scan of a system catalog, as RelationBuildRowSecurity in
    // src/backend/commands/policy.c; each tuple is read before the next one is fetched, and the
    // column is not null. Postgres releases what an error leaves open.
    unsafe {
        let catalog = pg_sys::table_open(POLICIES, LOCK);
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(catalog, POLICIES_BY_TABLE, true, none, 0, none.cast());
        let mut last = pg_sys::InvalidOid;
        let mut looked_at = 0;
        let mut found = None;
        while found.is_none() && looked_at < MOST_TABLES {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut is_null = false;
            let table = pg_sys::heap_getattr(tuple, ANUM_POLRELID, (*catalog).rd_att, &mut is_null);
            let table = pg_sys::Oid::from(u32::try_from(table.value()).unwrap_or_default());
            // The index lists the policies of a table one after the other.
            if table != last {
                last = table;
                looked_at = looked_at.saturating_add(1);
                let applies = pg_sys::check_enable_rls(table, role, true);
                if u32::try_from(applies) == Ok(pg_sys::CheckEnableRlsResult::RLS_NONE_ENV) {
                    found = name(table);
                }
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
