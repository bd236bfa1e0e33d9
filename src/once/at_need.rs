//! Makes the planner's own InitPlans that are expressions of claims, such as a `(SELECT
//! auth.uid())` that stays, evaluated at their first need and not before.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;

use super::claims::is_made_of_claims;
use super::part::Changes;
use super::walk::{Child, each_node, gives_one_row};
use crate::pg::unguarded::nodes;

/// Before workers start, and before a row is rechecked, Postgres evaluates all InitPlans above that
/// may be used there, even those that are never reached. InitPlans that are only expressions of
/// claims may raise an error, so they are attached to the child as well, and wait for their first
/// need.
///
/// `above` is the set of parameters that are evaluated earlier.
///
/// # Safety
///
/// `child` must be a node of the tree that is being changed, and the first node of such a part.
pub unsafe fn evaluate_at_need(
    changes: &Changes,
    above: *mut *mut pg_sys::Bitmapset,
    child: *mut pg_sys::Plan,
    is: Child,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let (mut stay, mut parameter) = (std::ptr::null_mut(), -1);
        loop {
            parameter = nodes::bms_next_member(*above, parameter);
            if parameter < 0 {
                break;
            }
            let init_plan = init_plan_of_claims(changes, parameter, is);
            if init_plan.is_null() {
                stay = nodes::bms_add_member(stay, parameter);
            } else {
                let copy = nodes::copyObjectImpl(init_plan.cast());
                (*child).initPlan = nodes::lappend((*child).initPlan, copy);
            }
        }
        *above = stay;
    }
}

/// The InitPlan that gives the parameter, in the tree that is being changed, prepared for such a
/// child. NULL if it is more than an expression of claims, or cannot be prepared.
///
/// # Safety
///
/// The tree must be one of a finished plan.
unsafe fn init_plan_of_claims(
    changes: &Changes,
    parameter: c_int,
    is: Child,
) -> *mut pg_sys::SubPlan {
    // SAFETY: as the caller promises; the lists hold such nodes, and the structs are those of their
    // tags.
    unsafe {
        let mut found: *mut pg_sys::SubPlan = std::ptr::null_mut();
        each_node(changes.tree, &mut |node| {
            for init_plan in nodes::items::<pg_sys::SubPlan>((*node).initPlan) {
                let gives = (*init_plan).setParam;
                if (*init_plan).subLinkType == pg_sys::SubLinkType::EXPR_SUBLINK
                    && nodes::length(gives) == 1
                    && (*(*gives).elements).int_value == parameter
                {
                    found = init_plan;
                }
            }
        });
        if found.is_null() {
            return found;
        }
        let index = usize::try_from((*found).plan_id.wrapping_sub(1)).unwrap_or(usize::MAX);
        let subplans = nodes::items::<pg_sys::Plan>((*changes.statement).subplans);
        let Some(plan) = { subplans }.nth(index) else {
            return std::ptr::null_mut();
        };
        let is_of_claims = gives_one_row(plan)
            && (*plan).initPlan.is_null()
            && (*plan).qual.is_null()
            && (*plan.cast::<pg_sys::Result>()).resconstantqual.is_null()
            && nodes::length((*plan).targetlist) == 1
            && nodes::items::<pg_sys::TargetEntry>((*plan).targetlist).all(|target| {
                let expression = (*target).expr.cast();
                is_made_of_claims(expression)
                    && (is != Child::InWorkers || !is_unsafe(expression, std::ptr::null_mut()))
            });
        if !is_of_claims {
            return std::ptr::null_mut();
        }
        match is {
            // For a query without FROM the planner does not record whether workers may run it.
            Child::InWorkers => (*plan).parallel_safe = true,
            // See `Part::rechecks`.
            Child::Rechecked(recheck) => {
                for set in [&raw mut (*plan).extParam, &raw mut (*plan).allParam] {
                    *set = nodes::bms_add_member(nodes::bms_copy(*set), recheck);
                }
            }
            _ => {}
        }
        found
    }
}

/// Whether the expression calls a function that workers may not call.
unsafe extern "C-unwind" fn is_unsafe(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    /// `PROPARALLEL_SAFE` (src/include/catalog/pg_proc.h).
    const SAFE: c_char = b's'.cast_signed();

    unsafe extern "C-unwind" fn function_is_unsafe(function: pg_sys::Oid, _: *mut c_void) -> bool {
        // SAFETY: the function stands in a plan, so it is in the catalog.
        unsafe { nodes::func_parallel(function) != SAFE }
    }
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        !node.is_null()
            && (nodes::check_functions_in_node(node, function_is_unsafe, context)
                || nodes::expression_tree_walker(node, is_unsafe, context))
    }
}
