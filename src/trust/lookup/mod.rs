//! Looks up a token's issuer, with its rules, and the keys that the token may be signed with.

mod errors;
pub mod inventory;
pub mod seen;

use std::time::Duration;

use jwks_rules::fetch_state::KeyState;
use jwt_verify::limits::MAX_KEYS_TRIED;
use jwt_verify::{AlgorithmSet, BoundTokens, Excerpt, Keyring, Policy, Wanted};
use pgrx::PgMemoryContexts;

use crate::pg::clock::{self, StatementId};
use crate::pg::report::Report;
use crate::pg::row::{NotUtf8, Row};
use crate::trust::claim_path::ClaimPath;
use crate::trust::lookup::seen::Seen;
use crate::trust::problem::{Finding, Problem};
use crate::trust::source::fault::Fault;
use crate::trust::source::open::{NotOpened, OpenSource};
use crate::trust::source::origin::Origin;
use crate::trust::source::sessions::Sessions;
use crate::trust::source::table::Source;
use crate::trust::sql::length;
use crate::trust::tables::stored::{OddRow, StoredKey};
use crate::trust::tables::watched;
use crate::trust::tables::{Look, Tables};

/// The row whose rules apply to tokens of any issuer, or of none.
pub const ANY_ISSUER: &str = "*";

/// Maximum number of keys of an issuer in an inventory: a writer of a followed table must not be
/// able to exhaust the server's memory.
pub const MAX_LISTED: usize = 20_000;

/// Maximum number of issuers, or of keys of an issuer, that are read for advice.
const MAX_ADVISED: usize = 1_000;

/// Result of a look-up.
#[derive(Default)]
pub struct LookedUp {
    pub keyring: Keyring,
    /// State of the source, for keys that are followed in a table.
    pub sight: Option<Sight>,
    /// State of fetching, for keys that are fetched.
    pub endpoint: Option<Seen>,
    /// The roles that its tokens give to `auth.login`.
    pub login: Option<Login>,
    /// The sessions that the issuer's row follows.
    pub sessions: Option<Sessions>,
    /// Whether the tables could be read. If they are missing or altered, or do not stop changing, a
    /// missing issuer means nothing.
    pub is_read: bool,
}

impl LookedUp {
    /// Whether the source could not be read.
    pub fn is_locked(&self) -> bool {
        matches!(&self.sight, Some(sight) if sight.state == SightState::Locked)
    }
}

/// The roles that an issuer's tokens give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The claim that names the role.
    pub claim: ClaimPath,
    /// The roles that it may name.
    pub roles: Vec<String>,
}

/// State in which a followed table was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The issuer's name in `auth.issuers`.
    pub issuer: Box<str>,
    /// `None` if the row's source cannot be parsed.
    pub source: Option<Source>,
    pub state: SightState,
}

/// The state of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SightState {
    /// Every change is announced.
    Live,
    /// No trigger announces changes: the keys found are used for a second.
    Polled,
    /// None of its rows is used.
    Missing(Fault),
    /// It could not be read, because another session has locked it.
    Locked,
}

impl Sight {
    /// The name of the source's table.
    pub fn source_name(&self) -> String {
        self.source
            .as_ref()
            .map_or_else(|| "?".to_owned(), Source::qualified_name)
    }

    /// The problem; `None` where all is well.
    pub fn finding(&self) -> Option<Finding> {
        let name = self.source_name();
        match &self.state {
            SightState::Live => None,
            SightState::Polled => Some(Finding {
                problem: Problem::ChangesNotAnnounced,
                detail: format!(
                    "No trigger announces changes of table {name}, so it is looked at once a second."
                ),
                fix: self.source.as_ref().map(|source| {
                    let follow = source.follow_statement(&self.issuer);
                    format!("{follow} -- as a role that may add triggers to the table")
                }),
            }),
            SightState::Missing(fault) => Some(fault.finding(&self.issuer, self.source.as_ref())),
            SightState::Locked => Some(Finding {
                problem: Problem::TableLocked,
                detail: format!("Table {name} is locked."),
                fix: None,
            }),
        }
    }

    /// A sentence about the state; `None` where all is well.
    fn remark(&self) -> Option<String> {
        self.finding().map(|finding| finding.detail)
    }

    /// The line for the server's log.
    pub fn log_line(&self) -> String {
        let issuer = Excerpt::new(&self.issuer);
        let name = self.source_name();
        let state = self.state.name();
        let remark = self
            .remark()
            .map_or_else(String::new, |remark| format!(" {remark}"));
        format!("keys of issuer {issuer} in table {name} are {state}.{remark}")
    }

    /// Refusal of a token without a key in the source. `has_row`: there is a row with the token's
    /// key id.
    pub fn refusal(&self, error: &jwt_verify::Error, has_row: bool) -> Report {
        match &self.state {
            SightState::Live | SightState::Polled => {
                let is_odd = has_row && matches!(error, jwt_verify::Error::UnknownKey { .. });
                let remark = is_odd.then(|| {
                    format!(
                        "Table {} has a row of this key id, and its key cannot be used.",
                        self.source_name()
                    )
                });
                errors::key_not_followed(error, remark)
            }
            SightState::Missing(_) | SightState::Locked => {
                errors::key_not_followed(error, self.remark())
            }
        }
    }
}

impl SightState {
    /// Name in `auth.key_status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Polled => "polled",
            Self::Missing(_) => "missing",
            Self::Locked => "locked",
        }
    }
}

/// Keyring for a token that names these, as [`Wanted`] describes it.
pub fn keyring(tables: &Tables, wanted: Wanted) -> LookedUp {
    in_a_context(|| {
        with_source(tables, wanted, |look, issuer, source| {
            find(look, issuer, source, wanted)
        })
    })
}

/// As [`keyring`], with other issuers if the token's is not known, and with other keys of the
/// issuer if the token's key is not known, as advice for [`jwt_verify::inspect_with`].
pub fn keyring_for_advice(tables: &Tables, wanted: Wanted) -> LookedUp {
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

/// Number of times that the tables are read if others change the issuer's source meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// Calls `read` with the tables at one moment and the issuer that applies to the token, with its
/// source opened if it has one.
///
/// The source is opened, and watched, before the snapshot is taken with which both the issuer and
/// its keys are read. So no rule is combined with keys of another moment, and a change that the
/// snapshot does not show is noticed.
pub fn with_source<T: Default>(
    tables: &Tables,
    wanted: Wanted,
    mut read: impl FnMut(&Look, Option<&Issuer>, Option<&Attempt>) -> T,
) -> T {
    let mut attempt: Option<Attempt> = None;
    for _ in 0..MAX_ATTEMPTS {
        let outcome = tables.look(|look| {
            let issuer = issuer_of(look, wanted);
            match issuer.as_ref().map(|issuer| &issuer.origin) {
                Some(origin @ (Origin::Table(_) | Origin::Unreadable)) => match &attempt {
                    Some(open @ Attempt::Table { source, .. })
                        if source.as_deref() == origin.table() =>
                    {
                        Ok(read(look, issuer.as_ref(), Some(open)))
                    }
                    _ => Err(Some(origin.table().cloned().map(Box::new))),
                },
                Some(Origin::Endpoint(endpoint)) => {
                    let name = issuer.as_ref().map_or("", |issuer| issuer.name);
                    let is_enabled = issuer.as_ref().is_some_and(|issuer| issuer.policy.enabled);
                    match look.endpoint(name) {
                        Some(row) => {
                            let seen = Attempt::Endpoint(Seen {
                                issuer: name.into(),
                                endpoint: endpoint.clone(),
                                is_enabled,
                                max_stale: issuer.as_ref().and_then(|issuer| issuer.max_stale),
                                row,
                            });
                            Ok(read(look, issuer.as_ref(), Some(&seen)))
                        }
                        None => Err(None),
                    }
                }
                Some(Origin::Rows) | None => Ok(read(look, issuer.as_ref(), None)),
            }
        });
        match outcome {
            Ok(answer) => return answer,
            Err(Some(source)) => attempt = Some(Attempt::new(source)),
            Err(None) => tables.open_endpoints(),
        }
    }
    T::default()
}

/// The source that an issuer's row names.
pub enum Attempt {
    /// A table, and whether it could be opened.
    Table {
        source: Option<Box<Source>>,
        opened: Result<OpenSource, NotOpened>,
    },
    /// An endpoint: the keys are in `auth.jwks`.
    Endpoint(Seen),
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
        Self::Table { source, opened }
    }

    /// State of the table.
    pub fn sight(&self, issuer: &str) -> Option<Sight> {
        let Self::Table { source, opened } = self else {
            return None;
        };
        Some(Sight {
            issuer: issuer.into(),
            source: source.as_deref().cloned(),
            state: match opened {
                Ok(open) if open.is_announced => SightState::Live,
                Ok(_) => SightState::Polled,
                Err(NotOpened::Locked) => SightState::Locked,
                Err(NotOpened::Fault(fault)) => SightState::Missing(fault.clone()),
            },
        })
    }

    /// State of the endpoint.
    pub fn endpoint(&self) -> Option<&Seen> {
        match self {
            Self::Endpoint(seen) => Some(seen),
            Self::Table { .. } => None,
        }
    }
}

/// Runs `read` in a memory context that is freed at the end.
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
    pub sessions: Option<Sessions>,
    /// Time for which fetched keys count after the last success; `None`: for ever.
    pub max_stale: Option<Duration>,
    /// The roles that its tokens give to `auth.login`; `None`: none.
    pub login: Option<Login>,
}

fn find(
    look: &Look,
    issuer: Option<&Issuer>,
    source: Option<&Attempt>,
    wanted: Wanted,
) -> LookedUp {
    let mut answer = LookedUp {
        is_read: issuer.is_some() || look.has_issuers(),
        ..LookedUp::default()
    };
    if let Some(issuer) = issuer {
        answer.sessions = issuer.sessions.clone();
        answer
            .keyring
            .add_issuer(issuer.name, issuer.policy.clone());
        answer.login.clone_from(&issuer.login);
        let limit = MAX_KEYS_TRIED.saturating_add(1);
        add_keys(&mut answer, look, issuer, source, wanted.key_id, limit);
    }
    answer
}

/// Adds at most `limit` keys of the issuer, those with this key id if it is given.
fn add_keys(
    answer: &mut LookedUp,
    look: &Look,
    issuer: &Issuer,
    source: Option<&Attempt>,
    key_id: Option<&str>,
    limit: usize,
) {
    let keyring = &mut answer.keyring;
    let counts = |seen: &Seen| seen.state(StatementId::current().time()) == KeyState::Live;
    let limit = match source.and_then(Attempt::endpoint) {
        Some(seen) if !counts(seen) => 0,
        _ => limit,
    };
    stored_keys(look, issuer, source, key_id, limit, |_, key| {
        // A malformed row is no key, and does not affect others.
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
    answer.sight = source.and_then(|attempt| attempt.sight(issuer.name));
    answer.endpoint = source.and_then(|attempt| attempt.endpoint().cloned());
}

/// Calls `see` with the key ids and keys of at most `limit` rows of the issuer, those with this key
/// id if it is given. Fetched keys are read whether they count or not.
pub fn stored_keys(
    look: &Look,
    issuer: &Issuer,
    source: Option<&Attempt>,
    key_id: Option<&str>,
    limit: usize,
    mut see: impl FnMut(Option<&str>, Result<StoredKey, OddRow>),
) {
    match source {
        Some(Attempt::Table { opened, .. }) => {
            if let Ok(open) = opened {
                open.keys(look, key_id, limit, see);
            }
        }
        Some(Attempt::Endpoint(_)) | None => {
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

/// The issuer that applies to the token.
fn issuer_of<'w>(look: &Look, wanted: Wanted<'w>) -> Option<Issuer<'w>> {
    let exact = wanted.issuer.and_then(|name| issuer(look, name));
    exact.or_else(|| issuer(look, ANY_ISSUER))
}

/// The issuer of this name.
pub fn issuer<'w>(look: &Look, name: &'w str) -> Option<Issuer<'w>> {
    let mut found = Vec::new();
    look.issuers(&[("issuer", name)], 2, |row| {
        let origin = origin(row);
        let max_stale = origin.endpoint().and_then(|_| max_stale(row));
        found.push((policy(row), origin, max_stale, login(row), sessions(row)));
    });
    // Two are possible if the primary key was dropped: then neither is used.
    let is_only = found.len() == 1;
    let (mut policy, origin, max_stale, login, sessions) = found.pop()?;
    policy.enabled &= is_only;
    Some(Issuer {
        name,
        policy,
        origin,
        sessions,
        max_stale,
        login,
    })
}

/// The roles that the tokens of a row of `auth.issuers` give. Without the columns, or with something
/// in them that cannot be read, they give none.
fn login(row: &Row) -> Option<Login> {
    Some(Login {
        claim: ClaimPath::parse(&row.text("role_claim").ok()??)?,
        roles: row.strings("allowed_roles").ok()??,
    })
}

/// Origin of the keys of a row of `auth.issuers`. A table of a version without the column follows
/// nothing.
fn origin(row: &Row) -> Origin {
    match row.json("source") {
        Ok(json) => Origin::of(json.as_deref()),
        Err(NotUtf8) => Origin::Unreadable,
    }
}

/// The sessions that a row of `auth.issuers` follows. A table of a version without the column follows
/// none.
fn sessions(row: &Row) -> Option<Sessions> {
    if row.has_column("sessions") && !row.has("sessions", pgrx::pg_sys::JSONBOID) {
        return Some(Sessions { source: None });
    }
    match row.json("sessions") {
        Ok(json) => json.as_deref().map(Sessions::of),
        Err(NotUtf8) => Some(Sessions { source: None }),
    }
}

/// The sessions that the issuer of exactly this name follows.
pub fn sessions_of(tables: &Tables, name: &str) -> Option<Sessions> {
    in_a_context(|| tables.look(|look| issuer(look, name)?.sessions))
}

/// Time for which the issuer's keys are trusted after the last fetch; `None`: for ever. If the
/// column is missing, they are not trusted.
fn max_stale(row: &Row) -> Option<Duration> {
    if !row.has("max_stale", pgrx::pg_sys::INTERVALOID) {
        return Some(Duration::ZERO);
    }
    row.interval("max_stale").map(|interval| length(&interval))
}

/// State of fetching the keys of the issuer of exactly this name; `None` if they are not fetched.
pub fn endpoint(tables: &Tables, name: &str) -> Option<Seen> {
    let wanted = Wanted {
        issuer: Some(name),
        key_id: None,
    };
    in_a_context(|| {
        with_source(tables, wanted, |_, issuer, source| {
            issuer.filter(|issuer| issuer.name == name)?;
            source?.endpoint().cloned()
        })
    })
}

/// The rules of a row of `auth.issuers`. A rule that cannot be read is not left out: the issuer is
/// then not used.
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
        // The table admits only known names. If one is unknown all the same, the issuer is not
        // used, because a guess could allow too much.
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
        // Without the column, or with an unknown value, the stricter of the two.
        bound_tokens: row
            .text("bound_tokens")?
            .and_then(|name| BoundTokens::from_name(&name))
            .unwrap_or_default(),
    })
}
