#!/usr/bin/env python3
"""How many processes are started to fetch keys, by those who may not: one session cannot start a
second one for the same fetch, two of a database and three of the server fetch at once, a database
whose endpoints do not answer leaves a place to the others, and what finds none is fetched later."""

import json
import threading
import time

from lib.endpoint import Answer, Held, keys
from lib.following import Issuer, Stalled, fetching, until, within
from lib.pg import Checks

# Processes that fetch at once: of one database, and of the server.
AT_ONCE, IN_ALL = 2, 3

# Seconds after which a fetch ends without an answer (`TIMEOUT` in crates/jwks_rules/src/limits.rs).
TIME_LIMIT = 4.5


class Watch:
    """Counts the processes that fetch, as long as a `with` lasts."""

    def __init__(self, cluster):
        self.cluster, self.most, self.seen, self.stop = cluster, 0, set(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        query = "SELECT pid, query FROM pg_stat_activity WHERE backend_type = 'pg_auth_jwt fetch'"
        with self.cluster.session("postgres", "postgres") as root:
            while not self.stop.is_set():
                rows = root.query(query)
                self.seen |= {pid for pid, _ in rows}
                self.most = max(self.most, sum(what == "fetching keys" for _, what in rows))
                time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def quiet(cluster):
    until(lambda: not cluster.workers(), "no process fetches")


def releases_the_lock(checks, cluster, db, endpoint):
    """Each process fails before its claim, so nothing stored keeps others from starting."""
    owner = cluster.session(db, "owner_role")
    issuers = [Issuer(owner, endpoint, f"released{n}", keys(1)) for n in range(2)]
    for issuer in issuers:
        issuer.outcome()
        issuer.change("unknown_key_after = NULL, last_attempt = now() - interval '1 min'")
    quiet(cluster)
    root = cluster.session(db, "postgres")
    root.query("CREATE FUNCTION public.no_claim() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no claim''; END'")
    root.query(
        "CREATE TRIGGER no_claim BEFORE UPDATE ON auth.endpoints FOR EACH ROW EXECUTE FUNCTION public.no_claim()"
    )

    def failures():
        return cluster.log().count("no claim")

    for release in ("SELECT pg_advisory_unlock_all()", "DISCARD ALL"):
        before = failures()
        with cluster.session(db) as session:
            started = time.monotonic()
            while time.monotonic() < started + 4:
                for issuer in issuers:
                    session.query("SET pg_auth_jwt.fetch_wait = 0")
                    checks.equal("refused", issuer.sign_in(session, 9), "28J03")
                    session.query(release)
        quiet(cluster)
        took = time.monotonic() - started
        count = failures() - before
        # One for each issuer and epoch of ten seconds, two of which the four seconds may touch.
        most = len(issuers) * (1 + int(took / 10 + 1))
        checks.true(f"{release}: some are started: {count}", count >= 1)
        checks.true(f"{release}: {count} of {most} at most", count <= most)
    root.query("DROP FUNCTION public.no_claim() CASCADE")


def says_what_is_true(checks, cluster, db, endpoint):
    """A refusal after a fetch that has ended does not say that the fetch is running."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "ended", keys(1))
    issuer.outcome()
    issuer.change("unknown_key_after = NULL, last_attempt = now() - interval '1 min'")
    quiet(cluster)
    before = issuer.seen()
    with cluster.session(db) as session:
        session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
        hint = issuer.error(session, 9).fields["H"]
    checks.equal("it was fetched", issuer.seen(), before + 1)
    checks.true(f"the hint: {hint}", "auth.key_status" in hint)


def key_of_another_type(checks, cluster, db, endpoint):
    """A kid that is used again, for a key of another type, is fetched for at once."""
    owner = cluster.session(db, "owner_role")
    curve = {
        "kty": "EC",
        "crv": "P-256",
        "kid": "e1",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    }
    issuer = Issuer(owner, endpoint, "retyped", Answer(json.dumps({"keys": [curve]})))
    issuer.outcome()
    issuer.change("unknown_key_after = NULL, last_attempt = now() - interval '1 min'")
    quiet(cluster)
    issuer.list(1)
    with cluster.session(db) as session:
        session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
        checks.equal("the key of the other type", issuer.sign_in(session, 1), None)


def two_at_once(checks, cluster, db, endpoint):
    """One session sends tokens for many issuers at an endpoint that stalls."""
    owner = cluster.session(db, "owner_role")
    quiet(cluster)
    issuers = [Issuer(owner, endpoint, f"stalls{n}", Answer("", stall="head")) for n in range(20)]
    with Watch(cluster) as watch:
        with cluster.session(db) as session:
            session.query("SET pg_auth_jwt.fetch_wait = 0")
            end = time.monotonic() + 6
            while time.monotonic() < end:
                for issuer in issuers:
                    checks.equal("refused", issuer.sign_in(session, 9), "28J03")
        # A fetch may end between two looks: then the next issuer takes the place, and says so.
        session = cluster.session(db)
        text = "other keys were being fetched"
        until(lambda: any(text in issuer.error(session, 9).fields["H"] for issuer in issuers), f"a hint: {text}")
    checks.equal("two fetch", watch.most, AT_ONCE)
    for issuer in issuers:
        owner.query(f"SELECT auth.unfollow('{issuer.name}')")
    quiet(cluster)


def waits_for_its_turn(checks, cluster, db, endpoint):
    """auth.refresh() waits for a place, and says so where it gets none. The places are of the whole
    server: other databases' fetches take them."""
    owner = cluster.session(db, "owner_role")
    wanted = Issuer(owner, endpoint, "wanted", keys(1))
    quiet(cluster)
    held = [Held(keys(1)) for _ in range(IN_ALL)]
    with Stalled(cluster, endpoint, "one", held[:2]) as one, Stalled(cluster, endpoint, "two", held[2:]) as two:
        until(lambda: one.places() + two.places() == IN_ALL, "all places are taken")
        before = wanted.seen()
        threading.Timer(1, lambda: [answer.release() for answer in held]).start()
        checks.equal("after its turn", wanted.outcome(), "changed")
        checks.equal("one request", wanted.seen(), before + 1)

    with Stalled(cluster, endpoint, "first") as first, Stalled(cluster, endpoint, "second") as second:
        until(lambda: first.places() + second.places() == IN_ALL, "all places are taken")
        got = wanted.refresh()
        checks.true(
            f"fetched in between, or said: {got}",
            got[0] == "unchanged" or (got[0] == "not_started" and "Other fetches" in got[1]),
        )


def leaves_a_place(checks, cluster, db, endpoint):
    """One database whose endpoints do not answer: another's rotations are accepted at the first
    try, all the while."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "beside", keys(1))
    issuer.outcome()
    quiet(cluster)
    with Stalled(cluster, endpoint, "stalled") as stalled, Watch(cluster) as watch:
        until(lambda: stalled.places() == AT_ONCE, "its places are taken")
        for n in range(2, 8):
            issuer.list(n)
            issuer.change("unknown_key_after = NULL")
            with cluster.session(db) as session:
                session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
                checks.equal(f"rotation {n}", issuer.sign_in(session, n), None)
            # The keys are there a moment before the process leaves its place to the next one.
            until(lambda: cluster.places(db) == 0, "the fetch has ended")
        checks.equal("auth.refresh()", issuer.outcome(), "unchanged")
    checks.true(f"at once: {watch.most}", AT_ONCE <= watch.most <= IN_ALL)


def next_place_is_for_others(checks, cluster, db, endpoint):
    """Two databases have taken all places. The next that is free goes to one that has none, and not
    to another fetch of theirs. A scene counts if it was over before the fetches' time limit, after
    which places are free that the test did not free: a busy machine gets several tries."""
    tries = 8
    for attempt in range(tries):
        if one_place_is_freed(checks, cluster, db, endpoint, attempt):
            return
        print(f"a scene took longer than a fetch may: {attempt + 1} of {tries}")
    checks.true(f"one of {tries} scenes was fast enough", False)


def one_place_is_freed(checks, cluster, db, endpoint, attempt):
    """Whether the scene counted."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, f"third{attempt}", keys(1))
    issuer.outcome()
    quiet(cluster)
    held = [Held(keys(1)) for _ in range(5)]
    greedy = Stalled(cluster, endpoint, f"greedy{attempt}", held[:4])
    modest = Stalled(cluster, endpoint, f"modest{attempt}", held[4:])
    session = cluster.session(db)
    session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
    with greedy, modest:
        try:
            # The modest one's only issuer is asked twice in nine seconds, then for 20 seconds not again.
            if not within(10, lambda: (greedy.places(), modest.places()) == (2, 1)):
                return False
            both = greedy.issuers + modest.issuers
            until(lambda: sum(other.seen() > 0 for other in both) >= IN_ALL, "all have asked")
            begun = [other for other in both if other.seen()]
            over = min(endpoint.last(other.path).at for other in begun) + TIME_LIMIT
            issuer.list(2)
            issuer.change("unknown_key_after = NULL")
            none_free, before = issuer.sign_in(session, 2), issuer.seen()
            if len(begun) > IN_ALL or time.monotonic() > over:
                return False
            checks.equal("none is free", none_free, "28J03")
            checks.equal("and none is fetched", before, 1)
            held[greedy.issuers.index(begun[0])].release()
            until(lambda: issuer.sign_in(session, 2) is None, "the free place")
            until(lambda: cluster.places(db) == 0, "the fetch has ended")
            first = endpoint.last(issuer.path).at
            if first > over:
                return False
            later = [endpoint.last(other.path).at for other in greedy.issuers if other not in begun and other.seen()]
            checks.true(f"no third of the greedy one's before: {first}, {later}", all(first < at for at in later))
            held[4].release()
            until(
                lambda: sum(1 for other in greedy.issuers if other.seen()) >= 3,
                "two places are free, and it has one of them",
            )
            return True
        finally:
            for answer in held:
                answer.release()


def due_is_tried_again(checks, cluster, db, endpoint):
    """More are due than may be fetched at once: all are fetched, by those who sign in."""
    owner = cluster.session(db, "owner_role")
    quiet(cluster)
    issuers = [Issuer(owner, endpoint, f"due{n}", keys(1)) for n in range(6)]
    owner.query("SELECT * FROM auth.refresh()")
    checks.equal("auth.refresh() of all", [issuer.kids() for issuer in issuers], [["e1"]] * 6)
    before = [issuer.seen() for issuer in issuers]
    owner.query("UPDATE auth.endpoints SET next_attempt = now() - interval '1 s'")
    session = cluster.session(db)

    def all_fetched():
        checks.equal("signs in", {issuer.sign_in(session, 1) for issuer in issuers}, {None})
        return all(issuer.seen() > count for issuer, count in zip(issuers, before))

    with Watch(cluster) as watch:
        until(all_fetched, "all are fetched")
    checks.true(f"two at most: {watch.most}", watch.most <= AT_ONCE)


checks = Checks()
with fetching(checks, "endpoint_starts") as (cluster, endpoint):
    parts = (
        releases_the_lock,
        says_what_is_true,
        key_of_another_type,
        two_at_once,
        waits_for_its_turn,
        leaves_a_place,
        next_place_is_for_others,
        due_is_tried_again,
    )
    checks.run(parts, checks, cluster, cluster.create_db("test"), endpoint)
checks.done("few processes are started to fetch keys")
