//! Errors about fetching.

use jwt_verify::{Error, Excerpt};

use crate::errors::{FETCHED, token_refused};
use crate::pg::report::{Report, SqlState};

/// A token without a key, of an issuer whose keys are fetched; `remark` names their fault, and
/// `hint` the step that is under way.
pub fn key_not_fetched(error: &Error, remark: Option<&str>, hint: Option<&str>) -> Report {
    let refused = token_refused(error, "", &FETCHED);
    Report {
        // None of the issuer's keys counts then, so the token's key is not the missing one.
        detail: remark.map(str::to_owned).or(refused.detail),
        hint: hint.map(str::to_owned).or(refused.hint),
        ..refused
    }
}

/// `auth.refresh` of an issuer whose keys are not fetched.
pub fn issuer_not_fetched(issuer: &str) -> Report {
    Report::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "keys of issuer {} are not fetched from a URL",
            Excerpt::new(issuer)
        ),
    )
    .hint("auth.follow_url() has the keys of an issuer fetched.")
}
