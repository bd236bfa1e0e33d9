#!/usr/bin/env python3
"""The launcher starts few processes, whatever is due: an issuer for which no fetch can be claimed
is tried rarely, and does not keep the others of its database waiting."""

import time

from lib.endpoint import keys
from lib.following import Issuer, fetching, until
from lib.pg import Checks

# The launcher's line for each process that it starts.
START = ' registering background worker "pg_auth_jwt fetch"'
# A round starts one for each of these.
DATABASES = "SELECT count(*) FROM pg_database WHERE datallowconn AND NOT datistemplate"
# How often the good issuer is made due.
ROUNDS = 4


def starts(cluster):
    return cluster.log().count(START)


def begin_round(cluster):
    """A change by hand is seen at the next round, which a reload of the settings begins."""
    with cluster.session("postgres", "postgres") as root:
        root.query("SELECT pg_reload_conf()")


def fetched_beside(checks, what, cluster, good):
    """The launcher alone fetches the good issuer, each time that it is due, by few processes."""
    until(lambda: not cluster.workers(), "no process fetches")
    started, first = time.monotonic(), starts(cluster)
    for n in range(ROUNDS):
        before = good.seen()
        good.change("next_attempt = now() - interval '1 s'")
        begin_round(cluster)
        checks.true(f"{what}: fetch {n + 1} of the good issuer", good.endpoint.wait(good.path, before + 1))
        until(lambda: not cluster.workers(), "the fetch has ended")
    count, took = starts(cluster) - first, time.monotonic() - started
    # Some more where the other issuer is tried by itself: after 9 s at the soonest.
    most = int(good.owner.value(DATABASES)) * ROUNDS + 1 + int(took / 9)
    checks.true(f"{what}: {count} processes of {most} at most", ROUNDS <= count <= most)


def cannot_be_claimed(checks, cluster, db, owner, good):
    """A trigger of the owner's keeps the claim from being written."""
    root = cluster.session(db, "postgres")
    root.query(
        "CREATE FUNCTION public.not_that() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.issuer LIKE ''https://stuck%'' THEN RETURN NULL; END IF; RETURN NEW; END'"
    )
    stuck = Issuer(owner, good.endpoint, "stuck", keys(1))
    for event in ("UPDATE", "INSERT OR UPDATE"):
        if event != "UPDATE":
            root.query("DELETE FROM auth.endpoints WHERE issuer LIKE 'https://stuck%'")
        root.query(
            f"CREATE OR REPLACE TRIGGER not_that BEFORE {event} ON auth.endpoints "
            "FOR EACH ROW EXECUTE FUNCTION public.not_that()"
        )
        before = stuck.seen()
        fetched_beside(checks, f"no {event}", cluster, good)
        checks.equal(f"no {event}: requests without a claim", stuck.seen(), before)
    root.query("DROP FUNCTION public.not_that() CASCADE")
    begin_round(cluster)
    checks.true("when it can be claimed", good.endpoint.wait(stuck.path, before + 1))
    owner.query(f"SELECT auth.unfollow('{stuck.name}')")


def is_no_endpoint(checks, cluster, db, owner, good):
    """Sources that auth.follow_url does not write: refused; where the constraint is gone, not
    fetched from."""
    sources = (
        '{"kind": "url", "url": "https://x.example/jwks", "comment": "staging"}',
        '{"kind": "url", "url": 5}',
        '{"kind": "url", "url": null}',
        '{"kind": "discovery"}',
        '{"kind": "discovery", "url": ["https://x.example/"]}',
        '{"url": "https://x.example/"}',
        "[]",
        '"url"',
        '["url"]',
    )

    def codes():
        return {
            owner.code(
                "INSERT INTO auth.issuers (issuer, audience, source) VALUES ($1, '{app}', $2::jsonb)",
                f"https://bad{n}.example",
                source,
            )
            for n, source in enumerate(sources)
        }

    checks.equal("refused", codes(), {"23514"})
    cluster.session(db, "postgres").query("ALTER TABLE auth.issuers DROP CONSTRAINT source_known")
    checks.equal("stored", codes(), {None})
    fetched_beside(checks, "no endpoint", cluster, good)
    checks.equal(
        "nothing was begun for them",
        owner.value("SELECT count(*) FROM auth.endpoints WHERE issuer LIKE 'https://bad%'"),
        "0",
    )
    owner.query("DELETE FROM auth.issuers WHERE issuer LIKE 'https://bad%'")


checks = Checks()
settings = {"shared_preload_libraries": "pg_auth_jwt", "log_min_messages": "debug1"}
with fetching(checks, "endpoint_launcher", **settings) as (cluster, endpoint):
    db = cluster.create_db("test")
    owner = cluster.session(db, "owner_role")
    good = Issuer(owner, endpoint, "good", keys(1))
    checks.true("the first fetch, by the launcher", endpoint.wait(good.path))
    checks.run((is_no_endpoint, cannot_be_claimed), checks, cluster, db, owner, good)
checks.done("what is due and cannot be fetched keeps nothing waiting")
