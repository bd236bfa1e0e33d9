#!/usr/bin/env python3
"""A streaming replica verifies tokens, and refuses what the primary withdrew as soon as it has
replayed that: also in sessions that had used it before."""

import sys
import time

from lib import ed25519, tokens
from lib.pg import Checks, Cluster

WHO = "SELECT auth.user_id()"
# An issuer whose keys the primary fetches.
FETCHED = "https://fetched.test.example"


def replayed(primary, standby):
    """Waits until the standby has replayed what the primary has written by now."""
    position = primary.value("SELECT pg_current_wal_flush_lsn()")
    for _ in range(600):
        if standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t":
            return
        time.sleep(0.05)
    sys.exit("the standby does not come forward")


def waits_for_replay(checks, owner, reader):
    """WAIT FOR of Postgres 19, as docs/operations.md has it, in place of asking again and again."""
    token = tokens.token("u4", key=3)
    sign_in, of_transaction = (f"SELECT auth.jwt_session_init('{token}', {local})" for local in ("false", "true"))
    reader.query(sign_in)
    withdraw = "DELETE FROM auth.jwks WHERE kid = 'k3'"
    give_back = f"SELECT auth.init('{tokens.jwks(*range(tokens.KEYS))}', issuer => '{tokens.ISSUER}')"
    for change, code in ((withdraw, "28J03"), (give_back, None)):
        owner.query(change)
        position = owner.value("SELECT pg_current_wal_insert_lsn()")
        wait = f"WAIT FOR LSN '{position}' WITH (TIMEOUT '60s')"
        checks.equal("it waited", reader.query(wait), [["success"]])
        checks.equal("and sees the change", reader.code(WHO), code)
    checks.equal("with the same token", reader.value(WHO), "u4")

    reader.query("BEGIN")
    checks.equal("first in a transaction", reader.query(wait), [["success"]])
    reader.query(of_transaction)
    checks.equal("and after its token", reader.query(wait), [["success"]])
    checks.equal("which stays", reader.query("SELECT owner FROM things"), [["u4"]])
    reader.query("ROLLBACK")


def fetched_elsewhere(checks, owner, asking, reader, catch_up):
    """A standby says of keys that its primary fetches how old they are, and nothing of fetches, nor of settings and
    processes that they would need."""

    def said(session):
        rows = session.query(f"SELECT state, problem, detail, fix FROM auth.key_status WHERE issuer = '{FETCHED}'")
        found = session.query(f"SELECT code, fix FROM auth.lint() WHERE object = 'issuer {FETCHED}'")
        return rows[0], found

    on_primary = f"-- on the primary: SELECT * FROM auth.refresh('{FETCHED}');"
    owner.query(f"SELECT auth.follow_url('{FETCHED}', '{FETCHED}/jwks', '{{a}}')")
    catch_up()
    (state, problem, detail, fix), found = said(asking)
    checks.equal("not fetched yet", [state, problem, fix], ["missing", "never_fetched", on_primary])
    checks.true(f"says where from: {detail}", "its primary fetches" in detail and "Nothing is fetched" not in detail)
    checks.equal("not fetched yet, auth.lint", found, [["keys_not_fetched", on_primary]])
    checks.equal("the primary says why", said(owner)[0][1], "hosts_empty")

    owner.query(
        ed25519.fetched_row(FETCHED, 1) + ";"
        "UPDATE auth.endpoints SET last_success = now(), next_attempt = now() - interval '1 hour', failures = 3,"
        " last_error = 'the endpoint answered with status 500'"
    )
    catch_up()
    checks.equal("they count, and all else is the primary's", said(asking), (["live", None, None, None], []))
    checks.equal("the primary cannot fetch", said(owner)[0][1], "hosts_empty")
    error = reader.error("SELECT auth.jwt_session_init($1)", ed25519.token(2, FETCHED, aud="a"))
    checks.equal("an unknown key", error.code, "28J03")
    checks.true(f"it comes by way of the primary: {error.hint}", "primary" in error.hint)

    owner.query("UPDATE auth.endpoints SET last_success = now() - interval '8 days'")
    catch_up()
    (state, problem, detail, fix), found = said(asking)
    checks.equal("too old", [state, problem, fix], ["stale", "stale", on_primary])
    checks.equal("too old, auth.lint", found, [["keys_not_fetched", on_primary]])


def main():
    checks = Checks()
    with (
        Cluster("primary", synchronous_commit="local") as primary_cluster,
        Cluster("standby", standby_of=primary_cluster) as standby_cluster,
    ):
        db = primary_cluster.create_db("test")
        owner = primary_cluster.session(db, "owner_role")
        owner.query(tokens.setup() + tokens.follow(0, 1))
        owner.query(
            "CREATE TABLE things AS SELECT 'u' || n AS owner FROM generate_series(1, 9) n;"
            "ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());"
            "GRANT SELECT ON things TO authenticated"
        )
        monitor = standby_cluster.session("postgres", "postgres")

        def catch_up():
            return replayed(owner, monitor)

        catch_up()

        # One session for each key, all of which have verified and cached their token.
        readers = [standby_cluster.session(db) for _ in range(tokens.KEYS)]
        for key, reader in enumerate(readers):
            reader.query(f"SELECT auth.jwt_session_init('{tokens.token(f'u{key + 1}', key=key)}')")
            checks.equal("the standby shows the rows", reader.query("SELECT owner FROM things"), [[f"u{key + 1}"]])
        following = [standby_cluster.session(db) for _ in (0, 1)]
        for key, reader in enumerate(following):
            reader.query(f"SELECT auth.jwt_session_init('{tokens.followed_token(f'u{key + 1}', key=key)}')")
            checks.equal("by a followed table", reader.query("SELECT owner FROM things"), [[f"u{key + 1}"]])
        owner.query("DELETE FROM followed_keys WHERE id = 'k0'")
        catch_up()
        checks.equal("deleted where it is followed", following[0].code(WHO), "28J03")
        checks.equal("the other key", following[1].value(WHO), "u2")
        in_transaction = readers[1]
        in_transaction.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        checks.equal("in a transaction", in_transaction.value(WHO), "u2")
        asking = standby_cluster.session(db, "owner_role")
        checks.equal(
            "what a role may see is explained there",
            asking.query(
                f"SELECT rows, detail FROM auth.explain_access('things', '{tokens.token('u2', key=1)}') "
                "WHERE subject ~ 'SELECT'"
            ),
            [["1", "Of 9 rows."]],
        )
        checks.equal("and mistakes are found", asking.query("SELECT code FROM auth.lint() WHERE object ~ 'things'"), [])
        checks.equal(
            "keys are not written on a standby",
            standby_cluster.session(db, "owner_role").code("DELETE FROM auth.jwks"),
            "25006",
        )

        # Logging in writes nothing either.
        owner.query("UPDATE auth.issuers SET role_claim = 'role', allowed_roles = '{authenticated}'")
        catch_up()
        asking.query("BEGIN")
        login = asking.code("SELECT auth.login($1)", tokens.token("u2", key=1, role="authenticated"))
        checks.equal(
            "login", [login, asking.value("SELECT current_user"), asking.value(WHO)], [None, "authenticated", "u2"]
        )
        asking.query("ROLLBACK")
        checks.equal("ends", [asking.value("SELECT current_user"), asking.value(WHO)], ["owner_role", None])

        if int(owner.value("SHOW server_version_num")) >= 190000:
            waits_for_replay(checks, owner, standby_cluster.session(db))

        error = asking.error(f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{tokens.ISSUER}')")
        checks.equal(
            "nor by auth.init, which says where to",
            (error.code, error.hint),
            ("25006", "Run it on the primary. This standby uses the keys once it has replayed the change."),
        )

        owner.query("BEGIN; DELETE FROM auth.jwks WHERE kid IN ('k0', 'k1')")
        catch_up()
        checks.equal("not committed", readers[0].value(WHO), "u1")
        owner.query("COMMIT")
        catch_up()
        checks.equal("key withdrawn", readers[0].code("SELECT owner FROM things"), "28J03")
        checks.equal("in a transaction begun before", in_transaction.code(WHO), "28J03")
        checks.equal("another key stays", readers[2].query("SELECT owner FROM things"), [["u3"]])

        owner.query(f"SELECT auth.init('{tokens.jwks(0, 2)}', issuer => '{tokens.ISSUER}')")
        catch_up()
        checks.equal("key given back", readers[0].value(WHO), "u1")
        checks.equal("key left out by auth.init", readers[3].code(WHO), "28J03")

        owner.query(f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u3', issued_before => 'infinity')")
        catch_up()
        checks.equal("revoked", readers[2].code("SELECT owner FROM things"), "28J10")
        checks.equal("another user is not", readers[0].value(WHO), "u1")
        error = asking.error(f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1')")
        checks.equal("revoking is for the primary", (error.code, "primary" in error.hint), ("25006", True))
        owner.query(f"SELECT auth.unrevoke('{tokens.ISSUER}', sub => 'u3')")
        catch_up()
        checks.equal("revocation taken back", readers[2].query("SELECT owner FROM things"), [["u3"]])

        owner.query(
            "CREATE TABLE session (id text PRIMARY KEY); INSERT INTO session VALUES ('s1');"
            f"SELECT auth.follow_sessions('session', '{tokens.ISSUER}')"
        )
        catch_up()
        checks.equal("it names no session", readers[0].code(WHO), "28J09")
        readers[2].query(f"SELECT auth.jwt_session_init('{tokens.token('u3', key=2, sid='s1')}')")
        checks.equal("its session is there", readers[2].query("SELECT owner FROM things"), [["u3"]])
        owner.query("DELETE FROM session")
        catch_up()
        checks.equal("its session has ended", readers[2].code("SELECT owner FROM things"), "28J10")
        owner.query(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')")
        catch_up()
        checks.equal("sessions are not followed", readers[2].query("SELECT owner FROM things"), [["u3"]])

        owner.query("UPDATE auth.issuers SET enabled = false")
        catch_up()
        checks.equal("issuer disabled", readers[0].code(WHO), "28J03")
        checks.equal(
            "issuer disabled, new session",
            standby_cluster.session(db).code("SELECT auth.jwt_session_init($1)", tokens.token("u1")),
            "28J03",
        )
        owner.query("UPDATE auth.issuers SET enabled = true")
        catch_up()
        checks.equal("issuer enabled", readers[0].value(WHO), "u1")
        owner.query("TRUNCATE auth.jwks")
        catch_up()
        checks.equal("truncated", readers[0].code(WHO), "28J03")
        owner.query(f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{tokens.ISSUER}')")

        fetched_elsewhere(checks, owner, asking, standby_cluster.session(db), catch_up)
        standby_cluster.control("promote")
        checks.equal("promoted", readers[0].value(WHO), "u1")
        promoted = standby_cluster.session(db, "owner_role")
        checks.equal(
            "it fetches now, if it may",
            promoted.value(f"SELECT problem FROM auth.key_status WHERE issuer = '{FETCHED}'"),
            "hosts_empty",
        )
        promoted.query(f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1', issued_before => 'infinity')")
        checks.equal("revoked on the promoted one", readers[0].code(WHO), "28J10")
        promoted.query("TRUNCATE auth.revocations")
        checks.equal("and taken back", readers[0].value(WHO), "u1")
        promoted.query("DELETE FROM auth.jwks")
        checks.equal("withdrawn on the promoted one", readers[0].code(WHO), "28J03")
        checks.equal("followed on the promoted one", following[1].value(WHO), "u2")
        promoted.query("DELETE FROM followed_keys")
        checks.equal("deleted there", following[1].code(WHO), "28J03")
    checks.done("a standby follows its primary's keys")


main()
