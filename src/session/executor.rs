//! Hooks that put the frames of [`execution`] on the stack while the executor and the planner work,
//! and that end an execution whose user has changed.
//!
//! The hooks run without pgrx's guard: errors pass through them by `longjmp`, so they hold nothing
//! that needs a drop, and they call nothing that can panic.

use std::ffi::c_int;

use pgrx::pg_sys;

use crate::pg::guard;
use crate::pg::unguarded::hooks::{self, Planning, Running};
use crate::session;
use crate::session::execution::{self, Frame};
use crate::session::guarded;
use crate::session::signed_out;

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
        pg_sys::ExecutorRun_hook = Some(hooks::executor_run::<Hook>);
        PREVIOUS_FINISH = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(executor_finish);
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(hooks::planner::<Hook>);
    }
    execution::adopt();
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: passes on what Postgres passed, and holds nothing that needs a drop.
    unsafe {
        let start = PREVIOUS_START.unwrap_or(hooks::standard_ExecutorStart);
        let is_definers = guarded::begins_for_definer();
        signed_out::query_starts();
        let frame = Frame::of_start(query, is_definers);
        frame.around(|| start(query, flags));
        if is_definers {
            guarded::mark_definers(query);
        }
    }
}

/// The hooks whose arguments differ between versions.
struct Hook;

impl hooks::Runner for Hook {
    unsafe fn run(mut call: Running) {
        // SAFETY: as above. What is called under the guard raises past this frame.
        unsafe {
            let query = call.query;
            if (*(*query).plannedstmt).parallelModeNeeded && execution::is_enclosed() {
                call = call.without_workers();
            }
            Frame::of_run(query).around(|| {
                // A cursor that has an owner goes on. The check also runs if it moves nowhere:
                // before MOVE ABSOLUTE 0 Postgres rewinds it, and evaluates keys of indexes again,
                // for which it has no hook.
                if execution::has_owner(query) {
                    signed_out::query_goes_on();
                    guard::run(session::confirm_execution);
                }
                call.go_on(PREVIOUS_RUN);
                if execution::is_spoilt(query) {
                    guard::run(execution::refuse_end);
                }
            });
        }
    }
}

impl hooks::Planner for Hook {
    unsafe fn plan(call: Planning) -> *mut pg_sys::PlannedStmt {
        // SAFETY: as above.
        unsafe { Frame::of(std::ptr::null_mut()).around(|| call.go_on(PREVIOUS_PLANNER)) }
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
