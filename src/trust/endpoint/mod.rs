//! Issuers whose keys are fetched from a URL, an endpoint.
//!
//! The keys are rows of `auth.jwks`, so they are looked up as any others. Here is what is special:
//! [`state`] reads how the fetching goes, and so how long the keys count; [`start`] lets a backend
//! start a fetch; [`worker`] is the process that does it, and [`store`] what that process writes;
//! [`launcher`] is the process that starts fetches where no backend does. [`withdrawn`] keeps what
//! was withdrawn by hand from coming back; [`follow_url`] and [`refresh`] are SQL functions.
//!
//! Backends do no network I/O.

mod claim;
pub mod follow_url;
pub mod launcher;
pub mod refresh;
mod rows;
pub mod start;
pub mod state;
mod store;
pub mod timetable;
mod usable;
pub mod withdrawn;
pub mod worker;

use serde_json::{Map, Value};

use crate::errors;

/// The column `source` of a row of `auth.issuers`, as `auth.follow_url` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the keys are; where `discover`, the OpenID discovery document that names the place.
    pub url: String,
    pub discover: bool,
}

/// The member of the column's object with the URL of the keys.
const URL: &str = "url";
/// As above, of the discovery document.
const DISCOVERY: &str = "discovery";

/// SQL for "the source of issuer `i` is an endpoint": exactly what [`Endpoint::from_json`] reads. What is an
/// endpoint in one place only would be due for ever.
const IS_ENDPOINT: &str = "((i.source OPERATOR(pg_catalog.->>) 'url' IS NOT NULL \
         AND i.source OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_object( \
             'url', i.source OPERATOR(pg_catalog.->>) 'url')) \
     OR (i.source OPERATOR(pg_catalog.->>) 'discovery' IS NOT NULL \
         AND i.source OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_object( \
             'discovery', i.source OPERATOR(pg_catalog.->>) 'discovery')))";

/// The end of the URL of a discovery document (OpenID Connect Discovery 1.0 §4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

impl Endpoint {
    /// Whether it is the URL of a discovery document shows at its end.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            discover: url.ends_with(DISCOVERY_PATH),
        }
    }

    /// From the column's JSON; `None` where it is not what [`to_json`](Self::to_json) writes.
    pub fn from_json(json: &str) -> Option<Self> {
        let Value::Object(members) = serde_json::from_str(json).ok()? else {
            return None;
        };
        let mut members = members.into_iter();
        let (name, Value::String(url)) = members.next()? else {
            return None;
        };
        let discover = match name.as_str() {
            URL => false,
            DISCOVERY => true,
            _ => return None,
        };
        members.next().is_none().then_some(Self { url, discover })
    }

    /// What is stored in the column.
    pub fn to_json(&self) -> String {
        let name = if self.discover { DISCOVERY } else { URL };
        let mut members = Map::new();
        members.insert(name.to_owned(), Value::from(self.url.as_str()));
        Value::Object(members).to_string()
    }

    /// The URL, short enough for a line.
    pub fn shown(&self) -> String {
        errors::shorten(&self.url)
    }
}
