//! Checks the triggers of the extension's tables: whether they still exist, and still fire when
//! they must.
//!
//! `pg_restore --disable-triggers` and `ALTER TABLE ... ENABLE TRIGGER ALL` leave them firing on
//! origin only, so changes by a logical replication worker are not announced. [`Watched::needed`]
//! is the one list for sessions, `auth.lint` and monitoring.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::function::C_LANGUAGE;
use crate::pg::report::{Report, SqlState};
use crate::pg::version;
use crate::trust::schema::{SCHEMA, in_schema};

/// Time, events and level of a trigger.
struct Fires {
    /// As in `pg_trigger.tgtype`.
    bits: u32,
    /// Time and events in SQL.
    moment: &'static str,
    /// The level in SQL.
    level: &'static str,
}

const AFTER: u32 = pg_sys::TRIGGER_TYPE_AFTER;
const BEFORE: u32 = pg_sys::TRIGGER_TYPE_BEFORE;
const INSERT: u32 = pg_sys::TRIGGER_TYPE_INSERT;
const UPDATE: u32 = pg_sys::TRIGGER_TYPE_UPDATE;
const DELETE: u32 = pg_sys::TRIGGER_TYPE_DELETE;
const TRUNCATE: u32 = pg_sys::TRIGGER_TYPE_TRUNCATE;

const fn row(bits: u32, moment: &'static str) -> Fires {
    Fires {
        bits: bits | pg_sys::TRIGGER_TYPE_ROW,
        moment,
        level: "ROW",
    }
}

const fn statement(bits: u32, moment: &'static str) -> Fires {
    Fires {
        bits: bits | pg_sys::TRIGGER_TYPE_STATEMENT,
        moment,
        level: "STATEMENT",
    }
}

const AFTER_CHANGE: Fires = row(
    AFTER | INSERT | UPDATE | DELETE,
    "AFTER INSERT OR UPDATE OR DELETE",
);
const AFTER_TRUNCATE: Fires = statement(AFTER | TRUNCATE, "AFTER TRUNCATE");
const BEFORE_TRUNCATE: Fires = statement(BEFORE | TRUNCATE, "BEFORE TRUNCATE");
const BEFORE_WRITE: Fires = row(BEFORE | INSERT | UPDATE, "BEFORE INSERT OR UPDATE");
const AFTER_WRITE: Fires = row(AFTER | INSERT | UPDATE, "AFTER INSERT OR UPDATE");
const BEFORE_UPDATE: Fires = row(BEFORE | UPDATE, "BEFORE UPDATE");
const AFTER_UPDATE: Fires = row(AFTER | UPDATE, "AFTER UPDATE");
const AFTER_DELETE: Fires = row(AFTER | DELETE, "AFTER DELETE");
const AFTER_REMOVAL: Fires = row(AFTER | UPDATE | DELETE, "AFTER UPDATE OR DELETE");

/// Changes for which a trigger must fire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// ENABLE ALWAYS: for changes of a replication too.
    Always,
    /// For changes that are not replicated; it may fire for those, too.
    Origin,
}

impl Needs {
    /// Name in `auth.list_triggers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Origin => "origin",
        }
    }
}

/// A trigger function of the library.
struct Function {
    /// Its name in SQL.
    name: &'static str,
    /// Its name in the library.
    symbol: &'static CStr,
    /// Effect if it is not called.
    effect: &'static str,
}

const ADMIT_KEY: Function = Function {
    name: "admit_key",
    symbol: c"pg_auth_jwt_admit_key",
    effect: "keys are not checked",
};
const KEYS_CHANGED: Function = Function {
    name: "keys_changed",
    symbol: c"pg_auth_jwt_keys_changed",
    effect: "changes to keys are not announced",
};
const ENDPOINT_CHANGED: Function = Function {
    name: "endpoint_changed",
    symbol: c"pg_auth_jwt_endpoint_changed",
    effect: "it is not announced that fetched keys count for a shorter time",
};
const CASCADE_ISSUER: Function = Function {
    name: "cascade_issuer",
    symbol: c"pg_auth_jwt_cascade_issuer",
    effect: "keys stay under the name of an issuer that is deleted or renamed",
};
const NOTE_WITHDRAWN: Function = Function {
    name: "note_withdrawn",
    symbol: c"pg_auth_jwt_note_withdrawn",
    effect: "a fetched key that is deleted by hand is stored again",
};
const DELETE_WITHDRAWN: Function = Function {
    name: "delete_withdrawn",
    symbol: c"pg_auth_jwt_delete_withdrawn",
    effect: "a key that is written into auth.withdrawn_keys counts until it is fetched again",
};
const REVOCATIONS_CHANGED: Function = Function {
    name: "revocations_changed",
    symbol: c"pg_auth_jwt_revocations_changed",
    effect: "revocations are not announced",
};

/// The extension's tables that have triggers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    Issuers,
    Jwks,
    Endpoints,
    WithdrawnKeys,
    Revocations,
}

impl Watched {
    pub const ALL: [Self; 5] = [
        Self::Issuers,
        Self::Jwks,
        Self::Endpoints,
        Self::WithdrawnKeys,
        Self::Revocations,
    ];

    /// Its name in the schema `auth`.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Issuers => c"issuers",
            Self::Jwks => c"jwks",
            Self::Endpoints => c"endpoints",
            Self::WithdrawnKeys => c"withdrawn_keys",
            Self::Revocations => c"revocations",
        }
    }

    /// Its name with the schema.
    pub fn qualified_name(self) -> &'static str {
        match self {
            Self::Issuers => in_schema!("@extschema@.issuers"),
            Self::Jwks => in_schema!("@extschema@.jwks"),
            Self::Endpoints => in_schema!("@extschema@.endpoints"),
            Self::WithdrawnKeys => in_schema!("@extschema@.withdrawn_keys"),
            Self::Revocations => in_schema!("@extschema@.revocations"),
        }
    }

    fn needed(self) -> &'static [Needed] {
        match self {
            Self::Issuers => &ISSUERS,
            Self::Jwks => &JWKS,
            Self::Endpoints => &ENDPOINTS,
            Self::WithdrawnKeys => &WITHDRAWN_KEYS,
            Self::Revocations => &REVOCATIONS,
        }
    }
}

/// A required trigger.
struct Needed {
    name: &'static str,
    fires: Fires,
    function: Function,
    needs: Needs,
}

const fn always(name: &'static str, fires: Fires, function: Function) -> Needed {
    Needed {
        name,
        fires,
        function,
        needs: Needs::Always,
    }
}

const fn origin(name: &'static str, fires: Fires, function: Function) -> Needed {
    Needed {
        needs: Needs::Origin,
        ..always(name, fires, function)
    }
}

// The triggers that sql/tables.sql, sql/endpoint.sql and sql/revocation.sql create; the test `triggers` compares both.
const ISSUERS: [Needed; 5] = [
    always("issuers_changed", AFTER_CHANGE, KEYS_CHANGED),
    always("issuers_truncated", AFTER_TRUNCATE, KEYS_CHANGED),
    origin("issuer_renamed", BEFORE_UPDATE, CASCADE_ISSUER),
    origin("issuer_removed", AFTER_DELETE, CASCADE_ISSUER),
    origin("issuers_removed", AFTER_TRUNCATE, CASCADE_ISSUER),
];
const JWKS: [Needed; 5] = [
    always("admit_key", BEFORE_WRITE, ADMIT_KEY),
    always("keys_changed", AFTER_CHANGE, KEYS_CHANGED),
    always("keys_truncated", AFTER_TRUNCATE, KEYS_CHANGED),
    origin("key_withdrawn", AFTER_REMOVAL, NOTE_WITHDRAWN),
    origin("keys_withdrawn", BEFORE_TRUNCATE, NOTE_WITHDRAWN),
];
const ENDPOINTS: [Needed; 3] = [
    always("endpoints_deleted", AFTER_DELETE, ENDPOINT_CHANGED),
    always("endpoints_changed", AFTER_UPDATE, ENDPOINT_CHANGED),
    always("endpoints_truncated", AFTER_TRUNCATE, ENDPOINT_CHANGED),
];
const WITHDRAWN_KEYS: [Needed; 1] = [origin("withdrawn_noted", AFTER_WRITE, DELETE_WITHDRAWN)];
const REVOCATIONS: [Needed; 2] = [
    always("revocations_changed", AFTER_CHANGE, REVOCATIONS_CHANGED),
    always("revocations_truncated", AFTER_TRUNCATE, REVOCATIONS_CHANGED),
];

/// The triggers on a followed table, which [`statements`] create.
const SOURCE: [Needed; 2] = [
    always("pg_auth_jwt_keys_changed", AFTER_CHANGE, KEYS_CHANGED),
    always("pg_auth_jwt_keys_truncated", AFTER_TRUNCATE, KEYS_CHANGED),
];

/// State of a required trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerState {
    Good,
    /// Not ENABLE ALWAYS, as it must be.
    OriginOnly,
    ReplicaOnly,
    Disabled,
    Missing,
}

impl TriggerState {
    /// Name in `auth.list_triggers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::OriginOnly => "origin_only",
            Self::ReplicaOnly => "replica_only",
            Self::Disabled => "disabled",
            Self::Missing => "missing",
        }
    }
}

/// A required trigger of a table as it was found.
#[derive(PartialEq, Eq)]
pub struct FoundTrigger {
    pub table: Watched,
    /// Its oid; `None` if it is missing.
    pub oid: Option<pg_sys::Oid>,
    /// Its name, or its required name if it is missing.
    pub name: String,
    pub needs: Needs,
    pub state: TriggerState,
    effect: &'static str,
    /// The statement that creates it.
    definition: String,
}

impl FoundTrigger {
    /// The problem, as a sentence; `None` if there is none.
    pub fn detail(&self) -> Option<String> {
        let (state, when) = match self.state {
            TriggerState::Good => return None,
            TriggerState::OriginOnly => ("not ENABLE ALWAYS", " where replication writes them"),
            TriggerState::ReplicaOnly => ("enabled for replication only", ""),
            TriggerState::Disabled => ("disabled", ""),
            TriggerState::Missing => ("missing", ""),
        };
        Some(format!("It is {state}, so {}{when}.", self.effect))
    }

    /// Statements that repair it.
    pub fn repair(&self) -> Option<String> {
        let enable = match (self.state, self.needs) {
            (TriggerState::Good, _) => return None,
            (TriggerState::Missing, Needs::Origin) => return Some(format!("{};", self.definition)),
            (_, Needs::Always) => "ENABLE ALWAYS TRIGGER",
            (_, Needs::Origin) => "ENABLE TRIGGER",
        };
        let create = match self.state {
            TriggerState::Missing => format!("{}; ", self.definition),
            _ => String::new(),
        };
        let (table, name) = (
            self.table.qualified_name(),
            pgrx::spi::quote_identifier(&self.name),
        );
        Some(format!("{create}ALTER TABLE {table} {enable} {name};"))
    }
}

/// Faults of the triggers by which a session learns of changes.
#[derive(PartialEq, Eq)]
pub struct Faults(Vec<FoundTrigger>);

impl Faults {
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether every change is announced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The WARNING with the problem, and the statements that repair it.
    pub fn warning(&self) -> Report {
        let mut details = Vec::new();
        for table in Watched::ALL {
            for (is_missing, state) in [(false, "not ENABLE ALWAYS"), (true, "missing")] {
                let found = self.0.iter().filter(|trigger| {
                    trigger.table == table && (trigger.state == TriggerState::Missing) == is_missing
                });
                let names: Vec<_> = found.map(|trigger| trigger.name.as_str()).collect();
                let (noun, verb) = match names.len() {
                    0 => continue,
                    1 => ("Trigger", "is"),
                    _ => ("Triggers", "are"),
                };
                let (names, table) = (names.join(", "), table.qualified_name());
                details.push(format!("{noun} {names} on {table} {verb} {state}."));
            }
        }
        let are_revocations = |trigger: &FoundTrigger| trigger.table == Watched::Revocations;
        let (message, consequence) = if self.0.iter().all(are_revocations) {
            (
                "revocations of pg_auth_jwt may go unnoticed",
                "looks for revocations of its token in every statement",
            )
        } else {
            (
                "changes to the keys of pg_auth_jwt may go unnoticed",
                "reads its keys again in every statement",
            )
        };
        let repairs: Vec<_> = self.0.iter().filter_map(FoundTrigger::repair).collect();
        Report::new(SqlState::WARNING, message)
            .detail(format!(
                "{} Until this is repaired, this session {consequence}.",
                details.join(" ")
            ))
            .hint(format!("Run: {}", repairs.join(" ")))
    }
}

/// Faults of those triggers of these tables that must fire always.
///
/// # Safety
///
/// The relations must be open.
pub unsafe fn faults<const N: usize>(tables: [(Watched, pg_sys::Relation); N]) -> Faults {
    let mut found = Vec::new();
    for (table, relation) in tables {
        // SAFETY: as the caller promises.
        found.extend(unsafe { found_triggers(table, relation, Some(Needs::Always)) });
    }
    found.retain(|trigger| trigger.state != TriggerState::Good);
    Faults(found)
}

/// All required triggers of a table, or those with these needs if given. None for a relation that
/// is not an ordinary table, because it is not read.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn found_triggers(
    table: Watched,
    relation: pg_sys::Relation,
    needs: Option<Needs>,
) -> Vec<FoundTrigger> {
    let wanted = table.needed().iter();
    let wanted = wanted.filter(|needed| needs.is_none_or(|needs| needed.needs == needs));
    // SAFETY: as the caller promises.
    let Some(triggers) = (unsafe { triggers_of_table(relation) }) else {
        return Vec::new();
    };
    wanted
        .map(|needed| {
            let found = best(&triggers, needed);
            let name = found.map_or_else(
                || needed.name.to_owned(),
                |found| encoding::from_server_lossy(&found.name),
            );
            let is_taken = || triggers.iter().any(|it| it.name == needed.name.as_bytes());
            let state = found.map_or(TriggerState::Missing, |found| found.state(needed.needs));
            FoundTrigger {
                table,
                oid: found.map(|found| found.oid),
                name,
                needs: needed.needs,
                state,
                effect: needed.function.effect,
                definition: match state {
                    TriggerState::Missing => definition(needed, table.qualified_name(), is_taken()),
                    _ => String::new(),
                },
            }
        })
        .collect()
}

/// Statement that creates it; if its name is taken, preceded by one that frees the name.
fn definition(needed: &Needed, table: &str, is_taken: bool) -> String {
    let Needed {
        name,
        fires: Fires { moment, level, .. },
        function,
        ..
    } = needed;
    let drop = if is_taken {
        format!("DROP TRIGGER {name} ON {table}; ")
    } else {
        String::new()
    };
    format!(
        "{drop}CREATE TRIGGER {name} {moment} ON {table} FOR EACH {level} EXECUTE FUNCTION {SCHEMA}.{}()",
        function.name
    )
}

/// Statements that create the triggers on a followed table, by its name in SQL.
pub fn statements(table: &str) -> Vec<String> {
    let definitions = SOURCE.iter().map(|it| definition(it, table, false));
    let always = SOURCE.map(|it| format!("ENABLE ALWAYS TRIGGER {}", it.name));
    let enable = format!("ALTER TABLE {table} {}", always.join(", "));
    // So that DROP EXTENSION drops them too.
    let depend = SOURCE.iter().map(|it| {
        let name = it.name;
        format!("ALTER TRIGGER {name} ON {table} DEPENDS ON EXTENSION pg_auth_jwt")
    });
    definitions.chain([enable]).chain(depend).collect()
}

/// Whether our triggers announce every change to a followed table.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn announce(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    let triggers = unsafe { triggers_of_table(relation) };
    triggers.is_some_and(|triggers| {
        SOURCE.iter().all(|needed| {
            best(&triggers, needed).is_some_and(|it| it.state(needed.needs) == TriggerState::Good)
        })
    })
}

/// Names of the relation's triggers that have a name of `auth.follow`, whatever they do.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn names_of_ours(relation: pg_sys::Relation) -> Vec<&'static str> {
    // SAFETY: as the caller promises.
    let triggers = unsafe { triggers_of(relation) };
    let has = |name: &str| triggers.iter().any(|it| it.name == name.as_bytes());
    let names = SOURCE.iter().map(|needed| needed.name);
    names.filter(|name| has(name)).collect()
}

/// A trigger of a relation.
///
/// A copy, because a look-up in a catalog may process an invalidation. Postgres then builds the
/// relation's triggers again and frees the former ones, even of an open relation
/// (`RelationClearRelation` in src/backend/utils/cache/relcache.c).
struct Trigger {
    oid: pg_sys::Oid,
    name: Vec<u8>,
    /// As in `pg_trigger.tgtype`.
    fires: u32,
    function: pg_sys::Oid,
    /// Whether it fires for all rows, whichever columns change, and immediately.
    is_unconditional: bool,
    /// As in `pg_trigger.tgenabled`.
    enabled: u8,
}

impl Trigger {
    fn state(&self, needs: Needs) -> TriggerState {
        match (u32::from(self.enabled), needs) {
            (ALWAYS, _) | (ORIGIN, Needs::Origin) => TriggerState::Good,
            (ORIGIN, Needs::Always) => TriggerState::OriginOnly,
            (REPLICA, _) => TriggerState::ReplicaOnly,
            _ => TriggerState::Disabled,
        }
    }
}

const ALWAYS: u32 = pg_sys::TRIGGER_FIRES_ALWAYS as u32;
const ORIGIN: u32 = pg_sys::TRIGGER_FIRES_ON_ORIGIN as u32;
const REPLICA: u32 = pg_sys::TRIGGER_FIRES_ON_REPLICA as u32;

/// The relation's triggers.
///
/// # Safety
///
/// The relation must be open.
unsafe fn triggers_of(relation: pg_sys::Relation) -> Vec<Trigger> {
    // SAFETY: an open relation's trigger descriptor is NULL or has that many triggers, whose names
    // are NUL-terminated; nothing in here looks anything up.
    unsafe {
        let triggers = match (*relation).trigdesc.as_ref() {
            Some(found) if found.numtriggers > 0 => {
                std::slice::from_raw_parts(found.triggers, found.numtriggers as usize)
            }
            _ => &[],
        };
        let copy = |trigger: &pg_sys::Trigger| Trigger {
            oid: trigger.tgoid,
            name: CStr::from_ptr(trigger.tgname).to_bytes().to_vec(),
            fires: trigger.tgtype as u32,
            function: trigger.tgfoid,
            is_unconditional: trigger.tgqual.is_null()
                && trigger.tgnattr == 0
                && !trigger.tgdeferrable,
            enabled: trigger.tgenabled as u8,
        };
        triggers.iter().map(copy).collect()
    }
}

/// The relation's triggers; `None` if it is no ordinary table.
///
/// # Safety
///
/// The relation must be open.
unsafe fn triggers_of_table(relation: pg_sys::Relation) -> Option<Vec<Trigger>> {
    // SAFETY: as the caller promises.
    unsafe {
        let kind = (*(*relation).rd_rel).relkind as u8;
        (kind == pg_sys::RELKIND_RELATION).then(|| triggers_of(relation))
    }
}

/// The trigger that does the work of the required one. If there are several, one that fires when it
/// must is enough.
fn best<'t>(triggers: &'t [Trigger], needed: &Needed) -> Option<&'t Trigger> {
    triggers
        .iter()
        .filter(|trigger| does_its_work(trigger, needed))
        .min_by_key(|trigger| trigger.state(needed.needs) != TriggerState::Good)
}

/// Whether a trigger, if it fires, does the same as the required one: with any name, for all its
/// events and rows, immediately.
fn does_its_work(trigger: &Trigger, needed: &Needed) -> bool {
    trigger.fires == needed.fires.bits
        && trigger.is_unconditional
        && is_function_of_library(trigger.function, needed.function.symbol)
}

/// Whether the function is written in C and calls that symbol. Only a superuser can make one.
fn is_function_of_library(function: pg_sys::Oid, symbol: &CStr) -> bool {
    // SAFETY: the tuple belongs to pg_proc, and is released after its last use; its `prosrc` is a
    // text, or NULL.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(version::PROCOID, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return false;
        }
        let language = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).prolang;
        let mut is_null = false;
        let attribute = pg_sys::Anum_pg_proc_prosrc as pg_sys::AttrNumber;
        let source = pg_sys::SysCacheGetAttr(version::PROCOID, tuple, attribute, &raw mut is_null);
        let source: Option<Vec<u8>> = pgrx::FromDatum::from_datum(source, is_null);
        pg_sys::ReleaseSysCache(tuple);
        language == C_LANGUAGE && source.as_deref() == Some(symbol.to_bytes())
    }
}
