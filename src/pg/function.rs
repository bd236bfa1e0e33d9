//! Calling convention of the extension's SQL functions.

use pgrx::{pg_sys, varlena};

use crate::pg::guard;
use crate::pg::report::{Report, SqlState};
use crate::pg::row::{self, NotUtf8};

/// The language C: `ClanguageId` (src/include/catalog/pg_language.dat), which pgrx does not name.
pub const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// The result of a SQL function: a value, NULL, or an error to raise.
pub type SqlResult = Result<Option<pg_sys::Datum>, Report>;

/// Declares a SQL function in C's version-1 calling convention, named `$name` in the library. Its
/// body maps the call's [`Arguments`] to a [`SqlResult`].
///
/// pgrx's own `#[pg_extern]` is not used for these because it cannot raise our SQLSTATEs (see
/// [`crate::pg::report`]) and builds each returned value again at each call.
macro_rules! sql_function {
    ($(#[$meta:meta])* $name:ident, |$args:pat_param| $body:expr) => {
        const _: () = {
            // Declared as by PG_FUNCTION_INFO_V1 (src/include/fmgr.h).
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name)))]
            extern "C" fn function_info() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
                const V1: ::pgrx::pg_sys::Pg_finfo_record =
                    ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        };

        $(#[$meta])*
        ///
        /// # Safety
        ///
        /// Only Postgres's function manager may call it.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(
            fcinfo: ::pgrx::pg_sys::FunctionCallInfo,
        ) -> ::pgrx::pg_sys::Datum {
            // A function of its own, so that the body is checked as safe code.
            fn body($args: $crate::pg::function::Arguments) -> $crate::pg::function::SqlResult {
                $body
            }
            // SAFETY: Postgres passes a valid call info.
            unsafe { $crate::pg::function::call(fcinfo, body) }
        }
    };
}
pub(crate) use sql_function;

/// Runs a SQL function's body under [`guard::run`].
///
/// # Safety
///
/// `fcinfo` must be the call info that Postgres passed.
#[inline]
pub unsafe fn call(
    fcinfo: pg_sys::FunctionCallInfo,
    body: impl FnOnce(Arguments) -> SqlResult,
) -> pg_sys::Datum {
    // SAFETY: as the caller promises; neither frame holds anything to drop.
    unsafe {
        match guard::run(|| body(Arguments(fcinfo))) {
            Some(datum) => datum,
            None => {
                (*fcinfo).isnull = true;
                pg_sys::Datum::from(0)
            }
        }
    }
}

/// The arguments of one call. Their SQL types are those that the install script declares.
pub struct Arguments(pg_sys::FunctionCallInfo);

impl Arguments {
    /// The memory context in which the caller keeps its look-up of this function (`fn_mcxt`): for a
    /// call in a query's expression, that of the query's execution. NULL for a direct call.
    #[inline]
    pub fn memory_context(&self) -> pg_sys::MemoryContext {
        // SAFETY: the call info is Postgres's, for this call.
        unsafe {
            let function = (*self.0).flinfo;
            if function.is_null() {
                std::ptr::null_mut()
            } else {
                (*function).fn_mcxt
            }
        }
    }

    /// The `n`th argument (from 0), a `text` of at most `most` bytes, as bytes in the server's
    /// encoding; `None` if it is NULL. Inline datums are borrowed; compressed or toasted ones are
    /// copied first. Parameters are always inline.
    ///
    /// # Errors
    ///
    /// If it is longer. It is not copied then.
    pub fn bytes_up_to(&self, n: usize, most: usize) -> Result<Option<&[u8]>, TooLong> {
        // SAFETY: the call info is Postgres's, for this call; the caller names an argument that is
        // declared text. Argument and copy stay in place until the call is over.
        unsafe {
            let Some(datum) = pgrx::fcinfo::pg_getarg_datum(self.0, n) else {
                return Ok(None);
            };
            let mut text = datum.cast_mut_ptr::<pg_sys::varlena>();
            let is_inline = varlena::varatt_is_4b_u(text)
                || (varlena::varatt_is_1b(text) && !varlena::varatt_is_1b_e(text));
            let bytes = if is_inline {
                varlena::varsize_any_exhdr(text)
            } else {
                pg_sys::toast_raw_datum_size(datum).saturating_sub(pg_sys::VARHDRSZ)
            };
            if bytes > most {
                return Err(TooLong { bytes });
            }
            if !is_inline {
                text = pg_sys::pg_detoast_datum_packed(text);
            }
            Ok(Some(varlena::varlena_to_byte_slice(text)))
        }
    }

    /// The `n`th argument (from 0), a `text`; `None` if it is NULL.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8 and cannot be converted.
    pub fn text(&self, n: usize) -> Result<Option<String>, NotUtf8> {
        self.bytes(n).map(row::utf8).transpose()
    }

    /// The `n`th argument (from 0), a `text`, as bytes in the server's encoding; `None` if it is
    /// NULL.
    pub fn bytes(&self, n: usize) -> Option<Vec<u8>> {
        // SAFETY: as above; a text is read as its bytes.
        unsafe { pgrx::fcinfo::pg_getarg::<Vec<u8>>(self.0, n) }
    }

    /// The `n`th argument (from 0), a `boolean`; `None` if it is NULL, or if the function is
    /// declared with fewer arguments.
    pub fn boolean(&self, n: usize) -> Option<bool> {
        // SAFETY: as above; there are as many arguments as `nargs` says.
        unsafe {
            if usize::try_from((*self.0).nargs).is_ok_and(|count| n < count) {
                pgrx::fcinfo::pg_getarg(self.0, n)
            } else {
                None
            }
        }
    }

    /// The `n`th argument (from 0), a `jsonb`, as text; `None` if it is NULL.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub fn json(&self, n: usize) -> Result<Option<String>, NotUtf8> {
        // SAFETY: as above; the caller names an argument that is declared jsonb.
        let json = self.datum(n).map(|datum| unsafe { row::json_text(datum) });
        json.transpose()
    }

    /// The `n`th argument (from 0); `None` if it is NULL.
    pub fn datum(&self, n: usize) -> Option<pg_sys::Datum> {
        // SAFETY: as above.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.0, n) }
    }

    /// Whether the client's statement is a SELECT of this call and nothing else.
    pub fn call_is_whole_statement(&self) -> bool {
        // SAFETY: Postgres keeps the running portal in ActivePortal, with its list of planned
        // statements. A node is read as a struct only after its tag was checked.
        unsafe {
            let portal = pg_sys::ActivePortal;
            if portal.is_null() || (*self.0).flinfo.is_null() {
                return false;
            }
            let Some(statement) = only_item::<pg_sys::PlannedStmt>((*portal).stmts) else {
                return false;
            };
            let plan = (*statement).planTree;
            if (*statement).commandType != pg_sys::CmdType::CMD_SELECT
                || plan.is_null()
                || (*plan).type_ != pg_sys::NodeTag::T_Result
                || !(*plan).lefttree.is_null()
            {
                return false;
            }
            let Some(entry) = only_item::<pg_sys::TargetEntry>((*plan).targetlist) else {
                return false;
            };
            let call = (*entry).expr.cast::<pg_sys::FuncExpr>();
            !call.is_null()
                && (*call).xpr.type_ == pg_sys::NodeTag::T_FuncExpr
                && (*call).funcid == (*(*self.0).flinfo).fn_oid
        }
    }

    /// Returns all rows of a set-returning function at once (`SFRM_Materialize`). The values must
    /// have the types that the install script declares.
    ///
    /// # Errors
    ///
    /// If the caller does not accept a set.
    pub fn return_rows<const COLUMNS: usize>(
        &self,
        rows: impl IntoIterator<Item = [Option<pg_sys::Datum>; COLUMNS]>,
    ) -> Result<(), Report> {
        self.rows()?.fill(rows);
        Ok(())
    }

    /// As [`return_rows`](Self::return_rows), in two steps: this one looks up the function, which
    /// may be dropped before the rows are there.
    ///
    /// # Errors
    ///
    /// If the caller does not accept a set.
    pub fn rows<const COLUMNS: usize>(&self) -> Result<Rows<COLUMNS>, Report> {
        // SAFETY: the call info is Postgres's, for this call. With a result info of that node tag
        // the caller accepts a set (src/backend/utils/fmgr/README). What the caller keeps is made
        // in the memory context that lives as long as its query.
        unsafe {
            let set = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            if set.is_null()
                || (*set).type_ != pg_sys::NodeTag::T_ReturnSetInfo
                || (*set).allowedModes as u32 & materialize == 0
            {
                return Err(set_not_accepted());
            }
            let mut descriptor = std::ptr::null_mut();
            let memory = pg_sys::MemoryContextSwitchTo((*(*set).econtext).ecxt_per_query_memory);
            pg_sys::get_call_result_type(self.0, std::ptr::null_mut(), &raw mut descriptor);
            let random = pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random;
            let is_random = (*set).allowedModes as u32 & random != 0;
            let store = pg_sys::tuplestore_begin_heap(is_random, false, pg_sys::work_mem);
            pg_sys::MemoryContextSwitchTo(memory);
            if descriptor.is_null() || (*descriptor).natts as usize != COLUMNS {
                return Err(set_not_accepted());
            }
            Ok(Rows {
                set,
                descriptor,
                store,
            })
        }
    }

    /// The trigger's data.
    ///
    /// # Errors
    ///
    /// If the function was not called by the trigger manager.
    pub fn trigger(&self) -> Result<&pg_sys::TriggerData, Report> {
        // SAFETY: with a context of that node tag the context is a TriggerData (CALLED_AS_TRIGGER
        // in src/include/commands/trigger.h), which lives as long as the call.
        unsafe {
            let context = (*self.0).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(not_called_as_trigger());
            }
            Ok(&*context.cast::<pg_sys::TriggerData>())
        }
    }
}

/// Result of a set-returning function, still without rows.
pub struct Rows<const COLUMNS: usize> {
    set: *mut pg_sys::ReturnSetInfo,
    descriptor: pg_sys::TupleDesc,
    store: *mut pg_sys::Tuplestorestate,
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    /// Returns these rows.
    pub fn fill(self, rows: impl IntoIterator<Item = [Option<pg_sys::Datum>; COLUMNS]>) {
        // SAFETY: the three live as long as the call's query, and the descriptor has that many
        // columns.
        unsafe {
            for row in rows {
                let mut nulls = row.map(|value| value.is_none());
                let mut values = row.map(|value| value.unwrap_or(pg_sys::Datum::from(0)));
                pg_sys::tuplestore_putvalues(
                    self.store,
                    self.descriptor,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
            }
            (*self.set).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*self.set).setResult = self.store;
            (*self.set).setDesc = self.descriptor;
        }
    }
}

/// An argument that is longer than the function accepts.
#[derive(Debug)]
pub struct TooLong {
    pub bytes: usize,
}

/// A function that returns rows, called where a single value is expected; in Postgres's words.
fn set_not_accepted() -> Report {
    Report::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        "set-valued function called in context that cannot accept a set",
    )
}

/// A trigger function that was not called as a trigger, or by the wrong kind of trigger; in
/// Postgres's words.
pub fn not_called_as_trigger() -> Report {
    Report::new(
        SqlState::TRIGGER_PROTOCOL_VIOLATED,
        "function was not called by trigger manager",
    )
}

/// The only item of a list.
///
/// # Safety
///
/// `list` must be NULL or a list of pointers to `T`.
unsafe fn only_item<T>(list: *mut pg_sys::List) -> Option<*mut T> {
    // SAFETY: as the caller promises; a list that is not NULL has at least one item.
    unsafe {
        if list.is_null() || (*list).length != 1 {
            return None;
        }
        let item = (*(*list).elements).ptr_value.cast::<T>();
        (!item.is_null()).then_some(item)
    }
}
