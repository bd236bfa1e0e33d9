//! The memory of signatures that the processes of this server share (`pg_auth_jwt.signature_cache`).
//! [`SignatureMemory`] says what a hit means.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering};

use jwt_verify::{Bucket, SECRET_BYTES, SignatureMemory};
use pgrx::pg_sys;

use crate::pg::shared::{self, Area};
use crate::settings;
use crate::stats;

/// The secret of the fingerprints. It is made with the memory, and so ends with the server, also in a crash.
#[repr(C, align(64))]
pub struct Secret([AtomicU64; SECRET_BYTES / size_of::<u64>()]);

/// Shared memory with the signatures.
pub static SIGNATURES: Area<Secret, Bucket> =
    Area::with_array(c"pg_auth_jwt signatures", buckets, Secret::make);

thread_local! {
    /// The memory, once this process was asked for it and it was there.
    static MEMORY: OnceCell<SignatureMemory<'static>> = const { OnceCell::new() };
}

fn buckets() -> usize {
    settings::signature_cache()
        .checked_div(size_of::<Bucket>())
        .unwrap_or(0)
}

impl Secret {
    /// Fills it with random bytes. If there are none to be had, it stays zero, and is not used.
    fn make(&self) {
        let mut bytes = [0_u8; SECRET_BYTES];
        // SAFETY: it writes so many bytes.
        let is_random =
            unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), SECRET_BYTES) };
        if !is_random {
            return;
        }
        for (word, bytes) in self.0.iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    /// Its bytes, unless there were none.
    fn bytes(&self) -> Option<[u8; SECRET_BYTES]> {
        let mut bytes = [0; SECRET_BYTES];
        for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(&self.0) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        (bytes != [0; SECRET_BYTES]).then_some(bytes)
    }
}

/// Attaches the memory that the server's processes share, if this process can and has not yet.
pub fn attach() {
    match buckets() {
        0 => shared::attach_named(&[&stats::SHARED]),
        _ => shared::attach_named(&[&stats::SHARED, &SIGNATURES]),
    }
}

/// Calls `body` with the memory, if there is one.
pub fn with<T>(body: impl FnOnce(Option<&SignatureMemory<'static>>) -> T) -> T {
    MEMORY.with(|known| {
        if known.get().is_none()
            && let Some(buckets) = SIGNATURES.array().filter(|buckets| !buckets.is_empty())
            && let Some(secret) = SIGNATURES.get().and_then(Secret::bytes)
        {
            // A process has one thread, and asks for nothing in between.
            let _ = known.set(SignatureMemory::new(buckets, &secret));
        }
        body(known.get())
    })
}
