//! The parts of a statement's plan, and the InitPlans that are added to each.

use std::ffi::c_int;

use pgrx::pg_sys::{self, NodeTag};

use super::subplans::final_id;
use super::walk::each_node_of;
use crate::pg::unguarded::nodes;
use crate::pg::version;

/// A statement that is being changed.
pub struct Changes {
    pub statement: *mut pg_sys::PlannedStmt,
    /// The plan that is being changed: the statement's, or that of one of its subplans.
    pub tree: *mut pg_sys::Plan,
    /// Whether a call of a claim function that stands alone is left as it is, because the plan
    /// looks at few rows.
    pub keeps_bare_calls: bool,
    /// The greatest `plan_node_id`; -1 until one is needed. The ids only distinguish the nodes of a
    /// plan, also in shared memory. Nothing has a size that depends on them.
    pub last_node_id: c_int,
    /// How many InitPlans were added.
    pub added: c_int,
    /// The plans that must come before the statement's own subplans.
    pub first: *mut pg_sys::List,
    /// Whether new plans go into `first`.
    pub to_first: bool,
}

/// A part of a plan that one executor state runs.
pub struct Part {
    pub changes: *mut Changes,
    /// The top node of the part. The part's InitPlans are attached to it.
    pub top: *mut pg_sys::Plan,
    /// Whether the part's InitPlans are sent to workers.
    pub goes_to_workers: bool,
    /// The parameters that signal a recheck.
    ///
    /// A recheck has an executor state of its own, which the next recheck reuses. The next recheck
    /// copies the statement's parameter values over its own, and the statement may not have
    /// evaluated them yet. So an expression evaluated here is made to depend on the recheck, as
    /// each scan does, and is then evaluated again at need (`EvalPlanQualBegin`, `ExecReScan`).
    pub rechecks: *mut pg_sys::Bitmapset,
    /// The expressions replaced so far, and their parameters.
    pub expressions: *mut pg_sys::List,
    pub parameters: *mut pg_sys::List,
}

/// The parameter that replaces the expression in this part.
///
/// # Safety
///
/// `expression` must be a node.
pub unsafe fn parameter(part: &mut Part, expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: as the caller promises; the lists hold nodes, and the structs are those of their tags.
    unsafe {
        let known = nodes::items::<pg_sys::Node>(part.expressions)
            .zip(nodes::items::<pg_sys::Param>(part.parameters))
            .find(|(known, _)| nodes::equal((*known).cast(), expression.cast()));
        if let Some((_, parameter)) = known {
            return nodes::copyObjectImpl(parameter.cast()).cast();
        }
        let changes = &mut *part.changes;
        let statement = &mut *changes.statement;
        let (typ, typmod) = (nodes::exprType(expression), nodes::exprTypmod(expression));
        let collation = nodes::exprCollation(expression);

        let parameter = nodes::make_node::<pg_sys::Param>(NodeTag::T_Param);
        (*parameter).paramkind = pg_sys::ParamKind::PARAM_EXEC;
        (*parameter).paramid = nodes::length(statement.paramExecTypes);
        (*parameter).paramtype = typ;
        (*parameter).paramtypmod = typmod;
        (*parameter).paramcollid = collation;
        (*parameter).location = -1;
        statement.paramExecTypes = nodes::lappend_oid(statement.paramExecTypes, typ);

        if changes.last_node_id < 0 {
            each_node_of(changes.statement, &mut |node| {
                changes.last_node_id = changes.last_node_id.max((*node).plan_node_id);
            });
        }
        changes.last_node_id = changes.last_node_id.wrapping_add(1);
        let result = nodes::make_node::<pg_sys::Result>(NodeTag::T_Result);
        version::reads_no_relation(result);
        let plan = &mut (*result).plan;
        let target = nodes::makeTargetEntry(
            nodes::copyObjectImpl(expression.cast()).cast(),
            1,
            std::ptr::null_mut(),
            false,
        );
        plan.targetlist = nodes::lappend(std::ptr::null_mut(), target.cast());
        // Cost that Postgres sets for a Result without a source.
        plan.total_cost = 0.01;
        plan.plan_rows = 1.0;
        plan.plan_width = 32;
        plan.parallel_safe = part.goes_to_workers;
        plan.plan_node_id = changes.last_node_id;
        plan.extParam = nodes::bms_copy(part.rechecks);
        plan.allParam = nodes::bms_copy(part.rechecks);

        let number = nodes::length(statement.subplans)
            .wrapping_add(nodes::length(changes.first))
            .wrapping_add(1);
        let sub_plan = nodes::make_node::<pg_sys::SubPlan>(NodeTag::T_SubPlan);
        (*sub_plan).subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
        changes.added = changes.added.wrapping_add(1);
        version::name_init_plan(sub_plan, number, changes.added, (*parameter).paramid);
        (*sub_plan).firstColType = typ;
        (*sub_plan).firstColTypmod = typmod;
        (*sub_plan).firstColCollation = collation;
        (*sub_plan).parallel_safe = part.goes_to_workers;
        (*sub_plan).setParam = nodes::lappend_int(std::ptr::null_mut(), (*parameter).paramid);
        (*sub_plan).per_call_cost = plan.total_cost;
        if changes.to_first {
            changes.first = nodes::lappend(changes.first, result.cast());
            (*sub_plan).plan_id = final_id(nodes::length(changes.first));
        } else {
            statement.subplans = nodes::lappend(statement.subplans, result.cast());
            (*sub_plan).plan_id = number;
        }
        (*part.top).initPlan = nodes::lappend((*part.top).initPlan, sub_plan.cast());
        part.expressions = nodes::lappend(part.expressions, expression.cast());
        part.parameters = nodes::lappend(part.parameters, parameter.cast());
        parameter.cast()
    }
}
