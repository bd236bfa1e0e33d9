//! Who may do a thing that several processes could do at once: by locks of the class of advisory
//! locks, of kinds that no function of SQL uses (`pg_locks.objsubid` is 3 or 4; SQL's are 1 and 2).
//!
//! All of them are taken at once or not at all, and end with the process that has them, however it
//! ends.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys;

const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

/// `USER_LOCKMETHOD` of src/include/storage/lock.h. The end of a process releases no other locks of
/// a session (`ShutdownPostgres` in src/backend/utils/init/postinit.c).
const METHOD: u8 = 2;

/// How many keys of one epoch a process remembers; then it has no turn until the next one.
const MAX_TRIED: usize = 256;

thread_local! {
    /// The key of the lock that [`of_epoch`] took last.
    static HELD: Cell<Option<u64>> = const { Cell::new(None) };
    /// The last epoch, and the keys of the turns that this process had in it.
    static TRIED: RefCell<(u64, Vec<u64>)> = const { RefCell::new((0, Vec::new())) };
}

/// Whether this process, of all that are connected to its database, has the turn of that key, which
/// no process has twice in an epoch.
///
/// The lock is this session's until it has another turn, or ends. A user may release it earlier, by
/// `pg_advisory_unlock_all()` or `DISCARD ALL`; so the process remembers its turns as well.
pub fn of_epoch(epoch: u64, key: u64) -> bool {
    TRIED.with_borrow_mut(|(last, tried)| {
        if *last != epoch {
            *last = epoch;
            tried.clear();
        }
        if tried.contains(&key) || tried.len() >= MAX_TRIED {
            return false;
        }
        // SAFETY: reads a variable of the process.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        release(database);
        let is_ours = take(&turn(database, key));
        if is_ours {
            HELD.set(Some(key));
            tried.push(key);
        }
        is_ours
    })
}

/// Gives the last turn back, for this process or another to have it.
pub fn give_back() {
    // SAFETY: reads a variable of the process.
    release(unsafe { pg_sys::MyDatabaseId }.to_u32());
    TRIED.with_borrow_mut(|(_, tried)| tried.pop());
}

fn release(database: u32) {
    let Some(former) = HELD.take() else { return };
    let tag = turn(database, former);
    if is_held(&tag) {
        // SAFETY: a plain value.
        unsafe { pg_sys::LockRelease(&raw const tag, MODE, true) };
    }
}

fn turn(database: u32, key: u64) -> pg_sys::LOCKTAG {
    tag(
        3,
        [database, (key >> 32) as u32, (key & 0xFFFF_FFFF) as u32],
    )
}

/// Takes one of `places` that the whole server has, unless this process has one. False where all
/// are taken.
pub fn take_place(places: u32) -> bool {
    (0..places).any(|n| is_held(&place(n))) || (0..places).any(|n| take(&place(n)))
}

/// Whether all of `places` are taken at this moment.
pub fn all_places_are_taken(places: u32) -> bool {
    (0..places).map(place).all(|tag| {
        // SAFETY: a plain value. It counts who has the lock too.
        let count = unsafe { pg_sys::LockWaiterCount(&raw const tag) };
        count > 0
    })
}

fn place(n: u32) -> pg_sys::LOCKTAG {
    tag(4, [0, 0, n])
}

fn tag(kind: u16, [field1, field2, field3]: [u32; 3]) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: field1,
        locktag_field2: field2,
        locktag_field3: field3,
        locktag_field4: kind,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: METHOD,
    }
}

/// Takes a lock for the session; false where another process has it.
fn take(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: plain values.
    let outcome = unsafe { pg_sys::LockAcquire(tag, MODE, true, true) };
    outcome == pg_sys::LockAcquireResult::LOCKACQUIRE_OK
}

fn is_held(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: looks into this process's table of locks.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        let is_held = pg_sys::LockHeldByMe(tag, MODE);
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        let is_held = pg_sys::LockHeldByMe(tag, MODE, false);
        is_held
    }
}
