//! The library's shared memory. There is none unless the server itself loads the library
//! (`shared_preload_libraries`).

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// A part of shared memory. It begins as zeros, which must be a valid value.
pub struct Area<T> {
    name: &'static CStr,
    /// NULL if the session loaded the library.
    place: AtomicPtr<T>,
}

impl<T: Sync> Area<T> {
    /// A part of that name, which no other library may use.
    pub const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            place: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Its value, if there is shared memory.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: NULL, or what `attach` made, which is there as long as the server.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }
}

/// A part, whatever its type.
pub trait Part: Sync {
    fn bytes(&self) -> usize;
    /// Takes its place in shared memory.
    ///
    /// # Safety
    ///
    /// Call it in Postgres's hook for shared memory.
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

/// Asks for shared memory; call it once, while the server itself loads the library.
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

/// The postmaster calls it once, before there is any other process, and again after a crash.
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
