//! Recognises queries that guard rows by helper functions: claim functions in everything that runs
//! inside of such a query count (see [`super::execution`]).
//!
//! The tables decide. `PlannedStmt.dependsOnRole` does not: Postgres does not set it for row
//! security. Neither does the current role's right to bypass row security: a SECURITY DEFINER
//! function has another role.

use std::ffi::c_int;

use pgrx::pg_sys;

use crate::pg::unguarded;
use crate::pg::version;

/// Marks, in `es_top_eflags`, a query that began with the rights of a SECURITY DEFINER function. It
/// keeps them to its end, even if the function has returned it as a cursor. No flag of Postgres has
/// this bit (`EXEC_FLAG_*`, src/include/executor/executor.h).
const BEGAN_FOR_DEFINER: c_int = 1 << 30;

/// Whether a query that begins now has the rights of a SECURITY DEFINER function, which may be more
/// than its caller has.
pub fn begins_for_definer() -> bool {
    unguarded::InLocalUserIdChange()
}

/// Marks a query that [`begins_for_definer`].
///
/// # Safety
///
/// `query` must be one that the executor has started.
pub unsafe fn mark_definers(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as the caller promises.
    unsafe {
        if let Some(state) = (*query).estate.as_mut() {
            state.es_top_eflags |= BEGAN_FOR_DEFINER;
        }
    }
}

/// Whether an execution's query
///
/// - names a table with row security, or a view of users: both filter by claims, perhaps in helper
///   functions;
/// - names a table with rules, or reads a table with the rights of a rule's owner;
/// - reads anything with the rights of a SECURITY DEFINER function's owner, which then filters by
///   claims itself. `began_for_definer` counts beside the mark, which a query gets once it has
///   started.
///
/// # Safety
///
/// `state` must be NULL or valid; `filters` is called for tables that the query has locked.
pub unsafe fn is_guarded(
    state: *const pg_sys::EState,
    began_for_definer: bool,
    filters: unsafe fn(pg_sys::Oid) -> bool,
) -> bool {
    // SAFETY: as the caller promises. Both arrays have one element for each relation of the range
    // table. An open relation stays open until the execution ends.
    unsafe {
        if state.is_null() {
            return false;
        }
        let (tables, opened) = ((*state).es_range_table, (*state).es_relations);
        if tables.is_null() || opened.is_null() {
            // Its initialisation is not complete.
            return true;
        }
        let is_definers = began_for_definer || (*state).es_top_eflags & BEGAN_FOR_DEFINER != 0;
        let count = usize::try_from((*tables).length).unwrap_or(0);
        let names_filtered = (0..count).any(|index| {
            let table = (*(*tables).elements.add(index))
                .ptr_value
                .cast::<pg_sys::RangeTblEntry>();
            // A query without FROM reads nothing.
            if is_definers && (*table).rtekind != pg_sys::RTEKind::RTE_RESULT {
                return true;
            }
            let relation = *opened.add(index);
            if !relation.is_null() {
                return relation_filters(relation);
            }
            // Of a partitioned table only the partitions are open, and of an inheritance parent
            // perhaps only the children (it may have a CHECK ... NO INHERIT), but the parent's
            // policies guard them. Other relations that are not open are not used.
            if (*table).relkind as u8 == pg_sys::RELKIND_VIEW && is_of_user((*table).relid) {
                return true;
            }
            (*table).rtekind == pg_sys::RTEKind::RTE_RELATION
                && ((*table).inh || (*table).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE)
                && filters((*table).relid)
        });
        names_filtered || reads_for_another(state)
    }
}

/// Whether the query reads a table with rights other than its caller's: those of the owner of a
/// view or of a table with rules.
///
/// # Safety
///
/// `state` must be valid.
unsafe fn reads_for_another(state: *const pg_sys::EState) -> bool {
    // SAFETY: as the caller promises.
    unsafe { version::reads_as_another(state, is_of_user) }
}

/// Whether a relation is not one of Postgres's own, whose views read catalogs.
fn is_of_user(relation: pg_sys::Oid) -> bool {
    relation.to_u32() >= pg_sys::FirstNormalObjectId
}

/// Whether policies, rules or a view's query filter the rows of an open relation.
///
/// # Safety
///
/// The relation must be open.
unsafe fn relation_filters(relation: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let class = (*relation).rd_rel;
        (*class).relrowsecurity
            // The query of a materialized view is a rule, too, but runs only when it is refreshed.
            || (*class).relhasrules
                && (*class).relkind as u8 != pg_sys::RELKIND_MATVIEW
                && is_of_user((*relation).rd_id)
    }
}

/// As [`relation_filters`], for a relation that may not be open.
///
/// # Safety
///
/// The query must have locked the table.
pub unsafe fn filters(table: pg_sys::Oid) -> bool {
    // SAFETY: the relation is NULL, or valid until it is closed.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return true;
        }
        let filters = relation_filters(relation);
        pg_sys::RelationClose(relation);
        filters
    }
}

/// As [`filters`], for the hooks: an error leaves by `longjmp`.
///
/// # Safety
///
/// No frame from here up to Postgres's may hold anything that needs a drop, and the table of
/// executions must not be borrowed.
pub unsafe fn filters_unguarded(table: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe {
        let relation = unguarded::RelationIdGetRelation(table);
        if relation.is_null() {
            return true;
        }
        let filters = relation_filters(relation);
        unguarded::RelationClose(relation);
        filters
    }
}
