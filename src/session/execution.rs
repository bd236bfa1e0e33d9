//! One query, one identity: no execution of a query uses the claims of two tokens.
//!
//! Postgres evaluates a claim function when the plan first needs it: an InitPlan at its first use,
//! an index key at the start of a scan, a filter at each row. If the session token changed in
//! between, one part of a policy would be evaluated for one user and another part for another user,
//! and an attacker with two genuine tokens could combine them into an identity that no issuer
//! issued.
//!
//! So an execution (a statement, or a cursor over all its FETCHes) belongs to the session token
//! that the first claim function in its expressions saw; "no token" counts as one. Where the query
//! names a table with row security or a view, claim functions in everything that runs inside of it
//! count as well: a policy's helper function in PL/pgSQL has executions of its own. A claim
//! function raises an error if it finds another token than an enclosing execution belongs to.
//!
//! The enclosing executions are found through Postgres's own `error_context_stack`. The hooks push
//! a frame there while the executor runs. Postgres restores the stack itself wherever it catches an
//! error, so no frame outlives its execution, and no hook has to catch errors.
//!
//! A parallel worker has a stack of its own, which does not show the enclosing executions of its
//! leader. So a query runs without workers where an enclosing execution belongs to a token, or may
//! come to (see [`executor_run`]). No worker has to learn of a change while its own query runs:
//! Postgres does not allow such a change then.
//!
//! The hooks run without pgrx's guard: errors pass through them by `longjmp`, so they hold nothing
//! that needs a drop, and they call nothing that can panic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use pgrx::pg_sys;

use crate::errors;
use crate::pg::guard;
use crate::pg::report::Report;
use crate::pg::unguarded::{self, hooks};
use crate::session::identity::Identity;

static mut PREVIOUS_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREVIOUS_RUN: pg_sys::ExecutorRun_hook_type = None;
static mut PREVIOUS_FINISH: pg_sys::ExecutorFinish_hook_type = None;
static mut PREVIOUS_PLANNER: pg_sys::planner_hook_type = None;

/// The owner of an execution: the identity of a token, or `None` for "no token".
type Owner = Option<Rc<Identity>>;

/// The state of an execution in which a claim function was called.
struct Execution {
    /// `None` until a claim function is called.
    owner: Option<Owner>,
    /// Whether it was running when the library was loaded, so that the hooks did not see its start.
    is_adopted: bool,
}

thread_local! {
    /// The executions in which a claim function was called, by the address of the memory context
    /// that the executor deletes at their end (`es_query_cxt`).
    static EXECUTIONS: RefCell<HashMap<usize, Execution>> = RefCell::new(HashMap::new());
    /// How many of them were adopted.
    static ADOPTED: Cell<usize> = const { Cell::new(0) };
}

/// A frame of `error_context_stack`: the executor or the planner is working on a query.
#[repr(C)]
struct Frame {
    callback: pg_sys::ErrorContextCallback,
    /// The query that is executed; NULL for the planner, which evaluates claim functions only for
    /// its estimates.
    query: *mut pg_sys::QueryDesc,
    /// The number of subtransactions that are open around it, plus one.
    nesting: c_int,
    /// The serial number of the identity that was last compared with the enclosing executions for a
    /// claim function in this query's own expressions; 0 for none.
    agreed_own: Cell<u64>,
    /// The same for a claim function called by something that runs inside of this query.
    agreed_inner: Cell<u64>,
}

impl Frame {
    fn new(query: *mut pg_sys::QueryDesc) -> Self {
        Self {
            callback: pg_sys::ErrorContextCallback {
                previous: std::ptr::null_mut(),
                callback: Some(NO_CONTEXT),
                arg: std::ptr::null_mut(),
            },
            query,
            nesting: unguarded::GetCurrentTransactionNestLevel(),
            agreed_own: Cell::new(0),
            agreed_inner: Cell::new(0),
        }
    }

    /// Runs `work` with a frame for `query` on the stack.
    ///
    /// # Safety
    ///
    /// `query` must be NULL or valid until `work` ends. `work` must hold nothing that needs a drop:
    /// an error leaves both functions by `longjmp`.
    unsafe fn around<T>(query: *mut pg_sys::QueryDesc, work: impl FnOnce() -> T) -> T {
        let mut frame = Self::new(query);
        frame.callback.arg = (&raw mut frame).cast();
        // SAFETY: backends are single-threaded. Each user of the stack does the same
        // (src/include/utils/elog.h). The frame stays where it is until it is removed, or an error
        // has left its function.
        unsafe {
            frame.callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut frame.callback;
            let result = work();
            pg_sys::error_context_stack = frame.callback.previous;
            result
        }
    }

    /// The memory context of the execution; NULL before one exists, and for the planner.
    fn context(&self) -> pg_sys::MemoryContext {
        // SAFETY: Postgres's query descriptor outlives the frame. Its state is NULL or valid.
        unsafe {
            if self.query.is_null() || (*self.query).estate.is_null() {
                std::ptr::null_mut()
            } else {
                (*(*self.query).estate).es_query_cxt
            }
        }
    }

    /// Whether the query reads or writes a table with row security, or reads a view.
    fn is_guarded(&self) -> bool {
        // SAFETY: as above.
        unsafe { !self.query.is_null() && is_guarded((*self.query).estate, has_row_security) }
    }
}

/// Whether an execution's query names a table with row security, or a view of users. The tables
/// decide. `PlannedStmt.dependsOnRole` does not: Postgres does not set it for row security. Nor
/// does the current role's right to bypass row security: inside of a SECURITY DEFINER function that
/// is another role.
///
/// # Safety
///
/// `state` must be NULL or valid; `has_row_security` is called for tables that the query has
/// locked.
unsafe fn is_guarded(
    state: *const pg_sys::EState,
    has_row_security: unsafe fn(pg_sys::Oid) -> bool,
) -> bool {
    // SAFETY: as the caller promises. Both arrays have one element for each relation of the range
    // table. A relation that is open stays so until the execution ends.
    unsafe {
        if state.is_null() {
            return false;
        }
        let (tables, opened) = ((*state).es_range_table, (*state).es_relations);
        if tables.is_null() || opened.is_null() {
            // Its initialisation is not complete.
            return true;
        }
        let count = usize::try_from((*tables).length).unwrap_or(0);
        (0..count).any(|index| {
            let relation = *opened.add(index);
            if !relation.is_null() {
                return (*(*relation).rd_rel).relrowsecurity;
            }
            // Of a partitioned table only the partitions are open, and of an inheritance parent
            // perhaps only the children (it may have a CHECK ... NO INHERIT), but the parent's
            // policies guard them. Other relations that are not open are not used.
            let table = (*(*tables).elements.add(index))
                .ptr_value
                .cast::<pg_sys::RangeTblEntry>();
            // A view may filter by claims like a policy, also in helper functions.
            if (*table).relkind as u8 == pg_sys::RELKIND_VIEW
                && (*table).relid.to_u32() >= pg_sys::FirstNormalObjectId
            {
                return true;
            }
            (*table).rtekind == pg_sys::RTEKind::RTE_RELATION
                && ((*table).inh || (*table).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE)
                && has_row_security((*table).relid)
        })
    }
}

/// Whether row security is enabled for the table.
///
/// # Safety
///
/// The query must have locked the table.
unsafe fn has_row_security(table: pg_sys::Oid) -> bool {
    // SAFETY: the relation is NULL, or valid until it is closed.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return true;
        }
        let enabled = (*(*relation).rd_rel).relrowsecurity;
        pg_sys::RelationClose(relation);
        enabled
    }
}

/// As [`has_row_security`], for the hooks: an error leaves by `longjmp`.
///
/// # Safety
///
/// No frame from here up to Postgres's may hold anything that needs a drop, and the table of
/// executions must not be borrowed.
unsafe fn has_row_security_unguarded(table: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe {
        let relation = unguarded::RelationIdGetRelation(table);
        if relation.is_null() {
            return true;
        }
        let enabled = (*(*relation).rd_rel).relrowsecurity;
        unguarded::RelationClose(relation);
        enabled
    }
}

/// Adds nothing to an error's context. Its address identifies the frames.
unsafe extern "C-unwind" fn no_context(_: *mut c_void) {}

/// The one address of [`no_context`]. The compiler may copy such a small function into each unit
/// that names it, and the copies then have different addresses. It does not copy a static.
static NO_CONTEXT: unsafe extern "C-unwind" fn(*mut c_void) = no_context;

/// The frames from the top of `from` down, inner ones first.
fn frames(from: *mut pg_sys::ErrorContextCallback) -> impl Iterator<Item = &'static Frame> {
    let mut next = from;
    std::iter::from_fn(move || {
        // SAFETY: the stack is a list of live entries that ends in NULL. An entry with our callback
        // is the first field of a frame. No caller keeps a frame beyond the claim function's call,
        // and the frames below the call stay in place during it.
        unsafe {
            while !next.is_null() {
                let entry = &*next;
                next = entry.previous;
                if entry
                    .callback
                    .is_some_and(|callback| std::ptr::fn_addr_eq(callback, NO_CONTEXT))
                {
                    return Some(&*entry.arg.cast::<Frame>());
                }
            }
            None
        }
    })
}

/// Installs the hooks, and adopts the executions that are running; called once per backend, when the
/// library is loaded.
pub fn install() {
    // SAFETY: backends are single-threaded, and this is the only place that writes these.
    unsafe {
        PREVIOUS_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(executor_start);
        PREVIOUS_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(executor_run);
        PREVIOUS_FINISH = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(executor_finish);
        PREVIOUS_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        if !pg_sys::TopTransactionContext.is_null() {
            adopt_executions(pg_sys::TopMemoryContext);
        }
    }
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: passes on what Postgres passed, and holds nothing that needs a drop.
    unsafe {
        let start = PREVIOUS_START.unwrap_or(hooks::standard_ExecutorStart);
        Frame::around(query, || start(query, flags));
    }
}

unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] execute_once: bool,
) {
    // SAFETY: as above. The executor starts no workers for a query that it has run before
    // (ExecutePlan in src/backend/executor/execMain.c); before the minor releases of February 2025
    // it decided that by `execute_once`.
    unsafe {
        let is_alone = (*(*query).plannedstmt).parallelModeNeeded && is_enclosed();
        if is_alone {
            (*query).already_executed = true;
        }
        #[cfg(not(feature = "pg18"))]
        let execute_once = execute_once && !is_alone;
        let run = PREVIOUS_RUN.unwrap_or(hooks::standard_ExecutorRun);
        Frame::around(query, || {
            run(
                query,
                direction,
                count,
                #[cfg(not(feature = "pg18"))]
                execute_once,
            );
        });
    }
}

/// Whether an enclosing execution belongs to a token, or will belong to the token that a claim
/// function sees next.
///
/// # Safety
///
/// As for [`has_row_security_unguarded`].
unsafe fn is_enclosed() -> bool {
    // SAFETY: reads a variable of the backend; the frames' states are NULL or valid.
    unsafe {
        ADOPTED.get() > 0
            || frames(pg_sys::error_context_stack).any(|frame| {
                let has_owner = || {
                    EXECUTIONS
                        .with_borrow(|executions| executions.contains_key(&key(frame.context())))
                };
                !frame.query.is_null()
                    && (has_owner()
                        || is_guarded((*frame.query).estate, has_row_security_unguarded))
            })
    }
}

/// Runs the remaining part of data-modifying CTEs, and AFTER triggers.
unsafe extern "C-unwind" fn executor_finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as above.
    unsafe {
        let finish = PREVIOUS_FINISH.unwrap_or(hooks::standard_ExecutorFinish);
        Frame::around(query, || finish(query));
    }
}

unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    cursor_options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: as above.
    unsafe {
        let plan = PREVIOUS_PLANNER.unwrap_or(hooks::standard_planner);
        Frame::around(std::ptr::null_mut(), || {
            plan(query, text, cursor_options, parameters)
        })
    }
}

/// Each claim function calls this before it answers. `current` is the session's identity, `serial`
/// a number that changes whenever the identity may have changed, and `caller` the memory context of
/// the function's call info (`fn_mcxt`), which the executor sets to the context of the query whose
/// expression contains the call.
///
/// # Errors
///
/// Where an enclosing execution belongs to another token.
#[inline]
pub fn admit(caller: pg_sys::MemoryContext, serial: u64, current: &Owner) -> Result<(), Report> {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    match frames(stack).next() {
        Some(innermost) => {
            let is_own = belongs_to(caller, innermost.context());
            let agreed = if is_own {
                &innermost.agreed_own
            } else {
                &innermost.agreed_inner
            };
            if agreed.get() != serial {
                compare(stack, is_own, current)?;
                agreed.set(serial);
            }
            Ok(())
        }
        None if ADOPTED.get() == 0 => Ok(()),
        None => compare(stack, false, current),
    }
}

/// Whether the planner itself has called the claim function that runs now, for its estimates. What
/// it raises there would hide which rows need the answer: perhaps none.
///
/// Not where the planner has called another function that calls the claim function: if that is
/// declared IMMUTABLE, its result is no estimate, but becomes part of the plan. Every language has
/// an entry of its own on the stack while its functions run.
pub fn is_estimate() -> bool {
    let caller = guard::callers_stack();
    frames(caller)
        .next()
        .is_some_and(|frame| frame.query.is_null() && frame.callback.arg == caller.cast())
}

/// Whether `context` is the execution's, or below it: EvalPlanQual evaluates the query's expressions
/// in a context of its own there.
#[inline]
fn belongs_to(context: pg_sys::MemoryContext, execution: pg_sys::MemoryContext) -> bool {
    let mut context = context;
    // SAFETY: memory contexts form a tree of live nodes whose root has no parent.
    unsafe {
        while !context.is_null() && !execution.is_null() {
            if std::ptr::eq(context, execution) {
                return true;
            }
            context = (*context).parent;
        }
    }
    false
}

/// Compares the identity with all enclosing executions, and assigns it to those without one.
#[cold]
fn compare(
    stack: *mut pg_sys::ErrorContextCallback,
    is_own: bool,
    current: &Owner,
) -> Result<(), Report> {
    let contexts = || {
        frames(stack)
            .enumerate()
            .map(|(depth, frame)| (frame, depth == 0 && is_own))
            .filter(|(frame, _)| !frame.context().is_null())
    };
    // How many subtransactions were open at the start of a query that belongs to another token. A
    // subtransaction opened later may belong to an exception handler in a policy's helper function.
    let nesting_of_differing = EXECUTIONS.with_borrow(|executions| {
        let differs = |execution: &Execution| {
            execution
                .owner
                .as_ref()
                .is_some_and(|owner| !is_same(owner, current))
        };
        let adopted = (ADOPTED.get() > 0
            && executions
                .values()
                .any(|execution| execution.is_adopted && differs(execution)))
        .then_some(1);
        contexts()
            .filter(|(frame, _)| executions.get(&key(frame.context())).is_some_and(differs))
            .map(|(frame, _)| frame.nesting)
            .chain(adopted)
            .min()
    });
    if let Some(nesting) = nesting_of_differing {
        return Err(errors::token_changed(
            unguarded::GetCurrentTransactionNestLevel() > nesting,
        ));
    }
    for (frame, is_own) in contexts() {
        if is_own || frame.is_guarded() {
            track(frame.context(), false);
            EXECUTIONS.with_borrow_mut(|executions| {
                if let Some(execution) = executions.get_mut(&key(frame.context())) {
                    execution.owner.get_or_insert_with(|| current.clone());
                }
            });
        }
    }
    if ADOPTED.get() > 0 {
        EXECUTIONS.with_borrow_mut(|executions| {
            for execution in executions.values_mut().filter(|each| each.is_adopted) {
                execution.owner.get_or_insert_with(|| current.clone());
            }
        });
    }
    Ok(())
}

fn is_same(one: &Owner, other: &Owner) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Rc::ptr_eq(one, other) || one.token() == other.token(),
        _ => false,
    }
}

fn key(context: pg_sys::MemoryContext) -> usize {
    context.addr()
}

/// Adds the execution of this context to the table. It stays until the executor deletes the
/// context.
fn track(context: pg_sys::MemoryContext, is_adopted: bool) {
    if EXECUTIONS.with_borrow(|executions| executions.contains_key(&key(context))) {
        return;
    }
    // SAFETY: the callback's record is allocated in the context itself, so it lives as long as the
    // context.
    unsafe {
        let callback =
            pg_sys::MemoryContextAlloc(context, size_of::<pg_sys::MemoryContextCallback>())
                .cast::<pg_sys::MemoryContextCallback>();
        (*callback).func = Some(execution_ended);
        (*callback).arg = context.cast();
        pg_sys::MemoryContextRegisterResetCallback(context, callback);
    }
    EXECUTIONS.with_borrow_mut(|executions| {
        let execution = Execution {
            owner: None,
            is_adopted,
        };
        executions.insert(key(context), execution);
    });
    if is_adopted {
        ADOPTED.set(ADOPTED.get().saturating_add(1));
    }
}

/// Postgres calls this when the executor's context is deleted, at the end of the execution or after
/// an error. The table is never borrowed while Postgres's code runs, so borrowing it here always
/// succeeds.
unsafe extern "C-unwind" fn execution_ended(context: *mut c_void) {
    let ended = EXECUTIONS.try_with(|executions| {
        let mut executions = executions.try_borrow_mut().ok()?;
        executions.remove(&context.addr())
    });
    if let Ok(Some(execution)) = ended
        && execution.is_adopted
    {
        ADOPTED.set(ADOPTED.get().saturating_sub(1));
    }
}

/// Finds the executions that began before the library was loaded. Those to which row security
/// applies count as enclosing ones until they end, because no frame shows them.
///
/// # Safety
///
/// `context` must be a live memory context.
unsafe fn adopt_executions(context: pg_sys::MemoryContext) {
    // SAFETY: as the caller promises. The tree's depth is small, and the tree does not change
    // meanwhile, except for allocations in its contexts.
    unsafe {
        let name = (*context).name;
        if !name.is_null()
            && CStr::from_ptr(name) == c"ExecutorState"
            && is_guarded_execution(context)
        {
            track(context, true);
        }
        let mut child = (*context).firstchild;
        while !child.is_null() {
            adopt_executions(child);
            child = (*child).nextchild;
        }
    }
}

/// Whether the context, made by `CreateExecutorState`, belongs to a query to which row security
/// applies. The execution's state is the first allocation in it (src/backend/executor/execUtils.c).
/// If the state is not found, the answer is yes.
///
/// # Safety
///
/// `context` must be a live memory context of that name.
unsafe fn is_guarded_execution(context: pg_sys::MemoryContext) -> bool {
    /// The context's own record, the headers of its first block and chunk, and some room.
    const SEARCHED: usize = 512;

    // SAFETY: the record is followed by the first block of 8 KiB (AllocSetContextCreate); the
    // search, and the state that it finds, stay within that block. Something counts as the state
    // only if it has the right tag and names the context as its own.
    unsafe {
        for offset in (0..SEARCHED).step_by(align_of::<pg_sys::EState>()) {
            let state = context.byte_add(offset).cast::<pg_sys::EState>();
            if (*state).type_ == pg_sys::NodeTag::T_EState
                && std::ptr::eq((*state).es_query_cxt, context)
            {
                // PL/pgSQL's expressions have a state without a plan.
                return !(*state).es_plannedstmt.is_null() && is_guarded(state, has_row_security);
            }
        }
    }
    true
}
