//! Replaces `(SELECT expression)` by the expression, if it calls a claim function, before planning.
//!
//! Policies are often written `(select auth.user_id() = owner)`, as Drizzle and Neon do, because
//! `(select auth.uid())` is evaluated once per statement where `auth.uid()` would be evaluated for
//! each row. The planner cannot look into such a sub-select: no index serves it, and the estimates
//! do not know its value. Here the finished plan is changed so that calls are evaluated once (see
//! [`super::plan`]), so the sub-select is no longer of use.
//!
//! Outside of a sub-select, the planner evaluates an expression for its estimates, and an index
//! condition is evaluated before any row is read. So a sub-select with an expression of claims that
//! may raise, such as `(auth.session() ->> 'age')::int`, stays: it raises only if a row reaches it.

use std::ffi::{c_char, c_void};

use pgrx::pg_sys::{self, NodeTag};

use super::claims::{calls_claim_function, depends_on_more, is_claim_function, is_plain};
use crate::pg::unguarded::{self, nodes};

/// Functions that never raise, but are not marked LEAKPROOF: `jsonb`'s `->`, `->>`, `#>`, `#>>`, `@>`,
/// `<@`, `?`, `?|`, `?&` with their functions, and `text || text` (src/include/catalog/pg_proc.dat).
const NEVER_RAISE: [u32; 12] = [
    3478, 3214, 3215, 3216, 3217, 3940, 4046, 4050, 4047, 4048, 4049, 1258,
];

/// The query, or a copy of it in which the sub-selects are unwrapped.
///
/// # Safety
///
/// `query` must be the rewriter's.
pub unsafe fn unwrap_all(query: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: as the caller promises. The planner may change its query, so it may be given another
    // tree in its place.
    unsafe {
        // Looking is much cheaper than copying.
        if has_sub_links(query) && calls_in_sub_select(query.cast(), std::ptr::null_mut()) {
            let mut level = Level { keeps: false };
            unwrap(query.cast(), (&raw mut level).cast()).cast()
        } else {
            query
        }
    }
}

/// Whether there are sub-selects in expressions anywhere.
///
/// # Safety
///
/// `query` must be NULL or the rewriter's.
unsafe fn has_sub_links(query: *mut pg_sys::Query) -> bool {
    // SAFETY: as the caller promises; these lists hold such nodes.
    unsafe {
        unguarded::check_stack_depth();
        if query.is_null() {
            return false;
        }
        (*query).hasSubLinks
            || nodes::items::<pg_sys::RangeTblEntry>((*query).rtable)
                .any(|entry| has_sub_links((*entry).subquery))
            || nodes::items::<pg_sys::CommonTableExpr>((*query).cteList)
                .any(|cte| has_sub_links((*cte).ctequery.cast()))
    }
}

/// Whether the tree contains a sub-select that may be unwrapped.
unsafe extern "C-unwind" fn calls_in_sub_select(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Query => {
                nodes::query_tree_walker(node.cast(), calls_in_sub_select, context, 0)
            }
            NodeTag::T_SubLink
                if calls_claim_function(selected(node.cast()), std::ptr::null_mut()) =>
            {
                true
            }
            _ => nodes::expression_tree_walker(node, calls_in_sub_select, context),
        }
    }
}

/// The query level at which the mutator is.
struct Level {
    /// Whether the sub-selects of this level stay as they are.
    keeps: bool,
}

unsafe extern "C-unwind" fn unwrap(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: Postgres's mutators pass nodes of their trees, or NULL, and the context that they were
    // given, which is a level on the stack of a caller below.
    unsafe {
        if node.is_null() {
            return node;
        }
        match (*node).type_ {
            NodeTag::T_Query => {
                let original = node.cast::<pg_sys::Query>();
                let mut level = Level { keeps: false };
                let level = (&raw mut level).cast();
                let query = nodes::query_tree_mutator(original, unwrap, level, 0);
                // Until Postgres 18 an expression that equals a grouping set's key is NULL in the
                // rows of other sets. The sub-select does not equal that key, so its value stays.
                if !(*original).groupingSets.is_null() {
                    (*level.cast::<Level>()).keeps = true;
                    (*query).targetList = unwrap((*original).targetList.cast(), level).cast();
                    (*query).havingQual = unwrap((*original).havingQual, level);
                }
                query.cast()
            }
            NodeTag::T_SubLink => {
                let link = nodes::expression_tree_mutator(node, unwrap, context);
                let expression = selected(link.cast());
                if (*context.cast::<Level>()).keeps || !may_stand_alone(expression) {
                    return link;
                }
                nodes::IncrementVarSublevelsUp(expression, -1, 1);
                expression
            }
            _ => nodes::expression_tree_mutator(node, unwrap, context),
        }
    }
}

/// The expression of `(SELECT expression)`; NULL if the sub-link is anything else.
///
/// # Safety
///
/// `link` must be a sub-link.
unsafe fn selected(link: *mut pg_sys::SubLink) -> *mut pg_sys::Node {
    // SAFETY: as the caller promises; the parser makes the sub-select a Query, and the elements of its
    // target list TargetEntries.
    unsafe {
        let nothing = std::ptr::null_mut();
        if (*link).subLinkType != pg_sys::SubLinkType::EXPR_SUBLINK
            || (*link).subselect.is_null()
            || (*(*link).subselect).type_ != NodeTag::T_Query
        {
            return nothing;
        }
        let query = &*(*link).subselect.cast::<pg_sys::Query>();
        let from = query.jointree;
        let plain = query.commandType == pg_sys::CmdType::CMD_SELECT
            && query.rtable.is_null()
            && query.cteList.is_null()
            && (from.is_null() || ((*from).fromlist.is_null() && (*from).quals.is_null()))
            && query.groupClause.is_null()
            && query.groupingSets.is_null()
            && query.havingQual.is_null()
            && query.windowClause.is_null()
            && query.distinctClause.is_null()
            && query.sortClause.is_null()
            && query.limitOffset.is_null()
            && query.limitCount.is_null()
            && query.rowMarks.is_null()
            && query.setOperations.is_null()
            && !query.hasAggs
            && !query.hasWindowFuncs
            && !query.hasTargetSRFs
            && nodes::length(query.targetList) == 1;
        if !plain {
            return nothing;
        }
        nodes::items::<pg_sys::TargetEntry>(query.targetList)
            .next()
            .map_or(nothing, |target| (*target).expr.cast())
    }
}

/// Whether the expression gives the same value in place of its sub-select.
///
/// # Safety
///
/// `expression` must be NULL or a node.
unsafe fn may_stand_alone(expression: *mut pg_sys::Node) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        calls_claim_function(expression, std::ptr::null_mut())
            && !nodes::contain_volatile_functions(expression)
            && !is_known_at_execution_only(expression, std::ptr::null_mut())
            && !has_claims_that_may_raise(expression, std::ptr::null_mut())
    }
}

/// Whether the expression contains something other than claim functions that the planner does not
/// evaluate in a sub-select but might evaluate outside: parameters, and functions that are not
/// immutable. Also true for aggregates, window functions and further sub-selects, which belong to a
/// query level.
unsafe extern "C-unwind" fn is_known_at_execution_only(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    /// `PROVOLATILE_IMMUTABLE` (src/include/catalog/pg_proc.h).
    const IMMUTABLE: c_char = b'i'.cast_signed();

    unsafe extern "C-unwind" fn may_change(function: pg_sys::Oid, _: *mut c_void) -> bool {
        // SAFETY: the function stands in a query, so it is in the catalog.
        unsafe { nodes::func_volatile(function) != IMMUTABLE && !is_claim_function(function) }
    }
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Var | NodeTag::T_Const | NodeTag::T_List | NodeTag::T_CaseTestExpr => {}
            tag if is_plain(tag) => {}
            _ => return true,
        }
        nodes::check_functions_in_node(node, may_change, context)
            || nodes::expression_tree_walker(node, is_known_at_execution_only, context)
    }
}

/// Whether a part of the expression consists of claims and constants alone, and may raise.
unsafe extern "C-unwind" fn has_claims_that_may_raise(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() || !calls_claim_function(node, std::ptr::null_mut()) {
            false
        } else if is_plain((*node).type_) && !depends_on_more(node) {
            may_raise(node, context)
        } else {
            nodes::expression_tree_walker(node, has_claims_that_may_raise, context)
        }
    }
}

/// Whether evaluating the expression may raise other errors than those of claim functions.
unsafe extern "C-unwind" fn may_raise(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    unsafe extern "C-unwind" fn function_may_raise(function: pg_sys::Oid, _: *mut c_void) -> bool {
        // SAFETY: the function stands in a query, so it is in the catalog.
        unsafe {
            !is_claim_function(function)
                && !NEVER_RAISE.contains(&function.to_u32())
                && !nodes::get_func_leakproof(function)
        }
    }
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() {
            return false;
        }
        match (*node).type_ {
            // Output functions of the types that claims have, and the one input function that
            // accepts any text.
            NodeTag::T_CoerceViaIO => {
                let coercion = node.cast::<pg_sys::CoerceViaIO>();
                if (*coercion).resulttype != pg_sys::TEXTOID
                    || !matches!(
                        nodes::exprType((*coercion).arg.cast()),
                        pg_sys::TEXTOID | pg_sys::UUIDOID | pg_sys::JSONBOID
                    )
                {
                    return true;
                }
            }
            NodeTag::T_ArrayCoerceExpr | NodeTag::T_SubscriptingRef => return true,
            _ => {
                if nodes::check_functions_in_node(node, function_may_raise, context) {
                    return true;
                }
            }
        }
        nodes::expression_tree_walker(node, may_raise, context)
    }
}
