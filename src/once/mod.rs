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

use pgrx::pg_sys;

use crate::pg::unguarded::hooks::{self, Planning};
use crate::settings;

static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;

/// Installs the hook; called once per backend, when the library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these.
    unsafe {
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(hooks::planner::<Once>);
    }
    claims::register_invalidation_callback();
}

/// The hook.
struct Once;

impl hooks::Planner for Once {
    unsafe fn plan(mut call: Planning) -> *mut pg_sys::PlannedStmt {
        // SAFETY: passes on what Postgres passed, and changes the plan that the planner returns.
        unsafe {
            let once = settings::evaluate_once();
            if once {
                call.query = subselect::unwrap_all(call.query);
            }
            let statement = call.go_on(PREVIOUS_PLANNER);
            if once {
                plan::evaluate_once(statement);
            }
            statement
        }
    }
}
