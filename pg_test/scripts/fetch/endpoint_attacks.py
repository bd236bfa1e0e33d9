#!/usr/bin/env python3
"""Attacks of endpoints, users and the owner's own statements on fetched keys, which must not work again:
keys that came back, keys that counted too long, and answers that were never stored although nothing
said so."""

import json
import re

from lib import ed25519
from lib.endpoint import Answer, http_date, keys
from lib.following import WHO, Issuer, fetching, until
from lib.pg import Checks

ATTEMPT = "outcome, failures, extract(epoch FROM next_attempt - last_attempt) BETWEEN 8 AND 20"


def jwks_of(*members):
    return Answer(json.dumps({"keys": list(members)}))


def ended_by_hand(checks, cluster, db, endpoint):
    """A key's end that was set by hand outlives the key's absence from the endpoint."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "ended", keys(1, 2))
    issuer.outcome()
    owner.query("UPDATE auth.jwks SET expires_at = now() - interval '1 hour' WHERE kid = 'e1'")
    checks.equal("ended by hand", issuer.sign_in(session, 1), "28J03")
    issuer.list(2)
    checks.equal("then the endpoint withdraws it", [issuer.outcome(), issuer.kids()], ["changed", ["e2"]])
    issuer.list(1, 2)
    issuer.outcome()
    checks.equal(
        "and lists it again",
        [issuer.kids(), issuer.sign_in(session, 1), issuer.sign_in(session, 2)],
        [["e2"], "28J03", None],
    )
    # A key without an end comes and goes as the endpoint says, and one with an end keeps it where
    # only its other members change.
    issuer.list(2, 3)
    issuer.outcome()
    issuer.list(2)
    issuer.outcome()
    issuer.list(2, 3)
    checks.equal("one that was not ended", [issuer.outcome(), issuer.sign_in(session, 3)], ["changed", None])
    owner.query("UPDATE auth.jwks SET expires_at = now() WHERE kid = 'e3'")
    issuer.script(jwks_of(ed25519.key(2).jwk(), ed25519.key(3).jwk(kid="other")))
    checks.equal(
        "another kid",
        [issuer.outcome(), issuer.kids(), issuer.sign_in(session, 3, header={"kid": "other"})],
        ["changed", ["e2", "other"], "28J03"],
    )
    checks.equal("is no withdrawal", owner.value("SELECT count(*) FROM auth.withdrawn_keys"), "1")


def refused_by_the_tables(checks, cluster, db, endpoint):
    """Whatever error storing an answer raises is the fetch's outcome, and the next one waits."""
    owner, session, root = cluster.session(db, "owner_role"), cluster.session(db), cluster.session(db, "postgres")
    issuer = Issuer(owner, endpoint, "refused", keys(1))
    issuer.outcome()
    root.query(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'so nicht: %', repeat('ä', 5000) USING ERRCODE = '23514'; END $$"
    )
    # The process works in a restricted operation, which no deferred trigger may use.
    for moment, create, why in (
        ("at once", "TRIGGER fail AFTER INSERT ON auth.jwks", "SQLSTATE 23514: so nicht"),
        (
            "at the commit",
            "CONSTRAINT TRIGGER fail AFTER INSERT ON auth.jwks DEFERRABLE INITIALLY DEFERRED",
            "SQLSTATE 42501: cannot fire deferred trigger",
        ),
    ):
        root.query(f"CREATE {create} FOR EACH ROW EXECUTE FUNCTION public.fail()")
        issuer.list(2)
        outcome, detail = issuer.refresh()
        checks.equal(f"{moment}: the outcome", outcome, "failed")
        checks.true(
            f"{moment}: says what failed: {detail}", detail and "could not be stored" in detail and why in detail
        )
        checks.true(f"{moment}: in bounds", detail and len(detail.removesuffix("...")) <= 1000)
        checks.equal(f"{moment}: and backs off", issuer.state(ATTEMPT), ["failed", "1", "t"])
        checks.equal(
            f"{moment}: all is as it was",
            [issuer.kids(), issuer.sign_in(session, 1), issuer.sign_in(session, 2)],
            [["e1"], None, "28J03"],
        )
        checks.true(f"{moment}: the status says so", why in (issuer.status("detail") or ""))
        checks.true(f"{moment}: the log, too", why in cluster.log())
        root.query("DROP TRIGGER fail ON auth.jwks")
        issuer.list(1)
        checks.equal(
            f"{moment}: until it succeeds",
            [issuer.outcome(), issuer.state("failures, last_error")],
            ["unchanged", ["0", None]],
        )


def locked_tables(checks, cluster, db, endpoint):
    """Another transaction that has not ended keeps the answer from being stored."""
    owner, writer, session = cluster.session(db, "owner_role"), cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "locked", keys(1))
    issuer.outcome()
    writer.query(f"BEGIN; UPDATE auth.jwks SET alg = alg WHERE issuer = '{issuer.name}'")
    issuer.list(2)
    outcome, detail = issuer.refresh()
    checks.equal("the outcome", outcome, "failed")
    checks.true(f"names the reason: {detail}", "another transaction" in (detail or ""))
    checks.equal("and backs off", issuer.state(ATTEMPT), ["failed", "1", "t"])
    writer.query("ROLLBACK")
    checks.equal(
        "later it succeeds", [issuer.outcome(), issuer.kids(), issuer.sign_in(session, 2)], ["changed", ["e2"], None]
    )


def long_leases(checks, cluster, db, endpoint):
    """Ends of trust that no timestamptz can hold."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "ends", keys(1))
    issuer.outcome()
    for number, length in enumerate(("200 years", "1000000 years", "178000000 years"), 2):
        owner.query(f"UPDATE auth.issuers SET max_stale = '{length}'")
        issuer.list(number)
        checks.equal(
            f"{length}: a rotation",
            [issuer.outcome(), issuer.status(), issuer.sign_in(session, number)],
            ["changed", "live", None],
        )
        issuer.script(Answer("", 500))
        checks.equal(f"{length}: a failure", [issuer.outcome(), issuer.state("failures")], ["failed", "1"])
    owner.query("UPDATE auth.issuers SET max_stale = '7 days'")
    columns = ("last_success", "last_attempt", "next_attempt", "unknown_key_after", "answer_date", "last_modified")
    values = ("infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00")
    for number, value in enumerate(values, 11):
        issuer.list(number)
        issuer.change(", ".join(f"{column} = '{value}'" for column in columns))
        checks.equal(f"all are {value}", [issuer.outcome(), issuer.sign_in(session, number)], ["changed", None])


def odd_keys(checks, cluster, db, endpoint):
    """A key that cannot be stored does not keep the others from being stored."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "odd", keys(1))
    issuer.outcome()
    # Not compressible: an entry of the index is compressed before its length is checked.
    long = "".join(ed25519.key(number).jwk()["x"] for number in range(20, 90))
    issuer.script(jwks_of(ed25519.key(2).jwk(), ed25519.key(3).jwk(kid=long)))
    outcome, detail = issuer.refresh()
    checks.equal(
        "a key id of 3,000 bytes", [outcome, issuer.kids(), issuer.sign_in(session, 2)], ["changed", ["e2"], None]
    )
    checks.true(f"is named: {detail}", "longer than 1024 bytes" in (detail or "") and len(detail) < 400)
    issuer.script(jwks_of(ed25519.key(4).jwk(), ed25519.key(5).jwk(kid=long[:1024])))
    checks.equal("one of 1,024", [issuer.outcome(), len(issuer.kids())], ["changed", 2])


def other_encodings(checks, cluster, db, endpoint):
    """Foreign text in a database whose encoding lacks its characters."""
    latin = f"{db}_latin1"
    cluster.client(
        "createdb", "-T", "template0", "-E", "LATIN1", "--lc-collate=C", "--lc-ctype=C", "-O", "owner_role", latin
    )
    owner, session = cluster.session(latin, "owner_role"), None
    owner.query("CREATE EXTENSION pg_auth_jwt")
    with cluster.session(latin, "postgres") as root:
        root.query("GRANT USAGE ON SCHEMA auth TO authenticated")
    issuer = Issuer(owner, endpoint, "latin", keys(1))
    issuer.outcome()
    session = cluster.session(latin)
    issuer.script(jwks_of(ed25519.key(2).jwk(), {"kty": "OKP", "crv": "X", "kid": "日本", "x": "AA"}))
    outcome, detail = issuer.refresh()
    checks.equal(
        "a key that is skipped", [outcome, issuer.kids(), issuer.sign_in(session, 2)], ["changed", ["e2"], None]
    )
    checks.true(f"its name: {detail}", "??" in (detail or ""))
    issuer.script(jwks_of(ed25519.key(3).jwk(), ed25519.key(4).jwk(kid="日本")))
    checks.equal("one whose name cannot be stored", [issuer.outcome(), issuer.kids()], ["changed", ["e3"]])
    other = Issuer(owner, endpoint, "latin2", follow=False)
    document = f"{other.path}/.well-known/openid-configuration"
    endpoint.script(document, Answer(json.dumps({"issuer": "https://日本.example", "jwks_uri": other.url})))
    other.follow(endpoint.url + document)
    outcome, detail = other.refresh()
    checks.equal("an error with foreign text", [outcome, other.state("failures")], ["failed", "1"])
    checks.true(f"its text: {detail}", "discovery" in (detail or ""))


def moved_keys(checks, cluster, db, endpoint):
    """A discovery document that names another URL, where the same ETag stands for other keys."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    document = "/.well-known/openid-configuration"
    name = endpoint.url

    def name_uri(path):
        endpoint.script(document, Answer(json.dumps({"issuer": name, "jwks_uri": endpoint.url + path})))

    def outcome():
        return owner.value(f"SELECT outcome FROM auth.refresh('{name}')")

    def sign_in(number):
        return session.code("SELECT auth.jwt_session_init($1)", ed25519.token(number, name, aud="app"))

    for path, number in (("/v1", 1), ("/v2", 2)):
        endpoint.script(path, Answer(ed25519.jwks(number), headers={"ETag": '"1"'}))
    name_uri("/v1")
    owner.query(f"SELECT auth.follow_url('{name}', NULL, '{{app}}')")
    checks.equal("the first URL", [outcome(), outcome(), sign_in(1)], ["changed", "unchanged", None])
    name_uri("/v2")
    checks.equal("the second one", [outcome(), sign_in(1), sign_in(2)], ["changed", "28J03", None])
    # An endpoint that says so unasked.
    endpoint.script("/v3", Answer("", 304))
    name_uri("/v3")
    checks.equal(
        "one without keys",
        [outcome(), owner.value("SELECT jwks_uri FROM auth.endpoints")],
        ["failed", endpoint.url + "/v3"],
    )
    checks.equal("its keys are those of before", sign_in(2), None)


def clock_set_back(checks, cluster, db, endpoint):
    """Times that were noted while the clock was ahead."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "clock", keys(1))
    issuer.outcome()
    issuer.script(Answer("", 500))
    ahead = "now() + interval '1 year'"
    issuer.change(f"last_success = {ahead}, last_attempt = {ahead}, next_attempt = {ahead}, answer_date = {ahead}")
    issuer.outcome()
    checks.equal(
        "the keys count no longer than from now",
        issuer.state("last_success BETWEEN now() - interval '1 min' AND now()"),
        "t",
    )
    checks.true("for seven days", issuer.status("valid_until < now() + interval '8 days'") == "t")
    # The Date of an answer has whole seconds; the fetch began later in the same second.
    issuer.script(lambda _: keys(2, headers={"Date": http_date()}))
    issuer.change("last_success = now() - interval '1 min', answer_date = now() + interval '1 day'")
    checks.equal("a rotation", [issuer.outcome(), issuer.sign_in(session, 2)], ["changed", None])


def asked_to_wait(checks, cluster, db, endpoint):
    """Retry-After holds for fetches that tokens with unknown keys cause."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "retry", keys(1))
    issuer.outcome()
    issuer.script(Answer("", 429, {"Retry-After": "3600"}))
    issuer.change("unknown_key_after = NULL")
    checks.equal("refused", issuer.outcome(), "failed")
    requests = issuer.seen()
    checks.equal("an unknown key", issuer.sign_in(session, 9), "28J03")
    until(lambda: not cluster.workers(), "no fetch runs")
    checks.equal("asks nothing", issuer.seen(), requests)
    issuer.list(1)
    checks.equal(
        "the endpoint answers again",
        [issuer.outcome(), issuer.state("unknown_key_after <= last_attempt + interval '30 s'")],
        ["unchanged", "t"],
    )


def edited_state(checks, cluster, db, endpoint):
    """The owner's writes into auth.endpoints count in sessions that know the keys already."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "edited", keys(1))
    for change in (
        "UPDATE auth.endpoints SET last_success = NULL",
        "UPDATE auth.endpoints SET last_success = '-infinity'",
        "UPDATE auth.endpoints SET last_success = now() - interval '30 days'",
        "DELETE FROM auth.endpoints",
        "TRUNCATE auth.endpoints",
    ):
        issuer.list(1)
        issuer.outcome()
        until(lambda: issuer.sign_in(session, 1) is None, "the keys count")
        issuer.script(Answer("", 500))
        checks.equal(f"{change}: before", session.value(WHO), "u1")
        owner.query(change)
        checks.equal(f"{change}: after", session.code(WHO), "28J03")


def deleted_meanwhile(checks, cluster, db, endpoint):
    """An issuer that is deleted while a process claims its fetch."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    for state in ("a row of auth.endpoints", "none"):
        issuer = Issuer(owner, endpoint, "deleted", keys(1))
        issuer.outcome()
        if state == "none":
            owner.query("DELETE FROM auth.endpoints")
        else:
            issuer.change("unknown_key_after = NULL")
        session.query("SET pg_auth_jwt.fetch_wait = 0")
        owner.query(f"BEGIN; DELETE FROM auth.issuers WHERE issuer = '{issuer.name}'")
        issuer.sign_in(session, 9)
        with cluster.session(db, "postgres") as root:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE backend_type LIKE 'pg_auth_jwt fetch%' AND wait_event_type = 'Lock'"
            )
            until(lambda: root.value(waiting) == "1", "the process waits")
        owner.query("COMMIT")
        until(lambda: not cluster.workers(), "the process ends")
        checks.equal(f"{state}: nothing is left", owner.value("SELECT count(*) FROM auth.endpoints"), "0")
        checks.equal(f"{state}: no error", re.findall("violates foreign key.*", cluster.log()), [])


checks = Checks()
with fetching(checks, "endpoint_attacks") as (cluster, endpoint):
    parts = (
        ended_by_hand,
        refused_by_the_tables,
        locked_tables,
        long_leases,
        odd_keys,
        other_encodings,
        moved_keys,
        clock_set_back,
        asked_to_wait,
        edited_state,
        deleted_meanwhile,
    )
    checks.run(parts, checks, cluster, cluster.create_db, endpoint)
    checks.equal("no process failed", re.findall("pg_auth_jwt fetch.*exited with exit code.*", cluster.log()), [])
checks.done("keys neither come back, nor count too long, nor fail to arrive in silence")
