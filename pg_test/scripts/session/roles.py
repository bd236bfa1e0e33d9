#!/usr/bin/env python3
"""auth.login() sets a token and the role that it names, to the end of the transaction, and the two cannot come apart:
one connection, many roles."""

from lib import pooler, tokens
from lib.pg import Checks, Cluster, Session, shell

# The roles authenticator, editor and reader, the rules of the issuer and a table.
PAGE = {name: shell('"$ROOT/pg_test/doc_sql" docs/roles.md "$1"', name) for name in ("roles", "issuer", "tables")}
MORE_ROLES = """
CREATE ROLE viewer; CREATE ROLE "Odd role"; CREATE ROLE boss; CREATE ROLE dropped; CREATE ROLE chief SUPERUSER;
GRANT viewer, "Odd role", dropped, chief TO authenticator;
"""
SCHEMA = """
CREATE TABLE notes AS SELECT 'u' || n AS owner, n FROM generate_series(1, 3) n;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO editor USING (owner = auth.user_id());
CREATE POLICY all_of_them ON notes TO viewer USING (auth.user_id() IS NOT NULL);
GRANT SELECT ON notes TO editor, viewer;
"""
ALLOWED = "{editor,viewer,Odd role,boss,missing,none,public,authenticator}"
LOGIN = "SELECT auth.login($1)"
WHO = "SELECT auth.user_id()"
ROLE = "SELECT current_user::text"
NOTES = "SELECT string_agg(owner, ',' ORDER BY owner) FROM notes"


def token(sub="u1", role="editor", **claims):
    return tokens.token(sub, role=role, **claims)


class Place:
    """A database whose issuer's tokens give roles."""

    def __init__(self, cluster, db):
        self.cluster, self.db = cluster, db
        self.owner, self.root = self.session("owner_role"), self.session("postgres")
        self.owner.query(tokens.setup(0) + SCHEMA)
        self.allow("'role'", f"'{ALLOWED}'")

    def session(self, user="authenticator"):
        return self.cluster.session(self.db, user)

    def allow(self, claim, roles):
        self.owner.query(f"UPDATE auth.issuers SET role_claim = {claim}, allowed_roles = {roles}")

    def refused(self, session, *login):
        """The SQLSTATE of a login; the transaction goes on, without identity and role."""
        session.query("BEGIN; SAVEPOINT before")
        code = session.code(LOGIN, *login)
        session.query("ROLLBACK TO before")
        left = [session.value(WHO), session.value(ROLE)]
        session.query("COMMIT")
        return code if left == [None, "authenticator"] else left


def to_the_end(checks, place):
    """Role and identity last as long as the transaction."""
    s = place.session()
    for end in ("COMMIT", "ROLLBACK"):
        s.query("BEGIN")
        checks.equal("login", s.code(LOGIN, token()), None)
        checks.equal("editor", [s.value(ROLE), s.value(WHO), s.value(NOTES)], ["editor", "u1", "u1"])
        checks.equal("again", s.code(LOGIN, token("u2", "viewer")), None)
        checks.equal("viewer", [s.value(ROLE), s.value(WHO), s.value(NOTES)], ["viewer", "u2", "u1,u2,u3"])
        checks.equal("a name with quotes", s.code(LOGIN, token("u3", "Odd role")), None)
        checks.equal("odd", [s.value(ROLE), s.value(WHO)], ["Odd role", "u3"])
        s.query(end)
        checks.equal(f"after {end}", [s.value(ROLE), s.value(WHO)], ["authenticator", None])
        checks.equal(f"the tables after {end}", s.code(NOTES), "42501")
    # The parts of a message of the simple protocol are one transaction.
    got = s.query(f"SELECT auth.login('{token()}'); {NOTES}")
    checks.equal("an implicit block", [got, s.value(ROLE), s.value(WHO)], [[["u1"]], "authenticator", None])
    # The token of the session comes back, and its role.
    s.execute("SELECT auth.jwt_session_init($1, false)", token("u9", None))
    s.query("BEGIN")
    s.execute(LOGIN, token())
    checks.equal("over a session's", s.value(WHO), "u1")
    s.query("COMMIT")
    checks.equal("the session's", [s.value(WHO), s.value(ROLE)], ["u9", "authenticator"])
    s.query("DISCARD ALL")
    checks.equal("discarded", [s.value(WHO), s.value(ROLE)], [None, "authenticator"])


def savepoints(checks, place):
    """A rollback to a savepoint restores both."""
    s = place.session()
    s.query("BEGIN")
    s.execute(LOGIN, token())
    s.query("SAVEPOINT a")
    s.execute(LOGIN, token("u2", "viewer"))
    checks.equal("inside", [s.value(ROLE), s.value(WHO)], ["viewer", "u2"])
    s.query("ROLLBACK TO a")
    checks.equal("rolled back", [s.value(ROLE), s.value(WHO), s.value(NOTES)], ["editor", "u1", "u1"])
    s.execute(LOGIN, token("u2", "viewer"))
    s.query("RELEASE a")
    checks.equal("released", [s.value(ROLE), s.value(WHO)], ["viewer", "u2"])
    # A refused login leaves the former one.
    s.query("SAVEPOINT b")
    checks.equal("refused", s.code(LOGIN, token("u1", "nobody")), "42501")
    s.query("ROLLBACK TO b")
    checks.equal("the former", [s.value(ROLE), s.value(WHO)], ["viewer", "u2"])
    s.query("COMMIT")


def ends_of_trust(checks, place):
    """What ends the trust in a token ends it within the transaction."""
    s = place.session()
    for end, undo, code in (
        (f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u1')", "DELETE FROM auth.revocations", "28J10"),
        ("UPDATE auth.issuers SET enabled = false", "UPDATE auth.issuers SET enabled = true", "28J03"),
        (
            "UPDATE auth.issuers SET required_claims = '{x}'",
            "UPDATE auth.issuers SET required_claims = '{exp}'",
            "28J09",
        ),
    ):
        s.query("BEGIN")
        s.execute(LOGIN, token())
        checks.equal(f"before {end}", s.value(WHO), "u1")
        place.owner.query(end)
        checks.equal(end, s.code(WHO), code)
        s.query("ROLLBACK")
        checks.equal(f"no login after {end}", place.refused(s, token()), code)
        place.owner.query(undo)
    # The rules of logins are for the next one.
    s.query("BEGIN")
    s.execute(LOGIN, token())
    place.allow("NULL", "NULL")
    checks.equal("keeps its role", [s.value(ROLE), s.value(WHO)], ["editor", "u1"])
    s.query("COMMIT")
    checks.equal("and is the last", place.refused(s, token()), "42501")


def refusals(checks, place):
    """No other role, and no role without its token."""
    s = place.session()
    for role in ("nobody", "chief", "postgres", "missing", "none", "public", "authenticator ", "Editor", "", "e" * 64):
        checks.equal(f"role {role!r}", place.refused(s, token(role=role)), "42501")
    for role in (None, 7, True, ["editor"], {"role": "editor"}):
        checks.equal(f"no name: {role!r}", place.refused(s, token(role=role)), "42501")
    without = tokens.token("u1")
    checks.equal("no claim", place.refused(s, without), "42501")
    # Allowed by the row, and not granted: Postgres itself refuses.
    checks.equal("not granted", place.refused(s, token(role="boss")), "42501")
    place.root.query("GRANT boss TO authenticator")
    s.query("BEGIN")
    checks.equal("granted", s.code(LOGIN, token(role="boss")), None)
    s.query("COMMIT")
    place.root.query("REVOKE boss FROM authenticator")
    checks.equal("revoked", place.refused(s, token(role="boss")), "42501")
    if int(s.value("SHOW server_version_num")) >= 160000:
        place.root.query("GRANT boss TO authenticator WITH INHERIT TRUE, SET FALSE")
        checks.equal("granted without SET", place.refused(s, token(role="boss")), "42501")
        place.root.query("REVOKE boss FROM authenticator")
    for name, bad, code in (
        ("expired", tokens.token("u1", -1, role="editor"), "28J05"),
        ("forged", token()[:-4] + "AAAA", "28J04"),
        ("a suffix of its own", token() + " 10", "28J01"),
        ("malformed", "x", "28J01"),
        ("empty", "", "28J01"),
        ("NULL", None, "22004"),
        ("too long", "x" * 70_000, "28J01"),
    ):
        checks.equal(name, place.refused(s, bad), code)
    # Outside of a transaction block, both would be gone with the statement.
    error = s.error(LOGIN, token())
    checks.equal("no block", [error.code, s.value(WHO), s.value(ROLE)], ["25P01", None, "authenticator"])
    do = f"DO $$ BEGIN PERFORM auth.login('{token()}'); END $$"
    checks.equal("in DO without a block", s.code(do), "25P01")
    # A superuser, if the row names it; and a role that is gone.
    place.allow("'role'", "'{chief,dropped}'")
    named = place.session()
    named.query("BEGIN")
    checks.equal(
        "a superuser that is named", [named.code(LOGIN, token(role="chief")), named.value(ROLE)], [None, "chief"]
    )
    named.query("ROLLBACK")
    checks.equal("warned", [warning["C"] for warning in named.warnings()], ["01J01"])
    place.root.query("DROP ROLE dropped")
    checks.equal("dropped", place.refused(s, token(role="dropped")), "42501")
    # Without one of the two columns, or with a row that cannot be read, there is no login.
    for claim, roles in (("NULL", "'{editor}'"), ("'role'", "NULL"), ("'role'", "'{}'"), ("NULL", "NULL")):
        place.allow(claim, roles)
        checks.equal(f"{claim} {roles}", place.refused(s, token()), "42501")
        checks.equal("jwt_session_init goes on", s.code("SELECT auth.jwt_session_init($1, false)", token()), None)
        s.query("DISCARD ALL")
    place.allow("'role'", "'{editor}'")
    checks.equal("a change counts at the next login", place.refused(s, token(role="viewer")), "42501")
    for altered in ("DROP COLUMN role_claim", "DROP COLUMN allowed_roles", "ALTER allowed_roles TYPE name[]"):
        place.root.query(f"BEGIN; ALTER TABLE auth.issuers {altered}; SAVEPOINT a")
        checks.equal(altered, place.root.code(LOGIN, token()), "42501")
        place.root.query("ROLLBACK")
    for claim in ("''", "'{}'", "'{a'", "'{a,NULL}'", "'{{a}}'"):
        checks.equal(f"23514 {claim}", place.owner.code(f"UPDATE auth.issuers SET role_claim = {claim}"), "23514")
    checks.equal("23514", place.owner.code("UPDATE auth.issuers SET allowed_roles = '{editor,NULL}'"), "23514")


def paths(checks, place):
    """The claim may be anywhere in the claims."""
    s = place.session()
    claims = {
        "realm_access": {"roles": ["editor", "viewer", 7]},
        "https://app.example/claims": {"x-role": "viewer"},
        "a,b": "editor",
    }
    for claim, wanted in (
        ("{realm_access,roles,0}", "editor"),
        ("{realm_access,roles,1}", "viewer"),
        ("{realm_access,roles,2}", None),
        ("{realm_access,roles,3}", None),
        ("{realm_access,roles,-1}", None),
        ("{realm_access,roles,99999999999}", None),
        ("{realm_access,roles}", None),
        ("{realm_access,roles,x}", None),
        ("{role,0}", None),
        ("{https://app.example/claims,x-role}", "viewer"),
        ('{"a,b"}', "editor"),
        ("a,b", "editor"),
        ("role", "editor"),
    ):
        place.allow(f"'{claim}'", f"'{ALLOWED}'")
        s.query("BEGIN")
        code = s.code(LOGIN, token(**claims))
        checks.equal(claim, [code, s.value(ROLE)] if wanted else code, [None, wanted] if wanted else "42501")
        s.query("ROLLBACK")
    place.allow("'role'", f"'{ALLOWED}'")


def apart(checks, place):
    """Under another role the claims raise, until the role is the one of the login again."""
    s = place.session()
    place.root.query("GRANT CREATE ON SCHEMA public TO editor")
    s.query("BEGIN")
    s.execute(LOGIN, token())
    s.query("SAVEPOINT a")
    for change in (
        "RESET ROLE",
        "SET ROLE NONE",
        "SET LOCAL ROLE viewer",
        "SET ROLE viewer",
        "SELECT set_config('role', 'viewer', true)",
        "SELECT set_config('role', 'none', true)",
    ):
        s.query(change)
        error = s.error(WHO)
        checks.equal(
            change, [error.code, error.message], ["42501", "session token is for another role than the present one"]
        )
        s.query("ROLLBACK TO a")
        checks.equal(f"{change}: rolled back", [s.value(ROLE), s.value(WHO)], ["editor", "u1"])
        s.query(change)
        s.query("SET LOCAL ROLE editor")
        checks.equal(f"{change}: and back", s.value(WHO), "u1")
        s.query("ROLLBACK TO a")
    # Another token under the role of this one; none is no identity.
    init = "SELECT auth.jwt_session_init($1)"
    checks.equal("another token", s.code(init, token("u2", "viewer")), "55000")
    s.query("ROLLBACK TO a")
    checks.equal("no token", [s.code(init, None), s.value(WHO), s.value(ROLE)], [None, None, "editor"])
    s.query("ROLLBACK TO a")
    checks.equal("still", s.value(WHO), "u1")
    # A user who writes the role after the token by hand narrows their own token.
    s.query("ROLLBACK")
    for suffix, code in ((" 10", "42501"), (" 0", "28J01"), (" x", "28J01"), (" ", "28J01")):
        s.query(f"SET pg_auth_jwt.token = '{token()}{suffix}'")
        checks.equal(f"suffix {suffix!r}", s.code(WHO), code)
    own = place.root.value("SELECT oid FROM pg_roles WHERE rolname = 'authenticator'")
    s.query(f"SET pg_auth_jwt.token = '{token()} {own}'")
    checks.equal("its own role", s.value(WHO), "u1")
    checks.equal("is not shown", s.value("SHOW pg_auth_jwt.token"), "<token>")
    s.query("RESET pg_auth_jwt.token")
    checks.equal("reset", s.value(WHO), None)


def functions(checks, place):
    """SECURITY DEFINER changes the current user and not the role; a SET clause changes the role."""
    place.owner.query(
        "CREATE FUNCTION definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        " AS 'SELECT auth.user_id() || current_user';"
        "CREATE FUNCTION login_in_definer(token text) RETURNS void LANGUAGE sql SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'SELECT auth.login(token)';"
        "CREATE FUNCTION login_with_setting(token text) RETURNS text LANGUAGE plpgsql SET work_mem = '4MB'"
        " AS 'BEGIN PERFORM auth.login(token); RETURN auth.user_id() || current_user; END';"
        "CREATE FUNCTION login_in_function(token text) RETURNS void LANGUAGE sql AS 'SELECT auth.login(token)'"
    )
    place.root.query(
        "CREATE FUNCTION login_as_viewer(token text) RETURNS void LANGUAGE plpgsql SET role = 'viewer'"
        " AS 'BEGIN PERFORM auth.login(token); END';"
        "CREATE FUNCTION other_role() RETURNS text LANGUAGE plpgsql SET role = 'viewer'"
        " AS 'BEGIN RETURN auth.user_id(); END'"
    )
    s = place.session()
    s.query("BEGIN")
    s.execute(LOGIN, token())
    s.query("SAVEPOINT a")
    checks.equal("definer", s.value("SELECT definer()"), "u1owner_role")
    checks.equal("a SET clause", s.code("SELECT other_role()"), "42501")
    s.query("ROLLBACK TO a")
    checks.equal("after it", s.value(WHO), "u1")
    checks.equal("login in a definer", s.code("SELECT login_in_definer($1)", token("u2", "viewer")), "42501")
    s.query("ROLLBACK TO a")
    checks.equal("unchanged", [s.value(ROLE), s.value(WHO)], ["editor", "u1"])
    # A SET clause brings back what it has set, and so parts the two, which raises; another one does not.
    checks.equal(
        "in a function that resets the role", s.code("SELECT login_as_viewer($1)", token("u3", "viewer")), None
    )
    checks.equal("it is back", [s.value(ROLE), s.code(WHO)], ["editor", "42501"])
    s.query("ROLLBACK TO a")
    checks.equal("with a SET clause", s.value("SELECT login_with_setting($1)", token("u2", "viewer")), "u2viewer")
    checks.equal("lasts", [s.value(ROLE), s.value(WHO)], ["viewer", "u2"])
    checks.equal("in a function", s.code("SELECT login_in_function($1)", token("u2", "viewer")), None)
    checks.equal("changed", [s.value(ROLE), s.value(WHO)], ["viewer", "u2"])
    s.query("COMMIT")
    checks.equal("in a function, no block", s.code("SELECT login_in_function($1)", token()), "25P01")


def one_identity(checks, place):
    """A query keeps the identity that it began with, or raises."""
    place.owner.query(
        "CREATE FUNCTION switch(token text) RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM auth.login(token); RETURN auth.user_id(); END';"
        "CREATE FUNCTION unrole() RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN RESET ROLE; RETURN auth.user_id(); END';"
        "CREATE FUNCTION caught(statement text) RETURNS text LANGUAGE plpgsql AS"
        " 'BEGIN EXECUTE statement; RETURN auth.user_id(); EXCEPTION WHEN OTHERS THEN RETURN ''caught''; END'"
    )
    s = place.session()
    other = token("u2", "viewer")
    for what, query in (
        ("login within a query", f"SELECT auth.user_id(), switch('{other}') FROM notes"),
        ("RESET ROLE within a query", "SELECT auth.user_id(), unrole() FROM notes"),
        ("caught", f"SELECT auth.user_id(), caught('SELECT auth.login(''{other}'')') FROM notes"),
        ("caught RESET", "SELECT auth.user_id(), caught('RESET ROLE') FROM notes"),
    ):
        s.query("BEGIN")
        s.execute(LOGIN, token())
        code = s.code(query)
        checks.true(f"{what}: {code}", code in ("28J12", "57014", "42501"))
        s.query("ROLLBACK")
        checks.equal(f"after {what}", [s.value(WHO), s.value(ROLE)], [None, "authenticator"])
    for change in (f"SELECT auth.login('{other}')", "RESET ROLE", "SET LOCAL ROLE viewer"):
        s.query("BEGIN")
        s.execute(LOGIN, token())
        s.query("DECLARE c CURSOR FOR SELECT auth.user_id(), n FROM notes, generate_series(1, 3)")
        checks.equal("the first row", s.value("FETCH c"), "u1")
        s.query(change)
        code = s.code("FETCH c")
        checks.true(f"a cursor after {change}: {code}", code in ("28J12", "57014", "42501"))
        s.query("ROLLBACK")


def prepared_and_parallel(checks, place):
    """Cached plans are of one role; workers see the login of their leader."""
    s = place.session()
    s.query(f"PREPARE notes AS {NOTES}; SET plan_cache_mode = force_generic_plan")
    for sub, role, wanted in (("u1", "editor", "u1"), ("u2", "viewer", "u1,u2,u3"), ("u3", "editor", "u3")) * 2:
        s.query("BEGIN")
        s.execute(LOGIN, token(sub, role))
        checks.equal(f"a prepared statement as {role}", s.value("EXECUTE notes"), wanted)
        s.query("COMMIT")
    setting = s.value(
        "SELECT name FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode') LIMIT 1"
    )
    s.query(f"SET {setting} = on")
    s.query("BEGIN")
    s.execute(LOGIN, token())
    checks.true("a worker", "Gather" in str(s.query(f"EXPLAIN {NOTES}")))
    checks.equal("in a worker", s.value(NOTES), "u1")
    s.query("ROLLBACK")


def pooled(checks, place):
    """Behind PgBouncer in transaction mode, nothing passes from one client to the next."""
    if not pooler.is_here():
        checks.skip("needs PgBouncer")
        return
    with pooler.Pooler(place.cluster, place.db, "transaction", 1, users=("authenticated", "authenticator")) as proxy:
        clients = [Session(place.db, "authenticator", proxy.dir, 6432) for _ in range(3)]
        for end in ("COMMIT", "ROLLBACK"):
            for number, client in enumerate(clients, 1):
                role = ("editor", "viewer")[number % 2]
                client.query("BEGIN")
                checks.equal("nobody at first", [client.value(WHO), client.value(ROLE)], [None, "authenticator"])
                client.execute(LOGIN, token(f"u{number}", role))
                checks.equal("login", [client.value(WHO), client.value(ROLE)], [f"u{number}", role])
                client.query(end)
        # A client that is killed in its transaction; one whose transaction has failed.
        clients[0].query("BEGIN")
        clients[0].execute(LOGIN, token())
        clients[0].close()
        clients[1].query("BEGIN")
        checks.equal("after a killed client", [clients[1].value(WHO), clients[1].value(ROLE)], [None, "authenticator"])
        clients[1].execute(LOGIN, token())
        checks.equal("fails", clients[1].code("SELECT 1 / 0"), "22012")
        clients[1].query("ROLLBACK")
        checks.equal("after it", [clients[2].value(WHO), clients[2].value(ROLE)], [None, "authenticator"])
        # SET ROLE by hand outlives its transaction, and reaches the next client; a login does not start with it.
        clients[1].query("SET ROLE viewer")
        checks.equal("SET ROLE is seen to cross", clients[2].value(ROLE), "viewer")
        clients[2].query("BEGIN")
        clients[2].execute(LOGIN, token())
        checks.equal("a login all the same", [clients[2].value(WHO), clients[2].value(ROLE)], ["u1", "editor"])
        clients[2].query("COMMIT; RESET ROLE")
        for client in clients[1:]:
            client.close()


def page(checks, place):
    """The statements of docs/roles.md."""
    place.owner.query(PAGE["issuer"].replace("https://auth.example.com", tokens.ISSUER))
    place.owner.query(PAGE["tables"])
    place.owner.query("INSERT INTO articles VALUES ('u1', 'draft', false), ('u2', 'draft', false), ('u2', 'out', true)")
    s = place.session()
    read = "SELECT string_agg(author || ' ' || title, ',' ORDER BY author, title) FROM articles"
    checks.equal("without a login", s.code(read), "42501")
    for sub, role, wanted in (
        ("u1", "reader", "u2 out"),
        ("u1", "editor", "u1 draft,u2 out"),
        ("u2", "reader", "u2 out"),
    ):
        s.query("BEGIN")
        s.execute(LOGIN, token(sub, role))
        checks.equal(f"{sub} as {role}", s.value(read), wanted)
        checks.equal(
            f"{role} writes", s.code("UPDATE articles SET title = title"), "42501" if role == "reader" else None
        )
        s.query("ROLLBACK")


checks = Checks()
with Cluster("roles") as cluster:
    cluster.session("postgres", "postgres").query(PAGE["roles"] + MORE_ROLES)
    parts = (
        to_the_end,
        savepoints,
        ends_of_trust,
        refusals,
        paths,
        apart,
        functions,
        one_identity,
        prepared_and_parallel,
        pooled,
        page,
    )
    for part in parts:
        checks.run((part,), checks, Place(cluster, cluster.create_db(part.__name__)))
    checks.equal("no crash", cluster.crashes(), [])
checks.done("token and role of a login begin together, end together, and do not come apart")
