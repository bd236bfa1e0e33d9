//! What the tables hold for a token: its issuer's rules, and the keys that it may be signed with.

use std::time::Duration;

use jwt_verify::limits::MAX_KEYS_TRIED;
use jwt_verify::{AlgorithmSet, Keyring, Policy, Wanted};
use pgrx::PgMemoryContexts;
use pgrx::datum::Interval;

use crate::pg::clock;
use crate::pg::row::{NotUtf8, Row};
use crate::trust::tables::{Look, Tables};

/// The issuer whose rules are those of tokens of any issuer, or of none.
const ANY_ISSUER: &str = "*";

/// How many issuers, or keys of an issuer, are read to be named in advice.
const MAX_ADVISED: usize = 1_000;

/// What a token that names these is verified with, as [`Wanted`] says.
pub fn keyring(tables: &Tables, wanted: Wanted) -> Keyring {
    in_a_context(|| tables.look(|look| find(look, wanted)))
}

/// As [`keyring`]; with other issuers where the token's is not known, and with other keys of it where
/// the token's is not, as advice for [`jwt_verify::inspect_with`].
pub fn keyring_for_advice(tables: &Tables, wanted: Wanted) -> Keyring {
    in_a_context(|| {
        tables.look(|look| {
            let mut keyring = find(look, wanted);
            if !keyring.is_empty() {
                return keyring;
            }
            match issuer_of(look, wanted) {
                Some((issuer, _)) => {
                    let names = [("issuer", issuer)];
                    look.keys(&names, MAX_ADVISED, |row| {
                        add_key(&mut keyring, issuer, row)
                    });
                }
                None => look.issuers(&[], MAX_ADVISED, |row| {
                    if let Ok(Some(name)) = row.text("issuer") {
                        keyring.add_issuer(&name, policy(row));
                    }
                }),
            }
            keyring
        })
    })
}

/// Everything that is palloc'd on the way lands in a context that is freed at the end.
fn in_a_context<T>(read: impl FnOnce() -> T) -> T {
    let mut context = PgMemoryContexts::new("pg_auth_jwt keys");
    // SAFETY: nothing that outlives the context is palloc'd in it.
    unsafe { context.switch_to(|_| read()) }
}

fn find(look: &Look, wanted: Wanted) -> Keyring {
    let mut keyring = Keyring::new();
    let Some((issuer, policy)) = issuer_of(look, wanted) else {
        return keyring;
    };
    keyring.add_issuer(issuer, policy);
    let mut names = vec![("issuer", issuer)];
    names.extend(wanted.key_id.map(|kid| ("kid", kid)));
    look.keys(&names, MAX_KEYS_TRIED + 1, |row| {
        add_key(&mut keyring, issuer, row)
    });
    keyring
}

/// The name and the rules of the issuer that counts for the token.
fn issuer_of<'w>(look: &Look, wanted: Wanted<'w>) -> Option<(&'w str, Policy)> {
    let exact = wanted
        .issuer
        .and_then(|name| Some((name, issuer(look, name)?)));
    exact.or_else(|| Some((ANY_ISSUER, issuer(look, ANY_ISSUER)?)))
}

fn issuer(look: &Look, name: &str) -> Option<Policy> {
    let mut found = Vec::new();
    look.issuers(&[("issuer", name)], 2, |row| found.push(policy(row)));
    // Two are possible where the owner has dropped the primary key: then neither counts.
    let is_only = found.len() == 1;
    let mut policy = found.pop()?;
    policy.enabled &= is_only;
    Some(policy)
}

/// The rules of a row of `auth.issuers`. One that cannot be read is not one that is left out.
fn policy(row: &Row) -> Policy {
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

/// `row` is one of `auth.jwks`, of this issuer; one that cannot be read is no key.
fn add_key(keyring: &mut Keyring, issuer: &str, row: &Row) {
    let (Ok(kid), Ok(Some(jwk)), Ok(alg)) = (row.text("kid"), row.json("jwk"), row.text("alg"))
    else {
        return;
    };
    keyring.add_key(
        issuer,
        kid.as_deref(),
        alg.as_deref(),
        &jwk,
        row.timestamp("expires_at").map(clock::from_postgres),
    );
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
