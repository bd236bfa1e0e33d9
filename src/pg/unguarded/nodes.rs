//! Trees of nodes, lists, sets of numbers, and the catalogs' data about the functions and types in
//! them.
//!
//! All of these may raise: if memory or the stack runs out, or if a function or type is no longer
//! in the catalogs. Functions that only read say so.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;

use crate::pg::unguarded::palloc0;

/// Returns true to end the walk (src/backend/nodes/nodeFuncs.c).
pub type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
/// Returns the replacement of the node (src/backend/nodes/nodeFuncs.c).
pub type Mutator = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> *mut pg_sys::Node;
/// Returns true for a function that matches (src/backend/nodes/nodeFuncs.c).
pub type FunctionChecker = unsafe extern "C-unwind" fn(pg_sys::Oid, *mut c_void) -> bool;

// Since Postgres 16 the tree functions' names are macros.
unsafe extern "C-unwind" {
    /// Calls `walker` for each node directly below the query.
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    pub fn query_tree_walker(
        query: *mut pg_sys::Query,
        walker: Walker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
    /// Calls `walker` for each node directly below this one.
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    pub fn expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
    /// A copy of the query, with the results of `mutator` for the nodes directly below.
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_mutator_impl")]
    pub fn query_tree_mutator(
        query: *mut pg_sys::Query,
        mutator: Mutator,
        context: *mut c_void,
        flags: c_int,
    ) -> *mut pg_sys::Query;
    /// A copy of the node, with the results of `mutator` for the nodes directly below.
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_mutator_impl")]
    pub fn expression_tree_mutator(
        node: *mut pg_sys::Node,
        mutator: Mutator,
        context: *mut c_void,
    ) -> *mut pg_sys::Node;
    /// Whether `checker` returns true for a function that the node itself calls.
    pub fn check_functions_in_node(
        node: *mut pg_sys::Node,
        checker: FunctionChecker,
        context: *mut c_void,
    ) -> bool;
    /// Whether a volatile function is anywhere in the expression.
    pub fn contain_volatile_functions(node: *mut pg_sys::Node) -> bool;
    /// Whether a function that returns a set is in the expression.
    pub fn expression_returns_set(node: *mut pg_sys::Node) -> bool;
    /// The type of the expression's value. Raises for a node that is not an expression.
    pub fn exprType(node: *const pg_sys::Node) -> pg_sys::Oid;
    pub fn exprTypmod(node: *const pg_sys::Node) -> i32;
    pub fn exprCollation(node: *const pg_sys::Node) -> pg_sys::Oid;
    /// `pg_type.typtype`.
    pub fn get_typtype(type_oid: pg_sys::Oid) -> c_char;
    /// `pg_proc.provolatile`.
    pub fn func_volatile(function: pg_sys::Oid) -> c_char;
    /// `pg_proc.proparallel`.
    pub fn func_parallel(function: pg_sys::Oid) -> c_char;
    /// `pg_proc.proleakproof`.
    pub fn get_func_leakproof(function: pg_sys::Oid) -> bool;
    /// Changes, in place, the query level of variables that refer to a level of at least
    /// `min_sublevels_up`.
    pub fn IncrementVarSublevelsUp(
        node: *mut pg_sys::Node,
        delta_sublevels_up: c_int,
        min_sublevels_up: c_int,
    );
    /// A deep copy of a node, of the same type; NULL of NULL.
    pub fn copyObjectImpl(node: *const c_void) -> *mut c_void;
    /// Whether two nodes are equal, apart from their positions in the statement's text.
    pub fn equal(a: *const c_void, b: *const c_void) -> bool;
    /// An entry of a target list; the expression becomes part of it.
    pub fn makeTargetEntry(
        expression: *mut pg_sys::Expr,
        number: pg_sys::AttrNumber,
        name: *mut c_char,
        is_junk: bool,
    ) -> *mut pg_sys::TargetEntry;
    /// The list with one more item; NULL is the empty list. The list passed must not be used any
    /// more.
    pub fn lappend(list: *mut pg_sys::List, item: *mut c_void) -> *mut pg_sys::List;
    pub fn lappend_int(list: *mut pg_sys::List, item: c_int) -> *mut pg_sys::List;
    pub fn lappend_oid(list: *mut pg_sys::List, item: pg_sys::Oid) -> *mut pg_sys::List;
    /// The first list with the items of the other. The first must not be used any more.
    pub fn list_concat(list: *mut pg_sys::List, other: *const pg_sys::List) -> *mut pg_sys::List;
    /// A copy of a set; NULL is the empty set.
    pub fn bms_copy(set: *const pg_sys::Bitmapset) -> *mut pg_sys::Bitmapset;
    /// The set with this member added. The set passed must not be used any more.
    pub fn bms_add_member(set: *mut pg_sys::Bitmapset, member: c_int) -> *mut pg_sys::Bitmapset;
    /// The least member above `previous`, or a negative number. Only reads.
    pub fn bms_next_member(set: *const pg_sys::Bitmapset, previous: c_int) -> c_int;
    /// A text in the current memory context, formatted as by C's `printf`.
    pub fn psprintf(format: *const c_char, ...) -> *mut c_char;
}

/// A zeroed node, as makeNode makes it.
///
/// # Safety
///
/// `T` must be the struct of `tag`.
pub unsafe fn make_node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: palloc0 returns zeroed memory of the struct's size, and each node begins with its
    // tag.
    unsafe {
        let node = palloc0(size_of::<T>());
        (*node.cast::<pg_sys::Node>()).type_ = tag;
        node.cast()
    }
}

/// The pointers in a list of pointers. NULL is the empty list.
///
/// # Safety
///
/// `list` must be NULL or a list of `T`s that does not change meanwhile.
pub unsafe fn items<T>(list: *const pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as the caller promises, so that each index below the length is an element.
    let length =
        unsafe { list.as_ref() }.map_or(0, |list| usize::try_from(list.length).unwrap_or(0));
    // SAFETY: as above.
    (0..length).map(move |index| unsafe { (*(*list).elements.add(index)).ptr_value.cast() })
}

/// The number of a list's items.
///
/// # Safety
///
/// `list` must be NULL or a list.
pub unsafe fn length(list: *const pg_sys::List) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { list.as_ref() }.map_or(0, |list| list.length)
}
