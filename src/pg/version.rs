//! Differences between the versions of Postgres that are supported, each as one function: no code
//! outside [`crate::pg`] asks which version it is built for. Differences of hooks are in
//! [`unguarded::hooks`](crate::pg::unguarded::hooks), those of settings in
//! [`placeholders`](crate::pg::placeholders) and [`definition`](crate::pg::definition).
//!
//! The conditions name older versions, so that a newer one is like the newest here.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;

use crate::pg::unguarded::nodes;

/// The privilege with which a role may become another one by `SET ROLE`, as `pg_has_role` names it.
pub const BECOMES: &str = if cfg!(feature = "pg15") {
    "MEMBER"
} else {
    "SET"
};

/// Settings that end a transaction after a time, beside those that every version has.
pub const MORE_TIMEOUTS: &[&CStr] = if cfg!(any(feature = "pg15", feature = "pg16")) {
    &[]
} else {
    &[c"transaction_timeout"]
};

/// Settings by which Postgres warns of backslashes in a statement's text. It writes expressions
/// with backslashes that their author did not write.
pub const WARNINGS_OF_TEXTS: &[&CStr] = if cfg!(any(
    feature = "pg15",
    feature = "pg16",
    feature = "pg17",
    feature = "pg18"
)) {
    &[c"escape_string_warning"]
} else {
    &[]
};

/// `PROCOID`, `RELOID`, `DATABASEOID` and `SUBSCRIPTIONRELMAP`: enumerations of C have other types in other versions.
#[allow(clippy::unnecessary_cast)]
pub const PROCOID: c_int = pg_sys::SysCacheIdentifier::PROCOID as c_int;
#[allow(clippy::unnecessary_cast)]
pub const RELOID: c_int = pg_sys::SysCacheIdentifier::RELOID as c_int;
#[cfg(login_by_token)]
#[allow(clippy::unnecessary_cast)]
pub const DATABASEOID: c_int = pg_sys::SysCacheIdentifier::DATABASEOID as c_int;
#[allow(clippy::unnecessary_cast)]
pub const SUBSCRIPTIONRELMAP: c_int = pg_sys::SysCacheIdentifier::SUBSCRIPTIONRELMAP as c_int;

/// Gives an InitPlan a name for EXPLAIN. Up to Postgres 18 it is named as the planner names its own
/// (src/backend/optimizer/plan/subselect.c), by its place among the subplans. Since Postgres 19 the
/// planner's names tell what a subplan is for, `expr_1`, and count those of each kind; EXPLAIN puts
/// the word InitPlan before the name.
///
/// `number` is its place, and `added` its place among those that were added to the plan.
///
/// # Safety
///
/// `sub_plan` must be valid. An error leaves by `longjmp`.
pub unsafe fn name_init_plan(
    sub_plan: *mut pg_sys::SubPlan,
    number: c_int,
    added: c_int,
    parameter: c_int,
) {
    // SAFETY: as the caller promises; the formats match the arguments.
    unsafe {
        #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
        {
            (*sub_plan).isInitPlan = true;
        }
        (*sub_plan).plan_name = if cfg!(any(feature = "pg15", feature = "pg16")) {
            nodes::psprintf(c"InitPlan %d (returns $%d)".as_ptr(), number, parameter)
        } else if cfg!(any(feature = "pg17", feature = "pg18")) {
            nodes::psprintf(c"InitPlan %d".as_ptr(), number)
        } else {
            nodes::psprintf(c"claim_%d".as_ptr(), added)
        };
    }
}

/// Marks a node as that of a query without FROM. Since Postgres 19 such a node names its purpose.
///
/// # Safety
///
/// `result` must be valid.
pub unsafe fn reads_no_relation(result: *mut pg_sys::Result) {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    let _ = result;
    // SAFETY: as the caller promises.
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
    unsafe {
        (*result).result_type = pg_sys::ResultType::RESULT_TYPE_SCAN;
    }
}

/// The rules by which the node itself leaves out partitions; NULL if it has none. Since Postgres 18
/// the [statement](prune_infos_of_statement) has them.
///
/// # Safety
///
/// `node` must be a node of a finished plan.
pub unsafe fn prune_info_of_node(node: *mut pg_sys::Plan) -> *mut pg_sys::PartitionPruneInfo {
    // SAFETY: as the caller promises; the structs are those of their tags.
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Append => (*node.cast::<pg_sys::Append>()).part_prune_info,
            pg_sys::NodeTag::T_MergeAppend => (*node.cast::<pg_sys::MergeAppend>()).part_prune_info,
            _ => std::ptr::null_mut(),
        }
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    {
        let _ = node;
        std::ptr::null_mut()
    }
}

/// The rules by which nodes of the statement leave out partitions. Up to Postgres 17 the
/// [nodes](prune_info_of_node) have them.
///
/// # Safety
///
/// `statement` must be a finished plan.
pub unsafe fn prune_infos_of_statement(
    statement: *mut pg_sys::PlannedStmt,
) -> impl Iterator<Item = *mut pg_sys::PartitionPruneInfo> {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    let infos = {
        let _ = statement;
        std::ptr::null()
    };
    // SAFETY: as the caller promises.
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    let infos = unsafe { (*statement).partPruneInfos };
    // SAFETY: as the caller promises; the list holds such nodes.
    unsafe { nodes::items(infos) }
}

/// The field with the conditions by which a MERGE tells matched rows; `None` if the version has no
/// such field.
///
/// # Safety
///
/// `node` must be a node of a finished plan.
pub unsafe fn merge_join_conditions(
    node: *mut pg_sys::ModifyTable,
) -> Option<*mut *mut pg_sys::List> {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    {
        let _ = node;
        None
    }
    // SAFETY: as the caller promises.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    unsafe {
        Some(&raw mut (*node).mergeJoinConditions)
    }
}

/// Whether the query reads a relation, of those that `counts` accepts, with the rights of a role
/// other than its user: the owner of a view or of a table with rules.
///
/// # Safety
///
/// `state` must be valid.
pub unsafe fn reads_as_another(
    state: *const pg_sys::EState,
    counts: impl Fn(pg_sys::Oid) -> bool,
) -> bool {
    // SAFETY: as the caller promises. Postgres keeps whose rights count in these lists.
    #[cfg(feature = "pg15")]
    unsafe {
        nodes::items::<pg_sys::RangeTblEntry>((*state).es_range_table).any(|table| {
            (*table).rtekind == pg_sys::RTEKind::RTE_RELATION
                && (*table).checkAsUser != pg_sys::InvalidOid
                && counts((*table).relid)
        })
    }
    // SAFETY: as above.
    #[cfg(not(feature = "pg15"))]
    unsafe {
        let statement = (*state).es_plannedstmt;
        !statement.is_null()
            && nodes::items::<pg_sys::RTEPermissionInfo>((*statement).permInfos)
                .any(|table| (*table).checkAsUser != pg_sys::InvalidOid && counts((*table).relid))
    }
}

/// Whether the role may look for objects in the schema.
///
/// # Safety
///
/// An error leaves as pgrx's panic if the catalogs cannot be read.
pub unsafe fn may_use_schema(schema: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let usage = pg_sys::ACL_USAGE as pg_sys::AclMode;
    // SAFETY: plain values.
    unsafe {
        #[cfg(feature = "pg15")]
        let outcome = pg_sys::pg_namespace_aclcheck(schema, role, usage);
        #[cfg(not(feature = "pg15"))]
        let outcome = pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, usage);
        outcome == pg_sys::AclResult::ACLCHECK_OK
    }
}
