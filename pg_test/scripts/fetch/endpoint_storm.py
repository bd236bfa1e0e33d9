#!/usr/bin/env python3
"""Many at once: tokens with invented key ids cause one request at most, and no waiting;
tokens that would be refused anyway cause none; after a rotation under load the new key's tokens are
accepted at once, by every session."""

import random
import threading

from lib.endpoint import Answer, Held, keys
from lib.following import WHO, Issuer, fetching, until
from lib.pg import Checks

SIGN_IN = "SELECT auth.jwt_session_init($1)"
CONNECTIONS = 100


def at_once(cluster, db, tokens, options=""):
    """A new connection for each token, all of which send it at the same moment; the SQLSTATEs."""
    sessions = [cluster.session(db, options=options) for _ in tokens]
    for session, token in zip(sessions, tokens):
        session.send(session.parse(SIGN_IN), session.bind([token]), session.run(), session.SYNC)
    codes = []
    for session in sessions:
        codes.append(session.code())
        session.close()
    return codes


def invented_keys(checks, cluster, db, endpoint):
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "invented", keys(1))
    issuer.outcome()
    # The endpoint answers nothing while the storm lasts: only one session may wait for it, the one
    # that asked.
    held = Held(keys(1))
    issuer.script(held)
    issuer.change("unknown_key_after = NULL, unknown_key_wait = 30, last_attempt = now() - interval '1 min'")
    before = issuer.seen()
    junk = [issuer.token(1, header={"kid": f"junk{n}"}) for n in range(CONNECTIONS)]
    codes = at_once(cluster, db, junk)
    checks.equal("all are refused", set(codes), {"28J03"})
    checks.equal("one request", issuer.seen(), before + 1)
    checks.equal("one process", len(cluster.workers()), 1)
    held.release()
    until(lambda: not cluster.workers(), "the fetch has ended")
    codes = at_once(cluster, db, junk)
    checks.equal("again, right after it", [set(codes), issuer.seen()], [{"28J03"}, before + 1])
    first = float(issuer.state("extract(epoch FROM unknown_key_after - last_attempt)"))
    checks.true(f"30 s from the attempt or more: {first}", first >= 29)
    # While it changes nothing, the time doubles.
    issuer.script(keys(1))
    issuer.change("unknown_key_after = now() - interval '1 s', last_attempt = now() - interval '6 min'")
    checks.equal("after that time", set(at_once(cluster, db, junk[:5])), {"28J03"})
    checks.true("one more request", endpoint.wait(issuer.path, before + 2))
    until(lambda: not cluster.workers(), "the fetch has ended")
    checks.equal("and no other", issuer.seen(), before + 2)
    second = float(issuer.state("extract(epoch FROM unknown_key_after - last_attempt)"))
    checks.true(f"a minute from the attempt: {second}", 59 <= second <= 70)
    issuer.list(1, 2)
    issuer.change("unknown_key_after = now() - interval '1 s', last_attempt = now() - interval '6 min'")
    with cluster.session(db) as session:
        checks.equal("a real one", issuer.sign_in(session, 2), None)
    back = float(issuer.state("extract(epoch FROM unknown_key_after - last_attempt)"))
    checks.true(f"half a minute again, after a change: {back}", 28 <= back <= 45)


def refused_anyway(checks, cluster, db, endpoint):
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "refused", keys(1))
    issuer.outcome()
    issuer.change(
        "unknown_key_after = NULL, unknown_key_wait = 30, "
        "last_attempt = now() - interval '1 min', next_attempt = now() + interval '5 min'"
    )
    before = issuer.seen()
    bad = [issuer.token(9, seconds=-100 - n) for n in range(30)] + [issuer.token(9, aud=f"other{n}") for n in range(30)]
    bad += [issuer.token(9, nbf=2**40 + n) for n in range(30)] + [issuer.token(1)[:-4] + "AAAA"] * 10
    codes = at_once(cluster, db, bad)
    checks.true(f"all are refused: {set(codes)}", None not in codes)
    checks.equal("without a request", issuer.seen(), before)
    checks.equal(
        "an attempt is still free", issuer.state("unknown_key_after IS NULL OR unknown_key_after < now()"), "t"
    )


def rotation_under_load(checks, cluster, db, endpoint):
    """Sessions sign in without a pause, with tokens of the newest key. The endpoint lists it from
    the moment of the first such token on."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "rotated", keys(1))
    issuer.outcome()
    issuer.change("unknown_key_after = NULL, unknown_key_wait = 30")
    before = issuer.seen()
    tokens = {
        1: [issuer.token(1, sub=f"u{n}") for n in range(50)],
        2: [issuer.token(2, sub=f"u{n}") for n in range(50)],
    }
    current, stop, rotated = [1], threading.Event(), threading.Event()
    outcomes, lock = {"old": [], "new": []}, threading.Lock()

    def play(number):
        rng = random.Random(number)
        session = cluster.session(db)
        while not stop.is_set():
            key = current[0]
            n = rng.randrange(50)
            code = session.code(SIGN_IN, tokens[key][n])
            if code is None and session.value(WHO) != f"u{n}":
                code = "another user"
            with lock:
                outcomes["new" if key == 2 else "old"].append(code)
                if key == 2 and code is None:
                    rotated.set()
        session.close()

    players = [threading.Thread(target=play, args=(number,)) for number in range(20)]
    for player in players:
        player.start()
    until(lambda: len(outcomes["old"]) > 200, "the load")
    issuer.list(1, 2)
    current[0] = 2
    checks.true("the new key counts", rotated.wait(60))
    with lock:
        outcomes["new"].clear()
    until(lambda: len(outcomes["new"]) > 500, "the load after it")
    stop.set()
    for player in players:
        player.join()
    checks.equal("before: accepted", set(outcomes["old"]), {None})
    # One statement of each may have begun before the change was committed.
    late = [code for code in outcomes["new"] if code is not None]
    checks.true(f"after: accepted, but for {len(late)}", len(late) <= len(players) and set(late) <= {"28J03"})
    checks.equal("one request", issuer.seen(), before + 1)


def many_issuers(checks, cluster, db, endpoint):
    """Sources that become due at once, more of them than there are free processes."""
    owner = cluster.session(db, "owner_role")
    issuers = [Issuer(owner, endpoint, f"many{n}", keys(1)) for n in range(20)]
    owner.query("SELECT * FROM auth.refresh()")
    checks.equal("auth.refresh() of all", [issuer.kids() for issuer in issuers], [["e1"]] * 20)
    before = [issuer.seen() for issuer in issuers]
    owner.query("UPDATE auth.endpoints SET next_attempt = now() - interval '1 s'")
    tokens = [issuer.token(1, sub=f"u{n}") for issuer in issuers for n in range(5)]
    checks.equal("all are accepted", set(at_once(cluster, db, tokens)), {None})

    def all_fetched():
        """Those that found no free process are tried again by sessions that sign in later."""
        missing = [issuer for issuer, count in zip(issuers, before) if issuer.seen() == count]
        at_once(cluster, db, [issuer.token(1) for issuer in missing])
        return not missing

    until(all_fetched, "all are fetched")
    until(lambda: not cluster.workers(), "the fetches have ended")
    checks.equal("each once", [issuer.seen() for issuer in issuers], [count + 1 for count in before])


def endpoint_down(checks, cluster, db, endpoint):
    """A source that fails costs those who sign in nothing, and is asked no more often than said."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "down", keys(1))
    issuer.outcome()
    issuer.script(Answer("", 500))
    issuer.change("next_attempt = now() - interval '1 s'")
    before = issuer.seen()
    tokens = [issuer.token(1, sub=f"u{n}") for n in range(CONNECTIONS)]
    checks.equal("accepted", set(at_once(cluster, db, tokens)), {None})
    until(lambda: issuer.state("failures") == "1", "the failure is stored")
    checks.equal("and again", set(at_once(cluster, db, tokens)), {None})
    checks.equal("one request", issuer.seen(), before + 1)


checks = Checks()
settings = {"max_connections": CONNECTIONS + 50, "max_worker_processes": 12}
with fetching(checks, "endpoint_storm", **settings) as (cluster, endpoint):
    parts = (invented_keys, refused_anyway, rotation_under_load, many_issuers, endpoint_down)
    checks.run(parts, checks, cluster, cluster.create_db("test"), endpoint)
checks.done("storms of tokens ask an endpoint once")
