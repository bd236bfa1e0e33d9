#!/usr/bin/env python3
"""The library is loaded at its first use in a connection, unless session_preload_libraries loads it
from the start. What was set before is in force after, wherever that first use is."""


from lib import tokens
from lib.pg import Checks, Cluster, PgError, SharedCluster

WHO = "SELECT auth.user_id()"
SCOPE = "SHOW pg_auth_jwt.scope"
COUNT = "SELECT coalesce(who(), 'nobody'), count(*) FROM things GROUP BY 1"

SCHEMA = """
CREATE TABLE things AS SELECT n FROM generate_series(1, 20000) n;
ANALYZE things;
GRANT SELECT ON things TO authenticated;
-- Without a reader in the plan, nothing but the call itself loads the library.
CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN auth.user_id(); END';
"""
PARALLEL = ("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
            "SET parallel_leader_participation = ")


def refused(cluster, db, user, options):
    try:
        cluster.session(db, user, options=options)
    except PgError as error:
        return error.code


def with_the_server(checks):
    """By shared_preload_libraries: what the backends do not load, but are born with."""
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
        checks.equal("shared: not the client's", refused(cluster, db, "authenticated", "-c pg_auth_jwt.scope=transaction"), "42501")
        root.query("ALTER ROLE authenticated SET pg_auth_jwt.scope = 'transaction'")
        pooled = cluster.session(db)
        pooled.execute("SELECT auth.jwt_session_init($1)", u1)
        checks.equal("shared: the role's scope", [pooled.value(WHO), pooled.value(SCOPE)], [None, "transaction"])
        owner.query("DELETE FROM auth.jwks")
        checks.equal("shared: a withdrawn key", s.code(WHO), "28J03")
        s.query(f"SET pg_auth_jwt.token = '{u1}'")
        shown = root.value("SELECT query FROM pg_stat_activity WHERE pid = $1", s.backend)
        checks.equal("shared: pg_stat_activity", shown, "SET pg_auth_jwt.token = '<token>'")


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_loading")
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    owner.query(SCHEMA + tokens.setup(0))
    root.query("CREATE ROLE pooled LOGIN; ALTER ROLE pooled SET pg_auth_jwt.scope = 'transaction'; GRANT authenticated TO pooled")
    u1, u2, u3 = (tokens.token(user) for user in ("u1", "u2", "u3"))

    # In a parallel operation Postgres would drop what is set, with a mere warning.
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
        checks.equal(f"a careless client's token, leader {leader}", [s.value(WHO), s.value(SCOPE)], [None, "transaction"])
        s = cluster.session(db)
        s.query(PARALLEL + leader)
        checks.equal(f"nothing set, leader {leader}", s.query(COUNT), [["nobody", "20000"]])
    root.query("ALTER ROLE pooled SET session_preload_libraries = 'pg_auth_jwt'")
    s = cluster.session(db, "pooled", options=f"-c pg_auth_jwt.token={u1}")
    s.query(PARALLEL + "off")
    checks.equal("loaded from the start", s.query(COUNT), [["u1", "20000"]])
    checks.equal("with the role's settings", s.value(SCOPE), "transaction")

    # What takes a superuser is not the client's to undo by a connection option, which Postgres takes for
    # a mere name until the library comes.
    root.query("CREATE ROLE bound LOGIN; GRANT authenticated TO bound; ALTER ROLE bound SET pg_auth_jwt.audit_log = 'all'")
    for user, option in (("bound", "audit_log=off"), ("bound", "audit_log=failures"), ("bound", "scope=transaction")):
        s = cluster.session(db, user, options=f"-c pg_auth_jwt.{option}")
        checks.equal(option, s.code(WHO), "42501")
        checks.equal(f"{option}, once more", s.code(WHO), "42501")
        checks.equal(f"{option}, another function", s.code("SELECT auth.jwt_session_init($1)", u1), "42501")
    s = cluster.session(db, "bound", options="-c pg_auth_jwt.hoist_readers=off")
    checks.equal("what it may give", [s.value(WHO), s.value("SHOW pg_auth_jwt.hoist_readers")], [None, "off"])
    root.query("ALTER ROLE bound SET pg_auth_jwt.audit_log = 'Failures'")
    s = cluster.session(db, "bound")
    s.query("SET pg_auth_jwt.audit_log = 'off'; SET pg_auth_jwt.scope = 'transaction'")
    checks.equal("set later: dropped alone", [s.value(WHO), s.value("SHOW pg_auth_jwt.audit_log"), s.value(SCOPE)],
                 [None, "failures", "session"])
    s = cluster.session(db, "postgres", options="-c pg_auth_jwt.audit_log=all -c pg_auth_jwt.scope=transaction")
    checks.equal("a superuser's own", [s.value(WHO), s.value("SHOW pg_auth_jwt.audit_log"), s.value(SCOPE)],
                 [None, "all", "transaction"])
    root.query("ALTER ROLE bound SET session_preload_libraries = 'pg_auth_jwt'")
    checks.equal("at the connection's start", refused(cluster, db, "bound", "-c pg_auth_jwt.audit_log=off"), "42501")
    checks.equal("and without", refused(cluster, db, "bound", "-c application_name=x"), None)

    # In a transaction that has set it more than once, and that ends in either way.
    for end in ("COMMIT", "ROLLBACK"):
        s = cluster.session(db)
        s.query(f"SET pg_auth_jwt.token = '{u1}'")
        s.query(f"BEGIN; SET LOCAL pg_auth_jwt.token = '{u2}'; SAVEPOINT a;"
                f"SET pg_auth_jwt.token = '{u3}'; SAVEPOINT b")
        checks.equal("loaded in a savepoint", s.value(WHO), "u3")
        s.query("ROLLBACK TO b")
        checks.equal("and rolled back", s.value(WHO), "u3")
        s.query("ROLLBACK TO a")
        checks.equal("to the one before", s.value(WHO), "u2")
        s.query(end)
        checks.equal(end, s.value(WHO), "u1")
        s.query("DISCARD ALL")
        checks.equal("and discarded", s.value(WHO), None)
    with_the_server(checks)
    checks.done("nothing that was set before the library came is lost")


main()
