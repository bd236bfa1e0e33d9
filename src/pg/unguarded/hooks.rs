//! Hooks whose arguments differ between versions of Postgres, and the functions that Postgres
//! itself calls if no hook is installed. Each raises the errors of the statement.
//!
//! A hook is a type with the trait of that hook: `hooks::planner::<Hook>` is what is installed. It
//! gets the call as one value, and passes it on to the hook that was there before.

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        cursor_options: c_int,
        parameters: pg_sys::ParamListInfo,
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        explain: *mut pg_sys::ExplainState,
    ) -> *mut pg_sys::PlannedStmt;
    pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))] execute_once: bool,
    );
    pub fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
    /// Calls the hook that is installed, else [`standard_ProcessUtility`].
    pub fn ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
    pub fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// A call of the planner.
#[derive(Clone, Copy)]
pub struct Planning {
    pub query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
    /// Options of EXPLAIN; NULL if the plan is for another statement.
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
    explain: *mut pg_sys::ExplainState,
}

impl Planning {
    /// Plans by the previous hook, or as Postgres does without one.
    ///
    /// # Safety
    ///
    /// The query must be one that the planner accepts; the rest is as Postgres passed it. An error
    /// leaves by `longjmp`.
    pub unsafe fn go_on(self, previous: pg_sys::planner_hook_type) -> *mut pg_sys::PlannedStmt {
        // SAFETY: as the caller promises.
        unsafe {
            previous.unwrap_or(standard_planner)(
                self.query,
                self.text,
                self.cursor_options,
                self.parameters,
                #[cfg(not(any(
                    feature = "pg15",
                    feature = "pg16",
                    feature = "pg17",
                    feature = "pg18"
                )))]
                self.explain,
            )
        }
    }
}

/// A hook around the planner.
pub trait Planner {
    /// # Safety
    ///
    /// Only for a call that Postgres made. Errors pass by `longjmp`, and nothing may panic.
    unsafe fn plan(call: Planning) -> *mut pg_sys::PlannedStmt;
}

/// The function to be installed as `planner_hook`.
///
/// # Safety
///
/// Only Postgres may call it.
pub unsafe extern "C-unwind" fn planner<H: Planner>(
    query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
    explain: *mut pg_sys::ExplainState,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: passes on what Postgres passed.
    unsafe {
        H::plan(Planning {
            query,
            text,
            cursor_options,
            parameters,
            #[cfg(not(any(
                feature = "pg15",
                feature = "pg16",
                feature = "pg17",
                feature = "pg18"
            )))]
            explain,
        })
    }
}

/// A call of the executor, to run a query that it has started.
#[derive(Clone, Copy)]
pub struct Running {
    pub query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    execute_once: bool,
}

impl Running {
    /// The same call, for which the executor starts no workers: it starts none for a query that it has
    /// run before (ExecutePlan in src/backend/executor/execMain.c). Up to Postgres 17, before the minor
    /// releases of February 2025, it decided that by `execute_once`.
    ///
    /// # Safety
    ///
    /// The query must be the one of the call.
    pub unsafe fn without_workers(self) -> Self {
        // SAFETY: as the caller promises.
        unsafe { (*self.query).already_executed = true };
        Self {
            #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
            execute_once: false,
            ..self
        }
    }

    /// Runs the query by the previous hook, or as Postgres does without one.
    ///
    /// # Safety
    ///
    /// The call must be as Postgres made it. An error leaves by `longjmp`.
    pub unsafe fn go_on(self, previous: pg_sys::ExecutorRun_hook_type) {
        // SAFETY: as the caller promises.
        unsafe {
            previous.unwrap_or(standard_ExecutorRun)(
                self.query,
                self.direction,
                self.count,
                #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
                self.execute_once,
            );
        }
    }
}

/// A hook around the running of a query.
pub trait Runner {
    /// # Safety
    ///
    /// Only for a call that Postgres made. Errors pass by `longjmp`, and nothing may panic.
    unsafe fn run(call: Running);
}

/// The function to be installed as `ExecutorRun_hook`.
///
/// # Safety
///
/// Only Postgres may call it.
pub unsafe extern "C-unwind" fn executor_run<H: Runner>(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))] execute_once: bool,
) {
    // SAFETY: passes on what Postgres passed.
    unsafe {
        H::run(Running {
            query,
            direction,
            count,
            #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
            execute_once,
        });
    }
}

/// Argument of `post_parse_analyze_hook` beside the statement, which is only passed on.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
pub type Jumble = *mut pg_sys::JumbleState;
#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
pub type Jumble = *const pg_sys::JumbleState;
