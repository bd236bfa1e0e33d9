//! Trigger function of `auth.revocations`: checks a row, and announces the change.

use jwt_verify::RevokedBy;
use pgrx::pg_sys;

use crate::pg::function::{SqlResult, sql_function};
use crate::pg::report::Report;
use crate::pg::row::{Columns, Row};
use crate::trust::store::errors;
use crate::trust::tables::revocations;

sql_function!(
    /// `auth.revocations_changed() RETURNS trigger`, after each change of `auth.revocations`: makes
    /// every backend ask again whether its tokens are revoked, once this transaction commits.
    /// Refuses a row that no token could match. (A CHECK would do, at the cost of a tenth of a new
    /// connection's look at the table, which reads its constraints.)
    pg_auth_jwt_revocations_changed,
    |arguments| revocations_changed(arguments.trigger()?)
);

fn revocations_changed(trigger: &pg_sys::TriggerData) -> SqlResult {
    let event = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
    let written = match event {
        _ if trigger.tg_event & pg_sys::TRIGGER_EVENT_ROW == 0 => None,
        pg_sys::TRIGGER_EVENT_INSERT => Some(trigger.tg_trigtuple),
        pg_sys::TRIGGER_EVENT_UPDATE => Some(trigger.tg_newtuple),
        _ => None,
    };
    if let Some(tuple) = written {
        // SAFETY: a row trigger has an open relation, and with these events a tuple of it.
        unsafe {
            let relation = trigger.tg_relation;
            let columns = Columns::of(relation);
            check(&Row::new(&columns, (*relation).rd_att, tuple))?;
        }
    }
    // SAFETY: the trigger's relation is open; the other function takes a plain value.
    unsafe {
        let announcer = revocations::announcer(trigger.tg_relation);
        pg_sys::CacheInvalidateRelcacheByRelid(announcer);
    }
    Ok(Some(pg_sys::Datum::from(0)))
}

/// Checks that a token can match the row.
fn check(row: &Row) -> Result<(), Report> {
    let kind = row.text("kind")?.unwrap_or_default();
    let value = row.text("value")?.unwrap_or_default();
    let by = RevokedBy::ALL.into_iter().find(|by| by.name() == kind);
    let is_digest = |text: &str| {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == 64 && text.as_bytes().iter().all(is_hex)
    };
    let can_match = match by.ok_or_else(|| errors::kind_of_revocation(&kind))? {
        RevokedBy::Issuer => value.is_empty(),
        RevokedBy::Token => is_digest(&value),
        RevokedBy::TokenId | RevokedBy::Subject | RevokedBy::Session => !value.is_empty(),
    };
    match can_match {
        true => Ok(()),
        false => Err(errors::value_of_revocation(&kind)),
    }
}
