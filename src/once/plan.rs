//! Replaces expressions of claims by parameters that InitPlans give, after planning.
//!
//! A parameter is evaluated when an expression first asks for its value (`ExecEvalParamExec`), so
//! an expression that the statement never reaches is not evaluated, and raises nothing. The changes
//! here keep each expression at its place; they only change how often it is evaluated.
//!
//! An InitPlan hangs on the top node of the part of the plan that uses it, where a part is what one
//! executor state runs ([`Part`]): workers evaluate their own, and so does each recheck of a row that
//! another transaction changed (EvalPlanQual).
//!
//! Nodes of an unknown kind are left alone: a call that stays is correct, and only slower.

use std::ffi::c_void;

use pgrx::pg_sys::{self, NodeTag};

use super::at_need::evaluate_at_need;
use super::claims::{calls_claim_function, is_claim_call, is_made_of_claims};
use super::part::{Changes, Part, parameter};
use super::subplans::{is_rechecked, may_renumber, put_first};
use super::walk::{Child, Evaluated, each_child, each_expression, each_node};
use crate::pg::unguarded::{self, nodes};

/// Up to this total cost of a plan, in the planner's units, an InitPlan that replaces a mere call
/// costs more than it saves. Measured: an InitPlan takes about 2 µs, and a call about 10 ns more
/// than a parameter. A row costs at least 0.0125 (`cpu_tuple_cost` and a comparison), and a row
/// found by an index 8 with its pages.
const FEW_ROWS: f64 = 10.0;

/// Makes the executor evaluate the statement's expressions of claims once.
///
/// # Safety
///
/// `statement` must come from the planner, and nothing else may have seen it yet.
pub unsafe fn evaluate_once(statement: *mut pg_sys::PlannedStmt) {
    // SAFETY: as the caller promises.
    unsafe {
        if (*statement).planTree.is_null() {
            return;
        }
        let mut changes = Changes {
            statement,
            tree: (*statement).planTree,
            keeps_bare_calls: (*(*statement).planTree).total_cost <= FEW_ROWS,
            last_node_id: -1,
            added: 0,
            first: std::ptr::null_mut(),
            to_first: false,
        };
        let own = nodes::items::<pg_sys::Plan>((*statement).subplans);
        change_part(
            &mut changes,
            (*statement).planTree,
            false,
            std::ptr::null_mut(),
            false,
        );

        // The executor initialises the subplans in the order of their list. So a plan that one of
        // them uses must come before it, and then all have other numbers.
        let (mut in_subplans, mut checked) = (false, false);
        for subplan in own {
            if !in_subplans {
                each_node(subplan, &mut |node| {
                    in_subplans |= node_calls_claim_function(node)
                });
                if !in_subplans {
                    continue;
                }
            }
            if !checked {
                if is_rechecked(statement) || !may_renumber(statement) {
                    return;
                }
                changes.to_first = true;
                checked = true;
            }
            if !subplan.is_null() {
                // A subplan that depends on a row is run for each row.
                let repeated = !(*subplan).extParam.is_null();
                let safe = (*subplan).parallel_safe;
                changes.keeps_bare_calls = !repeated && (*subplan).total_cost <= FEW_ROWS;
                changes.tree = subplan;
                change_part(&mut changes, subplan, repeated, std::ptr::null_mut(), safe);
            }
        }
        if !changes.first.is_null() {
            put_first(statement, changes.first);
        }
    }
}

/// # Safety
///
/// `node` must be a node of a finished plan.
unsafe fn node_calls_claim_function(node: *mut pg_sys::Plan) -> bool {
    // SAFETY: as the caller promises; the fields hold expressions or lists of these.
    unsafe {
        let mut found = false;
        each_expression(node, &mut |field, evaluated| {
            found |= evaluated != Evaluated::Otherwise
                && calls_claim_function(*field, std::ptr::null_mut());
        });
        found
    }
}

/// Changes the part of a plan that begins with a node, and the parts within it.
///
/// # Safety
///
/// `top` must be a node of the statement that is being changed.
unsafe fn change_part(
    changes: &mut Changes,
    top: *mut pg_sys::Plan,
    repeated: bool,
    rechecks: *mut pg_sys::Bitmapset,
    goes_to_workers: bool,
) {
    let mut part = Part {
        changes,
        top,
        goes_to_workers,
        rechecks,
        expressions: std::ptr::null_mut(),
        parameters: std::ptr::null_mut(),
    };
    // SAFETY: as the caller promises.
    unsafe { change_node(&mut part, top, repeated) }
}

/// # Safety
///
/// `plan` must be a node of the part.
unsafe fn change_node(part: &mut Part, plan: *mut pg_sys::Plan, repeated: bool) {
    // SAFETY: as the caller promises. The part outlives the mutators, and nothing else has a reference
    // to it while they run.
    unsafe {
        unguarded::check_stack_depth();
        each_expression(plan, &mut |field, evaluated| {
            let often = match evaluated {
                Evaluated::PerRow => true,
                Evaluated::PerScan => repeated,
                Evaluated::Otherwise => false,
            };
            if often && calls_claim_function(*field, std::ptr::null_mut()) {
                *field = replace(*field, (&raw mut *part).cast());
            }
        });
        each_child(plan, &mut |child, is| match is {
            Child::Source => change_node(part, child, repeated),
            Child::Repeated => change_node(part, child, true),
            Child::InWorkers => {
                let above = if (*plan).type_ == NodeTag::T_Gather {
                    &raw mut (*plan.cast::<pg_sys::Gather>()).initParam
                } else {
                    &raw mut (*plan.cast::<pg_sys::GatherMerge>()).initParam
                };
                evaluate_at_need(&*part.changes, above, child, is);
                change_part(&mut *part.changes, child, repeated, part.rechecks, true);
            }
            Child::Rechecked(parameter) => {
                evaluate_at_need(&*part.changes, &raw mut (*child).extParam, child, is);
                let rechecks = nodes::bms_add_member(nodes::bms_copy(part.rechecks), parameter);
                change_part(
                    &mut *part.changes,
                    child,
                    repeated,
                    rechecks,
                    part.goes_to_workers,
                );
            }
            Child::Unknown => {}
        });
    }
}

/// The expression, in which each largest subexpression made of claims, constants and functions of
/// these is replaced by a parameter.
unsafe extern "C-unwind" fn replace(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: Postgres's mutators pass nodes of their trees, or NULL, and the context that they were
    // given, which is a part on the stack of a caller below.
    unsafe {
        if node.is_null() {
            node
        } else if (*node).type_ == NodeTag::T_GroupingFunc {
            // Postgres never evaluates the arguments of GROUPING.
            nodes::copyObjectImpl(node.cast()).cast()
        } else if (*(*context.cast::<Part>()).changes).keeps_bare_calls && is_claim_call(node) {
            nodes::copyObjectImpl(node.cast()).cast()
        } else if is_made_of_claims(node) {
            parameter(&mut *context.cast::<Part>(), node)
        } else {
            nodes::expression_tree_mutator(node, replace, context)
        }
    }
}
