#!/usr/bin/env python3
"""The library is loaded at its first use in a connection, unless session_preload_libraries loads it
from the start. Settings from before stay in force, wherever that first use is."""

import time

from lib import tokens
from lib.pg import Checks, Cluster, PgError, SharedCluster

WHO = "SELECT auth.user_id()"
SCOPE = "SHOW pg_auth_jwt.scope"
COUNT = "SELECT coalesce(who(), 'nobody'), count(*) FROM things GROUP BY 1"

SCHEMA = """
CREATE TABLE things AS SELECT n FROM generate_series(1, 20000) n;
ANALYZE things;
GRANT SELECT ON things TO authenticated;
-- Without a claim function in the plan, nothing but the call itself loads the library.
CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN auth.user_id(); END';
"""
PARALLEL = (
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
    "SET parallel_leader_participation = "
)


def refused(cluster, db, user, options):
    try:
        cluster.session(db, user, options=options)
    except PgError as error:
        return error.code


def with_the_server(checks):
    """By shared_preload_libraries: backends inherit the library instead of loading it."""
    with Cluster("loading", shared_preload_libraries="pg_auth_jwt") as cluster:
        db = cluster.create_db("test_shared")
        owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
        owner.query(SCHEMA + tokens.setup(0))
        u1 = tokens.token("u1")
        s = cluster.session(db, options=f"-c pg_auth_jwt.token={u1}")
        checks.equal("shared: a connection option", s.value(WHO), "u1")
        s.query(PARALLEL + "off")
        checks.equal("shared: in parallel", s.query(COUNT), [["u1", "20000"]])
        checks.equal("shared: no name but ours", s.code("SET pg_auth_jwt.no_such = 'x'"), "42602")
        for option in ("scope=session", "cache_size=0"):
            checks.equal(
                f"shared: not the client's, {option}",
                refused(cluster, db, "authenticated", f"-c pg_auth_jwt.{option}"),
                "42501",
            )
        root.query("ALTER ROLE authenticated SET pg_auth_jwt.scope = 'transaction'")
        pooled = cluster.session(db)
        pooled.execute("SELECT auth.jwt_session_init($1)", u1)
        checks.equal("shared: the role's scope", [pooled.value(WHO), pooled.value(SCOPE)], [None, "transaction"])
        owner.query("DELETE FROM auth.jwks")
        checks.equal("shared: a withdrawn key", s.code(WHO), "28J03")
        s.query(f"SET pg_auth_jwt.token = '{u1}'")
        shown = root.value("SELECT query FROM pg_stat_activity WHERE pid = $1", s.backend)
        checks.equal("shared: pg_stat_activity", shown, "SET pg_auth_jwt.token = '<token>'")
        unreadable(checks, cluster, db, "shared")
    for line in (["pg_auth_jwt.scope", "Transactions"], ["pg_auth_jwt.scop", "transaction"]):
        with Cluster("loading", shared_preload_libraries="pg_auth_jwt", **dict([line])) as cluster:
            db = cluster.create_db("test_shared")
            s = cluster.session(db)
            checks.equal(f"{line[0]} in postgresql.conf", s.code(WHO), "42602" if line[0].endswith("scop") else "22023")
            with open(f"{cluster.dir}/data/postgresql.conf", "a") as conf:
                conf.write("pg_auth_jwt.scope = 'transaction'\n")
            if not line[0].endswith("scop"):
                cluster.as_pg("pg_ctl", "reload", "-D", f"{cluster.dir}/data")
                checks.true("corrected in postgresql.conf", becomes(lambda: s.code(WHO), None))


def among_all_settings(checks, cluster, db):
    """Postgres lists all settings in the order of their names, ours among them, and finds each by
    its name."""
    ours = [
        f"pg_auth_jwt.{name}"
        for name in ("audit_log", "cache_size", "evaluate_once", "require_token", "scope", "unverified_claims")
    ]
    others = ["a.a", "pg_auth.x", "PG_auth_jws.x", "pg_auth_jwt_.x", "zz.z"]
    for before in ([], others, ["pg_auth_jwt.scope"], [*others, "pg_auth_jwt.token", "pg_auth_jwt.audit_log"]):
        s = cluster.session(db, "postgres")
        values = {
            name: {"token": "", "scope": "auto", "audit_log": "off"}.get(name.split(".")[1], "other") for name in before
        }
        for name, value in values.items():
            s.query(f"SET {name} = '{value}'")
        s.query("LOAD 'pg_auth_jwt'")
        names = [row[0] for row in s.query("SHOW ALL")]
        checks.equal(f"{before}: ours are listed", [name for name in names if name in ours], ours)
        checks.equal(f"{before}: in order", names, sorted(names, key=str.lower))
        for name in [*names, *others[:1], "pg_auth_jwt.token", *ours]:
            checks.equal(
                f"{before}: {name} is found",
                s.code(f"SELECT current_setting('{name}', {str(name in others).lower()})"),
                None,
            )
        s.query("SET zz.after = 'other'")
        for name, value in [*values.items(), ("zz.after", "other")]:
            checks.equal(f"{before}: {name} keeps its value", s.value(f"SHOW {name}"), value)
        checks.equal(f"{before}: no other name", s.code("SET pg_auth_jwt.tokem = 'x'"), "42602")


def becomes(get, wanted):
    """Whether it becomes true within some seconds: a reload is asynchronous."""
    for _ in range(100):
        if get() == wanted:
            return True
        time.sleep(0.05)
    return False


USES = {
    "a claim": WHO,
    "claims": "SELECT auth.session()",
    "init": "SELECT auth.jwt_session_init('x')",
    "no token": "SELECT auth.jwt_session_init(NULL)",
}
UNREADABLE = {
    "scope": "Transactions",
    "audit_log": "failure",
    "cache_size": "lots",
    "evaluate_once": "maybe",
    "require_token": "always",
    "unverified_claims": "warn",
}


def store(root, name, value, where):
    """Stores a setting that Postgres would refuse, as was possible before the library was
    installed."""
    role, database = {
        "ROLE mistyped": ("'mistyped'::regrole", "0"),
        "ROLE ALL": ("0", "0"),
        "DATABASE": ("0", "d.oid"),
        "ROLE mistyped IN DATABASE": ("'mistyped'::regrole", "d.oid"),
    }[where]
    root.query(
        f"DELETE FROM pg_db_role_setting WHERE setconfig::text LIKE '%pg_auth_jwt.%';"
        f"INSERT INTO pg_db_role_setting SELECT {database}, {role}, ARRAY['pg_auth_jwt.{name}={value}']"
        f" FROM pg_database d WHERE datname = current_database()"
    )


def unreadable(checks, cluster, db, how):
    """A stored value that cannot be read, and a stored name that is not one of ours, are errors of
    every use, and the error names the remedy. No default replaces them."""
    root, owner = cluster.session(db, "postgres"), cluster.session(db, "owner_role")
    root.query("CREATE ROLE mistyped LOGIN; GRANT authenticated TO mistyped")
    places = {
        "ROLE mistyped": "ALTER ROLE mistyped",
        "DATABASE": f"ALTER DATABASE {db}",
        "ROLE ALL": "ALTER ROLE ALL",
        "ROLE mistyped IN DATABASE": f"ALTER ROLE mistyped IN DATABASE {db}",
    }
    cases = [(name, value, "ROLE mistyped") for name, value in UNREADABLE.items()]
    cases += [("scope", "Transactions", where) for where in places] + [("audit_log", "", "DATABASE")]
    cases += [("scop", "transaction", where) for where in places]
    for name, value, where in cases:
        case = f"{how}: {name} = {value!r}, {where}"
        store(root, name, value, where)
        s = cluster.session(db, "mistyped")
        code = "42602" if name == "scop" else "22023"
        for use, sql in USES.items():
            checks.equal(f"{case}: {use}", s.code(sql), code)
        fields = s.error(WHO).fields
        command = f"{places[where]} RESET pg_auth_jwt.{name}"
        checks.true(f"{case}: {fields}", f"pg_auth_jwt.{name}" in fields["D"] and f"{places[where]} SET" in fields["D"])
        checks.equal(f"{case}: the value", value in fields["D"], True if name != "scop" else value in fields["D"])
        checks.equal(f"{case}: HINT", fields["H"], f"Use {command}, then connect again.")
        # A superuser's own session may have the same setting, and must be able to run the HINT's
        # statement.
        fresh = cluster.session(db, "postgres")
        if where in ("DATABASE", "ROLE ALL"):
            checks.equal(f"{case}: a superuser's use", fresh.code(WHO), code)
        fresh.query(command)
        checks.equal(f"{case}: corrected", cluster.session(db, "mistyped").code(WHO), None)

    # A setting that the client may set can be corrected by the client, for as long as that lasts.
    store(root, "scope", "Transactions", "ROLE mistyped")
    s = cluster.session(db, "mistyped")
    checks.equal(f"{how}: before SET", s.code(WHO), "22023")
    checks.equal(f"{how}: SET to another one", s.code("SET pg_auth_jwt.scope = 'Transactional'"), "22023")
    s.query("BEGIN; SET LOCAL pg_auth_jwt.scope = 'auto'")
    checks.equal(f"{how}: SET LOCAL", s.code(WHO), None)
    s.query("COMMIT")
    checks.equal(f"{how}: after it", s.code(WHO), "22023")
    s.query("SET pg_auth_jwt.scope = 'TRANSACTION'")
    checks.equal(f"{how}: SET", s.code(WHO), None)
    s.query("DISCARD ALL")
    checks.equal(f"{how}: DISCARD ALL", s.code(WHO), "22023")
    # The owner can still manage keys: a mistyped setting must not prevent the withdrawal of a key.
    store(root, "scope", "Transactions", "ROLE ALL")
    owner = cluster.session(db, "owner_role")
    checks.equal(f"{how}: verify", owner.code("SELECT auth.verify('x')"), "22023")
    checks.equal(f"{how}: keys are withdrawn", owner.code("BEGIN; DELETE FROM auth.jwks; ROLLBACK"), None)
    root.query("DELETE FROM pg_db_role_setting WHERE setconfig::text LIKE '%pg_auth_jwt.%'; DROP ROLE mistyped")


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_loading")
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    owner.query(SCHEMA + tokens.setup(0))
    root.query(
        "CREATE ROLE pooled LOGIN; ALTER ROLE pooled SET pg_auth_jwt.scope = 'transaction'; "
        "GRANT authenticated TO pooled"
    )
    u1, u2, u3 = (tokens.token(user) for user in ("u1", "u2", "u3"))

    # In a parallel operation Postgres would drop the settings, with only a warning.
    for leader in ("on", "off"):
        for given in ("set", "option"):
            case = f"token by {given}, leader {leader}"
            s = cluster.session(db, **({"options": f"-c pg_auth_jwt.token={u1}"} if given == "option" else {}))
            if given == "set":
                s.query(f"SET pg_auth_jwt.token = '{u1}'")
            s.query(PARALLEL + leader)
            checks.equal(f"{case}, loaded in parallel", s.code(COUNT), "55000")
            checks.equal(f"{case}, loaded otherwise", s.value(WHO), "u1")
            checks.equal(f"{case}, in parallel then", s.query(COUNT), [["u1", "20000"]])
        s = cluster.session(db, "pooled")
        s.query(PARALLEL + leader)
        checks.equal(f"scope, leader {leader}", s.code(COUNT), "55000")
        s.execute("SELECT auth.jwt_session_init($1)", u1)
        checks.equal(
            f"a careless client's token, leader {leader}", [s.value(WHO), s.value(SCOPE)], [None, "transaction"]
        )
        s = cluster.session(db)
        s.query(PARALLEL + leader)
        checks.equal(f"nothing set, leader {leader}", s.query(COUNT), [["nobody", "20000"]])
    root.query("ALTER ROLE pooled SET session_preload_libraries = 'pg_auth_jwt'")
    s = cluster.session(db, "pooled", options=f"-c pg_auth_jwt.token={u1}")
    s.query(PARALLEL + "off")
    checks.equal("loaded from the start", s.query(COUNT), [["u1", "20000"]])
    checks.equal("with the role's settings", s.value(SCOPE), "transaction")

    # A client cannot change a superuser's setting by a connection option, which for Postgres is a
    # placeholder until the library is loaded.
    root.query(
        "CREATE ROLE bound LOGIN; GRANT authenticated TO bound; ALTER ROLE bound SET pg_auth_jwt.audit_log = 'all'"
    )
    for user, option in (
        ("bound", "audit_log=off"),
        ("bound", "audit_log=failures"),
        ("bound", "audit_log=x"),
        ("bound", "cache_size=0"),
        ("bound", "scope=session"),
    ):
        s = cluster.session(db, user, options=f"-c pg_auth_jwt.{option}")
        checks.equal(option, s.code(WHO), "42501")
        checks.equal(f"{option}, once more", s.code(WHO), "42501")
        checks.equal(f"{option}, another function", s.code("SELECT auth.jwt_session_init($1)", u1), "42501")
    s = cluster.session(db, "bound", options="-c pg_auth_jwt.evaluate_once=off")
    checks.equal("what it may give", [s.value(WHO), s.value("SHOW pg_auth_jwt.evaluate_once")], [None, "off"])
    s = cluster.session(db, "bound", options="-c pg_auth_jwt.scope=transaction")
    checks.equal("what it may give too", [s.value(WHO), s.value(SCOPE)], [None, "transaction"])
    for option, code in (
        ("scope=x", "22023"),
        ("scope=", "22023"),
        ("scop=transaction", "42602"),
        ("PG_auth_jwt.x=1", "42602"),
    ):
        s = cluster.session(db, "bound", options="-c " + ("" if option[0] == "P" else "pg_auth_jwt.") + option)
        checks.equal(f"mistyped by the client: {option}", s.code(WHO), code)
        checks.equal(f"mistyped by the client: {option}, once more", s.code(WHO), code)
    root.query("ALTER ROLE bound SET pg_auth_jwt.audit_log = 'Failures'")
    s = cluster.session(db, "bound")
    s.query("SET pg_auth_jwt.audit_log = 'off'; SET pg_auth_jwt.scope = 'session'; SET pg_auth_jwt.x = 'y'")
    checks.equal(
        "set later: dropped alone",
        [s.value(WHO), s.value("SHOW pg_auth_jwt.audit_log"), s.value(SCOPE)],
        [None, "Failures", "auto"],
    )
    checks.equal("with warnings", sorted(n["C"] for n in s.notices()), ["42501", "42501", "42602"])
    s = cluster.session(db, "bound")
    s.query("SET pg_auth_jwt.scope = 'Transactions'")
    checks.equal("mistyped by SET", s.code(WHO), "22023")
    s.query(PARALLEL + "off")
    checks.equal("a parallel query of others' concern", s.query("SELECT count(*) FROM things"), [["20000"]])
    checks.equal("a worker", s.code(COUNT), "22023")
    s.query("RESET pg_auth_jwt.scope")
    checks.equal("and corrected", s.query(COUNT), [["nobody", "20000"]])
    s = cluster.session(db, "postgres", options="-c pg_auth_jwt.audit_log=all -c pg_auth_jwt.scope=transaction")
    checks.equal(
        "a superuser's own",
        [s.value(WHO), s.value("SHOW pg_auth_jwt.audit_log"), s.value(SCOPE)],
        [None, "all", "transaction"],
    )
    unreadable(checks, cluster, db, "at first use")
    root.query("ALTER SYSTEM SET session_preload_libraries = 'pg_auth_jwt'")
    preloads = lambda: (
        root.query("SELECT pg_reload_conf()"),
        cluster.session(db, "postgres").value("SHOW session_preload_libraries"),
    )[1]
    checks.true("loaded at the connection's start", becomes(preloads, "pg_auth_jwt"))
    unreadable(checks, cluster, db, "at the connection's start")
    root.query("ALTER SYSTEM RESET session_preload_libraries")
    checks.true("no longer", becomes(preloads, ""))
    root.query("ALTER ROLE bound SET pg_auth_jwt.audit_log = 'all'")

    # set_config does not depend on whether the library is loaded yet.
    s = cluster.session(db)
    for transaction in (1, 2):
        s.query("BEGIN")
        checks.equal(
            f"set_config, transaction {transaction}",
            s.code("SELECT set_config('pg_auth_jwt.token', $1, true)", u1),
            None,
        )
        checks.equal(f"set_config, transaction {transaction}: who", s.value(WHO), "u1")
        s.query("COMMIT")
    root.query("ALTER ROLE bound SET session_preload_libraries = 'pg_auth_jwt'")
    checks.equal("at the connection's start", refused(cluster, db, "bound", "-c pg_auth_jwt.audit_log=off"), "42501")
    checks.equal("and without", refused(cluster, db, "bound", "-c application_name=x"), None)

    # In a transaction that has set it more than once, and that ends in either way.
    for end in ("COMMIT", "ROLLBACK"):
        s = cluster.session(db)
        s.query(f"SET pg_auth_jwt.token = '{u1}'")
        s.query(f"BEGIN; SET LOCAL pg_auth_jwt.token = '{u2}'; SAVEPOINT a;SET pg_auth_jwt.token = '{u3}'; SAVEPOINT b")
        checks.equal("loaded in a savepoint", s.value(WHO), "u3")
        s.query("ROLLBACK TO b")
        checks.equal("and rolled back", s.value(WHO), "u3")
        s.query("ROLLBACK TO a")
        checks.equal("to the one before", s.value(WHO), "u2")
        s.query(end)
        checks.equal(end, s.value(WHO), "u1")
        s.query("DISCARD ALL")
        checks.equal("and discarded", s.value(WHO), None)
    among_all_settings(checks, cluster, db)
    with_the_server(checks)
    checks.done("nothing that was set before the library came is lost")


main()
