//! The claims (RFC 7519 §4) and the rules on them.
//!
//! Each rule is a function of its own: [`Claims::check`] calls them all, and
//! `inspect` calls them one by one.

use std::borrow::Cow;

use crate::error::{Error, Part};
use crate::excerpt::Excerpt;
use crate::json::{Object, Value};
use crate::numeric_date::NumericDate;
use crate::policy::Policy;
use crate::time::{UnixMicros, WideMicros, narrow};

/// A token's payload.
pub(crate) struct Claims<'p>(Object<'p>);

/// When a token is accepted, as far as its claims say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first moment.
    pub(crate) from: UnixMicros,
    /// The first moment at which it is no longer.
    pub(crate) until: UnixMicros,
}

impl<'p> Claims<'p> {
    pub(crate) fn parse(text: &'p str) -> Result<Self, Error> {
        let parsed = Object::parse(text, &["aud"]).map_err(|error| Error::Json {
            part: Part::Payload,
            error,
        });
        parsed.map(Self)
    }

    pub(crate) fn get(&self, claim: &str) -> Option<&Value<'p>> {
        self.0.get(claim)
    }

    /// Every rule, in the order of its errors.
    pub(crate) fn check(&self, policy: &Policy, now: UnixMicros) -> Result<Window, Error> {
        self.check_required(policy)?;
        let (exp, nbf, iat) = (self.date("exp")?, self.date("nbf")?, self.date("iat")?);
        let until = check_exp(exp, policy, now)?;
        let from = check_nbf(nbf, policy, now)?.max(check_iat(iat, policy, now)?);
        let until = until.min(check_max_age(iat, policy, now)?);
        self.issuer()?;
        self.check_audience(policy)?;
        self.subject()?;
        Ok(Window { from, until })
    }

    /// The required claims are there, and not null.
    pub(crate) fn check_required(&self, policy: &Policy) -> Result<(), Error> {
        for claim in &policy.required_claims {
            // A null where a rule wants a type is of the wrong type, and that
            // rule says so.
            let is_there = match self.0.get(claim) {
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
        match self.0.get(claim) {
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

    /// `iss` (RFC 7519 §4.1.1).
    pub(crate) fn issuer(&self) -> Result<Option<&str>, Error> {
        match self.0.get("iss") {
            None => Ok(None),
            Some(Value::String(issuer)) => Ok(Some(issuer)),
            Some(other) => Err(Error::IssuerType {
                found: other.type_name(),
            }),
        }
    }

    /// `sub` (RFC 7519 §4.1.2).
    pub(crate) fn subject(&self) -> Result<Option<&str>, Error> {
        match self.0.get("sub") {
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
        match self.0.get("aud") {
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

    /// The token is for one of the issuer's audiences.
    pub(crate) fn check_audience(&self, policy: &Policy) -> Result<(), Error> {
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

    /// `jti` (RFC 7519 §4.1.7), if it is a string.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.0.get("jti")?.as_str()
    }
}

/// Not expired (RFC 7519 §4.1.4). When it will be.
pub(crate) fn check_exp(
    exp: Option<NumericDate>,
    policy: &Policy,
    now: UnixMicros,
) -> Result<UnixMicros, Error> {
    let Some(exp) = exp else {
        return Ok(UnixMicros::MAX);
    };
    let until = exp.wide().saturating_add(policy.leeway.into());
    if WideMicros::from(now) < until {
        return Ok(narrow(until));
    }
    Err(Error::Expired { exp, now })
}

/// Valid already (RFC 7519 §4.1.5). Since when.
pub(crate) fn check_nbf(
    nbf: Option<NumericDate>,
    policy: &Policy,
    now: UnixMicros,
) -> Result<UnixMicros, Error> {
    let Some(nbf) = nbf else {
        return Ok(UnixMicros::MIN);
    };
    let from = nbf.wide().saturating_sub(policy.leeway.into());
    if from <= now.into() {
        return Ok(narrow(from));
    }
    Err(Error::NotYetValid { nbf, now })
}

/// Not issued in the future (RFC 7519 §4.1.6). Since when that holds.
pub(crate) fn check_iat(
    iat: Option<NumericDate>,
    policy: &Policy,
    now: UnixMicros,
) -> Result<UnixMicros, Error> {
    let Some(iat) = iat else {
        return Ok(UnixMicros::MIN);
    };
    let from = iat.wide().saturating_sub(policy.leeway.into());
    if from <= now.into() {
        return Ok(narrow(from));
    }
    Err(Error::IssuedInFuture { iat, now })
}

/// Not older than the issuer's tokens may get. When it will be.
pub(crate) fn check_max_age(
    iat: Option<NumericDate>,
    policy: &Policy,
    now: UnixMicros,
) -> Result<UnixMicros, Error> {
    let Some(max_age) = policy.max_age else {
        return Ok(UnixMicros::MAX);
    };
    let Some(iat) = iat else {
        return Err(Error::MissingClaim {
            claim: Excerpt::new("iat"),
        });
    };
    let until = iat
        .wide()
        .saturating_add(max_age.into())
        .saturating_add(policy.leeway.into());
    if WideMicros::from(now) < until {
        return Ok(narrow(until));
    }
    Err(Error::TooOld { iat, max_age, now })
}

/// Whether a rule of its own looks at the claim's type.
fn is_registered(claim: &str) -> bool {
    matches!(claim, "iss" | "sub" | "aud" | "exp" | "nbf" | "iat")
}
