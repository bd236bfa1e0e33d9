//! The login in the process of the new connection, which is in no database yet.

use std::ffi::{CStr, CString};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::oauth::checks::{self, Line};
use crate::oauth::message::{ANSWER_BYTES, Accepted, Answer, Reason, Request};
use crate::oauth::{errors, issuer, worker};
use crate::pg::attempt::{self, Failure};
use crate::pg::encoding;
use crate::pg::oauth::{Attempt, Validator, Verdict, client_is_connected, time_left};
use crate::pg::report::{self, Report, SqlState};
use crate::pg::segment::Segment;
use crate::pg::turns::Seat;
use crate::pg::worker::{Awaited, wait};
use crate::settings;
use crate::trust::sql;

/// Most time that a login takes, from the first check to the verdict: that of a fetch of keys, and of a wait for others.
const PATIENCE: Duration = Duration::from_secs(20);

/// Interval at which a login looks whether a background worker is free, or its client has gone.
const LOOK: Duration = Duration::from_millis(50);

/// Option of a line of pg_hba.conf, as `validator.login_session`.
const LOGIN_SESSION: &CStr = c"login_session";

/// This library as a validator of tokens.
pub struct TokenValidator;

impl Validator for TokenValidator {
    const OPTIONS: &[&CStr] = &[LOGIN_SESSION];

    fn validate(attempt: &Attempt) -> Verdict {
        let patience = Patience::begin();
        if attempt.lacks_tls {
            let Report {
                message,
                detail,
                hint,
                ..
            } = errors::without_tls();
            report::warn_log(&message, detail.as_deref(), hint.as_deref());
        }
        // An error leaves locks, and segments, to the end of this process. But the client decides when that is, by its
        // answer to the refusal: so they end with a subtransaction.
        let outcome = attempt::contained(|| judge(attempt, &patience)).unwrap_or_else(|failure| {
            Seat::leave_any(settings::login_workers());
            Err(reason_of(failure))
        });
        let outcome = outcome.and_then(|(login, keeps_token)| {
            if keeps_token {
                let role = pg_sys::Oid::from_u32(login.role);
                let role = attempt.skips_usermap.then_some(role);
                attempt::contained_without_undo(|| {
                    settings::token::set_at_login(attempt.token, role);
                })?;
            }
            Ok(login.name)
        });
        match outcome {
            Ok(name) => Verdict::Accepted(name),
            Err(reason) => Verdict::Refused(tell(reason)),
        }
    }
}

/// The time that a login may take.
struct Patience {
    start: Instant,
    most: Duration,
}

impl Patience {
    /// Ends before Postgres gives the client up, which would leave no reason in the log.
    fn begin() -> Self {
        let left = time_left();
        Self {
            start: Instant::now(),
            most: PATIENCE.min(left.mul_f32(0.75)),
        }
    }

    fn left(&self) -> Option<Duration> {
        self.most.checked_sub(self.start.elapsed())
    }

    /// Waits for a moment, or until this process is woken up; `None` if the time is over.
    fn pause(&self) -> Option<Result<(), Report>> {
        wait(self.left()?.min(LOOK));
        Some(if client_is_connected() {
            Ok(())
        } else {
            Err(errors::client_gone())
        })
    }
}

/// The user's name and role, and whether the token is to be the session's.
fn judge(attempt: &Attempt, patience: &Patience) -> Result<(Accepted, bool), Reason> {
    if settings::login_database().is_empty() {
        return Err(errors::no_database().into());
    }
    let keeps_token = keeps_token(attempt)?;
    check(attempt)?;
    let request = Request {
        token: attempt.token.to_bytes(),
        role: attempt.role.to_bytes(),
        issuer: attempt.issuer.to_bytes(),
        scope: attempt.scope.to_bytes(),
        skips_usermap: attempt.skips_usermap,
    };
    let _seat = Seat::take(
        settings::login_workers(),
        patience.left().unwrap_or_default(),
    );
    // It may have gone while this waited for the seat.
    if !client_is_connected() {
        return Err(errors::client_gone().into());
    }
    let segment = Segment::with(&request.to_bytes(), ANSWER_BYTES);
    let worker = start_worker(&segment, patience)?;
    let answer = wait_for_answer(&segment, &worker, patience)?;
    // The seat, and its place in max_worker_processes, are free for the next login once the worker has ended.
    while !worker.has_ended() && patience.left().is_some() {
        wait(LOOK);
    }
    worker.leave();
    match answer {
        Answer::Accepted(login) => Ok((login, keeps_token)),
        Answer::Refused(reason) => Err(reason),
    }
}

/// The checks that take no key.
fn check(attempt: &Attempt) -> Result<(), Report> {
    let token = attempt.token.to_str().map_err(|_| errors::malformed())?;
    let text = |text: &CStr| encoding::from_server_lossy(text.to_bytes());
    let line_issuer = text(attempt.issuer);
    let issuer = issuer::of_line(&line_issuer).ok_or_else(|| errors::other_issuer(&line_issuer))?;
    let line = Line {
        issuer: &issuer,
        scope: &text(attempt.scope),
    };
    checks::before_verification(token, &line, sql::now())
}

/// Whether the line of pg_hba.conf lets the token be the session's.
fn keeps_token(attempt: &Attempt) -> Result<bool, Report> {
    match attempt.option(LOGIN_SESSION).map(settings::boolean_of) {
        None | Some(Some(true)) => Ok(true),
        Some(Some(false)) => Ok(false),
        Some(None) => Err(errors::bad_option(&LOGIN_SESSION.to_string_lossy())),
    }
}

fn start_worker(segment: &Segment, patience: &Patience) -> Result<Awaited, Report> {
    let spec = worker::spec(segment);
    loop {
        if let Some(worker) = spec.start_awaited() {
            return Ok(worker);
        }
        patience.pause().ok_or_else(errors::no_worker)??;
    }
}

fn wait_for_answer(
    segment: &Segment,
    worker: &Awaited,
    patience: &Patience,
) -> Result<Answer, Report> {
    loop {
        // Asked before the answer is looked for, which it may have written at its end.
        let has_ended = worker.has_ended();
        if let Some(answer) = segment.answer() {
            return Answer::from_bytes(&answer)
                .ok_or_else(|| errors::internal("answer about a login cannot be read"));
        }
        if has_ended {
            return Err(errors::no_answer());
        }
        patience.pause().ok_or_else(errors::too_late)??;
    }
}

/// The reason for an error of Postgres.
fn reason_of(failure: Failure) -> Reason {
    if failure.is(SqlState::LOCK_NOT_AVAILABLE) {
        errors::busy().into()
    } else {
        failure.into()
    }
}

/// Logs why a login is refused, and returns it in one line.
fn tell(reason: Reason) -> CString {
    let line = format!("login by token refused: {}", reason.message);
    report::log_with_code(
        reason.code,
        &line,
        reason.detail.as_deref(),
        reason.hint.as_deref(),
    );
    encoding::to_server_c_string(&reason.message)
}
