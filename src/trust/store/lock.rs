//! The lock for functions that write the key tables.

use pgrx::pg_sys;

use crate::pg::report::Report;
use crate::trust::sql;
use crate::trust::store::errors;
use crate::trust::tables;

/// Allows one change at a time: locks both tables against other writers, so that two key sets are
/// never mixed. Readers, and so verifications, do not wait. `function` is the calling function's
/// name. Until the result is dropped, queries see all changes that were committed before the locks
/// were acquired.
///
/// # Errors
///
/// If the server or the transaction cannot write, or if the caller may not lock the tables.
pub fn lock_tables(function: &str) -> Result<FreshSnapshot, Report> {
    if sql::is_standby() {
        return Err(errors::on_standby(function));
    }
    // SAFETY: reads a variable of the backend.
    if unsafe { pg_sys::XactReadOnly } {
        return Err(errors::in_read_only_transaction(function));
    }
    let (issuers, jwks) = tables::find().ok_or_else(errors::no_tables)?;
    for (table, name) in [(issuers, c"issuers"), (jwks, c"jwks")] {
        // LOCK TABLE requires these rights for this mode (src/backend/commands/lockcmds.c).
        let rights = pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE | pg_sys::ACL_TRUNCATE;
        // SAFETY: look-ups in the catalog. aclcheck_error raises as Postgres does, and does not return.
        unsafe {
            let outcome =
                pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), rights as pg_sys::AclMode);
            if outcome != pg_sys::AclResult::ACLCHECK_OK {
                let kind = pg_sys::ObjectType::OBJECT_TABLE;
                pg_sys::aclcheck_error(outcome, kind, name.as_ptr());
            }
        }
    }
    lock_both(issuers, jwks);
    // SAFETY: The snapshot is popped when its guard is dropped, or by Postgres if an error ends the
    // transaction first.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    Ok(FreshSnapshot)
}

/// Locks both against other writers, and never waits for one while it holds the other: a
/// transaction that has written one of them may still write the other.
fn lock_both(issuers: pg_sys::Oid, jwks: pg_sys::Oid) {
    /// Number of attempts before it waits for one table with the other one locked. Writers rarely
    /// come between the two, so this is only reached if others write without a pause.
    const MAX_ATTEMPTS: usize = 100;
    const MODE: pg_sys::LOCKMODE = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;

    let (mut first, mut second) = (issuers, jwks);
    // SAFETY: plain values; a lock that is not released here is the transaction's until its end.
    unsafe {
        for _ in 0..MAX_ATTEMPTS {
            pg_sys::LockRelationOid(first, MODE);
            if pg_sys::ConditionalLockRelationOid(second, MODE) {
                return;
            }
            pg_sys::UnlockRelationOid(first, MODE);
            std::mem::swap(&mut first, &mut second);
        }
        pg_sys::LockRelationOid(first, MODE);
        pg_sys::LockRelationOid(second, MODE);
    }
}

/// The snapshot that [`lock_tables`] took, until this is dropped.
pub struct FreshSnapshot;

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        // While an error unwinds, Postgres clears the stack of snapshots.
        if !std::thread::panicking() {
            // SAFETY: pops what lock_tables pushed; later snapshots were popped before.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}
