//! Walks the nodes of a finished plan. For each kind of node it knows the expressions, with the
//! frequency of their evaluation, and the children, with the way in which the node runs them.

use std::ffi::c_int;

use pgrx::pg_sys::{self, NodeTag};

use crate::pg::unguarded::{self, nodes};
use crate::pg::version;

/// Frequency at which the executor evaluates an expression of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Evaluated {
    /// For each row that the node reads.
    PerRow,
    /// Once each time that the node starts to return rows.
    PerScan,
    /// Otherwise, or never: such expressions stay as they are.
    Otherwise,
}

/// The relation of a child to its node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Child {
    /// A source of rows, which are read once or stored.
    Source,
    /// A child that restarts for each row of its sibling, or for each round of a recursion.
    Repeated,
    /// A child that workers run, and perhaps the leader too.
    InWorkers,
    /// A child that is run again to recheck a row that another transaction has changed, and the
    /// parameter that signals this to the nodes below.
    Rechecked(c_int),
    /// A child of a node whose way of running it is not known here.
    Unknown,
}

/// Visits the expressions of a node: fields that hold an expression or a list of expressions.
/// Returns whether the node has no other expressions.
///
/// # Safety
///
/// `plan` must be a node of a finished plan.
pub unsafe fn each_expression(
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
            // These nodes pass rows on unchanged, and their target lists are only for EXPLAIN.
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
                visit!(ModifyTable: mergeActionLists own);
                if let Some(conditions) = version::merge_join_conditions(plan.cast()) {
                    visit(conditions.cast(), own);
                }
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
                visit!(WindowAgg: startOffset Otherwise, endOffset Otherwise,
                       runCondition Otherwise, runConditionOrig Otherwise);
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

/// Whether it is the source of an `INSERT ... VALUES` with one row.
///
/// # Safety
///
/// `plan` must be NULL or a node of a finished plan.
pub unsafe fn gives_one_row(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: as the caller promises.
    unsafe { !plan.is_null() && (*plan).type_ == NodeTag::T_Result && (*plan).lefttree.is_null() }
}

/// Visits the children of a node.
///
/// # Safety
///
/// `plan` must be a node of a finished plan.
pub unsafe fn each_child(plan: *mut pg_sys::Plan, visit: &mut dyn FnMut(*mut pg_sys::Plan, Child)) {
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

/// Visits a plan's nodes, including nodes of unknown kinds. An absent plan has none.
///
/// # Safety
///
/// `plan` must be NULL or a finished plan.
pub unsafe fn each_node(plan: *mut pg_sys::Plan, visit: &mut dyn FnMut(*mut pg_sys::Plan)) {
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
pub unsafe fn each_node_of(
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
