//! Endpoint: a URL as the source of an issuer's keys.

use jwt_verify::Excerpt;
use serde_json::Value;

use crate::trust::source::kind::Kind;

/// The column `source` of a row of `auth.issuers`, as `auth.follow_url` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL of the keys; if `discover`, of the discovery document that names it.
    pub url: String,
    pub discover: bool,
}

impl Endpoint {
    /// The URL of keys, or of a discovery document, which its path shows.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            discover: jwks_rules::is_discovery(url),
        }
    }

    /// From the column's JSON; `None` if it is not what [`to_json`](Self::to_json) writes.
    pub fn from_json(json: &str) -> Option<Self> {
        let mut members = Kind::members(json)?;
        let discover = match Kind::take(&mut members)? {
            Kind::Url => false,
            Kind::Discovery => true,
            Kind::Table => return None,
        };
        let Value::String(url) = members.remove("url")? else {
            return None;
        };
        members.is_empty().then_some(Self { url, discover })
    }

    /// The column's JSON.
    pub fn to_json(&self) -> String {
        let kind = if self.discover {
            Kind::Discovery
        } else {
            Kind::Url
        };
        kind.with([("url", Value::from(self.url.as_str()))])
    }

    /// The URL, short enough for a line.
    pub fn shown(&self) -> String {
        Excerpt::new(&self.url).as_str().to_owned()
    }
}
