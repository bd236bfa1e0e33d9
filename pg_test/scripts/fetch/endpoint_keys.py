#!/usr/bin/env python3
"""Keys of a followed endpoint that count, and how long: without an answer, after an older answer,
after a withdrawal by hand, beside an issuer's other sources."""

import json

from lib import ed25519, tokens
from lib.endpoint import Answer, http_date, keys
from lib.following import WHO, Issuer, fetching, until
from lib.pg import Checks, PgError


def jwks_of(*members):
    return json.dumps({"keys": list(members)})


def older_answers(checks, cluster, db, endpoint):
    """Two edges of a network: one has not heard of the change."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    for header in ("Date", "Last-Modified"):
        issuer = Issuer(owner, endpoint, f"older_{header.lower()}", keys(2, 3, headers={header: http_date(-100)}))
        issuer.outcome()
        checks.equal(f"{header}: before", [issuer.sign_in(session, 2), issuer.sign_in(session, 3)], [None, None])
        issuer.script(keys(1, 2, headers={header: http_date(-4000)}))
        checks.equal(f"{header}: an older answer", [issuer.outcome(), issuer.kids()], ["outdated", ["e2", "e3"]])
        checks.equal(f"{header}: is no failure", issuer.state("failures"), "0")
        issuer.script(keys(2, 4, headers={header: http_date(-50)}))
        checks.equal(f"{header}: a newer one", [issuer.outcome(), issuer.kids()], ["changed", ["e2", "e4"]])
        issuer.script(keys(5, headers={header: http_date(-4000)}))
        checks.equal(f"{header}: older again", issuer.outcome(), "outdated")
        issuer.change("last_success = now() - interval '2 hours'")
        checks.equal(
            f"{header}: after an hour without a newer one", [issuer.outcome(), issuer.kids()], ["changed", ["e5"]]
        )
        # The last date that the header can have.
        issuer.script(keys(6, headers={header: "Fri, 31 Dec 9999 23:59:59 GMT"}))
        issuer.outcome()
        issuer.script(keys(7, headers={header: http_date()}))
        checks.equal(
            f"{header}: what follows a date in the future", [issuer.outcome(), issuer.kids()], ["changed", ["e7"]]
        )


def ends_of_trust(checks, cluster, db, endpoint):
    """How long keys count without an answer."""
    owner, session, cached = cluster.session(db, "owner_role"), cluster.session(db), cluster.session(db)
    issuer = Issuer(owner, endpoint, "ends", keys(1))
    issuer.outcome()
    checks.equal(
        "seven days", owner.value(f"SELECT max_stale FROM auth.issuers WHERE issuer = '{issuer.name}'"), "7 days"
    )
    checks.equal("before", [issuer.sign_in(cached, 1), cached.value(WHO)], [None, "u1"])
    issuer.script(Answer("", 500)).outcome()
    rules = f"UPDATE auth.issuers SET max_stale = %s WHERE issuer = '{issuer.name}'"
    for age, accepted in (("6 days 23 hours", None), ("7 days 1 s", "28J03"), ("700 years", "28J03")):
        issuer.change(f"last_success = now() - interval '{age}'")
        with cluster.session(db) as new:
            checks.equal(f"no answer for {age}", issuer.sign_in(new, 1), accepted)
    # auth.endpoints announces nothing: a session learns of the end by its clock, or another change.
    owner.query(rules % "'7 days'")
    checks.equal("in a session that had used it", cached.code(WHO), "28J03")
    with cluster.session(db) as new:
        error = issuer.error(new, 1)
        checks.true(f"says so: {error.fields.get('D')}", "max_stale" in error.fields.get("D", ""))
    checks.equal("status", issuer.status(), "stale")
    owner.query(rules % "NULL")
    checks.equal("for ever", [cached.value(WHO), issuer.status()], ["u1", "live"])
    owner.query(rules % "'7 days'")
    checks.equal("no more", cached.code(WHO), "28J03")
    issuer.list(1)
    checks.equal(
        "an answer", [issuer.outcome(), issuer.status(), issuer.sign_in(session, 1)], ["unchanged", "live", None]
    )
    until(lambda: cached.code(WHO) is None, "the session that had used it accepts it again")
    # By the clock alone, in the middle of a session.
    issuer.script(Answer("", 500))
    owner.query(rules % "'2 s'")
    issuer.change("last_success = clock_timestamp(), next_attempt = now() + interval '10 min'")
    owner.query(rules % "'2.0 s'")
    checks.equal("two seconds: at first", cached.code(WHO), None)
    checks.equal("two seconds: and then", until(lambda: cached.code(WHO), "the keys run out"), "28J03")
    checks.equal("nothing at all", [owner.code(rules % "'0 s'"), cached.code(WHO)], [None, "28J03"])
    checks.equal("less than nothing", owner.code(rules % "'-1 s'"), "23514")
    owner.query(rules % "'7 days'")
    # A time that the owner writes there counts for no more than a success would.
    for change in (
        "last_success = 'infinity'",
        "last_success = '-infinity'",
        "last_success = NULL",
        "url = 'https://other.test.example/'",
        "failures = -5",
        "failures = 2147483647",
        "etag = repeat('x', 100000)",
        "jwks_uri = 'x'",
    ):
        owner.code(f"UPDATE auth.endpoints SET {change} WHERE issuer = '{issuer.name}'")
        with cluster.session(db) as new:
            # Success in the future counts as one now; without a success the keys have run out, and stay so below.
            wanted = None if change == "last_success = 'infinity'" else "28J03"
            checks.equal(f"{change}: no crash", issuer.sign_in(new, 1), wanted)
    issuer.list(1)
    checks.equal("and a fetch corrects all that", issuer.outcome(), "unchanged")
    checks.equal("so it counts", issuer.sign_in(session, 1), None)
    owner.query(f"DELETE FROM auth.endpoints WHERE issuer = '{issuer.name}'")
    issuer.script(Answer("", 500))
    with cluster.session(db) as new:
        checks.equal("no state, no keys", issuer.sign_in(new, 1), "28J03")
    checks.equal(
        "which a fetch corrects, too",
        [issuer.list(1).outcome(), issuer.sign_in(session, 1)],
        ["unchanged", None],
    )


def withdrawn_keys(checks, cluster, db, endpoint):
    """A key that was withdrawn by hand stays so, although the endpoint still lists it."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "withdrawn", keys(1, 2))
    issuer.outcome()
    checks.equal("before", [issuer.sign_in(session, 1), session.value(WHO)], [None, "u1"])
    owner.query(f"DELETE FROM auth.jwks WHERE issuer = '{issuer.name}' AND kid = 'e1'")
    checks.equal("withdrawn", session.code(WHO), "28J03")
    issuer.list(2, 1)
    checks.equal(
        "not fetched again", [issuer.outcome() != "failed", issuer.kids(), session.code(WHO)], [True, ["e2"], "28J03"]
    )
    checks.true("which is said", "withdrawn_keys" in (issuer.status("detail") or ""))
    # The same key by another name is the same key.
    issuer.script(Answer(jwks_of(ed25519.key(1).jwk(kid="other"), ed25519.key(2).jwk())))
    issuer.outcome()
    checks.equal("nor by another kid", issuer.kids(), ["e2"])
    # Nor any of the names that it has, where one is deleted; until then it counts under each.
    named = [ed25519.key(3).jwk(kid=kid) for kid in ("", "e3", "alias")]
    issuer.script(Answer(jwks_of(*named, ed25519.key(2).jwk())))
    checks.equal("each name is stored", [issuer.outcome(), issuer.kids()], ["changed", ["", "alias", "e2", "e3"]])
    named_user = cluster.session(db)
    checks.equal("and counts", issuer.sign_in(named_user, 3), None)
    checks.equal("an unchanged set", issuer.outcome(), "unchanged")
    thumbprint = owner.value(
        f"DELETE FROM auth.jwks WHERE issuer = '{issuer.name}' AND kid = 'alias' RETURNING thumbprint"
    )
    checks.equal("all names go with one", [issuer.kids(), named_user.code(WHO)], [["e2"], "28J03"])
    checks.equal("and stay away", [issuer.outcome() != "failed", issuer.kids()], [True, ["e2"]])
    owner.query(f"DELETE FROM auth.withdrawn_keys WHERE issuer = '{issuer.name}' AND thumbprint = '{thumbprint}'")
    checks.equal(
        "until that is taken back, for all", [issuer.outcome(), issuer.kids()], ["changed", ["", "alias", "e2", "e3"]]
    )
    owner.query(
        "INSERT INTO auth.withdrawn_keys (issuer, thumbprint) SELECT issuer, thumbprint "
        f"FROM auth.jwks WHERE kid = 'e3' AND issuer = '{issuer.name}'"
    )
    checks.equal("a note deletes all names too", issuer.kids(), ["e2"])
    issuer.list(2)
    issuer.outcome()
    issuer.list(2, 1)
    issuer.outcome()
    checks.equal("nor after the endpoint had withdrawn it", issuer.kids(), ["e2"])
    issuer.follow(issuer.url + "?again")
    endpoint.script(issuer.path + "?again", keys(1, 2))
    issuer.outcome()
    checks.equal("nor from another URL", issuer.kids(), ["e2"])
    issuer.follow()
    owner.query(f"DELETE FROM auth.withdrawn_keys WHERE issuer = '{issuer.name}'")
    checks.equal(
        "until that is taken back",
        [issuer.outcome(), issuer.kids(), session.value(WHO)],
        ["changed", ["e1", "e2"], "u1"],
    )
    # An end that was set by hand stays, and is kept when the endpoint's answer changes.
    owner.query(f"UPDATE auth.jwks SET expires_at = now() WHERE issuer = '{issuer.name}' AND kid = 'e1'")
    checks.equal("expired by hand", session.code(WHO), "28J03")
    issuer.list(1, 2, 3)
    checks.equal("and that stays", [issuer.outcome(), session.code(WHO)], ["changed", "28J03"])
    other = Issuer(owner, endpoint, "withdrawn_not", keys(1))
    other.outcome()
    owner.query("TRUNCATE auth.jwks")
    checks.equal(
        "all at once",
        [
            issuer.outcome(),
            issuer.kids(),
            other.outcome(),
            other.kids(),
        ],
        ["unchanged", [], "unchanged", []],
    )
    checks.true("of the two issuers", int(owner.value("SELECT count(DISTINCT issuer) FROM auth.withdrawn_keys")) == 2)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")
    checks.equal(
        "which unfollow forgets",
        owner.value(f"SELECT count(*) FROM auth.withdrawn_keys WHERE issuer = '{issuer.name}'"),
        "0",
    )
    issuer.follow()
    checks.equal("so that it can be followed again", [issuer.outcome(), issuer.kids()], ["changed", ["e1", "e2", "e3"]])
    owner.query("BEGIN; TRUNCATE auth.issuers CASCADE; ROLLBACK")
    owner.query(f"BEGIN; DELETE FROM auth.jwks WHERE issuer = '{issuer.name}'; ROLLBACK")
    checks.equal(
        "a withdrawal that was rolled back", [issuer.outcome(), issuer.kids()], ["unchanged", ["e1", "e2", "e3"]]
    )
    owner.query(f"UPDATE auth.issuers SET issuer = '{issuer.name}/new' WHERE issuer = '{issuer.name}'")
    checks.equal(
        "a renamed issuer keeps its keys",
        owner.value(f"SELECT count(*) FROM auth.jwks WHERE issuer = '{issuer.name}/new'"),
        "3",
    )
    owner.query(f"UPDATE auth.issuers SET issuer = '{issuer.name}' WHERE issuer = '{issuer.name}/new'")
    checks.equal("and is fetched on", [issuer.outcome() != "failed", issuer.kids()], [True, ["e1", "e2", "e3"]])


def written_by_hand(checks, cluster, db, endpoint):
    """A key that is written by hand for an issuer that is fetched would be deleted by the next
    answer."""
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    issuer = Issuer(owner, endpoint, "by_hand", keys(1, 2))
    issuer.outcome()
    owner.query(
        "INSERT INTO auth.issuers (issuer) VALUES ('https://loaded.example'); "
        f"SELECT auth.init('{ed25519.jwks(7)}', 'https://loaded.example')"
    )
    mine, loaded = f"issuer = '{issuer.name}'", "issuer = 'https://loaded.example'"
    new = ed25519.key(8).jwk()
    jwk = f"'{json.dumps(new)}'"
    writes = {
        "INSERT": f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{issuer.name}', {jwk})",
        "INSERT with a thumbprint that is not the key's": (
            f"INSERT INTO auth.jwks (issuer, jwk, thumbprint) VALUES ('{issuer.name}', {jwk}, 'x')"
        ),
        "INSERT of a published key": (
            f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{issuer.name}', '{json.dumps(ed25519.key(1).jwk())}')"
        ),
        "INSERT ... ON CONFLICT": (
            f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{issuer.name}', {jwk}) ON CONFLICT DO NOTHING"
        ),
        "UPDATE of the key": f"UPDATE auth.jwks SET kid = NULL, jwk = {jwk} WHERE {mine} AND kid = 'e1'",
        "UPDATE of the issuer": f"UPDATE auth.jwks SET {mine} WHERE {loaded}",
        "auth.init": f"SELECT auth.init('{ed25519.jwks(8)}', '{issuer.name}')",
        "a secret": f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{issuer.name}', '{json.dumps(tokens.jwk(0))}')",
    }
    for what, write in writes.items():
        for state in ("enabled", "not enabled"):
            owner.query(f"UPDATE auth.issuers SET enabled = {state == 'enabled'}")
            error = owner.error(write)
            checks.true(f"{what} is refused", error)
            if error:
                checks.equal(
                    f"{what}, {state}",
                    [error.code, "fetched from a URL" in error.message, "auth.unfollow" in error.hint],
                    ["55000", True, True],
                )
    owner.query("UPDATE auth.issuers SET enabled = true")
    try:
        owner.copy("COPY auth.jwks (issuer, jwk) FROM stdin", [f"{issuer.name}\t{json.dumps(new)}"])
        checks.true("COPY is refused", False)
    except PgError as error:
        checks.equal("COPY", error.code, "55000")
    checks.equal("nothing was stored", issuer.kids(), ["e1", "e2"])
    # Not another key: a name and an algorithm for one that has none, and an end.
    owner.query(f"UPDATE auth.jwks SET alg = 'EdDSA', expires_at = '2100-01-01' WHERE {mine} AND kid = 'e1'")
    checks.equal(
        "stay",
        [
            issuer.outcome(),
            owner.value(f"SELECT alg || ' ' || expires_at::date FROM auth.jwks WHERE {mine} AND kid = 'e1'"),
        ],
        ["unchanged", "EdDSA 2100-01-01"],
    )
    # Rows that were stored before come back: a saved table, and a replica.
    owner.query(
        f"CREATE TEMP TABLE saved AS SELECT * FROM auth.jwks WHERE {mine}; BEGIN; DELETE FROM auth.jwks WHERE {mine};"
        "INSERT INTO auth.jwks TABLE saved; COMMIT"
    )
    checks.equal("saved rows", issuer.kids(), ["e1", "e2"])
    root.query(
        f"SET session_replication_role = replica; {writes['INSERT']}; UPDATE auth.jwks SET jwk = jwk WHERE {mine}"
    )
    checks.equal("replicated rows", issuer.kids(), ["e1", "e2", "e8"])
    owner.query("DELETE FROM auth.withdrawn_keys")
    issuer.list(1, 2)
    checks.equal("which are the publisher's to delete", [issuer.outcome(), issuer.kids()], ["changed", ["e1", "e2"]])
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")
    checks.equal("after auth.unfollow", owner.code(writes["INSERT"]), None)


def one_source(checks, cluster, db, endpoint):
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "source", keys(1), follow=False)
    init = f"SELECT auth.init('{ed25519.jwks(5)}', '{issuer.name}', '{{app}}')"
    owner.query(init)
    issuer.follow()
    checks.equal("keys of auth.init are gone at once", issuer.kids(), [])
    issuer.outcome()
    checks.equal("auth.init on a followed issuer", owner.code(init), "55000")
    endpoint.script("/source2", Answer("", 500))
    issuer.follow(endpoint.url + "/source2")
    checks.equal("another URL keeps the keys", [issuer.kids(), issuer.outcome()], [["e1"], "failed"])
    owner.query("CREATE TABLE public.issuer_keys (id text PRIMARY KEY, public_key text, expires_at timestamptz)")
    owner.query(f"SELECT auth.follow('issuer_keys', '{issuer.name}', '{{app}}')")
    checks.equal("a table in its place", [issuer.kids(), issuer.state("url")], [[], None])
    refresh = f"SELECT * FROM auth.refresh('{issuer.name}')"
    checks.equal("is not fetched", owner.code(refresh), "55000")
    issuer.follow()
    checks.equal("and back", [issuer.outcome(), issuer.kids()], ["changed", ["e1"]])
    checks.equal(
        "unfollowed",
        [owner.value(f"SELECT auth.unfollow('{issuer.name}')"), issuer.kids(), issuer.state("url")],
        ["t", [], None],
    )
    checks.equal("auth.init again", owner.value(init), "1")
    owner.query(f"DELETE FROM auth.issuers WHERE issuer = '{issuer.name}'")
    owner.notices()
    owner.query(f"SELECT auth.follow_url('{issuer.name}', '{issuer.url}')")
    checks.true("no audience: a NOTICE", any("audience" in notice["M"] for notice in owner.notices()))
    all_of_them = dict(owner.query("SELECT issuer, outcome FROM auth.refresh()"))
    checks.equal("auth.refresh() of all", all_of_them.get(issuer.name), "changed")
    checks.true(
        "an issuer that is not there", owner.code("SELECT outcome FROM auth.refresh('https://unknown.test.example')")
    )
    with cluster.session(db) as user:
        for call in ("auth.refresh()", "auth.refresh(NULL)", "auth.follow_url('a', 'https://a')", "auth.unfollow('a')"):
            checks.equal(f"{call} by a user", user.code(f"SELECT {call}"), "42501")
        for table in ("endpoints", "withdrawn_keys"):
            checks.equal(f"{table} by a user", user.code(f"TABLE auth.{table}"), "42501")


checks = Checks()
with fetching(checks, "endpoint_keys") as (cluster, endpoint):
    parts = (older_answers, ends_of_trust, withdrawn_keys, written_by_hand, one_source)
    checks.run(parts, checks, cluster, cluster.create_db, endpoint)
checks.done("fetched keys count as long as they may")
