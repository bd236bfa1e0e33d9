"""An hour of an issuer's life in two minutes: it rotates its keys, its endpoint fails in every
manner, keys are withdrawn by hand, and sessions sign in all the time.

Time goes thirty times faster because the times in auth.endpoints are set back by 29 s each second.
What was answered is known here, so each outcome is compared with what it may be:

- Only keys of a good answer are ever stored, and none after it was withdrawn by hand.
- A token that is accepted has a key that was stored while the token was being verified.
- A token that is refused has a key that was not, or its keys are older than max_stale. Sessions
  learn of that by their own clock, which is not set forward, so only new ones are judged by it."""

import bisect
import collections
import json
import random
import re
import threading
import time

from . import ed25519
from .endpoint import Answer, keys
from .following import Issuer

FASTER = 30
STEP = 0.1
SHIFT = f"interval '{STEP * (FASTER - 1)} s'"
# A fifth of the hour, so that it runs out once in a while.
MAX_STALE = "12 min"
WRONG = [
    Answer("", 500),
    Answer("", 503, {"Retry-After": "120"}),
    Answer("<html>"),
    Answer("{}"),
    Answer('{"keys": []}'),
    keys(90, status=500),
    Answer(ed25519.jwks(90), 203),
    Answer(json.dumps({"keys": [ed25519.key(90).private_jwk()]})),
    keys(90, close=30),
    keys(90, stall="head"),
    keys(90, stall="body"),
    Answer("x" * 400000),
]


class Load:
    def __init__(self, cluster, db, endpoint, seed):
        self.cluster, self.db, self.random = cluster, db, random.Random(seed)
        self.owner = cluster.session(db, "owner_role")
        self.issuer = Issuer(self.owner, endpoint, "soak", keys(1, 2))
        self.owner.query(f"UPDATE auth.issuers SET max_stale = '{MAX_STALE}'")
        self.issuer.outcome()
        self.good = {frozenset({"e1", "e2"})}
        self.withdrawn = {}  # since when
        self.newest = 2
        self.stop, self.problems, self.counts = threading.Event(), [], collections.Counter()
        self.seen = []  # (from, until, stored keys, whether they are young enough)
        self.outcomes = []  # (key id, from, until, SQLSTATE, whether by a new session)
        self.memory = []  # of a session that signs in all the time, in KiB

    def run(self, seconds, readers=4):
        threads = [
            threading.Thread(target=self.guard, args=(part, n))
            for n, part in enumerate([self.clock, self.watch, *[self.read] * readers])
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.problems:
            self.change()
            self.stop.wait(self.random.uniform(0.2, 3))
        self.stop.set()
        for thread in threads:
            thread.join()
        self.judge()

    def guard(self, part, number):
        try:
            part(number)
        except Exception as error:
            self.problems.append(f"{part.__name__}: {error!r}")

    def clock(self, _):
        session = self.cluster.session(self.db, "owner_role")
        columns = ("last_success", "last_attempt", "next_attempt", "unknown_key_after", "answer_date")
        shift = "UPDATE auth.endpoints SET " + ", ".join(f"{column} = {column} - {SHIFT}" for column in columns)
        while not self.stop.wait(STEP):
            session.query(shift)

    def change(self):
        """Sets the endpoint's answer from now on."""
        what = self.random.choice(["rotate", "rotate", "withdraw", "fail", "fail", "older", "by hand"])
        self.counts[what] += 1
        if what == "rotate":
            self.newest += 1
            self.list(self.newest, self.newest - 1)
        elif what == "withdraw":
            self.list(self.newest)
        elif what == "fail":
            self.issuer.script(self.random.choice(WRONG))
        elif what == "older":
            self.issuer.list(91, headers={"Date": "Sat, 01 Jan 2022 00:00:00 GMT"})
        elif len(self.withdrawn) < self.newest // 4 and self.newest > 4:
            kid = f"e{self.newest - 1}"
            if self.owner.query(f"DELETE FROM auth.jwks WHERE kid = '{kid}' RETURNING kid"):
                self.withdrawn.setdefault(kid, time.monotonic())

    def list(self, *numbers):
        self.good.add(frozenset(f"e{number}" for number in numbers))
        self.issuer.list(*numbers, headers={"Cache-Control": f"max-age={self.random.choice([60, 120, 600])}"})

    def watch(self, _):
        session = self.cluster.session(self.db, "owner_role")
        query = (
            "SELECT clock_timestamp(), (SELECT array_to_string(array_agg(kid), ',') FROM auth.jwks), "
            f"last_success + interval '{MAX_STALE}' > clock_timestamp() FROM auth.endpoints"
        )
        while not self.stop.wait(0.005):
            before = time.monotonic()
            ((_, kids, counts),) = session.query(query)
            self.seen.append((before, time.monotonic(), frozenset((kids or "").split(",")) - {""}, counts == "t"))

    def read(self, number):
        """Signs in with tokens of the newest keys, of former ones and of keys that never were."""
        rng = random.Random(number)
        lasting = self.session()
        while not self.stop.wait(0.01):
            key = rng.choice([self.newest, self.newest, max(self.newest - 1, 1), rng.randint(1, self.newest), 90, 91])
            token = self.issuer.token(key, sub=f"u{key}")
            is_new = rng.random() < 0.3
            session = self.session() if is_new else lasting
            start = time.monotonic()
            code = session.code("SELECT auth.jwt_session_init($1)", token)
            self.outcomes.append((f"e{key}", start, time.monotonic(), code, is_new))
            if is_new:
                session.close()
            elif number == 2 and len(self.outcomes) % 50 == 0:
                with open(f"/proc/{session.backend}/status") as status:
                    self.memory.append(int(re.search(r"RssAnon:\s+(\d+)", status.read())[1]))

    def session(self):
        session = self.cluster.session(self.db)
        session.query("SET pg_auth_jwt.fetch_wait = 200")
        return session

    def judge(self):
        for start, _, kids, _ in self.seen:
            back = [kid for kid in kids if self.withdrawn.get(kid, start) < start]
            if back or not any(kids <= answer for answer in self.good):
                self.problems.append(f"stored: {sorted(kids)}, withdrawn: {back}")
        begins, ends = ([look[n] for look in self.seen] for n in (0, 1))
        for kid, start, end, code, is_new in self.outcomes:
            # From a little before to a little after: what was stored when is only known to a look.
            looks = self.seen[bisect.bisect_left(ends, start - 0.3) : bisect.bisect_right(begins, end + 0.3)]
            known = {kid in look[2] for look in looks}
            young = {look[3] for look in looks}
            self.counts["accepted" if code is None else code] += 1
            right = (
                (True in known and (True in young or not is_new))
                if code is None
                else code == "28J03" and (False in known or False in young)
            )
            if looks and not right:
                self.problems.append(
                    f"{kid}: {code}, where stored was {[(sorted(look[2]), look[3]) for look in looks][:5]}"
                )
