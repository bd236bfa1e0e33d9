//! Whether the triggers of sql/tables.sql still exist and still fire for every change.
//!
//! `pg_restore --disable-triggers` and `ALTER TABLE ... ENABLE TRIGGER ALL` leave them firing on
//! origin only, so changes by a logical replication worker are not announced.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::errors;
use crate::pg::encoding;
use crate::pg::report::Report;

const AFTER_ROW: u32 = pg_sys::TRIGGER_TYPE_AFTER
    | pg_sys::TRIGGER_TYPE_ROW
    | pg_sys::TRIGGER_TYPE_INSERT
    | pg_sys::TRIGGER_TYPE_UPDATE
    | pg_sys::TRIGGER_TYPE_DELETE;
const AFTER_TRUNCATE: u32 =
    pg_sys::TRIGGER_TYPE_AFTER | pg_sys::TRIGGER_TYPE_STATEMENT | pg_sys::TRIGGER_TYPE_TRUNCATE;
const BEFORE_ROW: u32 = pg_sys::TRIGGER_TYPE_BEFORE
    | pg_sys::TRIGGER_TYPE_ROW
    | pg_sys::TRIGGER_TYPE_INSERT
    | pg_sys::TRIGGER_TYPE_UPDATE;

/// The language C, in src/include/catalog/pg_language.dat.
const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// A required trigger.
struct Expected {
    name: &'static str,
    /// Its events, level and time, as in `pg_trigger.tgtype`.
    fires: u32,
    /// The function of the library that it calls.
    symbol: &'static CStr,
}

const ISSUERS: [Expected; 2] = [
    Expected {
        name: "issuers_changed",
        fires: AFTER_ROW,
        symbol: c"pg_auth_jwt_keys_changed",
    },
    Expected {
        name: "issuers_truncated",
        fires: AFTER_TRUNCATE,
        symbol: c"pg_auth_jwt_keys_changed",
    },
];

const JWKS: [Expected; 3] = [
    Expected {
        name: "admit_key",
        fires: BEFORE_ROW,
        symbol: c"pg_auth_jwt_admit_key",
    },
    Expected {
        name: "keys_changed",
        fires: AFTER_ROW,
        symbol: c"pg_auth_jwt_keys_changed",
    },
    Expected {
        name: "keys_truncated",
        fires: AFTER_TRUNCATE,
        symbol: c"pg_auth_jwt_keys_changed",
    },
];

/// Those on a followed table, as `auth.follow` creates them.
const SOURCE: [Expected; 2] = [
    Expected {
        name: SOURCE_ROW_TRIGGER,
        fires: AFTER_ROW,
        symbol: c"pg_auth_jwt_keys_changed",
    },
    Expected {
        name: SOURCE_TRUNCATE_TRIGGER,
        fires: AFTER_TRUNCATE,
        symbol: c"pg_auth_jwt_keys_changed",
    },
];

/// The names of the triggers on a followed table.
pub const SOURCE_ROW_TRIGGER: &str = "pg_auth_jwt_keys_changed";
pub const SOURCE_TRUNCATE_TRIGGER: &str = "pg_auth_jwt_keys_truncated";

/// The problems with the triggers of both tables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

/// The problems with the triggers of one table.
#[derive(Clone, PartialEq, Eq)]
struct Fault {
    table: &'static str,
    /// The names of triggers that do not fire always.
    demoted: Vec<String>,
    /// The names of missing triggers.
    missing: Vec<&'static str>,
}

impl Faults {
    /// Whether every change is announced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The WARNING with the problem, and the statements that repair it.
    pub fn warning(&self) -> Report {
        let mut details = Vec::new();
        let mut repairs = Vec::new();
        for fault in &self.0 {
            let table = fault.table;
            if !fault.demoted.is_empty() {
                let (noun, verb) = number(fault.demoted.len());
                let names = fault.demoted.join(", ");
                details.push(format!(
                    "{noun} {names} on {table} {verb} not ENABLE ALWAYS."
                ));
            }
            if !fault.missing.is_empty() {
                let (noun, verb) = number(fault.missing.len());
                let names = fault.missing.join(", ");
                details.push(format!("{noun} {names} on {table} {verb} missing."));
            }
            for name in &fault.missing {
                repairs.push(format!("{};", definition(name, table)));
            }
            let demoted = fault.demoted.iter().map(String::as_str);
            let actions: Vec<_> = demoted
                .chain(fault.missing.iter().copied())
                .map(|name| {
                    let name = pgrx::spi::quote_identifier(name);
                    format!("ENABLE ALWAYS TRIGGER {name}")
                })
                .collect();
            repairs.push(format!("ALTER TABLE {table} {};", actions.join(", ")));
        }
        errors::triggers_altered(&details.join(" "), &repairs.join(" "))
    }
}

fn number(count: usize) -> (&'static str, &'static str) {
    if count == 1 {
        ("Trigger", "is")
    } else {
        ("Triggers", "are")
    }
}

/// As sql/tables.sql creates it.
fn definition(name: &str, table: &str) -> String {
    let (when, level, function) = match name {
        "admit_key" => ("BEFORE INSERT OR UPDATE", "ROW", "admit_key"),
        "keys_truncated" | "issuers_truncated" => ("AFTER TRUNCATE", "STATEMENT", "keys_changed"),
        _ => ("AFTER INSERT OR UPDATE OR DELETE", "ROW", "keys_changed"),
    };
    format!(
        "DROP TRIGGER IF EXISTS {name} ON {table}; CREATE TRIGGER {name} {when} ON {table} \
         FOR EACH {level} EXECUTE FUNCTION auth.{function}()"
    )
}

/// Checks the triggers of both tables.
///
/// # Safety
///
/// Both relations must be open.
pub unsafe fn faults(issuers: pg_sys::Relation, jwks: pg_sys::Relation) -> Faults {
    // SAFETY: as the caller promises.
    let found = unsafe {
        [
            faults_of(issuers, "auth.issuers", &ISSUERS),
            faults_of(jwks, "auth.jwks", &JWKS),
        ]
    };
    Faults(found.into_iter().flatten().collect())
}

/// Whether triggers of ours announce every change to a followed table.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn announce(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe { faults_of(relation, "", &SOURCE) }.is_none()
}

/// The names of the relation's triggers that are named as `auth.follow` names them, whatever they
/// do.
///
/// # Safety
///
/// The relation must be open.
pub unsafe fn names_of_ours(relation: pg_sys::Relation) -> Vec<&'static str> {
    // SAFETY: as the caller promises.
    let triggers = unsafe { triggers_of(relation) };
    let has = |name: &str| triggers.iter().any(|it| it.name == name.as_bytes());
    let names = SOURCE.iter().map(|expected| expected.name);
    names.filter(|name| has(name)).collect()
}

/// A trigger of a relation.
///
/// A copy: a look-up in a catalog may process an invalidation, after which Postgres builds the
/// relation's triggers again and frees those that were there, also of a relation that is open
/// (`RelationClearRelation` in src/backend/utils/cache/relcache.c).
struct Found {
    name: Vec<u8>,
    /// As in `pg_trigger.tgtype`.
    fires: u32,
    function: pg_sys::Oid,
    /// Whether it fires for all rows, whatever columns change, and immediately.
    is_unconditional: bool,
    /// Whether it is ENABLE ALWAYS.
    is_always: bool,
}

/// The relation's triggers.
///
/// # Safety
///
/// The relation must be open.
unsafe fn triggers_of(relation: pg_sys::Relation) -> Vec<Found> {
    // SAFETY: an open relation's trigger descriptor is NULL or has that many triggers, whose names
    // are NUL-terminated; nothing in here looks anything up.
    unsafe {
        let triggers = match (*relation).trigdesc.as_ref() {
            Some(found) if found.numtriggers > 0 => {
                std::slice::from_raw_parts(found.triggers, found.numtriggers as usize)
            }
            _ => &[],
        };
        let copy = |trigger: &pg_sys::Trigger| Found {
            name: CStr::from_ptr(trigger.tgname).to_bytes().to_vec(),
            fires: trigger.tgtype as u32,
            function: trigger.tgfoid,
            is_unconditional: trigger.tgqual.is_null()
                && trigger.tgnattr == 0
                && !trigger.tgdeferrable,
            is_always: trigger.tgenabled as u8 == pg_sys::TRIGGER_FIRES_ALWAYS,
        };
        triggers.iter().map(copy).collect()
    }
}

/// # Safety
///
/// The relation must be open.
unsafe fn faults_of(
    relation: pg_sys::Relation,
    table: &'static str,
    expected: &[Expected],
) -> Option<Fault> {
    // SAFETY: as the caller promises.
    let triggers = unsafe {
        // A relation that is not an ordinary table is not read.
        if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
            return None;
        }
        triggers_of(relation)
    };
    let mut fault = Fault {
        table,
        demoted: Vec::new(),
        missing: Vec::new(),
    };
    for expected in expected {
        // There may be several: one that always fires is enough.
        let mut found: Vec<_> = triggers
            .iter()
            .filter(|trigger| does_its_work(trigger, expected))
            .collect();
        found.sort_by_key(|trigger| !trigger.is_always);
        match found.first() {
            None => fault.missing.push(expected.name),
            Some(trigger) if !trigger.is_always => {
                fault
                    .demoted
                    .push(encoding::from_server_lossy(&trigger.name));
            }
            Some(_) => {}
        }
    }
    let is_fine = fault.demoted.is_empty() && fault.missing.is_empty();
    (!is_fine).then_some(fault)
}

/// Whether a trigger, if it fires, does the same as the expected one: with any name, for all its
/// events and rows, immediately.
fn does_its_work(trigger: &Found, expected: &Expected) -> bool {
    trigger.fires == expected.fires
        && trigger.is_unconditional
        && is_function_of_library(trigger.function, expected.symbol)
}

/// Whether the function is written in C and calls that symbol. Only a superuser can make one.
fn is_function_of_library(function: pg_sys::Oid, symbol: &CStr) -> bool {
    // SAFETY: the tuple belongs to pg_proc, and is released after its last use; its `prosrc` is a
    // text, or NULL.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if tuple.is_null() {
            return false;
        }
        let language = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).prolang;
        let mut is_null = false;
        let attribute = pg_sys::Anum_pg_proc_prosrc as pg_sys::AttrNumber;
        let source = pg_sys::SysCacheGetAttr(cache, tuple, attribute, &raw mut is_null);
        let source: Option<Vec<u8>> = pgrx::FromDatum::from_datum(source, is_null);
        pg_sys::ReleaseSysCache(tuple);
        language == C_LANGUAGE && source.as_deref() == Some(symbol.to_bytes())
    }
}
