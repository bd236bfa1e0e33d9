//! Verifies JSON Web Tokens inside Postgres, so that row-level security can trust their claims.
//!
//! Data flows one way: a SQL function ([`functions`], [`readers`]) asks the [`session`] who the user
//! is; the session verifies the value of `pg_auth_jwt.token` with the `jwt_verify` crate against the
//! keys that [`keys`] read from the tables. [`admission`] is the door through which keys enter them.

::pgrx::pg_module_magic!(name, version);

mod admission;
mod audit;
mod clock;
mod errors;
mod execution;
mod ffi;
mod functions;
mod guard;
mod hooks;
mod identity;
mod index;
mod init;
mod keys;
mod lookup;
mod once;
mod readers;
mod redaction;
mod report;
mod row;
mod session;
mod settings;
mod tables;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod text;
mod triggers;
mod unguarded;

#[cfg(test)]
pub mod pg_test {
    //! What `cargo pgrx test` calls before it starts its server.

    /// Nothing to prepare.
    pub fn setup(_options: Vec<&str>) {}

    /// The tests run on stock settings.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}

#[unsafe(no_mangle)]
extern "C-unwind" fn _PG_init() {
    // SAFETY: Postgres calls this, and nothing here is left to drop.
    unsafe {
        guard::run(|| {
            settings::register()?;
            keys::register_invalidation_callback();
            hooks::install();
            once::install();
            execution::install();
            // The statement that loads the library came before the hooks.
            hooks::redact_activity();
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
pgrx::extension_sql_file!("../sql/init.sql", name = "init", requires = ["tables"]);
pgrx::extension_sql_file!("../sql/session.sql", name = "session", requires = ["init"]);
pgrx::extension_sql_file!(
    "../sql/readers.sql",
    name = "readers",
    requires = ["session"]
);
pgrx::extension_sql_file!("../sql/privileges.sql", name = "privileges", finalize);
