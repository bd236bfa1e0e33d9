//! `pg_auth_jwt.audit_log`: one line in the server's log for each verification.

#[cfg(login_by_token)]
use std::sync::atomic::{AtomicBool, Ordering};

use jwt_verify::{Error, Excerpt, Verified};

use crate::errors::sqlstate;
#[cfg(login_by_token)]
use crate::errors::{AFTER_SIGNATURE, message};
use crate::pg::report::{self, SqlState};
use crate::settings::{self, AuditLog};

/// Set in a process that verifies tokens of strangers, who could fill the log with lines of their own.
#[cfg(login_by_token)]
static OF_STRANGERS: AtomicBool = AtomicBool::new(false);

/// From now on, quotes a token only if its signature is good.
#[cfg(login_by_token)]
pub fn quote_verified_only() {
    OF_STRANGERS.store(true, Ordering::Relaxed);
}

/// Logs the outcome, if the setting asks for it. The use of a cached identity is no verification.
pub fn log(token: &str, outcome: &Result<Verified, Error>) {
    let verified = match outcome {
        Ok(verified) => verified,
        Err(error) => return log_refusal(token, error),
    };
    if settings::audit_log() == AuditLog::All {
        report::log_to_server(&format!(
            "token accepted: issuer {}, kid {}, sub {}, jti {}",
            field(verified.issuer.as_deref()),
            field(verified.key_id.as_deref()),
            field(verified.subject.as_deref()),
            field(verified.token_id.as_deref()),
        ));
    }
}

/// Logs a refusal, if the setting asks for it. That of a token which was verified before, and is
/// revoked, is one too.
pub fn log_refusal(token: &str, error: &Error) {
    if settings::audit_log() == AuditLog::Off {
        return;
    }
    let SqlState(code) = sqlstate(error.kind());
    let code = String::from_utf8_lossy(code);
    #[cfg(login_by_token)]
    if OF_STRANGERS.load(Ordering::Relaxed) && !AFTER_SIGNATURE.contains(&error.kind()) {
        let reason = message(error.kind());
        report::log_to_server(&format!("token refused: reason {code} {reason}"));
        return;
    }
    // No signature covers these: they are only claims of the sender.
    let unverified = jwt_verify::unverified_claims(token);
    report::log_to_server(&format!(
        "token refused: issuer {}, kid {}, sub {}, jti {}, reason {code} {error}",
        field(unverified.issuer.as_deref()),
        field(unverified.key_id.as_deref()),
        field(unverified.subject.as_deref()),
        field(unverified.token_id.as_deref()),
    ));
}

/// A claim, quoted and escaped so that it cannot forge a line of the log; `-` if there is none.
fn field(value: Option<&str>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| Excerpt::new(value).to_string())
}
