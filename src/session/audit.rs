//! `pg_auth_jwt.audit_log`: one line in the server's log for each verification.

use jwt_verify::{Error, Excerpt, Verified};

use crate::errors::sqlstate;
use crate::pg::report::{self, SqlState};
use crate::settings::{self, AuditLog};

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
    // No signature covers these: they are only claims of the sender.
    let unverified = jwt_verify::unverified_claims(token);
    let SqlState(code) = sqlstate(error.kind());
    report::log_to_server(&format!(
        "token refused: issuer {}, kid {}, sub {}, jti {}, reason {} {error}",
        field(unverified.issuer.as_deref()),
        field(unverified.key_id.as_deref()),
        field(unverified.subject.as_deref()),
        field(unverified.token_id.as_deref()),
        String::from_utf8_lossy(code),
    ));
}

/// A claim, quoted and escaped so that it cannot forge a line of the log; `-` if there is none.
fn field(value: Option<&str>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| Excerpt::new(value).to_string())
}
