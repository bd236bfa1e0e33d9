//! The hooks that put the frames of [`execution`] on the stack while the executor and the planner
//! work, and that end an execution which has become another user's.
//!
//! The hooks run without pgrx's guard: errors pass through them by `longjmp`, so they hold nothing
//! that needs a drop, and they call nothing that can panic.

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

use crate::pg::guard;
use crate::pg::unguarded::hooks;
use crate::session;
use crate::session::execution::{self, Frame};
use crate::session::guarded;

static mut PREVIOUS_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREVIOUS_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut PREVIOUS_FINISH: pg_sys::ExecutorFinish_hook_type = None;
static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;

/// Installs the hooks, and adopts the executions that are running; called once per backend, when the
/// library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these.
    unsafe {
        PREVIOUS_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(executor_start);
        PREVIOUS_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(executor_run);
        PREVIOUS_FINISH = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(executor_finish);
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
    }
    execution::adopt();
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: passes on what Postgres passed, and holds nothing that needs a drop.
    unsafe {
        let start = PREVIOUS_START.unwrap_or(hooks::standard_ExecutorStart);
        let is_definers = guarded::begins_for_definer();
        let frame = Frame::of_start(query, is_definers);
        frame.around(|| start(query, flags));
        if is_definers {
            guarded::mark_definers(query);
        }
    }
}

unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] execute_once: bool,
) {
    // SAFETY: as above. The executor starts no workers for a query that it has run before
    // (ExecutePlan in src/backend/executor/execMain.c); before the minor releases of February 2025
    // it decided that by `execute_once`. What is called under the guard raises past this frame.
    unsafe {
        let is_alone = (*(*query).plannedstmt).parallelModeNeeded && execution::is_enclosed();
        if is_alone {
            (*query).already_executed = true;
        }
        #[cfg(not(feature = "pg18"))]
        let execute_once = execute_once && !is_alone;
        let run = PREVIOUS_RUN.unwrap_or(hooks::standard_ExecutorRun);
        Frame::of_run(query).around(|| {
            // A cursor that has an owner goes on. Also where it moves nowhere: before MOVE ABSOLUTE 0
            // Postgres rewinds it, and evaluates keys of indexes again, for which it has no hook.
            if execution::has_owner(query) {
                guard::run(session::confirm_execution);
            }
            run(
                query,
                direction,
                count,
                #[cfg(not(feature = "pg18"))]
                execute_once,
            );
            if execution::is_spoilt(query) {
                guard::run(execution::refuse_end);
            }
        });
    }
}

/// Runs the remaining part of data-modifying CTEs, and AFTER triggers.
unsafe extern "C-unwind" fn executor_finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as above.
    unsafe {
        let finish = PREVIOUS_FINISH.unwrap_or(hooks::standard_ExecutorFinish);
        Frame::of(query).around(|| {
            finish(query);
            if execution::is_spoilt(query) {
                guard::run(execution::refuse_end);
            }
        });
    }
}

unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: as above.
    unsafe {
        let plan = PREVIOUS_PLANNER.unwrap_or(hooks::standard_planner);
        Frame::of(std::ptr::null_mut()).around(|| plan(query, text, cursor_options, parameters))
    }
}
