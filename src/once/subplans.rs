//! Order of a statement's subplans. The executor initialises them in the order of their list, so a
//! plan that one of them uses must come before it, and the others then get other numbers.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys::{self, NodeTag};

use super::walk::{each_expression, each_node_of};
use crate::pg::unguarded::nodes;
use crate::pg::version;

/// Whether the executor may run a part of the plan again to recheck a row. Its subplans then are
/// shared by all executor states, and have none of the parameters that signal a recheck.
///
/// # Safety
///
/// `statement` must be a finished plan.
pub unsafe fn is_rechecked(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: as the caller promises; the struct is that of its tag.
    unsafe {
        let mut found = !(*statement).rowMarks.is_null();
        each_node_of(statement, &mut |node| {
            found |= (*node).type_ == NodeTag::T_ModifyTable
                && (*node.cast::<pg_sys::ModifyTable>()).operation != pg_sys::CmdType::CMD_INSERT;
        });
        found
    }
}

/// The number of a plan that will come first, distinct from the numbers that change because of it.
pub fn final_id(id: c_int) -> c_int {
    id.wrapping_neg()
}

/// Whether all places are known in which the number of a subplan may occur.
///
/// # Safety
///
/// `statement` must be a finished plan.
pub unsafe fn may_renumber(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: as the caller promises; the structs are those of their tags.
    unsafe {
        let mut known = true;
        each_node_of(statement, &mut |node| {
            known &= each_expression(node, &mut |_, _| {});
            known &= !prunes_by_subplan(version::prune_info_of_node(node));
        });
        for info in version::prune_infos_of_statement(statement) {
            known &= !prunes_by_subplan(info);
        }
        known
    }
}

/// Whether a subplan decides which partitions are pruned.
///
/// # Safety
///
/// `info` must be NULL or a finished plan's.
unsafe fn prunes_by_subplan(info: *mut pg_sys::PartitionPruneInfo) -> bool {
    // SAFETY: as the caller promises; the lists hold such nodes.
    unsafe {
        !info.is_null()
            && nodes::items::<pg_sys::List>((*info).prune_infos).any(|partitioned| {
                nodes::items::<pg_sys::PartitionedRelPruneInfo>(partitioned).any(|relation| {
                    let nothing = std::ptr::null_mut();
                    has_sub_plan((*relation).initial_pruning_steps.cast(), nothing)
                        || has_sub_plan((*relation).exec_pruning_steps.cast(), nothing)
                })
            })
    }
}

/// Whether the expression uses a subplan.
unsafe extern "C-unwind" fn has_sub_plan(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        !node.is_null()
            && ((*node).type_ == NodeTag::T_SubPlan
                || nodes::expression_tree_walker(node, has_sub_plan, context))
    }
}

/// Puts plans before the statement's own subplans, and renumbers the latter.
///
/// # Safety
///
/// `statement` must be one for which [`may_renumber`] is true, and `first` a list of plans.
pub unsafe fn put_first(statement: *mut pg_sys::PlannedStmt, first: *mut pg_sys::List) {
    // SAFETY: as the caller promises; the structs are those of their tags. The shift outlives the
    // mutators.
    unsafe {
        let mut shift = nodes::length(first);
        each_node_of(statement, &mut |node| {
            let context = (&raw mut shift).cast();
            each_expression(node, &mut |field, _| {
                if has_sub_plan(*field, std::ptr::null_mut()) {
                    *field = renumber(*field, context);
                }
            });
            let mut init_plans = std::ptr::null_mut();
            for sub_plan in nodes::items::<pg_sys::Node>((*node).initPlan) {
                init_plans = nodes::lappend(init_plans, renumber(sub_plan, context).cast());
            }
            (*node).initPlan = init_plans;
            if (*node).type_ == NodeTag::T_CteScan {
                let scan = node.cast::<pg_sys::CteScan>();
                (*scan).ctePlanId = (*scan).ctePlanId.wrapping_add(shift);
            }
        });
        let (mut rewind, mut id) = (std::ptr::null_mut(), -1);
        loop {
            id = nodes::bms_next_member((*statement).rewindPlanIDs, id);
            if id < 0 {
                break;
            }
            rewind = nodes::bms_add_member(rewind, id.wrapping_add(shift));
        }
        (*statement).rewindPlanIDs = rewind;
        (*statement).subplans = nodes::list_concat(first, (*statement).subplans);
    }
}

/// The expression with the numbers of its subplans increased by the number in the context.
unsafe extern "C-unwind" fn renumber(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: Postgres's mutators pass nodes of their trees, or NULL, and the context that they were
    // given, which is a number on the stack of a caller below. They copy a SubPlan.
    unsafe {
        if node.is_null() {
            return node;
        }
        let copy = nodes::expression_tree_mutator(node, renumber, context);
        if (*copy).type_ == NodeTag::T_SubPlan {
            let id = &mut (*copy.cast::<pg_sys::SubPlan>()).plan_id;
            *id = if *id < 0 {
                id.wrapping_neg()
            } else {
                id.wrapping_add(*context.cast::<c_int>())
            };
        }
        copy
    }
}
