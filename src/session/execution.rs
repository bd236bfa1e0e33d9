//! One query, one identity: no execution of a query uses the claims of two tokens.
//!
//! Postgres evaluates a claim function when the plan first needs it: an InitPlan at its first use,
//! an index key at the start of a scan, a filter at each row. If the session token changed in
//! between, one part of a policy would be evaluated for one user and another part for another user,
//! and an attacker with two genuine tokens could combine them into an identity that no issuer
//! issued.
//!
//! So an execution (a statement, or a cursor over all its FETCHes) belongs to the session token
//! that the first claim function in its expressions saw; "no token" counts as one, and so does "a
//! token that is not good". If the query is [`guarded`], claim functions in everything that runs
//! inside of it count as well: a policy's helper function in PL/pgSQL has executions of its own. A
//! claim function raises an error if it finds another token than an enclosing execution belongs to;
//! so does the executor if such an execution goes on.
//!
//! A handler of exceptions inside of the query, in a policy's helper function, must not turn that
//! error into an answer. So the error is then one that `WHEN OTHERS` does not catch; and if a
//! handler catches it nevertheless, each execution that it concerns is spoilt: every later claim
//! function in it raises, no further row of it reaches the client, and its end raises.
//!
//! The enclosing executions are found through Postgres's own `error_context_stack`. The hooks
//! ([`super::executor`]) push a frame there while the executor runs. Postgres restores the stack
//! itself wherever it catches an error, so no frame outlives its execution, and no hook has to catch
//! errors.
//!
//! A parallel worker has a stack of its own, which does not show the enclosing executions of its
//! leader. So a query runs without workers if an enclosing execution belongs to a token, or may
//! come to (see [`is_enclosed`]). No worker has to learn of a change while its own query runs:
//! Postgres does not allow such a change then.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use pgrx::pg_sys;

use crate::pg::guard;
use crate::pg::report::Report;
use crate::pg::unguarded;
use crate::session::errors;
use crate::session::guarded;
use crate::session::identity::Identity;
use crate::settings;

/// The identity to which an execution belongs.
#[derive(Clone)]
pub enum Owner {
    /// The identity of a token.
    Token(Rc<Identity>),
    /// No token was set.
    Nobody,
    /// A token was set that is not good: claim functions raise.
    Refused,
}

impl Owner {
    /// The owner for the session's identity: `None` is no token.
    pub fn of(identity: Option<&Rc<Identity>>) -> Self {
        identity.map_or(Self::Nobody, |identity| Self::Token(Rc::clone(identity)))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one), Self::Token(other)) => {
                Rc::ptr_eq(one, other) || one.token() == other.token()
            }
            (Self::Nobody, Self::Nobody) | (Self::Refused, Self::Refused) => true,
            _ => false,
        }
    }

    /// Whether its token is the present one.
    fn has_token_that_is_set(&self) -> bool {
        let Self::Token(identity) = self else {
            return false;
        };
        settings::token::with(|token| token == &**identity.token()).unwrap_or(false)
    }
}

/// The state of an execution in which a claim function was called.
struct Execution {
    /// `None` until a claim function is called.
    owner: Option<Owner>,
    /// Whether an error that says that the token changed was raised in it.
    is_spoilt: bool,
    /// Whether it was running when the library was loaded, so that the hooks did not see its start.
    is_adopted: bool,
}

/// Hashes an address. Each run of the executor may look its own up, so this takes three
/// instructions and not the hundred of the standard library's hasher.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(byte.into());
        }
    }

    fn write_usize(&mut self, address: usize) {
        // The table takes the place from the upper bits and the lower ones. An address ends in zeros.
        let address = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = address ^ address.wrapping_shr(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

thread_local! {
    /// The executions in which a claim function was called, by the address of the memory context
    /// that the executor deletes at their end (`es_query_cxt`).
    static EXECUTIONS: RefCell<HashMap<usize, Execution, BuildHasherDefault<AddressHasher>>> =
        RefCell::default();
    /// Number of adopted executions.
    static ADOPTED: Cell<usize> = const { Cell::new(0) };
    /// Number of spoilt executions.
    static SPOILT: Cell<usize> = const { Cell::new(0) };
}

/// A frame of `error_context_stack`: the executor or the planner is working on a query.
#[repr(C)]
pub struct Frame {
    callback: pg_sys::ErrorContextCallback,
    /// The query that is executed; NULL for the planner, which evaluates claim functions only for
    /// its estimates.
    query: *mut pg_sys::QueryDesc,
    /// The receiver of the query's rows; NULL while the executor sends none.
    receiver: *mut pg_sys::DestReceiver,
    /// Whether the query is being started with the rights of a SECURITY DEFINER function.
    begins_for_definer: bool,
    /// The number of subtransactions that are open around it, plus one.
    nesting: c_int,
    /// The serial number of the identity that was last compared with the enclosing executions for a
    /// claim function in this query's own expressions; 0 for none.
    agreed_own: Cell<u64>,
    /// The same for a claim function called by something that runs inside of this query.
    agreed_inner: Cell<u64>,
}

impl Frame {
    /// Frame for work on `query`, NULL for the planner.
    pub fn of(query: *mut pg_sys::QueryDesc) -> Self {
        Self {
            callback: pg_sys::ErrorContextCallback {
                previous: std::ptr::null_mut(),
                callback: Some(NO_CONTEXT),
                arg: std::ptr::null_mut(),
            },
            query,
            receiver: std::ptr::null_mut(),
            begins_for_definer: false,
            nesting: unguarded::GetCurrentTransactionNestLevel(),
            agreed_own: Cell::new(0),
            agreed_inner: Cell::new(0),
        }
    }

    /// Frame for the start of `query`.
    pub fn of_start(query: *mut pg_sys::QueryDesc, begins_for_definer: bool) -> Self {
        Self {
            begins_for_definer,
            ..Self::of(query)
        }
    }

    /// Frame for a run of `query`.
    ///
    /// # Safety
    ///
    /// `query` must be one that the executor is about to run.
    pub unsafe fn of_run(query: *mut pg_sys::QueryDesc) -> Self {
        Self {
            // SAFETY: as the caller promises.
            receiver: unsafe { (*query).dest },
            ..Self::of(query)
        }
    }

    /// Runs `work` with this frame on the stack.
    ///
    /// # Safety
    ///
    /// The query must be NULL or valid until `work` ends. `work` must hold nothing that needs a
    /// drop: an error leaves both functions by `longjmp`.
    pub unsafe fn around<T>(mut self, work: impl FnOnce() -> T) -> T {
        let frame = &raw mut self;
        // SAFETY: backends are single-threaded. Each user of the stack does the same
        // (src/include/utils/elog.h). The frame stays where it is until it is removed, or an error
        // has left its function.
        unsafe {
            (*frame).callback.arg = frame.cast();
            (*frame).callback.previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = &raw mut (*frame).callback;
            let result = work();
            pg_sys::error_context_stack = (*frame).callback.previous;
            result
        }
    }

    /// The memory context of the execution; NULL before one exists, and for the planner.
    #[inline]
    fn context(&self) -> pg_sys::MemoryContext {
        // SAFETY: Postgres's query descriptor outlives the frame.
        unsafe { context_of(self.query) }
    }

    /// Whether claim functions count in everything that runs inside of the query.
    fn is_guarded(&self) -> bool {
        // SAFETY: as above.
        unsafe {
            !self.query.is_null()
                && guarded::is_guarded(
                    (*self.query).estate,
                    self.begins_for_definer,
                    guarded::filters,
                )
        }
    }

    /// Has the executor raise an error in place of sending the next row to the client. The rows of
    /// other receivers are read only once the run has ended.
    fn send_nothing(&self) {
        use pg_sys::CommandDest;
        // SAFETY: a receiver is in place while the executor sends to it. One of these two is
        // allocated for a single run (printtup_create_DR in src/backend/access/common/printtup.c).
        unsafe {
            if let Some(receiver) = self.receiver.as_mut()
                && matches!(
                    receiver.mydest,
                    CommandDest::DestRemote | CommandDest::DestRemoteExecute
                )
            {
                receiver.receiveSlot = Some(refuse_row);
            }
        }
    }
}

/// The memory context of a query's execution; NULL if there is none.
///
/// # Safety
///
/// `query` must be NULL or valid.
#[inline]
unsafe fn context_of(query: *mut pg_sys::QueryDesc) -> pg_sys::MemoryContext {
    // SAFETY: as the caller promises. A query's state is NULL or valid.
    unsafe {
        if query.is_null() || (*query).estate.is_null() {
            std::ptr::null_mut()
        } else {
            (*(*query).estate).es_query_cxt
        }
    }
}

/// Stands in place of a receiver's own function: see [`Frame::send_nothing`].
unsafe extern "C-unwind" fn refuse_row(
    _: *mut pg_sys::TupleTableSlot,
    _: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the executor calls this, and this frame holds nothing.
    unsafe { guard::run(|| Err(errors::token_changed(false, None))) }
}

/// Adds nothing to an error's context. Its address identifies the frames.
unsafe extern "C-unwind" fn no_context(_: *mut c_void) {}

/// The one address of [`no_context`]. The compiler may copy such a small function into each unit
/// that names it, and the copies then have different addresses. It does not copy a static.
static NO_CONTEXT: unsafe extern "C-unwind" fn(*mut c_void) = no_context;

/// The frames from the top of `from` down, inner ones first.
#[inline]
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

/// Adopts the executions that are running; called once per backend, when the library is loaded.
pub fn adopt() {
    // SAFETY: reads variables of the backend; the context is alive.
    unsafe {
        if !pg_sys::TopTransactionContext.is_null() {
            adopt_executions(pg_sys::TopMemoryContext);
        }
    }
}

/// Whether an enclosing execution belongs to a token, or will belong to the token that a claim
/// function sees next.
///
/// # Safety
///
/// As for [`guarded::filters_unguarded`].
pub unsafe fn is_enclosed() -> bool {
    // SAFETY: reads a variable of the backend; the frames' states are NULL or valid.
    unsafe {
        ADOPTED.get() > 0
            || frames(pg_sys::error_context_stack).any(|frame| {
                !frame.query.is_null()
                    && (has_owner(frame.query)
                        || guarded::is_guarded(
                            (*frame.query).estate,
                            frame.begins_for_definer,
                            guarded::filters_unguarded,
                        ))
            })
    }
}

/// Whether the query's execution belongs to a token, or to none.
///
/// # Safety
///
/// `query` must be valid.
pub unsafe fn has_owner(query: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: as the caller promises.
    let context = unsafe { context_of(query) };
    EXECUTIONS
        .with_borrow(|executions| !executions.is_empty() && executions.contains_key(&key(context)))
}

/// Whether an error that says that the token changed was raised in the query, and caught.
///
/// # Safety
///
/// `query` must be valid.
pub unsafe fn is_spoilt(query: *mut pg_sys::QueryDesc) -> bool {
    SPOILT.get() > 0 && {
        // SAFETY: as the caller promises.
        let context = unsafe { context_of(query) };
        EXECUTIONS.with_borrow(|executions| {
            executions
                .get(&key(context))
                .is_some_and(|execution| execution.is_spoilt)
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
/// If an enclosing execution belongs to another token.
#[inline]
pub fn admit(
    caller: pg_sys::MemoryContext,
    serial: u64,
    current: &Option<Rc<Identity>>,
) -> Result<(), Report> {
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
                agree(stack, is_own, current)?;
                agreed.set(serial);
            }
            Ok(())
        }
        None if ADOPTED.get() == 0 => Ok(()),
        None => agree(stack, false, current),
    }
}

/// As [`compare`], for the session's identity. A function of its own, because [`admit`] runs for
/// each row.
#[cold]
fn agree(
    stack: *mut pg_sys::ErrorContextCallback,
    is_own: bool,
    current: &Option<Rc<Identity>>,
) -> Result<(), Report> {
    compare(stack, is_own, &Owner::of(current.as_ref())).map_err(|conflict| conflict.report(None))
}

/// Each claim function calls this if the session's token is not good, and raises the error that
/// this returns: `refusal`, or that the token changed. See [`admit`].
#[cold]
pub fn refuse(caller: pg_sys::MemoryContext, refusal: Report) -> Report {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    let is_own = frames(stack)
        .next()
        .is_some_and(|innermost| belongs_to(caller, innermost.context()));
    match compare(stack, is_own, &Owner::Refused) {
        Ok(()) => refusal,
        Err(conflict) => conflict.report(Some(refusal)),
    }
}

/// The executor calls this before an execution that has an owner goes on. `refusal` is the reason
/// why the session's token is not good.
///
/// # Errors
///
/// If the session's identity differs from the execution's.
pub fn confirm(current: Option<&Rc<Identity>>, refusal: Option<Report>) -> Result<(), Report> {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    let owner = match refusal {
        None => Owner::of(current),
        Some(_) => Owner::Refused,
    };
    let is_its_owner = frames(stack).next().is_none_or(|innermost| {
        EXECUTIONS.with_borrow(|executions| {
            executions
                .get(&key(innermost.context()))
                .is_none_or(|execution| !execution.differs_from(&owner))
        })
    });
    if is_its_owner {
        return Ok(());
    }
    compare(stack, true, &owner).map_err(|conflict| conflict.report(refusal))
}

/// The executor calls this at the end of a run of an execution that is spoilt.
///
/// # Errors
///
/// Always.
#[cold]
pub fn refuse_end() -> Result<(), Report> {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    let nesting = EXECUTIONS.with_borrow(|executions| {
        frames(stack)
            .filter(|frame| {
                executions
                    .get(&key(frame.context()))
                    .is_some_and(|execution| execution.is_spoilt)
            })
            .map(|frame| frame.nesting)
            .min()
    });
    Err(errors::token_changed(can_be_caught(nesting), None))
}

/// Whether the planner itself has called the claim function that runs now, for its estimates. An
/// error there would hide which rows need the answer: perhaps none.
///
/// False if the planner has called another function that calls the claim function: if that is
/// declared IMMUTABLE, its result is no estimate, but becomes part of the plan. Every language has
/// an entry of its own on the stack while its functions run.
pub fn is_estimate() -> bool {
    let caller = guard::callers_stack();
    frames(caller)
        .next()
        .is_some_and(|frame| frame.query.is_null() && frame.callback.arg == caller.cast())
}

/// Whether the planner works, and no query that it has called.
pub fn is_planning() -> bool {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    frames(stack)
        .next()
        .is_some_and(|frame| frame.query.is_null())
}

/// Whether the executor or the planner works on a query.
pub fn is_within_query() -> bool {
    // SAFETY: reads a variable of the backend.
    let stack = unsafe { pg_sys::error_context_stack };
    frames(stack).next().is_some()
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

/// Enclosing executions belong to an identity other than the session's.
struct Conflict {
    /// An exception handler inside of one of them may be active.
    could_be_caught: bool,
    /// Whether the token of each is still the present one.
    token_is_same: bool,
}

impl Conflict {
    /// The error to raise. `refusal` is the reason why the session's token is not good, and the
    /// error itself if nothing else has changed and no handler can catch it.
    fn report(self, refusal: Option<Report>) -> Report {
        match refusal {
            Some(refusal) if self.token_is_same && !self.could_be_caught => refusal,
            refusal => errors::token_changed(self.could_be_caught, refusal.as_ref()),
        }
    }
}

/// Whether a subtransaction was opened after the start of a query, given how many were open then,
/// plus one: it may belong to an exception handler in a policy's helper function.
fn can_be_caught(nesting: Option<c_int>) -> bool {
    nesting.is_some_and(|nesting| unguarded::GetCurrentTransactionNestLevel() > nesting)
}

impl Execution {
    /// Whether a claim function in it must not answer for this identity.
    fn differs_from(&self, current: &Owner) -> bool {
        self.is_spoilt
            || self
                .owner
                .as_ref()
                .is_some_and(|owner| !owner.is_same(current))
    }
}

/// Compares the identity with all enclosing executions, and assigns it to those without one; or
/// spoils them, if one belongs to another identity.
#[cold]
fn compare(
    stack: *mut pg_sys::ErrorContextCallback,
    is_own: bool,
    current: &Owner,
) -> Result<(), Conflict> {
    if let Some(conflict) = conflict(stack, current) {
        spoil(stack);
        return Err(conflict);
    }
    for (depth, frame) in frames(stack).enumerate() {
        let context = frame.context();
        let has_owner = || {
            EXECUTIONS.with_borrow(|executions| {
                executions
                    .get(&key(context))
                    .is_some_and(|execution| execution.owner.is_some())
            })
        };
        let is_own = depth == 0 && is_own;
        if context.is_null() || has_owner() || !(is_own || frame.is_guarded()) {
            continue;
        }
        track(context, false);
        EXECUTIONS.with_borrow_mut(|executions| {
            if let Some(execution) = executions.get_mut(&key(context)) {
                execution.owner.get_or_insert_with(|| current.clone());
            }
        });
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

fn conflict(stack: *mut pg_sys::ErrorContextCallback, current: &Owner) -> Option<Conflict> {
    EXECUTIONS.with_borrow(|executions| {
        let enclosing = frames(stack).filter_map(|frame| {
            let execution = executions.get(&key(frame.context()))?;
            Some((execution, frame.nesting))
        });
        // Handlers that were set before the library was loaded are not known.
        let adopted = executions
            .values()
            .filter(|execution| execution.is_adopted)
            .map(|execution| (execution, 1))
            .take(ADOPTED.get());
        let mut nesting = None;
        let mut token_is_same = true;
        for (execution, depth) in enclosing
            .chain(adopted)
            .filter(|(execution, _)| execution.differs_from(current))
        {
            nesting = Some(nesting.map_or(depth, |least: c_int| least.min(depth)));
            token_is_same &= execution
                .owner
                .as_ref()
                .is_some_and(Owner::has_token_that_is_set);
        }
        nesting.map(|_| Conflict {
            could_be_caught: can_be_caught(nesting),
            token_is_same,
        })
    })
}

/// Marks the enclosing executions that have an owner: their answers from now on may rest on an
/// error that a handler has caught.
fn spoil(stack: *mut pg_sys::ErrorContextCallback) {
    EXECUTIONS.with_borrow_mut(|executions| {
        let spoil = |execution: &mut Execution| {
            if execution.owner.is_some() && !std::mem::replace(&mut execution.is_spoilt, true) {
                SPOILT.set(SPOILT.get().saturating_add(1));
            }
        };
        for frame in frames(stack) {
            // Claim functions compare again.
            frame.agreed_own.set(0);
            frame.agreed_inner.set(0);
            if let Some(execution) = executions.get_mut(&key(frame.context())) {
                spoil(execution);
                frame.send_nothing();
            }
        }
        if ADOPTED.get() > 0 {
            executions
                .values_mut()
                .filter(|each| each.is_adopted)
                .for_each(spoil);
        }
    });
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
            is_spoilt: false,
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
    if let Ok(Some(execution)) = ended {
        let count_down = |count: &'static std::thread::LocalKey<Cell<usize>>| {
            count.set(count.get().saturating_sub(1));
        };
        if execution.is_adopted {
            count_down(&ADOPTED);
        }
        if execution.is_spoilt {
            count_down(&SPOILT);
        }
    }
}

/// Finds the executions that began before the library was loaded. Those that are guarded count as
/// enclosing ones until they end, because no frame shows them.
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

/// Whether the context, made by `CreateExecutorState`, belongs to a query that is guarded. Whether a
/// query began with a SECURITY DEFINER function's rights is not known here, only whether one is
/// running. The execution's state is the first allocation in it (src/backend/executor/execUtils.c).
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
                return !(*state).es_plannedstmt.is_null()
                    && guarded::is_guarded(state, guarded::begins_for_definer(), guarded::filters);
            }
        }
    }
    true
}
