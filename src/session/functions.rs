//! SQL functions that take a token, and those of the statistics.

use jwt_verify::limits::MAX_TOKEN_BYTES;
use jwt_verify::{Excerpt, Revocable, RevokedBy, Step, UnixTime, Wanted};
use pgrx::prelude::*;

use crate::errors::{argument_is_null, token_too_long};
use crate::pg::clock::StatementId;
use crate::pg::encoding;
use crate::pg::function::{Arguments, TooLong, sql_function};
use crate::pg::report::Report;
use crate::pg::unguarded;
use crate::pg::uuid;
use crate::session::identity::DatumImage;
use crate::session::login::Given;
use crate::session::refusal::terms;
use crate::session::{self, advice, citus, errors, login, signatures};
use crate::settings::{self, Scope};
use crate::stats;
use crate::trust::keys;
use crate::trust::{revocation, sessions};

sql_function!(
    /// `auth.jwt_session_init(token text, is_local boolean) RETURNS void`: verifies the token
    /// first, and then makes it the session's. Also `auth.jwt_session_init(jwt varchar)`; a varchar
    /// is stored like a text.
    pg_auth_jwt_session_init,
    |arguments| {
        settings::check()?;
        let token = token(&arguments, 0)?.unwrap_or_default();
        let mut role = None;
        if !token.is_empty() {
            // The role came from the other token's claims.
            let bound = settings::token::bound_role();
            if settings::token::role().is_some_and(|role| bound != Some(role)) {
                return Err(errors::already_logged_in());
            }
            match bound {
                Some(bound) => role = Some(login::of_role(token, bound)?),
                None => {
                    session::verify_patiently(token)?;
                }
            }
        }
        let lifetime = Lifetime::of(arguments.boolean(1), || arguments.call_is_whole_statement());
        set_token(token, role.as_ref().map_or("", Given::suffix), lifetime);
        if !token.is_empty() {
            advice::on_role();
            if lifetime == Lifetime::SessionByDefault {
                advice::on_session_scope();
            }
        }
        // As PG_RETURN_VOID.
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

sql_function!(
    /// `auth.login(token text) RETURNS void`: verifies the token, and makes it the transaction's,
    /// together with the role that it names.
    pg_auth_jwt_login,
    |arguments| {
        settings::check()?;
        if !unguarded::IsInTransactionBlock(true) {
            return Err(errors::login_outside_block());
        }
        let token = token(&arguments, 0)?.ok_or_else(|| argument_is_null("token"))?;
        let role = login::set_role(token)?;
        // SAFETY: the name is NUL-terminated. Nothing needs a drop up to this function's own frame.
        unsafe { citus::pass_on(c"role", role.name().as_ptr()) }
        set_token(token, role.suffix(), Lifetime::Transaction);
        advice::on_role();
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

sql_function!(
    /// `auth.verify(token text) RETURNS jsonb`: the token's claims, or the error.
    pg_auth_jwt_verify,
    |arguments| {
        let Some(token) = token(&arguments, 0)? else { return Ok(None) };
        let identity = session::verify(token)?;
        Ok(identity.claims().map(DatumImage::to_datum))
    }
);

/// The `n`th argument (from 0), a `text` that holds a token.
///
/// # Errors
///
/// If it is longer than any token.
pub fn token(arguments: &Arguments, n: usize) -> Result<Option<&[u8]>, Report> {
    arguments
        .bytes_up_to(n, MAX_TOKEN_BYTES)
        .map_err(|TooLong { bytes }| token_too_long(bytes))
}

sql_function!(
    /// `auth.inspect(token text)`: says step by step why a token is or is not accepted.
    pg_auth_jwt_inspect,
    |arguments| {
        let Some(token) = arguments.bytes(0) else { return Ok(None) };
        session::synchronize();
        let text = String::from_utf8_lossy(&token);
        let now = StatementId::current().time();
        let mut steps = jwt_verify::inspect_with(&text, keys::find_for_advice, now, |keys| {
            *terms(keys)
        });
        remark_on_subject(&text, &mut steps);
        steps.extend(look_for_revocation(&text, now));
        steps.extend(look_for_session(&text, now));
        arguments.return_rows(steps.into_iter().map(|step| {
            [
                step.name.into_datum(),
                step.ok.into_datum(),
                // The datum of a bytea is that of a text of the same bytes.
                encoding::to_server_lossy(&step.detail).into_bytes().into_datum(),
            ]
        }))?;
        Ok(None)
    }
);

sql_function!(
    /// `auth.list_stats()`: the rows of the view `auth.stats`.
    pg_auth_jwt_list_stats,
    |arguments| {
        signatures::attach();
        let text = |text: &str| encoding::to_server_lossy(text).as_bytes().into_datum();
        arguments.return_rows(stats::lines().iter().map(|line| {
            [
                text(line.scope),
                line.issuer.as_deref().and_then(text),
                text(line.event),
                line.sqlstate.as_deref().and_then(text),
                i64::try_from(line.count).unwrap_or(i64::MAX).into_datum(),
                // The datum of a timestamptz is that of a bigint.
                line.last_at.into_datum(),
            ]
        }))?;
        Ok(None)
    }
);

sql_function!(
    /// `auth.reset_stats() RETURNS void`.
    pg_auth_jwt_reset_stats,
    |_arguments| {
        signatures::attach();
        stats::reset();
        // As PG_RETURN_VOID.
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

/// The last step: whether a token of good form is revoked.
fn look_for_revocation(token: &str, now: UnixTime) -> Option<Step> {
    let revocable = Revocable::of_unverified(token).ok()?;
    let issuer = revocable.issuer.as_deref();
    let wanted = Wanted {
        issuer,
        key_id: None,
    };
    let leeway = keys::find_for_advice(wanted).leeway(issuer);
    let (ok, detail) = match revocation::find(&revocable, token, leeway.unwrap_or_default(), now) {
        Ok(None) => {
            let names = revocable.names().filter(|(by, _)| *by != RevokedBy::Issuer);
            let names = names.map(|(by, name)| format!("{} {}, ", by.name(), Excerpt::new(name)));
            let names: String = names.collect();
            (
                true,
                format!("no revocation is for its {names}issuer, or the token itself"),
            )
        }
        Ok(Some(revoked)) => {
            let reason = revoked.reason.as_deref().map(Excerpt::new);
            let reason = reason.map_or_else(String::new, |reason| format!("; reason: {reason}"));
            (false, format!("{}{reason}", revoked.error))
        }
        Err(_) => (
            false,
            "table auth.revocations cannot be read, so no token is accepted".to_owned(),
        ),
    };
    Some(Step {
        name: "revoked",
        ok,
        detail,
    })
}

/// A step for an issuer whose sessions are followed: whether the token's is still there.
fn look_for_session(token: &str, now: UnixTime) -> Option<Step> {
    let issuer = jwt_verify::unverified_claims(token).issuer;
    let wanted = Wanted {
        issuer: issuer.as_deref(),
        key_id: None,
    };
    let keys = keys::find_for_advice(wanted);
    let sessions = keys.sessions()?;
    let claims = jwt_verify::unverified_payload(token)?;
    let id = sessions::named_in(Some(sessions), &claims);
    let (ok, detail) = match sessions::check(sessions, id.as_deref(), now) {
        Ok(None) => (true, "its session is among those of the issuer".to_owned()),
        Ok(Some(error)) => (false, error.to_string()),
        Err(_) => (
            false,
            "the issuer's sessions cannot be read, so no token of it is accepted".to_owned(),
        ),
    };
    Some(Step {
        name: "session",
        ok,
        detail,
    })
}

/// Adds the effect of an accepted `sub` on `auth.uid()`, which the verifier does not know.
fn remark_on_subject(token: &str, steps: &mut [jwt_verify::Step]) {
    let subject = jwt_verify::unverified_claims(token).subject;
    if subject.is_some_and(|subject| uuid::parse(&subject).is_none())
        && let Some(step) = steps.iter_mut().find(|step| step.name == "sub" && step.ok)
    {
        step.detail.push_str(
            "; this is no uuid, so auth.uid() is NULL and matches no row: use auth.user_id()",
        );
    }
}

/// Lifetime of a token that is set now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// To the end of the transaction, as by SET LOCAL.
    Transaction,
    /// To the end of the session, as asked for.
    Session,
    /// To the end of the session, because there is no transaction block and no argument or setting
    /// says otherwise.
    SessionByDefault,
}

/// Lifetime by the argument and the setting.
///
/// Outside of a transaction block the transaction ends with the client's statement. A call inside a
/// larger statement can make sense there, because the statement's other parts can use the token. If
/// the call is the whole statement, the token has no use, and Postgres's own WARNING of SET LOCAL
/// says so.
impl Lifetime {
    fn of(asked: Option<bool>, call_is_whole_statement: impl FnOnce() -> bool) -> Self {
        // A call by a function counts as part of the statement that calls that function.
        let in_block = unguarded::IsInTransactionBlock(true);
        let lifetime = match (settings::scope(), asked) {
            (Scope::Transaction, _) | (_, Some(true)) => Self::Transaction,
            (_, Some(false)) | (Scope::Session, None) => Self::Session,
            (Scope::Auto, None) if in_block => Self::Transaction,
            (Scope::Auto, None) => Self::SessionByDefault,
        };
        if lifetime == Self::Transaction && !in_block {
            // The setting overrides the argument.
            let overruled = asked == Some(false);
            if overruled || call_is_whole_statement() {
                let what = if asked == Some(true) {
                    c"auth.jwt_session_init with is_local => true"
                } else {
                    c"auth.jwt_session_init with pg_auth_jwt.scope = transaction"
                };
                // SAFETY: the argument is NUL-terminated.
                unsafe { pg_sys::WarnNoTransactionBlock(true, what.as_ptr()) }
            }
        }
        lifetime
    }
}

/// Sets `pg_auth_jwt.token` as SET or SET LOCAL does, with the suffix of a role if it is bound to one.
fn set_token(token: &[u8], suffix: &str, lifetime: Lifetime) {
    let action = if lifetime == Lifetime::Transaction {
        pg_sys::GucAction::GUC_ACTION_LOCAL
    } else {
        pg_sys::GucAction::GUC_ACTION_SET
    };
    // SAFETY: palloc returns at least that many bytes or does not return. Name and value are
    // NUL-terminated, and Postgres copies them. set_config() passes PGC_USERSET and PGC_S_SESSION
    // for an ordinary role too (src/backend/utils/misc/guc.c). Nothing needs a drop up to the SQL
    // function's own frame.
    unsafe {
        let length = token.len().saturating_add(suffix.len());
        let value = unguarded::palloc(length.saturating_add(1)).cast::<u8>();
        std::ptr::copy_nonoverlapping(token.as_ptr(), value, token.len());
        if lifetime == Lifetime::Transaction {
            // Without the role, which has another oid there. That statement sets the token here as
            // well, so it comes before the one that counts.
            value.add(token.len()).write(0);
            citus::pass_on(settings::table::TOKEN.name, value.cast());
        }
        std::ptr::copy_nonoverlapping(suffix.as_ptr(), value.add(token.len()), suffix.len());
        value.add(length).write(0);
        unguarded::set_config_option(
            settings::table::TOKEN.name.as_ptr(),
            value.cast(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}
