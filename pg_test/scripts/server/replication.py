#!/usr/bin/env python3
"""Logical replication of the tables of issuers, keys and revocations into another database: a key that arrives is
known to the sessions there, and a deleted one or a revoked token is refused, just as if it had been written there."""

import sys
import time

from lib import ed25519, tokens
from lib.pg import Checks, Cluster

WHO = "SELECT auth.user_id()"
# An issuer whose keys the publisher fetches.
FETCHED = "https://fetched.test.example"


def wait_for_copies(subscriber):
    """Until the tables' first copy is done, changes pass by another way."""
    while subscriber.value("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel") != "t":
        time.sleep(0.05)


def fetched_by_the_publisher(checks, publisher, subscriber, arrived):
    """With auth.endpoints, a subscriber whose pg_auth_jwt.fetch_hosts is empty has no problem but old keys; without
    it, the keys have no age, so that nobody fetches keys that count there."""

    def said(session):
        rows = session.query(f"SELECT state, problem, detail, fix FROM auth.key_status WHERE issuer = '{FETCHED}'")
        return rows[0], session.query(f"SELECT code, fix FROM auth.lint() WHERE object = 'issuer {FETCHED}'")

    publisher.query(f"SELECT auth.follow_url('{FETCHED}', '{FETCHED}/jwks', '{{a}}')")
    arrived()
    checks.equal("without auth.endpoints", said(subscriber)[0][1], "hosts_empty")
    publisher.query("ALTER PUBLICATION keys ADD TABLE auth.endpoints")
    subscriber.query("ALTER SUBSCRIPTION keys REFRESH PUBLICATION")
    wait_for_copies(subscriber)

    on_publisher = f"-- on the publisher: SELECT * FROM auth.refresh('{FETCHED}');"
    (state, problem, detail, fix), found = said(subscriber)
    checks.equal("not fetched yet", [state, problem, fix], ["missing", "never_fetched", on_publisher])
    checks.true(f"says where from: {detail}", "publisher fetches" in detail and "Nothing is fetched" not in detail)
    checks.equal("not fetched yet, auth.lint", found, [["keys_not_fetched", on_publisher]])
    checks.equal("the publisher says why", said(publisher)[0][1], "hosts_empty")

    publisher.query(
        ed25519.fetched_row(FETCHED, 1) + ";"
        "UPDATE auth.endpoints SET last_success = now(), next_attempt = now() - interval '1 hour', failures = 3,"
        " last_error = 'the endpoint answered with status 500'"
    )
    arrived()
    checks.equal("they count, and all else is the publisher's", said(subscriber), (["live", None, None, None], []))
    error = subscriber.error("SELECT auth.jwt_session_init($1)", ed25519.token(2, FETCHED, aud="a"))
    checks.equal("an unknown key", error.code, "28J03")
    checks.true(f"it comes by way of the publisher: {error.hint}", "publisher" in error.hint)
    publisher.query("UPDATE auth.endpoints SET last_success = now() - interval '8 days'")
    arrived()
    (state, problem, _, fix), found = said(subscriber)
    checks.equal("too old", [state, problem, fix], ["stale", "stale", on_publisher])
    checks.equal("too old, auth.lint", found, [["keys_not_fetched", on_publisher]])

    subscriber.query("ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = 'other.test.example'")
    subscriber.query("SELECT pg_reload_conf()")
    while not subscriber.value("SHOW pg_auth_jwt.fetch_hosts"):
        time.sleep(0.05)
    checks.equal("it fetches for itself, where hosts are listed", said(subscriber)[0][1], "host_not_listed")


def main():
    checks = Checks()
    with Cluster("replication", wal_level="logical") as cluster:
        here, there = cluster.create_db("here"), cluster.create_db("there")
        owner = cluster.session(here, "owner_role")
        root_here, root_there = (cluster.session(db, "postgres") for db in (here, there))
        # In one cluster the slot has to exist first.
        # A table that is followed there as it is here.
        table = tokens.follow().replace("INSERT INTO public.followed_keys VALUES ;", "")
        for db in (here, there):
            cluster.session(db, "owner_role").query(table.partition("INSERT INTO auth.issuers")[0])
        root_here.query("CREATE PUBLICATION keys FOR TABLE auth.issuers, auth.jwks, auth.revocations, followed_keys")
        root_here.query("SELECT pg_create_logical_replication_slot('keys', 'pgoutput')")
        root_there.query(
            f"CREATE SUBSCRIPTION keys CONNECTION 'host={cluster.dir} dbname={here} user=postgres' "
            "PUBLICATION keys WITH (create_slot = false, slot_name = 'keys')"
        )

        def arrived():
            position = root_here.value("SELECT pg_current_wal_lsn()")
            for _ in range(400):
                if (
                    root_here.value(
                        f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots WHERE slot_name = 'keys'"
                    )
                    == "t"
                ):
                    return
                time.sleep(0.05)
            sys.exit("the replication does not come forward:\n" + cluster.log()[-2000:])

        reader = cluster.session(there)
        reader.query(f"SET pg_auth_jwt.token = '{tokens.token('u1')}'")
        checks.equal("no issuer yet", reader.code(WHO), "28J13")
        wait_for_copies(root_there)
        owner.query(tokens.setup(0))
        arrived()
        checks.equal("key arrived", reader.value(WHO), "u1")
        owner.query("BEGIN; DELETE FROM auth.jwks; SELECT auth.jwt_session_init(NULL)")
        checks.equal("not committed", reader.value(WHO), "u1")
        owner.query("COMMIT")
        arrived()
        checks.equal("key deleted", reader.code(WHO), "28J03")
        owner.query(f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{tokens.ISSUER}')")
        arrived()
        checks.equal("key given back", reader.value(WHO), "u1")
        owner.query(f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1', issued_before => 'infinity')")
        arrived()
        checks.equal("revoked", reader.code(WHO), "28J10")
        owner.query("UPDATE auth.revocations SET value = 'u2'")
        arrived()
        checks.equal("another user is revoked", reader.value(WHO), "u1")
        owner.query("UPDATE auth.revocations SET value = 'u1'")
        arrived()
        checks.equal("revoked again", reader.code(WHO), "28J10")
        owner.query(f"SELECT auth.unrevoke('{tokens.ISSUER}', sub => 'u1')")
        arrived()
        checks.equal("revocation taken back", reader.value(WHO), "u1")
        owner.query("UPDATE auth.issuers SET enabled = false")
        arrived()
        checks.equal("issuer disabled", reader.code(WHO), "28J03")
        owner.query("UPDATE auth.issuers SET enabled = true")
        arrived()
        checks.equal("issuer enabled", reader.value(WHO), "u1")
        owner.query("UPDATE auth.jwks SET expires_at = now()")
        arrived()
        checks.equal("key expired", reader.code(WHO), "28J03")
        # The issuer's row comes with what it follows; the triggers are made on each side.
        owner.query("INSERT INTO auth.issuers" + table.partition("INSERT INTO auth.issuers")[2])
        arrived()
        following = cluster.session(there)
        following.query(f"SET pg_auth_jwt.token = '{tokens.followed_token('u1')}'")
        checks.equal("no followed key yet", following.code(WHO), "28J03")
        for state in ("polled", "live"):
            owner.query(f"INSERT INTO followed_keys VALUES ('k0', '{tokens.public_part(0)}', '')")
            arrived()
            checks.equal(f"{state}: a followed key arrived", following.value(WHO), "u1")
            checks.equal(
                "state",
                root_there.value(f"SELECT state FROM auth.key_status WHERE issuer = '{tokens.FOLLOWED}'"),
                state,
            )
            owner.query("DELETE FROM followed_keys")
            arrived()
            if state == "polled":
                time.sleep(1.05)
            checks.equal(f"{state}: a followed key deleted", following.code(WHO), "28J03")
            follow = f"SELECT auth.follow('followed_keys', '{tokens.FOLLOWED}')"
            checks.equal("followed there", cluster.session(there, "owner_role").code(follow), None)
        owner.query("UPDATE auth.jwks SET expires_at = NULL; TRUNCATE auth.jwks")
        arrived()
        checks.equal("truncated", reader.code(WHO), "28J03")
        fetched_by_the_publisher(checks, root_here, root_there, arrived)
    checks.done("replicated keys count from their arrival")


main()
