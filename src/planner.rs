//! Turns a reader's call into an InitPlan, so that it is evaluated once per execution and not once
//! per row: `auth.user_id()` then costs what `(select auth.user_id())` costs.
//!
//! It is done to the query tree, before the planner sees it and after the rewriter has put views and
//! policies into it, at the very query level that the call stands in. A planner support function
//! (`SupportRequestSimplify`) would reach the bodies of inlined SQL functions too, but may be asked
//! with another level's root (`convert_EXISTS_to_ANY` does), and then nobody plans the sub-select.
//!
//! Never into a constant: plans outlive identities.
//!
//! Nothing here is under pgrx's guard, for the reason that [`crate::hooks`] gives: errors pass through
//! by `longjmp`, and no frame that they pass holds anything to drop.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::pg_sys;

use crate::{readers, settings};

/// `ClanguageId` (src/include/catalog/pg_language.dat), which pgrx does not name.
const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;

/// Set when any function may have been created, altered or dropped.
static FUNCTIONS_CHANGED: AtomicBool = AtomicBool::new(true);

thread_local! {
    /// Which functions are readers, of those that were met.
    static READERS: RefCell<HashMap<pg_sys::Oid, bool>> = RefCell::new(HashMap::new());
}

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
type Mutator = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> *mut pg_sys::Node;

/// Postgres's own functions, without the guard that `pg_sys` puts around them. (src/include/nodes/
/// nodeFuncs.h; since Postgres 16 the tree functions' names are macros.)
mod raw {
    use std::ffi::{c_char, c_int, c_void};

    use pgrx::pg_sys;

    use super::{Mutator, Walker};

    unsafe extern "C-unwind" {
        #[cfg_attr(
            not(any(feature = "pg14", feature = "pg15")),
            link_name = "query_tree_walker_impl"
        )]
        pub fn query_tree_walker(
            query: *mut pg_sys::Query,
            walker: Walker,
            context: *mut c_void,
            flags: c_int,
        ) -> bool;
        #[cfg_attr(
            not(any(feature = "pg14", feature = "pg15")),
            link_name = "expression_tree_walker_impl"
        )]
        pub fn expression_tree_walker(
            node: *mut pg_sys::Node,
            walker: Walker,
            context: *mut c_void,
        ) -> bool;
        #[cfg_attr(
            not(any(feature = "pg14", feature = "pg15")),
            link_name = "query_tree_mutator_impl"
        )]
        pub fn query_tree_mutator(
            query: *mut pg_sys::Query,
            mutator: Mutator,
            context: *mut c_void,
            flags: c_int,
        ) -> *mut pg_sys::Query;
        #[cfg_attr(
            not(any(feature = "pg14", feature = "pg15")),
            link_name = "expression_tree_mutator_impl"
        )]
        pub fn expression_tree_mutator(
            node: *mut pg_sys::Node,
            mutator: Mutator,
            context: *mut c_void,
        ) -> *mut pg_sys::Node;
        pub fn copyObjectImpl(node: *const c_void) -> *mut c_void;
        pub fn makeTargetEntry(
            expression: *mut pg_sys::Expr,
            number: pg_sys::AttrNumber,
            name: *mut c_char,
            is_junk: bool,
        ) -> *mut pg_sys::TargetEntry;
        pub fn makeFromExpr(
            from: *mut pg_sys::List,
            quals: *mut pg_sys::Node,
        ) -> *mut pg_sys::FromExpr;
        pub fn lappend(list: *mut pg_sys::List, item: *mut c_void) -> *mut pg_sys::List;
        pub fn palloc0(size: usize) -> *mut c_void;
        pub fn standard_planner(
            query: *mut pg_sys::Query,
            text: *const c_char,
            cursor_options: c_int,
            parameters: pg_sys::ParamListInfo,
        ) -> *mut pg_sys::PlannedStmt;
    }
}

/// Installs the hook; called once per backend, when the library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these. The
    // callback only stores to an atomic.
    unsafe {
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::PROCOID as c_int,
            Some(functions_changed),
            pg_sys::Datum::from(0),
        );
    }
}

unsafe extern "C-unwind" fn functions_changed(_: pg_sys::Datum, _: c_int, _: u32) {
    FUNCTIONS_CHANGED.store(true, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: hands on what Postgres passed. The planner may scribble on its query, so putting
    // another tree in its place is no more than that.
    unsafe {
        let mut query = query;
        // Most statements call no reader, and looking is much cheaper than copying.
        if settings::hoist_readers() && calls_reader(query.cast(), std::ptr::null_mut()) {
            let mut outside = Level {
                depth: 0,
                stays: true,
                hoisted: false,
            };
            query = hoist(query.cast(), (&raw mut outside).cast()).cast();
        }
        let plan = PREVIOUS_PLANNER.unwrap_or(raw::standard_planner);
        plan(query, text, cursor_options, parameters)
    }
}

/// Whether a reader is called anywhere in the tree.
unsafe extern "C-unwind" fn calls_reader(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() {
            false
        } else if (*node).type_ == pg_sys::NodeTag::T_Query {
            raw::query_tree_walker(node.cast(), calls_reader, context, 0)
        } else if is_reader_call(node) {
            true
        } else {
            raw::expression_tree_walker(node, calls_reader, context)
        }
    }
}

/// The query level that the mutator is in.
struct Level {
    /// 1 for the statement itself.
    depth: u32,
    /// Whether a call at this level stays as it is.
    stays: bool,
    /// Whether one did not.
    hoisted: bool,
}

/// A copy of the tree in which the readers' calls are uncorrelated scalar sub-selects.
unsafe extern "C-unwind" fn hoist(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: Postgres's mutators pass nodes of their trees, or NULL, and the context that they
    // were given, which is a level on the stack of a caller below.
    unsafe {
        if node.is_null() {
            return node;
        }
        let level = &mut *context.cast::<Level>();
        match (*node).type_ {
            pg_sys::NodeTag::T_Query => {
                let query = node.cast::<pg_sys::Query>();
                let depth = level.depth + 1;
                // At the top a query without FROM has one row, for which an InitPlan is no gain
                // (and plpgsql's expressions would be simple no longer). Further down, `SELECT
                // call()` is what this would make of the call.
                let stays = (*(*query).jointree).fromlist.is_null()
                    && (depth == 1 || is_only_a_call(&*query));
                let mut level = Level {
                    depth,
                    stays,
                    hoisted: false,
                };
                let original = query;
                let query = raw::query_tree_mutator(query, hoist, (&raw mut level).cast(), 0);
                // A call that is a grouping set's key is NULL in the rows of other sets. Until
                // Postgres 18 the planner knows it again by comparing expressions, and no two
                // InitPlans are the same: here the calls stay as they are.
                if !(*original).groupingSets.is_null() {
                    level.stays = true;
                    let level = (&raw mut level).cast();
                    (*query).targetList = hoist((*original).targetList.cast(), level).cast();
                    (*query).havingQual = hoist((*original).havingQual, level);
                }
                // The planner looks for sub-links only where it is told that there are any.
                (*query).hasSubLinks |= level.hoisted;
                query.cast()
            }
            // A function in FROM is called once as it is.
            pg_sys::NodeTag::T_RangeTblFunction
                if is_reader_call((*node.cast::<pg_sys::RangeTblFunction>()).funcexpr) =>
            {
                raw::copyObjectImpl(node.cast()).cast()
            }
            pg_sys::NodeTag::T_FuncExpr if !level.stays && is_reader_call(node) => {
                level.hoisted = true;
                sub_select(node)
            }
            _ => raw::expression_tree_mutator(node, hoist, context),
        }
    }
}

/// `(SELECT call)` as the parser would have it.
///
/// # Safety
///
/// `call` must be a node.
unsafe fn sub_select(call: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: palloc0 gives zeroed memory of the node's size, as makeNode does.
    unsafe {
        let target = raw::makeTargetEntry(
            raw::copyObjectImpl(call.cast()).cast(),
            1,
            std::ptr::null_mut(),
            false,
        );
        let select = raw::palloc0(size_of::<pg_sys::Query>()).cast::<pg_sys::Query>();
        (*select).type_ = pg_sys::NodeTag::T_Query;
        (*select).commandType = pg_sys::CmdType::CMD_SELECT;
        (*select).canSetTag = true;
        (*select).jointree = raw::makeFromExpr(std::ptr::null_mut(), std::ptr::null_mut());
        (*select).targetList = raw::lappend(std::ptr::null_mut(), target.cast());
        let link = raw::palloc0(size_of::<pg_sys::SubLink>()).cast::<pg_sys::SubLink>();
        (*link).xpr.type_ = pg_sys::NodeTag::T_SubLink;
        (*link).subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
        (*link).subselect = select.cast();
        (*link).location = -1;
        link.cast()
    }
}

/// Whether the query, which has no FROM, is `SELECT call()` and nothing more.
///
/// # Safety
///
/// `query` must be the rewriter's.
unsafe fn is_only_a_call(query: &pg_sys::Query) -> bool {
    // SAFETY: as the caller promises; the target list's elements are TargetEntries.
    unsafe {
        let targets = query.targetList;
        if targets.is_null() || (*targets).length != 1 || !(*query.jointree).quals.is_null() {
            return false;
        }
        let target = (*(*targets).elements)
            .ptr_value
            .cast::<pg_sys::TargetEntry>();
        is_reader_call((*target).expr.cast())
    }
}

/// # Safety
///
/// `node` must be one, or NULL.
unsafe fn is_reader_call(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_FuncExpr {
            return false;
        }
        let call = node.cast::<pg_sys::FuncExpr>();
        (*call).args.is_null()
            && (*call).funcid.to_u32() >= pg_sys::FirstNormalObjectId
            && is_reader((*call).funcid)
    }
}

/// Whether the function, which takes no argument, is one of C's that runs the code of a reader.
fn is_reader(function: pg_sys::Oid) -> bool {
    if FUNCTIONS_CHANGED.swap(false, Ordering::Relaxed) {
        READERS.with_borrow_mut(HashMap::clear);
    }
    if let Some(known) = READERS.with_borrow(|readers| readers.get(&function).copied()) {
        return known;
    }
    // By its symbol in the catalog's cache, which has the function already, for it was just parsed. (By
    // the extension that it belongs to would take two scans of catalogs that have no cache.)
    let runs_reader = || {
        PgProc::new(function).is_some_and(|function| {
            function.prolang() == C_LANGUAGE
                && readers::SYMBOLS.contains(&function.prosrc().as_str())
        })
    };
    // SAFETY: nothing is borrowed, and nothing is left to drop, where an error leaves.
    let found = unsafe { pg_sys::submodules::panic::pgrx_extern_c_guard(runs_reader) };
    READERS.with_borrow_mut(|readers| readers.insert(function, found));
    found
}
