//! Rights that roles have beside privileges on objects: those of superusers, of replication, and over policies.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::encoding;

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// A right with which a role reads whatever policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Superuser,
    Replication,
    BypassesPolicies,
    /// Files and programs of the server, by which a role can become a superuser (PostgreSQL documentation, section
    /// 21.5).
    Server,
    /// All tables, those of keys too (`pg_write_all_data`).
    WritesEverywhere,
}

/// The predefined roles with [`Right::Server`].
const SERVER_ROLES: [u32; 3] = [
    pg_sys::ROLE_PG_READ_SERVER_FILES,
    pg_sys::ROLE_PG_WRITE_SERVER_FILES,
    pg_sys::ROLE_PG_EXECUTE_SERVER_PROGRAM,
];

/// A role with such a right.
pub struct Holder {
    pub right: Right,
    /// Its name, if it is not the role itself, but one of which that is a member.
    pub through: Option<String>,
}

/// The oid of the role of that name.
pub fn named(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: the name is NUL-terminated; a look-up in the catalogs.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// A role with such a right that this role is, or is a member of, directly or not. Any membership counts, also one with
/// neither INHERIT nor SET.
pub fn holder(role: pg_sys::Oid) -> Option<Holder> {
    let mut found: Option<Holder> = None;
    // SAFETY: a scan of a catalog that all databases share, as `databases` in worker.rs; each tuple is read before the
    // next one is fetched. Postgres releases what an error leaves open.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::AuthIdRelationId, LOCK);
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(relation, pg_sys::InvalidOid, false, none, 0, none.cast());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let other = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_authid>();
            let right = if (*other).rolsuper {
                Right::Superuser
            } else if (*other).rolreplication {
                Right::Replication
            } else if (*other).rolbypassrls {
                Right::BypassesPolicies
            } else if SERVER_ROLES.contains(&(*other).oid.to_u32()) {
                Right::Server
            } else if (*other).oid.to_u32() == pg_sys::ROLE_PG_WRITE_ALL_DATA {
                Right::WritesEverywhere
            } else {
                continue;
            };
            let is_itself = (*other).oid == role;
            if is_itself || pg_sys::is_member_of_role_nosuper(role, (*other).oid) {
                let name = CStr::from_ptr((*other).rolname.data.as_ptr()).to_bytes();
                let through = (!is_itself).then(|| encoding::from_server_lossy(name));
                found = Some(Holder { right, through });
                if is_itself {
                    break;
                }
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, LOCK);
    }
    found
}

/// Whether a role is a superuser.
pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: a plain value; a look-up in the catalogs.
    unsafe { pg_sys::superuser_arg(role) }
}
