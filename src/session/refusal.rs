//! A refused token, with the data for its error and a second attempt.

use jwt_verify::{Error, ErrorKind, Terms, UnixTime};

use crate::errors::{FETCHED, FOLLOWED, LOADED, token_refused};
use crate::pg::report::Report;
use crate::session::errors;
use crate::trust::fetch::start::Tried;
use crate::trust::keys::Keys;

/// The reason for which there is no identity.
pub enum Refusal {
    /// The verifier refuses the token.
    Token(Box<RefusedToken>),
    /// Another error, such as that of a setting.
    Other(Report),
}

/// A token that the verifier refuses.
pub struct RefusedToken {
    error: Error,
    /// The keys that were looked up for it, if the check came so far.
    keys: Option<Keys>,
    /// The fetch that was started meanwhile, or the reason why there is none.
    pub tried: Tried,
    /// The statement's time.
    now: UnixTime,
}

impl From<Report> for Refusal {
    fn from(report: Report) -> Self {
        Self::Other(report)
    }
}

impl From<RefusedToken> for Refusal {
    fn from(refused: RefusedToken) -> Self {
        Self::Token(Box::new(refused))
    }
}

impl Refusal {
    /// The error to be raised. `token` is the one that was refused.
    pub fn report(self, token: &[u8]) -> Report {
        match self {
            Self::Token(refused) => refused.report(&String::from_utf8_lossy(token)),
            Self::Other(report) => report,
        }
    }
}

impl RefusedToken {
    pub fn new(error: Error, keys: Option<Keys>, tried: Tried, now: UnixTime) -> Self {
        Self {
            error,
            keys,
            tried,
            now,
        }
    }

    /// Whether other keys of the issuer could change the outcome.
    pub fn is_for_key(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::Key | ErrorKind::Algorithm)
    }

    /// The error with the fault of the issuer's source, if that may be the reason.
    fn report(&self, token: &str) -> Report {
        let Self { error, keys, .. } = self;
        if error.kind() != ErrorKind::Key {
            return token_refused(error, token, terms(keys.as_ref()));
        }
        let Some(keys) = keys else {
            return token_refused(error, token, &LOADED);
        };
        if !keys.are_read() {
            return errors::keys_unread();
        }
        if let Some(seen) = keys.endpoint() {
            return seen.refusal(error, &self.tried, self.now);
        }
        match keys.sight() {
            Some(sight) => sight.refusal(error, !keys.is_empty()),
            None => token_refused(error, token, &LOADED),
        }
    }
}

/// The words of advice for the source of these keys.
pub fn terms(keys: Option<&Keys>) -> &'static Terms {
    match keys {
        Some(keys) if keys.endpoint().is_some() => &FETCHED,
        Some(keys) if keys.sight().is_some() => &FOLLOWED,
        _ => &LOADED,
    }
}
