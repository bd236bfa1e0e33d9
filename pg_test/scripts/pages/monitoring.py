#!/usr/bin/env python3
"""The queries for a monitoring system, as docs/operations.md has them, by a role that has nothing
but the rights given there: what they say when all is well, and when something is wrong."""

import json
import re

from lib import ed25519, tokens
from lib.pg import Checks, Cluster, shell

INIT = "SELECT auth.jwt_session_init($1)"


def doc(name):
    return shell('"$ROOT/pg_test/doc_sql" docs/operations.md "$1"', name) + "\n"


def queries():
    """By the name of each: its SQL, and the columns that the file describes."""
    blocks = re.findall(r"^(\w+):\n  query: \|\n((?:    .*\n)+)  metrics:\n((?:    - .*\n)+)", doc("prometheus"), re.M)
    return {name: (sql, re.findall(r"^    - (\w+): \{", metrics, re.M)) for name, sql, metrics in blocks}


def main():
    checks, statements = Checks(), queries()
    checks.equal(
        "queries",
        [*statements],
        ["pg_auth_jwt_tokens", "pg_auth_jwt_keys", "pg_auth_jwt_endpoints", "pg_auth_jwt_triggers"],
    )
    with Cluster("monitoring", shared_preload_libraries="pg_auth_jwt") as cluster:
        db = cluster.create_db("test")
        cluster.psql("-c", "CREATE ROLE monitoring LOGIN", "postgres")
        root, owner, user = cluster.session(db, "postgres"), cluster.session(db, "owner_role"), cluster.session(db)
        owner.query(tokens.setup(0) + tokens.follow(1))
        before = owner.query("SELECT code FROM auth.lint()")
        owner.query(doc("monitoring_grants"))
        checks.equal("auth.lint says nothing more", owner.query("SELECT code FROM auth.lint()"), before)
        monitoring = cluster.session(db, "monitoring")

        def ask(name):
            sql, columns = statements[name]
            rows = [json.loads(row) for (row,) in monitoring.query(f"SELECT row_to_json(q) FROM ({sql}) AS q")]
            for row in rows:
                checks.equal(f"{name}: columns", [*row], columns)
            return rows

        def keys(issuer=tokens.ISSUER):
            return {row["issuer"]: row for row in ask("pg_auth_jwt_keys")}[issuer]

        def counts():
            return {(row["issuer"], row["sqlstate"] or row["event"]): row["total"] for row in ask("pg_auth_jwt_tokens")}

        good = tokens.token("u1")
        sent = [
            (good, None),
            (good[:-4] + "AAAA", "28J04"),
            (tokens.token("u1", key=1), "28J03"),
            (tokens.token("u1", iss="https://stranger"), "28J13"),
            (tokens.followed_token("u1", key=1), None),
        ]
        for token, code in sent:
            checks.equal("sent", user.code(INIT, token), code)
        wanted = {
            (tokens.ISSUER, "accepted"): 1,
            (tokens.ISSUER, "28J04"): 1,
            (tokens.ISSUER, "28J03"): 1,
            ("", "28J13"): 1,
            (tokens.FOLLOWED, "accepted"): 1,
        }
        got = counts()
        checks.equal("tokens", {key: got.get(key) for key in wanted}, wanted)
        times = [row["last_seconds"] for row in ask("pg_auth_jwt_tokens") if row["event"] == "accepted"]
        now = float(owner.value("SELECT extract(epoch FROM clock_timestamp())"))
        start = float(owner.value("SELECT extract(epoch FROM pg_postmaster_start_time())"))
        checks.true(f"last seen: {times}", len(times) == 2 and all(start <= time <= now for time in times))

        def state(row):
            return [row[name] for name in ("usable", "faulty", "polled", "left_seconds")]

        for issuer in (tokens.ISSUER, tokens.FOLLOWED):
            checks.equal(f"{issuer}: all is well", state(keys(issuer)), [1, 0, 0, None])
            checks.true(f"{issuer}: a young key", keys(issuer)["newest_age_seconds"] < now - start + 60)
        owner.query(
            "UPDATE auth.jwks SET created_at = now() - interval '90 days', expires_at = now() + interval '1 day'"
        )
        checks.true("an old key", keys()["newest_age_seconds"] >= 90 * 86400)
        checks.true("runs out", 0 < keys()["left_seconds"] <= 86400)
        owner.query("UPDATE auth.jwks SET created_at = '-infinity', expires_at = 'infinity'")
        checks.equal("has no end", state(keys()), [1, 0, 0, None])
        owner.query("UPDATE auth.jwks SET expires_at = now()")
        checks.equal("has run out", state(keys()), [0, 0, 0, None])
        owner.query("DELETE FROM auth.jwks")
        checks.equal("no key", keys()["usable"], 0)
        owner.query("INSERT INTO followed_keys VALUES ('bad', '{}', '')")
        checks.equal("a row that is no key", state(keys(tokens.FOLLOWED)), [1, 1, 0, None])
        owner.query("DELETE FROM followed_keys WHERE id = 'bad'; ALTER TABLE followed_keys DISABLE TRIGGER ALL")
        checks.equal("not announced", state(keys(tokens.FOLLOWED)), [1, 0, 1, None])
        owner.query("ALTER TABLE followed_keys RENAME TO elsewhere")
        row = keys(tokens.FOLLOWED)
        checks.equal("source is missing", [row["usable"], row["faulty"], row["polled"]], [0, 1, 0])
        owner.query(f"UPDATE auth.issuers SET enabled = false WHERE issuer = '{tokens.FOLLOWED}'")
        checks.equal("of a disabled issuer", user.code(INIT, tokens.followed_token("u2", key=1)), "28J03")
        checks.equal("counted as of a known one", counts()[(tokens.FOLLOWED, "28J03")], 1)
        checks.equal("disabled on purpose", [row["issuer"] for row in ask("pg_auth_jwt_keys")], [tokens.ISSUER])

        # How it is fetched is the test endpoint's matter; here is what becomes of the state.
        fetched = "https://fetched.test.example"
        checks.equal("no endpoint", ask("pg_auth_jwt_endpoints"), [])
        owner.query(f"SELECT auth.follow_url('{fetched}', '{fetched}/jwks', '{{a}}')")

        def endpoint():
            (row,) = ask("pg_auth_jwt_endpoints")
            age = row["success_age_seconds"]
            return [row["issuer"], row["stale"], row["failures"], None if age is None else round(age / 86400)]

        checks.equal("never fetched", endpoint(), [fetched, 1, 0, None])
        owner.query(
            f"INSERT INTO auth.endpoints (issuer, url) VALUES ('{fetched}', '{fetched}/jwks') ON CONFLICT DO NOTHING;"
            + ed25519.fetched_row(fetched, 1)
        )
        for age, failures, stale in ((0, 0, 0), (6, 5, 0), (8, 9, 1)):
            owner.query(
                f"UPDATE auth.endpoints SET last_success = now() - interval '{age} days', failures = {failures}"
            )
            checks.equal(f"fetched {age} days ago", endpoint(), [fetched, stale, failures, age])
        owner.query("UPDATE auth.endpoints SET last_success = now()")
        checks.equal("its keys have no end of their own", state(keys(fetched)), [1, 0, 0, None])
        owner.query(f"UPDATE auth.issuers SET enabled = false WHERE issuer = '{fetched}'")
        checks.equal("no endpoint that counts", ask("pg_auth_jwt_endpoints"), [])

        checks.equal("triggers", ask("pg_auth_jwt_triggers"), [{"faulty": 0}])
        for broken, sql in enumerate(
            [
                "ALTER TABLE auth.jwks ENABLE TRIGGER keys_changed",
                "DROP TRIGGER admit_key ON auth.jwks",
                "ALTER TABLE auth.issuers DISABLE TRIGGER issuers_truncated",
                "ALTER TABLE auth.endpoints ENABLE TRIGGER endpoints_changed",
            ],
            start=1,
        ):
            root.query(sql)
            checks.equal(sql, ask("pg_auth_jwt_triggers"), [{"faulty": broken}])
            checks.equal(
                f"{sql}: auth.lint",
                owner.value("SELECT count(*) FROM auth.lint() WHERE code = 'trigger_not_always'"),
                str(broken),
            )
        for broken, (table, name) in enumerate(
            [("withdrawn_keys", "withdrawn_noted"), ("jwks", "keys_withdrawn"), ("issuers", "issuer_removed")], start=5
        ):
            root.query(f"ALTER TABLE auth.{table} DISABLE TRIGGER {name}")
            checks.equal(f"without {name}", ask("pg_auth_jwt_triggers"), [{"faulty": broken}])
        lines = {}
        for verbosity in ("default", "terse"):
            if verbosity == "terse":
                root.query(doc("terse_log"))
            before, stranger = len(cluster.log()), tokens.token("u1", iss="https://stranger.test.example")
            with cluster.session(db) as session:
                checks.equal(f"{verbosity}: refused", session.code(INIT, stranger), "28J13")
            error = cluster.log()[before:].partition("ERROR:  ")[2]
            lines[verbosity] = ["ERROR", *re.findall(r" (DETAIL|HINT|STATEMENT):  ", error)]
            checks.true("the token is not in the log", stranger.split(".")[2] not in cluster.log())
        checks.equal("lines of a refused token", lines["default"], ["ERROR", "DETAIL", "HINT"])
        checks.equal("in a terse log", lines["terse"], ["ERROR"])
        checks.equal("no more rights than these", monitoring.code("SELECT * FROM auth.jwks"), "42501")
    checks.done("a monitoring role sees what goes wrong")


main()
