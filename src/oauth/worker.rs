//! The background worker that verifies one login's token, in the database for logins.

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::oauth::errors;
use crate::oauth::message::{Answer, Reason, Request};
use crate::oauth::rules;
use crate::pg::attempt;
use crate::pg::guard;
use crate::pg::role_rights;
use crate::pg::segment::Segment;
use crate::pg::worker::{self, EXTRA_BYTES, Spec};
use crate::session::audit;
use crate::settings;
use crate::trust::tables;

/// The process's name in `pg_stat_activity` and in the log.
const NAME: &CStr = c"pg_auth_jwt login";

/// Name of its function, below.
const FUNCTION: &CStr = c"pg_auth_jwt_login_main";

/// The worker for the request in a segment.
pub fn spec(segment: &Segment) -> Spec<'static> {
    Spec {
        name: NAME,
        function: FUNCTION,
        argument: segment.handle(),
        extra: [0; EXTRA_BYTES],
        on_standby: true,
        notify: true,
    }
}

/// The process's function.
///
/// # Safety
///
/// Only Postgres may call it, in a background worker.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_auth_jwt_login_main(segment: pg_sys::Datum) {
    // SAFETY: this is the worker's first function, and nothing in this frame needs a drop.
    unsafe {
        guard::run(|| {
            let database = CString::new(settings::login_database()).unwrap_or_default();
            worker::connect_by_name(&database);
            worker::force_settings();
            settings::force_at_login();
            audit::quote_verified_only();
            // Without it, the client has gone, or has waited for too long.
            let Some(segment) = Segment::attach(segment.value() as u32) else {
                return Ok(());
            };
            worker::show_activity(c"verifying the token of a login");
            if let Some(message) = segment.message() {
                segment.set_answer(&answer(&message).to_bytes());
                worker::wake_starter();
            }
            Ok(())
        });
    }
}

fn answer(message: &[u8]) -> Answer {
    let Some(request) = Request::from_bytes(message) else {
        return Answer::Refused(errors::internal("request of a login cannot be read").into());
    };
    let is_there = Cell::new(false);
    let owner = || {
        let owner = tables::extension_owner()?;
        is_there.set(true);
        role_rights::is_superuser(owner).then_some(owner)
    };
    let verdict = attempt::transaction(owner, || Ok(rules::judge(&request)));
    match verdict {
        Ok(Some(Ok(login))) => Answer::Accepted(login),
        Ok(Some(Err(reason))) => Answer::Refused(reason),
        Ok(None) => Answer::Refused(errors::no_extension(is_there.get()).into()),
        Err(failure) => Answer::Refused(Reason::from(failure)),
    }
}
