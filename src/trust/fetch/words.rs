//! Sentences about an endpoint's keys: for the owner, the server's log, and the sender of a token.

use std::time::Duration;

use jwks_rules::{EndpointUrl, HostList};
use jwt_verify::UnixTime;

use crate::errors::{sentence, shorten};
use crate::pg::report::Report;
use crate::settings;
use crate::trust::fetch::errors;
use crate::trust::fetch::library::FetchLibrary;
use crate::trust::fetch::start::{Obstacle, Tried};
use crate::trust::fetch::timetable;
use crate::trust::lookup::seen::{Seen, State};

impl Seen {
    /// Why nothing is fetched, with this server's settings and files.
    fn hindrance(&self) -> Option<String> {
        let hosts = settings::fetch_hosts();
        let why = if hosts.trim().is_empty() {
            "setting pg_auth_jwt.fetch_hosts is empty".to_owned()
        } else if !FetchLibrary::path().is_some_and(|path| path.exists()) {
            "the library pg_auth_jwt_fetch is not installed beside pg_auth_jwt".to_owned()
        } else {
            let url = EndpointUrl::parse(&self.endpoint.url).map_err(|error| error.to_string());
            let list = HostList::read(&hosts);
            match url.and_then(|url| list.admit(url).map_err(|error| error.to_string())) {
                Ok(_) => return None,
                Err(why) => why,
            }
        };
        Some(format!("Nothing is fetched: {why}."))
    }

    /// Whether a fetch should have begun by now, and nothing is known to hinder it.
    fn is_overdue(&self, now: UnixTime) -> bool {
        /// Longer than the launcher, or those whose tokens are verified, take to begin one.
        const USUAL: Duration = Duration::from_secs(120);
        let next = self.row.next_attempt;
        self.is_enabled && next.is_some_and(|next| next.saturating_add(USUAL) <= now)
    }

    /// The line for the server's log, where the state is a new one.
    pub fn log_line(&self, state: State) -> String {
        let issuer = shorten(&self.issuer);
        let url = self.endpoint.shown();
        let remark = match state {
            State::Live => "",
            State::Stale => {
                ": they could not be fetched for longer than \"max_stale\" of auth.issuers allows, and are not trusted"
            }
            State::Missing => ": they were not fetched yet",
        };
        let name = state.name();
        format!("keys of issuer \"{issuer}\" at {url} are {name}{remark}")
    }

    /// The problems, as sentences; `None` if there are none. `auth.lint` knows by the first words of
    /// the first sentence why live keys are not fetched, so no text that is stored comes before.
    pub fn remark(&self, now: UnixTime) -> Option<String> {
        let url = self.endpoint.shown();
        let state = match self.state(now) {
            State::Live => None,
            State::Missing => Some(format!("The keys have not been fetched from {url} yet.")),
            State::Stale if self.fetched_at(now).is_none() => Some(format!(
                "The keys were fetched from {url} at a time that lies in the future (last_success), and count as \
                 stale until they are fetched again."
            )),
            State::Stale => Some(format!(
                "The keys were last fetched from {url} longer ago than \"max_stale\" of auth.issuers allows."
            )),
        };
        let hindrance = self.hindrance();
        let late = (hindrance.is_none() && self.is_overdue(now)).then(|| {
            let since = if timetable::has_launcher() {
                "The launcher has not begun a fetch that is due:"
            } else {
                "A fetch is due and has not begun: no token was verified since, or"
            };
            format!(
                "{since} no process could be started (max_worker_processes), or it failed before it began, \
                 which the server's log says."
            )
        });
        let error = (self.row.failures > 0 && hindrance.is_none())
            .then_some(self.row.last_error.as_deref())
            .flatten()
            .map(|error| sentence(error.trim_end_matches('.')));
        let parts = [state, hindrance, late, error, self.row.note.clone()];
        let remark: Vec<String> = parts.into_iter().flatten().collect();
        (!remark.is_empty()).then(|| remark.join(" "))
    }

    /// For a token without a key among the fetched ones. Anyone may send a token, so that neither
    /// the URL nor what the endpoint answers is told.
    pub fn refusal(&self, error: &jwt_verify::Error, tried: &Tried, now: UnixTime) -> Report {
        let remark = match self.state(now) {
            State::Live => None,
            State::Missing => Some("The issuer's keys have not been fetched yet."),
            State::Stale => Some(
                "The issuer's keys were last fetched longer ago than \"max_stale\" of auth.issuers allows.",
            ),
        };
        let is_running = self.row.is_running(now) || tried.has_started();
        let hint = match tried.obstacle() {
            Some(Obstacle::NoneFree) => Some(
                "The issuer's keys could not be fetched, because all of max_worker_processes are taken.",
            ),
            Some(Obstacle::Busy) => Some(
                "The issuer's keys could not be fetched yet, because other keys were being fetched: try again in a few seconds.",
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
