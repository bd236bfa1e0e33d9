#!/usr/bin/env python3
"""Events during a fetch, for the server and for the fetch: databases, extensions
and issuers that go away, shutdowns and crashes, no free process, promotions, dumps; owners who
cannot log in, or store settings against it; servers that load the library at their start."""

import os
import signal
import subprocess

from lib.endpoint import Answer, Endpoint, Held, keys
from lib.following import WHO, FetchingCluster, Issuer, folder, until
from lib.pg import Checks, Cluster, PgError


def under_way(cluster, endpoint, issuer):
    """Starts a fetch by signing in with an unknown key, and waits for its request."""
    before = issuer.seen()
    with cluster.session(issuer.db) as session:
        session.query("SET pg_auth_jwt.fetch_wait = 0")
        issuer.sign_in(session, 9)
    if not endpoint.wait(issuer.path, before + 1):
        raise SystemExit(f"{issuer.name} is not asked")


class Life:
    def __init__(self, checks, cluster, endpoint):
        self.checks, self.cluster, self.endpoint, self.count = checks, cluster, endpoint, 0

    def issuer(self, *answers, db=None, first=True):
        """In a database of its own, if none is given; fetched once."""
        self.count += 1
        db = db or self.cluster.create_db(f"life{self.count}")
        issuer = Issuer(self.cluster.session(db, "owner_role"), self.endpoint, f"life{self.count}", keys(1))
        issuer.db = db
        if first:
            self.checks.equal("the first fetch", issuer.outcome(), "changed")
        if answers:
            issuer.script(*answers)
        issuer.change("unknown_key_after = NULL, unknown_key_wait = 30")
        return issuer

    def waits_for_lock(self, issuer):
        """Until the fetching process of the issuer's database waits for a lock."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type LIKE 'pg_auth_jwt fetch%' AND wait_event_type = 'Lock'"
        )
        with self.cluster.session(issuer.db, "postgres") as root:
            until(lambda: root.value(waiting) == "1", "the fetching process waits for a lock")

    def idle(self):
        until(lambda: not self.cluster.workers(), "no fetch is under way")


def dropped_databases(life):
    """DROP DATABASE waits 5 s for others, and a fetch takes no longer than 4.5 s."""
    root = life.cluster.session("postgres", "postgres")
    other = life.cluster.create_db("life_other")
    for how in ("", " WITH (FORCE)"):
        issuer = life.issuer(keys(1, stall="head"))
        issuer.owner.close()
        under_way(life.cluster, life.endpoint, issuer)
        if not how:
            life.checks.equal("another database, meanwhile", root.code(f"DROP DATABASE {other}"), None)
            life.checks.equal(
                "a database is created", root.code("CREATE DATABASE life_created TEMPLATE template_test"), None
            )
            life.checks.equal("of another name", root.code("ALTER DATABASE life_created RENAME TO life_renamed"), None)
        life.checks.true("the fetch is under way", life.cluster.workers())
        life.checks.equal(f"DROP DATABASE{how}", root.code(f"DROP DATABASE {issuer.db}{how}"), None)
        life.idle()
    issuer = life.issuer(keys(1, stall="head"))
    issuer.owner.close()
    under_way(life.cluster, life.endpoint, issuer)
    life.checks.equal("renamed", root.code(f"ALTER DATABASE {issuer.db} RENAME TO life_renamed2"), None)


def changes_in_flight(life):
    """The keys asked for do not count any more when the answer comes."""
    changes = {
        "unfollowed": "SELECT auth.unfollow('{name}')",
        "deleted": "DELETE FROM auth.issuers WHERE issuer = '{name}'",
        "renamed": "UPDATE auth.issuers SET issuer = 'https://renamed.test.example' WHERE issuer = '{name}'",
        "disabled": "UPDATE auth.issuers SET enabled = false WHERE issuer = '{name}'",
        "at another URL": "SELECT auth.follow_url('{name}', '{url}?other', '{{app}}')",
        "by a source that was written by hand": """
            UPDATE auth.issuers SET source = '{{"kind": "url", "url": "{url}?hand"}}' WHERE issuer = '{name}'""",
        "without its state": "DELETE FROM auth.endpoints WHERE issuer = '{name}'",
        "without the extension": "DROP EXTENSION pg_auth_jwt CASCADE",
        "in a new extension": (
            "DROP EXTENSION pg_auth_jwt CASCADE; CREATE EXTENSION pg_auth_jwt; "
            "SELECT auth.follow_url('{name}', '{url}?new', '{{app}}')"
        ),
    }
    for what, change in changes.items():
        held = Held(keys(1, 6))
        issuer = life.issuer(held)
        life.endpoint.script(issuer.path + "?other", Answer("", 500))
        under_way(life.cluster, life.endpoint, issuer)
        # Nothing is locked meanwhile.
        issuer.owner.query("SET lock_timeout = '20 s'")
        life.checks.equal(what, issuer.owner.code(change.format(name=issuer.name, url=issuer.url)), None)
        held.release()
        life.idle()
        if "without the extension" in what:
            continue
        # A disabled issuer has keys that are good once it is enabled; the state says nothing of what to trust.
        wanted = "1" if what in ("disabled", "without its state") else "0"
        stored = issuer.owner.value("SELECT count(*) FROM auth.jwks WHERE kid = 'e6'")
        life.checks.equal(f"{what}: whether the answer is stored", stored, wanted)
        if what == "disabled":
            with life.cluster.session(issuer.db) as session:
                life.checks.equal(f"{what}: its key does not count", issuer.sign_in(session, 6), "28J03")
    # Withdrawn by hand while it is being fetched.
    held = Held(keys(1, 6))
    issuer = life.issuer(held)
    under_way(life.cluster, life.endpoint, issuer)
    issuer.owner.query("DELETE FROM auth.jwks WHERE kid = 'e1'")
    held.release()
    life.idle()
    life.checks.equal("withdrawn in flight", issuer.kids(), ["e6"])
    # Withdrawn in a transaction that is open when the answer comes, which so waits for its end.
    held = Held(keys(1, 6))
    issuer = life.issuer(held)
    under_way(life.cluster, life.endpoint, issuer)
    issuer.owner.query("BEGIN; DELETE FROM auth.jwks WHERE kid = 'e1'")
    held.release()
    with life.cluster.session(issuer.db, "postgres") as root:
        until(
            lambda: root.value("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0" or not life.cluster.workers(),
            "the answer waits",
        )
    issuer.owner.query("COMMIT")
    life.idle()
    life.checks.true("withdrawn while the answer waits", "e1" not in issuer.kids())
    # A transaction that holds the row is waited for, and nothing else waits for that.
    held = Held(keys(1, 6))
    issuer = life.issuer(held)
    under_way(life.cluster, life.endpoint, issuer)
    issuer.owner.query("BEGIN; UPDATE auth.issuers SET audience = '{other}'")
    held.release()
    with life.cluster.session(issuer.db) as session:
        life.checks.equal("signing in while the row is locked", issuer.sign_in(session, 1), None)
    issuer.owner.query("ROLLBACK")
    life.idle()
    life.checks.equal("and then", issuer.refresh()[0], "unchanged")
    life.checks.equal("and then its keys", issuer.kids(), ["e1", "e6"])


def edits_in_flight(life):
    """The end of a fetch keeps what the owner has written into its row since it began."""
    state = "outcome, failures, note, etag, jwks_uri"
    edit = "failures = 6, note = 'mine', etag = NULL, jwks_uri = 'https://mine.example/'"
    for what, transaction, expected in (
        ("committed", edit, ["failed", "7", "mine", None, "https://mine.example/"]),
        ("open while the end waits", edit, ["failed", "7", "mine", None, "https://mine.example/"]),
        ("another fetch's row", f"last_attempt = NULL, {edit}", [None, "6", "mine", None, "https://mine.example/"]),
    ):
        held = Held(Answer("", 500))
        issuer = life.issuer(held)
        under_way(life.cluster, life.endpoint, issuer)
        issuer.owner.query("BEGIN")
        issuer.change(transaction)
        if "open" not in what:
            issuer.owner.query("COMMIT")
        held.release()
        if "open" in what:
            life.waits_for_lock(issuer)
            issuer.owner.query("COMMIT")
        life.idle()
        life.checks.equal(what, issuer.state(state), expected)
        lines = [line for line in life.cluster.log().splitlines() if f'"{issuer.name}"' in line and "failures" in line]
        # The seventh failure is no power of two, and an end without effect is none.
        life.checks.equal(f"{what}: the log", lines, [])


def another_source_before_the_claim(life):
    """auth.follow_url commits while a claim waits for its row: the new URL is fetched, and not the former."""
    issuer = life.issuer()
    other = life.endpoint.script(issuer.path + "?other", keys(2))
    before = issuer.seen()
    issuer.owner.query("BEGIN")
    issuer.follow(other)
    with life.cluster.session(issuer.db, "owner_role") as asker:
        asker.begin_query(f"SELECT outcome FROM auth.refresh('{issuer.name}')")
        life.waits_for_lock(issuer)
        issuer.owner.query("COMMIT")
        life.checks.equal("its outcome", asker.receive(), [["changed"]])
    life.checks.equal("its keys", [issuer.kids(), issuer.state("url")], [["e2"], other])
    life.checks.equal("the former URL is not asked", issuer.seen(), before)


def rules_while_an_answer_is_compared(life):
    """A key is allowed again just after the answer was found to bring nothing new: the next fetch stores it,
    although the endpoint would say that nothing was modified."""
    issuer = life.issuer(keys(1, 2))
    issuer.outcome()
    issuer.owner.query("DELETE FROM auth.jwks WHERE kid = 'e2'")
    held = Held(keys(1, 2))
    issuer.script(held)
    under_way(life.cluster, life.endpoint, issuer)
    issuer.owner.query("BEGIN; LOCK TABLE auth.jwks; DELETE FROM auth.withdrawn_keys")
    held.release()
    life.waits_for_lock(issuer)
    issuer.owner.query("COMMIT")
    life.idle()
    life.checks.equal("the answer brings nothing", [issuer.state("outcome"), issuer.kids()], ["unchanged", ["e1"]])
    issuer.list(1, 2)
    life.checks.equal("the next one does", [issuer.outcome(), issuer.kids()], ["changed", ["e1", "e2"]])


def waiting_sessions(life):
    """A session that waits for a fetch can be cancelled, and its own end ends nothing else."""
    held = Held(keys(1))
    issuer = life.issuer(held)
    with life.cluster.session(issuer.db, "postgres") as root:
        issuer.owner.begin_query(f"SELECT * FROM auth.refresh('{issuer.name}')")
        life.endpoint.wait(issuer.path, 2)
        root.query(f"SELECT pg_cancel_backend({issuer.owner.backend})")
        life.checks.equal("cancelled", issuer.owner.code(), "57014")
        held.release()
        life.idle()
        held = Held(keys(1))
        issuer.script(held)
        session = life.cluster.session(issuer.db)
        issuer.change("unknown_key_after = NULL, unknown_key_wait = 30, next_attempt = now() + interval '5 min'")
        session.query("SET pg_auth_jwt.fetch_wait = 10000; SET statement_timeout = 1000")
        life.checks.equal("a statement's time is over", issuer.sign_in(session, 9), "57014")
        life.checks.equal("and the session goes on", issuer.sign_in(session, 1), None)
        held.release()
        life.idle()
        # Terminated, as an administrator would.
        under_way_again = life.issuer(keys(1, stall="head"), db=issuer.db)
        under_way(life.cluster, life.endpoint, under_way_again)
        root.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'pg_auth_jwt fetch%'"
        )
        life.idle()
        under_way_again.list(1, 2)
        under_way_again.change("last_attempt = now() - interval '11 s', next_attempt = now() - interval '1 s'")
        life.checks.equal("after that", [under_way_again.outcome(), under_way_again.kids()], ["changed", ["e1", "e2"]])


def dropped_while_waited_for(life):
    """auth.refresh() whose extension is dropped while it waits has an outcome."""
    drop = "DROP EXTENSION pg_auth_jwt CASCADE"
    for change in (drop, f"{drop}; CREATE EXTENSION pg_auth_jwt"):
        for call in (
            "SELECT issuer, outcome FROM auth.refresh('{name}')",
            "SELECT issuer, outcome FROM auth.refresh()",
            "SELECT (auth.refresh('{name}')).outcome",
        ):
            held = Held(keys(1))
            issuer = life.issuer(held)
            issuer.owner.begin_query(call.format(name=issuer.name))
            life.checks.true("it is asked", life.endpoint.wait(issuer.path, 2))
            with life.cluster.session(issuer.db, "postgres") as root:
                root.query(change)
            try:
                rows = issuer.owner.receive()
            except PgError as error:
                rows = [[error.code]]
            life.checks.equal(f"{call}, {change}", [row[-1] for row in rows], ["unknown"])
            held.release()
            life.idle()


def owners(life):
    """A fetch does what the extension's owner may, whether they can connect or not."""
    issuer = life.issuer()
    db, root = issuer.db, life.cluster.session(issuer.db, "postgres")
    turns = iter(range(100))

    def works(what):
        number = 10 + next(turns)
        issuer.list(1, number)
        life.checks.equal(
            what,
            [
                root.value(f"SELECT outcome FROM auth.refresh('{issuer.name}')"),
                root.value(f"SELECT count(*) FROM auth.jwks WHERE kid = 'e{number}'"),
            ],
            ["changed", "1"],
        )

    for what, change, back in (
        ("NOLOGIN", "ALTER ROLE owner_role NOLOGIN", "ALTER ROLE owner_role LOGIN"),
        ("renamed", "ALTER ROLE owner_role RENAME TO renamed_role", "ALTER ROLE renamed_role RENAME TO owner_role"),
        (
            "no connection allowed",
            "ALTER ROLE owner_role CONNECTION LIMIT 0",
            "ALTER ROLE owner_role CONNECTION LIMIT -1",
        ),
        (
            "not to this database",
            f"REVOKE CONNECT ON DATABASE {db} FROM PUBLIC, owner_role",
            f"GRANT CONNECT ON DATABASE {db} TO PUBLIC",
        ),
        ("expired", "ALTER ROLE owner_role VALID UNTIL '2000-01-01'", "ALTER ROLE owner_role VALID UNTIL 'infinity'"),
        ("a database for one", f"ALTER DATABASE {db} CONNECTION LIMIT 1", f"ALTER DATABASE {db} CONNECTION LIMIT -1"),
        (
            "no grants to PUBLIC",
            "REVOKE ALL ON SCHEMA public, auth FROM PUBLIC",
            "GRANT USAGE ON SCHEMA public, auth TO PUBLIC",
        ),
    ):
        root.query(change)
        works(what)
        root.query(back)

    # Settings that the owner may store, against it.
    hostile = {
        "default_transaction_read_only": "on",
        "search_path": "evil, pg_catalog",
        "statement_timeout": "1",
        "lock_timeout": "1",
        "idle_in_transaction_session_timeout": "1",
        "idle_session_timeout": "1",
        "row_security": "off",
        "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on",
        "role": "authenticated",
        "datestyle": "SQL, DMY",
        "intervalstyle": "iso_8601",
        "timezone": "Pacific/Kiritimati",
        "client_encoding": "SJIS",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "standard_conforming_strings": "off",
        "work_mem": "64",
        "client_min_messages": "error",
        "default_table_access_method": "heap",
        "synchronous_commit": "off",
        "plan_cache_mode": "force_generic_plan",
        "enable_indexscan": "off",
        "enable_seqscan": "off",
        "xmloption": "document",
        "array_nulls": "off",
        "transform_null_equals": "on",
        "quote_all_identifiers": "on",
        "lo_compat_privileges": "off",
        "jit_above_cost": "0",
        "pg_auth_jwt.require_token": "on",
        "pg_auth_jwt.scope": "transaction",
        "pg_auth_jwt.fetch_wait": "0",
        "pg_auth_jwt.evaluate_once": "off",
        "pg_auth_jwt.fetch_hosts": "",
        "pg_auth_jwt.fetch_ca_file": "/nonexistent",
    }
    issuer.owner.query("SELECT auth.user_id()")
    without_library = life.cluster.session(db, "owner_role")
    for name, value in hostile.items():
        for whose in (f"DATABASE {db}", f"ROLE owner_role IN DATABASE {db}"):
            if issuer.owner.code(f"ALTER {whose} SET {name} = '{value}'") is not None:
                without_library.code(f"ALTER {whose} SET {name} = '{value}'")
    stored = root.value(
        "SELECT count(*) FROM pg_db_role_setting s, unnest(setconfig) "
        f"WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{db}')"
    )
    life.checks.true(f"settings that are stored: {stored}", int(stored) >= 50)
    works("with the owner's settings")

    # Objects that the owner may create, to be run by others.
    issuer.owner.query("""
        CREATE TABLE public.ran (what text, session_role text, current_role_ text);
        CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON public.ran TO PUBLIC""")
    types = ("text", "timestamptz", "boolean", "integer", "jsonb", "interval", "bytea", "oid", "name", "text[]")
    for n, kind in enumerate(types):
        issuer.owner.query(f"""CREATE FUNCTION evil.f{n}(a {kind}, b {kind}) RETURNS boolean LANGUAGE plpgsql AS
            $$BEGIN
                INSERT INTO public.ran VALUES ('operator on {kind}', session_user, current_user);
                RETURN true;
            END$$""")
        for operator in ("=", "<", ">", "<=", ">=", "<>", "||", "+", "-", "@>", "->", "->>"):
            issuer.owner.query(
                f"CREATE OPERATOR evil.{operator} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = evil.f{n})"
            )
    for name, arguments, result in (
        ("now", "", "timestamptz"),
        ("clock_timestamp", "", "timestamptz"),
        ("count", "anyelement", "bigint"),
        ("format", "text", "text"),
        ("to_timestamp", "float8", "timestamptz"),
        ("sha256", "bytea", "bytea"),
        ("coalesce_", "text", "text"),
        ("encode", "bytea, text", "text"),
        ("greatest_", "timestamptz", "timestamptz"),
        ("hashtextextended", "text, bigint", "bigint"),
        ("current_setting", "text", "text"),
    ):
        issuer.owner.query(f"""CREATE FUNCTION evil.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS
            $$BEGIN INSERT INTO public.ran VALUES ('{name}', session_user, current_user); RETURN NULL; END$$""")
    refused = [
        sql
        for sql in (
            "CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON auth.{table} FOR EACH ROW EXECUTE FUNCTION evil.f()",
            "CREATE RULE r AS ON INSERT TO auth.{table} DO ALSO NOTHING",
            "CREATE POLICY p ON auth.{table} USING (evil.f0('a', 'b'))",
            "ALTER TABLE auth.{table} ALTER issuer SET DEFAULT evil.now()::text",
            "ALTER TABLE auth.{table} ADD CHECK (evil.f0('a', 'b'))",
            "CREATE INDEX ON auth.{table} ((evil.f0(issuer, issuer)))",
            "ALTER TABLE auth.{table} ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE auth.{table} DISABLE TRIGGER ALL",
        )
        for table in ("issuers", "jwks", "endpoints", "withdrawn_keys")
        if issuer.owner.code(sql.format(table=table)) != "42501"
    ]
    life.checks.equal("what the owner may attach to the tables", refused, [])
    works("beside the owner's functions")
    life.checks.equal("none of which ran", root.query("TABLE public.ran"), [])


def dumps(life):
    """A dump has the keys and the state of its time. Its keys count no longer than they would
    have."""
    issuer = life.issuer(keys(1, 2))
    issuer.outcome()
    issuer.owner.query("DELETE FROM auth.jwks WHERE kid = 'e2'")
    issuer.change("last_success = now() - interval '8 days', next_attempt = now() + interval '5 min'")
    dump = life.cluster.client("pg_dump", "-U", "owner_role", issuer.db)
    life.cluster.client("createdb", "-O", "owner_role", "life_restored")
    output = life.cluster.client(
        "psql",
        "-XAtq",
        "-U",
        "owner_role",
        "-v",
        "ON_ERROR_STOP=1",
        "life_restored",
        input=dump,
        stderr=subprocess.STDOUT,
    )
    life.checks.equal(
        "restored without a word", [line for line in output.splitlines() if "ERROR" in line or "WARNING" in line], []
    )
    restored = Issuer(life.cluster.session("life_restored", "owner_role"), life.endpoint, issuer.path[1:], follow=False)
    restored.script(Answer("", 500))
    with life.cluster.session("life_restored") as session:
        life.checks.equal(
            "its keys are too old",
            [restored.kids(), restored.sign_in(session, 1), restored.status()],
            [["e1"], "28J03", "stale"],
        )
        restored.list(1, 2, 3)
        until(lambda: restored.outcome() == "changed", "the restored database fetches")
        life.checks.equal(
            "a fetch makes them count, without what was withdrawn",
            [restored.kids(), restored.sign_in(session, 1)],
            [["e1", "e3"], None],
        )


def no_free_process(life):
    """All of max_worker_processes in use: said, and no error."""
    stalled = [life.issuer(keys(1, stall="head")) for _ in range(2)]
    busy = life.issuer()
    life.cluster.configure(max_worker_processes=1, max_logical_replication_workers=0)
    life.cluster.control("restart")
    for issuer in (*stalled, busy):
        issuer.owner = life.cluster.session(issuer.db, "owner_role")
    under_way(life.cluster, life.endpoint, stalled[0])
    busy.list(1, 2)
    outcome, detail = busy.refresh()
    life.checks.equal("no process is free", outcome, "not_started")
    life.checks.true(f"says which setting: {detail}", "max_worker_processes" in (detail or ""))
    with life.cluster.session(busy.db) as session:
        life.checks.equal("a known key", busy.sign_in(session, 1), None)
        error = busy.error(session, 2)
        life.checks.equal("a new one", error.code, "28J03")
        life.checks.true(
            f"says why: {error.fields.get('H')}",
            "max_worker_processes" in error.fields.get("H", "") + error.fields.get("D", ""),
        )
        life.idle()
        busy.change("unknown_key_after = NULL, unknown_key_wait = 30, last_attempt = NULL")
        life.checks.equal(
            "when one is free again", until(lambda: busy.sign_in(session, 2) is None, "the new key is fetched"), True
        )
    life.cluster.configure(max_worker_processes=16)


def shutdowns(life):
    """With a fetch under way. pg_ctl gives up sooner than a fetch would end by itself."""
    for mode in ("fast", "immediate"):
        issuer = life.issuer(keys(1, stall="head"))
        under_way(life.cluster, life.endpoint, issuer)
        life.cluster.control("stop", "-m", mode, "-t", "4")
        life.cluster.control("start")
        issuer.owner = life.cluster.session(issuer.db, "owner_role")
        issuer.list(1, 2)
        issuer.change("last_attempt = now() - interval '11 s', unknown_key_after = NULL")
        life.checks.equal(f"after {mode} shutdown", [issuer.outcome(), issuer.kids()], ["changed", ["e1", "e2"]])


def crashes(life):
    """A fetch that is killed takes the server through a crash restart, and leaves nothing."""
    issuer = life.issuer(keys(1, stall="head"))
    under_way(life.cluster, life.endpoint, issuer)
    (pid,) = life.cluster.workers()
    os.kill(pid, signal.SIGKILL)

    def up():
        try:
            return life.cluster.session(issuer.db, "owner_role")
        except (PgError, OSError):
            return None

    def crashed():
        try:
            issuer.owner.query("SELECT 1")
        except (PgError, OSError):
            return True

    until(crashed, "the server restarts")
    issuer.owner = until(up, "the server is up again")
    issuer.list(1, 2)
    with life.cluster.session(issuer.db) as session:
        life.checks.equal("known keys count at once", issuer.sign_in(session, 1), None)
    # Within 10 s the attempt of before counts as under way.
    until(lambda: issuer.outcome() == "changed", "a fetch after the crash", 60)
    life.checks.equal("after a crash", issuer.kids(), ["e1", "e2"])


def preloaded(life):
    """Loaded at the server's start: refreshed also where no one signs in."""
    issuer = life.issuer()
    issuer.list(1, 2)
    issuer.change("next_attempt = now() - interval '1 s'")
    issuer.owner.close()
    before = issuer.seen()
    life.cluster.configure(shared_preload_libraries="pg_auth_jwt")
    life.cluster.control("restart")
    life.checks.true("fetched without traffic", life.endpoint.wait(issuer.path, before + 1, 60))
    issuer.owner = life.cluster.session(issuer.db, "owner_role")
    until(lambda: issuer.kids() == ["e1", "e2"], "its keys are stored")
    # And when its time comes, later on.
    issuer.list(1, 2, 3, headers={"Cache-Control": "max-age=60"})
    root = life.cluster.session("postgres", "postgres")
    # A process may be fetching for another issuer.
    others = "backend_type LIKE 'pg_auth_jwt%' AND backend_type NOT LIKE 'pg_auth_jwt fetch%'"
    life.checks.equal(
        "one process for all, without a database",
        root.query(f"SELECT backend_type, datname FROM pg_stat_activity WHERE {others}"),
        [["pg_auth_jwt launcher", None]],
    )
    life.checks.equal("refreshed by hand", issuer.outcome(), "changed")
    # Databases come and go.
    stalled = life.issuer(keys(1, stall="head"))
    stalled.owner.close()
    under_way(life.cluster, life.endpoint, stalled)
    life.checks.equal("dropped during a fetch", root.code(f"DROP DATABASE {stalled.db}"), None)
    with life.cluster.session(issuer.db) as session:
        life.checks.equal("signed in", [issuer.sign_in(session, 3), session.value(WHO)], [None, "u1"])
    # The launcher is no single point: killed, the server restarts, and it starts again.
    root.close()
    issuer.change("next_attempt = now() - interval '1 s'")
    with life.cluster.session("postgres", "postgres") as root:
        launcher = int(
            root.value(
                "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_auth_jwt%' "
                "AND backend_type NOT LIKE '%refresh%'"
            )
        )
        root.query(f"SELECT pg_terminate_backend({launcher})")

    def restarted():
        with life.cluster.session("postgres", "postgres") as root:
            return root.value(
                "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_auth_jwt%' "
                "AND backend_type NOT LIKE '%refresh%' "
                f"AND pid <> {launcher}"
            )

    until(restarted, "the launcher is started again", 60)
    stalled = life.issuer(keys(1, stall="head"))
    under_way(life.cluster, life.endpoint, stalled)
    life.cluster.control("stop", "-m", "fast", "-t", "4")
    life.cluster.control("start")
    until(restarted, "the launcher is there after a restart", 60)


def standby(life, place):
    """A standby fetches nothing, and goes on with the keys that it gets; when it is promoted it
    fetches."""
    issuer = life.issuer()
    with Cluster("endpoint_standby", standby_of=life.cluster) as follower:

        def session(user):
            return follower.session(issuer.db, user)

        issuer.list(1, 2)
        issuer.outcome()
        position = issuer.owner.value("SELECT pg_current_wal_flush_lsn()")
        monitor = session("postgres")
        until(
            lambda: monitor.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t",
            "the standby has caught up",
        )
        before = issuer.seen()
        issuer.change("next_attempt = now() - interval '1 hour', unknown_key_after = NULL")
        position = issuer.owner.value("SELECT pg_current_wal_flush_lsn()")
        until(
            lambda: monitor.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t",
            "the standby has caught up",
        )
        user = session("authenticated")
        life.checks.equal("known keys", [issuer.sign_in(user, 1), issuer.sign_in(user, 2)], [None, None])
        error = issuer.error(user, 3)
        life.checks.equal("an unknown one", error.code, "28J03")
        error = session("owner_role").error("SELECT * FROM auth.refresh()")
        life.checks.equal("auth.refresh() on a standby", error and error.code, "25006")
        life.checks.true("says where to", error and "primary" in error.hint)
        life.checks.equal(
            "key_status there", session("owner_role").value("SELECT DISTINCT state FROM auth.key_status"), "live"
        )
        life.checks.equal("the standby has asked nothing", issuer.seen(), before)
        follower.control("promote")
        issuer.list(1, 2, 3)
        life.checks.equal("promoted, a known key", issuer.sign_in(session("authenticated"), 1), None)
        life.checks.true("fetches", life.endpoint.wait(issuer.path, before + 1))
        owner = session("owner_role")
        until(lambda: owner.value("SELECT count(*) FROM auth.jwks") == "3", "the promoted one has the new key")
        life.checks.equal("also in a session from before", issuer.sign_in(user, 3), None)


checks = Checks()
with (
    folder() as place,
    FetchingCluster("endpoint_life", place, max_wal_senders=4) as cluster,
    Endpoint(cluster.authority) as endpoint,
):
    cluster.allow(endpoint.host)
    life = Life(checks, cluster, endpoint)
    checks.run((dropped_databases, changes_in_flight), life)
    checks.run((edits_in_flight, another_source_before_the_claim, rules_while_an_answer_is_compared), life)
    checks.run((waiting_sessions, dropped_while_waited_for, owners, dumps), life)
    checks.run((standby,), life, place)
    checks.equal("no crash", cluster.crashes(), [])
    checks.run((shutdowns, crashes), life)
    checks.equal("one crash, which was meant", len(cluster.crashes()), 1)
    checks.run((no_free_process, preloaded), life)
    checks.equal("and no other", len(cluster.crashes()), 1)
    until(lambda: not cluster.workers(), "no process is left")
checks.done("servers, databases and owners go away while keys are fetched")
