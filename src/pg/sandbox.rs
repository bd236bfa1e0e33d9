//! Runs SQL that others wrote, so that it leaves nothing behind and has no more rights than a given
//! role.

use std::ffi::{CStr, c_int, c_long};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pgrx::{IntoDatum, pg_sys};

use crate::pg::encoding;

/// Runs `body` in a subtransaction that is rolled back at its end: its writes and its settings are
/// undone.
///
/// `body` must return nothing in Postgres's memory.
pub fn undone<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: as PL/pgSQL does it for a block with EXCEPTION (src/pl/plpgsql/src/pl_exec.c). A
    // panic, which an error of Postgres's has become, goes on once the subtransaction is gone.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(memory);
        let outcome = catch_unwind(AssertUnwindSafe(body));
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::CurrentResourceOwner = owner;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Runs `body` as that role, in a restricted operation as ANALYZE runs the functions of an index:
/// called code cannot go back to the caller's role, nor leave anything to run later. Call it inside
/// of [`undone`], which restores the role if an error leaves.
pub fn as_role<T>(role: pg_sys::Oid, body: impl FnOnce() -> T) -> T {
    restricted(role, 0, body)
}

/// As [`as_role`], as a table's owner to whom no policy of theirs applies, FORCE ROW LEVEL SECURITY
/// or not, and with a safe search_path, so that the caller cannot redirect functions of an index.
pub fn as_owner<T>(role: pg_sys::Oid, body: impl FnOnce() -> T) -> T {
    restricted(role, pg_sys::SECURITY_NOFORCE_RLS, || {
        with_safe_search_path(body)
    })
}

fn restricted<T>(role: pg_sys::Oid, further: u32, body: impl FnOnce() -> T) -> T {
    const RESTRICTIONS: u32 =
        pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let (mut user, mut restrictions): (pg_sys::Oid, c_int) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads and sets variables of the backend. The role exists: the caller has looked it
    // up.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut restrictions);
        let restricted = restrictions | (RESTRICTIONS | further) as c_int;
        pg_sys::SetUserIdAndSecContext(role, restricted);
        let value = body();
        pg_sys::SetUserIdAndSecContext(user, restrictions);
        value
    }
}

/// Sets a setting until the end of the transaction, or of [`undone`].
pub fn set_local(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated, and copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Runs `body` with a search_path in which all unqualified names are those of pg_catalog.
pub fn with_safe_search_path<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: as for the SET clause of a function (fmgr_security_definer in
    // src/backend/utils/fmgr). An error undoes the setting with its transaction, or subtransaction.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let value = body();
        pg_sys::AtEOXact_GUC(true, level);
        value
    }
}

/// A query that was prepared by SPI, to whose connection it belongs.
pub struct Prepared(pg_sys::SPIPlanPtr);

impl Prepared {
    /// Prepares a query with at most one parameter.
    pub fn new(query: &str, parameter: Option<pg_sys::Oid>) -> Self {
        let query = encoding::to_server_c_string(query);
        let mut types = parameter.unwrap_or(pg_sys::InvalidOid);
        // SAFETY: the query is NUL-terminated; there are as many types as parameters. It raises for
        // a query that is wrong, and gives NULL only outside of a connection.
        Self(unsafe {
            pg_sys::SPI_prepare(
                query.as_ptr(),
                c_int::from(parameter.is_some()),
                &raw mut types,
            )
        })
    }

    /// The first row that the query gives, one value for each column of type `bigint`; NULL counts
    /// as 0.
    pub fn numbers(&self, argument: Option<pg_sys::Datum>) -> Vec<u64> {
        self.first_row(argument, |value| {
            u64::try_from(value.value() as i64).unwrap_or(0)
        })
    }

    /// The first row that the query gives, one value for each column of type `text`; NULL counts as
    /// empty.
    pub fn texts(&self) -> Vec<String> {
        self.first_row(None, |value| {
            // SAFETY: a text, which is not NULL, is read as its bytes.
            let bytes: Option<Vec<u8>> = unsafe { pgrx::FromDatum::from_datum(value, false) };
            encoding::from_server_lossy(&bytes.unwrap_or_default())
        })
    }

    fn first_row<T: Default>(
        &self,
        argument: Option<pg_sys::Datum>,
        read: impl Fn(pg_sys::Datum) -> T,
    ) -> Vec<T> {
        // SAFETY: the plan is of the present connection, and has one parameter if there is an
        // argument. The table of rows is SPI's, until it is freed.
        unsafe {
            let mut argument = argument.unwrap_or(pg_sys::Datum::from(0));
            pg_sys::SPI_execute_plan(self.0, &raw mut argument, std::ptr::null(), true, 1);
            let table = pg_sys::SPI_tuptable;
            if table.is_null() || (*table).numvals == 0 {
                return Vec::new();
            }
            let values = (1..=(*(*table).tupdesc).natts)
                .map(|column| {
                    let mut is_null = false;
                    let value = pg_sys::SPI_getbinval(
                        *(*table).vals,
                        (*table).tupdesc,
                        column,
                        &raw mut is_null,
                    );
                    if is_null { T::default() } else { read(value) }
                })
                .collect();
            pg_sys::SPI_freetuptable(table);
            values
        }
    }

    /// Whether it returns the whole rows of that table and nothing else: the names in its text may
    /// lead to another table, because a schema can be renamed at any time.
    fn gives_rows_of(&self, table: &Table) -> bool {
        // SAFETY: the plan is of the present connection. Its lists are of the nodes that their names
        // say; each node begins with its tag.
        unsafe {
            let only = |list: *mut pg_sys::List| {
                if list.is_null() || (*list).length != 1 {
                    return std::ptr::null_mut();
                }
                (*(*list).elements).ptr_value
            };
            let source =
                only(pg_sys::SPI_plan_get_plan_sources(self.0)).cast::<pg_sys::CachedPlanSource>();
            if source.is_null() || !(*source).is_valid {
                return false;
            }
            let query = only((*source).query_list).cast::<pg_sys::Query>();
            if query.is_null() {
                return false;
            }
            let read = only((*query).rtable).cast::<pg_sys::RangeTblEntry>();
            let given = only((*query).targetList).cast::<pg_sys::TargetEntry>();
            if read.is_null() || given.is_null() {
                return false;
            }
            let row = (*given).expr.cast::<pg_sys::Var>();
            (*read).rtekind == pg_sys::RTEKind::RTE_RELATION
                && (*read).relid == table.oid
                && (*row).xpr.type_ == pg_sys::NodeTag::T_Var
                && (*row).varattno == 0
                && (*row).vartype == table.row_type
        }
    }
}

/// A relation, locked as by a query that reads it, until the end of the transaction.
pub struct Table {
    oid: pg_sys::Oid,
    owner: pg_sys::Oid,
    row_type: pg_sys::Oid,
}

/// Locks a relation, so that its definition and owner stay as they are; `None` if there is none.
pub fn lock(oid: pg_sys::Oid) -> Option<Table> {
    // SAFETY: the relation is NULL, or valid until it is closed.
    unsafe {
        let relation = pg_sys::try_relation_open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            return None;
        }
        let table = Table {
            oid,
            owner: (*(*relation).rd_rel).relowner,
            row_type: (*(*relation).rd_rel).reltype,
        };
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        Some(table)
    }
}

impl Table {
    /// Gives the lock back before the transaction ends.
    pub fn unlock(&self) {
        // SAFETY: plain values; the lock is held since `lock`.
        unsafe {
            pg_sys::UnlockRelationOid(self.oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        }
    }

    /// All its rows, whatever its policies, read with the rights of its owner. `None` if `name` is
    /// another table's by now.
    ///
    /// The transaction's end, or that of [`undone`], closes the cursor, and nothing else can: code
    /// that runs between two fetches finds it under no name, and so cannot read on, nor close it.
    pub fn rows(&self, name: &str) -> Option<Cursor> {
        let name = name.to_owned();
        let query = format!("SELECT pg_auth_jwt_row.*::{name} FROM {name} AS pg_auth_jwt_row");
        as_owner(self.owner, || {
            let query = Prepared::new(&query, None);
            if !query.gives_rows_of(self) {
                return None;
            }
            let mut secret = [0_u8; 16];
            // SAFETY: the buffer has that size. The plan has no parameter. SPI raises if it can
            // open no cursor.
            let portal = unsafe {
                if !pg_sys::pg_strong_random(secret.as_mut_ptr().cast(), secret.len()) {
                    return None;
                }
                let name = format!("pg_auth_jwt {:032x}", u128::from_ne_bytes(secret));
                let name = encoding::to_server_c_string(&name);
                let portal = pg_sys::SPI_cursor_open(
                    name.as_ptr(),
                    query.0,
                    std::ptr::null_mut(),
                    std::ptr::null(),
                    true,
                );
                pg_sys::PinPortal(portal);
                (*portal).visible = false;
                portal
            };
            Some(Cursor {
                portal,
                owner: self.owner,
                row_type: self.row_type,
            })
        })
    }
}

/// A cursor of SPI's whose query gives one column, rows of a table.
pub struct Cursor {
    portal: pg_sys::Portal,
    owner: pg_sys::Oid,
    row_type: pg_sys::Oid,
}

/// Some rows as an array, until it is dropped.
pub struct Batch {
    array: pg_sys::Datum,
    /// The number of rows.
    pub rows: usize,
    /// The size of their memory.
    pub bytes: usize,
}

impl Cursor {
    /// The next rows, at most `count`: none at the end.
    pub fn fetch(&self, count: usize) -> Batch {
        // SAFETY: the portal is open. Its rows have one column, a composite, and so a varlena. The
        // array's element type is that of the column.
        unsafe {
            as_owner(self.owner, || {
                pg_sys::SPI_cursor_fetch(self.portal, true, c_long::try_from(count).unwrap_or(1));
            });
            let table = pg_sys::SPI_tuptable;
            let found = match usize::try_from((*table).numvals) {
                Ok(count) if count > 0 => std::slice::from_raw_parts((*table).vals, count),
                _ => &[],
            };
            let mut values = Vec::with_capacity(found.len());
            let mut bytes = 0_usize;
            for tuple in found {
                let mut is_null = false;
                let value = pg_sys::SPI_getbinval(*tuple, (*table).tupdesc, 1, &raw mut is_null);
                bytes = bytes.saturating_add(pgrx::varlena::varsize_any(value.cast_mut_ptr()));
                values.push(value);
            }
            let array = pg_sys::construct_array(
                values.as_mut_ptr(),
                c_int::try_from(values.len()).unwrap_or(0),
                self.row_type,
                -1,
                false,
                b'd' as std::ffi::c_char,
            );
            pg_sys::SPI_freetuptable(table);
            Batch {
                array: pg_sys::Datum::from(array),
                rows: values.len(),
                bytes,
            }
        }
    }
}

impl Batch {
    /// The array.
    pub fn datum(&self) -> pg_sys::Datum {
        self.array
    }

    /// Frees the memory, as the end of SPI's connection would.
    pub fn free(self) {
        // SAFETY: it was made by construct_array, and nothing refers to it any more.
        unsafe { pg_sys::pfree(self.array.cast_mut_ptr()) }
    }
}

/// A `jsonb` of that text, in the current memory context; `None` if Postgres returns none.
pub fn jsonb(text: &CStr) -> Option<pg_sys::Datum> {
    // SAFETY: jsonb_in takes a NUL-terminated string and gives a jsonb.
    unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::jsonb_in,
            &[Some(pg_sys::Datum::from(text.as_ptr()))],
        )
    }
}

/// A `text` in the current memory context.
pub fn text(text: &str) -> Option<pg_sys::Datum> {
    // The datum of a bytea is that of a text of the same bytes.
    encoding::to_server_lossy(text).as_bytes().into_datum()
}
