//! Evaluates claim functions, and expressions of claims and constants, once per execution instead
//! of once per row.
//!
//! Postgres plans a statement as it is, and so for its actual user: it calls `auth.user_id()` for
//! its estimates, as it calls any stable function. In the finished plan each such expression is
//! replaced by a parameter that an InitPlan gives ([`plan`]), evaluated at its first need. It is
//! never replaced by a constant: plans outlive identities. Before planning, only sub-selects are
//! unwrapped ([`subselect`]).
//!
//! Nothing here is under pgrx's guard, for the reason that [`crate::redaction::hooks`] gives: errors
//! pass through by `longjmp`, and no frame that they pass holds anything to drop. A panic here would end
//! the server.

mod at_need;
mod claims;
mod part;
mod plan;
mod subplans;
mod subselect;
mod walk;

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

use crate::pg::unguarded::hooks;
use crate::settings;

static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;

/// Installs the hook; called once per backend, when the library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these.
    unsafe {
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan_statement);
    }
    claims::register_invalidation_callback();
}

unsafe extern "C-unwind" fn plan_statement(
    query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: passes on what Postgres passed, and changes the plan that the planner returns.
    unsafe {
        let once = settings::evaluate_once();
        let query = if once {
            subselect::unwrap_all(query)
        } else {
            query
        };
        let planner = PREVIOUS_PLANNER.unwrap_or(hooks::standard_planner);
        let statement = planner(query, text, cursor_options, parameters);
        if once {
            plan::evaluate_once(statement);
        }
        statement
    }
}
