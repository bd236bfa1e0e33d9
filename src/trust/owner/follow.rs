//! `auth.follow`, which has an issuer's keys read in the table where the issuer keeps them, and
//! `auth.unfollow`.

use std::time::Duration;

use jwt_verify::Excerpt;
use pgrx::datum::{DatumWithOid, FromDatum, Interval};
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use crate::errors::{
    argument_is_null, no_such_relation, not_in_server_encoding, tables_unreadable,
};
use crate::pg::clock::StatementId;
use crate::pg::encoding::{self, ServerText};
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::trust::lookup::MAX_LISTED;
use crate::trust::lookup::inventory;
use crate::trust::owner::errors;
use crate::trust::owner::{audience, audience_is_checked};
use crate::trust::schema::{SCHEMA, in_schema};
use crate::trust::source::fault::Fault;
use crate::trust::source::open;
use crate::trust::source::origin::Origin;
use crate::trust::source::table::{self, Choice, Choices, MEMBERS, Source};
use crate::trust::sql::{self, argument, run};
use crate::trust::store::errors::no_tables;
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::store::lock;
use crate::trust::store::withdrawn::Replacing;
use crate::trust::tables::triggers;
use crate::trust::tables::{self, IsLocked, Table, Tables};

sql_function!(
    /// `auth.follow(source regclass, issuer text, audience text[], grace interval, columns jsonb) RETURNS
    /// integer`.
    pg_auth_jwt_follow,
    |arguments| follow(&arguments)
);

sql_function!(
    /// `auth.unfollow(issuer text) RETURNS boolean`.
    pg_auth_jwt_unfollow,
    |arguments| {
        let issuer = arguments
            .text(0)?
            .ok_or_else(|| argument_is_null("issuer"))?;
        Ok(unfollow(&issuer)?.into_datum())
    }
);

fn follow(arguments: &Arguments) -> SqlResult {
    let table = arguments
        .datum(0)
        .ok_or_else(|| argument_is_null("source"))?;
    let table = pg_sys::Oid::from(table.value() as u32);
    let issuer = arguments
        .text(1)?
        .ok_or_else(|| argument_is_null("issuer"))?;
    let grace = grace(arguments)?;
    let choices = choices(arguments)?;
    let source = examine(table, grace, choices)?;

    Spi::connect_mut(|client| {
        let _snapshot = lock::lock_tables("auth.follow()")?;
        let audience = || audience(arguments);
        let stored = StoredIssuer::read_for(client, &issuer, audience())?;
        if !audience_is_checked(arguments, stored.as_ref()) {
            return Err(errors::audience_required());
        }
        let has_other_audience = stored
            .as_ref()
            .is_none_or(|stored| stored.has_other_audience);
        let former = stored.map_or(Origin::Rows, |stored| stored.origin);
        {
            let _replacing = Replacing::begin();
            remove_keys(client, &issuer)?;
        }
        if former.table() != Some(&source) || has_other_audience {
            store_source(client, &issuer, audience(), &source.to_json())?;
        }
        match &former {
            Origin::Table(former) => {
                if former.table_name() != source.table_name() {
                    remove_triggers(client, former)?;
                }
            }
            Origin::Endpoint(_) => forget_endpoint(client, &issuer)?,
            Origin::Rows | Origin::Unreadable => {}
        }
        if source.columns.get(table::EXPIRES_AT) == Some(&Choice::ByDefault) {
            report::notice(&errors::keys_do_not_expire(&source.qualified_name()));
        }
        add_triggers(client, &source)?;
        if let Some(roles) = other_writers(client, table)? {
            report::warning(&errors::other_writers(
                &source.qualified_name(),
                &roles,
                "be any user of the issuer",
            ));
        }
        Ok(())
    })?;
    Ok(trusted_keys(&issuer)?.into_datum())
}

/// Stops following, and returns whether the issuer was followed.
fn unfollow(issuer: &str) -> Result<bool, Report> {
    Spi::connect_mut(|client| {
        let _snapshot = lock::lock_tables("auth.unfollow()")?;
        let stored = StoredIssuer::read(client, issuer)?;
        let former = stored.map_or(Origin::Rows, |stored| stored.origin);
        if former == Origin::Rows {
            return Ok(false);
        }
        run(
            client,
            in_schema!(
                "UPDATE @extschema@.issuers AS i SET source = NULL WHERE i.issuer OPERATOR(pg_catalog.=) $1"
            ),
            &[argument(issuer)?],
        )?;
        match &former {
            Origin::Table(source) => remove_triggers(client, source)?,
            Origin::Endpoint(_) => {
                let _replacing = Replacing::begin();
                remove_keys(client, issuer)?;
                forget_endpoint(client, issuer)?;
            }
            Origin::Rows | Origin::Unreadable => {}
        }
        Ok(true)
    })
}

fn grace(arguments: &Arguments) -> Result<Duration, Report> {
    let datum = arguments
        .datum(3)
        .ok_or_else(|| argument_is_null("grace"))?;
    // SAFETY: the argument is declared interval.
    let grace =
        unsafe { Interval::from_datum(datum, false) }.ok_or_else(|| argument_is_null("grace"))?;
    let is_negative = grace.months() < 0 || grace.days() < 0 || grace.micros() < 0;
    if is_negative {
        return Err(errors::negative_interval("grace"));
    }
    // Stored in whole seconds.
    Ok(Duration::from_secs(sql::length(&grace).as_secs()))
}

fn choices(arguments: &Arguments) -> Result<Choices, Report> {
    let Some(json) = arguments.json(4)? else {
        return Ok(std::array::from_fn(|_| Choice::ByDefault));
    };
    let known = || MEMBERS.map(|member| member.name).join(", ");
    match serde_json::from_str(&json) {
        Ok(serde_json::Value::Object(members)) => table::choices(&members, &MEMBERS)
            .map_err(|member| errors::columns_not_acceptable(Some(&member), &known())),
        _ => Err(errors::columns_not_acceptable(None, &known())),
    }
}

/// The source to store for the table, if it may be followed, and by the current role.
fn examine(oid: pg_sys::Oid, grace: Duration, choices: Choices) -> Result<Source, Report> {
    let table = Table::open(oid).ok_or_else(|| no_such_relation(oid.to_u32()))?;
    let (schema, name) = table.names();
    let refuse = |fault: Fault| fault.report(&name);
    let owner = open::check_kind(&table).map_err(refuse)?;
    open::check_public(&table).map_err(refuse)?;
    let columns = table.columns();
    let mapped = open::resolve(&columns, &MEMBERS, &choices).map_err(refuse)?;
    // SAFETY: reads a variable of the backend.
    let caller = unsafe { pg_sys::GetUserId() };
    for role in [Some(caller), tables::extension_owner()] {
        let role = role.ok_or_else(no_tables)?;
        open::check_readable(&table, &columns, &mapped, role).map_err(refuse)?;
    }
    // A column that makes the rules stricter must stay.
    let mut pinned = choices;
    for ((choice, column), member) in pinned.iter_mut().zip(mapped).zip(&MEMBERS) {
        if let Some(column) = column.filter(|_| member.is_pinned()) {
            *choice = Choice::Named(column);
        }
    }
    Ok(Source {
        schema,
        table: name,
        owner: open::role_name(owner).unwrap_or_default(),
        owner_id: Some(open::role_id(owner)),
        grace,
        columns: pinned,
    })
}

/// Deletes the state of fetching the issuer's keys, and the notes of withdrawn ones.
fn forget_endpoint(client: &mut SpiClient, issuer: &str) -> Result<(), Report> {
    for statement in [
        in_schema!(
            "DELETE FROM @extschema@.endpoints AS e WHERE e.issuer OPERATOR(pg_catalog.=) $1"
        ),
        in_schema!(
            "DELETE FROM @extschema@.withdrawn_keys AS w WHERE w.issuer OPERATOR(pg_catalog.=) $1"
        ),
    ] {
        run(client, statement, &[argument(issuer)?])?;
    }
    Ok(())
}

/// Writes the issuer's row with this source. An audience that is NULL keeps what is stored.
pub fn store_source(
    client: &mut SpiClient,
    issuer: &str,
    audience: DatumWithOid<'static>,
    source: &str,
) -> Result<(), Report> {
    run(
        client,
        in_schema!(
            "INSERT INTO @extschema@.issuers AS i (issuer, audience, source) \
         VALUES ($1, $2, $3::pg_catalog.jsonb) ON CONFLICT (issuer) DO UPDATE \
         SET audience = coalesce(excluded.audience, i.audience), source = excluded.source"
        ),
        &[argument(issuer)?, audience, argument(source)?],
    )
}

/// Removes keys that were stored by `auth.init` or SQL: those of the table replace them.
pub fn remove_keys(client: &mut SpiClient, issuer: &str) -> Result<(), Report> {
    let count = client
        .select(
            in_schema!(
                "SELECT 1 FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1"
            ),
            None,
            &[argument(issuer)?],
        )
        .map_err(tables_unreadable)?
        .len();
    // A statement that may write gets a transaction id, even if it writes nothing.
    if count > 0 {
        run(
            client,
            in_schema!(
                "DELETE FROM @extschema@.jwks AS k WHERE k.issuer OPERATOR(pg_catalog.=) $1"
            ),
            &[argument(issuer)?],
        )?;
        report::notice(&errors::keys_removed(count));
    }
    Ok(())
}

/// Creates missing or wrong triggers if the current role may; otherwise says how to create them.
fn add_triggers(client: &mut SpiClient, source: &Source) -> Result<(), Report> {
    let Some(state) = OurTriggers::of(source) else {
        return Ok(());
    };
    if state.announce {
        return Ok(());
    }
    if !state.is_owner || !may_use_function(client, None)? {
        let owner = pgrx::spi::quote_identifier(&source.owner);
        let grant = (!may_use_function(client, Some(&source.owner))?)
            .then(|| format!("GRANT EXECUTE ON FUNCTION {SCHEMA}.keys_changed() TO {owner};"));
        report::notice(&errors::changes_not_announced(
            &source.qualified_name(),
            grant.as_deref(),
            &triggers::statements(&source.qualified_name()).join("; "),
        ));
        return Ok(());
    }
    drop_triggers(client, source, &state)?;
    for statement in triggers::statements(&source.qualified_name()) {
        run_with_names(client, &statement)?;
    }
    Ok(())
}

/// Runs a statement with names in it, which may be of any characters.
fn run_with_names(client: &mut SpiClient, statement: &str) -> Result<(), Report> {
    let statement = encoding::to_server(statement).ok_or_else(not_in_server_encoding)?;
    client
        .update(statement.as_c_str(), None, &[])
        .map(drop)
        .map_err(tables_unreadable)
}

/// Removes the triggers from a table that no issuer follows any more.
pub fn remove_triggers(client: &mut SpiClient, source: &Source) -> Result<(), Report> {
    let is_used = client
        .select(
            in_schema!(
                "SELECT 1 FROM @extschema@.issuers AS i \
             WHERE i.source OPERATOR(pg_catalog.->>) 'schema' OPERATOR(pg_catalog.=) $1 \
             AND i.source OPERATOR(pg_catalog.->>) 'table' OPERATOR(pg_catalog.=) $2"
            ),
            Some(1),
            &[argument(&source.schema)?, argument(&source.table)?],
        )
        .map(|rows| !rows.is_empty())
        .map_err(tables_unreadable)?;
    // An issuer must not be able to keep itself by a lock.
    let state = match source.find().map(Table::open_unless_locked) {
        None | Some(Ok(None)) => return Ok(()),
        Some(Ok(Some(table))) => Some(OurTriggers::of_table(&table)),
        Some(Err(IsLocked)) => None,
    };
    match state {
        Some(state) if is_used || state.names.is_empty() => Ok(()),
        Some(state) if state.is_owner && lock_to_alter(source) => {
            drop_triggers(client, source, &state)
        }
        _ => {
            report::notice(&errors::triggers_left(&source.qualified_name()));
            Ok(())
        }
    }
}

/// Takes the lock that dropping a trigger needs, until the transaction's end, if it is free.
fn lock_to_alter(source: &Source) -> bool {
    const MODE: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    source.find().is_some_and(|oid| {
        // SAFETY: plain values. A lock without a change is released at the transaction's end.
        let is_locked = unsafe { pg_sys::ConditionalLockRelationOid(oid, MODE) };
        is_locked && source.find() == Some(oid)
    })
}

fn drop_triggers(
    client: &mut SpiClient,
    source: &Source,
    state: &OurTriggers,
) -> Result<(), Report> {
    for name in &state.names {
        let table = source.qualified_name();
        run_with_names(client, &format!("DROP TRIGGER {name} ON {table}"))?;
    }
    Ok(())
}

/// Our triggers on a table.
struct OurTriggers {
    /// Whether they announce every change.
    announce: bool,
    /// The names of the existing ones.
    names: Vec<&'static str>,
    /// Whether the current role owns the table, and so may alter it.
    is_owner: bool,
}

impl OurTriggers {
    /// `None` if the table no longer exists. The table is closed again, because otherwise it could
    /// not be altered.
    fn of(source: &Source) -> Option<Self> {
        Some(Self::of_table(&Table::open(source.find()?)?))
    }

    fn of_table(table: &Table) -> Self {
        let relation = table.relation();
        // SAFETY: the relation is open.
        unsafe {
            let owner = (*(*relation).rd_rel).relowner;
            Self {
                announce: triggers::announce(relation),
                names: triggers::names_of_ours(relation),
                is_owner: pg_sys::has_privs_of_role(pg_sys::GetUserId(), owner),
            }
        }
    }
}

/// Whether the role (`None`: the current one) may create triggers that announce changes.
fn may_use_function(client: &SpiClient, role: Option<&str>) -> Result<bool, Report> {
    let role = role.map_or_else(|| Ok(DatumWithOid::null_oid(pg_sys::TEXTOID)), argument)?;
    client
        .select(
            in_schema!(
                "SELECT pg_catalog.has_function_privilege( \
                 coalesce($1, current_user), '@extschema@.keys_changed()', 'EXECUTE')"
            ),
            Some(1),
            &[role],
        )
        .and_then(|rows| rows.first().get_one::<bool>())
        .map(Option::unwrap_or_default)
        .map_err(tables_unreadable)
}

/// The roles that can write to the table, because each can issue keys there, or bring sessions back.
/// The table's owner is not named, and neither is the extension's owner, who may write `auth.jwks`
/// anyway.
pub(super) fn other_writers(
    client: &SpiClient,
    table: pg_sys::Oid,
) -> Result<Option<String>, Report> {
    let roles: Option<ServerText> = client
        .select(
            "SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(r.rolname), ', ') \
             FROM pg_catalog.pg_class AS c \
             CROSS JOIN LATERAL ( \
                 SELECT a.grantee, a.privilege_type FROM pg_catalog.aclexplode(c.relacl) AS a \
                 UNION ALL \
                 SELECT a.grantee, a.privilege_type FROM pg_catalog.pg_attribute AS t, \
                        pg_catalog.aclexplode(t.attacl) AS a \
                 WHERE t.attrelid OPERATOR(pg_catalog.=) c.oid) AS g \
             JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) g.grantee \
             WHERE c.oid OPERATOR(pg_catalog.=) $1 AND r.oid OPERATOR(pg_catalog.<>) c.relowner \
             AND r.oid OPERATOR(pg_catalog.<>) ALL ( \
                 SELECT e.extowner FROM pg_catalog.pg_extension AS e \
                 WHERE e.extname OPERATOR(pg_catalog.=) 'pg_auth_jwt') \
             AND g.privilege_type OPERATOR(pg_catalog.=) \
                 ANY ('{INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER}'::pg_catalog.text[])",
            Some(1),
            &[table.into()],
        )
        .and_then(|rows| rows.first().get_one())
        .map_err(tables_unreadable)?;
    Ok(roles.map(|ServerText(roles)| roles))
}

/// The number of keys of the table that are trusted now. Reports the rows that are not keys.
fn trusted_keys(issuer: &str) -> Result<i32, Report> {
    let tables = Tables::open().ok_or_else(no_tables)?;
    let now = StatementId::current().time();
    let Some(inventory) = inventory::inventory(&tables, issuer) else {
        return Ok(0);
    };
    let mut trusted = 0_i32;
    let mut reasons = Vec::new();
    for key in inventory.keys {
        match key.takes {
            Ok(_) if key.valid_until.is_some_and(|end| end <= now) => {}
            Ok(_) => trusted = trusted.saturating_add(1),
            Err(unusable) => {
                let name = key
                    .kid
                    .map_or_else(|| "NULL".to_owned(), |kid| Excerpt::new(&kid).to_string());
                reasons.push((name, unusable.reason));
            }
        }
    }
    let table = inventory.sight.map(|sight| sight.source_name());
    let table = table.unwrap_or_default();
    if !inventory.is_complete {
        report::warning(&errors::not_all_rows(&table, MAX_LISTED));
    }
    if !reasons.is_empty() {
        report::warning(&errors::odd_rows(&table, &reasons));
    }
    Ok(trusted)
}
