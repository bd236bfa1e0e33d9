//! What the tables hold for a token: its issuer's rules, and the keys that it may be signed with.

use std::time::Duration;

use jwt_verify::limits::MAX_KEYS_TRIED;
use jwt_verify::{AlgorithmSet, Keyring, Policy, Wanted};
use pgrx::PgMemoryContexts;
use pgrx::datum::Interval;

use crate::errors;
use crate::pg::clock;
use crate::pg::report::Report;
use crate::pg::row::{NotUtf8, Row};
use crate::trust::source::{Fault, NotOpened, OpenSource, Source};
use crate::trust::stored::{OddRow, StoredKey};
use crate::trust::tables::{Look, Tables};
use crate::trust::watched;

/// The issuer whose rules are those of tokens of any issuer, or of none.
const ANY_ISSUER: &str = "*";

/// How many issuers, or keys of an issuer, are read to be named in advice.
const MAX_ADVISED: usize = 1_000;

/// What was found.
#[derive(Default)]
pub struct Answer {
    pub keyring: Keyring,
    /// Where the keys are followed: what was seen there.
    pub sight: Option<Sight>,
}

impl Answer {
    /// Whether the source could not be looked at.
    pub fn is_locked(&self) -> bool {
        matches!(&self.sight, Some(sight) if sight.state == State::Locked)
    }
}

/// A look at a followed table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The issuer's name in `auth.issuers`.
    pub issuer: Box<str>,
    /// `None` where the row does not say it in a way that can be read.
    pub source: Option<Source>,
    pub state: State,
}

/// The state of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every change is announced.
    Live,
    /// No trigger announces changes: what was found is good for a second.
    Polled,
    /// Nothing of it is believed.
    Missing(Fault),
    /// Could not be looked at, because somebody has locked it.
    Locked,
}

impl Sight {
    /// The source in a word or two: the table's name.
    pub fn source_name(&self) -> String {
        self.source
            .as_ref()
            .map_or_else(|| "?".to_owned(), Source::qualified_name)
    }

    /// What is to be known of the state, as a sentence; nothing of one in which all is well.
    pub fn remark(&self) -> Option<String> {
        match &self.state {
            State::Live => None,
            State::Polled => Some(format!(
                "No trigger announces changes of table {}, so it is looked at once a second.",
                self.source_name()
            )),
            State::Missing(fault) => Some(fault.detail(self.source.as_ref())),
            State::Locked => Some(format!("Table {} is locked.", self.source_name())),
        }
    }

    /// The line for the server's log.
    pub fn log_line(&self) -> String {
        let issuer = errors::shorten(&self.issuer);
        let name = self.source_name();
        let state = self.state.name();
        let remark = self
            .remark()
            .map_or_else(String::new, |remark| format!(" {remark}"));
        format!("keys of issuer \"{issuer}\" in table {name} are {state}.{remark}")
    }

    /// A token for which there is no key in the source.
    /// `has_row`: there is a row of the token's key id.
    pub fn refusal(&self, error: &jwt_verify::Error, has_row: bool) -> Report {
        match &self.state {
            State::Live | State::Polled => {
                let is_odd = has_row && matches!(error, jwt_verify::Error::UnknownKey { .. });
                let remark = is_odd.then(|| {
                    format!(
                        "Table {} has a row of this key id, and its key cannot be used.",
                        self.source_name()
                    )
                });
                errors::key_not_followed(error, remark)
            }
            State::Missing(_) | State::Locked => errors::key_not_followed(error, self.remark()),
        }
    }
}

impl State {
    /// As `auth.key_status` shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Polled => "polled",
            Self::Missing(_) => "missing",
            Self::Locked => "locked",
        }
    }
}

/// What a token that names these is verified with, as [`Wanted`] says.
pub fn keyring(tables: &Tables, wanted: Wanted) -> Answer {
    in_a_context(|| {
        with_source(tables, wanted, |look, issuer, source| {
            find(look, issuer, source, wanted)
        })
    })
}

/// As [`keyring`]; with other issuers where the token's is not known, and with other keys of it where
/// the token's is not, as advice for [`jwt_verify::inspect_with`].
pub fn keyring_for_advice(tables: &Tables, wanted: Wanted) -> Answer {
    in_a_context(|| {
        with_source(tables, wanted, |look, issuer, source| {
            let mut answer = find(look, issuer, source, wanted);
            if !answer.keyring.is_empty() {
                return answer;
            }
            match issuer {
                Some(issuer) => add_keys(&mut answer, look, issuer, source, None, MAX_ADVISED),
                None => look.issuers(&[], MAX_ADVISED, |row| {
                    if let Ok(Some(name)) = row.text("issuer") {
                        answer.keyring.add_issuer(&name, policy(row));
                    }
                }),
            }
            answer
        })
    })
}

/// How often the tables are looked at where others change the issuer's source meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Hands `read` the tables at one moment and the issuer that counts for the token, with its source
/// opened where it has one.
///
/// The source is opened, and watched, before the snapshot is taken that both the issuer and its keys are
/// read with: so no rule is paired with the keys of another moment, and a change that the snapshot does
/// not show is heard of.
fn with_source<T: Default>(
    tables: &Tables,
    wanted: Wanted,
    mut read: impl FnMut(&Look, Option<&Issuer>, Option<&Attempt>) -> T,
) -> T {
    let mut attempt: Option<Attempt> = None;
    for _ in 0..MAX_ATTEMPTS {
        let outcome = tables.look(|look| {
            let issuer = issuer_of(look, wanted);
            match issuer.as_ref().map(|issuer| &issuer.origin) {
                Some(Origin::Followed(source)) => match &attempt {
                    Some(attempt) if attempt.source == *source => {
                        Ok(read(look, issuer.as_ref(), Some(attempt)))
                    }
                    _ => Err(source.clone()),
                },
                Some(Origin::Rows) | None => Ok(read(look, issuer.as_ref(), None)),
            }
        });
        match outcome {
            Ok(answer) => return answer,
            Err(source) => attempt = Some(Attempt::new(source)),
        }
    }
    T::default()
}

/// An attempt to open what the row of an issuer names as its source.
struct Attempt {
    source: Option<Box<Source>>,
    opened: Result<OpenSource, NotOpened>,
}

impl Attempt {
    fn new(source: Option<Box<Source>>) -> Self {
        let opened = match &source {
            Some(source) => source.open(),
            None => Err(Fault::Unreadable.into()),
        };
        if let Ok(open) = &opened {
            watched::add(open.oid());
        }
        Self { source, opened }
    }

    fn sight(&self, issuer: &str) -> Sight {
        Sight {
            issuer: issuer.into(),
            source: self.source.as_deref().cloned(),
            state: self.state(),
        }
    }

    fn state(&self) -> State {
        match &self.opened {
            Ok(open) if open.is_announced => State::Live,
            Ok(_) => State::Polled,
            Err(NotOpened::Locked) => State::Locked,
            Err(NotOpened::Fault(fault)) => State::Missing(fault.clone()),
        }
    }
}

/// Everything that is palloc'd on the way lands in a context that is freed at the end.
pub fn in_a_context<T>(read: impl FnOnce() -> T) -> T {
    let mut context = PgMemoryContexts::new("pg_auth_jwt keys");
    // SAFETY: nothing that outlives the context is palloc'd in it.
    unsafe { context.switch_to(|_| read()) }
}

/// An issuer's row of `auth.issuers`.
pub struct Issuer<'w> {
    pub name: &'w str,
    pub policy: Policy,
    pub origin: Origin,
}

/// Where an issuer's keys are.
pub enum Origin {
    /// In `auth.jwks`.
    Rows,
    /// In a followed table; `None` where the row's `source` cannot be read.
    Followed(Option<Box<Source>>),
}

fn find(look: &Look, issuer: Option<&Issuer>, source: Option<&Attempt>, wanted: Wanted) -> Answer {
    let mut answer = Answer::default();
    if let Some(issuer) = issuer {
        answer
            .keyring
            .add_issuer(issuer.name, issuer.policy.clone());
        let limit = MAX_KEYS_TRIED.saturating_add(1);
        add_keys(&mut answer, look, issuer, source, wanted.key_id, limit);
    }
    answer
}

/// Adds at most `limit` keys of the issuer, those with this key id where it is given.
fn add_keys(
    answer: &mut Answer,
    look: &Look,
    issuer: &Issuer,
    source: Option<&Attempt>,
    key_id: Option<&str>,
    limit: usize,
) {
    let keyring = &mut answer.keyring;
    stored_keys(look, issuer, source, key_id, limit, |_, key| {
        // An odd row is no key, and disturbs no other.
        if let Ok(key) = key {
            keyring.add_key(
                issuer.name,
                key.kid.as_deref(),
                key.alg.as_deref(),
                &key.jwk,
                key.valid_until,
            );
        }
    });
    answer.sight = source.map(|attempt| attempt.sight(issuer.name));
}

/// Shows `see` the key ids and keys of at most `limit` rows of the issuer, those with this key id where it
/// is given.
fn stored_keys(
    look: &Look,
    issuer: &Issuer,
    source: Option<&Attempt>,
    key_id: Option<&str>,
    limit: usize,
    mut see: impl FnMut(Option<&str>, Result<StoredKey, OddRow>),
) {
    match source {
        Some(attempt) => {
            if let Ok(open) = &attempt.opened {
                open.keys(look, key_id, limit, see);
            }
        }
        None => {
            let mut names = vec![("issuer", issuer.name)];
            names.extend(key_id.map(|kid| ("kid", kid)));
            look.keys(&names, limit, |row| match row.text("kid") {
                Ok(kid) => see(kid.as_deref(), stored_key(row, kid.clone())),
                Err(NotUtf8) => see(None, Err(OddRow::NotUtf8)),
            });
        }
    }
}

/// The key of a row of `auth.jwks`.
fn stored_key(row: &Row, kid: Option<String>) -> Result<StoredKey, OddRow> {
    let unreadable = |NotUtf8| OddRow::NotUtf8;
    Ok(StoredKey {
        kid,
        jwk: row.json("jwk").map_err(unreadable)?.ok_or(OddRow::NoKey)?,
        alg: row.text("alg").map_err(unreadable)?,
        valid_until: row.timestamp("expires_at").map(clock::from_postgres),
        created_at: row.timestamp("created_at").map(clock::from_postgres),
    })
}

/// All that there is of one issuer.
pub struct Inventory {
    pub policy: Policy,
    /// Where the keys are followed: what was seen there.
    pub sight: Option<Sight>,
    /// Each row's key id, and its key.
    pub keys: Vec<(Option<String>, Result<StoredKey, OddRow>)>,
}

/// All that there is of the issuer of this very name; `None` where there is none.
pub fn inventory(tables: &Tables, name: &str) -> Option<Inventory> {
    let wanted = Wanted {
        issuer: Some(name),
        key_id: None,
    };
    in_a_context(|| {
        with_source(tables, wanted, |look, issuer, source| {
            let issuer = issuer.filter(|issuer| issuer.name == name)?;
            let mut keys = Vec::new();
            stored_keys(look, issuer, source, None, usize::MAX, |kid, key| {
                keys.push((kid.map(str::to_owned), key));
            });
            Some(Inventory {
                policy: issuer.policy.clone(),
                sight: source.map(|attempt| attempt.sight(name)),
                keys,
            })
        })
    })
}

/// The names of all issuers.
pub fn issuer_names(tables: &Tables) -> Vec<String> {
    let mut names = Vec::new();
    in_a_context(|| {
        tables.look(|look| {
            look.issuers(&[], usize::MAX, |row| {
                names.extend(row.text("issuer").ok().flatten())
            });
        });
    });
    names
}

/// The issuer that counts for the token.
fn issuer_of<'w>(look: &Look, wanted: Wanted<'w>) -> Option<Issuer<'w>> {
    let exact = wanted.issuer.and_then(|name| issuer(look, name));
    exact.or_else(|| issuer(look, ANY_ISSUER))
}

/// The issuer of this name.
pub fn issuer<'w>(look: &Look, name: &'w str) -> Option<Issuer<'w>> {
    let mut found = Vec::new();
    look.issuers(&[("issuer", name)], 2, |row| {
        found.push((policy(row), origin(row)));
    });
    // Two are possible where the owner has dropped the primary key: then neither counts.
    let is_only = found.len() == 1;
    let (mut policy, origin) = found.pop()?;
    policy.enabled &= is_only;
    Some(Issuer {
        name,
        policy,
        origin,
    })
}

/// Where the keys of a row of `auth.issuers` are. Tables of versions without the column follow nothing.
pub fn origin(row: &Row) -> Origin {
    match row.json("source") {
        Ok(None) => Origin::Rows,
        Ok(Some(json)) => Origin::Followed(Source::from_json(&json).map(Box::new)),
        Err(NotUtf8) => Origin::Followed(None),
    }
}

/// The rules of a row of `auth.issuers`. One that cannot be read is not one that is left out.
pub fn policy(row: &Row) -> Policy {
    read_policy(row).unwrap_or_else(|NotUtf8| Policy {
        enabled: false,
        ..Policy::default()
    })
}

fn read_policy(row: &Row) -> Result<Policy, NotUtf8> {
    let defaults = Policy::default();
    let algorithms = match row.strings("algorithms")? {
        None => Some(AlgorithmSet::ASYMMETRIC),
        // The table admits known names only; were one unknown all the same, no algorithm is better
        // than a guess.
        Some(names) => AlgorithmSet::from_names(names.iter().map(String::as_str)).ok(),
    };
    Ok(Policy {
        enabled: row.boolean("enabled").unwrap_or(false) && algorithms.is_some(),
        audience: row.strings("audience")?,
        algorithms: algorithms.unwrap_or(AlgorithmSet::ASYMMETRIC),
        required_claims: row
            .strings("required_claims")?
            .unwrap_or(defaults.required_claims),
        leeway: row
            .interval("leeway")
            .map_or(defaults.leeway, |i| length(&i)),
        max_age: row.interval("max_age").map(|i| length(&i)),
        token_types: row.strings("token_types")?,
    })
}

/// The length of an interval, a day being 24 hours and a month 30 days as in Postgres's comparison of
/// intervals (`interval_cmp_value`), saturating.
pub fn length(interval: &Interval) -> Duration {
    const DAY: i128 = 86_400_000_000;
    let months = i128::from(interval.months()).saturating_mul(30);
    let days = months.saturating_add(interval.days().into());
    let total = days
        .saturating_mul(DAY)
        .saturating_add(interval.micros().into());
    Duration::from_micros(u64::try_from(total.max(0)).unwrap_or(u64::MAX))
}
