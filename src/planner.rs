//! Turns a reader's call into an InitPlan, so that it is evaluated once per execution and not once
//! per row: `auth.user_id()` then costs what `(select auth.user_id())` costs.
//!
//! Never into a constant: plans outlive identities.

use pgrx::pg_sys;

use crate::ffi::sql_function;
use crate::settings;

sql_function!(
    /// `auth.reader_support(internal) RETURNS internal`: the readers' planner support function.
    pg_auth_jwt_reader_support,
    pg_finfo_pg_auth_jwt_reader_support,
    |arguments| {
        // SAFETY: the argument is declared internal, so that only the planner can pass one, and
        // what it passes is a node (src/include/nodes/supportnodes.h).
        let replacement = unsafe {
            let request = arguments.node(0);
            if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestSimplify {
                std::ptr::null_mut()
            } else {
                hoist(&*request.cast::<pg_sys::SupportRequestSimplify>())
            }
        };
        // NULL in C's sense: no answer to this request.
        Ok(Some(pg_sys::Datum::from(replacement)))
    }
);

/// The call as an uncorrelated scalar sub-select, or NULL to leave it as it is.
///
/// # Safety
///
/// To be called by the planner with a request of its own.
unsafe fn hoist(request: &pg_sys::SupportRequestSimplify) -> *mut pg_sys::Node {
    // SAFETY: the planner's request has a valid call and, unless it is NULL, a valid root with the
    // query being planned. makeNode and its kin palloc in the planner's context.
    unsafe {
        // Without a root nobody would turn the sub-select into a plan.
        if !settings::hoist_readers() || request.root.is_null() {
            return std::ptr::null_mut();
        }
        let root = &mut *request.root;
        let query = &mut *root.parse;
        if has_no_from(query) && (root.query_level == 1 || is_only_the_call(query, request.fcall)) {
            // At the top a query without FROM has one row, for which an InitPlan is no gain; and
            // the sub-select below, whose query level this then is, must not be hoisted again.
            return std::ptr::null_mut();
        }

        let target = pg_sys::makeTargetEntry(
            pg_sys::copyObjectImpl(request.fcall.cast()).cast(),
            1,
            std::ptr::null_mut(),
            false,
        );
        let mut subselect = pgrx::PgBox::<pg_sys::Query>::alloc_node(pg_sys::NodeTag::T_Query);
        subselect.commandType = pg_sys::CmdType::CMD_SELECT;
        subselect.canSetTag = true;
        subselect.jointree = pg_sys::makeFromExpr(std::ptr::null_mut(), std::ptr::null_mut());
        subselect.targetList = pg_sys::lappend(std::ptr::null_mut(), target.cast());
        let mut sublink = pgrx::PgBox::<pg_sys::SubLink>::alloc_node(pg_sys::NodeTag::T_SubLink);
        sublink.subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
        sublink.subselect = subselect.into_pg().cast();
        sublink.location = -1;

        // The planner looks for sub-links only where it was told that there are any.
        query.hasSubLinks = true;
        sublink.into_pg().cast()
    }
}

/// Whether the query reads no relation. The planner puts an `RTE_RESULT` where a query has no FROM
/// (`replace_empty_jointree`), so that one does not count.
///
/// # Safety
///
/// `query` must be the planner's.
unsafe fn has_no_from(query: &pg_sys::Query) -> bool {
    // SAFETY: as the caller promises; jointree is a FromExpr and the table's elements are RTEs.
    unsafe {
        let from = pgrx::PgList::<pg_sys::Node>::from_pg((*query.jointree).fromlist);
        let table = pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg(query.rtable);
        from.iter_ptr().all(|item| {
            if (*item).type_ != pg_sys::NodeTag::T_RangeTblRef {
                return false;
            }
            let index = (*item.cast::<pg_sys::RangeTblRef>()).rtindex;
            usize::try_from(index - 1)
                .ok()
                .and_then(|index| table.get_ptr(index))
                .is_some_and(|entry| (*entry).rtekind == pg_sys::RTEKind::RTE_RESULT)
        })
    }
}

/// Whether the query is `SELECT call()` and nothing more.
///
/// # Safety
///
/// `query` and `call` must be the planner's.
unsafe fn is_only_the_call(query: &pg_sys::Query, call: *const pg_sys::FuncExpr) -> bool {
    // SAFETY: as the caller promises; the target list's elements are TargetEntries.
    unsafe {
        let targets = pgrx::PgList::<pg_sys::TargetEntry>::from_pg(query.targetList);
        let expression = match (targets.len(), targets.get_ptr(0)) {
            (1, Some(target)) => (*target).expr.cast::<pg_sys::Node>(),
            _ => return false,
        };
        (*query.jointree).quals.is_null()
            && !expression.is_null()
            && (*expression).type_ == pg_sys::NodeTag::T_FuncExpr
            && (*expression.cast::<pg_sys::FuncExpr>()).funcid == (*call).funcid
    }
}
