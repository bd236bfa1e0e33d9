//! `auth.revoke` and `auth.revoke_issuer`, which refuse tokens before their time, and what takes that back.

use std::time::Duration;

use jwt_verify::{Revocable, RevokedBy, UnixTime};
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::{LOADED, argument_is_null, tables_unreadable, token_refused, token_too_long};
use crate::pg::clock;
use crate::pg::function::{Arguments, SqlResult, TooLong, sql_function};
use crate::pg::report::{self, Report};
use crate::trust::lookup::ANY_ISSUER;
use crate::trust::owner::errors;
use crate::trust::schema::in_schema;
use crate::trust::sql::{self, First, argument, run, text_argument, time_argument};
use crate::trust::store::errors::{in_read_only_transaction, on_standby};

/// Maximum length of a value: an index entry holds it beside the issuer's name.
const MAX_VALUE_BYTES: usize = 1_024;

/// Maximum number of rows that have run out which one call deletes.
const MAX_DELETED: i32 = 100;

sql_function!(
    /// `auth.revoke(issuer text, jti text, sub text, sid text, token text, issued_before timestamptz,
    /// expires_at timestamptz, reason text) RETURNS void`.
    pg_auth_jwt_revoke,
    |arguments| {
        check_can_write("auth.revoke()")?;
        revoke(&Selector::of(&arguments)?, &Terms::of(&arguments, 5)?)
    }
);

sql_function!(
    /// `auth.revoke_issuer(issuer text, issued_before timestamptz, expires_at timestamptz, reason text) RETURNS void`.
    pg_auth_jwt_revoke_issuer,
    |arguments| {
        check_can_write("auth.revoke_issuer()")?;
        revoke(&Selector::of_issuer(&arguments)?, &Terms::of(&arguments, 1)?)
    }
);

sql_function!(
    /// `auth.unrevoke(issuer text, jti text, sub text, sid text, token text) RETURNS boolean`.
    pg_auth_jwt_unrevoke,
    |arguments| {
        check_can_write("auth.unrevoke()")?;
        unrevoke(&Selector::of(&arguments)?)
    }
);

sql_function!(
    /// `auth.unrevoke_issuer(issuer text) RETURNS boolean`.
    pg_auth_jwt_unrevoke_issuer,
    |arguments| {
        check_can_write("auth.unrevoke_issuer()")?;
        unrevoke(&Selector::of_issuer(&arguments)?)
    }
);

fn unrevoke(selector: &Selector) -> SqlResult {
    let statement = in_schema!(
        "DELETE FROM @extschema@.revocations AS r WHERE r.issuer OPERATOR(pg_catalog.=) $1 \
         AND r.kind OPERATOR(pg_catalog.=) $2 AND r.value OPERATOR(pg_catalog.=) $3"
    );
    let deleted = Spi::connect_mut(|client| {
        let names = selector.arguments()?;
        let deleted = client.update(statement, None, &names);
        Ok::<_, Report>(deleted.map_err(tables_unreadable)?.len())
    })?;
    Ok((deleted > 0).into_datum())
}

/// The time and the reason of a revocation, as they were given.
struct Terms {
    issued_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
    reason: Option<String>,
}

impl Terms {
    /// From the three arguments that begin with this one.
    fn of(arguments: &Arguments, first: usize) -> Result<Self, Report> {
        let instant = |n| {
            let datum = arguments.datum(n);
            // The datum of a timestamptz is the number of microseconds.
            datum.map(|datum| clock::from_postgres(datum.value() as i64))
        };
        Ok(Self {
            issued_before: instant(first),
            expires_at: instant(first.saturating_add(1)),
            reason: arguments.text(first.saturating_add(2))?,
        })
    }
}

/// The tokens that a call is for.
struct Selector {
    issuer: String,
    by: RevokedBy,
    value: String,
    /// `exp` of the one token.
    expires: Option<UnixTime>,
}

impl Selector {
    /// All tokens of the issuer that the first argument names.
    fn of_issuer(arguments: &Arguments) -> Result<Self, Report> {
        Ok(Self {
            issuer: issuer(arguments)?,
            by: RevokedBy::Issuer,
            value: String::new(),
            expires: None,
        })
    }

    /// From the first five arguments.
    fn of(arguments: &Arguments) -> Result<Self, Report> {
        let issuer = issuer(arguments)?;
        let mut selected = None;
        for (n, by) in [
            (1, RevokedBy::TokenId),
            (2, RevokedBy::Subject),
            (3, RevokedBy::Session),
            (4, RevokedBy::Token),
        ] {
            let value = arguments
                .bytes_up_to(n, jwt_verify::limits::MAX_TOKEN_BYTES)
                .map_err(|TooLong { bytes }| match by {
                    RevokedBy::Token => token_too_long(bytes),
                    _ => errors::value_too_long(by, MAX_VALUE_BYTES),
                })?;
            if value.is_none() {
                continue;
            }
            let value = arguments.text(n)?.unwrap_or_default();
            if value.is_empty() {
                return Err(errors::selector_is_empty(by));
            }
            if selected.replace((by, value)).is_some() {
                return Err(errors::several_selectors());
            }
        }
        let (by, value) = selected.ok_or_else(errors::no_selector)?;
        if by == RevokedBy::Token {
            return Self::of_token(issuer, &value);
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(errors::value_too_long(by, MAX_VALUE_BYTES));
        }
        Ok(Self {
            issuer,
            by,
            value,
            expires: None,
        })
    }

    /// One token. It need not be good: it may be revoked before it is valid, or without its keys.
    fn of_token(issuer: String, token: &str) -> Result<Self, Report> {
        let revocable = Revocable::of_unverified(token)
            .map_err(|error| token_refused(&error, token, &LOADED))?;
        if issuer != ANY_ISSUER && revocable.issuer.as_deref() != Some(&issuer) {
            return Err(errors::token_of_another_issuer(
                &issuer,
                revocable.issuer.as_deref(),
            ));
        }
        Ok(Self {
            issuer,
            by: RevokedBy::Token,
            value: jwt_verify::digest(token),
            expires: revocable.expires(),
        })
    }

    /// Issuer, kind and value.
    fn arguments(&self) -> Result<Vec<pgrx::datum::DatumWithOid<'static>>, Report> {
        [&self.issuer, self.by.name(), &self.value]
            .into_iter()
            .map(argument)
            .collect()
    }
}

fn issuer(arguments: &Arguments) -> Result<String, Report> {
    arguments.text(0)?.ok_or_else(|| argument_is_null("issuer"))
}

fn check_can_write(function: &str) -> Result<(), Report> {
    if sql::is_standby() {
        return Err(on_standby(function));
    }
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::XactReadOnly } {
        return Err(in_read_only_transaction(function));
    }
    Ok(())
}

fn revoke(selector: &Selector, terms: &Terms) -> SqlResult {
    // The clock, and not the start of the transaction: tokens may have been issued since.
    let now = sql::now();
    let issued_before = terms.issued_before.unwrap_or(match selector.by {
        RevokedBy::Subject | RevokedBy::Issuer => now,
        // Ids are not given again. So iat does not matter, which may come from a clock that is ahead.
        RevokedBy::TokenId | RevokedBy::Session | RevokedBy::Token => UnixTime::MAX,
    });
    Spi::connect_mut(|client| {
        let rules = Rules::of(client, &selector.issuer)?;
        let known_end = selector.end(&rules, issued_before, now);
        // A revocation that would run out before its tokens is of no use.
        let expires_at = match (terms.expires_at, known_end) {
            (Some(given), Some(known)) => Some(given.max(known)),
            (given, known) => given.or(known),
        };
        if terms.expires_at.is_some() && selector.by != RevokedBy::Token {
            let end = expires_at.filter(|end| end.saturating_add(rules.leeway) <= now);
            if let Some(end) = end {
                report::warning(&errors::revocation_has_ended(end));
            }
        }
        let of_tokens = || {
            let mut values = selector.arguments()?;
            values.push(time_argument(Some(issued_before)));
            values.push(time_argument(expires_at));
            Ok::<_, Report>(values)
        };
        let mut values = of_tokens()?;
        values.push(text_argument(terms.reason.as_deref())?);
        values.push(time_argument(Some(now)));
        run(
            client,
            in_schema!(
                "INSERT INTO @extschema@.revocations AS r \
                     (issuer, kind, value, issued_before, expires_at, reason, revoked_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (issuer, kind, value, issued_before) DO UPDATE \
                 SET expires_at = CASE WHEN r.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL \
                     ELSE GREATEST(r.expires_at, excluded.expires_at) END, \
                     reason = COALESCE(excluded.reason, r.reason), revoked_at = excluded.revoked_at"
            ),
            &values,
        )?;
        // SAFETY: reads a variable of the backend.
        let is_fresh = unsafe { pg_sys::XactIsoLevel } < pg_sys::XACT_REPEATABLE_READ as i32;
        // Under an older snapshot, a row that another session has deleted would be an error.
        if is_fresh {
            run(client, SUPERSEDED, &of_tokens()?)?;
            run(client, RUN_OUT, &[MAX_DELETED.into()])?;
        }
        Ok::<_, Report>(())
    })?;
    // As PG_RETURN_VOID.
    Ok(Some(pg_sys::Datum::from(0)))
}

/// Deletes revocations of the same name that cover no token beyond those of the new one.
const SUPERSEDED: &str = in_schema!(
    "DELETE FROM @extschema@.revocations AS r WHERE r.issuer OPERATOR(pg_catalog.=) $1 \
     AND r.kind OPERATOR(pg_catalog.=) $2 AND r.value OPERATOR(pg_catalog.=) $3 \
     AND r.issued_before OPERATOR(pg_catalog.<) $4 \
     AND ($5 IS NULL OR r.expires_at OPERATOR(pg_catalog.<=) $5)"
);

/// Deletes the oldest revocations whose tokens have all expired: not before another day, so that an
/// issuer's leeway can still be raised.
const RUN_OUT: &str = in_schema!(
    "DELETE FROM @extschema@.revocations AS r WHERE r.ctid OPERATOR(pg_catalog.=) ANY (ARRAY( \
     SELECT o.ctid FROM @extschema@.revocations AS o \
     WHERE o.expires_at OPERATOR(pg_catalog.<) (SELECT pg_catalog.now() \
         OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval \
         OPERATOR(pg_catalog.-) COALESCE(pg_catalog.max(i.leeway), '0 s') FROM @extschema@.issuers AS i) \
     ORDER BY o.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
);

impl Selector {
    /// Time by which the tokens have expired, without the issuer's leeway, if that is known: by the
    /// token itself, or by the issuer's `max_age`.
    fn end(&self, rules: &Rules, issued_before: UnixTime, now: UnixTime) -> Option<UnixTime> {
        if self.by == RevokedBy::Token {
            return self.expires;
        }
        // The last instant at which one of the tokens can have been issued.
        let issued_until = match (self.by, issued_before) {
            (RevokedBy::TokenId, UnixTime::MAX) => now,
            // A ban, or a session whose tokens the issuer may renew.
            (_, UnixTime::MAX) => return None,
            (_, before) => before,
        };
        rules.max_age.map(|max_age| {
            issued_until
                .saturating_add(rules.leeway)
                .saturating_add(max_age)
        })
    }
}

/// The rules for an issuer's tokens that say how long they count.
struct Rules {
    max_age: Option<Duration>,
    leeway: Duration,
}

impl Rules {
    /// # Errors
    ///
    /// If no row of `auth.issuers` is for tokens of this issuer: its name may be mistyped.
    fn of(client: &SpiClient, issuer: &str) -> Result<Self, Report> {
        if issuer == ANY_ISSUER {
            let rows = client.select(
                in_schema!("SELECT pg_catalog.max(i.leeway) FROM @extschema@.issuers AS i"),
                Some(1),
                &[],
            );
            let row = First::of(rows.map_err(tables_unreadable)?);
            let leeway = row.map(|row| row.interval(1)).transpose()?;
            return Ok(Self {
                max_age: None,
                leeway: leeway.flatten().unwrap_or_default(),
            });
        }
        let rows = client
            .select(
                in_schema!(
                    "SELECT i.max_age, i.leeway FROM @extschema@.issuers AS i \
                     WHERE i.issuer OPERATOR(pg_catalog.=) $1 OR i.issuer OPERATOR(pg_catalog.=) '*' \
                     ORDER BY i.issuer OPERATOR(pg_catalog.=) '*'"
                ),
                Some(1),
                &[argument(issuer)?],
            )
            .map_err(tables_unreadable)?;
        let row = First::of(rows).ok_or_else(|| errors::no_issuer_to_revoke(issuer))?;
        Ok(Self {
            max_age: row.interval(1)?,
            leeway: row.interval(2)?.unwrap_or_default(),
        })
    }
}
