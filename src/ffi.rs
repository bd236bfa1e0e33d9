//! How a SQL function of ours is called by Postgres.

use pgrx::{pg_sys, varlena};

use crate::errors;
use crate::report::Report;
use crate::row;
use crate::text;

/// What a SQL function gives: a value, NULL, or an error to raise.
pub type SqlResult = Result<Option<pg_sys::Datum>, Report>;

/// Declares a SQL function in C's version-1 calling convention, named `$name` in the library, whose
/// body maps the call's [`Arguments`] to a [`SqlResult`].
///
/// pgrx's own `#[pg_extern]` is not used for these because it cannot raise our SQLSTATEs (see
/// [`crate::report`]) and returns values by building them anew at each call.
macro_rules! sql_function {
    ($(#[$meta:meta])* $name:ident, $finfo:ident, |$args:pat_param| $body:expr) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $finfo() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
            const V1: ::pgrx::pg_sys::Pg_finfo_record =
                ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }

        $(#[$meta])*
        ///
        /// # Safety
        ///
        /// To be called by Postgres's function manager only.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(
            fcinfo: ::pgrx::pg_sys::FunctionCallInfo,
        ) -> ::pgrx::pg_sys::Datum {
            // Outside of the unsafe block, so that the body is checked as safe code.
            fn body($args: $crate::ffi::Arguments) -> $crate::ffi::SqlResult {
                $body
            }
            // SAFETY: Postgres passes a valid call info.
            unsafe { $crate::ffi::call(fcinfo, body) }
        }
    };
}
pub(crate) use sql_function;

/// Runs a SQL function's body, turning a panic or a Postgres error inside it into a Postgres error,
/// and a [`Report`] into one raised from here, where nothing is left to drop.
///
/// # Safety
///
/// `fcinfo` must be the call info that Postgres passed.
#[inline]
pub unsafe fn call(
    fcinfo: pg_sys::FunctionCallInfo,
    body: impl FnOnce(Arguments) -> SqlResult,
) -> pg_sys::Datum {
    // SAFETY: as the caller promises; the guard is what #[pg_guard] expands to.
    unsafe {
        match pg_sys::submodules::panic::pgrx_extern_c_guard(|| body(Arguments(fcinfo))) {
            Ok(Some(datum)) => datum,
            Ok(None) => {
                (*fcinfo).isnull = true;
                pg_sys::Datum::from(0)
            }
            Err(report) => report.raise(),
        }
    }
}

/// The arguments of one call. Their SQL types are the function's declared ones, which the install
/// script fixes.
pub struct Arguments(pg_sys::FunctionCallInfo);

impl Arguments {
    /// The memory context that the caller keeps its look-up of this function in (`fn_mcxt`): for a
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

    /// The `n`th argument (from 0), a `text` that is a token, as the bytes that it has in the server's
    /// encoding; `None` where it is NULL. Where it is neither compressed nor stored elsewhere, which
    /// a parameter never is, they are those of the argument itself.
    ///
    /// # Errors
    ///
    /// Where it is longer than any token. Nothing of it is copied then.
    pub fn token(&self, n: usize) -> Result<Option<&[u8]>, Report> {
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
            if bytes > jwt_verify::limits::MAX_TOKEN_BYTES {
                return Err(errors::report(&jwt_verify::Error::TokenTooLong { bytes }));
            }
            if !is_inline {
                text = pg_sys::pg_detoast_datum_packed(text);
            }
            Ok(Some(varlena::varlena_to_byte_slice(text)))
        }
    }

    /// The `n`th argument (from 0), a `text`; `None` where it is NULL.
    ///
    /// # Errors
    ///
    /// Where it is no UTF-8, and cannot become it.
    pub fn text(&self, n: usize) -> Result<Option<String>, Report> {
        // SAFETY: as above; a text is read as its bytes.
        let bytes = unsafe { pgrx::fcinfo::pg_getarg::<Vec<u8>>(self.0, n) };
        bytes
            .map(|bytes| text::from_server(bytes).ok_or_else(errors::not_utf8))
            .transpose()
    }

    /// The `n`th argument (from 0), a `boolean`; `None` where it is NULL.
    pub fn boolean(&self, n: usize) -> Option<bool> {
        // SAFETY: as above.
        unsafe { pgrx::fcinfo::pg_getarg(self.0, n) }
    }

    /// The `n`th argument (from 0), a `jsonb`, as text; `None` where it is NULL.
    ///
    /// # Errors
    ///
    /// As for [`text`](Self::text).
    pub fn json(&self, n: usize) -> Result<Option<String>, Report> {
        // SAFETY: as above; the caller names an argument that is declared jsonb.
        let json = self.datum(n).map(|datum| unsafe { row::json_text(datum) });
        json.transpose().map_err(|row::NotUtf8| errors::not_utf8())
    }

    /// The `n`th argument (from 0); `None` where it is NULL.
    pub fn datum(&self, n: usize) -> Option<pg_sys::Datum> {
        // SAFETY: as above.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.0, n) }
    }

    /// What Postgres tells a trigger.
    ///
    /// # Errors
    ///
    /// Where the function was not called by the trigger manager.
    pub fn trigger(&self) -> Result<&pg_sys::TriggerData, Report> {
        // SAFETY: with a context of that node tag the context is a TriggerData (CALLED_AS_TRIGGER
        // in src/include/commands/trigger.h), which lives as long as the call.
        unsafe {
            let context = (*self.0).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return Err(errors::not_called_as_trigger());
            }
            Ok(&*context.cast::<pg_sys::TriggerData>())
        }
    }
}
