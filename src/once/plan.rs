//! After planning: expressions of claims become parameters, each of which an InitPlan gives.
//!
//! A parameter is evaluated when an expression first asks for its value (`ExecEvalParamExec`), so an
//! expression that the statement never reaches is not evaluated, and raises nothing. In what is changed
//! here an expression stays at its place; only how often it is evaluated is another matter.
//!
//! An InitPlan hangs on the top node of the part of the plan that uses it, where a part is what one
//! executor state runs ([`Part`]): workers evaluate their own, and so does each recheck of a row that
//! another transaction changed (EvalPlanQual).
//!
//! What is not known is left alone: a call that stays is right, and only slower.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys::{self, NodeTag};

use super::claims::{calls_claim_function, depends_on_more, is_claim_call, is_plain};
use crate::pg::unguarded::{self, nodes};

/// How often the executor evaluates an expression of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evaluated {
    /// For each row that the node looks at.
    PerRow,
    /// Once each time that the node begins to give its rows.
    PerScan,
    /// In a way that only the node knows, or never: such expressions stay as they are.
    Otherwise,
}

/// What a node's child is to the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Child {
    /// A source of rows, which are read once or kept.
    Source,
    /// One that begins again for each row of its sibling, or of the last round.
    Repeated,
    /// What workers run, and perhaps the leader with them.
    InWorkers,
    /// What is run again to recheck a row that another transaction has changed; the parameter that tells
    /// the nodes below of this.
    Rechecked(c_int),
    /// One of a node whose way of running it is not known here.
    Unknown,
}

/// Visits the expressions of a node: fields that hold an expression or a list of expressions. Returns
/// whether these are all that the node has.
///
/// # Safety
///
/// `plan` must be a node of a finished plan.
unsafe fn each_expression(
    plan: *mut pg_sys::Plan,
    visit: &mut dyn FnMut(*mut *mut pg_sys::Node, Evaluated),
) -> bool {
    use Evaluated::{Otherwise, PerRow, PerScan};

    macro_rules! visit {
        ($type:ident: $($field:ident $how:expr),+) => {{
            let node = plan.cast::<pg_sys::$type>();
            $(visit((&raw mut (*node).$field).cast(), $how);)+
        }};
    }
    // SAFETY: as the caller promises; each struct is that of its tag (src/include/nodes/plannodes.h).
    unsafe {
        let tag = (*plan).type_;
        let own = match tag {
            NodeTag::T_Result if (*plan).lefttree.is_null() => PerScan,
            NodeTag::T_ModifyTable if gives_one_row((*plan).lefttree) => PerScan,
            // They hand on rows as they are, and their target lists are for EXPLAIN.
            NodeTag::T_Append
            | NodeTag::T_MergeAppend
            | NodeTag::T_RecursiveUnion
            | NodeTag::T_BitmapAnd
            | NodeTag::T_BitmapOr
            | NodeTag::T_BitmapIndexScan
            | NodeTag::T_Material
            | NodeTag::T_Memoize
            | NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_Hash
            | NodeTag::T_Unique
            | NodeTag::T_SetOp
            | NodeTag::T_LockRows
            | NodeTag::T_Limit => Otherwise,
            _ => PerRow,
        };
        match tag {
            NodeTag::T_ForeignScan | NodeTag::T_CustomScan => return false,
            NodeTag::T_Result => visit!(Result: resconstantqual PerScan),
            NodeTag::T_ModifyTable => {
                visit!(ModifyTable: withCheckOptionLists own, returningLists own,
                       onConflictSet own, onConflictWhere own);
                #[cfg(not(feature = "pg14"))]
                visit!(ModifyTable: mergeActionLists own);
                #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
                visit!(ModifyTable: mergeJoinConditions own);
            }
            NodeTag::T_SampleScan => visit!(SampleScan: tablesample Otherwise),
            NodeTag::T_IndexScan => visit!(IndexScan: indexqual PerScan, indexqualorig PerScan,
                                           indexorderby Otherwise, indexorderbyorig Otherwise),
            NodeTag::T_IndexOnlyScan => {
                visit!(IndexOnlyScan: indexqual PerScan, recheckqual PerScan,
                                               indexorderby Otherwise)
            }
            NodeTag::T_BitmapIndexScan => {
                visit!(BitmapIndexScan: indexqual PerScan, indexqualorig PerScan);
            }
            NodeTag::T_BitmapHeapScan => visit!(BitmapHeapScan: bitmapqualorig PerScan),
            NodeTag::T_TidScan => visit!(TidScan: tidquals Otherwise),
            NodeTag::T_TidRangeScan => visit!(TidRangeScan: tidrangequals Otherwise),
            NodeTag::T_FunctionScan => visit!(FunctionScan: functions Otherwise),
            NodeTag::T_ValuesScan => visit!(ValuesScan: values_lists Otherwise),
            NodeTag::T_TableFuncScan => visit!(TableFuncScan: tablefunc Otherwise),
            NodeTag::T_NestLoop => visit!(Join: joinqual PerRow),
            NodeTag::T_MergeJoin => {
                visit!(Join: joinqual PerRow);
                visit!(MergeJoin: mergeclauses PerRow);
            }
            NodeTag::T_HashJoin => {
                visit!(Join: joinqual PerRow);
                visit!(HashJoin: hashclauses PerRow, hashkeys PerRow);
            }
            NodeTag::T_Hash => visit!(Hash: hashkeys PerRow),
            NodeTag::T_Memoize => visit!(Memoize: param_exprs Otherwise),
            NodeTag::T_WindowAgg => {
                visit!(WindowAgg: startOffset Otherwise, endOffset Otherwise);
                #[cfg(not(feature = "pg14"))]
                visit!(WindowAgg: runCondition Otherwise, runConditionOrig Otherwise);
            }
            NodeTag::T_Limit => visit!(Limit: limitOffset PerScan, limitCount PerScan),
            NodeTag::T_ProjectSet
            | NodeTag::T_Append
            | NodeTag::T_MergeAppend
            | NodeTag::T_RecursiveUnion
            | NodeTag::T_BitmapAnd
            | NodeTag::T_BitmapOr
            | NodeTag::T_SeqScan
            | NodeTag::T_SubqueryScan
            | NodeTag::T_CteScan
            | NodeTag::T_NamedTuplestoreScan
            | NodeTag::T_WorkTableScan
            | NodeTag::T_Material
            | NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_Group
            | NodeTag::T_Agg
            | NodeTag::T_Unique
            | NodeTag::T_Gather
            | NodeTag::T_GatherMerge
            | NodeTag::T_SetOp
            | NodeTag::T_LockRows => {}
            _ => return false,
        }
        visit!(Plan: targetlist own, qual own);
        true
    }
}

/// Whether it is the source of `INSERT ... VALUES` with one row.
///
/// # Safety
///
/// `plan` must be NULL or a node of a finished plan.
unsafe fn gives_one_row(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: as the caller promises.
    unsafe { !plan.is_null() && (*plan).type_ == NodeTag::T_Result && (*plan).lefttree.is_null() }
}

/// Visits the children of a node.
///
/// # Safety
///
/// `plan` must be a node of a finished plan.
unsafe fn each_child(plan: *mut pg_sys::Plan, visit: &mut dyn FnMut(*mut pg_sys::Plan, Child)) {
    // SAFETY: as the caller promises; each struct is that of its tag (src/include/nodes/plannodes.h).
    unsafe {
        let (left, right) = match (*plan).type_ {
            NodeTag::T_Gather | NodeTag::T_GatherMerge => (Child::InWorkers, Child::Source),
            NodeTag::T_ModifyTable => {
                let parameter = (*plan.cast::<pg_sys::ModifyTable>()).epqParam;
                (Child::Rechecked(parameter), Child::Source)
            }
            NodeTag::T_LockRows => {
                let parameter = (*plan.cast::<pg_sys::LockRows>()).epqParam;
                (Child::Rechecked(parameter), Child::Source)
            }
            NodeTag::T_NestLoop | NodeTag::T_RecursiveUnion => (Child::Source, Child::Repeated),
            NodeTag::T_ForeignScan | NodeTag::T_CustomScan => (Child::Unknown, Child::Unknown),
            _ => (Child::Source, Child::Source),
        };
        for (child, is) in [((*plan).lefttree, left), ((*plan).righttree, right)] {
            if !child.is_null() {
                visit(child, is);
            }
        }
        let more = match (*plan).type_ {
            NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            NodeTag::T_BitmapAnd => (*plan.cast::<pg_sys::BitmapAnd>()).bitmapplans,
            NodeTag::T_BitmapOr => (*plan.cast::<pg_sys::BitmapOr>()).bitmapplans,
            NodeTag::T_CustomScan => (*plan.cast::<pg_sys::CustomScan>()).custom_plans,
            NodeTag::T_SubqueryScan => {
                return visit(
                    (*plan.cast::<pg_sys::SubqueryScan>()).subplan,
                    Child::Source,
                );
            }
            _ => return,
        };
        for child in nodes::items(more) {
            visit(child, left);
        }
    }
}

/// Visits a plan's nodes, those of unknown nodes included. An absent plan has none.
///
/// # Safety
///
/// `plan` must be NULL or a finished plan.
unsafe fn each_node(plan: *mut pg_sys::Plan, visit: &mut dyn FnMut(*mut pg_sys::Plan)) {
    // SAFETY: as the caller promises.
    unsafe {
        unguarded::check_stack_depth();
        if !plan.is_null() {
            visit(plan);
            each_child(plan, &mut |child, _| each_node(child, visit));
        }
    }
}

/// Visits the nodes of a statement's plan and of its subplans.
///
/// # Safety
///
/// `statement` must be a finished plan.
unsafe fn each_node_of(
    statement: *mut pg_sys::PlannedStmt,
    visit: &mut dyn FnMut(*mut pg_sys::Plan),
) {
    // SAFETY: as the caller promises.
    unsafe {
        each_node((*statement).planTree, visit);
        for subplan in nodes::items((*statement).subplans) {
            each_node(subplan, visit);
        }
    }
}

/// The total cost of a plan, in the planner's units, up to which an InitPlan costs more than it gains where it
/// spares mere calls. Measured: an InitPlan takes about 2 µs, and a call about 10 ns more than a parameter. A row costs
/// at least 0.0125 (`cpu_tuple_cost` and a comparison), one that is found by an index 8 with its pages.
const FEW_ROWS: f64 = 10.0;

/// A statement that is being changed.
struct Changes {
    statement: *mut pg_sys::PlannedStmt,
    /// The statement's plan, or that of its subplans that is being changed.
    tree: *mut pg_sys::Plan,
    /// Whether a call is left that is nothing but a call of a claim function: see [`FEW_ROWS`].
    keeps_bare_calls: bool,
    /// The greatest `plan_node_id`; -1 until one is needed. The ids tell the nodes of a plan apart, in
    /// shared memory too, and nothing is sized by them.
    last_node_id: c_int,
    /// The plans that have to stand before the statement's own subplans.
    first: *mut pg_sys::List,
    /// Whether new plans go there.
    to_first: bool,
}

/// A part of a plan that one executor state runs.
struct Part {
    changes: *mut Changes,
    /// The node that all others of the part are below: here its InitPlans hang.
    top: *mut pg_sys::Plan,
    /// Whether the part's InitPlans are sent to workers.
    goes_to_workers: bool,
    /// The parameters that tell of rechecks.
    ///
    /// A recheck has an executor state of its own, which the next recheck uses again. To the values of
    /// its parameters the next one copies those of the statement itself, which may not have evaluated
    /// these yet; so what is evaluated here depends on the recheck, as each scan does, and is then
    /// evaluated again at need (`EvalPlanQualBegin`, `ExecReScan`).
    rechecks: *mut pg_sys::Bitmapset,
    /// The expressions replaced so far, and their parameters.
    expressions: *mut pg_sys::List,
    parameters: *mut pg_sys::List,
}

/// Has the executor evaluate the statement's expressions of claims once.
///
/// # Safety
///
/// `statement` must be what the planner gave, not yet seen by anybody else.
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

        // The executor makes the subplans ready in the order of their list, so that what one of them
        // uses must stand before it, and then all have other numbers.
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
                // One that depends on a row is run for each.
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
/// `node` must be one of a finished plan.
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

/// Changes the part of a plan that begins with a node, and those within.
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

/// Before workers start, and before a row is rechecked, Postgres evaluates all InitPlans above that may be
/// used there, be they never reached. Those that are expressions of claims alone, which may raise, are left
/// to their first need: they hang on what is run there as well.
///
/// `above` is the set of parameters that are evaluated before.
///
/// # Safety
///
/// `child` must be a node of the tree that is being changed, and begin such a part.
unsafe fn evaluate_at_need(
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

/// The InitPlan in the tree that is being changed that gives the parameter, made fit for such a child; NULL
/// if it is more than an expression of claims, or cannot be.
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
                may_replace(expression)
                    && (is != Child::InWorkers || !is_unsafe(expression, std::ptr::null_mut()))
            });
        if !is_of_claims {
            return std::ptr::null_mut();
        }
        match is {
            // The planner does not tell of a query without FROM whether workers may run it.
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

/// Whether the expression has a function that workers may not call.
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

/// The expression with each greatest part of it that is made of claims, constants and functions of these
/// replaced by a parameter.
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
            // Its arguments are never evaluated.
            nodes::copyObjectImpl(node.cast()).cast()
        } else if (*(*context.cast::<Part>()).changes).keeps_bare_calls && is_claim_call(node) {
            nodes::copyObjectImpl(node.cast()).cast()
        } else if may_replace(node) {
            parameter(&mut *context.cast::<Part>(), node)
        } else {
            nodes::expression_tree_mutator(node, replace, context)
        }
    }
}

/// # Safety
///
/// `node` must be one of an expression of a finished plan.
unsafe fn may_replace(node: *mut pg_sys::Node) -> bool {
    /// `TYPTYPE_PSEUDO` (src/include/catalog/pg_type.h).
    const PSEUDO: c_char = b'p'.cast_signed();

    // SAFETY: as the caller promises.
    unsafe {
        is_plain((*node).type_)
            && calls_claim_function(node, std::ptr::null_mut())
            && !depends_on_more(node)
            && !nodes::expression_returns_set(node)
            && !nodes::contain_volatile_functions(node)
            && nodes::get_typtype(nodes::exprType(node)) != PSEUDO
    }
}

/// The parameter that stands for the expression in this part.
///
/// # Safety
///
/// `expression` must be a node.
unsafe fn parameter(part: &mut Part, expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
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
        let plan = &mut (*result).plan;
        let target = nodes::makeTargetEntry(
            nodes::copyObjectImpl(expression.cast()).cast(),
            1,
            std::ptr::null_mut(),
            false,
        );
        plan.targetlist = nodes::lappend(std::ptr::null_mut(), target.cast());
        // What Postgres gives a Result without a source.
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
        (*sub_plan).plan_name = plan_name(number, (*parameter).paramid);
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

/// As the planner names them (src/backend/optimizer/plan/subselect.c).
///
/// # Safety
///
/// None but that an error leaves by `longjmp`.
unsafe fn plan_name(number: c_int, parameter: c_int) -> *mut c_char {
    // SAFETY: the formats take what is given.
    unsafe {
        if cfg!(any(feature = "pg14", feature = "pg15", feature = "pg16")) {
            nodes::psprintf(c"InitPlan %d (returns $%d)".as_ptr(), number, parameter)
        } else {
            nodes::psprintf(c"InitPlan %d".as_ptr(), number)
        }
    }
}

/// Whether the executor may run a part of the plan again to recheck a row. Its subplans then are shared
/// by all executor states, with none of the parameters that tell of rechecks.
///
/// # Safety
///
/// `statement` must be a finished plan.
unsafe fn is_rechecked(statement: *mut pg_sys::PlannedStmt) -> bool {
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

/// The number of a plan that is to stand first, told apart from those that change with that.
fn final_id(id: c_int) -> c_int {
    id.wrapping_neg()
}

/// Whether all places are known where a number of a subplan may stand.
///
/// # Safety
///
/// `statement` must be a finished plan.
unsafe fn may_renumber(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: as the caller promises; the structs are those of their tags.
    unsafe {
        let mut known = true;
        each_node_of(statement, &mut |node| {
            known &= each_expression(node, &mut |_, _| {});
            #[cfg(not(feature = "pg18"))]
            match (*node).type_ {
                NodeTag::T_Append => {
                    known &= !prunes_by_subplan((*node.cast::<pg_sys::Append>()).part_prune_info);
                }
                NodeTag::T_MergeAppend => {
                    let info = (*node.cast::<pg_sys::MergeAppend>()).part_prune_info;
                    known &= !prunes_by_subplan(info);
                }
                _ => {}
            }
        });
        #[cfg(feature = "pg18")]
        for info in nodes::items((*statement).partPruneInfos) {
            known &= !prunes_by_subplan(info);
        }
        known
    }
}

/// Whether a subplan tells which partitions are left out.
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

/// Whether a subplan is used in the expression.
unsafe extern "C-unwind" fn has_sub_plan(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        !node.is_null()
            && ((*node).type_ == NodeTag::T_SubPlan
                || nodes::expression_tree_walker(node, has_sub_plan, context))
    }
}

/// Puts plans before the statement's own subplans, and renumbers these.
///
/// # Safety
///
/// `statement` must be one of which [`may_renumber`] holds, and `first` a list of plans.
unsafe fn put_first(statement: *mut pg_sys::PlannedStmt, first: *mut pg_sys::List) {
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

/// The expression with other numbers of subplans: higher by so many as the context says.
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
