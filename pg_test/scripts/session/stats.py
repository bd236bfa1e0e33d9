#!/usr/bin/env python3
"""auth.stats counts what becomes of tokens: in each session for itself, and where there is shared memory, for all
sessions of a database together."""

import time

from lib import tokens
from lib.pg import Cluster, PgError, SharedCluster, run

INIT = "SELECT auth.jwt_session_init($1)"
COUNTS = "SELECT issuer, event, sqlstate, count FROM auth.stats WHERE scope = '%s'"

LAST_USE = "SELECT max(last_at) FROM auth.stats WHERE issuer = '%s' AND event = 'accepted'"


def counts(session, scope="backend"):
    """A refusal by its SQLSTATE, another event by its name."""
    rows = session.query(COUNTS % scope)
    assert all((event == "refused") == (sqlstate is not None) for _, event, sqlstate, _ in rows), rows
    return {(issuer, sqlstate or event): int(count) for issuer, event, sqlstate, count in rows}


def each_outcome(checks, cluster):
    db = cluster.create_db("test_stats")
    owner = cluster.session(db, "owner_role")
    owner.query(tokens.setup(0))
    owner.query(
        "GRANT SELECT ON auth.stats TO authenticated; GRANT EXECUTE ON FUNCTION auth.list_stats() TO authenticated"
    )
    s = cluster.session(db)
    begun = s.value("SELECT clock_timestamp()")
    checks.equal("at first", counts(s), {})
    first = tokens.token("u1")
    for token, code in [
        (first, None),
        (tokens.token("u1", seconds=-5), "28J05"),
        (tokens.token("u1", iss="https://nobody"), "28J13"),
        (first[:-4] + "AAAA", "28J04"),
        ("x", "28J01"),
        ("x", "28J01"),
    ]:
        checks.equal(code, s.code(INIT, token), code)
    found = counts(s)
    del found[(None, "keys_reread")]
    known = tokens.ISSUER
    wanted = {(known, "accepted"): 1, (known, "28J05"): 1, (known, "28J04"): 1, (None, "28J13"): 1, (None, "28J01"): 2}
    checks.equal("each outcome", {key: n for key, n in found.items() if key[1] != "cache_hit"}, wanted)
    last = s.query(
        f"SELECT coalesce(sqlstate, event), count(*), bool_and(last_at BETWEEN '{begun}' "
        "AND now()) FROM auth.stats WHERE scope = 'backend' GROUP BY 1 ORDER BY 1"
    )
    checks.equal(
        "when it was last",
        [row for row in last if row[0] not in ("cache_hit", "keys_reread")],
        [[event, "1", "t"] for event in ("28J01", "28J04", "28J05", "28J13", "accepted")],
    )
    checks.equal(
        "not of events that are no verification",
        s.value("SELECT count(last_at) FROM auth.stats WHERE event IN ('cache_hit', 'keys_reread')"),
        "0",
    )
    before = counts(s).get((None, "cache_hit"), 0)
    for _ in range(5):
        s.execute(INIT, first)
    checks.equal("used again", counts(s)[(None, "cache_hit")] - before >= 5, True)
    checks.equal("verified once", counts(s)[(known, "accepted")], 1)
    earlier, start = s.value(LAST_USE % known), s.value("SELECT clock_timestamp()")
    checks.equal("a refusal is no use", s.code(INIT, tokens.token("u1", seconds=-5)), "28J05")
    checks.equal("nor is what was verified before", s.value(LAST_USE % known), earlier)
    s.execute(INIT, tokens.token("u2"))
    checks.equal("last use of an issuer", s.value(f"SELECT ({LAST_USE % known}) BETWEEN '{start}' AND now()"), "t")
    before = counts(s)[(None, "keys_reread")]
    owner.query("UPDATE auth.issuers SET leeway = '1 s'")
    s.execute(INIT, first)
    checks.equal("reread", counts(s)[(None, "keys_reread")], before + 1)
    checks.equal("another session has its own", counts(cluster.session(db)), {})
    checks.equal("not for everyone", cluster.session(db, "other_reader").code("SELECT * FROM auth.stats"), "42501")
    checks.equal("the server's", counts(s, "server"), counts(s) if has_registry(s) else {})
    # Any iss is accepted: the row is what is counted, and not what strangers write.
    owner.query(
        f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('*', '{{HS256}}');"
        f"SELECT auth.init('{tokens.jwks(0)}', issuer => '*')"
    )
    for n in range(200):
        s.execute(INIT, tokens.token("u1", iss=f"https://stranger-{n}"))
    checks.equal("one row for any issuer", counts(s)[("*", "accepted")], 200)
    reset = "SELECT auth.reset_stats()"
    checks.equal("not for everyone to reset", s.code(reset), "42501")
    owner.query("GRANT EXECUTE ON FUNCTION auth.reset_stats() TO authenticated")
    s.query(reset)
    checks.equal("reset", counts(s), {})
    s.code(INIT, "x")
    checks.equal("counted again", counts(s), {(None, "28J01"): 1})
    checks.equal("no use since", s.value(LAST_USE % known), None)


def more_issuers_than_places(checks, cluster):
    db = cluster.create_db("test_stats_many")
    owner = cluster.session(db, "owner_role")
    names = [f"https://{'long' * 50}" if n == 0 else f"https://é{n}" for n in range(80)]
    owner.query(
        "".join(
            f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{name}', '{{HS256}}');"
            f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{name}');"
            for name in names
        )
    )
    for name in names:
        owner.execute(INIT, tokens.token("u1", iss=name))
    found = {issuer: n for (issuer, event), n in counts(owner).items() if event == "accepted"}
    checks.equal("none is lost", sum(found.values()), len(names))
    checks.equal("some have no place of their own", found["(others)"] > 1 and len(found) > 60, True)
    checks.equal("a long name is cut", any(name and len(name) == 120 for name in found), True)


def has_registry(session):
    """From Postgres 17 on sessions share memory although the server does not load the library."""
    return int(session.value("SHOW server_version_num")) >= 170000


def of_the_server(checks, shared):
    of_all_sessions(checks, shared_preload_libraries="pg_auth_jwt")
    with shared.session("postgres", "postgres") as session:
        is_shared = has_registry(session)
    if is_shared:
        of_all_sessions(checks)


def of_all_sessions(checks, **settings):
    with Cluster("stats", **settings) as cluster:
        db, elsewhere = cluster.create_db("test_stats"), cluster.create_db("test_stats_elsewhere")
        owner = cluster.session(db, "owner_role")
        owner.query(tokens.setup(0))
        sessions = [cluster.session(db) for _ in range(4)]
        for n in range(50):
            for s in sessions:
                s.send(s.parse(INIT), s.bind([tokens.token(f"u{n}")]), s.run(), s.SYNC)
            for s in sessions:
                s.receive()
        checks.equal("of all sessions", counts(owner, "server")[(tokens.ISSUER, "accepted")], 200)
        checks.true("the last use of all sessions", owner.value(LAST_USE % tokens.ISSUER))
        checks.equal("of none itself", (tokens.ISSUER, "accepted") in counts(owner), False)
        cluster.session(elsewhere, "owner_role").query("SELECT auth.reset_stats()")
        checks.equal("not reset from another database", counts(owner, "server")[(tokens.ISSUER, "accepted")], 200)
        owner.query("SELECT auth.reset_stats()")
        checks.equal("reset", counts(owner, "server"), {})
        for n, s in enumerate(sessions):
            s.execute(INIT, tokens.token(f"again{n}"))
        checks.equal("counted again", counts(owner, "server")[(tokens.ISSUER, "accepted")], 4)
        sessions[0].close()
        checks.equal("also of those that are gone", counts(owner, "server")[(tokens.ISSUER, "accepted")], 4)
        checks.equal("of this database", counts(cluster.session(elsewhere, "owner_role"), "server"), {})
        cluster.as_pg("pg_ctl", "kill", "KILL", str(sessions[1].backend))
        # A session that is told of the crash, and then one that is let in after the recovery.
        checks.true("the server has restarted", fails(lambda: sessions[2].query("SELECT pg_sleep(60)")))
        checks.true("and takes sessions", becomes_free(lambda: cluster.session(db)))
        again = cluster.session(db, "owner_role")
        checks.equal("from nothing after a crash", (tokens.ISSUER, "accepted") in counts(again, "server"), False)


def fails(action):
    try:
        action()
    except (PgError, OSError):
        return True
    return False


def becomes_free(connect):
    for _ in range(200):
        if not fails(connect):
            return True
        time.sleep(0.05)
    return False


cluster = SharedCluster()
cluster.psql("-c", "CREATE ROLE other_reader LOGIN", "postgres")
run("tokens are counted by what became of them", (each_outcome, more_issuers_than_places, of_the_server), cluster)
cluster.psql("-c", "DROP ROLE other_reader", "postgres")
