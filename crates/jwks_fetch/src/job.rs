//! A fetch in a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jwks_rules::wire::{Answer, Failure, FailureKind, Request};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::failure;
use crate::fetch::fetch;
use crate::progress::Progress;
use crate::resolver::Lookup;

/// Stack of the thread, in bytes: TLS and `getaddrinfo` need a few dozen KiB.
const STACK_BYTES: usize = 1024 * 1024;

/// A fetch that runs or has ended.
///
/// Dropping it never waits: a thread that still runs is not waited for, and ends at the latest with
/// the process.
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
            // If the job was dropped, it is not received.
            let _ = sender.send(answer.unwrap_or_else(|_| internal_error()));
        };

        // A thread inherits the mask of the one that starts it. Signals are blocked before, so that
        // it can never run one of Postgres's signal handlers.
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

    /// Returns the answer in JSON, once there is one. There is one at the deadline: name resolution
    /// has no time limit of its own, so the thread is not waited for.
    pub fn poll(&mut self) -> Option<&str> {
        if self.answer.is_none() {
            let answer = match self.answers.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Disconnected) => internal_error(),
                Err(TryRecvError::Empty) if Instant::now() < self.deadline => return None,
                Err(TryRecvError::Empty) => Answer::failed(failure::timed_out(&self.progress)),
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::mpsc::{Sender, channel};

    use jwks_rules::wire::Outcome;
    use nix::sys::signal::Signal;

    use super::*;

    /// Does in the thread what the test says.
    struct Inside<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Lookup for Inside<F> {
        fn addresses(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
            (self.0)();
            Ok(vec![])
        }
    }

    fn start(timeout_ms: u64, inside: impl Fn() + Send + Sync + 'static) -> Job {
        let request = Request {
            url: "https://keys.example.test/".to_owned(),
            discover: false,
            issuer: String::new(),
            hosts: "*".to_owned(),
            ca_file: String::new(),
            etag: None,
            timeout_ms,
            connect_timeout_ms: 1_000,
            user_agent: String::new(),
        };
        Job::start(request, Arc::new(Inside(inside))).unwrap()
    }

    fn wait(job: &mut Job) -> Failure {
        loop {
            if let Some(text) = job.poll() {
                let answer = Answer::from_json(text.as_bytes()).unwrap();
                assert_eq!(answer.outcome, Outcome::Failed);
                return answer.error.unwrap();
            }
            thread::yield_now();
        }
    }

    fn blocking() -> (Sender<()>, impl Fn() + Send + Sync + 'static) {
        let (sender, receiver) = channel();
        let receiver = std::sync::Mutex::new(receiver);
        (sender, move || {
            let _ = receiver.lock().unwrap().recv();
        })
    }

    #[test]
    fn the_time_limit_holds_while_a_name_server_does_not_answer() {
        // The limit must leave time for the steps before that, on a slow machine too.
        for timeout_ms in [200, 1_000, 5_000, 25_000] {
            let (_release, inside) = blocking();
            let mut job = start(timeout_ms, inside);
            let failure = wait(&mut job);
            assert_eq!(failure.kind, FailureKind::Timeout);
            if failure.message == "time limit was reached while resolving the host's name" {
                return;
            }
        }
        panic!("the name was never asked for");
    }

    #[test]
    fn the_answer_stays_the_same() {
        let (sender, answers) = sync_channel(1);
        let mut job = Job {
            answers,
            answer: None,
            progress: Progress::default(),
            deadline: Instant::now(),
        };
        let failure = wait(&mut job);
        assert_eq!(failure.kind, FailureKind::Timeout);
        let before = job.poll().map(str::as_ptr);
        // The thread's own answer comes too late.
        sender.send(Answer::new(Outcome::NotModified)).unwrap();
        assert_eq!(wait(&mut job), failure);
        assert_eq!(job.poll().map(str::as_ptr), before);
    }

    #[test]
    fn a_job_that_is_dropped_is_not_waited_for() {
        let (release, inside) = blocking();
        drop(start(60_000, inside));
        // The thread was still blocked: it is released only here.
        drop(release);
    }

    #[test]
    fn a_panic_in_the_thread_is_a_failure() {
        let mut job = start(60_000, || panic!("in the thread"));
        let failure = wait(&mut job);
        assert_eq!(failure.kind, FailureKind::Protocol);
        assert!(failure.message.starts_with("internal error"), "{failure}");
    }

    #[test]
    fn the_thread_blocks_signals_and_its_starter_does_not() {
        let before = SigSet::thread_get_mask().unwrap();
        let (sender, masks) = channel();
        let sender = std::sync::Mutex::new(sender);
        let mut job = start(60_000, move || {
            let mask = SigSet::thread_get_mask().unwrap();
            sender.lock().unwrap().send(mask).unwrap();
        });
        let inside = masks.recv().unwrap();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGALRM,
            Signal::SIGUSR1,
            Signal::SIGHUP,
        ] {
            assert!(inside.contains(signal), "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
        assert!(!before.contains(Signal::SIGTERM));
        assert_eq!(wait(&mut job).kind, FailureKind::Dns);
    }
}
