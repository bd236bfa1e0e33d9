//! Trigger functions of the key tables that check keys and announce changes.

use jwt_verify::{AlgorithmSet, Key};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::errors::{not_storable, tables_unreadable};
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, not_called_as_trigger, sql_function};
use crate::pg::report::Report;
use crate::pg::row::{self, Columns, NotUtf8, Row};
use crate::trust::schema::in_schema;
use crate::trust::source::origin::Origin;
use crate::trust::sql::argument;
use crate::trust::store::errors;
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::store::withdrawn::Replacing;
use crate::trust::tables::{self, KEY_COLUMNS};

sql_function!(
    /// `auth.admit_key() RETURNS trigger`, before each row that is written to `auth.jwks`: refuses
    /// keys that are not acceptable, and fills in `kid`, `alg` and `thumbprint`.
    pg_auth_jwt_admit_key,
    |arguments| admit_key(&arguments)
);

sql_function!(
    /// `auth.keys_changed() RETURNS trigger`, after each change: makes every backend read the
    /// tables again once this transaction commits.
    pg_auth_jwt_keys_changed,
    |arguments| {
        let trigger = arguments.trigger()?;
        // SAFETY: the trigger's relation is open; the other function takes a plain value.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid((*trigger.tg_relation).rd_id) };
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

sql_function!(
    /// `auth.endpoint_changed() RETURNS trigger`, after a change of `auth.endpoints`: announces a
    /// change of `auth.jwks` if fetched keys count for a shorter time. No backend heeds changes of
    /// rows of `auth.endpoints` itself, because each fetch makes some.
    pg_auth_jwt_endpoint_changed,
    |arguments| {
        let trigger = arguments.trigger()?;
        let event = trigger.tg_event;
        let is_update = event & pg_sys::TRIGGER_EVENT_ROW != 0
            && event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
        // SAFETY: a row trigger of an UPDATE has an open relation, and the old and the new tuple of
        // it.
        let is_shorter = !is_update
            || unsafe {
                let relation = trigger.tg_relation;
                let columns = Columns::of(relation);
                let end = |tuple| {
                    let row = Row::new(&columns, (*relation).rd_att, tuple);
                    row.timestamp("last_success")
                };
                // NULL is the shortest time: no key counts then.
                end(trigger.tg_newtuple) < end(trigger.tg_trigtuple)
            };
        if is_shorter && let Some((_, jwks)) = tables::find() {
            // SAFETY: takes a plain value.
            unsafe { pg_sys::CacheInvalidateRelcacheByRelid(jwks) };
        }
        Ok(Some(pg_sys::Datum::from(0)))
    }
);

sql_function!(
    /// `auth.algorithms_are_known(algorithms text[]) RETURNS boolean`, for the constraint of
    /// `auth.issuers`.
    pg_auth_jwt_algorithms_are_known,
    |arguments| {
        // SAFETY: the argument is declared text[]; the function is STRICT.
        let names = arguments.datum(0).map(|datum| unsafe { row::strings(datum) });
        let are_known = names.is_some_and(|names| {
            names.is_ok_and(|names| AlgorithmSet::from_names(names.iter().map(String::as_str)).is_ok())
        });
        Ok(are_known.into_datum())
    }
);

/// The columns of a row of `auth.jwks` that describe its key.
#[derive(Default)]
struct KeyColumns {
    issuer: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    jwk: Option<String>,
    thumbprint: Option<String>,
}

impl KeyColumns {
    /// # Safety
    ///
    /// `tuple` must be a tuple of `auth.jwks`, and `relation` that table.
    unsafe fn read(
        columns: &Columns,
        relation: pg_sys::Relation,
        tuple: pg_sys::HeapTuple,
    ) -> Result<Self, NotUtf8> {
        // SAFETY: as the caller promises.
        let row = unsafe { Row::new(columns, (*relation).rd_att, tuple) };
        Ok(Self {
            issuer: row.text("issuer")?,
            kid: row.text("kid")?,
            alg: row.text("alg")?,
            jwk: row.json("jwk")?,
            thumbprint: row.text("thumbprint")?,
        })
    }
}

/// Bits of an event for a trigger that fires before a row.
const BEFORE_ROW: u32 = pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE;

fn admit_key(arguments: &Arguments) -> SqlResult {
    let trigger = arguments.trigger()?;
    if trigger.tg_event & BEFORE_ROW != BEFORE_ROW {
        return Err(not_called_as_trigger());
    }
    let relation = trigger.tg_relation;
    let is_update = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
    // tg_trigtuple is the new tuple of an INSERT or the old one of an UPDATE, and tg_newtuple the new
    // one of an UPDATE.
    let (old, new) = if is_update {
        (Some(trigger.tg_trigtuple), trigger.tg_newtuple)
    } else {
        (None, trigger.tg_trigtuple)
    };
    // SAFETY: a BEFORE ROW trigger on auth.jwks has an open relation.
    let columns = unsafe { Columns::of(relation) };
    if !columns.have(&KEY_COLUMNS) {
        return Err(errors::table_was_altered());
    }
    // SAFETY: the tuples are those of the relation.
    let read = |tuple| unsafe { KeyColumns::read(&columns, relation, tuple) };
    // An old row that cannot be read, because it is older than the trigger, counts as empty.
    let old = old.map(|tuple| read(tuple).unwrap_or_default());
    let Some(filled) = admit(&read(new)?, old.as_ref())? else {
        // The NOT NULL constraints refuse it.
        return Ok(Some(pg_sys::Datum::from(new)));
    };
    // SAFETY: as above.
    let filled = unsafe { fill_in(&columns, relation, new, &filled) }?;
    Ok(Some(pg_sys::Datum::from(filled)))
}

/// Columns that the trigger fills in.
struct Filled {
    kid: Option<String>,
    alg: Option<String>,
    thumbprint: String,
    /// Distinguishes the rows of one key.
    name: String,
}

/// Checks a row that is inserted, or updated if there is an old one. `None` if it has no issuer or
/// no key.
fn admit(row: &KeyColumns, old: Option<&KeyColumns>) -> Result<Option<Filled>, Report> {
    let (Some(issuer), Some(jwk)) = (&row.issuer, &row.jwk) else {
        return Ok(None);
    };
    let stored = Spi::connect_mut(|client| StoredIssuer::lock(client, issuer))?;
    // Each token asks again whether the issuer's algorithms allow its key.
    let algorithms = match (is_by_hand(row, old), stored) {
        (false, _) => AlgorithmSet::ALL,
        (true, None) => return Err(errors::no_row_of_issuer(issuer)),
        (true, Some(stored)) => {
            let is_new = old.is_none_or(|old| (&old.issuer, &old.jwk) != (&row.issuer, &row.jwk));
            if is_new && stored.origin != Origin::Rows {
                return Err(errors::issuer_is_followed(
                    issuer,
                    stored.origin.endpoint().is_some(),
                ));
            }
            stored.algorithms?
        }
    };
    let key =
        Key::from_jwk(jwk, algorithms).map_err(|error| errors::key_not_usable(&error, issuer))?;
    // If an UPDATE of the JWK leaves kid or alg unchanged, they belong to the former JWK.
    let jwk_changed = old.is_some_and(|old| old.jwk != row.jwk);
    let given = |new: &Option<String>, old: Option<&Option<String>>| {
        if jwk_changed && Some(new) == old {
            None
        } else {
            new.clone()
        }
    };
    let kid = agree("kid", given(&row.kid, old.map(|old| &old.kid)), key.kid())?;
    let alg = given(&row.alg, old.map(|old| &old.alg));
    let alg = match (alg, key.alg()) {
        // The owner may pin the algorithm of a key whose JWK names none.
        (Some(alg), None) => {
            Key::from_jwk_with_alg(jwk, &alg, algorithms)
                .map_err(|error| errors::key_not_usable(&error, issuer))?;
            Some(alg)
        }
        (alg, stated) => agree("alg", alg, stated)?,
    };
    if let Some(kid) = &kid {
        refuse_second_key(issuer, kid, &key, old)?;
    }
    Ok(Some(Filled {
        name: name(alg.as_deref(), kid.as_deref()),
        kid,
        alg,
        thumbprint: key.thumbprint().to_owned(),
    }))
}

/// The name of a key with this `alg` and `kid`: no two pairs have the same, as no `alg` has a
/// colon.
fn name(alg: Option<&str>, kid: Option<&str>) -> String {
    let kid = kid.map_or_else(String::new, |kid| format!(":{kid}"));
    format!("{}{kid}", alg.unwrap_or_default())
}

/// Whether somebody writes another key by hand, and must be told if it would not count. Rows of a
/// dump or a replica are stored as they were, in any order of the tables. They have their
/// thumbprint; a key that is written by hand gets it here.
fn is_by_hand(row: &KeyColumns, old: Option<&KeyColumns>) -> bool {
    // SAFETY: reads a variable of the backend.
    let is_replica = unsafe { pg_sys::SessionReplicationRole }
        == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as core::ffi::c_int;
    if is_replica || Replacing::is_going_on() {
        return false;
    }
    match old {
        // A key can be ended by hand, whatever its source.
        Some(old) => {
            (&old.issuer, &old.kid, &old.jwk, &old.alg)
                != (&row.issuer, &row.kid, &row.jwk, &row.alg)
        }
        None => {
            let key = row
                .jwk
                .as_deref()
                .map(|jwk| Key::from_jwk(jwk, AlgorithmSet::ALL));
            let thumbprint = key
                .as_ref()
                .and_then(|key| Some(key.as_ref().ok()?.thumbprint()));
            thumbprint.is_none() || row.thumbprint.as_deref() != thumbprint
        }
    }
}

/// The value of a column that has to equal a member of the JWK.
fn agree(
    name: &str,
    column: Option<String>,
    member: Option<&str>,
) -> Result<Option<String>, Report> {
    match (column, member) {
        (Some(column), Some(member)) if column != member => {
            Err(errors::column_contradicts_jwk(name))
        }
        (column, member) => Ok(column.or_else(|| member.map(str::to_owned))),
    }
}

/// The unique index refuses the same, with a less clear message.
fn refuse_second_key(
    issuer: &str,
    kid: &str,
    key: &Key,
    old: Option<&KeyColumns>,
) -> Result<(), Report> {
    let of_old = |column: fn(&KeyColumns) -> &Option<String>| {
        nullable_argument(old.and_then(|old| column(old).as_deref()))
    };
    let arguments = [
        argument(issuer)?,
        argument(kid)?,
        argument(key.key_type().name())?,
        argument(key.thumbprint())?,
        of_old(|old| &old.issuer)?,
        of_old(|old| &old.thumbprint)?,
        of_old(|old| &old.kid)?,
        of_old(|old| &old.alg)?,
    ];
    let has_second = Spi::connect(|client| {
        client
            .select(
                in_schema!(
                    "SELECT 1 FROM @extschema@.jwks AS k \
                 WHERE k.issuer OPERATOR(pg_catalog.=) $1 \
                 AND k.kid OPERATOR(pg_catalog.=) $2 \
                 AND (k.jwk OPERATOR(pg_catalog.->>) 'kty') OPERATOR(pg_catalog.=) $3 \
                 AND k.thumbprint OPERATOR(pg_catalog.<>) $4 \
                 AND (k.issuer, k.thumbprint, k.kid, k.alg) IS DISTINCT FROM ($5, $6, $7, $8)"
                ),
                Some(1),
                &arguments,
            )
            .map(|rows| !rows.is_empty())
            .map_err(tables_unreadable)
    })?;
    if has_second {
        return Err(errors::second_key_of_kid());
    }
    Ok(())
}

fn nullable_argument(utf8: Option<&str>) -> Result<DatumWithOid<'static>, Report> {
    utf8.map_or_else(|| Ok(DatumWithOid::null::<&str>()), argument)
}

/// A copy of the tuple with these columns set.
///
/// # Safety
///
/// `tuple` must be a tuple of `auth.jwks`, and `relation` that table.
unsafe fn fill_in(
    columns: &Columns,
    relation: pg_sys::Relation,
    tuple: pg_sys::HeapTuple,
    filled: &Filled,
) -> Result<pg_sys::HeapTuple, Report> {
    let mut numbers = Vec::with_capacity(4);
    let mut values = Vec::with_capacity(4);
    let mut nulls = Vec::with_capacity(4);
    for (column, value) in [
        ("kid", filled.kid.as_deref()),
        ("alg", filled.alg.as_deref()),
        ("thumbprint", Some(filled.thumbprint.as_str())),
        ("name", Some(filled.name.as_str())),
    ] {
        // Tables of versions without the column have no `name`.
        let is_text = columns.type_of(column) == Some(pg_sys::TEXTOID);
        let Some(number) = columns.number(column).filter(|_| is_text) else {
            continue;
        };
        numbers.push(number as i32);
        let datum = value
            .map(|value| encoding::to_datum(value).ok_or_else(not_storable))
            .transpose()?;
        nulls.push(datum.is_none());
        values.push(datum.unwrap_or(pg_sys::Datum::from(0)));
    }
    // SAFETY: the three vectors have the given length, and the numbers are those of attributes, all
    // of type text (the caller has checked that; `name` is looked at here).
    Ok(unsafe {
        pg_sys::heap_modify_tuple_by_cols(
            tuple,
            (*relation).rd_att,
            numbers.len() as i32,
            numbers.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
        )
    })
}
