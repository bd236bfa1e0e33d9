//! The library's shared memory. If the server itself loads the library (`shared_preload_libraries`), it is part of the
//! server's own. Else there is some from Postgres 17 on, in segments of the registry of dynamic shared memory
//! (src/backend/storage/ipc/dsm_registry.c), which the first process that needs one makes.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pgrx::pg_sys;

/// A part of shared memory: a value and an array after it. It begins as zeros, which must be valid for both.
pub struct Area<T, E = ()> {
    name: &'static CStr,
    /// Length that the array shall have.
    wanted: fn() -> usize,
    /// Fills new memory. Called before any other process sees it; must not panic or raise.
    begin: fn(&T),
    /// NULL until the part is there.
    place: AtomicPtr<T>,
    /// Length of the array, if the part is there.
    length: AtomicUsize,
    array: std::marker::PhantomData<AtomicPtr<E>>,
}

impl<T: Sync> Area<T> {
    /// A part without array, of that name, which no other library may use.
    pub const fn new(name: &'static CStr) -> Self {
        Self::with_array(name, || 0, |_| ())
    }
}

impl<T: Sync, E: Sync> Area<T, E> {
    /// A part with an array of a length that `wanted` returns, and a value that `begin` fills.
    pub const fn with_array(name: &'static CStr, wanted: fn() -> usize, begin: fn(&T)) -> Self {
        Self {
            name,
            wanted,
            begin,
            place: AtomicPtr::new(std::ptr::null_mut()),
            length: AtomicUsize::new(0),
            array: std::marker::PhantomData,
        }
    }

    /// Its value, if it is there.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: NULL, or what `attach` made, which is there as long as the process.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }

    /// Its array, if it is there.
    pub fn array(&self) -> Option<&'static [E]> {
        let place = self.place.load(Ordering::Relaxed);
        if place.is_null() {
            return None;
        }
        // SAFETY: `attach` made it, and the array lies within: see `bytes`.
        unsafe {
            let first = place.cast::<u8>().add(Self::OFFSET).cast::<E>();
            Some(std::slice::from_raw_parts(
                first,
                self.length.load(Ordering::Relaxed),
            ))
        }
    }

    /// Distance of the array from the part's beginning, in bytes.
    const OFFSET: usize = size_of::<T>().next_multiple_of(align_of::<E>());
}

/// A part, whatever its type.
pub trait Part: Sync {
    fn name(&self) -> &'static CStr;
    /// Its size by the present settings.
    fn bytes(&self) -> usize;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    fn is_attached(&self) -> bool;
    /// Gives new memory its first value.
    ///
    /// # Safety
    ///
    /// `place` must have `bytes`, aligned to a cache line, that no other process has seen.
    unsafe fn fill(&self, place: *mut c_void);
    /// Takes its place in memory that `fill` has filled.
    ///
    /// # Safety
    ///
    /// `place` must have `bytes`, and stay as long as the process.
    unsafe fn attach(&self, place: *mut c_void);
}

impl<T: Sync, E: Sync> Part for Area<T, E> {
    fn name(&self) -> &'static CStr {
        self.name
    }

    fn bytes(&self) -> usize {
        size_of::<E>()
            .saturating_mul((self.wanted)())
            .saturating_add(Self::OFFSET)
    }

    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    fn is_attached(&self) -> bool {
        !self.place.load(Ordering::Relaxed).is_null()
    }

    unsafe fn fill(&self, place: *mut c_void) {
        // SAFETY: as the caller promises; zeros are valid.
        unsafe {
            std::ptr::write_bytes(place.cast::<u8>(), 0, self.bytes());
            (self.begin)(&*place.cast::<T>());
        }
    }

    unsafe fn attach(&self, place: *mut c_void) {
        self.length.store((self.wanted)(), Ordering::Relaxed);
        self.place.store(place.cast(), Ordering::Relaxed);
    }
}

static mut PARTS: [Option<&'static dyn Part>; 3] = [None; 3];
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for shared memory; call it once, while the server itself loads the library.
pub fn request(parts: [&'static dyn Part; 3]) {
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
    // SAFETY: this is the hook. Postgres gives memory of that size, which it aligns to a cache line, or ends the server.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let parts = PARTS;
        for part in parts.iter().flatten() {
            let mut is_there = false;
            let place =
                pg_sys::ShmemInitStruct(part.name().as_ptr(), part.bytes(), &raw mut is_there);
            if !is_there {
                part.fill(place);
            }
            part.attach(place);
        }
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
mod registry {
    use super::Part;

    /// There is no registry.
    pub fn attach_named(_: &[&'static dyn Part]) {}
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
mod registry {
    use std::cell::Cell;
    use std::ffi::{CString, c_void};

    use pgrx::pg_sys;

    use super::Part;
    use crate::pg::{attempt, report};

    thread_local! {
        /// Whether this process has tried.
        static TRIED: Cell<bool> = const { Cell::new(false) };
        /// The part that is being attached, for the callback, which gets no argument up to Postgres 18.
        static ATTACHING: Cell<Option<&'static dyn Part>> = const { Cell::new(None) };
    }

    /// Attaches the parts that are not there, at the first call in a process that can do so. Where that fails, the
    /// process goes on without them, and says so in the server's log.
    pub fn attach_named(parts: &[&'static dyn Part]) {
        // SAFETY: reads variables of the process. A single-user server has no other processes. In a parallel
        // operation there can be no subtransaction, which catches the error.
        let is_possible = unsafe { pg_sys::IsUnderPostmaster && !pg_sys::IsInParallelMode() };
        if TRIED.get() || !is_possible {
            return;
        }
        TRIED.set(true);
        for &part in parts {
            if part.is_attached() {
                continue;
            }
            ATTACHING.set(Some(part));
            let segment = attempt::undone(|| {
                let name = name(part);
                let mut is_found = false;
                // SAFETY: the name is NUL-terminated, and Postgres copies it. What it raises is caught by the caller,
                // whose subtransaction gives its locks back. The segment stays until the server stops.
                unsafe {
                    pg_sys::GetNamedDSMSegment(
                        name.as_ptr(),
                        part.bytes(),
                        Some(fill),
                        &raw mut is_found,
                        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
                        std::ptr::null_mut(),
                    )
                }
            });
            match segment {
                // SAFETY: it has the size that was asked for: Postgres raises an error if it has another.
                Ok(place) => unsafe { part.attach(place) },
                Err(failure) => report::log_to_server(&format!(
                    "pg_auth_jwt: this process shares no memory with others ({}): {failure}",
                    part.name().to_string_lossy()
                )),
            }
        }
    }

    /// Another version of the library, or another size, is another segment.
    fn name(part: &dyn Part) -> CString {
        let name = part.name().to_string_lossy();
        let name = format!("{name} {} {}", env!("CARGO_PKG_VERSION"), part.bytes());
        CString::new(name).unwrap_or_default()
    }

    /// Postgres calls it while no other process can attach the segment.
    unsafe extern "C-unwind" fn fill(
        place: *mut c_void,
        #[cfg(not(any(feature = "pg17", feature = "pg18")))] _: *mut c_void,
    ) {
        if let Some(part) = ATTACHING.get() {
            // SAFETY: the new segment, which begins at a page.
            unsafe { part.fill(place) };
        }
    }
}

pub use registry::attach_named;
