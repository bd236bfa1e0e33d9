//! A segment of dynamic shared memory for one message to another process, and its answer.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use pgrx::pg_sys;

/// A segment that is mapped into this process, until this is dropped.
///
/// All of it is atomics, so that nothing that another process writes can make a read here undefined.
pub struct Segment(*mut pg_sys::dsm_segment);

#[repr(C)]
struct Head {
    /// [`EMPTY`], [`ASKED`] or [`ANSWERED`].
    state: AtomicU32,
    /// Length of the message.
    length: AtomicU32,
    /// Bytes that the message may take.
    room: AtomicU32,
}

const ASKED: u32 = 1;
const ANSWERED: u32 = 2;

impl Segment {
    /// Makes a segment with a message, and room for an answer of at most `answer` bytes. Whatever is in it is
    /// overwritten when this is dropped, or the process ends. Raises if there is no memory.
    pub fn with(message: &[u8], answer: usize) -> Self {
        let room = message.len().max(answer);
        let size = room.saturating_add(size_of::<Head>());
        // SAFETY: Postgres returns a mapped segment of that size or raises. It begins with zeros, and no other process
        // knows it yet. The callback lives as long as the library.
        let segment = unsafe {
            let segment = pg_sys::dsm_create(size, 0);
            pg_sys::on_dsm_detach(segment, Some(wipe), pg_sys::Datum::from(size));
            Self(segment)
        };
        let head = segment.head();
        head.room
            .store(u32::try_from(room).unwrap_or(0), Ordering::Relaxed);
        segment.put(message, ASKED);
        segment
    }

    /// Maps the segment of another process; `None` if that is gone.
    pub fn attach(handle: u32) -> Option<Self> {
        // SAFETY: NULL for a handle that is not known. Only `with` makes segments whose handles are passed here.
        let segment = unsafe { pg_sys::dsm_attach(handle) };
        // Not `then_some`, which would create a value from NULL and drop it.
        (!segment.is_null()).then(|| Self(segment))
    }

    /// The number by which another process attaches it.
    pub fn handle(&self) -> u32 {
        // SAFETY: it is mapped.
        unsafe { pg_sys::dsm_segment_handle(self.0) }
    }

    /// The message.
    pub fn message(&self) -> Option<Vec<u8>> {
        self.get(ASKED)
    }

    /// Replaces the message by its answer.
    pub fn set_answer(&self, answer: &[u8]) {
        self.put(answer, ANSWERED);
    }

    /// The answer, once there is one.
    pub fn answer(&self) -> Option<Vec<u8>> {
        self.get(ANSWERED)
    }

    fn put(&self, text: &[u8], state: u32) {
        let head = self.head();
        head.state.store(0, Ordering::Relaxed);
        let mut length = 0_u32;
        for (place, byte) in self.bytes().iter().zip(text) {
            place.store(*byte, Ordering::Relaxed);
            length = length.saturating_add(1);
        }
        head.length.store(length, Ordering::Relaxed);
        head.state.store(state, Ordering::Release);
    }

    fn get(&self, state: u32) -> Option<Vec<u8>> {
        let head = self.head();
        if head.state.load(Ordering::Acquire) != state {
            return None;
        }
        let length = usize::try_from(head.length.load(Ordering::Relaxed)).ok()?;
        let bytes = self.bytes().get(..length)?;
        Some(
            bytes
                .iter()
                .map(|byte| byte.load(Ordering::Relaxed))
                .collect(),
        )
    }

    fn head(&self) -> &Head {
        // SAFETY: the segment begins with it, at a page.
        unsafe { &*pg_sys::dsm_segment_address(self.0).cast::<Head>() }
    }

    fn bytes(&self) -> &[AtomicU8] {
        let room = usize::try_from(self.head().room.load(Ordering::Relaxed)).unwrap_or(0);
        // SAFETY: `with` has made the segment as long, and nothing changes `room` until it is wiped, to zero.
        unsafe {
            let first = pg_sys::dsm_segment_address(self.0).byte_add(size_of::<Head>());
            std::slice::from_raw_parts(first.cast(), room)
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nothing refers to it after this. In the process that made it, this calls `wipe`.
        unsafe { pg_sys::dsm_detach(self.0) }
    }
}

/// Overwrites the whole segment with zeros, while it is still mapped. Postgres calls it when it is detached, in whatever
/// way; it cannot raise.
unsafe extern "C-unwind" fn wipe(segment: *mut pg_sys::dsm_segment, size: pg_sys::Datum) {
    // SAFETY: the segment and the size with which this was registered.
    unsafe {
        let first = pg_sys::dsm_segment_address(segment).cast::<AtomicU8>();
        for byte in std::slice::from_raw_parts(first, size.value()) {
            byte.store(0, Ordering::Relaxed);
        }
    }
}
