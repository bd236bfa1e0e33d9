//! Verifies JSON Web Tokens inside Postgres, so that row-level security can trust their claims.
//!
//! Imports go one way, which `scripts/lint` checks: this module → `oauth`, [`explain`], [`once`] → [`session`] →
//! [`trust`] → [`settings`] → [`errors`], [`stats`], [`redaction`] → [`pg`].
//!
//! A claim function asks the [`session`] for the user. The session verifies the value of
//! `pg_auth_jwt.token` with the `jwt_verify` crate, against the keys that [`trust`] reads from the
//! tables.
//!
//! A panic under [`pg::guard::run`] becomes an error of the statement; in a hook or a callback of
//! Postgres it ends the server. So nothing here may panic, except in tests.

#![cfg_attr(
    not(any(test, feature = "pg_test")),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

::pgrx::pg_module_magic!(name, version);

mod errors;
mod explain;
#[cfg(login_by_token)]
mod oauth;
mod once;
mod pg;
mod redaction;
mod session;
mod settings;
mod stats;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod trust;

use trust::fetch::timetable;

#[cfg(test)]
pub mod pg_test {
    //! Functions that `cargo pgrx test` calls before it starts its server.

    /// Nothing to prepare.
    pub fn setup(_options: Vec<&str>) {}

    /// The tests run with the default settings.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}

#[unsafe(no_mangle)]
extern "C-unwind" fn _PG_init() {
    // SAFETY: Postgres calls this, and nothing here needs a drop.
    unsafe {
        pg::guard::run(|| {
            settings::register()?;
            trust::keys::register_invalidation_callbacks();
            // A hook that is installed later runs earlier. `session` comes last, because its frames must be
            // around all that the others and Postgres evaluate for a query, also while it is planned.
            redaction::hooks::install();
            once::install();
            session::executor::install();
            if settings::is_loaded_by_server() {
                pg::shared::request([
                    &stats::SHARED,
                    &timetable::TIMETABLE,
                    &session::signatures::SIGNATURES,
                ]);
                trust::fetch::launcher::register();
            }
            // The statement that loads the library came before the hooks.
            redaction::hooks::redact_activity();
            Ok(())
        });
    }
}

// The install script, in this order.
pgrx::extension_sql_file!("../sql/schema.sql", name = "schema", bootstrap);
pgrx::extension_sql_file!(
    "../sql/admission.sql",
    name = "admission",
    requires = ["schema"]
);
pgrx::extension_sql_file!(
    "../sql/tables.sql",
    name = "tables",
    requires = ["admission"]
);
pgrx::extension_sql_file!(
    "../sql/revocation.sql",
    name = "revocation",
    requires = ["tables"]
);
pgrx::extension_sql_file!("../sql/init.sql", name = "init", requires = ["revocation"]);
pgrx::extension_sql_file!("../sql/follow.sql", name = "follow", requires = ["init"]);
pgrx::extension_sql_file!(
    "../sql/endpoint.sql",
    name = "endpoint",
    requires = ["follow"]
);
pgrx::extension_sql_file!(
    "../sql/session.sql",
    name = "session",
    requires = ["endpoint"]
);
pgrx::extension_sql_file!(
    "../sql/claim_functions.sql",
    name = "claim_functions",
    requires = ["session"]
);
pgrx::extension_sql_file!(
    "../sql/lint.sql",
    name = "lint",
    requires = ["claim_functions"]
);
pgrx::extension_sql_file!(
    "../sql/explain_access.sql",
    name = "explain_access",
    requires = ["lint"]
);
pgrx::extension_sql_file!(
    "../sql/stats.sql",
    name = "stats",
    requires = ["explain_access"]
);
pgrx::extension_sql_file!("../sql/privileges.sql", name = "privileges", finalize);
