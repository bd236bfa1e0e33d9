//! Trigger function of `auth.issuers` that deletes, or renames, the rows that belong to an issuer
//! together with its own row, as foreign keys with CASCADE would. There are no foreign keys,
//! because a parallel restore loads the tables in any order.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::Report;
use crate::pg::row::{Columns, Row};
use crate::trust::schema::in_schema;
use crate::trust::sql::{argument, run};
use crate::trust::store::errors;
use crate::trust::store::withdrawn::Replacing;
use crate::trust::tables::Tables;
use crate::trust::tables::index::Name;

sql_function!(
    /// `auth.cascade_issuer() RETURNS trigger`, after a row of `auth.issuers` was deleted or the
    /// table truncated, and before a row is updated.
    pg_auth_jwt_cascade_issuer,
    |arguments| cascade_issuer(&arguments)
);

/// Keys and state of fetching without an issuer count for nothing. Those of the new name are left
/// over from another time, and are deleted. Keys that were withdrawn under either name stay
/// withdrawn, and revoked tokens revoked: the revocations of the new name may be older than its row.
const RENAMES: [&str; 7] = [
    in_schema!("DELETE FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $2"),
    in_schema!(
        "UPDATE @extschema@.jwks AS k SET issuer = $2 WHERE k.issuer OPERATOR(pg_catalog.=) $1"
    ),
    in_schema!("DELETE FROM @extschema@.endpoints AS e WHERE e.issuer OPERATOR(pg_catalog.=) $2"),
    in_schema!(
        "UPDATE @extschema@.endpoints AS e SET issuer = $2 WHERE e.issuer OPERATOR(pg_catalog.=) $1"
    ),
    in_schema!(
        "INSERT INTO @extschema@.withdrawn_keys (issuer, thumbprint, withdrawn_at) \
         SELECT $2, w.thumbprint, w.withdrawn_at FROM @extschema@.withdrawn_keys AS w \
         WHERE w.issuer OPERATOR(pg_catalog.=) $1 ON CONFLICT DO NOTHING"
    ),
    in_schema!(
        "DELETE FROM @extschema@.withdrawn_keys AS w WHERE w.issuer OPERATOR(pg_catalog.=) $1"
    ),
    // The old name keeps them: tokens that carry it may be accepted again, by its next row or by "*".
    in_schema!(
        "INSERT INTO @extschema@.revocations AS o \
         (issuer, kind, value, issued_before, expires_at, reason, revoked_at) \
         SELECT $2, r.kind, r.value, r.issued_before, r.expires_at, r.reason, r.revoked_at \
         FROM @extschema@.revocations AS r WHERE r.issuer OPERATOR(pg_catalog.=) $1 \
         ON CONFLICT (issuer, kind, value, issued_before) DO UPDATE SET expires_at = \
         CASE WHEN o.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL \
         ELSE GREATEST(o.expires_at, excluded.expires_at) END"
    ),
];

/// Revocations stay: the issuer may be added again while their tokens have not expired.
const DELETIONS: [&str; 3] = [
    in_schema!("DELETE FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1"),
    in_schema!("DELETE FROM @extschema@.endpoints AS e WHERE e.issuer OPERATOR(pg_catalog.=) $1"),
    in_schema!(
        "DELETE FROM @extschema@.withdrawn_keys AS w WHERE w.issuer OPERATOR(pg_catalog.=) $1"
    ),
];

const TRUNCATIONS: [&str; 3] = [
    in_schema!("DELETE FROM @extschema@.jwks"),
    in_schema!("DELETE FROM @extschema@.endpoints"),
    in_schema!("DELETE FROM @extschema@.withdrawn_keys"),
];

fn cascade_issuer(arguments: &Arguments) -> SqlResult {
    let trigger = arguments.trigger()?;
    if trigger.tg_event & pg_sys::TRIGGER_EVENT_ROW == 0 {
        write(&TRUNCATIONS, &[])?;
        refuse_unseen_keys(&[])?;
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    // SAFETY: a row trigger has an open relation.
    let name = |tuple| unsafe {
        let relation = trigger.tg_relation;
        let columns = Columns::of(relation);
        Row::new(&columns, (*relation).rd_att, tuple).text("issuer")
    };
    let old = name(trigger.tg_trigtuple)?;
    if trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK != pg_sys::TRIGGER_EVENT_UPDATE {
        if let Some(old) = old {
            write(&DELETIONS, &[&old])?;
            refuse_unseen_keys(&[("issuer", &old)])?;
        }
        return Ok(Some(pg_sys::Datum::from(0)));
    }
    if let (Some(old), Some(new)) = (old, name(trigger.tg_newtuple)?)
        && old != new
    {
        write(&RENAMES, &[&old, &new])?;
        refuse_unseen_keys(&[("issuer", &old)])?;
    }
    Ok(Some(pg_sys::Datum::from(trigger.tg_newtuple)))
}

/// Runs each statement, with the names as its parameters. None of these writes counts as one by
/// hand: deleted keys are not noted as withdrawn, and keys of a fetched issuer may get its new
/// name.
fn write(statements: &[&str], names: &[&str]) -> Result<(), Report> {
    let _replacing = Replacing::begin();
    Spi::connect_mut(|client| {
        for statement in statements {
            let arguments = names.iter().map(|name| argument(name));
            let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
            run(client, statement, &arguments)?;
        }
        Ok(())
    })
}

/// Refuses to leave a key behind that was committed after this transaction's snapshot, if that is
/// older than the statement: the key would count again once the issuer is known again. A foreign
/// key would find it, too.
fn refuse_unseen_keys(names: &[Name]) -> Result<(), Report> {
    // SAFETY: reads a variable of the backend.
    let is_fresh = unsafe { pg_sys::XactIsoLevel } < pg_sys::XACT_REPEATABLE_READ as i32;
    let tables = if is_fresh { None } else { Tables::open() };
    let is_left = tables.is_some_and(|tables| {
        let mut is_left = false;
        tables.look(|look| look.keys(names, 1, |_| is_left = true));
        is_left
    });
    if is_left {
        return Err(errors::not_serializable());
    }
    Ok(())
}
