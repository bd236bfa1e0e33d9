//! The library's shared memory. There is none unless the server itself loads the library
//! (`shared_preload_libraries`).

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// A part of it. A value of zeros must be valid, and is what it begins with.
pub struct Area<T> {
    name: &'static CStr,
    /// NULL where the library is loaded by the session.
    place: AtomicPtr<T>,
}

impl<T: Sync> Area<T> {
    /// The name is one that no other library uses.
    pub const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            place: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Its value, where there is shared memory.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: NULL, or what `attach` made, which is there as long as the server.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }
}

/// What a part is made of.
pub trait Part: Sync {
    fn bytes(&self) -> usize;
    /// Takes its place in shared memory.
    ///
    /// # Safety
    ///
    /// To be called in Postgres's hook for that.
    unsafe fn attach(&self);
}

impl<T: Sync> Part for Area<T> {
    fn bytes(&self) -> usize {
        size_of::<T>()
    }

    unsafe fn attach(&self) {
        // SAFETY: Postgres gives memory of that size, which it aligns to a cache line, or ends the
        // server.
        unsafe {
            let mut is_there = false;
            let place: *mut c_void =
                pg_sys::ShmemInitStruct(self.name.as_ptr(), self.bytes(), &raw mut is_there);
            if !is_there {
                std::ptr::write_bytes(place.cast::<u8>(), 0, self.bytes());
            }
            self.place.store(place.cast(), Ordering::Relaxed);
        }
    }
}

static mut PARTS: [Option<&'static dyn Part>; 2] = [None; 2];
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for shared memory; to be called once, while the server itself loads the library.
pub fn request(parts: [&'static dyn Part; 2]) {
    // SAFETY: the postmaster is single-threaded, and this is the only place that writes these.
    unsafe {
        PARTS = parts.map(Some);
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(requested);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(attach);
    }
}

unsafe extern "C-unwind" fn requested() {
    // SAFETY: Postgres calls the hook when memory may be asked for.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        let parts = PARTS;
        for part in parts.iter().flatten() {
            pg_sys::RequestAddinShmemSpace(part.bytes());
        }
    }
}

/// Called once by the postmaster, before there is any other process; again after a crash.
unsafe extern "C-unwind" fn attach() {
    // SAFETY: this is the hook.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let parts = PARTS;
        for part in parts.iter().flatten() {
            part.attach();
        }
    }
}
