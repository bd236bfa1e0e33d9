#!/usr/bin/env python3
"""auth.follow_url: an issuer's keys are fetched from its endpoint. What answers count and when they
are asked for; that wrong, late and missing answers change no key; how long keys count without an
answer; keys that were withdrawn by hand."""

import json
import os
import re
import threading

from lib import ed25519
from lib.endpoint import Answer, Authority, Endpoint, Held, http_date, keys
from lib.following import WHO, FetchingCluster, Issuer, folder, until
from lib.names import Names
from lib.pg import Checks, shell

# A header as ed25519.py writes it, and what follows; and what a JWK has of a key.
SECRETS = re.compile(r"eyJhbGci[^*]{20}|Ku_J-7hQM7w2byrsD1Mdxeq5zHD")


def jwks_of(*members):
    return json.dumps({"keys": list(members)})


def rotation(checks, cluster, db, endpoint):
    owner, session, other = cluster.session(db, "owner_role"), cluster.session(db), cluster.session(db)
    issuer = Issuer(owner, endpoint, "rotation", keys(1))
    checks.equal("before the first fetch", issuer.status(), "missing")
    checks.equal("the first fetch", issuer.refresh()[0], "changed")
    checks.equal("its keys", issuer.kids(), ["e1"])
    checks.equal("they count", [issuer.sign_in(session, 1), session.value(WHO)], [None, "u1"])
    checks.equal("status", issuer.status("state, source, failures, problem"), ["live", issuer.url, "0", None])
    checks.equal(
        "times", issuer.status("last_success <= now(), last_attempt <= now(), next_attempt > now()"), ["t", "t", "t"]
    )

    request = endpoint.last(issuer.path)
    checks.equal(
        "the request", [request.method, request.version, request.headers["host"]], ["GET", "HTTP/1.1", endpoint.host]
    )
    checks.true("says who asks", request.headers.get("user-agent", "").startswith("pg_auth_jwt/"))
    checks.equal(
        "and nothing of the server's",
        {"authorization", "cookie", "referer", "proxy-authorization"} & set(request.headers),
        set(),
    )

    checks.equal("again", issuer.refresh()[0], "unchanged")
    checks.equal("by its ETag", endpoint.last(issuer.path).headers.get("if-none-match"), keys(1).etag())
    checks.equal("a success, too", issuer.status("last_success = last_attempt OR last_success > last_attempt"), "t")

    # An unknown key id is fetched while the session waits for it.
    issuer.list(1, 2)
    checks.equal("a new key's first token", [issuer.sign_in(other, 2), other.value(WHO)], [None, "u1"])
    checks.equal("one request", issuer.seen(), 3)
    # The endpoint withdraws a key: sessions that have used it refuse it, too.
    issuer.list(2)
    checks.equal("the former key is gone", issuer.outcome(), "changed")
    checks.equal("from all sessions", [session.code(WHO), other.value(WHO)], ["28J03", "u1"])
    checks.equal("that is no withdrawal by hand", owner.value("SELECT count(*) FROM auth.withdrawn_keys"), "0")
    issuer.list(1, 2)
    checks.equal("it may come back", [issuer.outcome(), session.value(WHO)], ["changed", "u1"])

    # By the setting, no session waits: the first statement asks, and a later one has the key.
    issuer.list(1, 2, 3)
    issuer.change("unknown_key_after = NULL")
    direct = cluster.session(db)
    direct.query(f"SET pg_auth_jwt.token = '{issuer.token(3)}'")
    checks.equal("a new key by the setting", direct.code(WHO), "28J03")
    checks.equal("a moment later", until(lambda: direct.code(WHO) is None, "the key is fetched"), True)

    # Sessions that ask for a refresh while one runs get its outcome.
    held, before = Held(keys(1, 2)), issuer.seen()
    issuer.script(held)
    askers = [cluster.session(db, "owner_role") for _ in range(10)]
    for asker in askers:
        asker.begin_query(f"SELECT outcome FROM auth.refresh('{issuer.name}')")
    endpoint.wait(issuer.path, before + 1)
    until(
        lambda: owner.value("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'auth.refresh' AND state = 'active'")
        == "11",
        "all have asked",
    )
    held.release()
    outcomes = [asker.receive()[0][0] for asker in askers]
    checks.true(
        f"asked for by ten at once: {outcomes}", set(outcomes) <= {"changed", "unchanged"} and "changed" in outcomes
    )
    checks.true(f"requests: {issuer.seen() - before}", issuer.seen() - before <= 2)

    # Other members of the set.
    issuer.script(
        Answer(
            jwks_of(
                ed25519.key(1).jwk(alg="EdDSA", use="sig", x5t="x", unknown={"a": [1]}), ed25519.key(2).jwk(use="enc")
            )
        )
    )
    checks.equal("only what changed", [issuer.outcome(), issuer.kids()], ["changed", ["e1"]])
    checks.equal("a key of another use does not count", other.code(WHO), "28J03")
    issuer.script(keys(1, 3, chunked=True))
    checks.equal("chunked", [issuer.outcome(), issuer.kids()], ["changed", ["e1", "e3"]])
    checks.equal(
        "a lower-case host, a query and a port",
        owner.code(
            f"SELECT auth.follow_url('{issuer.name}', "
            f"'{endpoint.script('/rotation?a=b', keys(1)).replace('localhost', 'LOCALHOST')}')"
        ),
        None,
    )
    checks.equal("are the same endpoint", [issuer.outcome(), endpoint.seen("/rotation?a=b")], ["changed", 1])


def no_fetch(checks, cluster, db, endpoint):
    """Effects that a sender of tokens cannot have."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "quiet", keys(1))
    issuer.outcome()
    before = issuer.seen()
    forged = issuer.token(1)[:-8] + "AAAAAAAA"
    checks.equal("a bad signature", session.code("SELECT auth.jwt_session_init($1)", forged), "28J04")
    bad = {
        "expired": {"seconds": -3600},
        "not yet valid": {"nbf": 2**40},
        "another audience": {"aud": "other"},
        "no audience": {"aud": None},
        "no sub": {"sub": 7},
        "another issuer": {"iss": "https://other.test.example"},
        "another type": {"header": {"typ": "at"}},
        "critical": {"header": {"crit": ["b64"], "b64": False}},
        "none": {"header": {"alg": "none"}},
        "HS256": {"header": {"alg": "HS256"}},
    }
    for what, claims in bad.items():
        checks.true(f"{what}: refused", issuer.sign_in(session, 9, **claims))
    checks.equal(
        "an unknown key, where the token is for another issuer",
        session.code("SELECT auth.jwt_session_init($1)", ed25519.token(9, "https://unknown.test.example")),
        "28J13",
    )
    # Nor a new key id within 30 s of the one before.
    issuer.change("unknown_key_after = now() + interval '30 s'")
    checks.equal("within 30 s", issuer.sign_in(session, 9), "28J03")
    checks.true("says what to do", "H" in issuer.error(session, 9).fields)
    checks.equal("none of them was a request", issuer.seen(), before)
    owner.query(f"UPDATE auth.issuers SET enabled = false WHERE issuer = '{issuer.name}'")
    issuer.change("unknown_key_after = NULL, next_attempt = now() - interval '1 hour'")
    checks.equal("disabled", issuer.sign_in(session, 9), "28J03")
    checks.equal("is not fetched", issuer.seen(), before)
    owner.query(f"UPDATE auth.issuers SET enabled = true WHERE issuer = '{issuer.name}'")
    issuer.change("next_attempt = now() + interval '10 min', unknown_key_after = now() - interval '1 s'")
    session.query("SET pg_auth_jwt.fetch_wait = 0")
    checks.equal("without a wait, after 30 s", issuer.sign_in(session, 8), "28J03")
    checks.true("fetched behind it", endpoint.wait(issuer.path, before + 1))
    until(
        lambda: issuer.state("unknown_key_after > now() + interval '20 s'") == "t",
        "the next early refresh is half a minute off",
    )
    checks.equal("and not again", [issuer.sign_in(session, 7), issuer.seen()], ["28J03", before + 1])


def due(checks, cluster, db, endpoint):
    """A verification starts the fetch when its time has come, and does not wait for it."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "due", keys(1))
    issuer.outcome()

    def becomes_due(what, change):
        before = issuer.seen()
        issuer.list(1, 2) if issuer.kids() == ["e1"] else issuer.list(1)
        issuer.change(change)
        with cluster.session(db) as new:
            checks.equal(f"{what}: accepted meanwhile", issuer.sign_in(new, 1), None)
        checks.true(f"{what}: fetched", endpoint.wait(issuer.path, before + 1))
        until(
            lambda: issuer.state(
                "outcome IS NOT NULL AND next_attempt BETWEEN now() AND now() + interval '2 hours' "
                "AND last_success BETWEEN now() - interval '1 min' AND now()"
            )
            == "t",
            what,
        )

    becomes_due("its time has come", "next_attempt = now() - interval '1 s'")
    becomes_due("no time is set", "next_attempt = NULL")
    becomes_due(
        "the clock was a day ahead",
        "next_attempt = now() + interval '1 day', last_attempt = now() + interval '1 day', "
        "last_success = now() + interval '1 day', answer_date = now() + interval '1 day', "
        "unknown_key_after = now() + interval '1 day'",
    )
    becomes_due(
        "a fetch that crashed",
        "next_attempt = now() - interval '1 s', outcome = NULL, last_attempt = now() - interval '11 s'",
    )
    becomes_due("at the end of time", "next_attempt = 'infinity'")
    becomes_due("before time", "next_attempt = '-infinity', last_attempt = '-infinity'")
    before = issuer.seen()
    issuer.change("next_attempt = now() - interval '1 s'")
    session.query(f"SET pg_auth_jwt.token = '{issuer.token(1)}'")
    checks.equal("a session that was signed in before", session.value(WHO), "u1")
    checks.true("fetches, too", endpoint.wait(issuer.path, before + 1))


def wrong_answers(checks, cluster, db, endpoint):
    """Nothing of an answer that is not wholly acceptable counts, and no key is lost by it."""
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    issuer = Issuer(owner, endpoint, "wrong", keys(1))
    issuer.outcome()
    checks.equal("before", [issuer.sign_in(session, 1), session.value(WHO)], [None, "u1"])
    stored = owner.query(f"SELECT * FROM auth.jwks WHERE issuer = '{issuer.name}'")
    attacker = endpoint.script("/attacker", keys(6))
    own = {"attacker": endpoint.seen("/attacker")}
    rsa = {"kty": "RSA", "kid": "small", "n": "AQAB" * 10, "e": "AQAB"}
    secret = {"kty": "oct", "kid": "e6", "alg": "HS256", "k": "c2VjcmV0" * 8}
    good = ed25519.key(6).jwk()
    wrong = {
        "500": Answer("", 500),
        "404": Answer("", 404),
        "401": Answer("", 401),
        "204": Answer("", 204),
        "206": keys(6, status=206),
        "500 with keys": keys(6, status=500),
        "201 with keys": keys(6, status=201),
        "an unasked 304": Answer("", 304),
        "301": Answer("", 301, {"Location": attacker}),
        "302 with keys": keys(6, status=302, headers={"Location": attacker}),
        "307": Answer("", 307, {"Location": "/attacker"}),
        "308": Answer("", 308, {"Location": "http://169.254.169.254/"}),
        "nothing": Answer(""),
        "garbage": Answer(b"\x00\xff\xfe" * 50),
        "HTML": Answer("<!doctype html><title>Sign in</title>"),
        "{}": Answer("{}"),
        "[]": Answer("[]"),
        "null": Answer("null"),
        "no keys": Answer('{"keys": []}'),
        "keys that are none": Answer('{"keys": {}}'),
        "two documents": Answer(jwks_of(good) + jwks_of(good)),
        "keys twice": Answer('{"keys": [], ' + jwks_of(good)[1:]),
        "a bare JWK inside of a string": Answer(json.dumps(jwks_of(good))),
        "unusable keys only": Answer(jwks_of(rsa)),
        "a private key": Answer(jwks_of(ed25519.key(6).private_jwk())),
        "a private key among others": Answer(jwks_of(good, ed25519.key(7).private_jwk())),
        "a secret": Answer(jwks_of(secret)),
        "a secret among others": Answer(jwks_of(good, secret)),
        "two keys of one kid": Answer(jwks_of(good, ed25519.key(7).jwk(kid="e6"))),
        "101 keys": Answer(jwks_of(*(ed25519.key(6).jwk(kid=f"e{n}") for n in range(101)))),
        "2 MiB": Answer(jwks_of(good, ed25519.key(7).jwk(x5c=["x" * 2**21]))),
        "2 MiB, chunked": Answer(jwks_of(good, ed25519.key(7).jwk(x5c=["x" * 2**21])), chunked=True),
        "a length of 4 GiB": Answer(jwks_of(good), headers={"Content-Length": str(2**32 + 5)}),
        "deep": Answer('{"keys": ' + "[" * 100000),
        "deep in a key": Answer(jwks_of(good)[:-3] + ', "x5c": ' + "[" * 200 + "]" * 200 + "}]}"),
        "U+0000": Answer('{"keys": [{"kty": "OKP", "kid": "a\\u0000b"}]}'),
        "not UTF-8": Answer(jwks_of(good).replace("e6", "\u00fc").encode("latin-1")),
        "UTF-16": Answer(jwks_of(good).encode("utf-16")),
        "gzip": Answer(jwks_of(good), headers={"Content-Encoding": "gzip"}),
        "cut off": keys(6, close=40),
        "not HTTP": Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
        "no status": Answer(raw=b"HTTP/1.1\r\n\r\n{}"),
        "endless headers": Answer(stall="endless"),
        "one long header": keys(6, headers={"X-Long": "x" * 300000}),
        "two lengths": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 300\r\n\r\n{}"),
        "an informational status for ever": Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 200),
    }
    for what, answer in wrong.items():
        failures = int(issuer.state("failures"))
        if what == "an unasked 304":
            issuer.change("etag = NULL, etag_digest = NULL")
        outcome, detail = issuer.script(answer).refresh()
        checks.equal(f"{what}: failed", outcome, "failed")
        checks.true(f"{what}: says why", detail and len(detail) < 1000 and detail.isprintable())
        checks.equal(f"{what}: counted", int(issuer.state("failures")), failures + 1)
        checks.equal(
            f"{what}: the keys stay", owner.query(f"SELECT * FROM auth.jwks WHERE issuer = '{issuer.name}'"), stored
        )
    checks.equal("the redirects' target was not asked", endpoint.seen("/attacker"), own["attacker"])
    checks.equal("still signed in", session.value(WHO), "u1")
    checks.equal("status", issuer.status("state, problem"), ["live", "failing"])
    checks.equal("no secret in what is shown", SECRETS.findall(str(owner.query("TABLE auth.key_status"))), [])
    checks.equal(
        "afterwards", [issuer.list(1).outcome(), issuer.status("failures, problem")], ["unchanged", ["0", None]]
    )

    # Unusable keys among the rest are left out, and that is said.
    issuer.script(Answer(jwks_of(good, rsa)))
    checks.equal("one unusable", [issuer.outcome(), issuer.kids()], ["changed", ["e6"]])
    checks.true("is said", "small" in " ".join(str(row) for row in owner.query("SELECT note FROM auth.endpoints")))
    issuer.script(Answer(jwks_of(good, ed25519.key(2).jwk(), ed25519.key(3).jwk(kid="e2"))))
    issuer.outcome()
    checks.equal("a kid that two keys have counts for neither", issuer.kids(), ["e6"])
    issuer.script(Answer(jwks_of(*(ed25519.key(6).jwk(kid=f"e{n}") for n in range(100)))))
    checks.equal("100 keys", issuer.outcome(), "changed")

    # Text from outside is escaped when it is shown.
    odd = {
        "a reason": Answer(raw=b"HTTP/1.1 500 \x1b[2J\xff\x07 x\r\nContent-Length: 0\r\n\r\n"),
        "a location": Answer("", 302, {"Location": "https://x/\u00ff\x1b[31m" + "y" * 5000}),
        "a key id": Answer(
            json.dumps({"keys": [{"kty": "RSA", "kid": "\u202e\n\u001b[31m" + "y" * 5000, "n": "AQAB", "e": "AQAB"}]})
        ),
        "an encoding": keys(6, headers={"Content-Encoding": "\x1b" + "y" * 5000}),
    }
    for what, answer in odd.items():
        issuer.script(answer).outcome()
        error = issuer.status("detail")
        checks.true(
            f"{what}: bounded and printable: {error!r:.300}", error and len(error) < 1000 and error.isprintable()
        )


def stalls(checks, cluster, db, endpoint, names):
    """At each phase; two at once, as many as fetch at a time."""
    owner = cluster.session(db, "owner_role")
    names.set("stalled.test.example", "stall")
    with (
        Endpoint(cluster.authority, stall="connect") as unconnected,
        Endpoint(cluster.authority, stall="tls") as silent,
    ):
        cluster.allow(endpoint.host, unconnected.host, silent.host, f"stalled.test.example:{endpoint.port}")
        issuers = {
            what: Issuer(owner, where, f"stalls_{n}", *answers)
            for n, (what, where, *answers) in enumerate(
                [
                    ("connect", unconnected),
                    ("TLS", silent),
                    ("head", endpoint, keys(6, stall="head")),
                    ("body", endpoint, keys(6, stall="body")),
                    ("a byte a second", endpoint, keys(6, stall="drip")),
                ]
            )
        }
        issuers["look-up"] = Issuer(owner, endpoint, "stalls_dns", follow=False)
        issuers["look-up"].follow(f"https://stalled.test.example:{endpoint.port}/x")
        outcomes = {}

        def ask(what, issuer):
            with cluster.session(db, "owner_role") as session:
                # The limit of auth.refresh() is 6 s, and a loaded machine may take longer.
                session.query("SET statement_timeout = '30 s'")
                outcomes[what] = issuer.refresh(session)

        threads = [threading.Thread(target=ask, args=item) for item in issuers.items()]
        for pair in (threads[:2], threads[2:4], threads[4:]):
            until(lambda: not cluster.workers(), "the fetches before have ended")
            for thread in pair:
                thread.start()
            for thread in pair:
                thread.join()
        for what, issuer in issuers.items():
            outcome, detail = outcomes.get(what, (None, None))
            checks.equal(f"stalled at {what}", outcome, "failed")
            checks.true(f"stalled at {what}: says so: {detail}", re.search("time|within|too long", detail or ""))
            checks.equal(f"stalled at {what}: no key", issuer.kids(), [])
            checks.equal(f"stalled at {what}: failures", issuer.state("failures"), "1")
        until(lambda: not cluster.workers(), "no worker is left")
    cluster.allow(endpoint.host)


def schedule(checks, cluster, db, endpoint):
    """What the headers of an answer say gets into its column; crates/jwks_rules has the rules."""
    owner = cluster.session(db, "owner_role")
    dated = {"ETag": '"7"', "Date": http_date(-1000), "Last-Modified": http_date(-2000)}
    issuer = Issuer(owner, endpoint, "schedule", keys(1, headers=dated))
    issuer.outcome()
    etag, *ages = issuer.state(
        "etag, extract(epoch FROM last_attempt - answer_date), extract(epoch FROM last_attempt - last_modified)"
    )
    checks.equal("the ETag", etag, '"7"')
    checks.true(f"the dates: {ages}", all(0 <= float(age) - wanted < 30 for age, wanted in zip(ages, (999, 1999))))

    # A tenth less or more is planned; some 30 s are left for a slow machine, as the time counts from the answer.
    for what, answer, seconds in (
        ("no word of it", keys(1), 600),
        ("max-age and Age", keys(1, headers={"Cache-Control": "public, max-age=1200", "Age": "900"}), 300),
        ("a first failure", Answer("", 503), 10),
        ("a second one", Answer("", 503), 20),
        ("Retry-After", Answer("", 429, {"Retry-After": "1800"}), 1800),
        ("a date in it", Answer("", 429, {"Retry-After": http_date(1200)}), 1200),
        ("a success", keys(1, 2), 600),
    ):
        issuer.script(answer).outcome()
        wait = float(issuer.state("extract(epoch FROM next_attempt - last_attempt)"))
        checks.true(f"{what}: {wait} s, and not about {seconds}", seconds * 0.88 <= wait <= seconds * 1.12 + 30)
    # The log has a line at the first failure, at each doubling, and at the next success.
    lines = [line.split(" could ")[-1] for line in cluster.log().splitlines() if "LOG:" in line and issuer.name in line]
    told = [int(count) for line in lines for count in re.findall(r"\((\d+) failures?\)", line)]
    checks.equal("the log tells of four failures", [told, len(lines)], [[1, 2, 4], 4])


def discovery(checks, cluster, db, endpoint):
    owner, session = cluster.session(db, "owner_role"), cluster.session(db)
    well_known = "/.well-known/openid-configuration"
    count = iter(range(100))

    def discover(document, prefix=None, issuer=None):
        """The outcome for an issuer below the endpoint's origin, and its keys."""
        path = f"/tenant{next(count)}" if prefix is None else prefix
        name = issuer or endpoint.url + path
        content = document(name, path) if callable(document) else document
        endpoint.script(
            path.rstrip("/") + well_known, content if isinstance(content, Answer) else Answer(json.dumps(content))
        )
        code = owner.code(f"SELECT auth.follow_url('{name}', audience => '{{app}}')")
        if code:
            return code
        outcome, detail = owner.query(f"SELECT outcome, detail FROM auth.refresh('{name}')")[0]
        count_keys = owner.value(f"SELECT count(*) FROM auth.jwks WHERE issuer = '{name}'")
        checks.true(f"{outcome}: a detail that is printable", detail is None or detail.isprintable())
        return outcome, count_keys

    jwks = endpoint.script("/discovered", keys(1, 2))
    right = lambda name, path: {"issuer": name, "jwks_uri": jwks, "authorization_endpoint": "https://x.example/"}
    checks.equal("right", discover(right), ("changed", "2"))
    checks.equal("right, with a slash", discover(right, "/slash/"), ("changed", "2"))
    name = f"{endpoint.url}/slash/"
    checks.equal(
        "its tokens", session.code("SELECT auth.jwt_session_init($1)", ed25519.token(1, name, aud="app")), None
    )
    checks.equal(
        "without the slash",
        session.code("SELECT auth.jwt_session_init($1)", ed25519.token(1, name[:-1], aud="app")),
        "28J13",
    )
    checks.equal(
        "is looked up again each time",
        [owner.value(f"SELECT outcome FROM auth.refresh('{name}')"), endpoint.seen("/slash" + well_known) >= 2],
        ["unchanged", True],
    )
    # The keys move.
    endpoint.script(
        "/slash" + well_known, Answer(json.dumps({"issuer": name, "jwks_uri": endpoint.script("/moved", keys(3))}))
    )
    checks.equal(
        "the keys moved",
        [owner.value(f"SELECT outcome FROM auth.refresh('{name}')"), endpoint.seen("/moved")],
        ["changed", 1],
    )

    asked = endpoint.seen("/discovered")
    wrong = {
        "another issuer": {"issuer": "https://other.test.example", "jwks_uri": jwks},
        "a slash more": lambda name, path: {"issuer": name + "/", "jwks_uri": jwks},
        "in capitals": lambda name, path: {"issuer": name.upper(), "jwks_uri": jwks},
        "no issuer": {"jwks_uri": jwks},
        "an issuer that is no text": {"issuer": [endpoint.url], "jwks_uri": jwks},
        "two issuers": lambda name, path: Answer(
            '{"issuer": "https://other.test.example", "issuer": "%s", "jwks_uri": "%s"}' % (name, jwks)
        ),
        "no jwks_uri": lambda name, path: {"issuer": name},
        "plain HTTP": lambda name, path: {"issuer": name, "jwks_uri": jwks.replace("https:", "http:")},
        "a file": lambda name, path: {"issuer": name, "jwks_uri": "file:///etc/passwd"},
        "a host that is not listed": lambda name, path: {
            "issuer": name,
            "jwks_uri": f"https://127.0.0.1:{endpoint.port}/discovered",
        },
        "a relative jwks_uri": lambda name, path: {"issuer": name, "jwks_uri": "/discovered"},
        "metadata": lambda name, path: {"issuer": name, "jwks_uri": "https://169.254.169.254/latest"},
        "with a password": lambda name, path: {"issuer": name, "jwks_uri": jwks.replace("https://", "https://a:b@")},
        "a redirect": Answer("", 302, {"Location": jwks}),
        "a JWKS": keys(1),
        "nothing": Answer(""),
        "large": Answer(" " * 2**21 + "{}"),
    }
    for what, document in wrong.items():
        checks.equal(f"discovery: {what}", discover(document), ("failed", "0"))
    checks.equal("discovery: no wrong document was followed", endpoint.seen("/discovered"), asked)
    for what, name in {
        "no URL": "app",
        "the issuer for all": "*",
        "plain HTTP": "http://93.184.216.34",
        "with a query": f"{endpoint.url}/x?y",
        "with a fragment": f"{endpoint.url}/x#y",
    }.items():
        checks.equal(
            f"discovery for an issuer that is {what}",
            owner.code(f"SELECT auth.follow_url('{name}', audience => '{{app}}')"),
            "22023",
        )


def certificates(checks, cluster, db, endpoint, place):
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "certificates", keys(1))
    checks.equal("the authority of fetch_ca_file", issuer.outcome(), "changed")
    other = Authority(f"{place}/other", "another authority")
    with (
        open(f"{place}/empty.pem", "w"),
        open(f"{place}/garbage.pem", "w") as garbage,
        open(f"{place}/unreadable.pem", "w"),
    ):
        garbage.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    os.chmod(f"{place}/unreadable.pem", 0o600)
    for what, file in {
        "another authority": other.pem,
        "a file that is missing": f"{place}/none.pem",
        "an empty file": f"{place}/empty.pem",
        "a file that is none": f"{place}/garbage.pem",
        "a folder": place,
        "a file of root's": f"{place}/unreadable.pem",
        "an authority's key": other.key,
        "a device": "/dev/zero",
        "a pipe": "/proc/self/fd/0",
    }.items():
        cluster.set(fetch_ca_file=file)
        outcome, detail = issuer.refresh()
        checks.equal(f"fetch_ca_file, {what}", outcome, "failed")
        checks.true(
            f"fetch_ca_file, {what}: says so: {detail}", detail and re.search("certificate|CA|fetch_ca_file", detail)
        )
    cluster.set(fetch_ca_file="")
    checks.equal("the system's authorities", issuer.outcome(), "failed")
    cluster.set(fetch_ca_file=cluster.authority.pem)
    checks.equal("afterwards", issuer.outcome(), "unchanged")
    with Endpoint(cluster.authority, names=("other.test.example",)) as named:
        cluster.allow(endpoint.host, f"localhost:{named.port}")
        wrong = Issuer(owner, named, "misnamed", keys(6), follow=False)
        wrong.follow(f"https://localhost:{named.port}/misnamed")
        checks.equal("a certificate for another name", [wrong.outcome(), wrong.kids(), wrong.seen()], ["failed", [], 0])
    with Endpoint(other) as unknown:
        cluster.allow(endpoint.host, unknown.host)
        wrong = Issuer(owner, unknown, "unknown_authority", keys(6))
        checks.equal("of an unknown authority", [wrong.outcome(), wrong.kids(), wrong.seen()], ["failed", [], 0])
    with Endpoint() as plain:
        cluster.allow(endpoint.host, plain.host)
        wrong = Issuer(owner, plain, "plain", keys(6), follow=False)
        wrong.follow(f"https://{plain.host}/plain")
        checks.equal("a server without TLS", [wrong.outcome(), wrong.kids()], ["failed", []])
    cluster.allow(endpoint.host)


def doc_sql(name):
    """The statements of a block of docs/fetching.md."""
    text = shell('"$ROOT/pg_test/doc_sql" docs/fetching.md "$1"', name)
    return [statement for statement in re.sub("--.*", "", text).split(";") if statement.strip()]


def documented(checks, cluster, db, endpoint, names):
    """As docs/fetching.md has it: for https://auth.example.com, at a public address."""
    root, owner, session = cluster.session(db, "postgres"), cluster.session(db, "owner_role"), cluster.session(db)
    issuer, path = "https://auth.example.com", "/.well-known/openid-configuration"
    names.set("auth.example.com", "93.184.216.34")
    names.redirect(endpoint.port)
    endpoint.script(path, Answer(json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/documented"})))
    endpoint.script("/documented", keys(1))

    def run(session, name):
        for statement in doc_sql(name):
            rows = session.query(statement)
        return rows

    def verify(key):
        return session.code("SELECT auth.jwt_session_init($1)", ed25519.token(key, issuer, aud="my-app"))

    run(root, "allow_hosts")
    until(
        lambda: owner.value("SELECT current_setting('pg_auth_jwt.fetch_hosts', true)") == "auth.example.com",
        "the host is listed",
    )
    checks.equal("followed", [row[:2] for row in run(owner, "follow_url")], [[issuer, "changed"]])
    checks.equal("its tokens", verify(1), None)
    checks.equal("nothing to alert on", run(owner, "endpoint_alerts"), [])
    endpoint.script("/documented", Answer("", 500))
    for _ in range(5):
        owner.query("SELECT auth.refresh()")
    checks.equal(
        "five failures",
        [[*row[:4], row[6]] for row in run(owner, "endpoint_alerts")],
        [[issuer, f"{issuer}{path}", "live", "failing", "5"]],
    )
    endpoint.script("/documented", keys(1))
    owner.query("DELETE FROM auth.jwks WHERE kid = 'e1'; SELECT auth.refresh()")
    checks.equal("withdrawn", verify(1), "28J03")
    checks.equal("taken back", [[row[:2] for row in run(owner, "take_back")], verify(1)], [[[issuer, "changed"]], None])
    cluster.allow(endpoint.host)


checks = Checks()
with folder() as place:
    names = Names(f"{place}/names")
    with (
        FetchingCluster("endpoint", place, environ=names.environ) as cluster,
        Endpoint(cluster.authority, names=("localhost", "127.0.0.1", "auth.example.com")) as endpoint,
    ):
        cluster.allow(endpoint.host)
        db = cluster.create_db("test")
        checks.run((rotation, no_fetch, due, wrong_answers), checks, cluster, db, endpoint)
        checks.run((stalls,), checks, cluster, db, endpoint, names)
        checks.run((schedule, discovery), checks, cluster, db, endpoint)
        checks.run((certificates,), checks, cluster, db, endpoint, place)
        checks.run((documented,), checks, cluster, cluster.create_db("test_documented"), endpoint, names)
        checks.equal("no secret in the log", SECRETS.findall(cluster.log()), [])
        checks.equal("no crash", cluster.crashes(), [])
checks.done("an endpoint's keys are fetched, and wrong answers change nothing")
