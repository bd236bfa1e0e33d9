//! For versions of Postgres that log clients in by a token: sets the condition `login_by_token`, and compiles
//! src/pg/hba.c with the headers of the Postgres that pgrx builds for.

use std::env;
use std::error::Error;

use pgrx_pg_config::{PgConfig, Pgrx};

/// The versions that do not.
const OLDER: [&str; 3] = ["15", "16", "17"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(login_by_token)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/pg/hba.c");
    println!("cargo::rerun-if-env-changed=PGRX_PG_CONFIG_PATH");
    let features = || {
        env::vars().filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_PG")?.to_owned()))
    };
    let Some(version) = features().find(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return Ok(());
    };
    if OLDER.contains(&version.as_str()) {
        return Ok(());
    }
    println!("cargo::rustc-cfg=login_by_token");
    // As pgrx finds it.
    let pg_config = match PgConfig::from_env() {
        Ok(pg_config) => pg_config,
        Err(_) => Pgrx::from_config()?.get(&format!("pg{version}"))?,
    };
    cc::Build::new()
        .file("src/pg/hba.c")
        .include(pg_config.includedir_server()?)
        .try_compile("pg_auth_jwt_hba")?;
    Ok(())
}
