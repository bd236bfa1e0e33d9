//! Recognises calls of claim functions, and expressions that consist only of such calls, of
//! constants, and of functions whose result is the same during an execution.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::pg_sys::{self, NodeTag};

use crate::pg::function::C_LANGUAGE;
use crate::pg::unguarded::nodes;
use crate::pg::version;
use crate::session::claim_functions;

/// Set when any function may have been created, altered or dropped.
static FUNCTIONS_CHANGED: AtomicBool = AtomicBool::new(true);

thread_local! {
    /// The functions seen so far, and whether each is a claim function.
    static KNOWN: RefCell<HashMap<pg_sys::Oid, bool>> = RefCell::new(HashMap::new());
}

/// Called once per backend, when the library is loaded.
pub fn register_invalidation_callback() {
    // SAFETY: the callback only stores to an atomic.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            version::PROCOID,
            Some(functions_changed),
            pg_sys::Datum::from(0),
        );
    }
}

unsafe extern "C-unwind" fn functions_changed(_: pg_sys::Datum, _: c_int, _: u32) {
    FUNCTIONS_CHANGED.store(true, Ordering::Relaxed);
}

/// Whether the function, which takes no argument, is a C function that runs a claim function's
/// code.
pub fn is_claim_function(function: pg_sys::Oid) -> bool {
    if function.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    if FUNCTIONS_CHANGED.swap(false, Ordering::Relaxed) {
        KNOWN.with_borrow_mut(HashMap::clear);
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&function).copied()) {
        return known;
    }
    // Compares the symbol in the catalog's cache. The function was just parsed, so it is in the
    // cache. (Comparing the extension that it belongs to would take two scans of catalogs without a
    // cache.)
    let runs_claim_function = || {
        PgProc::new(function).is_some_and(|function| {
            function.prolang() == C_LANGUAGE
                && claim_functions::SYMBOLS.contains(&function.prosrc().as_str())
        })
    };
    // SAFETY: where an error leaves, nothing is borrowed and nothing needs a drop.
    let found = unsafe { pg_sys::submodules::panic::pgrx_extern_c_guard(runs_claim_function) };
    KNOWN.with_borrow_mut(|known| known.insert(function, found));
    found
}

/// Whether the expression is a call of a claim function and nothing else.
///
/// # Safety
///
/// `node` must be an expression.
pub unsafe fn is_claim_call(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        if (*node).type_ != NodeTag::T_FuncExpr {
            return false;
        }
        let call = node.cast::<pg_sys::FuncExpr>();
        (*call).args.is_null() && is_claim_function((*call).funcid)
    }
}

/// Whether a claim function is called in the expression, outside of its sub-selects. Also used as a
/// walker.
pub unsafe extern "C-unwind" fn calls_claim_function(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL.
    unsafe {
        if node.is_null() || (*node).type_ == NodeTag::T_Query {
            false
        } else {
            is_claim_call(node)
                || nodes::expression_tree_walker(node, calls_claim_function, context)
        }
    }
}

/// Whether the expression gives a value and consists of claims, constants, and functions of these
/// whose result is the same during an execution.
///
/// # Safety
///
/// `node` must be one of an expression of a finished plan.
pub unsafe fn is_made_of_claims(node: *mut pg_sys::Node) -> bool {
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

/// Whether a node of this kind is an expression that computes a value from the values of its parts
/// and has no other effect. (Lists and CASE's WHEN are parts of expressions and do not count.)
pub fn is_plain(tag: NodeTag) -> bool {
    matches!(
        tag,
        NodeTag::T_FuncExpr
            | NodeTag::T_OpExpr
            | NodeTag::T_DistinctExpr
            | NodeTag::T_NullIfExpr
            | NodeTag::T_ScalarArrayOpExpr
            | NodeTag::T_BoolExpr
            | NodeTag::T_RelabelType
            | NodeTag::T_CollateExpr
            | NodeTag::T_CoerceViaIO
            | NodeTag::T_ArrayCoerceExpr
            | NodeTag::T_CaseExpr
            | NodeTag::T_ArrayExpr
            | NodeTag::T_CoalesceExpr
            | NodeTag::T_MinMaxExpr
            | NodeTag::T_NullTest
            | NodeTag::T_BooleanTest
            | NodeTag::T_SubscriptingRef
    )
}

/// Surroundings of a node, for [`depends`].
struct Around {
    /// Whether the node is inside of a CASE or a coercion of an array's elements, to which a
    /// `CaseTestExpr` belongs.
    gives_test_value: bool,
}

/// Whether the expression depends on anything except constants and results of functions: on a row,
/// a parameter, a sub-select, or on the surroundings of the expression.
///
/// # Safety
///
/// `node` must be an expression, or NULL.
pub unsafe fn depends_on_more(node: *mut pg_sys::Node) -> bool {
    let mut around = Around {
        gives_test_value: false,
    };
    // SAFETY: as the caller promises.
    unsafe { depends(node, (&raw mut around).cast()) }
}

unsafe extern "C-unwind" fn depends(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: Postgres's walkers pass nodes of their trees, or NULL, and the context that they were
    // given, which is on the stack of a caller below.
    unsafe {
        if node.is_null() {
            return false;
        }
        let mut inside = Around {
            gives_test_value: true,
        };
        let inside = (&raw mut inside).cast();
        match (*node).type_ {
            NodeTag::T_Const | NodeTag::T_List => {
                nodes::expression_tree_walker(node, depends, context)
            }
            // Postgres's own walker visits its expressions and not the node itself.
            NodeTag::T_CaseWhen => {
                let when = node.cast::<pg_sys::CaseWhen>();
                depends((*when).expr.cast(), context) || depends((*when).result.cast(), context)
            }
            NodeTag::T_CaseTestExpr => !(*context.cast::<Around>()).gives_test_value,
            NodeTag::T_CaseExpr => {
                let case = node.cast::<pg_sys::CaseExpr>();
                let branches = if (*case).arg.is_null() {
                    context
                } else {
                    inside
                };
                depends((*case).arg.cast(), context)
                    || depends((*case).args.cast(), branches)
                    || depends((*case).defresult.cast(), context)
            }
            NodeTag::T_ArrayCoerceExpr => {
                let coercion = node.cast::<pg_sys::ArrayCoerceExpr>();
                depends((*coercion).arg.cast(), context)
                    || depends((*coercion).elemexpr.cast(), inside)
            }
            NodeTag::T_SubscriptingRef
                if !(*node.cast::<pg_sys::SubscriptingRef>())
                    .refassgnexpr
                    .is_null() =>
            {
                true
            }
            tag if is_plain(tag) => nodes::expression_tree_walker(node, depends, context),
            _ => true,
        }
    }
}
