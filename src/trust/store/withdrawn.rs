//! Trigger functions for withdrawn keys. One notes fetched keys that are deleted by hand, so that
//! the next fetch does not store them again while the issuer still publishes them, and deletes the
//! other names of a deleted key. The other deletes keys whose thumbprints are noted by hand.

use std::cell::Cell;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::errors::{not_storable, tables_unreadable};
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::pg::row::{Columns, Row};
use crate::trust::schema::{SCHEMA, in_schema};
use crate::trust::source::kind::IS_ENDPOINT;
use crate::trust::store::errors;

sql_function!(
    /// `auth.note_withdrawn() RETURNS trigger`, after a row of `auth.jwks` was deleted or updated, and
    /// before the table is truncated.
    pg_auth_jwt_note_withdrawn,
    |arguments| note_withdrawn(&arguments)
);

sql_function!(
    /// `auth.delete_withdrawn() RETURNS trigger`, after a row of `auth.withdrawn_keys` was inserted or
    /// updated.
    pg_auth_jwt_delete_withdrawn,
    |arguments| delete_withdrawn(&arguments)
);

thread_local! {
    /// Set while the extension itself replaces keys, or writes either table for a trigger.
    static REPLACING: Cell<bool> = const { Cell::new(false) };
}

/// Exists while the extension itself writes the tables, so that nothing counts as written by hand:
/// deleted keys are not noted, because the issuer withdrew them, and not the owner; noted ones are
/// deleted already; and fetched ones may be stored.
pub struct Replacing(bool);

impl Replacing {
    pub fn begin() -> Self {
        Self(REPLACING.replace(true))
    }

    /// Whether one exists.
    pub fn is_going_on() -> bool {
        REPLACING.get()
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        REPLACING.set(self.0);
    }
}

/// Condition for notes: the issuer still exists, and its keys are fetched.
fn of_endpoints() -> String {
    format!(
        "EXISTS (SELECT FROM {SCHEMA}.issuers AS i \
         WHERE i.issuer OPERATOR(pg_catalog.=) k.issuer AND {IS_ENDPOINT})"
    )
}

fn note_withdrawn(arguments: &Arguments) -> SqlResult {
    let trigger = arguments.trigger()?;
    if REPLACING.get() {
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    let _replacing = Replacing::begin();
    let of_endpoints = of_endpoints();
    if trigger.tg_event & pg_sys::TRIGGER_EVENT_ROW == 0 {
        let statement = format!(
            "INSERT INTO {SCHEMA}.withdrawn_keys (issuer, thumbprint) \
             SELECT k.issuer, k.thumbprint FROM {SCHEMA}.jwks AS k WHERE {of_endpoints} \
             ON CONFLICT DO NOTHING"
        );
        Spi::connect_mut(|client| client.update(statement.as_str(), None, &[]).map(drop))
            .map_err(tables_unreadable)?;
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    let is_update = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
    // SAFETY: a row trigger has an open relation and a tuple of it: the old one of an UPDATE or a
    // DELETE, and with an UPDATE the new one too.
    let (old, new) = unsafe {
        let relation = trigger.tg_relation;
        let columns = Columns::of(relation);
        let names = |tuple| names_of(&Row::new(&columns, (*relation).rd_att, tuple));
        let new = if is_update {
            Some(names(trigger.tg_newtuple)?)
        } else {
            None
        };
        (names(trigger.tg_trigtuple)?, new)
    };
    if new.as_ref() == Some(&old) {
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    let statement = format!(
        "INSERT INTO {SCHEMA}.withdrawn_keys (issuer, thumbprint) \
         SELECT k.issuer, k.thumbprint FROM (SELECT $1, $2) AS k (issuer, thumbprint) \
         WHERE {of_endpoints} ON CONFLICT DO NOTHING"
    );
    update(&statement, &old)?;
    // A key is withdrawn, not one of its names. An UPDATE withdraws none if nothing is noted: it
    // may exchange the keys of two rows.
    let condition = if is_update {
        of_endpoints.as_str()
    } else {
        "true"
    };
    let statement = format!(
        "DELETE FROM {SCHEMA}.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
         AND k.thumbprint OPERATOR(pg_catalog.=) $2 AND {condition}"
    );
    let others = update(&statement, &old)?;
    if let (1.., (Some(issuer), _)) = (others, &old) {
        report::notice(&errors::other_names_deleted(others, issuer));
    }
    Ok(Some(pg_sys::Datum::from(0)))
}

fn delete_withdrawn(arguments: &Arguments) -> SqlResult {
    let trigger = arguments.trigger()?;
    if REPLACING.get() {
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    let _replacing = Replacing::begin();
    let is_update = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
    // SAFETY: a row trigger has an open relation and a tuple of it: that of an INSERT, and with an
    // UPDATE the new one beside it.
    let (names, is_now) = unsafe {
        let relation = trigger.tg_relation;
        let tuple = if is_update {
            trigger.tg_newtuple
        } else {
            trigger.tg_trigtuple
        };
        let columns = Columns::of(relation);
        let row = Row::new(&columns, (*relation).rd_att, tuple);
        let now = pg_sys::GetCurrentTransactionStartTimestamp();
        (names_of(&row)?, row.timestamp("withdrawn_at") == Some(now))
    };
    // Rows of a dump may come before their issuer's, and are of another time.
    if is_now && let (Some(issuer), _) = &names {
        warn_of_no_issuer(issuer)?;
    }
    // The statement's lock waits for a fetching process that is storing the key, and blocks one
    // that is about to, which then reads the notes again.
    update(
        in_schema!(
            "DELETE FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
         AND k.thumbprint OPERATOR(pg_catalog.=) $2"
        ),
        &names,
    )?;
    Ok(Some(pg_sys::Datum::from(0)))
}

/// Warns of a note for an issuer without a row: the name may be mistyped.
fn warn_of_no_issuer(issuer: &str) -> Result<(), Report> {
    let argument = encoding::argument(issuer).ok_or_else(not_storable)?;
    let is_known = Spi::connect(|client| {
        let rows = client.select(
            in_schema!(
                "SELECT FROM @extschema@.issuers AS i WHERE i.issuer OPERATOR(pg_catalog.=) $1"
            ),
            Some(1),
            &[argument],
        )?;
        Ok(!rows.is_empty())
    })
    .map_err(tables_unreadable)?;
    if !is_known {
        report::warning(&errors::withdrawn_of_no_issuer(issuer));
    }
    Ok(())
}

/// A key's issuer and thumbprint.
type Names = (Option<String>, Option<String>);

/// Issuer and thumbprint of a row of either table.
fn names_of(row: &Row) -> Result<Names, Report> {
    Ok((row.text("issuer")?, row.text("thumbprint")?))
}

/// Runs a statement for a key; none if one of its names is NULL. Returns the number of rows.
fn update(statement: &str, names: &Names) -> Result<usize, Report> {
    let (Some(issuer), Some(thumbprint)) = names else {
        return Ok(0);
    };
    let argument = |text: &str| encoding::argument(text).ok_or_else(not_storable);
    let arguments = [argument(issuer)?, argument(thumbprint)?];
    Spi::connect_mut(|client| {
        client
            .update(statement, None, &arguments)
            .map(|rows| rows.len())
    })
    .map_err(tables_unreadable)
}
