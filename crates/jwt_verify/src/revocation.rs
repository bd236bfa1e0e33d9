//! Revocations: the names by which a token can be revoked, and whether a revocation covers it.
//!
//! The crate holds no revocations. A caller that does looks up [`Revocable::names`] after
//! [`verify`](crate::verify()), and asks [`Revocable::revoked_by`] about each one that it finds.

use std::fmt::Write;
use std::time::Duration;

use crate::claims::Claims;
use crate::error::Error;
use crate::header;
use crate::jwk::sha256;
use crate::numeric_date::NumericDate;
use crate::revoked_by::RevokedBy;
use crate::time::{UnixTime, WideTime};
use crate::token::Token;

/// The claims that name a session: `sid` (OpenID Connect Front-Channel Logout §3), and `session_id`
/// as Supabase writes it.
const SESSION_CLAIMS: [&str; 2] = ["sid", "session_id"];

/// The claims by which a token can be revoked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Revocable {
    /// `iss`.
    pub issuer: Option<String>,
    token_id: Option<String>,
    subject: Option<String>,
    sessions: [Option<String>; SESSION_CLAIMS.len()],
    issued_at: Option<NumericDate>,
    expires: Option<NumericDate>,
}

impl Revocable {
    pub(crate) fn of(claims: &Claims<'_>) -> Result<Self, Error> {
        Ok(Self {
            issuer: claims.issuer()?.map(str::to_owned),
            token_id: claims.name("jti"),
            subject: claims.name("sub"),
            sessions: SESSION_CLAIMS.map(|claim| claims.name(claim)),
            issued_at: claims.date("iat")?,
            expires: claims.date("exp")?,
        })
    }

    /// Those of a token that need not be good. Nothing in it is verified: the answer tells what a
    /// revocation of this token has to say, and nothing else.
    ///
    /// # Errors
    ///
    /// If it has not the form of a token.
    pub fn of_unverified(token: &str) -> Result<Self, Error> {
        let token = Token::parse(token)?;
        header::parse(&token.header)?;
        Self::of(&Claims::parse(&token.payload)?)
    }

    /// The names of this token, except for [`RevokedBy::Token`], whose name is [`digest`].
    pub fn names(&self) -> impl Iterator<Item = (RevokedBy, &str)> {
        let [sid, session_id] = &self.sessions;
        let session_id = session_id.as_ref().filter(|_| session_id != sid);
        [
            (RevokedBy::TokenId, self.token_id.as_deref()),
            (RevokedBy::Subject, self.subject.as_deref()),
            (RevokedBy::Session, sid.as_deref()),
            (RevokedBy::Session, session_id.map(String::as_str)),
        ]
        .into_iter()
        .chain([(RevokedBy::Issuer, Some(""))])
        .filter_map(|(by, name)| Some((by, name?)))
    }

    /// `exp`, if it is an instant; rounded up to the microsecond.
    pub fn expires(&self) -> Option<UnixTime> {
        self.expires.map(|exp| exp.wide().narrow())
    }

    /// The error if a revocation of one of its names covers it: that of all tokens issued before
    /// that time, and those that do not say when. The issuer's leeway is added, because its clock
    /// may be ahead. [`UnixTime::MAX`]: all tokens.
    pub fn revoked_by(
        &self,
        by: RevokedBy,
        issued_before: UnixTime,
        leeway: Duration,
    ) -> Option<Error> {
        let is_covered = issued_before == UnixTime::MAX
            || self
                .issued_at
                .is_none_or(|iat| iat.wide() < WideTime::from(issued_before).plus(leeway));
        is_covered.then_some(Error::Revoked {
            by,
            issued_before,
            issued_at: self.issued_at,
            leeway,
        })
    }
}

/// The name of one token: SHA-256 over the text that its signature covers, in hexadecimal. Not over
/// the signature, because an ECDSA signature (r, s) is as good as (r, -s).
pub fn digest(token: &str) -> String {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let mut digest = String::new();
    for byte in sha256(signed.as_bytes()).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url;

    const NOON: UnixTime = UnixTime::from_seconds(1_767_268_800);
    const LEEWAY: Duration = Duration::from_secs(60);

    fn of(payload: &str) -> Revocable {
        let part = base64url::encode(payload.as_bytes());
        Revocable::of_unverified(&format!("eyJhbGciOiJub25lIn0.{part}.eA")).unwrap()
    }

    fn names(payload: &str) -> Vec<(&'static str, String)> {
        let revocable = of(payload);
        let named = revocable.names();
        named
            .map(|(by, name)| (by.name(), name.to_owned()))
            .collect()
    }

    #[test]
    fn a_token_is_named_by_its_claims() {
        let expected = [
            ("jti", "j"),
            ("sub", "u"),
            ("sid", "a"),
            ("sid", "b"),
            ("issuer", ""),
        ];
        assert_eq!(
            names(r#"{"jti":"j","sub":"u","sid":"a","session_id":"b"}"#),
            expected.map(|(by, name)| (by, name.to_owned()))
        );
        let one = r#"{"sid":"a","session_id":"a"}"#;
        assert_eq!(names(one).len(), 2, "one session, and the issuer");
        assert_eq!(names(r#"{"sub":7,"jti":-7}"#)[0], ("jti", "-7".to_owned()));
        for odd in [r#"{"jti":null,"sid":true,"session_id":[],"sub":{}}"#, "{}"] {
            assert_eq!(names(odd), [("issuer", String::new())]);
        }
    }

    #[test]
    fn a_number_is_a_name_as_it_is_written() {
        for number in [
            "0",
            "-0",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "340282366920938463463374607431768211455",
            "1.50",
            "1e2",
            "1E+2",
        ] {
            for claim in ["jti", "sid", "session_id"] {
                let payload = format!(r#"{{"x":[1.5],"{claim}" : {number} }}"#);
                assert_eq!(names(&payload)[0].1, number, "{claim}");
            }
        }
        // A float has the same value as many an integer, and is not each of them.
        let rounded = names(r#"{"jti":12345678901234567890123}"#);
        assert_ne!(rounded, names(r#"{"jti":12345678901234567890124}"#));
    }

    #[test]
    fn what_was_issued_before_is_covered() {
        let covered = |iat: &str, before: UnixTime| {
            let revocable = of(&format!(r#"{{"iat":{iat}}}"#));
            let error = revocable.revoked_by(RevokedBy::Subject, before, LEEWAY);
            error.is_some()
        };
        for (iat, is_covered) in [
            ("1767268799", true),
            ("1767268800", true),
            // A clock that is ahead by no more than the leeway.
            ("1767268859", true),
            ("1767268859.999999", true),
            ("1767268860", false),
            ("1767268860.5", false),
            ("-1", true),
            ("-1e300", true),
            ("18446744073709551615", false),
            ("1e300", false),
        ] {
            assert_eq!(covered(iat, NOON), is_covered, "{iat}");
            assert!(covered(iat, UnixTime::MAX), "{iat}: every token");
            assert!(!covered(iat, UnixTime::MIN) || iat == "-1e300", "{iat}");
        }
        // The half second of the revocation counts: iat is rounded down to the second.
        let half = UnixTime::from_micros(NOON.as_micros() + 500_000);
        assert!(covered("1767268860", half));
        assert!(!covered("1767268861", half));
    }

    #[test]
    fn a_token_that_does_not_say_when_is_covered() {
        let error = of("{}").revoked_by(RevokedBy::Subject, NOON, LEEWAY);
        assert!(error.is_some());
    }

    #[test]
    fn a_token_ends_when_it_says() {
        let half = UnixTime::from_micros(NOON.as_micros() + 500_000);
        assert_eq!(of(r#"{"exp":1767268800}"#).expires(), Some(NOON));
        assert_eq!(of(r#"{"exp":1767268800.5}"#).expires(), Some(half));
        assert_eq!(of("{}").expires(), None);
    }

    #[test]
    fn a_digest_is_that_of_the_signed_part() {
        // sha256sum of "a.b".
        let sum = "2e7336dc8eba87ef472df568c35482abf2575dc3e5eac0c5c62b8ffaeac2c934";
        assert_eq!(digest("a.b.c"), sum);
        assert_eq!(digest("a.b.d"), sum, "another signature");
        assert_ne!(digest("a.c.c"), sum);
    }

    #[test]
    fn an_unverified_token_must_have_the_form_of_one() {
        for text in ["", "x", "a.b.c", "..", "eyJhbGciOiJub25lIn0.W10.eA"] {
            assert!(Revocable::of_unverified(text).is_err(), "{text}");
        }
    }
}
