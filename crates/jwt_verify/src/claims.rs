//! The claims (RFC 7519 §4) and the rules on them.
//!
//! All rules are in one table, [`RULES`]: `verify` goes through it until a rule is broken, and
//! `inspect` goes through it topic by topic.

use std::borrow::Cow;

use shared_types::Excerpt;

use crate::error::{Error, Part};
use crate::json::{self, Object, Value};
use crate::numeric_date::NumericDate;
use crate::policy::{BoundTokens, Policy};
use crate::time::{UnixTime, WideTime};

/// A token's payload.
pub(crate) struct Claims<'p> {
    members: Object<'p>,
    text: &'p str,
}

/// The times between which the claims allow the token to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first instant at which it is accepted.
    pub(crate) from: UnixTime,
    /// The first later instant at which it is no longer accepted.
    pub(crate) until: UnixTime,
}

impl Window {
    /// Without limits.
    pub(crate) const ALWAYS: Self = Self {
        from: UnixTime::MIN,
        until: UnixTime::MAX,
    };

    fn since(from: UnixTime) -> Self {
        Self {
            from,
            ..Self::ALWAYS
        }
    }

    fn before(until: UnixTime) -> Self {
        Self {
            until,
            ..Self::ALWAYS
        }
    }

    fn intersection(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

/// Topic of a rule: a claim or a setting of the issuer. One step of `inspect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Exp,
    Nbf,
    Iat,
    MaxAge,
    Iss,
    Aud,
    Sub,
    Cnf,
    Status,
    Required,
}

impl Topic {
    /// All topics, in the order in which `inspect` shows them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Exp,
        Self::Nbf,
        Self::Iat,
        Self::MaxAge,
        Self::Iss,
        Self::Aud,
        Self::Sub,
        Self::Cnf,
        Self::Status,
        Self::Required,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iat => "iat",
            Self::MaxAge => "max_age",
            Self::Iss => "iss",
            Self::Aud => "aud",
            Self::Sub => "sub",
            Self::Cnf => "cnf",
            Self::Status => "status",
            Self::Required => "required",
        }
    }
}

/// One rule on the claims.
struct Rule {
    topic: Topic,
    /// The times between which the token keeps the rule, if it keeps it now.
    check: fn(&Claims<'_>, &Policy, UnixTime) -> Result<Window, Error>,
}

impl Rule {
    const fn new(
        topic: Topic,
        check: fn(&Claims<'_>, &Policy, UnixTime) -> Result<Window, Error>,
    ) -> Self {
        Self { topic, check }
    }
}

/// Every rule on the claims, in the order of its errors. `verify` stops at the first rule that is
/// broken; `inspect` checks all of them.
const RULES: [Rule; 12] = [
    Rule::new(Topic::Required, |claims, policy, _| {
        claims.check_required(policy)?;
        Ok(Window::ALWAYS)
    }),
    Rule::new(Topic::Exp, |claims, _, _| claims.check_date("exp")),
    Rule::new(Topic::Nbf, |claims, _, _| claims.check_date("nbf")),
    Rule::new(Topic::Iat, |claims, _, _| claims.check_date("iat")),
    Rule::new(Topic::Exp, |claims, policy, now| {
        claims.check_exp(policy, now)
    }),
    Rule::new(Topic::Nbf, |claims, policy, now| {
        claims.check_nbf(policy, now)
    }),
    Rule::new(Topic::Iat, |claims, policy, now| {
        claims.check_iat(policy, now)
    }),
    Rule::new(Topic::MaxAge, |claims, policy, now| {
        claims.check_max_age(policy, now)
    }),
    Rule::new(Topic::Iss, |claims, _, _| {
        claims.issuer()?;
        Ok(Window::ALWAYS)
    }),
    Rule::new(Topic::Aud, |claims, policy, _| {
        claims.check_audience(policy)?;
        Ok(Window::ALWAYS)
    }),
    Rule::new(Topic::Sub, |claims, _, _| {
        claims.subject()?;
        Ok(Window::ALWAYS)
    }),
    Rule::new(Topic::Cnf, |claims, policy, _| {
        claims.check_binding(policy)?;
        Ok(Window::ALWAYS)
    }),
];

impl<'p> Claims<'p> {
    pub(crate) fn parse(text: &'p str) -> Result<Self, Error> {
        let parsed = Object::parse(text, &["aud"]).map_err(|error| Error::Json {
            part: Part::Payload,
            error,
        });
        parsed.map(|members| Self { members, text })
    }

    pub(crate) fn get(&self, claim: &str) -> Option<&Value<'p>> {
        self.members.get(claim)
    }

    /// Every rule, in the order of [`RULES`].
    pub(crate) fn check(&self, policy: &Policy, now: UnixTime) -> Result<Window, Error> {
        RULES.iter().try_fold(Window::ALWAYS, |window, rule| {
            Ok(window.intersection((rule.check)(self, policy, now)?))
        })
    }

    /// The rules on one topic.
    pub(crate) fn check_topic(
        &self,
        topic: Topic,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<(), Error> {
        RULES
            .iter()
            .filter(|rule| rule.topic == topic)
            .try_for_each(|rule| (rule.check)(self, policy, now).map(|_| ()))
    }

    /// The required claims are present, and not null.
    fn check_required(&self, policy: &Policy) -> Result<(), Error> {
        for claim in &policy.required_claims {
            // If a rule on the claim requires a type, null is of the wrong type, and that rule
            // reports it.
            let is_there = match self.members.get(claim) {
                None => false,
                Some(Value::Null) => is_registered(claim),
                Some(_) => true,
            };
            if !is_there {
                return Err(match claim.as_str() {
                    "iss" => Error::MissingIssuer,
                    "aud" => Error::MissingAudience,
                    _ => Error::MissingClaim {
                        claim: Excerpt::new(claim),
                    },
                });
            }
        }
        Ok(())
    }

    /// A NumericDate (RFC 7519 §2): any JSON number.
    pub(crate) fn date(&self, claim: &'static str) -> Result<Option<NumericDate>, Error> {
        match self.members.get(claim) {
            None => Ok(None),
            Some(Value::Unsigned(seconds)) => Ok(Some(NumericDate::from_integer(*seconds))),
            Some(Value::Signed(seconds)) => Ok(Some(NumericDate::from_integer(*seconds))),
            Some(Value::Float(seconds)) => Ok(Some(NumericDate::from_fraction(*seconds))),
            Some(other) => Err(Error::ClaimType {
                claim,
                expected: "a number",
                found: other.type_name(),
            }),
        }
    }

    /// A NumericDate up to the year 9999, if it is present. A later one is never meant: in
    /// milliseconds, today is the year 58,000, and the token would be good until then.
    fn check_date(&self, claim: &'static str) -> Result<Window, Error> {
        match self.date(claim)? {
            Some(date) if date.is_after_year_9999() => Err(Error::AfterYear9999 { claim, date }),
            _ => Ok(Window::ALWAYS),
        }
    }

    /// Checks `exp`: the token has not expired (RFC 7519 §4.1.4).
    fn check_exp(&self, policy: &Policy, now: UnixTime) -> Result<Window, Error> {
        let Some(exp) = self.date("exp")? else {
            return Ok(Window::ALWAYS);
        };
        let until = exp.wide().plus(policy.leeway);
        match WideTime::from(now) < until {
            true => Ok(Window::before(until.narrow())),
            false => Err(Error::Expired { exp, now }),
        }
    }

    /// Checks `nbf`: the token is valid already (RFC 7519 §4.1.5).
    fn check_nbf(&self, policy: &Policy, now: UnixTime) -> Result<Window, Error> {
        let Some(nbf) = self.date("nbf")? else {
            return Ok(Window::ALWAYS);
        };
        let from = nbf.wide().minus(policy.leeway);
        match from <= now.into() {
            true => Ok(Window::since(from.narrow())),
            false => Err(Error::NotYetValid { nbf, now }),
        }
    }

    /// Checks `iat`: the token was not issued in the future (RFC 7519 §4.1.6).
    fn check_iat(&self, policy: &Policy, now: UnixTime) -> Result<Window, Error> {
        let Some(iat) = self.date("iat")? else {
            return Ok(Window::ALWAYS);
        };
        let from = iat.wide().minus(policy.leeway);
        match from <= now.into() {
            true => Ok(Window::since(from.narrow())),
            false => Err(Error::IssuedInFuture { iat, now }),
        }
    }

    /// Checks `max_age`: the token is not older than the issuer's tokens may be.
    fn check_max_age(&self, policy: &Policy, now: UnixTime) -> Result<Window, Error> {
        // A malformed `iat` is an error here with or without a limit.
        let iat = self.date("iat")?;
        let Some(max_age) = policy.max_age else {
            return Ok(Window::ALWAYS);
        };
        let iat = iat.ok_or_else(|| Error::MissingClaim {
            claim: Excerpt::new("iat"),
        })?;
        let until = iat.wide().plus(max_age).plus(policy.leeway);
        match WideTime::from(now) < until {
            true => Ok(Window::before(until.narrow())),
            false => Err(Error::TooOld { iat, max_age, now }),
        }
    }

    /// `iss` (RFC 7519 §4.1.1).
    pub(crate) fn issuer(&self) -> Result<Option<&str>, Error> {
        match self.members.get("iss") {
            None => Ok(None),
            Some(Value::String(issuer)) => Ok(Some(issuer)),
            Some(other) => Err(Error::IssuerType {
                found: other.type_name(),
            }),
        }
    }

    /// `sub` (RFC 7519 §4.1.2).
    pub(crate) fn subject(&self) -> Result<Option<&str>, Error> {
        match self.members.get("sub") {
            None => Ok(None),
            Some(Value::String(subject)) => Ok(Some(subject)),
            Some(other) => Err(Error::ClaimType {
                claim: "sub",
                expected: "a string",
                found: other.type_name(),
            }),
        }
    }

    /// `aud` (RFC 7519 §4.1.3): a string or an array of strings.
    pub(crate) fn audience(&self) -> Result<Option<&[Cow<'p, str>]>, Error> {
        match self.members.get("aud") {
            None => Ok(None),
            Some(Value::Strings(audience)) => Ok(Some(audience)),
            Some(Value::String(audience)) => Ok(Some(std::slice::from_ref(audience))),
            Some(other) => Err(Error::AudienceType {
                found: match other {
                    Value::Array => "an array of other things",
                    other => other.type_name(),
                },
            }),
        }
    }

    /// Checks that the token is for one of the issuer's audiences.
    fn check_audience(&self, policy: &Policy) -> Result<(), Error> {
        let audience = self.audience()?;
        let Some(accepted) = &policy.audience else {
            return Ok(());
        };
        let audience = audience.ok_or(Error::MissingAudience)?;
        let is_ours = |audience: &Cow<'_, str>| accepted.iter().any(|ours| ours == audience);
        if audience.iter().any(is_ours) {
            return Ok(());
        }
        Err(Error::Audience {
            audience: audience.first().map(|first| Excerpt::new(first)),
        })
    }

    /// Whether the token is bound to a key of its holder: it has `cnf` (RFC 7800 §3.1), of whatever
    /// form, because a form that is not understood may be a binding too.
    pub(crate) fn is_bound(&self) -> bool {
        self.members.get("cnf").is_some()
    }

    /// Checks that the token is a bearer token, or that the issuer's bound tokens may be used like
    /// one: no proof of the holder's key reaches this verifier.
    fn check_binding(&self, policy: &Policy) -> Result<(), Error> {
        match self.is_bound() && policy.bound_tokens == BoundTokens::Refuse {
            true => Err(Error::BoundToken),
            false => Ok(()),
        }
    }

    /// A claim that names something: a string, or a number as the token writes it, because some
    /// libraries sign ids so. A sender cannot choose the type, so a revocation of `7` is for both.
    pub(crate) fn name(&self, claim: &str) -> Option<String> {
        match self.members.get(claim)? {
            Value::String(text) => Some(text.to_string()),
            Value::Unsigned(number) => Some(number.to_string()),
            Value::Signed(number) => Some(number.to_string()),
            Value::Float(_) => json::member_text(self.text, claim).map(str::to_owned),
            Value::Null | Value::Bool(_) | Value::Strings(_) | Value::Array | Value::Object => None,
        }
    }

    /// `jti` (RFC 7519 §4.1.7), if it is a string.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.members.get("jti")?.as_str()
    }
}

/// Whether another rule checks the claim's type.
fn is_registered(claim: &str) -> bool {
    matches!(claim, "iss" | "sub" | "aud" | "exp" | "nbf" | "iat")
}
