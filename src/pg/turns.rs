//! Locks that let one process, or a few, do a job. They are of the class of advisory locks, and of
//! kinds that no function of SQL uses (`pg_locks.objsubid` is 3 to 6; SQL's are 1 and 2).
//!
//! Each ends with the process that has it, however that ends. Only a [`Seat`] is waited for.

use std::cell::{Cell, RefCell};
#[cfg(login_by_token)]
use std::time::Duration;

use pgrx::pg_sys;

const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

/// `USER_LOCKMETHOD` of src/include/storage/lock.h. The end of a process releases no other locks of
/// a session (`ShutdownPostgres` in src/backend/utils/init/postinit.c).
const METHOD: u8 = 2;

/// Maximum number of keys of one epoch that a process remembers; beyond it, it has no turn until
/// the next epoch.
const MAX_TRIED: usize = 256;

thread_local! {
    /// The key of the lock that [`of_epoch`] took last.
    static HELD: Cell<Option<u64>> = const { Cell::new(None) };
    /// The last epoch, and the keys of the turns that this process had in it.
    static TRIED: RefCell<(u64, Vec<u64>)> = const { RefCell::new((0, Vec::new())) };
}

/// Whether this process, of all those connected to its database, gets the turn of that key. No
/// process gets it twice in an epoch.
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

/// Gives the last turn back, so that this process or another can have it.
pub fn give_back() {
    // SAFETY: reads a variable of the process.
    release(unsafe { pg_sys::MyDatabaseId }.to_u32());
    TRIED.with_borrow_mut(|(_, tried)| tried.pop());
}

/// As [`give_back`], unless this process has had another turn since the one of that key.
pub fn give_back_of(key: u64) {
    if HELD.get() == Some(key) {
        give_back();
    }
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

/// Maximum number of processes that do a job at once.
#[derive(Clone, Copy)]
pub struct Limits {
    /// On the whole server.
    pub server: u32,
    /// In one database.
    pub database: u32,
}

impl Limits {
    /// Takes a place, unless this process has one; false if there is none for it.
    ///
    /// The last free place is for a database that has none. So no database waits for the processes
    /// of one other database, whatever those wait for. If several databases have taken all places,
    /// the next free one goes to a database that had none.
    pub fn take(self) -> bool {
        if self.all().any(|place| is_held(&place)) {
            return true;
        }
        let Some(seat) = self.seats().find(take) else {
            return false;
        };
        let place = self.all().find(take);
        let is_free = |place: &pg_sys::LOCKTAG| !is_taken(place);
        let has_others = self
            .seats()
            .any(|other| !is_held(&other) && is_taken(&other));
        if place.is_some() && (!has_others || self.all().any(|place| is_free(&place))) {
            return true;
        }
        for tag in place.iter().chain([&seat]) {
            // SAFETY: a plain value; this process has just taken the lock.
            unsafe { pg_sys::LockRelease(std::ptr::from_ref(tag), MODE, true) };
        }
        false
    }

    /// Whether [`take`](Self::take) would find none at this moment.
    pub fn are_taken(self) -> bool {
        let of_database = self.seats().filter(is_taken).count();
        let free = self.all().filter(|place| !is_taken(place)).count();
        let needed = if of_database == 0 { 1 } else { 2 };
        self.seats().all(|seat| is_taken(&seat)) || free < needed
    }

    fn all(self) -> impl Iterator<Item = pg_sys::LOCKTAG> {
        (0..self.server).map(|n| tag(4, [0, 0, n]))
    }

    /// Limits of this process's database.
    fn seats(self) -> impl Iterator<Item = pg_sys::LOCKTAG> {
        // SAFETY: reads a variable of the process.
        let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
        (0..self.database).map(move |n| tag(5, [database, 0, n]))
    }
}

/// One of a number of seats on the server, held until this is dropped. Those who wait get theirs in about the order in
/// which they came.
#[cfg(login_by_token)]
pub struct Seat(pg_sys::LOCKTAG);

#[cfg(login_by_token)]
impl Seat {
    fn tag(number: u32) -> pg_sys::LOCKTAG {
        tag(6, [0, 0, number])
    }

    /// Takes one of `count` seats. If all are taken, waits for one, for that time at most; then raises
    /// `lock_not_available`.
    pub fn take(count: u32, at_most: Duration) -> Self {
        if let Some(free) = (0..count).map(Self::tag).find(take) {
            return Self(free);
        }
        // Those who wait for one seat do not get another one, so the shortest of these queues is the best.
        let seat = (0..count)
            .map(Self::tag)
            .min_by_key(requests)
            .unwrap_or_else(|| Self::tag(0));
        let milliseconds = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: plain values. The variable of lock_timeout is this process's own, and an error, after which this
        // process ends, leaves it as it is.
        unsafe {
            let former = pg_sys::LockTimeout;
            pg_sys::LockTimeout = milliseconds.max(1);
            pg_sys::LockAcquire(&raw const seat, MODE, true, false);
            pg_sys::LockTimeout = former;
        }
        Self(seat)
    }

    /// Gives back a seat that was granted in the very moment in which the wait for it ended in an error.
    pub fn leave_any(count: u32) {
        for seat in (0..count).map(Self::tag).filter(is_held) {
            // SAFETY: a plain value; this process has the lock.
            unsafe { pg_sys::LockRelease(&raw const seat, MODE, true) };
        }
    }
}

#[cfg(login_by_token)]
impl Drop for Seat {
    fn drop(&mut self) {
        // SAFETY: a plain value; this process has the lock.
        unsafe { pg_sys::LockRelease(&raw const self.0, MODE, true) };
    }
}

/// Whether any process has the lock, or is just trying to take it.
fn is_taken(tag: &pg_sys::LOCKTAG) -> bool {
    requests(tag) > 0
}

/// Number of processes that have the lock, or wait for it.
fn requests(tag: &pg_sys::LOCKTAG) -> i32 {
    // SAFETY: a plain value. It counts who has the lock too.
    unsafe { pg_sys::LockWaiterCount(std::ptr::from_ref(tag)) }
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

/// Takes a lock for the session; false if another process has it.
fn take(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: plain values.
    let outcome = unsafe { pg_sys::LockAcquire(tag, MODE, true, true) };
    outcome == pg_sys::LockAcquireResult::LOCKACQUIRE_OK
}

fn is_held(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: looks into this process's table of locks.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let is_held = pg_sys::LockHeldByMe(tag, MODE);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let is_held = pg_sys::LockHeldByMe(tag, MODE, false);
        is_held
    }
}
