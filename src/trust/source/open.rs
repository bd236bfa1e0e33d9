//! Opening of a followed table, whose rows are then read in place, like those of `auth.jwks`.
//!
//! The table belongs to another role, who may alter, drop and re-create it. So its kind and its
//! owner are checked each time before its rows are used.

use std::ffi::{CStr, CString};
use std::time::Duration;

use jwt_verify::UnixTime;
use jwt_verify::limits::MAX_JWK_BYTES;
use pgrx::pg_sys;

use crate::pg::clock;
use crate::pg::encoding;
use crate::pg::row::{Columns, Row};
use crate::pg::version;
use crate::trust::schema::SCHEMA;
use crate::trust::source::fault::Fault;
use crate::trust::source::table::{
    ALG, CREATED_AT, Choice, EXPIRES_AT, KID, MEMBERS, Mapped, Member, PUBLIC_KEY, Presence,
    REVOKED_AT, Source,
};
use crate::trust::tables::index::Name;
use crate::trust::tables::stored::{MAX_NAME_BYTES, OddRow, StoredKey};
use crate::trust::tables::triggers;
use crate::trust::tables::{self, IsLocked, Look, Table};

/// Number of times that the table is looked up if others drop, rename or replace it meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Privileges on the table of which each lets its holder make keys of the issuer, or withdraw them.
/// TRIGGER counts too: a BEFORE trigger changes the rows that others write.
pub const WRITE_RIGHTS: u32 = pg_sys::ACL_INSERT
    | pg_sys::ACL_UPDATE
    | pg_sys::ACL_DELETE
    | pg_sys::ACL_TRUNCATE
    | pg_sys::ACL_TRIGGER;

/// Reason why a source was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// Another session has locked the table, and waiting would block a login.
    Locked,
    Fault(Fault),
}

impl From<Fault> for NotOpened {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<IsLocked> for NotOpened {
    fn from(_: IsLocked) -> Self {
        Self::Locked
    }
}

impl Source {
    /// Opens the table, if it is still the one that was followed.
    ///
    /// # Errors
    ///
    /// If it is another one, or locked.
    pub fn open(&self) -> Result<OpenSource, NotOpened> {
        let table = self.locate()?;
        Ok(self.check(table)?)
    }

    /// Opens the table of this name, as [`Tables::open`](tables::Tables::open) does.
    fn locate(&self) -> Result<Table, NotOpened> {
        let mut oid = self.find().ok_or(Fault::NoTable)?;
        for _ in 0..MAX_ATTEMPTS {
            let before = tables::invalidations();
            let opened = Table::open_unless_locked(oid)?;
            let still = if opened.is_some() && tables::invalidations() == before {
                oid
            } else {
                self.find().ok_or(Fault::NoTable)?
            };
            if let Some(table) = opened.filter(|_| still == oid) {
                return Ok(table);
            }
            oid = still;
        }
        Err(Fault::NoTable.into())
    }

    /// The oid of the relation that has the name now.
    pub fn find(&self) -> Option<pg_sys::Oid> {
        let (schema, table) = (c_string(&self.schema)?, c_string(&self.table)?);
        // SAFETY: look-ups in the system catalogs by NUL-terminated names.
        unsafe {
            let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
            if schema == pg_sys::InvalidOid {
                return None;
            }
            let oid = pg_sys::get_relname_relid(table.as_ptr(), schema);
            (oid != pg_sys::InvalidOid).then_some(oid)
        }
    }

    /// Whether it is the role that owned the table when it was followed: the same role, even if
    /// renamed; a role of the same name if the same one is not known here.
    pub fn is_owner(&self, role: pg_sys::Oid) -> bool {
        match self.known_owner() {
            Some(known) => known == role,
            None => role_name(role).as_ref() == Some(&self.owner),
        }
    }

    /// The role that owned the table when it was followed, if that was on this server and it still
    /// exists.
    fn known_owner(&self) -> Option<pg_sys::Oid> {
        let (system_id, role) = self.owner_id.as_ref()?.split_once('/')?;
        let role = pg_sys::Oid::from(role.parse::<u32>().ok()?);
        let is_here = system_id.parse() == Ok(system());
        (is_here && role_name(role).is_some()).then_some(role)
    }

    /// Checks that the table's rows may be used, and that the extension's owner may read them.
    fn check(&self, table: Table) -> Result<OpenSource, Fault> {
        let owner = check_kind(&table)?;
        if !self.is_owner(owner) {
            return Err(Fault::OtherOwner(role_name(owner).unwrap_or_default()));
        }
        check_public(&table)?;
        let columns = table.columns();
        let mapped = resolve(&columns, &MEMBERS, &self.columns)?;
        let reader = tables::extension_owner().unwrap_or(pg_sys::InvalidOid);
        check_readable(&table, &columns, &mapped, reader)?;
        Ok(OpenSource {
            // SAFETY: the relation is open.
            is_announced: unsafe { triggers::announce(table.relation()) },
            table,
            columns,
            mapped,
            grace: self.grace,
        })
    }
}

/// Identifies a role of this server, even after it was renamed. Another server, to which a dump was
/// restored, knows it by its name alone.
pub fn role_id(role: pg_sys::Oid) -> String {
    format!("{}/{}", system(), role.to_u32())
}

/// The number that `initdb` gave to this cluster; standbys and base backups have it too.
fn system() -> u64 {
    // SAFETY: reads what the server has read at its start.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// Checks that the table itself stores its rows. Returns its owner.
pub fn check_kind(table: &Table) -> Result<pg_sys::Oid, Fault> {
    // SAFETY: the relation is open.
    unsafe {
        let form = (*table.relation()).rd_rel;
        if !table.is_ordinary() {
            return Err(Fault::NotATable);
        }
        let (schema, _) = table.names();
        if schema == SCHEMA {
            return Err(Fault::OwnTable);
        }
        if (*form).relpersistence as u8 != pg_sys::RELPERSISTENCE_PERMANENT {
            return Err(Fault::NotPermanent);
        }
        if table.has_children() {
            return Err(Fault::HasChildren);
        }
        // Roles that may write to the parent write here too, without a right on this table.
        if table.is_inheriting() {
            return Err(Fault::HasParent);
        }
        Ok((*form).relowner)
    }
}

/// The role's name; `None` if there is no such role.
pub fn role_name(role: pg_sys::Oid) -> Option<String> {
    // SAFETY: the name is NULL, or palloc'd and NUL-terminated.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| encoding::from_server_lossy(CStr::from_ptr(name).to_bytes()))
    }
}

/// Refuses a table that everyone may write to.
pub fn check_public(table: &Table) -> Result<(), Fault> {
    let public = pg_sys::InvalidOid;
    let rights = WRITE_RIGHTS as pg_sys::AclMode;
    // SAFETY: look-ups in the catalogs. Oid 0 is PUBLIC (ACL_ID_PUBLIC).
    let may_write = unsafe {
        let any = pg_sys::AclMaskHow::ACLMASK_ANY;
        let ok = pg_sys::AclResult::ACLCHECK_OK;
        pg_sys::pg_class_aclcheck(table.oid(), public, rights) == ok
            || pg_sys::pg_attribute_aclcheck_all(table.oid(), public, rights, any) == ok
    };
    if may_write {
        Err(Fault::PublicMayWrite)
    } else {
        Ok(())
    }
}

/// Refuses a table of which the role may not read the mapped columns, or not every row.
pub fn check_readable(
    table: &Table,
    columns: &Columns,
    mapped: &[Option<String>],
    role: pg_sys::Oid,
) -> Result<(), Fault> {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let ok = pg_sys::AclResult::ACLCHECK_OK;
    let name = || role_name(role).unwrap_or_else(|| "?".to_owned());
    // SAFETY: look-ups in the catalogs.
    unsafe {
        let row_security = pg_sys::check_enable_rls(table.oid(), role, true);
        if row_security == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 {
            return Err(Fault::RowSecurity(name()));
        }
        if !may_use_schema(table, role) {
            return Err(Fault::SchemaNotUsable(name()));
        }
        if pg_sys::pg_class_aclcheck(table.oid(), role, select) == ok {
            return Ok(());
        }
        for column in mapped.iter().flatten() {
            let number = columns.number(column).unwrap_or_default() as pg_sys::AttrNumber;
            if pg_sys::pg_attribute_aclcheck(table.oid(), number, role, select) != ok {
                return Err(Fault::NotReadable {
                    role: name(),
                    column: column.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Whether the role may look for objects in the table's schema.
fn may_use_schema(table: &Table, role: pg_sys::Oid) -> bool {
    // SAFETY: the relation is open; a look-up in the catalogs.
    unsafe {
        let schema = (*(*table.relation()).rd_rel).relnamespace;
        version::may_use_schema(schema, role)
    }
}

/// The column of each member.
pub fn resolve<const N: usize>(
    columns: &Columns,
    members: &[Member; N],
    choices: &[Choice; N],
) -> Result<[Option<String>; N], Fault> {
    let mut mapped = [const { None }; N];
    for ((member, choice), place) in members.iter().zip(choices).zip(&mut mapped) {
        let column = match choice {
            Choice::Named(column) if columns.has(column) => Some(column.clone()),
            Choice::Named(_) if member.presence == Presence::Informative => None,
            Choice::Named(column) => return Err(Fault::NoColumn(column.clone())),
            Choice::NotUsed => None,
            Choice::ByDefault => {
                let found: Vec<_> = member
                    .defaults
                    .iter()
                    .filter(|name| columns.has(name))
                    .collect();
                if found.len() > 1 {
                    let names = found.into_iter().map(|name| (*name).to_owned());
                    return Err(Fault::AmbiguousColumn(names.collect()));
                }
                found.first().map(|name| (**name).to_owned())
            }
        };
        if column.is_none() && member.presence == Presence::Required {
            return Err(Fault::NoColumn(member.defaults.join("\" or \"")));
        }
        if let Some(column) = &column {
            if !columns
                .type_of(column)
                .is_some_and(|known| member.types.contains(&known))
            {
                return Err(Fault::ColumnType {
                    column: column.clone(),
                    wanted: member.types_in_words,
                });
            }
            if columns.is_generated(column) {
                return Err(Fault::GeneratedColumn(column.clone()));
            }
        }
        *place = column;
    }
    Ok(mapped)
}

fn c_string(name: &str) -> Option<CString> {
    encoding::to_server(name)
}

/// A followed table, open and locked (ACCESS SHARE) until this is dropped.
pub struct OpenSource {
    table: Table,
    columns: Columns,
    mapped: Mapped,
    grace: Duration,
    /// Whether a trigger makes every change known to every backend.
    pub is_announced: bool,
}

impl OpenSource {
    /// Its oid, as invalidations name it.
    pub fn oid(&self) -> pg_sys::Oid {
        self.table.oid()
    }

    /// Calls `see` with the key ids and keys of at most `limit` rows, those with this key id if it
    /// is given.
    pub fn keys(
        &self,
        look: &Look,
        kid: Option<&str>,
        limit: usize,
        mut see: impl FnMut(Option<&str>, Result<StoredKey, OddRow>),
    ) {
        let names: Vec<Name> = self.column(KID).zip(kid).into_iter().collect();
        let show = |row: &Row| match self.kid(row) {
            Ok(kid) => see(kid.as_deref(), self.key(row, kid.clone())),
            Err(odd) => see(None, Err(odd)),
        };
        // SAFETY: it was checked that the table is an ordinary one; the columns are its own.
        unsafe { look.rows(&self.table, &self.columns, &names, limit, show) }
    }

    fn column(&self, member: usize) -> Option<&str> {
        self.mapped.get(member)?.as_deref()
    }

    fn kid(&self, row: &Row) -> Result<Option<String>, OddRow> {
        self.name(row, KID)
    }

    fn name(&self, row: &Row, member: usize) -> Result<Option<String>, OddRow> {
        self.column(member).map_or(Ok(None), |column| {
            row.name(column, MAX_NAME_BYTES).map_err(OddRow::of_name)
        })
    }

    fn key(&self, row: &Row, kid: Option<String>) -> Result<StoredKey, OddRow> {
        let column = self.column(PUBLIC_KEY).ok_or(OddRow::NoKey)?;
        let jwk = match row.json_text(column, MAX_JWK_BYTES) {
            Ok(jwk) => jwk.ok_or(OddRow::NoKey)?,
            Err(unreadable) => return Err(OddRow::of_key(unreadable)),
        };
        let instant = |member| {
            let instant = row.instant(self.column(member)?)?;
            Some(clock::from_postgres(instant))
        };
        let expires_at = instant(EXPIRES_AT).map(|end| match end {
            // -infinity stays so, whatever the grace.
            UnixTime::MIN => end,
            end => end.saturating_add(self.grace),
        });
        let revoked_at = instant(REVOKED_AT);
        Ok(StoredKey {
            kid,
            jwk,
            alg: self.name(row, ALG)?,
            valid_until: expires_at.into_iter().chain(revoked_at).min(),
            created_at: instant(CREATED_AT),
        })
    }
}
