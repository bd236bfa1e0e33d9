#!/usr/bin/env python3
"""A bearer token opens the connection, and is the session's token: policies see its user from the first statement on,
until it is not good any more."""

import json
import ssl

from lib import ed25519, oauth_client, tokens
from lib.clients import block
from lib.endpoint import Authority, Endpoint, keys
from lib.following import folder, until, within
from lib.oauth_client import LOGIN_DATABASE, LoginCluster, LoginSession, issuer, line, token
from lib.pg import Checks, Cluster, PgError

WHO = "SELECT auth.user_id()"
SYSTEM = "SELECT system_user"
OWNERS = "SELECT string_agg(owner, ',' ORDER BY owner) FROM notes"
SCHEMA = """
CREATE TABLE notes AS SELECT 'u' || n AS owner, n FROM generate_series(1, 3) n;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = auth.user_id());
GRANT SELECT ON notes TO PUBLIC;
"""
ROLES = """
CREATE ROLE u1 LOGIN; CREATE ROLE editor LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE "a@b.example" LOGIN;
CREATE ROLE boss LOGIN SUPERUSER; CREATE ROLE copier LOGIN REPLICATION; CREATE ROLE closed;
CREATE ROLE bypasser LOGIN BYPASSRLS; CREATE ROLE group_of_boss NOINHERIT IN ROLE boss;
CREATE ROLE member LOGIN IN ROLE group_of_boss; CREATE ROLE executor LOGIN IN ROLE pg_execute_server_program;
CREATE ROLE writer LOGIN IN ROLE pg_write_all_data;
"""
# Every user is the role authenticated; u1 and u2 may be editors.
MAP = "everyone /^.*$ authenticated\neditors u1 editor\neditors u2 editor\n"
MAPPED = "map=everyone"
DELEGATED = "delegate_ident_mapping=1"
OTHER = "https://other.test.example"
SET_AUDIENCE = f"UPDATE auth.issuers SET audience = '{{{oauth_client.AUDIENCE}}}'"


class Place:
    """A database with the issuer and a guarded table, where everyone logs in as authenticated."""

    def __init__(self, cluster, name):
        self.cluster, self.db = cluster, cluster.create_db(name)
        self.owner = cluster.session(self.db, "owner_role")
        self.owner.query(issuer() + ";" + SCHEMA)
        cluster.configure([line(more=MAPPED)], MAP)

    def login(self, user="authenticated", bearer=None, **options):
        return self.cluster.login(self.db, user, bearer or token(), **options)

    def refused(self, user, bearer, **options):
        return self.cluster.refused(self.db, user, bearer, **options)


def first_statement(checks, place):
    """The user is known from the first statement on, with nothing but the login."""
    cluster = place.cluster
    cluster.new_lines()
    for sub in ("u1", "u3"):
        with place.login(bearer=token(sub)) as s:
            checks.equal(f"rows of {sub}", s.value(OWNERS), sub)
            checks.equal(f"{sub}", [s.value(WHO), s.value("SELECT current_user::text")], [sub, "authenticated"])
            checks.equal(f"system_user of {sub}", s.value(SYSTEM), f"oauth:{sub}")
            checks.equal("the token is not shown", s.value("SHOW pg_auth_jwt.token"), "<token>")
            checks.equal("nor to current_setting", s.value("SELECT current_setting('pg_auth_jwt.token')"), "<token>")
    authenticated = [m for _, _, _, m in cluster.new_lines() if m.startswith("connection authenticated: identity=")]
    checks.equal("the log names both", ['"u1"' in authenticated[0], '"u3"' in authenticated[-1]], [True, True])
    checks.equal("and nobody else", len(authenticated), 2)
    checks.equal("nothing is refused", cluster.refusals(), [])


def returns_to_it(checks, place):
    """Whatever replaces the token, the end of that brings the login's token back."""
    s = place.login()
    own, other = WHO, token("u2")
    for change, meanwhile, back in (
        (f"SET pg_auth_jwt.token = '{other}'", "u2", "RESET pg_auth_jwt.token"),
        (f"SET pg_auth_jwt.token = '{other}'", "u2", "RESET ALL"),
        (f"SET pg_auth_jwt.token = '{other}'", "u2", "DISCARD ALL"),
        ("SET pg_auth_jwt.token = ''", None, "DISCARD ALL"),
        ("SET pg_auth_jwt.token = ''", None, "RESET pg_auth_jwt.token"),
        (f"BEGIN; SET pg_auth_jwt.token = '{other}'", "u2", "ROLLBACK"),
        (f"BEGIN; SET LOCAL pg_auth_jwt.token = '{other}'", "u2", "COMMIT"),
        (f"SELECT auth.jwt_session_init('{other}', false)", "u2", "RESET pg_auth_jwt.token"),
        (f"SELECT auth.jwt_session_init('{other}', false)", "u2", "DISCARD ALL"),
        (f"BEGIN; SELECT auth.jwt_session_init('{other}')", "u2", "COMMIT"),
        (f"BEGIN; SELECT auth.jwt_session_init('{other}')", "u2", "ROLLBACK"),
        ("BEGIN; SELECT auth.jwt_session_init(NULL)", None, "COMMIT"),
    ):
        s.query(change)
        checks.equal(change[:50], [s.value(own), s.value(OWNERS)], [meanwhile, meanwhile])
        s.query(back)
        checks.equal(f"{change[:50]}; {back}", [s.value(own), s.value(OWNERS)], ["u1", "u1"])
        checks.equal("system_user stays", s.value(SYSTEM), "oauth:u1")
    checks.equal("a bad token over it", s.code("SELECT auth.jwt_session_init('x')"), "28J01")
    checks.equal("leaves it", s.value(own), "u1")


def overridden(checks, place):
    """Nothing that comes with the connection, or is stored for it, takes the place of the login's token."""
    evil, root = token("u2"), place.cluster.session(place.db, "postgres")
    for what, options in (
        ("options", {"options": f"-c pg_auth_jwt.token={evil}"}),
        ("options, empty", {"options": "-c pg_auth_jwt.token="}),
        ("a startup parameter", {"pg_auth_jwt.token": evil}),
    ):
        with place.login(**options) as s:
            checks.equal(f"by {what}", [s.value(WHO), s.value(OWNERS)], ["u1", "u1"])
            s.query("RESET ALL")
            checks.equal(f"by {what}, reset", s.value(WHO), "u1")
    for where in (
        f"DATABASE {place.db}",
        "ROLE authenticated",
        f"ROLE authenticated IN DATABASE {place.db}",
        "ROLE ALL",
    ):
        for value in (evil, ""):
            root.query(f"ALTER {where} SET pg_auth_jwt.token = '{value}'")
            with place.login() as s:
                checks.equal(f"{where}, {value[:1]!r}", s.value(WHO), "u1")
                s.query("DISCARD ALL")
                checks.equal(f"{where}, {value[:1]!r}, reset", s.value(WHO), "u1")
        root.query(f"ALTER {where} RESET pg_auth_jwt.token")
    # Settings of the login are the server's.
    for name, value in (
        ("login_database", place.db),
        ("login_superuser", "on"),
        ("login_claim", "email"),
        ("login_workers", "100"),
    ):
        try:
            place.login(options=f"-c pg_auth_jwt.{name}={value}").close()
            checks.true(f"{name} by the client", False)
        except PgError as error:
            checks.equal(f"{name} by the client", error.code, "55P02")


def other_encoding(checks, place):
    """A name that is not ASCII, in a database that is not in UTF-8: claims are converted, and system_user is not."""
    place.cluster.root.query("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with place.cluster.session("latin", "postgres") as session:
        session.query("CREATE EXTENSION pg_auth_jwt")
        session.query(issuer())
    with place.cluster.login("latin", "authenticated", token("ü1")) as s:
        checks.equal("the user", [s.value(WHO), s.value(SYSTEM).encode("latin-1").decode()], ["ü1", "oauth:ü1"])
    checks.equal("a name that it lacks", place.cluster.refused("latin", "authenticated", token("日")), "let in")
    with place.cluster.login("latin", "authenticated", token("日")) as s:
        checks.equal("is no user there", s.code(WHO), "28J01")


def in_workers(checks, place):
    """Parallel workers have the user of their leader."""
    s = place.login()
    s.query("SET debug_parallel_query = on")
    checks.true("a worker", "Gather" in str(s.query(f"EXPLAIN {OWNERS}")))
    checks.equal("in a worker", s.value(OWNERS), "u1")


def ends(checks, place):
    """Expiry, and a revocation or a withdrawn key in the session's own database, end it at the next statement."""
    for seconds in (3, 12, 48):
        s = place.login(bearer=token("u1", seconds))
        if s.code(WHO) is None:
            break
    checks.equal("expired", within(60, lambda: s.code(OWNERS)), "28J05")
    checks.equal("and stays so", [s.code(WHO), s.value("SELECT 1")], ["28J05", "1"])
    checks.equal("another token", s.code("SELECT auth.jwt_session_init($1, false)", token("u2")), None)
    checks.equal("of another user", s.value(OWNERS), "u2")
    s.query("DISCARD ALL")
    checks.equal("expired again", s.code(WHO), "28J05")

    s = place.login()
    s.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
    checks.equal("before", s.value(WHO), "u1")
    for end, undo, code in (
        (f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1')", "TRUNCATE auth.revocations", "28J10"),
        ("UPDATE auth.issuers SET enabled = false", "UPDATE auth.issuers SET enabled = true", "28J03"),
        (
            "UPDATE auth.issuers SET audience = '{x}'",
            f"UPDATE auth.issuers SET audience = '{{{oauth_client.AUDIENCE}}}'",
            "28J08",
        ),
        ("DELETE FROM auth.jwks WHERE kid = 'k0'", f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}')", "28J03"),
    ):
        s.query("SAVEPOINT a")
        place.owner.query(end)
        checks.equal(end[:40], s.code(WHO), code)
        place.owner.query(undo)
        s.query("ROLLBACK TO a")
        checks.equal(f"{end[:40]}: undone", s.value(WHO), "u1")
    # The keys of the session's database are its own: without the issuer there, its readers raise.
    bare = place.cluster.create_db("bare")
    with place.cluster.login(bare, "authenticated", token()) as s:
        checks.equal("no issuer in the database", [s.code(WHO), s.value(SYSTEM)], ["28J13", "oauth:u1"])


def keys_for_login(checks, place):
    """Keys for logins come from the login database, and each change there counts at the next login."""
    own, owner = place.cluster.keys, place.owner
    with place.login(bearer=token("u1", key=3)) as s:
        checks.equal("a key", s.value(WHO), "u1")
        own.query("DELETE FROM auth.jwks WHERE kid = 'k3'")
        checks.equal("withdrawn", place.refused("authenticated", token("u1", key=3)), ("28000", ["28J03"]))
        checks.equal("the session goes on by the keys of its own database", s.value(WHO), "u1")
    checks.equal("another key", place.refused("authenticated", token("u1", key=2)), "let in")
    # A database's owner can give it keys, which open no connection.
    stolen = tokens.Secret(b"\7" * 32)
    stolen.kid = "k9"
    jwk = {"kty": "oct", "kid": "k9", "alg": "HS256", "k": tokens.base64url(stolen.secret)}
    jwks = json.dumps({"keys": [*(tokens.jwk(key) for key in range(tokens.KEYS)), jwk]})
    owner.query(f"SELECT auth.init('{jwks}', '{tokens.ISSUER}')")
    mine = token("u2", key=stolen)
    reader = place.cluster.session(place.db, "owner_role")
    checks.equal("the owner's key, in a session", reader.code("SELECT auth.jwt_session_init($1)", mine), None)
    for user in ("authenticated", "boss"):
        checks.equal(f"the owner's key, {user}", place.refused(user, mine), ("28000", ["28J03"]))
    # An issuer that only the target database has.
    owner.query(issuer(OTHER))
    place.cluster.configure([line(issuer=OTHER, more=MAPPED)], MAP)
    checks.equal("the owner's issuer", place.refused("authenticated", token(iss=OTHER)), ("28000", ["28J13"]))
    own.query(f"SELECT auth.init('{tokens.jwks(*range(tokens.KEYS))}', '{tokens.ISSUER}')")


def lines_of_the_hba(checks, place):
    """The line decides which issuer and which scopes."""
    cluster, second = place.cluster, place.cluster.create_db("second")
    cluster.keys.query(issuer(OTHER))
    cluster.configure([line(place.db, more=MAPPED), line(second, issuer=OTHER, more=MAPPED)], MAP)
    for db, iss in ((place.db, tokens.ISSUER), (second, OTHER)):
        checks.equal(f"{iss}", cluster.refused(db, "authenticated", token(iss=iss)), "let in")
    for db, iss in ((place.db, OTHER), (second, tokens.ISSUER)):
        checks.equal(
            f"{iss} on another line", cluster.refused(db, "authenticated", token(iss=iss)), ("28000", ["28J07"])
        )
    cluster.keys.query(
        f"DELETE FROM auth.jwks WHERE issuer = '{OTHER}'; DELETE FROM auth.issuers WHERE issuer = '{OTHER}'"
    )

    # A document's URL in place of the issuer.
    for document in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        cluster.configure([line(issuer=tokens.ISSUER + document, more=MAPPED)], MAP)
        checks.equal(document, place.refused("authenticated", token()), "let in")

    cluster.configure([line(scope="db openid", more=MAPPED)], MAP)
    for claims, is_good in (
        ({"scope": "openid db"}, True),
        ({"scope": "a db  openid b"}, True),
        ({"scope": None, "scp": ["openid", "db"]}, True),
        ({"scope": None, "scp": "openid db"}, True),
        ({"scope": "db"}, False),
        ({"scope": "dbopenid"}, False),
        ({"scope": "db open"}, False),
        ({"scope": "DB openid"}, False),
        ({"scope": "db,openid"}, False),
        ({"scope": ""}, False),
        ({"scope": None}, False),
        ({"scope": {"db": 1, "openid": 1}}, False),
        ({"scope": None, "scp": [["openid", "db"]]}, False),
        ({"scope": None, "scp": ["openid", 1]}, False),
    ):
        got = place.refused("authenticated", token(**claims))
        checks.equal(f"{claims}", got, "let in" if is_good else ("28000", ["28J09"]))


def roles(checks, place):
    """A role is the token's user's by name, by pg_ident.conf, or by the issuer's row."""
    cluster = place.cluster
    cluster.configure([line(users="authenticated", more=MAPPED), line(users="editor", more="map=editors"), line()], MAP)
    for user, sub, is_good in (
        ("authenticated", "u1", True),
        ("authenticated", "anybody else", True),
        ("editor", "u1", True),
        ("editor", "u3", False),
        ("u1", "u1", True),
        ("u1", "u2", False),
        ("u1", "U1", False),
        ("reader", "u1", False),
    ):
        got = place.refused(user, token(sub))
        if is_good:
            checks.equal(f"{sub} as {user}", got, "let in")
        else:
            checks.equal(f"{sub} as {user}", got[0], "28000")
    # By another claim.
    cluster.set(login_claim="email")
    with place.login("a@b.example", token(email="a@b.example")) as s:
        checks.equal("by another claim", [s.value(SYSTEM), s.value(WHO)], ["oauth:a@b.example", "u1"])
    for claims in ({}, {"email": None}, {"email": ""}, {"email": 7}, {"email": ["a@b.example"]}):
        checks.equal(f"{claims}", place.refused("a@b.example", token(**claims)), ("28000", ["28J09"]))
    cluster.set(login_claim=None)

    # By the issuer's row.
    cluster.configure([line(more=DELEGATED)])
    give = "UPDATE auth.issuers SET role_claim = {}, allowed_roles = {}"
    cluster.keys.query(give.format("'role'", "'{editor,reader,closed,missing}'"))
    for role in ("editor", "reader"):
        with place.login(role, token(role=role)) as s:
            checks.equal(f"{role}", [s.value("SELECT session_user::text"), s.value(WHO)], [role, "u1"])
    for user, claims in (
        ("reader", {"role": "editor"}),
        ("editor", {}),
        ("editor", {"role": ["editor"]}),
        ("editor", {"role": "EDITOR"}),
        ("editor", {"role": "editor "}),
        ("authenticated", {"role": "authenticated"}),
        ("boss", {"role": "boss"}),
        ("u1", {}),
    ):
        checks.equal(f"{user}, {claims}", place.refused(user, token(**claims)), ("28000", ["42501"]))
    cluster.keys.query(give.format("'{realm,roles,1}'", "'{editor}'"))
    checks.equal("a path", place.refused("editor", token(realm={"roles": ["x", "editor"]})), "let in")
    checks.equal("not it", place.refused("editor", token(realm={"roles": ["editor", "x"]})), ("28000", ["42501"]))
    for claim, allowed in (("NULL", "'{editor}'"), ("'role'", "NULL"), ("'role'", "'{}'"), ("NULL", "NULL")):
        cluster.keys.query(give.format(claim, allowed))
        checks.equal(f"{claim}, {allowed}", place.refused("editor", token(role="editor")), ("28000", ["42501"]))
    # The target database's row gives no role.
    place.owner.query(give.format("'role'", "'{editor}'"))
    checks.equal("the database's own row", place.refused("editor", token(role="editor")), ("28000", ["42501"]))


def role_of_the_token(checks, place):
    """Where the token names the role, user and role do not come apart."""
    cluster = place.cluster
    give = "UPDATE auth.issuers SET role_claim = 'role', allowed_roles = '{editor,reader}'"
    cluster.keys.query(give)
    cluster.configure([line(more=DELEGATED)])
    cluster.root.query("CREATE ROLE intern; GRANT intern, reader TO editor")
    first, same, other = token(role="editor"), token("u2", role="editor"), token("u3", role="reader")
    init = "SELECT auth.jwt_session_init($1, false)"

    s = place.login("editor", first)
    checks.equal("the user", [s.value(WHO), s.value("SELECT current_user::text")], ["u1", "editor"])
    for role in ("intern", "reader"):
        s.query(f"SET ROLE {role}")
        checks.equal(f"as {role}", [s.code(WHO), s.code(OWNERS)], ["42501", "42501"])
        s.query("RESET ROLE")
        checks.equal(f"no longer {role}", [s.value(WHO), s.value(OWNERS)], ["u1", "u1"])
    # The database's row does not say which claim names the role.
    checks.equal("no row", s.code(init, same) is not None, True)
    place.owner.query(give)
    checks.equal("a token of another role", s.code(init, other), "42501")
    checks.equal("a token of no role", s.code(init, token("u3")) is not None, True)
    checks.equal("leaves it", s.value(OWNERS), "u1")
    checks.equal("another token of the role", s.code(init, same), None)
    checks.equal("its user", [s.value(WHO), s.value(OWNERS)], ["u2", "u2"])
    s.query("SET ROLE intern")
    checks.equal("its user, as intern", s.code(OWNERS), "42501")
    for reset in ("RESET ROLE; RESET pg_auth_jwt.token", "RESET ALL", "DISCARD ALL"):
        s.query(reset)
        checks.equal(reset, [s.value(WHO), s.value(OWNERS)], ["u1", "u1"])
        s.execute(init, same)
    # By hand, in any form, in parallel workers too, and after a state without a token.
    role = s.value("SELECT oid FROM pg_roles WHERE rolname = 'editor'")
    for value in (other, f"{other} {role}", f"{other} login {role}", f"{other} login", first, f"{first} login", "x"):
        for before in ("RESET pg_auth_jwt.token", "SET pg_auth_jwt.token = ''", "SELECT auth.jwt_session_init(NULL)"):
            s.query(before)
            s.query(f"SET pg_auth_jwt.token = '{value}'")
            checks.equal(f"{value[-20:]}, by hand", [s.code(WHO), s.code(OWNERS)], ["42501", "42501"])
            s.query("SET debug_parallel_query = on")
            checks.equal(f"{value[-20:]}, by hand, in a worker", s.code(OWNERS), "42501")
            s.query("RESET debug_parallel_query")
        s.query("SET pg_auth_jwt.token = ''")
        checks.equal("without a token", [s.value(WHO), s.code(init, other)], [None, "42501"])
        s.query("DISCARD ALL")
        checks.equal("the login's again", s.value(OWNERS), "u1")
    # auth.login sets a user with their own role.
    s.query("BEGIN")
    s.execute("SELECT auth.login($1)", other)
    checks.equal("auth.login", [s.value(WHO), s.value("SELECT current_user::text")], ["u3", "reader"])
    s.query("COMMIT")
    checks.equal("after it", [s.value(WHO), s.value("SELECT current_user::text")], ["u1", "editor"])
    s.query("SET debug_parallel_query = on")
    checks.equal("in a worker", s.value(OWNERS), "u1")

    # A pool that logs in by such a token of its own.
    cluster.set(login_session="off")
    with place.login("editor", first) as s:
        checks.equal("nobody", s.value(WHO), None)
        s.execute(init, other)
        checks.equal("a user of the pool", s.value(OWNERS), "u3")
    cluster.set(login_session=None)
    # A map gives the role here, so any token does.
    cluster.configure([line(more=MAPPED)], MAP)
    with place.login() as s:
        s.execute(init, other)
        checks.equal("by a map", s.value(OWNERS), "u3")


def strong_roles(checks, place):
    """Superusers and replication log in by token only where the server's setting says so."""
    cluster = place.cluster
    everyone = "all /^.*$ all"
    lines = [line("all,replication", more="map=all")]
    cluster.configure(lines, everyone)
    for user, options in (
        ("boss", {}),
        ("copier", {"replication": "database"}),
        ("copier", {"replication": "true"}),
        ("copier", {}),
        ("bypasser", {}),
        ("member", {}),
        ("executor", {}),
        ("writer", {}),
    ):
        checks.equal(f"{user}, {options}", place.refused(user, token(), **options), ("28000", ["42501"]))
    checks.equal("a role that may not log in", place.refused("closed", token())[0], "28000")
    checks.equal("a role that does not exist", place.refused("missing", token())[0], "28000")
    cluster.set(login_superuser="on")
    with place.login("boss") as s:
        checks.equal("a superuser", [s.value("SHOW is_superuser"), s.value(WHO)], ["on", "u1"])
    for user in ("bypasser", "member"):
        checks.equal(f"{user}, allowed", place.refused(user, token()), "let in")
    for mode in ("database", "true"):
        with place.login("copier", replication=mode) as s:
            checks.equal(f"replication={mode}", len(s.query("IDENTIFY_SYSTEM")), 1)
    with place.login("copier", replication="database") as s:
        checks.equal("its token", [s.value(WHO), s.value("SHOW pg_auth_jwt.token")], ["u1", "<token>"])
    checks.equal("a token that is bad", place.refused("boss", token("u1", -1)), ("28000", ["28J05"]))
    checks.equal(
        "replication without the right", place.refused("authenticated", token(), replication="database")[0], "42501"
    )
    cluster.set(login_superuser=None)
    checks.equal("off again", place.refused("boss", token()), ("28000", ["42501"]))


def service_token(checks, place):
    """A pool that logs in by its service's token gives nobody its user: login_session = off."""
    cluster, root = place.cluster, place.cluster.session(place.db, "postgres")
    root.query("LOAD 'pg_auth_jwt'")

    def gives_nobody(what, user="authenticated"):
        with place.login(user) as s:
            # Before and after something else has loaded the extension's objects.
            checks.equal(f"{what}: no token", s.value("SHOW pg_auth_jwt.token"), "")
            checks.equal(f"{what}: nobody", [s.value(WHO), s.value(OWNERS), s.value(SYSTEM)], [None, None, "oauth:u1"])
            s.query("BEGIN")
            s.execute("SELECT auth.jwt_session_init($1)", token("u2"))
            checks.equal(f"{what}: a user of the transaction", s.value(OWNERS), "u2")
            s.query("COMMIT")
            checks.equal(f"{what}: nobody after it", s.value(WHO), None)
            s.query(f"SET pg_auth_jwt.token = '{token('u2')}'")
            checks.equal(f"{what}: a user of the session", s.value(OWNERS), "u2")
            for reset in ("RESET pg_auth_jwt.token", "DISCARD ALL"):
                s.query(reset)
                checks.equal(f"{what}: nobody after {reset}", [s.value(WHO), s.value(OWNERS)], [None, None])
            for setting in ("SET pg_auth_jwt.login_session = on", "RESET pg_auth_jwt.login_session"):
                code = s.code(setting)
                checks.equal(f"{what}: {setting}", s.value(WHO), None)
            checks.equal(f"{what}: the role cannot change it", code, "42501")
            s.query("SET debug_parallel_query = on")
            checks.equal(f"{what}: nobody in a worker", s.value(OWNERS), None)

    def gives_the_user(what):
        with place.login() as s:
            checks.equal(what, [s.value(WHO), s.value(OWNERS)], ["u1", "u1"])

    cluster.set(login_session="off")
    gives_nobody("the server")
    checks.equal("still verified", place.refused("authenticated", token("u1", -1)), ("28000", ["28J05"]))
    cluster.set(login_session=None)
    gives_the_user("on again")
    for where in ("ROLE authenticated", f"DATABASE {place.db}", f"ROLE authenticated IN DATABASE {place.db}"):
        root.query(f"ALTER {where} SET pg_auth_jwt.login_session = off")
        gives_nobody(where)
        root.query(f"ALTER {where} RESET pg_auth_jwt.login_session")
        gives_the_user(f"{where}: reset")
    for value in ("off", "on"):
        got = place.refused("authenticated", token(), options=f"-c pg_auth_jwt.login_session={value}")
        checks.equal(f"the client cannot set it, {value}", got[0], "42501")
    if cluster.major >= 19:
        cluster.configure([line(more=MAPPED + " validator.login_session=off")], MAP)
        gives_nobody("the line")
        cluster.configure([line(more=MAPPED + " validator.login_session=on")], MAP)
        gives_the_user("the line, on")
        cluster.configure([line(more=MAPPED + " validator.login_session=maybe")], MAP)
        checks.equal("the line, unclear", place.refused("authenticated", token()), ("28000", ["22023"]))
        cluster.configure([line(more=MAPPED + " validator.login_sessions=off")], MAP)
        checks.equal("the line, misspelt", place.refused("authenticated", token())[0], "28000")


def rotation(checks, place):
    """A key that its issuer made in this very moment is fetched while its first token waits."""
    cluster, name = place.cluster, "https://rotating.test.example"
    with folder() as where:
        authority = Authority(f"{where}/authority")
        with Endpoint(authority) as endpoint:
            cluster.keys.query("LOAD 'pg_auth_jwt'")
            cluster.set(fetch_ca_file=authority.pem, fetch_hosts=endpoint.host)
            endpoint.script("/keys", keys(1))
            cluster.keys.query(
                f"SELECT auth.follow_url('{name}', '{endpoint.url}/keys', '{{{oauth_client.AUDIENCE}}}')"
            )
            checks.equal("fetched", cluster.keys.value(f"SELECT outcome FROM auth.refresh('{name}')"), "changed")
            cluster.configure([line(issuer=name, more=MAPPED)], MAP)

            def signed(number):
                claims = {"aud": oauth_client.AUDIENCE, "scope": oauth_client.SCOPE}
                return ed25519.token(number, name, **claims)

            checks.equal("a known key", place.refused("authenticated", signed(1)), "let in")
            endpoint.script("/keys", keys(1, 2))
            seen = endpoint.seen("/keys")
            checks.equal("a new one", place.refused("authenticated", signed(2)), "let in")
            checks.equal("was fetched for it", endpoint.seen("/keys"), seen + 1)
            # Invented ids cause no further fetch, for 30 seconds.
            for _ in range(5):
                checks.equal("unknown", place.refused("authenticated", signed(3)), ("28000", ["28J03"]))
            checks.equal("are not asked for", endpoint.seen("/keys"), seen + 1)
            checks.equal("and keep nobody out", place.refused("authenticated", signed(2)), "let in")
            cluster.set(fetch_ca_file=None, fetch_hosts=None)
    # Loaded by hand: from the commit on.
    cluster.configure([line(more=MAPPED)], MAP)
    own = cluster.keys
    own.query("DELETE FROM auth.jwks WHERE kid = 'k3'")
    own.query(f"BEGIN; SELECT auth.init('{tokens.jwks(*range(tokens.KEYS))}', '{tokens.ISSUER}')")
    checks.equal("not committed", place.refused("authenticated", token(key=3)), ("28000", ["28J03"]))
    own.query("COMMIT")
    checks.equal("committed", place.refused("authenticated", token(key=3)), "let in")


def revoked(checks, place):
    """A revocation in the login database refuses the next login."""
    own = place.cluster.keys
    s = place.login()
    own.query(f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1', issued_before => 'infinity')")
    checks.equal("revoked", place.refused("authenticated", token()), ("28000", ["28J10"]))
    checks.equal("others are not", place.refused("authenticated", token("u2")), "let in")
    checks.equal("a session goes on by the revocations of its own database", s.value(WHO), "u1")
    own.query("TRUNCATE auth.revocations")
    checks.equal("taken back", place.refused("authenticated", token()), "let in")


def over_tls(checks, place):
    """A line for TLS alone takes no connection without it."""
    cluster = place.cluster
    with folder() as where:
        authority = Authority(f"{where}/authority")
        cluster.serve_tls(authority)
        context = ssl.create_default_context(cafile=authority.pem)
    hba = line(more=MAPPED).replace("local ", "hostssl ", 1).replace(" all all ", " all all 127.0.0.1/32 ")
    cluster.configure([hba], MAP)
    login = {"host": "127.0.0.1", "port": cluster.port}
    with LoginSession(place.db, "authenticated", token(), tls=context, **login) as s:
        checks.equal(
            "by TLS", [s.value(WHO), s.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")], ["u1", "t"]
        )
    try:
        LoginSession(place.db, "authenticated", token(), **login).close()
        checks.true("without TLS", False)
    except PgError as error:
        checks.equal("without TLS", [error.code, error.challenge], ["28000", None])
    checks.equal("it had no chance to send the token", [s for s, _ in cluster.refusals()], [])
    warned = "WARNING:  token for a login came without TLS"
    checks.true("no warning with TLS", warned not in cluster.log())
    # A line that takes both.
    cluster.write("pg_hba.conf", f"{hba.replace('hostssl', 'host')}\nlocal all postgres trust\n")
    cluster.control("restart")
    LoginSession(place.db, "authenticated", token(), tls=context, **login).close()
    checks.true("no warning with TLS either", warned not in cluster.log())
    with LoginSession(place.db, "authenticated", token(), **login) as s:
        checks.equal("without TLS, by that line", s.value(WHO), "u1")
        checks.equal("the client is not told", s.notices(), [])
    checks.equal("a warning without it", cluster.log().count(warned), 1)


def standby(checks, place):
    """A standby takes logins by the keys that it has replayed, and goes on when promoted."""
    primary = place.cluster
    with Cluster("login_standby", standby_of=primary) as copy:
        root = copy.session("postgres", "postgres")

        def login(bearer):
            try:
                with LoginSession(place.db, "authenticated", bearer, host=copy.dir) as s:
                    return [s.value(WHO), s.value("SELECT pg_is_in_recovery()")]
            except PgError as error:
                return error.code

        def catch_up():
            position = primary.keys.value("SELECT pg_current_wal_flush_lsn()")
            until(lambda: root.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t", "the standby")

        catch_up()
        checks.equal("on the standby", login(token(key=1)), ["u1", "t"])
        primary.keys.query("DELETE FROM auth.jwks WHERE kid = 'k1'")
        catch_up()
        checks.equal("withdrawn on the primary", login(token(key=1)), "28000")
        checks.equal("another key", login(token(key=2)), ["u1", "t"])
        copy.control("promote")
        checks.equal("promoted", login(token(key=2)), ["u1", "f"])
        checks.equal("still withdrawn", login(token(key=1)), "28000")
        with copy.session(LOGIN_DATABASE, "postgres") as own:
            own.query("DELETE FROM auth.jwks WHERE kid = 'k2'")
        checks.equal("withdrawn on the promoted one", login(token(key=2)), "28000")
        checks.equal("no crash", copy.crashes(), [])
    primary.keys.query(f"SELECT auth.init('{tokens.jwks(*range(tokens.KEYS))}', '{tokens.ISSUER}')")


def page(checks):
    """The set-up of docs/login.md as it stands, but over a socket, and with a key that was not fetched."""
    names = (
        "login_database", "login_issuer", "login_settings", "login_hba", "login_ident", "login_roles",
        "login_session_off", "login_end",
    )  # fmt: skip
    text = {name: block(name, "docs/login.md") for name in names}
    url, audience = "https://auth.example.com", "https://db.example.com"
    # As the page advises, with the library loaded by the server.
    with Cluster("login_page", shared_preload_libraries="pg_auth_jwt") as cluster:

        def psql(name, db="postgres"):
            cluster.client(
                "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", db, input=f"SET client_min_messages = error;\n{text[name]}"
            )

        def fetched(session):
            """As if the key had been fetched."""
            session.query(ed25519.fetched_row(url, 1))
            session.query("UPDATE auth.endpoints SET last_success = now(), next_attempt = now() + interval '1 day'")

        def login(user, expected, **claims):
            bearer = ed25519.token(1, url, **{"sub": "alice", "aud": audience, "scope": "db", **claims})
            try:
                session = LoginSession("app", user, bearer, host=cluster.dir)
            except PgError as error:
                return checks.equal(f"{user}, {claims}", error.code, expected)
            checks.equal(f"{user}, {claims}", session.value(WHO), expected)
            return session

        def configure(lines):
            path = f"{cluster.dir}/data"
            for file, content in (("pg_hba.conf", lines), ("pg_ident.conf", text["login_ident"])):
                with open(f"{path}/{file}", "w") as out:
                    out.write(content)
            psql("login_settings")
            until(lambda: root.value("SELECT pg_conf_load_time() > $1::timestamptz", before) == "t", "the reload")

        cluster.create_db("app")
        root, owner = cluster.session("postgres", "postgres"), cluster.session("app", "owner_role")
        before = root.value("SELECT now()")
        root.query("CREATE ROLE alice LOGIN; CREATE ROLE editor LOGIN; CREATE ROLE reader LOGIN")
        psql("login_database")
        psql("login_issuer", "logins")
        owner.query(f"SELECT auth.follow_url('{url}', audience => '{{{audience}}}')")
        with cluster.session("logins", "postgres") as keys:
            fetched(keys)
        fetched(owner)
        checks.true("its lines are for TLS", text["login_hba"].count("hostssl ") == 2)
        hba = text["login_hba"].replace("hostssl", "local  ").replace("10.0.0.0/8", "").replace("peer", "trust")
        configure(hba)
        s = login("authenticated", "alice")
        checks.equal("system_user, as shown", s.value(SYSTEM), "oauth:alice")
        login("alice", "alice")
        login("alice", "28000", sub="bob")
        login("editor", "28000", role="editor")
        login("authenticated", "28000", scope="openid")
        checks.equal("the login database is closed", closed_to(cluster, "logins"), "42501")
        psql("login_end")
        checks.equal("drill: the session is ended", ended(s), True)

        psql("login_roles", "logins")
        before = root.value("SELECT now()")
        configure(hba.replace("map=users", DELEGATED).replace("authenticated ", "editor,reader "))
        login("editor", "alice", role="editor")
        login("reader", "28000", role="editor")
        before = root.value("SELECT now()")
        configure(hba)
        psql("login_session_off")
        login("authenticated", None)
        checks.equal("no crash", cluster.crashes(), [])


def closed_to(cluster, db):
    """The SQLSTATE for a role that is no superuser."""
    with cluster.session("postgres", "postgres") as root:
        root.query("SET ROLE authenticated")
        return "42501" if root.value(f"SELECT has_database_privilege('{db}', 'CONNECT')") == "f" else None


def ended(session):
    try:
        session.query("SELECT 1")
    except (PgError, ConnectionError):
        return True
    return False


def main():
    checks = Checks()
    if not oauth_client.has_login():
        checks.skip_all("Postgres takes tokens for logins from 18 on")
    parts = (
        first_statement, returns_to_it, overridden, in_workers, other_encoding, ends, keys_for_login, lines_of_the_hba,
        roles, role_of_the_token, strong_roles, service_token, rotation, revoked, standby, over_tls,
    )  # fmt: skip
    with LoginCluster("login", max_worker_processes="16", wal_level="logical") as cluster:
        cluster.root.query(ROLES)
        for part in parts:
            checks.run((part,), checks, Place(cluster, f"test_{part.__name__}"))
        checks.equal("no crash", cluster.crashes(), [])
    checks.run((page,), checks)
    checks.done("a token opens the connection, and is its user")


main()
