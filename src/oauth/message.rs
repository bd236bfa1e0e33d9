//! The request that the process of a new connection sends to the worker, and the answer.

use std::ffi::c_int;

use crate::pg::attempt::Failure;
use crate::pg::report::Report;

/// Most bytes of an answer.
pub const ANSWER_BYTES: usize = 8_192;

/// Most bytes of a text in an answer; longer ones are cut.
const TEXT_BYTES: usize = 2_000;

/// The first part of an answer.
const ACCEPTED: &[u8] = b"accepted";
const REFUSED: &[u8] = b"refused";

/// A login to be judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub token: &'a [u8],
    /// The role that the client asks for.
    pub role: &'a [u8],
    /// Issuer and scopes of the line of pg_hba.conf.
    pub issuer: &'a [u8],
    pub scope: &'a [u8],
    /// Whether the issuer's row, and no usermap, says which roles the token opens.
    pub skips_usermap: bool,
}

/// The verdict.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted(Accepted),
    Refused(Reason),
}

/// A login that is not refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The user's name, in UTF-8.
    pub name: Vec<u8>,
    /// The oid of the role that the client asks for.
    pub role: u32,
}

/// Why a login is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// SQLSTATE, as `SqlState::encoded` gives it.
    pub code: c_int,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl From<Report> for Reason {
    fn from(report: Report) -> Self {
        Self {
            code: report.sqlstate.encoded(),
            message: report.message,
            detail: report.detail,
            hint: report.hint,
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code(),
            message: failure.message().to_owned(),
            detail: None,
            hint: None,
        }
    }
}

impl Request<'_> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let flags = [u8::from(self.skips_usermap)];
        join(&[self.token, self.role, self.issuer, self.scope, &flags])
    }

    /// `None` for bytes that [`to_bytes`](Self::to_bytes) has not made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Request<'_>> {
        let [token, role, issuer, scope, flags] = split(bytes)?;
        Some(Request {
            token,
            role,
            issuer,
            scope,
            skips_usermap: flags == [1],
        })
    }
}

impl Answer {
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Accepted(login) => join(&[ACCEPTED, &login.name, &login.role.to_ne_bytes()]),
            Self::Refused(reason) => {
                let text =
                    |text: &Option<String>| cut(text.as_deref().unwrap_or_default()).to_vec();
                join(&[
                    REFUSED,
                    &reason.code.to_ne_bytes(),
                    cut(&reason.message),
                    &text(&reason.detail),
                    &text(&reason.hint),
                ])
            }
        }
    }

    /// `None` for bytes that [`to_bytes`](Self::to_bytes) has not made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Some([ACCEPTED, name, role]) = split(bytes) {
            return Some(Self::Accepted(Accepted {
                name: name.to_vec(),
                role: u32::from_ne_bytes(role.try_into().ok()?),
            }));
        }
        let [REFUSED, code, message, detail, hint] = split(bytes)? else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text_if_any = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
        Some(Self::Refused(Reason {
            code: c_int::from_ne_bytes(code.try_into().ok()?),
            message: text(message),
            detail: text_if_any(detail),
            hint: text_if_any(hint),
        }))
    }
}

fn cut(text: &str) -> &[u8] {
    text.as_bytes().get(..TEXT_BYTES).unwrap_or(text.as_bytes())
}

/// Each part after its length.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(0);
        joined.extend_from_slice(&length.to_ne_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

/// The parts, if there are exactly that many.
fn split<const N: usize>(mut bytes: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = [&[][..]; N];
    for part in &mut parts {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        (*part, bytes) = rest.split_at_checked(length)?;
    }
    bytes.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_BYTES, Accepted, Answer, Reason, Request};

    const REQUEST: Request = Request {
        token: b"a.b.c",
        role: b"r\xFF",
        issuer: b"https://a.example",
        scope: b"",
        skips_usermap: true,
    };

    fn accepted(name: &[u8]) -> Answer {
        Answer::Accepted(Accepted {
            name: name.to_vec(),
            role: 16_384,
        })
    }

    fn refused(text: &str) -> Answer {
        Answer::Refused(Reason {
            code: 7,
            message: text.to_owned(),
            detail: Some(text.to_owned()),
            hint: None,
        })
    }

    #[test]
    fn arrives_as_it_was_sent() {
        let bytes = REQUEST.to_bytes();
        assert_eq!(Request::from_bytes(&bytes), Some(REQUEST));
        for answer in [accepted(b"u"), accepted(b""), refused("x")] {
            assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
        }
    }

    #[test]
    fn nothing_else_arrives() {
        for bytes in [
            REQUEST.to_bytes(),
            refused("x").to_bytes(),
            accepted(b"u").to_bytes(),
        ] {
            for length in 0..bytes.len() {
                let part = bytes.get(..length).unwrap_or_default();
                assert_eq!(Request::from_bytes(part), None);
                // The beginning of a refusal is not another's name.
                assert_eq!(Answer::from_bytes(part), None, "{length}");
            }
            let longer = [bytes.as_slice(), b"\0"].concat();
            assert_eq!(Answer::from_bytes(&longer), None);
        }
        assert_eq!(Answer::from_bytes(&[0; 100]), None);
    }

    #[test]
    fn an_answer_is_short() {
        let long = "ä".repeat(100_000);
        assert!(refused(&long).to_bytes().len() <= ANSWER_BYTES);
    }
}
