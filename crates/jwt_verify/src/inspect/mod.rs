//! Why a token is or is not accepted, step by step, for a person to read.
//!
//! Each step calls the same function that [`verify`](crate::verify()) calls, and both use one table
//! of rules on claims, so the two cannot disagree. Only the wording is made here.

mod detail;

use std::ops::Deref;

use shared_types::Excerpt;

use crate::advice::{self, Terms};
use crate::claims::{Claims, Topic};
use crate::error::Error;
use crate::header::{self, Header};
use crate::json::{Object, Value};
use crate::keyring::{Issuer, Keyring, Selected};
use crate::numeric_date::NumericDate;
use crate::policy::Policy;
use crate::time::{Roughly, Seconds, UnixTime, WideTime};
use crate::token::Token;
use crate::verify::{check_key_issuer, check_signature, check_type, find_issuer, select_key};
use crate::wanted::Wanted;

/// One step of [`inspect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `format`, `header`, `issuer`, `key`, `signature`, then a claim's or a
    /// rule's name: `exp`, `nbf`, `iat`, `max_age`, `iss`, `aud`, `sub`,
    /// `cnf`, `status`, `required`.
    pub name: &'static str,
    /// Whether the token passes it.
    pub ok: bool,
    /// The finding and, if it is a mistake, its correction. Strings from the token are
    /// [`Excerpt`]s; the token itself, its signature and keys are never shown.
    pub detail: String,
}

/// Explains, step by step, the verdict of [`verify`](crate::verify()) on a token.
///
/// All steps are ok exactly if `verify` accepts. A failed step does not end the list as long as
/// later steps have something to say: after a bad signature the claims are still shown, as
/// unverified. Bounded like `verify`, except for a walk through the names of the issuers, or of an
/// issuer's keys, if the token names an unknown one.
pub fn inspect(token: &str, keyring: &Keyring, now: UnixTime, terms: &Terms) -> Vec<Step> {
    inspect_with(token, |_| keyring, now, |_| *terms)
}

/// As [`inspect`], with a keyring that is made, or found, for the names in the token, as for
/// [`verify_with`](crate::verify_with()). Further issuers, if the token's issuer is unknown, and
/// further keys of its issuer, if its key is unknown, are named in the advice and change nothing
/// else. `terms` are those for the source of that keyring's keys; without a keyring, any.
pub fn inspect_with<K: Deref<Target = Keyring>>(
    token: &str,
    mut keyring: impl FnMut(Wanted<'_>) -> K,
    now: UnixTime,
    terms: impl Fn(Option<&K>) -> Terms,
) -> Vec<Step> {
    let mut steps = Steps(Vec::new());
    let Err(error) = steps.inspect_whole(token, &mut keyring, now, &terms) else {
        return steps.0;
    };
    steps.fail("format", detail::of(&error, None, token, &terms(None)));
    // If there is a token with something around it, the steps go on with that token.
    if let Some(tidy) = advice::tidy(token) {
        let mut rest = Steps(Vec::new());
        if rest.inspect_whole(&tidy, &mut keyring, now, &terms).is_ok() {
            let of_the_token_itself = rest.0.into_iter().filter(|step| step.name != "format");
            steps.0.extend(of_the_token_itself);
        }
    }
    steps.0
}

struct Steps(Vec<Step>);

impl Steps {
    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.push(name, true, detail.into());
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>) {
        self.push(name, false, detail.into());
    }

    fn push(&mut self, name: &'static str, ok: bool, detail: String) {
        self.0.push(Step { name, ok, detail });
    }

    /// Adds every step. If the form is wrong, adds none and returns the error.
    fn inspect_whole<K: Deref<Target = Keyring>>(
        &mut self,
        text: &str,
        keyring: &mut impl FnMut(Wanted<'_>) -> K,
        now: UnixTime,
        terms: &impl Fn(Option<&K>) -> Terms,
    ) -> Result<(), Error> {
        let token = Token::parse(text)?;
        let header = header::parse(&token.header)?;
        let claims = Claims::parse(&token.payload)?;
        let keyring = keyring(Wanted {
            issuer: claims.issuer().ok().flatten(),
            key_id: header.get("kid").and_then(Value::as_str),
        });
        let length = text.len();
        self.ok("format", format!("three parts, {length} bytes in all"));
        Inspection {
            steps: self,
            token: &token,
            claims: &claims,
            keyring: &keyring,
            now,
            terms: &terms(Some(&keyring)),
        }
        .run(&header);
        Ok(())
    }
}

/// A date of the token, and how far from now it is.
fn describe_date(date: NumericDate, now: UnixTime) -> String {
    let Some(time) = date.calendar() else {
        return match date.wide() > now.into() {
            true => format!("{date}, after the year 9999"),
            false => format!("{date}, before the year 1"),
        };
    };
    let distance = Roughly(time.abs_diff(now));
    let distance = match time > now {
        true => format!("in {distance}"),
        false => format!("{distance} ago"),
    };
    format!("{} ({date}), {distance}", Seconds(time))
}

/// A token of good form, with the keyring and the time that it is checked against.
struct Inspection<'i> {
    steps: &'i mut Steps,
    token: &'i Token<'i>,
    claims: &'i Claims<'i>,
    keyring: &'i Keyring,
    now: UnixTime,
    terms: &'i Terms,
}

impl Inspection<'_> {
    fn run(mut self, header: &Object<'_>) {
        let issuer = find_issuer(self.claims, self.keyring);
        let known = issuer.as_ref().ok().copied();
        let readable = self.header(header, known);
        self.issuer(&issuer);
        let selected = self.key(readable.as_ref(), known);
        let verified = self.signature(readable.as_ref(), selected.as_ref());

        let first_claim = self.steps.0.len();
        match known {
            Some(issuer) => self.claims(issuer.policy()),
            None => self.claims(&Policy::default()),
        }
        for step in self.steps.0.iter_mut().skip(first_claim) {
            match (verified, known) {
                (true, _) => {}
                (false, Some(_)) => step.detail.insert_str(0, "unverified: "),
                (false, None) => step.detail.insert_str(0, "unverified, by default rules: "),
            }
        }
    }

    /// The header, as far as the next steps can use it.
    fn header<'h>(
        &mut self,
        object: &'h Object<'_>,
        issuer: Option<&Issuer>,
    ) -> Option<Header<'h>> {
        let policy = issuer.map(Issuer::policy);
        let header = Header::read(object).and_then(|header| {
            policy.map_or(Ok(()), |policy| check_type(&header, policy))?;
            Ok(header)
        });
        match &header {
            Ok(header) => {
                let mut detail = format!("alg \"{}\"", header.alg);
                for (name, value) in [("kid", header.kid), ("typ", header.typ)] {
                    if let Some(value) = value {
                        detail.push_str(&format!(", {name} {}", Excerpt::new(value)));
                    }
                }
                self.steps.ok("header", detail);
            }
            Err(error) => self
                .steps
                .fail("header", detail::header(error, policy, self.terms)),
        }
        header.ok().or_else(|| {
            let text = |name| object.get(name).and_then(Value::as_str);
            Some(Header {
                alg: crate::Algorithm::from_name(text("alg")?)?,
                kid: text("kid"),
                typ: text("typ"),
            })
        })
    }

    fn issuer(&mut self, issuer: &Result<&Issuer, Error>) {
        let iss = self.claims.issuer().ok().flatten();
        match issuer {
            Ok(_) if iss.is_some_and(|iss| self.keyring.has_issuer(iss)) => {
                let name = Excerpt::new(iss.unwrap_or_default());
                self.steps.ok("issuer", format!("issuer {name} is known"));
            }
            Ok(_) => {
                let any = "accepted by the issuer \"*\", which stands for any";
                self.steps.ok("issuer", any);
            }
            Err(error) => {
                let detail = detail::issuer(error, iss, self.keyring, self.terms);
                self.steps.fail("issuer", detail);
            }
        }
    }

    fn key<'k>(
        &mut self,
        header: Option<&Header<'_>>,
        issuer: Option<&'k Issuer>,
    ) -> Option<Selected<'k>> {
        let (Some(header), Some(issuer)) = (header, issuer) else {
            let missing = match header {
                None => "not looked for, as the header does not name a known algorithm",
                Some(_) => "not looked for, as the issuer was refused",
            };
            self.steps.fail("key", missing);
            return None;
        };
        match select_key(issuer, header, self.claims, self.now) {
            Ok(selected) => {
                let key = selected.key;
                let mut detail = format!("{} key", key.key_type());
                if let Some(kid) = header.kid {
                    detail.push_str(&format!(" {}", Excerpt::new(kid)));
                }
                // A secret's thumbprint would allow checking guesses of the secret.
                if !header.alg.is_symmetric() {
                    detail.push_str(&format!(", thumbprint {}", key.thumbprint()));
                }
                match check_key_issuer(header, self.claims, &selected) {
                    Ok(()) => self.steps.ok("key", detail),
                    Err(error) => {
                        let detail = detail::key(&error, issuer, self.terms);
                        self.steps.fail("key", detail);
                    }
                }
                Some(selected)
            }
            Err(error) => {
                self.steps
                    .fail("key", detail::key(&error, issuer, self.terms));
                None
            }
        }
    }

    fn signature(&mut self, header: Option<&Header<'_>>, selected: Option<&Selected<'_>>) -> bool {
        let (Some(header), Some(selected)) = (header, selected) else {
            let missing = "not checked, as there is no key to check it with";
            self.steps.fail("signature", missing);
            return false;
        };
        match check_signature(self.token, header, selected, None) {
            Ok(_) => {
                self.steps.ok("signature", "made with this key");
                true
            }
            Err(error) => {
                let length = selected.key.material().signature_length(header.alg);
                let expected = length.unwrap_or_default();
                let found = self.token.signature.bytes;
                let detail = detail::signature(&error, header, found, expected, self.terms);
                self.steps.fail("signature", detail);
                false
            }
        }
    }

    fn claims(&mut self, policy: &Policy) {
        for topic in Topic::ALL {
            match self.claims.check_topic(topic, policy, self.now) {
                Ok(()) => self.steps.ok(topic.name(), self.describe(topic, policy)),
                Err(error) => {
                    let detail = match topic {
                        Topic::Aud => {
                            let accepted = policy.audience.iter().flatten().map(String::as_str);
                            let accepted = detail::list(accepted);
                            detail::audience(&error, &self.audience(), &accepted, self.terms)
                        }
                        _ => detail::claim(&error, policy, self.terms),
                    };
                    self.steps.fail(topic.name(), detail);
                }
            }
        }
    }

    /// Value of the token for a topic whose rules it keeps.
    fn describe(&self, topic: Topic, policy: &Policy) -> String {
        let date = |name| match self.claims.date(name).ok().flatten() {
            Some(date) => describe_date(date, self.now),
            None => "absent".to_owned(),
        };
        let text = |text: Result<Option<&str>, Error>| match text.ok().flatten() {
            Some(text) => Excerpt::new(text).to_string(),
            None => "absent".to_owned(),
        };
        match topic {
            Topic::Exp => {
                let far = self.claims.date("exp").ok().flatten().is_some_and(|exp| {
                    exp.wide() > WideTime::from(self.now).plus(advice::A_CENTURY)
                });
                let remark = if far { detail::FAR_EXP } else { "" };
                format!("{}{remark}", date("exp"))
            }
            Topic::Nbf => date("nbf"),
            Topic::Iat => date("iat"),
            Topic::MaxAge => match policy.max_age {
                None => "the issuer sets none".to_owned(),
                Some(max_age) => format!("issued less than {} ago", Roughly(max_age)),
            },
            Topic::Iss => text(self.claims.issuer()),
            Topic::Aud if policy.audience.is_some() => self.audience(),
            Topic::Aud => format!(
                "{}; not checked, as the issuer has no audience: tokens for other applications are \
                 accepted too, until {} names one",
                self.audience(),
                self.terms.issuers
            ),
            Topic::Sub => text(self.claims.subject()),
            Topic::Cnf if self.claims.is_bound() => {
                "bound to a key of its holder; accepted without a \
                proof of that key, as the issuer's \"bound_tokens\" are accepted"
                    .to_owned()
            }
            Topic::Status if self.claims.get("status").is_some() => "not looked up: a token that \
                its issuer has suspended or revoked in a status list is accepted until it expires"
                .to_owned(),
            Topic::Cnf | Topic::Status => "absent".to_owned(),
            Topic::Required if policy.required_claims.is_empty() => {
                "the issuer requires no claim".to_owned()
            }
            Topic::Required => {
                let required = policy.required_claims.iter().map(String::as_str);
                format!("has {}", detail::list(required))
            }
        }
    }

    /// The values of `aud`.
    fn audience(&self) -> String {
        match self.claims.audience() {
            Ok(Some(audience)) => detail::list(audience.iter().map(AsRef::as_ref)),
            _ => "absent".to_owned(),
        }
    }
}
