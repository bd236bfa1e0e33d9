//! `auth.follow_sessions`, which has an issuer's tokens count only while their sessions are in the
//! table where the issuer keeps them, and `auth.unfollow_sessions`.

use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use serde_json::Value;

use crate::errors::{argument_is_null, no_such_relation, tables_unreadable};
use crate::pg::clock;
use crate::pg::encoding;
use crate::pg::function::{Arguments, SqlResult, sql_function};
use crate::pg::report::{self, Report};
use crate::trust::claim_path::ClaimPath;
use crate::trust::lookup::{inventory, sessions_of};
use crate::trust::owner::errors;
use crate::trust::owner::follow::other_writers;
use crate::trust::schema::in_schema;
use crate::trust::sessions;
use crate::trust::source::fault::Fault;
use crate::trust::source::open;
use crate::trust::source::sessions::{Choices, ID, MEMBERS, SessionSource};
use crate::trust::source::table::{self, Choice, Source};
use crate::trust::sql::{self, First, argument, run};
use crate::trust::store::errors::no_tables;
use crate::trust::store::issuer::StoredIssuer;
use crate::trust::store::lock;
use crate::trust::tables::{self, Table, Tables};

sql_function!(
    /// `auth.follow_sessions(source regclass, issuer text, claim text, columns jsonb) RETURNS void`.
    pg_auth_jwt_follow_sessions,
    |arguments| follow(&arguments)
);

sql_function!(
    /// `auth.unfollow_sessions(issuer text) RETURNS boolean`.
    pg_auth_jwt_unfollow_sessions,
    |arguments| {
        let issuer = arguments
            .text(0)?
            .ok_or_else(|| argument_is_null("issuer"))?;
        let statement = in_schema!(
            "UPDATE @extschema@.issuers AS i SET sessions = NULL \
             WHERE i.issuer OPERATOR(pg_catalog.=) $1 AND i.sessions IS NOT NULL"
        );
        let changed = Spi::connect_mut(|client| {
            let _snapshot = lock::lock_tables("auth.unfollow_sessions()")?;
            let changed = client.update(statement, None, &[argument(&issuer)?]);
            Ok::<_, Report>(changed.map_err(tables_unreadable)?.len())
        })?;
        Ok((changed > 0).into_datum())
    }
);

sql_function!(
    /// `auth.list_session_sources()`: the rows of the view `auth.session_status`.
    pg_auth_jwt_list_session_sources,
    |arguments| {
        let tables = Tables::open().ok_or_else(no_tables)?;
        let mut rows = Vec::new();
        for issuer in inventory::issuer_names(&tables) {
            if let Some(followed) = sessions_of(&tables, &issuer) {
                rows.push((issuer, sessions::state(&followed), followed.source));
            }
        }
        drop(tables);
        let text = |text: &str| encoding::to_server_lossy(text).as_bytes().into_datum();
        arguments.return_rows(rows.into_iter().map(|(issuer, state, source)| {
            let source = source.as_ref();
            let fix = source.filter(|_| state.detail.is_some());
            [
                text(&issuer),
                source.and_then(|source| text(&source.table.qualified_name())),
                source.and_then(|source| text(&source.claim.to_string())),
                // The datum of a timestamptz is that of a bigint.
                source
                    .and_then(|source| source.followed_at)
                    .and_then(|at| clock::to_postgres(at).into_datum()),
                text(state.name),
                state.has_index.into_datum(),
                state.detail.as_deref().and_then(text),
                fix.and_then(|source| text(&source.follow_statement(&issuer))),
            ]
        }))?;
        Ok(None)
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
    let claim = arguments
        .text(2)?
        .ok_or_else(|| argument_is_null("claim"))?;
    let claim = ClaimPath::parse(&claim).ok_or_else(|| errors::claim_not_acceptable(&claim))?;
    let choices = choices(arguments)?;
    let source = examine(table, claim, choices)?;
    Spi::connect_mut(|client| {
        let _snapshot = lock::lock_tables("auth.follow_sessions()")?;
        if StoredIssuer::read(client, &issuer)?.is_none() {
            return Err(errors::no_issuer_of_sessions(&issuer));
        }
        // Unchanged input writes nothing, so that no token is verified again.
        if !is_followed(client, &issuer, &source)? {
            run(
                client,
                in_schema!(
                    "UPDATE @extschema@.issuers AS i SET sessions = $2::pg_catalog.jsonb \
                     WHERE i.issuer OPERATOR(pg_catalog.=) $1"
                ),
                &[argument(&issuer)?, argument(&source.to_json())?],
            )?;
        }
        if let Some(roles) = other_writers(client, table)? {
            let name = source.table.qualified_name();
            report::warning(&errors::other_writers(
                &name,
                &roles,
                "bring back sessions that have ended",
            ));
        }
        Ok(())
    })?;
    // As PG_RETURN_VOID.
    Ok(Some(pg_sys::Datum::from(0)))
}

/// Whether the issuer's row says the same, but for the time.
fn is_followed(client: &SpiClient, issuer: &str, source: &SessionSource) -> Result<bool, Report> {
    let statement = in_schema!(
        "SELECT i.sessions::pg_catalog.text FROM @extschema@.issuers AS i \
         WHERE i.issuer OPERATOR(pg_catalog.=) $1"
    );
    let rows = client.select(statement, Some(1), &[argument(issuer)?]);
    let row = First::of(rows.map_err(tables_unreadable)?);
    let stored = row.map(|row| row.text(1)).transpose()?.flatten();
    let stored = stored.and_then(|json| SessionSource::from_json(&json));
    Ok(stored.is_some_and(|stored| {
        let followed_at = stored.followed_at;
        stored
            == SessionSource {
                followed_at,
                ..source.clone()
            }
    }))
}

fn choices(arguments: &Arguments) -> Result<Choices, Report> {
    let Some(json) = arguments.json(3)? else {
        return Ok(std::array::from_fn(|_| Choice::ByDefault));
    };
    let known = || MEMBERS.map(|member| member.name).join(", ");
    match serde_json::from_str(&json) {
        Ok(Value::Object(members)) => table::choices(&members, &MEMBERS)
            .map_err(|member| errors::columns_not_acceptable(Some(&member), &known())),
        _ => Err(errors::columns_not_acceptable(None, &known())),
    }
}

/// The source to store for the table, if it may be followed, and by the current role.
fn examine(oid: pg_sys::Oid, claim: ClaimPath, choices: Choices) -> Result<SessionSource, Report> {
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
    let id = mapped
        .get(ID)
        .and_then(Option::as_deref)
        .unwrap_or_default();
    if !table.has_index(&columns, id) {
        report::warning(&errors::no_index_on_sessions(&name, id));
    }
    // A column that ends sessions must stay.
    let mut pinned = choices;
    for (choice, column) in pinned.iter_mut().zip(mapped) {
        if let Some(column) = column {
            *choice = Choice::Named(column);
        }
    }
    let owner_name = open::role_name(owner).unwrap_or_default();
    let owner_id = Some(open::role_id(owner));
    Ok(SessionSource {
        table: Source::of_name(schema, name, owner_name, owner_id),
        claim,
        columns: pinned,
        followed_at: Some(sql::now()),
    })
}
