//! Errors about keys that were not found.

use jwt_verify::Error;

use crate::errors::{FOLLOWED, token_refused};
use crate::pg::report::Report;

/// A token without a key, of an issuer whose keys are followed in a table; `remark` names the fault
/// of the table.
pub fn key_not_followed(error: &Error, remark: Option<String>) -> Report {
    let refused = token_refused(error, "", &FOLLOWED);
    let hint = remark.is_some().then(|| {
        "The view auth.key_status has the state of each source; auth.follow() follows a table \
         again."
            .to_owned()
    });
    Report {
        detail: match (refused.detail, remark) {
            (Some(detail), Some(remark)) => Some(format!("{detail} {remark}")),
            (detail, remark) => detail.or(remark),
        },
        hint: hint.or(refused.hint),
        ..refused
    }
}
