//! A fetch in a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jwks_fetch::wire::{Answer, Failure, FailureKind, Request};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::failure;
use crate::fetch::fetch;
use crate::progress::Progress;
use crate::resolver::Lookup;

/// Stack of the thread, in bytes: TLS and `getaddrinfo` need a few dozen KiB.
const STACK_BYTES: usize = 1024 * 1024;

/// A fetch that runs or has ended.
///
/// Dropping it never waits: a thread that still runs is left to itself, and ends at the latest when
/// the process does.
pub(crate) struct Job {
    answers: Receiver<Answer>,
    answer: Option<String>,
    progress: Progress,
    deadline: Instant,
}

impl Job {
    /// Starts the thread. None: it could not be started.
    pub fn start(request: Request, lookup: Arc<dyn Lookup>) -> Option<Self> {
        let deadline = Instant::now().checked_add(Duration::from_millis(request.timeout_ms))?;
        let progress = Progress::default();
        let (sender, answers) = sync_channel(1);
        let progress_inside = progress.clone();
        let run = move || {
            let fetch = || fetch(&request, lookup, progress_inside, deadline);
            let answer = catch_unwind(AssertUnwindSafe(fetch));
            // Nobody receives it if the job was dropped.
            let _ = sender.send(answer.unwrap_or_else(|_| internal_error()));
        };

        // A thread inherits the mask of the one that starts it. Blocked before, so that there is no
        // moment at which it could run one of Postgres's signal handlers.
        let before = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .ok()?;
        let thread = thread::Builder::new()
            .name("pg_auth_jwt".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(run);
        let restored = before.thread_set_mask();
        thread.ok()?;
        restored.ok()?;
        Some(Self {
            answers,
            answer: None,
            progress,
            deadline,
        })
    }

    /// Returns the answer in JSON, once there is one. At the deadline there is: name resolution has
    /// no time limit of its own, so the thread is not waited for.
    pub fn poll(&mut self) -> Option<&str> {
        if self.answer.is_none() {
            let answer = match self.answers.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Disconnected) => internal_error(),
                Err(TryRecvError::Empty) if Instant::now() < self.deadline => return None,
                Err(TryRecvError::Empty) => {
                    Answer::failed(failure::timed_out(self.progress.phase()))
                }
            };
            self.answer = answer.to_json().ok();
        }
        self.answer.as_deref()
    }
}

fn internal_error() -> Answer {
    Answer::failed(Failure::new(
        FailureKind::Protocol,
        "internal error in the library that fetches keys",
    ))
}
