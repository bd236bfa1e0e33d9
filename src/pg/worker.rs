//! The library's background workers: starts them, connects them to a database, and lets them wait.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long};
#[cfg(login_by_token)]
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::sandbox;
use crate::pg::unguarded;
use crate::pg::version;

/// Length of the data that the starting process passes to a worker (`bgw_extra`).
pub const EXTRA_BYTES: usize = pg_sys::BGW_EXTRALEN as usize;

/// The library, as the install script names it (`module_pathname` of the control file).
const LIBRARY: &CStr = c"$libdir/pg_auth_jwt";

/// A worker that runs once, is connected to a database and is never started again by Postgres.
pub struct Spec<'a> {
    /// Name in `pg_stat_activity.backend_type` and in the server's log.
    pub name: &'a CStr,
    /// Function of the library that it calls.
    pub function: &'a CStr,
    /// Argument of the function.
    pub argument: u32,
    pub extra: [u8; EXTRA_BYTES],
    /// Whether a standby starts it too.
    pub on_standby: bool,
    /// Whether this process is to be woken up when the worker starts and ends.
    pub notify: bool,
}

impl Spec<'_> {
    /// The registration for Postgres.
    fn registration(&self) -> pg_sys::BackgroundWorker {
        let mut worker = pg_sys::BackgroundWorker {
            bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS
                | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as c_int,
            bgw_start_time: if self.on_standby {
                pg_sys::BgWorkerStartTime::BgWorkerStart_ConsistentState
            } else {
                pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished
            },
            bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
            bgw_main_arg: pg_sys::Datum::from(self.argument),
            ..pg_sys::BackgroundWorker::default()
        };
        copy(&mut worker.bgw_name, self.name);
        copy(&mut worker.bgw_type, self.name);
        copy(&mut worker.bgw_library_name, LIBRARY);
        copy(&mut worker.bgw_function_name, self.function);
        for (place, byte) in worker.bgw_extra.iter_mut().zip(self.extra) {
            *place = c_char::from_ne_bytes([byte]);
        }
        if self.notify {
            // SAFETY: reads a variable of the process.
            worker.bgw_notify_pid = unsafe { pg_sys::MyProcPid };
        }
        worker
    }

    /// Starts it, and waits until it has ended, for `at_most`, looking every `look`. False if all
    /// of `max_worker_processes` are taken.
    pub fn run(&self, at_most: Duration, look: Duration) -> bool {
        let start = Instant::now();
        let mut worker = self.registration();
        let mut handle = std::ptr::null_mut();
        let mut pid = 0;
        // SAFETY: Postgres copies the registration, and the handle is palloc'd and freed below.
        unsafe {
            if !pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle) {
                return false;
            }
            while start.elapsed() < at_most
                && pg_sys::GetBackgroundWorkerPid(handle, &raw mut pid)
                    != pg_sys::BgwHandleStatus::BGWH_STOPPED
            {
                wait(look);
            }
            pg_sys::pfree(handle.cast());
        }
        true
    }

    /// Starts it, unless this process has [`AT_ONCE`] others running.
    pub fn start(&self) -> Start {
        if !has_room() {
            return Start::TooMany;
        }
        let mut worker = self.registration();
        let mut handle = std::ptr::null_mut();
        // SAFETY: Postgres copies the registration. The handle is to outlive the transaction.
        let is_started = unsafe {
            let former = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let is_started =
                pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle);
            pg_sys::MemoryContextSwitchTo(former);
            is_started
        };
        if !is_started {
            return Start::NoneFree;
        }
        let number = COUNT.get().wrapping_add(1);
        COUNT.set(number);
        let mut places = PLACES.get();
        if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
            *place = Some(Process { handle, number });
        }
        PLACES.set(places);
        Start::Started(number)
    }
}

/// A worker whose answer this process waits for. It is ended if this is dropped, or if this process ends.
#[cfg(login_by_token)]
pub struct Awaited(*mut pg_sys::BackgroundWorkerHandle);

/// The worker of [`Awaited`]; NULL if there is none.
#[cfg(login_by_token)]
static AWAITED: AtomicPtr<pg_sys::BackgroundWorkerHandle> = AtomicPtr::new(std::ptr::null_mut());

#[cfg(login_by_token)]
impl Spec<'_> {
    /// Starts it; `None` if all of `max_worker_processes` are taken. A process awaits one at a time.
    pub fn start_awaited(&self) -> Option<Awaited> {
        /// Ends the worker if an error of level FATAL ends this process: Rust then drops nothing.
        unsafe extern "C-unwind" fn exiting(_: c_int, _: pg_sys::Datum) {
            let handle = AWAITED.swap(std::ptr::null_mut(), Ordering::Relaxed);
            if !handle.is_null() {
                // SAFETY: the handle is not freed before it leaves the static.
                unsafe { pg_sys::TerminateBackgroundWorker(handle) };
            }
        }
        static IS_REGISTERED: AtomicBool = AtomicBool::new(false);

        let mut worker = self.registration();
        let mut handle = std::ptr::null_mut();
        // SAFETY: the callback lives as long as the library. Postgres copies the registration, and allocates the
        // handle where it outlives the transaction.
        unsafe {
            if !IS_REGISTERED.swap(true, Ordering::Relaxed) {
                pg_sys::before_shmem_exit(Some(exiting), pg_sys::Datum::from(0));
            }
            let former = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let is_started =
                pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle);
            pg_sys::MemoryContextSwitchTo(former);
            if !is_started {
                return None;
            }
        }
        AWAITED.store(handle, Ordering::Relaxed);
        Some(Awaited(handle))
    }
}

#[cfg(login_by_token)]
impl Awaited {
    /// Whether it is no longer there.
    pub fn has_ended(&self) -> bool {
        has_stopped(self.0)
    }

    /// Lets it end by itself, once its answer has come.
    pub fn leave(self) {
        self.forget();
        std::mem::forget(self);
    }

    fn forget(&self) {
        AWAITED.store(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: nothing else points to the handle, and the callers do not use it again.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}

#[cfg(login_by_token)]
impl Drop for Awaited {
    fn drop(&mut self) {
        // SAFETY: the handle was not freed.
        unsafe { pg_sys::TerminateBackgroundWorker(self.0) };
        self.forget();
    }
}

/// Wakes up the process that has started this worker, if it asked to be notified.
#[cfg(login_by_token)]
pub fn wake_starter() {
    // SAFETY: Postgres sets the entry before it calls a worker's function. A process that has ended is not found; the
    // memory of its latch stays.
    unsafe {
        if let Some(entry) = pg_sys::MyBgworkerEntry.as_ref() {
            let starter = pg_sys::BackendPidGetProc(entry.bgw_notify_pid);
            if !starter.is_null() {
                pg_sys::SetLatch(&raw mut (*starter).procLatch);
            }
        }
    }
}

/// Maximum number of running processes that this one has started.
const AT_ONCE: usize = 2;

/// The outcome of [`Spec::start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The process's number, for [`has_ended`].
    Started(u64),
    /// All of `max_worker_processes` are taken.
    NoneFree,
    /// [`AT_ONCE`] that this process has started are running.
    TooMany,
}

/// A process that this one has started.
#[derive(Clone, Copy)]
struct Process {
    handle: *mut pg_sys::BackgroundWorkerHandle,
    number: u64,
}

impl Process {
    fn has_ended(&self) -> bool {
        has_stopped(self.handle)
    }
}

/// Whether a worker has ended; its handle was not freed.
fn has_stopped(handle: *mut pg_sys::BackgroundWorkerHandle) -> bool {
    let mut pid = 0;
    // SAFETY: as the callers promise, which free a handle when they forget it.
    let status = unsafe { pg_sys::GetBackgroundWorkerPid(handle, &raw mut pid) };
    matches!(
        status,
        pg_sys::BgwHandleStatus::BGWH_STOPPED | pg_sys::BgwHandleStatus::BGWH_POSTMASTER_DIED
    )
}

thread_local! {
    static PLACES: Cell<[Option<Process>; AT_ONCE]> = const { Cell::new([None; AT_ONCE]) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Whether [`Spec::start`] may start another one.
pub fn has_room() -> bool {
    let mut places = PLACES.get();
    for place in &mut places {
        if let Some(process) = place.take_if(|process| process.has_ended()) {
            // SAFETY: Postgres has palloc'd it for us, and nothing else points to it.
            unsafe { pg_sys::pfree(process.handle.cast()) };
        }
    }
    PLACES.set(places);
    places.iter().any(Option::is_none)
}

/// Whether a process that [`Spec::start`] has started is no longer there.
pub fn has_ended(number: u64) -> bool {
    let places = PLACES.get();
    let is_running = |process: &Process| process.number == number && !process.has_ended();
    !places.iter().flatten().any(is_running)
}

/// Copies a name that is shorter than the field.
fn copy<const N: usize>(field: &mut [c_char; N], name: &CStr) {
    let last = N.saturating_sub(1);
    for (place, byte) in field.iter_mut().take(last).zip(name.to_bytes()) {
        *place = c_char::from_ne_bytes([*byte]);
    }
}

/// Registers a worker that the server starts after recovery, and again after `again` if it ends. It
/// has no database. Call it while the server itself loads the library.
pub fn register_launcher(name: &CStr, function: &CStr, again: Duration) {
    let spec = Spec {
        name,
        function,
        argument: 0,
        extra: [0; EXTRA_BYTES],
        on_standby: false,
        notify: false,
    };
    let mut worker = spec.registration();
    worker.bgw_restart_time = c_int::try_from(again.as_secs()).unwrap_or(c_int::MAX);
    // SAFETY: Postgres copies the registration.
    unsafe { pg_sys::RegisterBackgroundWorker(&raw mut worker) }
}

/// Data that the starting process passed to this worker; zeros if this is no worker.
pub fn extra() -> [u8; EXTRA_BYTES] {
    // SAFETY: Postgres sets the variable before it calls a worker's function, and leaves it.
    let entry = unsafe { pg_sys::MyBgworkerEntry.as_ref() };
    entry.map_or([0; EXTRA_BYTES], |entry| {
        entry.bgw_extra.map(|byte| byte.to_ne_bytes()[0])
    })
}

/// Has `SIGTERM` end this worker at the next interrupt check, and connects it to the database, as
/// the superuser of `initdb`: [`transaction`] takes another role.
///
/// # Safety
///
/// Call it once, first, in a worker's function.
pub unsafe fn connect(database: pg_sys::Oid) {
    // SAFETY: as the caller promises. `die` only sets flags.
    unsafe {
        unguarded::set_signal_handler(pg_sys::SIGTERM as c_int, unguarded::die);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, pg_sys::InvalidOid, 0);
    }
}

/// As [`connect`], to the database of that name. A name that no database has ends the worker, with a line in the log.
///
/// # Safety
///
/// As for [`connect`].
#[cfg(login_by_token)]
pub unsafe fn connect_by_name(database: &CStr) {
    // SAFETY: as above; the name is copied.
    unsafe {
        unguarded::set_signal_handler(pg_sys::SIGTERM as c_int, unguarded::die);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnection(database.as_ptr(), std::ptr::null(), 0);
    }
}

/// As [`connect`], to no database: only the catalogs that all databases share can be read.
///
/// # Safety
///
/// As for [`connect`].
pub unsafe fn connect_to_no_database() {
    // SAFETY: as the caller promises. With `die`, each shutdown of the server would be a FATAL
    // error in the log.
    unsafe {
        unguarded::set_signal_handler(
            pg_sys::SIGTERM as c_int,
            unguarded::SignalHandlerForShutdownRequest,
        );
        unguarded::set_signal_handler(
            pg_sys::SIGHUP as c_int,
            unguarded::SignalHandlerForConfigReload,
        );
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
    }
}

/// Reads the configuration files again, if the server was told to; true if it was.
pub fn reload_settings() -> bool {
    // SAFETY: variables and functions of the process, as its main loop uses them
    // (src/backend/postmaster/interrupt.c).
    unsafe {
        let is_wanted = pg_sys::ConfigReloadPending != 0;
        if is_wanted {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        is_wanted
    }
}

/// `pg_database.datconnlimit` of a database without a limit. A lower number is that of a database
/// that an interrupted DROP DATABASE left (`DATCONNLIMIT_INVALID_DB`,
/// src/include/catalog/pg_database.h).
const UNLIMITED: i32 = -1;

/// Databases that accept connections, without templates.
pub fn databases() -> Vec<pg_sys::Oid> {
    own_transaction(|| {
        let mut found = Vec::new();
        // SAFETY: a scan of a shared catalog, as get_database_list in
        // src/backend/postmaster/autovacuum.c; each tuple is read before the next one is fetched.
        unsafe {
            let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, LOCK);
            let none = std::ptr::null_mut();
            let scan = pg_sys::systable_beginscan(
                relation,
                pg_sys::InvalidOid,
                false,
                none,
                0,
                none.cast(),
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
                let is_valid = (*form).datconnlimit >= UNLIMITED;
                if (*form).datallowconn && !(*form).datistemplate && is_valid {
                    found.push((*form).oid);
                }
            }
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(relation, LOCK);
        }
        found
    })
}

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Settings that a worker forces. Defaults that are stored for the database, or for a role, must
/// neither stop it nor change its work.
const FORCED: [(&CStr, &CStr); 13] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"role", c"none"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_deferrable", c"off"),
    (c"session_replication_role", c"origin"),
    (c"row_security", c"on"),
    (c"statement_timeout", c"0"),
    // If the tables are locked for longer, fetched keys are not stored, and the next fetch tries
    // again.
    (c"lock_timeout", c"2s"),
    (c"idle_in_transaction_session_timeout", c"0"),
    // Keys can be fetched again, so nothing waits for a synchronous standby.
    (c"synchronous_commit", c"local"),
    (c"client_min_messages", c"error"),
    (c"jit", c"off"),
];

/// Forces the settings on which a worker's work depends.
pub fn force_settings() {
    let timeouts = version::MORE_TIMEOUTS.iter().map(|name| (*name, c"0"));
    for (name, value) in FORCED.into_iter().chain(timeouts) {
        force_setting(name, value);
    }
}

/// Gives a setting a value that no value stored for a database or a role overrides.
pub fn force_setting(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated, and copied.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Runs `body` in a transaction, with a snapshot. `body` runs as the role that `role` returns, in a
/// restricted operation: nothing that runs there gets the rights of this worker. If `role` returns
/// none, nothing is run.
///
/// An error ends the worker, and with it the transaction.
pub fn transaction<T>(
    role: impl FnOnce() -> Option<pg_sys::Oid>,
    body: impl FnOnce() -> T,
) -> Option<T> {
    // SAFETY: as a worker does it (src/test/modules/worker_spi/worker_spi.c).
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let value = role().map(|role| sandbox::as_role(role, body));
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        value
    }
}

/// As [`transaction`], with the rights of the worker itself.
pub fn own_transaction<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: as above.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let value = body();
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        value
    }
}

/// Shows in `pg_stat_activity` what the worker does.
pub fn show_activity(text: &CStr) {
    // SAFETY: the text is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) }
}

/// Waits until this process is woken up, for `at_most`. Raises an error, or ends the process, if
/// the statement is cancelled or the process is asked to end.
pub fn wait(at_most: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let milliseconds = c_long::try_from(at_most.as_millis()).unwrap_or(c_long::MAX);
    // SAFETY: the latch is this process's.
    unsafe {
        pgrx::check_for_interrupts!();
        let happened = pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as c_int,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        if happened as u32 & pg_sys::WL_LATCH_SET != 0 {
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        // Only a worker without a database has that handler. With this status, Postgres starts it
        // again unless the server is shut down.
        if pg_sys::ShutdownRequestPending != 0 {
            pg_sys::proc_exit(1);
        }
    }
    pgrx::check_for_interrupts!();
}

/// Whether this process may start workers: one that serves a client or is a worker of its own, on a
/// server that is not in recovery.
pub fn may_start() -> bool {
    // SAFETY: reads variables of the process and of shared memory.
    unsafe {
        pg_sys::IsUnderPostmaster
            && pg_sys::ParallelWorkerNumber < 0
            && !pg_sys::RecoveryInProgress()
    }
}
