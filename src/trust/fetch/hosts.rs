//! Statements by which a superuser changes `pg_auth_jwt.fetch_hosts`.

use pgrx::spi::quote_literal;

use crate::settings;

/// The statements that add a host, and keep what is listed.
pub enum Addition {
    /// They name all hosts.
    Whole(String),
    /// They have psql add the host to a list that the current role may not see.
    InPsql(String),
}

impl Addition {
    /// For this entry.
    pub fn of(entry: &str) -> Self {
        match settings::visible_fetch_hosts() {
            Some(hosts) => Self::Whole(set(format!("{hosts} {entry}").trim())),
            None => {
                let entry = quote_literal(entry);
                Self::InPsql(format!(
                    "LOAD 'pg_auth_jwt'; SELECT unnest(ARRAY[format('ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = %L', \
                     concat_ws(' ', nullif(current_setting('pg_auth_jwt.fetch_hosts'), ''), {entry})), \
                     'SELECT pg_reload_conf()']) \\gexec"
                ))
            }
        }
    }

    /// A HINT.
    pub fn hint(&self) -> String {
        match self {
            Self::Whole(statements) => format!("A superuser allows the host: {statements}"),
            Self::InPsql(statements) => {
                format!("A superuser adds the host, in psql: {statements}")
            }
        }
    }

    /// The statements, with who runs them.
    pub fn fix(&self) -> String {
        match self {
            Self::Whole(statements) => format!("{statements} -- as a superuser"),
            Self::InPsql(statements) => format!("/* as a superuser, in psql */ {statements}"),
        }
    }
}

/// The statements that correct an entry.
pub fn correction() -> String {
    let hosts = settings::visible_fetch_hosts();
    let statements = set(hosts.as_deref().unwrap_or("..."));
    format!("{statements} -- as a superuser, with that entry corrected")
}

fn set(hosts: &str) -> String {
    let hosts = quote_literal(hosts);
    format!(
        "LOAD 'pg_auth_jwt'; ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = {hosts}; SELECT pg_reload_conf();"
    )
}
