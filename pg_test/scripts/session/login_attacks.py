#!/usr/bin/env python3
"""A connection whose token is not good is refused, whatever is wrong: with the same answer for every reason, one line
in the log, and no token in it. Neither senders of tokens nor owners of databases keep honest users out."""

import json
import os
import socket
import threading
import time

from lib import ed25519, oauth_client, tokens
from lib.following import until, within
from lib.login_load import junk_bytes
from lib.oauth_client import LOGIN_DATABASE, LoginCluster, LoginSession, initial_response, issuer, line, token
from lib.pg import Checks, PgError

WHO = "SELECT auth.user_id()"
ANSWER = 'OAuth bearer authentication failed for user "{}"'
MAP = "everyone /^.*$ authenticated\neveryone /^.*$ boss\n"
MAPPED = "map=everyone"
WORKERS = "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_auth_jwt login%'"
STARTING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'starting'"
ROW, OWN = "UPDATE auth.issuers SET", f"ALTER DATABASE {LOGIN_DATABASE}"
# A server that is not set up for logins.
NOT_SET_UP = "55000"


class Place:
    """A database with the issuer, where everyone logs in as authenticated."""

    def __init__(self, cluster, name):
        self.cluster, self.root = cluster, cluster.root
        self.db = cluster.create_db(name)
        cluster.session(self.db, "owner_role").query(issuer())
        cluster.configure([line(more=MAPPED)], MAP)

    def login(self, bearer=None, user="authenticated", **options):
        return self.cluster.login(self.db, user, bearer or token(), **options)

    def refused(self, bearer, user="authenticated", **options):
        return self.cluster.refused(self.db, user, bearer, **options)

    def is_let_in(self, checks, what):
        checks.equal(f"a good one: {what}", self.refused(token()), "let in")

    def workers(self):
        return [int(pid) for (pid,) in self.root.query(WORKERS)]

    def begin(self, bearer):
        """A login in a thread; when it ends, the list has `let in`, the client's SQLSTATE, or `closed`."""
        outcome = []

        def run():
            try:
                self.login(bearer).close()
                outcome.append("let in")
            except PgError as error:
                outcome.append(error.code)
            except ConnectionError:
                outcome.append("closed")

        thread = threading.Thread(target=run)
        thread.start()
        return thread, outcome


def bad_tokens(checks, place):
    """Each reason has its SQLSTATE in the log, and the client learns none of them."""
    good = token("u1")
    head, body, signature = good.split(".")
    claims = {"iss": tokens.ISSUER, "sub": "u1", "aud": oauth_client.AUDIENCE, "scope": oauth_client.SCOPE}
    cases = [
        ("expired", token("u1", -1), "28J05"),
        ("not yet valid", token("u1", nbf=time.time() + 600), "28J06"),
        ("another audience", token(aud="https://else.test.example"), "28J08"),
        ("no audience", token(aud=None), "28J08"),
        ("another issuer", token(iss="https://else.test.example"), "28J07"),
        ("no issuer", token(iss=None), "28J07"),
        ("an issuer by its beginning", token(iss=tokens.ISSUER + "/"), "28J07"),
        ("no scope", token(scope=None), "28J09"),
        ("another scope", token(scope="x"), "28J09"),
        ("an unknown key", token(header={"kid": "k77"}), "28J03"),
        ("another key's signature", token(key=tokens.Secret(b"x" * 32), header={"kid": "k0"}), "28J04"),
        ("another payload", f"{head}.{token('u2').split('.')[1]}.{signature}", "28J04"),
        ("no expiry", tokens.signed({"alg": "HS256", "kid": "k0"}, claims), "28J09"),
        ("no algorithm", tokens.signed({"alg": "none", "kid": "k0"}, {**claims, "exp": time.time() + 60}), "28J02"),
        ("a signature of none", f"{tokens.encode({'alg': 'none'})}.{body}.", "28J01"),
        ("two parts", f"{head}.{body}", "28J01"),
        ("four parts", f"{good}.{signature}", "28J01"),
        ("nonsense", "x", "28J01"),
        ("padded", f"{good}=", "28J01"),
        ("a payload that is no object", tokens.signed({"alg": "HS256", "kid": "k0"}, "[]"), "28J07"),
        ("bound to a key", token(cnf={"jkt": "x"}), "28J09"),
        ("a huge one of nothing", "x" * 65_000, "28J01"),
        ("a huge one that is forged", token("u1", pad="x" * 45_000)[:-8] + "AAAAAAAA", "28J04"),
    ]
    place.cluster.new_lines()
    answers = set()
    for what, bad, state in cases:
        try:
            place.login(bad).close()
            checks.true(f"{what}: let in", False)
            continue
        except PgError as error:
            answers.add((error.code, error.message, error.detail, error.hint))
            checks.equal(f"{what}: where tokens are to be had", error.challenge["status"], "invalid_token")
        lines = place.cluster.new_lines()
        said = [(code, message) for _, code, _, message in lines if message.startswith("login by token refused: ")]
        checks.equal(f"{what}: {said}", [code for code, _ in said], [state])
        checks.equal(f"{what}: nobody", [m for *_, m in lines if m.startswith("connection authenticated")], [])
    checks.equal("one answer for all", answers, {("28000", ANSWER.format("authenticated"), "", "")})
    checks.equal("and for a role that is missing", place.refused(token(), "missing")[0], "28000")

    # The log at its most talkative.
    place.cluster.alter(log_min_messages="debug5", log_error_verbosity="verbose")
    for _, bad, _ in cases:
        place.refused(bad)
    log = place.cluster.log()
    for what, bad, _ in [*cases, ("good", good, None)]:
        for part in bad.split("."):
            # Headers are the same in many tokens, and short parts are in other words.
            if len(part) > 40:
                checks.true(f"{what}: not in the log", part[:40] not in log and part[-40:] not in log)
    checks.true("debugging was on", "DEBUG" in log)
    place.cluster.alter(log_min_messages=None, log_error_verbosity=None)
    place.is_let_in(checks, "after all of these")


def sizes(checks, place):
    """As long as Postgres takes, and no longer."""
    for pad in (10_000, 45_000, 48_000):
        long = token("u1", pad="x" * pad)
        with place.login(long) as s:
            checks.equal(f"{len(long)} bytes", s.value(WHO), "u1")
            s.query("DISCARD ALL")
            checks.equal(f"{len(long)} bytes, reset", s.value(WHO), "u1")
    checks.equal("too long for Postgres", place.refused("x" * 65_536), ("28000", []))


def messages(checks, place):
    """A client that asks for the issuer, or breaks the protocol, gets no further."""
    place.cluster.new_lines()
    try:
        place.cluster.login(place.db, "authenticated").close()
        checks.true("without a token", False)
    except PgError as error:
        url = f"{tokens.ISSUER}/.well-known/openid-configuration"
        wanted = {"status": "invalid_token", "openid-configuration": url, "scope": oauth_client.SCOPE}
        checks.equal("is told the issuer", [error.code, error.challenge], ["28000", wanted])
    checks.equal("which is no refusal", place.cluster.refusals(), [])
    good = initial_response(token())
    for what, response in (
        ("cut off", good[:-1]),
        ("longer", good + "x"),
        ("another scheme", good.replace("Bearer", "Basic")),
        ("a NUL", good.replace("auth", "au\0th")),
        ("for somebody", good.replace("n,,", "n,a=boss,")),
        ("twice", good[:-1] + good[4:]),
        ("no token", good.replace(token(), "")[:10]),
        ("not ASCII", good.replace("Bearer ", "Bearer é")),
        ("a token behind a space", good.replace("Bearer ", "Bearer a ")),
    ):
        try:
            place.login(response=response).close()
            checks.true(f"{what}: let in", False)
        except PgError as error:
            checks.true(f"{what}: {error}", error.code in ("28000", "08P01", "0A000"))
    checks.equal("none came to the check", place.cluster.refusals(), [])
    with place.login(response=good.replace("Bearer ", "bEARER   ")) as s:
        checks.equal("by other letters", s.value(WHO), "u1")


def names(checks, place):
    """A user's name is not cut, and forges no line of the log."""
    place.cluster.configure([line()])
    for role in ("authenticated", "boss"):
        for sub in (f"{role}\0x", f"{role}\0", f"\0{role}", f" {role}", f"{role} ", f"{role}\n"):
            checks.equal(f"{sub!r} as {role}", place.refused(token(sub), role)[0], "28000")
    place.cluster.configure([line(more=MAPPED)], MAP)
    forged = '1 00000 LOG:  connection authenticated: identity="forged" method=oauth'
    for sub in (f"u1\n{forged}", f"u1\r\n{forged}", "", "u\x1b[2J", "u\x7f", "u\x85x"):
        checks.equal(f"{sub[:5]!r}", place.refused(token(sub)), ("28000", ["28J09"]))
    checks.equal("a NUL", place.refused(token("\0")), ("28000", ["28J01"]))
    place.refused(token("u1", -1, x=f"\n{forged}\n"))
    # Text of a token whose signature is not good gets no further than the client, whatever is logged of others.
    place.cluster.set(audit_log="all")
    for mark in (
        token(header={"kid": "marker"}),
        token(iss="https://marker.test.example"),
        token("marker", key=tokens.Secret(b"x" * 32), header={"kid": "k0"}),
        token(key=tokens.Secret(b"x" * 32), header={"kid": "k0"}, aud="marker", scope="db marker", exp="marker"),
        token(header={"alg": "marker"}),
        token(header={"typ": "marker"}),
        token(header={"crit": ["marker"]}),
    ):
        checks.equal("refused", place.refused(mark)[0], "28000")
    checks.true("is not in the log", "marker" not in place.cluster.log())
    checks.true("refusals are", place.cluster.log().count("LOG:  token refused: reason 28J0") > 3)
    place.refused(token("expired marker", -1))
    checks.true("a good signature's is", 'sub "expired marker"' in place.cluster.log())
    place.cluster.set(audit_log=None)
    checks.equal("no line is forged", [row for row in place.cluster.log().split("\n") if row.startswith(forged)], [])
    for sub in ("ü 1", "u" * 200, "u'1\"", "%s%n"):
        with place.login(token(sub)) as s:
            checks.equal(f"{sub[:5]}", [s.value(WHO), s.value("SELECT system_user")], [sub, f"oauth:{sub}"])


def encodings(checks, place):
    """Two names that are one in the encoding of the login database are still two, and so are two roles."""
    cluster, root = place.cluster, place.root
    root.query("CREATE DATABASE euc ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0")
    cluster.set(login_database="euc")
    with cluster.session("euc", "postgres") as own:
        own.query("CREATE EXTENSION pg_auth_jwt")
        own.query(issuer())
        both = [own.value(f"SELECT convert('\\x{text.encode().hex()}', 'UTF8', 'EUC_JP')") for text in "\u00a6\uffe4"]
        checks.equal("one in that encoding", both[0], both[1])
        with place.login(token("u\uffe4")) as s:
            checks.equal("a name", s.value("SELECT system_user"), "oauth:u\uffe4")
        checks.equal("the other name", place.refused(token("u\u00a6")), ("28000", ["28J09"]))
        own.query("UPDATE auth.issuers SET role_claim = 'role', allowed_roles = '{r\uffe4}'")
        own.query('CREATE ROLE "r\uffe4" LOGIN')
        cluster.configure([line(more="delegate_ident_mapping=1")])
        role = (b"r" + bytes.fromhex(both[0][2:])).decode(errors="surrogateescape")
        with place.login(token(role="r\uffe4"), role) as s:
            checks.equal("a role", s.value("SELECT system_user"), "oauth:u1")
        checks.equal("the other role", place.refused(token(role="r\u00a6"), role), ("28000", ["42501"]))
        cluster.configure([line(more=MAPPED)], MAP)
        own.query('DROP ROLE "r\uffe4"')
    cluster.set(login_database=LOGIN_DATABASE)
    root.query("DROP DATABASE euc")


def before_it(checks, place):
    """Nothing that an unverified user sends is acted upon: no library of theirs is loaded, and no role looked into."""
    place.cluster.set(login_superuser="on")
    for user in ("boss", "authenticated"):
        for options in (
            {"options": "-c session_preload_libraries=no_such_library"},
            {"options": "-c local_preload_libraries=no_such_library"},
            {"options": "-c no_such_setting=1"},
            {"replication": "database"},
        ):
            bad = place.refused(token("u1", -1), user, **options)
            checks.equal(f"{user}, {options}", bad, ("28000", ["28J05"]))
    # It is seen once the user is known.
    checks.equal(
        "a superuser's own",
        place.refused(token(), "boss", options="-c session_preload_libraries=no_such_library")[0],
        "58P01",
    )
    place.cluster.set(login_superuser=None)


def not_set_up(checks, place):
    """A server that cannot verify refuses, and says what it lacks."""
    cluster, root = place.cluster, place.root
    theirs = cluster.create_db("theirs")
    root.query("CREATE DATABASE bare")
    cluster.session(theirs, "owner_role").query(issuer())
    for what, database in (
        ("none is set", None),
        ("a missing one", "no_such_database"),
        ("one without the extension", "bare"),
        ("one whose extension is another role's", theirs),
        ("the target, whose extension is its owner's", place.db),
        ("a template without connections", "template0"),
        ("a long name", "x" * 300),
    ):
        cluster.set(login_database=database if database else "")
        checks.equal(what, place.refused(token()), ("28000", [NOT_SET_UP]))
        checks.equal(f"{what}, a superuser", place.refused(token(), "boss")[0], "28000")
    cluster.set(login_database=LOGIN_DATABASE)
    place.is_let_in(checks, "set again")

    own = cluster.keys
    for change, undo, state in (
        (f"{ROW} audience = NULL", f"{ROW} audience = '{{{oauth_client.AUDIENCE}}}'", NOT_SET_UP),
        (f"{ROW} enabled = false", f"{ROW} enabled = true", "28J03"),
        (f"{ROW} issuer = 'https://x'", f"{ROW} issuer = '{tokens.ISSUER}'", "28J13"),
        # The row of any issuer.
        (f"{ROW} issuer = '*'", f"{ROW} issuer = '{tokens.ISSUER}'", NOT_SET_UP),
        ("ALTER TABLE auth.jwks RENAME COLUMN kid TO id", "ALTER TABLE auth.jwks RENAME COLUMN id TO kid", "28J03"),
        (f"{OWN} ALLOW_CONNECTIONS false", f"{OWN} ALLOW_CONNECTIONS true", NOT_SET_UP),
    ):
        (root if change.startswith("ALTER DATABASE") else own).query(change)
        got = place.refused(token())
        checks.equal(change, got, ("28000", [state]))
        (root if undo.startswith("ALTER DATABASE") else own).query(undo)
        place.is_let_in(checks, f"after {change}")


def key_writers(checks, place):
    """A role that is no superuser, and may write keys, would decide who logs in: no token opens a connection then."""
    cluster, root, own = place.cluster, place.root, place.cluster.keys

    def is_refused(what, role):
        cluster.new_lines()
        start = cluster.read
        checks.equal(what, place.refused(token()), ("28000", [NOT_SET_UP]))
        with open(f"{cluster.dir}/log") as log:
            log.seek(start)
            checks.true(f"{what}: the log names {role}", f'DETAIL:  Role "{role}" ' in log.read())

    root.query("CREATE ROLE manager; CREATE ROLE chief SUPERUSER")
    ours = "relnamespace = 'auth'::regnamespace AND relkind = 'r'"
    tables = own.query(f"SELECT oid::regclass::text FROM pg_class WHERE {ours}")
    checks.true(f"tables: {tables}", {"auth.issuers", "auth.jwks", "auth.revocations"} < {name for (name,) in tables})
    for (table,) in tables:
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "UPDATE (issuer)", "INSERT (issuer)"):
            own.query(f"GRANT {right} ON {table} TO manager")
            is_refused(f"{right} on {table}", "manager")
            own.query(f"REVOKE {right} ON {table} FROM manager")
        own.query(f"GRANT INSERT ON {table} TO PUBLIC")
        is_refused(f"INSERT on {table} for everyone", "PUBLIC")
        own.query(f"REVOKE INSERT ON {table} FROM PUBLIC")
        own.query(f"ALTER TABLE {table} OWNER TO manager")
        is_refused(f"{table} of another owner", "manager")
        own.query(f"ALTER TABLE {table} OWNER TO chief")
        place.is_let_in(checks, f"{table} of another superuser")
        own.query(f"ALTER TABLE {table} OWNER TO postgres; GRANT SELECT ON {table} TO manager, PUBLIC")
        place.is_let_in(checks, f"{table}: readers")
        own.query(f"REVOKE SELECT ON {table} FROM manager, PUBLIC; GRANT UPDATE ON {table} TO chief")
        place.is_let_in(checks, f"{table}: a superuser")
        own.query(f"REVOKE UPDATE ON {table} FROM chief")
    own.query("SELECT auth.grant_to('manager')")
    is_refused("auth.grant_to", "manager")
    own.query("SELECT auth.revoke_from('manager')")
    place.is_let_in(checks, "auth.revoke_from")

    # Tables that the issuer's row follows.
    own.query("CREATE TABLE public.sessions (id text PRIMARY KEY, user_id text, expires_at timestamptz)")
    own.query("INSERT INTO public.sessions VALUES ('s1', 'u1', 'infinity')")
    own.query(f"SELECT auth.follow_sessions('public.sessions', '{tokens.ISSUER}', 'sid')")
    mine = token(sid="s1")
    checks.equal("sessions of a superuser", place.refused(mine), "let in")
    own.query("GRANT INSERT ON public.sessions TO manager")
    checks.equal("sessions with a writer", place.refused(mine), ("28000", [NOT_SET_UP]))
    own.query("REVOKE INSERT ON public.sessions FROM manager; ALTER TABLE public.sessions OWNER TO manager")
    own.query("GRANT SELECT ON public.sessions TO postgres")
    own.query(f"SELECT auth.follow_sessions('public.sessions', '{tokens.ISSUER}', 'sid')")
    checks.equal("sessions of another owner", place.refused(mine), ("28000", [NOT_SET_UP]))
    own.query(f"SELECT auth.unfollow_sessions('{tokens.ISSUER}')")
    place.is_let_in(checks, "no sessions")

    follow = "SELECT auth.follow('public.followed', '{}', '{{{}}}')"
    name = "https://followed.test.example"
    own.query("CREATE TABLE public.followed (id text, public_key text, created_at timestamptz)")
    own.query(f"INSERT INTO public.followed VALUES ('e1', '{json.dumps(ed25519.key(1).jwk())}', now())")
    own.query(follow.format(name, oauth_client.AUDIENCE))
    cluster.configure([line(issuer=name, more=MAPPED)], MAP)
    theirs = ed25519.token(1, name, aud=oauth_client.AUDIENCE, scope=oauth_client.SCOPE)
    checks.equal("keys of a superuser", place.refused(theirs), "let in")
    own.query("GRANT UPDATE (public_key) ON public.followed TO manager")
    checks.equal("keys with a writer", place.refused(theirs), ("28000", [NOT_SET_UP]))
    own.query("REVOKE UPDATE (public_key) ON public.followed FROM manager")
    own.query("ALTER TABLE public.followed OWNER TO manager")
    own.query("GRANT SELECT ON public.followed TO postgres")
    own.query(follow.format(name, oauth_client.AUDIENCE))
    checks.equal("keys of another owner", place.refused(theirs), ("28000", [NOT_SET_UP]))
    own.query(f"DELETE FROM auth.issuers WHERE issuer = '{name}'; DROP TABLE public.followed, public.sessions")
    cluster.configure([line(more=MAPPED)], MAP)

    # The trusted extension of a role that is no superuser, made over to one.
    with LoginCluster("login_reassigned") as other:
        other.root.query("CREATE ROLE former LOGIN")
        other.configure(["local all former trust", line(more=MAPPED)], MAP)
        other.root.query("CREATE DATABASE other")
        other.root.query("GRANT CREATE ON DATABASE other TO former")
        with other.session("other", "former") as former:
            former.query("CREATE EXTENSION pg_auth_jwt")
            former.query(issuer())
            with other.session("other", "postgres") as owner:
                owner.query("REASSIGN OWNED BY former TO postgres")
            other.set(login_database="other")
            checks.equal("the former owner writes keys", former.code(issuer("https://x")), None)
            checks.equal("reassigned", other.refused("postgres", "authenticated", token()), ("28000", [NOT_SET_UP]))
            with other.session("other", "postgres") as owner:
                owner.query("SELECT auth.revoke_from('former')")
            checks.equal("the former owner no longer does", former.code(issuer("https://y")), "42501")
        checks.equal("revoked", other.refused("postgres", "authenticated", token()), "let in")

    # The database's owner can put another one in its place.
    root.query(f"{OWN} OWNER TO manager")
    is_refused("the database of another owner", "manager")
    root.query(f"{OWN} OWNER TO postgres; DROP ROLE manager, chief")
    place.is_let_in(checks, "of a superuser again")


def stored_settings(checks, place):
    """What is stored for the login database, or for the role of the worker, keeps nobody out."""
    for where in (OWN, "ALTER ROLE postgres", f"ALTER ROLE postgres IN DATABASE {LOGIN_DATABASE}"):
        for name in ("scope", "cache_size", "audit_log", "evaluate_once", "require_token", "unverified_claims",
                     "fetch_wait", "login_session"):  # fmt: skip
            # A session that has not loaded the library does not know which values there are.
            with place.cluster.session("postgres", "postgres") as root:
                root.query(f"{where} SET pg_auth_jwt.{name} = 'nonsense'")
                place.is_let_in(checks, f"{where}: {name}")
                root.query(f"{where} RESET pg_auth_jwt.{name}")


def dropped(checks, place):
    """DROP EXTENSION in the very moment of a login."""
    own = place.cluster.keys
    own.query("BEGIN; DROP EXTENSION pg_auth_jwt")
    thread, outcome = place.begin(token())
    until(place.workers, "a worker that waits")
    place.cluster.new_lines()
    own.query("COMMIT")
    thread.join()
    checks.equal("dropped meanwhile", [outcome, len(place.cluster.refusals())], [["28000"], 1])
    checks.equal("dropped", place.refused(token()), ("28000", [NOT_SET_UP]))
    own.query("CREATE EXTENSION pg_auth_jwt")
    own.query(issuer())
    place.is_let_in(checks, "created again")


def without_init_file(checks, place):
    """Changes of shared catalogs remove a file of the server's, which only other logins make again."""
    file = f"{place.cluster.dir}/data/global/pg_internal.init"
    place.is_let_in(checks, "at first")
    for number in range(5):
        place.root.query(f"CREATE ROLE temporary{number}; ALTER DATABASE {place.db} CONNECTION LIMIT -1")
        place.root.query("REINDEX TABLE pg_database")
        if os.path.exists(file):
            os.remove(file)
        place.is_let_in(checks, f"without the file, {number}")
        if os.path.exists(file):
            os.remove(file)
        checks.equal(f"a bad one, {number}", place.refused(token("u1", -1)), ("28000", ["28J05"]))
    # Many at once.
    for _ in range(3):
        if os.path.exists(file):
            os.remove(file)
        begun = [place.begin(token()) for _ in range(6)]
        for thread, _ in begun:
            thread.join()
        checks.equal("several", [outcome for _, outcome in begun], [["let in"]] * 6)


def ended_workers(checks, place):
    """A worker that is terminated, cancelled, or waits for a lock, costs its login and nothing else."""
    own = place.cluster.keys
    for how in ("pg_terminate_backend", "pg_cancel_backend"):
        own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
        thread, outcome = place.begin(token())
        until(place.workers, "a worker that waits")
        place.cluster.new_lines()
        for pid in place.workers():
            until(
                lambda pid=pid: place.root.value(f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {pid}")
                == "Lock",
                "its lock",
            )
            place.root.query(f"SELECT {how}({pid})")
        thread.join()
        checks.equal(how, [outcome, len(place.cluster.refusals())], [["28000"], 1])
        own.query("ROLLBACK")
        checks.equal(f"{how}: no worker stays", until(lambda: not place.workers(), "its end"), True)
        place.is_let_in(checks, f"after {how}")
    # A lock that is given back in time.
    own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
    thread, outcome = place.begin(token())
    until(place.workers, "a worker that waits")
    own.query("ROLLBACK")
    thread.join()
    checks.equal("the lock is given back", outcome, ["let in"])
    # A client that goes away.
    own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
    place.cluster.new_lines()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{place.cluster.dir}/.s.PGSQL.5432")
        client.sendall(junk_bytes(place.db, "authenticated", token()))
        until(place.workers, "a worker that waits")
    checks.equal("no client: no worker stays", until(lambda: not place.workers(), "its end"), True)
    checks.equal("no client: the log", within(30, place.cluster.refusals)[0][0], "08006")
    own.query("ROLLBACK")
    # A lock that is held for too long.
    own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
    checks.equal("the lock stays", place.refused(token()), ("28000", ["55P03"]))
    own.query("ROLLBACK")
    # A login that takes longer than Postgres allows: the reason is in the log.
    place.cluster.alter(authentication_timeout="1s")
    own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
    thread, outcome = place.begin(token())
    until(place.workers, "a worker that waits")
    thread.join()
    checks.equal("too long", [outcome, [state for state, _ in place.cluster.refusals()]], [["28000"], ["53400"]])
    checks.equal("too long: no worker stays", until(lambda: not place.workers(), "its end"), True)
    own.query("ROLLBACK")
    place.cluster.alter(authentication_timeout=None)
    place.is_let_in(checks, "after one that took too long")


def slots(checks):
    """With every worker process of the server at work a login waits for one, and is refused if none is free in time."""
    settings = {
        "max_worker_processes": "2",
        "max_parallel_workers": "2",
        "max_logical_replication_workers": "0",
        "authentication_timeout": "12s",
    }
    with LoginCluster("login_slots", **settings) as cluster:
        cluster.root.query("CREATE ROLE boss SUPERUSER LOGIN")
        place = Place(cluster, "test_slots")
        place.is_let_in(checks, "a free one")
        busy = [cluster.session(place.db, "postgres") for _ in range(2)]
        parallel = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"

        def occupy():
            for session in busy:
                session.begin_query("SET debug_parallel_query = on; SELECT pg_sleep(600)")
            until(lambda: cluster.root.value(parallel) == "2", "two workers")

        def free():
            for session in busy:
                cluster.root.query(f"SELECT pg_cancel_backend({session.backend})")
                session.error()
            until(lambda: cluster.root.value(parallel) == "0", "their end")

        occupy()
        # One that needs no worker, while the other waits.
        thread, outcome = place.begin(token())
        until(lambda: cluster.root.value(STARTING) == "1", "a login that waits")
        checks.equal("a bad one meanwhile", place.refused(token("u1", -7200)), ("28000", ["28J05"]))
        checks.equal("the other still waits", outcome, [])
        thread.join()
        checks.equal("no worker is free", outcome, ["28000"])
        checks.equal("the log says so", [state for state, _ in cluster.refusals()], ["53400"])
        rule = "HINT:  Make max_worker_processes at least the sum of max_parallel_workers, pg_auth_jwt.login_workers "
        checks.true("and what to do", rule in cluster.log())
        thread, outcome = place.begin(token())
        until(lambda: cluster.root.value(STARTING) == "1", "a login that waits")
        free()
        thread.join()
        checks.equal("one becomes free", outcome, ["let in"])
        # As docs/login.md has it: with places that parallel queries cannot take, no query keeps logins out.
        cluster.alter(max_parallel_workers="1")
        for session in busy:
            session.query("SELECT 1")
            session.begin_query("SET debug_parallel_query = on; SELECT pg_sleep(600)")
        until(lambda: cluster.root.value(parallel) == "1", "one worker")
        place.is_let_in(checks, "beside parallel queries")
        free()
        checks.equal("no crash", cluster.crashes(), [])


def signed_in(checks, place):
    """Who has logged in, and may run any SQL, cannot disturb the logins of others, nor be somebody else."""
    db, own = place.db, place.cluster.keys
    mallory = place.login(token("mallory"))
    head, _, signature = token("mallory").split(".")
    mixed = f"{head}.{token('u1').split('.')[1]}.{signature}"
    for attempt, code in (
        (f"SET pg_auth_jwt.token = '{mixed}'; SELECT auth.user_id()", "28J04"),
        ("SET pg_auth_jwt.token = 'x login'; SELECT auth.user_id()", "28J01"),
        (f"SET pg_auth_jwt.token = '{token('u1')[:-4]}AAAA login'; SELECT auth.user_id()", "28J04"),
        ("SET pg_auth_jwt.login_session = off", "42501"),
        ("SET pg_auth_jwt.login_superuser = on", "55P02"),
        (f"SET pg_auth_jwt.login_database = '{db}'", "55P02"),
        ("ALTER SYSTEM SET pg_auth_jwt.login_superuser = on", "42501"),
        ("ALTER ROLE authenticated SET pg_auth_jwt.login_session = on", "42501"),
        (f"ALTER DATABASE {db} SET pg_auth_jwt.login_superuser = on", "42501"),
        (
            "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_login_main'",
            "42501",
        ),
        ("SELECT * FROM pg_get_shmem_allocations()", "42501"),
        ("SELECT pg_reload_conf()", "42501"),
        ("SELECT * FROM pg_hba_file_rules", "42501"),
    ):
        checks.equal(attempt[:70], mallory.code(attempt), code)
        mallory.query("DISCARD ALL")
        checks.equal(f"{attempt[:70]}: still", mallory.value(WHO), "mallory")
    # The worker of another's login.
    own.query("BEGIN; LOCK TABLE auth.issuers, auth.jwks IN ACCESS EXCLUSIVE MODE")
    thread, outcome = place.begin(token())
    until(place.workers, "a worker that waits")
    for pid in place.workers():
        for how in ("pg_terminate_backend", "pg_cancel_backend"):
            checks.equal(how, mallory.code(f"SELECT {how}({pid})"), "42501")
        seen = mallory.query(f"SELECT query, application_name FROM pg_stat_activity WHERE pid = {pid}")
        checks.equal("its text is hidden", seen, [["<insufficient privilege>", ""]])
    own.query("ROLLBACK")
    thread.join()
    checks.equal("it comes in", outcome, ["let in"])
    # Locks whose numbers are those of the places for logins.
    for kind in ("pg_advisory_lock", "pg_advisory_lock_shared"):
        for number in range(4):
            mallory.query(f"SELECT {kind}({number}), {kind}(0, {number})")
    place.is_let_in(checks, "beside locks of the same numbers")


def storm(checks, place):
    """Junk tokens, some of which need a worker each, keep nobody out, and are verified a few at a time."""
    bound = 2
    place.cluster.set(login_workers=bound)
    over, failures, junk, most, honest = threading.Event(), [], [0], [0], []
    forged = token("u1")[:-6] + "AAAAAA"
    bad = ["x", token("u1", -1), forged, token(header={"kid": "k78"}), token(scope="x")]

    def send(number):
        turn = number
        while not over.is_set():
            try:
                LoginSession(place.db, "authenticated", bad[turn % len(bad)], host=place.cluster.dir).close()
                failures.append("junk was let in")
            except PgError as error:
                if error.code != "28000":
                    failures.append(f"junk: {error}")
            except ConnectionError as error:
                failures.append(f"junk: {error}")
            turn += 1
            junk[0] += 1

    def be_honest(number):
        for _ in range(10):
            try:
                with LoginSession(place.db, "authenticated", token(f"h{number}"), host=place.cluster.dir) as s:
                    honest.append(s.value(WHO) == f"h{number}")
            except (PgError, ConnectionError) as error:
                failures.append(f"honest: {error}")

    def watch():
        # No token is to be seen anywhere in what sessions show.
        with place.cluster.session("postgres", "postgres") as session:
            while not over.is_set():
                most[0] = max(most[0], len(session.query(WORKERS)))
                rows = session.query("SELECT a::text FROM pg_stat_activity AS a WHERE pid <> pg_backend_pid()")
                if any(forged[-40:-8] in row or "eyJ" in row for (row,) in rows):
                    failures.append("a token in pg_stat_activity")

    senders = [threading.Thread(target=send, args=(n,)) for n in range(12)]
    users = [threading.Thread(target=be_honest, args=(n,)) for n in range(10)]
    watcher = threading.Thread(target=watch)
    for thread in [watcher, *senders]:
        thread.start()
    until(lambda: junk[0] > 100, "a hundred of them")
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    over.set()
    for thread in [watcher, *senders]:
        thread.join()
    checks.equal("nothing else happens", failures[:5], [])
    checks.equal("all honest ones come in", [len(honest), all(honest)], [100, True])
    checks.true(f"workers at once: {most[0]}", 1 <= most[0] <= bound)
    checks.true(f"junk: {junk[0]}", junk[0] > 200)
    checks.equal("no worker stays", within(30, lambda: not place.workers()), True)
    place.cluster.set(login_workers=None)


def main():
    checks = Checks()
    if not oauth_client.has_login():
        checks.skip_all("Postgres takes tokens for logins from 18 on")
    parts = (
        bad_tokens, sizes, messages, names, encodings, before_it, not_set_up, key_writers, stored_settings, dropped,
        without_init_file, ended_workers, signed_in, storm,
    )  # fmt: skip
    with LoginCluster("login_attacks", max_worker_processes="16") as cluster:
        cluster.root.query("CREATE ROLE boss SUPERUSER LOGIN")
        for part in parts:
            checks.run((part,), checks, Place(cluster, f"test_{part.__name__}"))
        checks.equal("no crash", cluster.crashes(), [])
    checks.run((slots,), checks)
    checks.done("nothing but a good token opens a connection")


main()
