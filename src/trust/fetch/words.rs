//! Sentences about an endpoint's keys: for the owner, the server's log, and the sender of a token.

use std::time::Duration;

use jwks_rules::fetch_state::KeyState;
use jwks_rules::{EndpointUrl, GateError, HostList};
use jwt_verify::{Excerpt, UnixTime};

use crate::errors::sentence;
use crate::pg::report::Report;
use crate::settings;
use crate::trust::fetch::errors;
use crate::trust::fetch::hosts::{self, Addition};
use crate::trust::fetch::library::FetchLibrary;
use crate::trust::fetch::start::{Obstacle, Tried};
use crate::trust::fetch::timetable;
use crate::trust::lookup::seen::Seen;
use crate::trust::problem::{Finding, Problem};
use crate::trust::schema::SCHEMA;
use crate::trust::{sql, tables};

/// The server that fetches the keys that this one has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetcher {
    /// This one, if nothing hinders it.
    This,
    /// The primary of this standby.
    Primary,
    /// The publisher of the subscription that brings `auth.endpoints`. A subscriber that lists a
    /// host fetches for itself.
    Publisher,
}

impl Fetcher {
    fn find() -> Self {
        if sql::is_standby() {
            Self::Primary
        } else if settings::fetch_hosts().trim().is_empty() && tables::endpoints_are_subscribed() {
            Self::Publisher
        } else {
            Self::This
        }
    }

    /// A sentence about another server.
    fn detail(self) -> Option<&'static str> {
        match self {
            Self::This => None,
            Self::Primary => Some("This server is a standby: its primary fetches the keys."),
            Self::Publisher => Some(
                "This server gets the keys by a subscription, and fetches none while pg_auth_jwt.fetch_hosts is empty: \
                 the publisher fetches them.",
            ),
        }
    }
}

/// Reason why nothing is fetched.
struct Hindrance {
    problem: Problem,
    /// A part of a sentence.
    why: String,
    /// The entry of `pg_auth_jwt.fetch_hosts` that lists the host.
    entry: String,
}

impl Hindrance {
    fn new(problem: Problem, why: impl ToString) -> Self {
        Self {
            problem,
            why: why.to_string(),
            entry: String::new(),
        }
    }

    /// The reason why this URL is not fetched, with this list; `None` if it may be.
    fn of_url(url: &str, list: &HostList) -> Option<Self> {
        let url = match EndpointUrl::parse(url) {
            Ok(url) => url,
            Err(error) => return Some(Self::new(Problem::UrlRefused, error)),
        };
        let entry = url.entry();
        let error = list.admit(url.clone()).err()?;
        // If its own entry would not do either, the list is not to be changed.
        let error = match HostList::read(&entry).admit(url) {
            Err(refused) => refused,
            Ok(_) => error,
        };
        let problem = match &error {
            GateError::Off => Problem::HostsEmpty,
            GateError::NotListed {
                unreadable: Some(_),
                ..
            } => Problem::HostsUnreadable,
            GateError::NotListed {
                unreadable: None, ..
            } => Problem::HostNotListed,
            GateError::Internal { .. } => Problem::HostNotExact,
            GateError::PublicWithoutTls { .. }
            | GateError::Forbidden { .. }
            | GateError::NoAddress { .. } => Problem::UrlRefused,
        };
        let why = match problem {
            Problem::HostsEmpty => "setting pg_auth_jwt.fetch_hosts is empty".to_owned(),
            _ => error.to_string(),
        };
        Some(Self {
            problem,
            why,
            entry,
        })
    }

    /// Whether installing the library would not solve it, so that it is to be solved first.
    fn is_whatever_is_installed(&self) -> bool {
        matches!(self.problem, Problem::HostsEmpty | Problem::UrlRefused)
    }

    /// The sentence.
    fn detail(&self) -> String {
        format!("Nothing is fetched: {}.", self.why)
    }
}

impl Seen {
    /// The reason why nothing is fetched, with this server's settings and files. A discovery
    /// document is fetched from one host, and the keys maybe from another.
    fn hindrance(&self) -> Option<Hindrance> {
        let list = HostList::read(&settings::fetch_hosts());
        let hindrance = Hindrance::of_url(&self.endpoint.url, &list);
        if hindrance
            .as_ref()
            .is_some_and(Hindrance::is_whatever_is_installed)
        {
            return hindrance;
        }
        if !FetchLibrary::path().is_some_and(|path| path.exists()) {
            let why = "the library pg_auth_jwt_fetch is not installed beside pg_auth_jwt";
            return Some(Hindrance::new(Problem::LibraryMissing, why));
        }
        hindrance.or_else(|| {
            let keys = self.row.jwks_uri.as_deref();
            let keys = keys.filter(|_| self.endpoint.discover)?;
            Hindrance::of_url(keys, &list)
        })
    }

    /// Whether a fetch should have begun by now, and nothing is known to hinder it.
    fn is_overdue(&self, now: UnixTime) -> bool {
        /// Longer than the launcher, or those whose tokens are verified, take to begin one.
        const USUAL: Duration = Duration::from_secs(120);
        let next = self.row.next_attempt;
        self.is_enabled && next.is_some_and(|next| next.saturating_add(USUAL) <= now)
    }

    /// The line for the server's log about a state that is new.
    pub fn log_line(&self, state: KeyState) -> String {
        let issuer = Excerpt::new(&self.issuer);
        let url = self.endpoint.shown();
        let remark = match state {
            KeyState::Live => "",
            KeyState::Stale => {
                ": they could not be fetched for longer than \"max_stale\" of auth.issuers allows, and are not trusted"
            }
            KeyState::Missing => ": they were not fetched yet",
        };
        let name = state.name();
        format!("keys of issuer {issuer} at {url} are {name}{remark}")
    }

    /// The problems. Its code is that of the problem to be solved first; `None` if there are none. Of
    /// another server's fetches this one only has their effect, the age of the keys.
    pub fn finding(&self, now: UnixTime) -> Option<Finding> {
        let url = self.endpoint.shown();
        let state = match self.state(now) {
            KeyState::Live => None,
            KeyState::Missing => Some((
                Problem::NeverFetched,
                format!("The keys have not been fetched from {url} yet."),
            )),
            KeyState::Stale if self.row.fetched_at(now).is_none() => Some((
                Problem::ClockAhead,
                format!(
                    "The keys were fetched from {url} at a time that lies in the future (last_success), and count \
                     as stale until they are fetched again."
                ),
            )),
            KeyState::Stale => Some((
                Problem::Stale,
                format!(
                    "The keys were last fetched from {url} longer ago than \"max_stale\" of auth.issuers allows."
                ),
            )),
        };
        let fetcher = Fetcher::find();
        let elsewhere = fetcher.detail().filter(|_| state.is_some());
        let is_here = fetcher == Fetcher::This;
        let hindrance = self.hindrance().filter(|_| is_here);
        let fetches = is_here && hindrance.is_none();
        let late = (fetches && self.is_overdue(now)).then(|| {
            let (problem, since) = if timetable::has_launcher() {
                (
                    Problem::Overdue,
                    "The launcher has not begun a fetch that is due:",
                )
            } else {
                (
                    Problem::AwaitingTraffic,
                    "A fetch is due and has not begun: no token was verified since, or",
                )
            };
            let detail = format!(
                "{since} no process could be started (max_worker_processes), or it failed before it began, \
                 which the server's log says."
            );
            (problem, detail)
        });
        let error = (fetches && self.row.failures > 0)
            .then_some(self.row.last_error.as_deref())
            .flatten()
            .map(|error| sentence(error.trim_end_matches('.')));
        let note = self.row.note.clone();
        let problems = [
            hindrance.as_ref().map(|hindrance| hindrance.problem),
            late.as_ref()
                .map(|(problem, _)| *problem)
                .filter(|problem| *problem == Problem::Overdue),
            error.as_ref().map(|_| Problem::Failing),
            late.as_ref().map(|(problem, _)| *problem),
            state.as_ref().map(|(problem, _)| *problem),
            note.as_ref().map(|_| Problem::AnswerIncomplete),
        ];
        let problem = problems.into_iter().flatten().next()?;
        let parts = [
            state.map(|(_, detail)| detail),
            elsewhere.map(str::to_owned),
            hindrance.as_ref().map(Hindrance::detail),
            late.map(|(_, detail)| detail),
            error,
            note,
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(Finding {
            problem,
            detail: parts.join(" "),
            fix: self.fix(problem, hindrance.as_ref(), fetcher),
        })
    }

    /// The statement that solves the problem, or says more about it.
    fn fix(
        &self,
        problem: Problem,
        hindrance: Option<&Hindrance>,
        fetcher: Fetcher,
    ) -> Option<String> {
        let issuer = || pgrx::spi::quote_literal::<&str>(&self.issuer);
        match (problem, hindrance) {
            (Problem::HostsUnreadable, _) => Some(hosts::correction()),
            (Problem::LibraryMissing, _) => Some(
                "-- install the library pg_auth_jwt_fetch in the folder that pg_config --pkglibdir shows"
                    .to_owned(),
            ),
            (Problem::UrlRefused, _) => Some(format!(
                "SELECT {SCHEMA}.follow_url({}, 'https://...'); -- with the public URL of the keys",
                issuer()
            )),
            (_, Some(hindrance)) => Some(Addition::of(&hindrance.entry).fix()),
            (Problem::AnswerIncomplete, None) => None,
            (_, None) => {
                let refresh = format!("SELECT * FROM {SCHEMA}.refresh({});", issuer());
                Some(match fetcher {
                    Fetcher::This => format!("{refresh} -- fetches the keys, or says why not"),
                    Fetcher::Primary => format!("-- on the primary: {refresh}"),
                    Fetcher::Publisher => format!("-- on the publisher: {refresh}"),
                })
            }
        }
    }

    /// The error for a token whose key is not among the fetched ones. Anyone may send a token, so
    /// it tells neither the URL nor the endpoint's answer.
    pub fn refusal(&self, error: &jwt_verify::Error, tried: &Tried, now: UnixTime) -> Report {
        let remark = match self.state(now) {
            KeyState::Live => None,
            KeyState::Missing => Some("The issuer's keys have not been fetched yet."),
            KeyState::Stale => Some(
                "The issuer's keys were last fetched longer ago than \"max_stale\" of auth.issuers allows.",
            ),
        };
        let is_running = self.row.is_running(now) || tried.has_started();
        let fetcher = Fetcher::find();
        let hint = match tried.obstacle() {
            Some(Obstacle::NoneFree) => Some(
                "The issuer's keys could not be fetched, because all of max_worker_processes are taken.",
            ),
            Some(Obstacle::Busy) => Some(
                "The issuer's keys could not be fetched yet, because other keys were being fetched: try again in a few seconds.",
            ),
            None if fetcher == Fetcher::Primary => Some(
                "The issuer's keys are fetched by the primary: this standby has them once it has replayed that.",
            ),
            None if fetcher == Fetcher::Publisher => Some(
                "The issuer's keys are fetched by the publisher: this server has them once they have arrived.",
            ),
            None if self.hindrance().is_some() => Some(
                "The issuer's keys are not fetched on this server; the view auth.key_status says why.",
            ),
            None if is_running => {
                Some("The issuer's keys are being fetched now: try again in a few seconds.")
            }
            None => None,
        };
        errors::key_not_fetched(error, remark, hint)
    }
}
