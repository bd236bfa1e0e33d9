"""Issuers whose keys are followed at an endpoint (endpoint.py), and a cluster that may fetch."""

import contextlib
import os
import tempfile
import threading
import time

from . import ed25519
from .endpoint import Answer, Authority, Endpoint, keys
from .pg import Cluster

WHO = "SELECT auth.user_id()"
AUDIENCE = "app"


@contextlib.contextmanager
def folder():
    """A folder that the server's user can read."""
    with tempfile.TemporaryDirectory(prefix="pg_auth_jwt") as path:
        os.chmod(path, 0o755)
        yield path


class FetchingCluster(Cluster):
    """A cluster whose fetches trust an authority of its own. `allow` sets the listed hosts."""

    def __init__(self, name, place, environ=None, **settings):
        self.authority = Authority(f"{place}/authority")
        settings = {"max_worker_processes": 32, "pg_auth_jwt.fetch_ca_file": self.authority.pem, **settings}
        super().__init__(name, environ=environ, **settings)

    def set(self, **settings):
        """Settings of pg_auth_jwt, as a superuser sets them for the server."""
        with self.session("postgres", "postgres") as root:
            root.query("LOAD 'pg_auth_jwt'")
            for name, value in settings.items():
                root.query(f"ALTER SYSTEM SET pg_auth_jwt.{name} = '{value}'")
            root.query("SELECT pg_reload_conf()")
            # The server reads its files before it tells its processes, of which this is one.
            until(
                lambda: all(root.value(f"SHOW pg_auth_jwt.{name}") == str(value) for name, value in settings.items()),
                f"{settings}",
            )

    def allow(self, *hosts):
        self.set(fetch_hosts=" ".join(hosts))

    def workers(self):
        """The process ids of those that fetch now."""
        with self.session("postgres", "postgres") as root:
            return [
                int(pid)
                for (pid,) in root.query(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_auth_jwt fetch%'"
                )
            ]

    def places(self, db):
        """How many processes of the database have a place to fetch, as pg_locks shows them."""
        with self.session("postgres", "postgres") as root:
            return int(
                root.value(
                    "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
                    "WHERE l.locktype = 'advisory' AND l.objsubid = 5 AND d.datname = $1",
                    db,
                )
            )

    def configure(self, **settings):
        """In postgresql.conf, for the next start."""
        with open(f"{self.dir}/data/postgresql.conf", "a") as conf:
            conf.write("".join(f"{name} = '{value}'\n" for name, value in settings.items()))


@contextlib.contextmanager
def fetching(checks, name, environ=None, **settings):
    """A cluster and the one endpoint that it may ask. At the end no process may have crashed."""
    with (
        folder() as place,
        FetchingCluster(name, place, environ=environ, **settings) as cluster,
        Endpoint(cluster.authority) as endpoint,
    ):
        cluster.allow(endpoint.host)
        yield cluster, endpoint
        checks.equal("no crash", cluster.crashes(), [])


def within(seconds, condition):
    """Waits for a condition, for that time at most; returns what it gave."""
    end = time.monotonic() + seconds
    while not (got := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return got


def until(condition, what, seconds=30):
    """Waits for a condition that must become true; returns what it gave."""
    if not (got := within(seconds, condition)):
        raise SystemExit(f"in vain waited for: {what}")
    return got


class Issuer:
    """An issuer of a database, followed at a path of an endpoint. `owner` is a session of the
    extension's owner."""

    def __init__(self, owner, endpoint, name, *answers, follow=True):
        self.owner, self.endpoint, self.path = owner, endpoint, f"/{name}"
        self.name, self.url = f"https://{name}.test.example", f"{endpoint.url}/{name}"
        if answers:
            self.script(*answers)
        if follow:
            self.follow()

    def follow(self, url=None):
        self.owner.query(f"SELECT auth.follow_url('{self.name}', '{url or self.url}', '{{{AUDIENCE}}}')")

    def script(self, *answers):
        self.endpoint.script(self.path, *answers)
        return self

    def list(self, *numbers, **options):
        """From now on the endpoint lists these keys."""
        return self.script(keys(*numbers, **options))

    def seen(self):
        return self.endpoint.seen(self.path)

    def refresh(self, session=None):
        """The outcome of auth.refresh() and its detail."""
        rows = (session or self.owner).query(f"SELECT outcome, detail FROM auth.refresh('{self.name}')")
        return tuple(rows[0]) if rows else (None, None)

    def outcome(self):
        return self.refresh()[0]

    def status(self, columns="state"):
        """Columns of auth.key_status: one value, or a list of several."""
        rows = self.owner.query(f"SELECT DISTINCT {columns} FROM auth.key_status WHERE issuer = '{self.name}'")
        return (rows[0] if len(rows[0]) > 1 else rows[0][0]) if rows else None

    def state(self, columns):
        """Columns of auth.endpoints: one value, or a list of several."""
        rows = self.owner.query(f"SELECT {columns} FROM auth.endpoints WHERE issuer = '{self.name}'")
        return (rows[0] if len(rows[0]) > 1 else rows[0][0]) if rows else None

    def change(self, change):
        """Changes its row in auth.endpoints."""
        self.owner.query(f"UPDATE auth.endpoints SET {change} WHERE issuer = '{self.name}'")

    def kids(self):
        return [
            kid for (kid,) in self.owner.query(f"SELECT kid FROM auth.jwks WHERE issuer = '{self.name}' ORDER BY kid")
        ]

    def token(self, key, **claims):
        return ed25519.token(key, self.name, **{"aud": AUDIENCE, **claims})

    def sign_in(self, session, key, **claims):
        """The SQLSTATE of signing in with a token of that key, or None."""
        return session.code("SELECT auth.jwt_session_init($1)", self.token(key, **claims))

    def error(self, session, key, **claims):
        """The whole error of it."""
        return session.error("SELECT auth.jwt_session_init($1)", self.token(key, **claims))


class Stalled:
    """A database whose issuers' endpoints do not answer, and whose sessions want these keys all the
    time, as long as a `with` lasts. `held` are answers that are given when the test says so."""

    def __init__(self, cluster, endpoint, name, held=()):
        self.cluster, self.db, self.stop = cluster, cluster.create_db(name), threading.Event()
        self.owner = cluster.session(self.db, "owner_role")
        answers = held or [Answer("", stall="head") for _ in range(6)]
        self.issuers = [Issuer(self.owner, endpoint, f"{name}{n}", answer) for n, answer in enumerate(answers)]
        self.threads = [threading.Thread(target=self.run, args=(self.issuers[n::3],)) for n in range(3)]

    def run(self, issuers):
        with self.cluster.session(self.db) as session:
            session.query("SET pg_auth_jwt.fetch_wait = 0")
            while not self.stop.is_set():
                for issuer in issuers:
                    issuer.sign_in(session, 9)

    def places(self):
        return self.cluster.places(self.db)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for issuer in self.issuers:
            self.owner.query(f"SELECT auth.unfollow('{issuer.name}')")
        until(lambda: not self.places(), "its fetches have ended")
