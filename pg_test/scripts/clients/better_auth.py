#!/usr/bin/env python3
"""Better Auth, the real one, signs its users in to the database, which follows its table of keys:
tokens of each algorithm, rotation while clients work, withdrawn and expired keys, tokens that it
signs for others."""

import re
import threading
import time

from lib import better_auth
from lib.better_auth import App
from lib.pg import Checks, Cluster, PgError, shell

BASE = "https://app.example.com"
# Not what is stored for the application's role, nor the server's minor release.
LINT = "SELECT code, object FROM auth.lint() WHERE code NOT IN ('scope_not_stored', 'server_outdated')"
API = "https://api.test.example"


def doc_sql(name):
    """From the documentation."""
    return shell('"$ROOT/pg_test/doc_sql" docs/following.md "$1"', name)


SCHEMA = """
CREATE TABLE notes (owner text DEFAULT auth.user_id(), note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
GRANT SELECT, INSERT ON notes TO authenticated;
GRANT CREATE ON SCHEMA public TO app;
"""

# Privileges that following needs on Better Auth's table, for an extension's owner who cannot read private
# keys.
GRANTS = {
    "kysely": doc_sql("better_auth_grants"),
    "drizzle": "GRANT SELECT (id, public_key, created_at, expires_at, alg) ON jwks TO owner_role",
}
EXPIRES = {"kysely": '"expiresAt"', "drizzle": "expires_at"}


class Site:
    """A database, and in it the tables of a Better Auth that connects as `role`."""

    def __init__(self, test, name, adapter="kysely", role="app", schema="public", app=None, **config):
        self.test, self.checks, self.cluster = test, test.checks, test.cluster
        self.name, self.adapter, self.role, self.schema, self.config = name, adapter, role, schema, app or {}
        self.db = self.cluster.create_db(name)
        self.owner = self.session("owner_role")
        self.owner.query(SCHEMA)
        self.app_role, self.reader = self.session(role), self.session()
        if schema != "public":
            self.owner.query(f"GRANT CREATE ON DATABASE {self.db} TO {role}")
            self.app_role.query(
                f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO owner_role; SET search_path = {schema}"
            )
            self.config["database"] = {"options": f"-c search_path={schema}"}
        with self.app(migrate=True, **config):
            pass

    def app(self, **config):
        return App(
            self.test.installation,
            self.cluster,
            self.db,
            self.role,
            BASE,
            adapter=self.adapter,
            **self.config,
            **config,
        )

    def session(self, user="authenticated"):
        return self.cluster.session(self.db, user)

    def follow(self, announced=True, **arguments):
        """As the extension's owner. How many keys are trusted."""
        if self.role != "owner_role":
            self.app_role.query(GRANTS[self.adapter].replace("public.", f"{self.schema}."))
        if self.schema == "public" and not arguments:
            keys = self.owner.value(doc_sql("better_auth_follow"))
        else:
            arguments = {"source": f"{self.schema}.jwks", "issuer": BASE, "audience": f"{{{BASE}}}", **arguments}
            named = ", ".join(f"{name} => '{value}'" for name, value in arguments.items())
            keys = self.owner.value(f"SELECT auth.follow({named})")
        if announced and self.role != "owner_role":
            self.announce()
        return int(keys)

    def announce(self):
        """Has the extension hear of changes at once, as the NOTICE says."""
        hint = next(
            notice["H"] for notice in reversed(self.owner.notices()) if "changes announced" in notice.get("H", "")
        )
        grant, triggers = re.fullmatch(
            r"To have changes announced, run, as the owner of the extension: (.*) then "
            r"let the table's owner run: (.*)",
            hint,
        ).groups()
        self.owner.query(grant)
        self.app_role.query(triggers)

    def states(self):
        return [state for (state,) in self.owner.query("SELECT DISTINCT state FROM auth.key_status ORDER BY 1")]

    def equal(self, what, got, wanted):
        self.checks.equal(f"{self.name}: {what}", got, wanted)

    def verdict(self, token, session=None):
        """Outcome of signing in by it: the user, or the SQLSTATE."""
        session = session or self.reader
        try:
            session.query("BEGIN")
            session.execute("SELECT auth.jwt_session_init($1)", token)
            return session.value("SELECT auth.user_id()")
        except PgError as error:
            return error.code
        finally:
            session.query("ROLLBACK")

    def becomes(self, what, token, wanted):
        """The verdict, as soon as it is that, if changes are not announced."""
        deadline = time.monotonic() + 20
        while (got := self.verdict(token)) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self.equal(what, got, wanted)

    def works(self, app):
        """Signs users up and in, and lets them write and read."""
        users = [app.sign_up("alice"), app.sign_up("bob")]
        for user in users:
            session = self.session()
            token = user.token()
            session.query("BEGIN")
            session.execute("SELECT auth.jwt_session_init($1)", token)
            self.equal("the user's id", session.value("SELECT auth.user_id()"), user.id)
            self.equal("the user's address", session.value("SELECT auth.email()"), f"{user.name}@test.example")
            session.execute("INSERT INTO notes (note) VALUES ($1)", f"of {user.name}")
            session.query("COMMIT")
        for user in users:
            session = self.session()
            session.query("BEGIN")
            session.execute("SELECT auth.jwt_session_init($1)", app.sign_in(user.name).token())
            self.equal(f"{user.name} reads", session.query("SELECT note FROM notes"), [[f"of {user.name}"]])
            session.query("COMMIT")
            self.equal("afterwards", session.query("SELECT note FROM notes"), [])
        return users

    def kids(self):
        return sorted(kid for (kid,) in self.app_role.query("SELECT id FROM jwks"))


class Test:
    def __init__(self, cluster, installation, checks):
        self.cluster, self.installation, self.checks = cluster, installation, checks

    def adapters(self):
        """Both adapters; each with a role of the application's own, and with the extension's
        owner's."""
        for adapter in ("kysely", "drizzle"):
            for role in ("app", "owner_role"):
                site = Site(self, f"{adapter}_{role}", adapter, role)
                site.equal("keys before the first token", site.follow(), 0)
                with site.app() as app:
                    alice, _ = site.works(app)
                    token = alice.token()
                site.equal(
                    "keys",
                    site.owner.query("SELECT kid, alg, state FROM auth.key_status"),
                    [[site.kids()[0], "EdDSA", "live"]],
                )
                site.equal("auth.lint finds", site.owner.query(LINT), [])
                header, claims = better_auth.decode(token)
                site.equal("header", header, {"alg": "EdDSA", "kid": site.kids()[0]})
                site.equal("claims", [claims[name] for name in ("iss", "aud", "sub")], [BASE, BASE, alice.id])
                if role == "app":
                    private = {"kysely": '"privateKey"', "drizzle": "private_key"}[adapter]
                    site.equal(
                        "the private keys, to the extension's owner",
                        site.owner.code(f"SELECT {private} FROM jwks"),
                        "42501",
                    )

    def algorithms(self):
        """Better Auth goes on with the key that it has, so each one is taken away."""
        site = Site(self, "algorithms")
        site.follow()
        old = None
        for config in (
            {"alg": "EdDSA", "crv": "Ed25519"},
            {"alg": "ES256"},
            {"alg": "RS256"},
            {"alg": "PS256"},
            {"alg": "ES512"},
        ):
            with site.app(jwt={"jwks": {"keyPairConfig": config}}) as app:
                user = app.sign_in("alice") if old else app.sign_up("alice")
                token = user.token()
            alg = config["alg"]
            site.equal(f"{alg}: header", better_auth.decode(token)[0], {"alg": alg, "kid": site.kids()[0]})
            site.equal(f"{alg}: whose", site.verdict(token), user.id)
            if old:
                site.equal(f"{alg}: a token of the key before", site.verdict(old), "28J03")
            site.app_role.query("DELETE FROM jwks")
            old = token

    def withdrawal(self):
        """A row that is gone is seen by the next statement, also of a transaction that is open."""
        site = Site(self, "withdrawal")
        site.follow()
        with site.app(jwt={"jwks": {"rotationInterval": 1}}) as app:
            alice = app.sign_up("alice")
            first = alice.token()
            while better_auth.decode(second := alice.token())[0]["kid"] == better_auth.decode(first)[0]["kid"]:
                time.sleep(0.1)
        site.equal("both keys", [site.verdict(first), site.verdict(second)], [alice.id] * 2)
        for isolation in ("READ COMMITTED", "REPEATABLE READ"):
            site.app_role.query("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM jwks")
            reader = site.session()
            reader.query(f"BEGIN ISOLATION LEVEL {isolation}")
            reader.execute("SELECT auth.jwt_session_init($1)", first)
            site.equal("before", reader.value("SELECT auth.user_id()"), alice.id)
            site.app_role.query(f"DELETE FROM jwks WHERE id = '{better_auth.decode(first)[0]['kid']}'")
            site.equal(f"{isolation}: after", reader.code("SELECT auth.user_id()"), "28J03")
            site.equal(
                f"{isolation}: signing in again", [site.verdict(first), site.verdict(second)], ["28J03", alice.id]
            )
            site.app_role.query("INSERT INTO jwks SELECT * FROM kept ON CONFLICT DO NOTHING")
            site.equal(f"{isolation}: back", site.verdict(first), alice.id)
        site.app_role.query("TRUNCATE jwks")
        site.equal("truncated", [site.verdict(first), site.verdict(second)], ["28J03"] * 2)

    def expiry(self):
        """An expired key counts until the grace is over. `timestamp` is UTC, wherever server and
        application are."""
        east, west = "Pacific/Auckland", "America/Los_Angeles"
        for name, adapter, timezone, zone in (
            ("expiry", "kysely", east, west),
            ("expiry_west", "drizzle", east, west),
            ("expiry_east", "drizzle", west, east),
        ):
            site = Site(self, name, adapter)
            site.owner.query(f"ALTER DATABASE {site.db} SET TimeZone = '{zone}'")
            site.follow(grace="1 hour")
            with site.app(timezone=timezone, jwt={"jwks": {"rotationInterval": 1}}) as app:
                alice = app.sign_up("alice")
                token = alice.token()
                while len(site.kids()) < 2:
                    alice.token()
                    time.sleep(0.1)
            kid = better_auth.decode(token)[0]["kid"]
            site.equal("just expired", site.verdict(token), alice.id)
            now = {"kysely": "now()", "drizzle": "now() AT TIME ZONE 'UTC'"}[adapter]
            for age, wanted in (
                ("59 minutes 50 seconds", alice.id),
                ("1 hour 1 second", "28J03"),
                ("59 minutes", alice.id),
            ):
                site.app_role.query(f"UPDATE jwks SET {EXPIRES[adapter]} = {now} - interval '{age}' WHERE id = '{kid}'")
                site.equal(f"expired {age} ago", site.verdict(token), wanted)
        # Without a change that anybody announces.
        site.app_role.query(
            "UPDATE jwks SET expires_at = now() AT TIME ZONE 'UTC' - interval '59 minutes 54 seconds' "
            f"WHERE id = '{kid}'"
        )
        site.reader.query("BEGIN")
        site.reader.execute("SELECT auth.jwt_session_init($1)", token)
        while (got := site.reader.code("SELECT auth.user_id()")) is None:
            time.sleep(0.1)
        site.equal("while a session is open", got, "28J03")

    def rotation(self):
        """Keys change all the time, and clients work; two processes of Better Auth make keys side
        by side."""
        for what, role, announced in (
            ("announced", "app", True),
            ("not_announced", "app", False),
            ("one_role", "owner_role", True),
        ):
            site = Site(self, f"rotation_{what}", role=role)
            strangers = Site(self, f"rotation_{what}_strangers")
            site.follow(announced)
            site.equal("state", site.states(), ["live" if announced else "polled"])
            jwt = {"jwks": {"rotationInterval": 1}}
            with site.app(jwt=jwt) as one, site.app(jwt=jwt) as two, strangers.app() as theirs:
                stranger = theirs.sign_up("mallory").token()
                users = [one.sign_up(f"user{n}") for n in range(6)]
                for user in users:
                    site.owner.execute("INSERT INTO notes VALUES ($1, 'a note')", user.id)
                until = time.monotonic() + 4
                clients = [Client(site, user, (one, two), stranger, until) for user in users]
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
            for client in clients:
                if client.failure:
                    raise client.failure
            wrong = [line for client in clients for line in client.wrong]
            self.checks.equal(f"{site.name}: requests answered wrongly", wrong[:3], [])
            self.checks.true(f"{site.name}: requests", sum(client.requests for client in clients) >= 12 * len(users))
            self.checks.true(f"{site.name}: keys", len(site.kids()) >= 3)
            # And one of them is withdrawn.
            old, new = (clients[0].tokens[place] for place in (0, -1))
            site.equal("before it is withdrawn", [site.verdict(old), site.verdict(new)], [users[0].id] * 2)
            site.app_role.query(f"DELETE FROM jwks WHERE id = '{better_auth.decode(old)[0]['kid']}'")
            if announced:
                site.equal("withdrawn", site.verdict(old), "28J03")
            else:
                site.becomes("withdrawn", old, "28J03")
            site.equal("the others", site.verdict(new), users[0].id)

    def others(self):
        """Tokens that Better Auth signs with the same keys for somebody else."""
        oauth = {"resources": [{"identifier": API}, {"identifier": BASE}], "enforcePerClientResources": False}
        site = Site(self, "others", jwt={"jwt": {"issuer": BASE}}, oauth=oauth)
        site.follow()
        with site.app(jwt={"jwt": {"issuer": BASE}}, oauth=oauth) as app:
            alice = app.sign_up("alice")
            site.equal("her own", site.verdict(alice.token()), alice.id)
            client = better_auth.Client(alice, "https://client.test.example/callback")
            id_token = client.tokens(alice)["id_token"]
            header, claims = better_auth.decode(id_token)
            site.equal("ID token's header", header, {"alg": "EdDSA", "kid": site.kids()[0]})
            site.equal(
                "ID token's claims", [claims[name] for name in ("iss", "aud", "sub")], [BASE, client.id, alice.id]
            )
            site.equal("ID token for another client", site.verdict(id_token), "28J08")
            access = client.tokens(alice, resource=API)["access_token"]
            site.equal(
                "access token's header",
                better_auth.decode(access)[0],
                {"alg": "EdDSA", "kid": site.kids()[0], "typ": "at+jwt"},
            )
            site.equal("access token for another resource", site.verdict(access), "28J08")
            access = client.tokens(alice, resource=BASE)["access_token"]
            site.equal("access token for this database", site.verdict(access), alice.id)
            site.owner.query("UPDATE auth.issuers SET token_types = '{JWT}'")
            site.equal("access token where only those without a type are taken", site.verdict(access), "28J01")
            site.equal("her own, then", site.verdict(alice.token()), alice.id)
            site.owner.query("UPDATE auth.issuers SET token_types = DEFAULT")
        # Without jwt.issuer the ID token names another issuer than /token does.
        with site.app(oauth=oauth) as app:
            client.app = app
            id_token = client.tokens(app.sign_in("alice"))["id_token"]
            site.equal("ID token's issuer by default", better_auth.decode(id_token)[1]["iss"], f"{BASE}/api/auth")
            site.equal("ID token of another issuer", site.verdict(id_token), "28J13")
        # Its session cookie may be a token, too.
        options = {"session": {"cookieCache": {"enabled": True, "strategy": "jwt"}}}
        with site.app(options=options, jwt={"sessionCookieCache": True}) as app:
            alice = app.sign_in("alice")
            cookie = dict(pair.split("=", 1) for pair in alice.cookie.split("; "))["__Secure-better-auth.session_data"]
            header, claims = better_auth.decode(cookie)
            site.equal(
                "session cookie",
                [header["kid"], header["typ"], claims["iss"], claims["sub"]],
                [site.kids()[0], "better-auth.session-cache+jwt", BASE, alice.id],
            )
            site.equal("session cookie is no token for the database", site.verdict(cookie), "28J01")
            site.owner.query("UPDATE auth.issuers SET token_types = NULL")
            site.equal("nor where no type is looked at", site.verdict(cookie), "28J08")

    def published(self):
        """auth.init takes what Better Auth publishes. Following that issuer replaces it."""
        site = Site(self, "published")
        with site.app() as app:
            alice = app.sign_up("alice")
            sql = "SELECT auth.init($1, issuer => $2, audience => ARRAY[$2])"
            site.equal("keys", site.owner.value(sql, app.request("/jwks").text, BASE), "1")
            site.equal("by auth.init", site.verdict(alice.token()), alice.id)
            site.equal("followed keys", site.follow(), 1)
            site.equal("by auth.follow", site.verdict(alice.token()), alice.id)
            site.equal("auth.init then", site.owner.code(sql, app.request("/jwks").text, BASE), "55000")
            site.owner.execute("SELECT auth.unfollow($1)", BASE)
            site.equal("not followed", site.verdict(alice.token()), "28J03")

    def sessions(self):
        """Signing out ends the token with the session, in each of the ways that Better Auth has."""
        for adapter, ends in EXPIRES.items():
            site = Site(self, f"sessions_{adapter}", adapter=adapter, app={"sid": True})
            site.follow()
            site.app_role.query(f"GRANT SELECT (id, {ends}) ON session TO owner_role")
            site.owner.query(f"SELECT auth.follow_sessions('public.session', '{BASE}')")
            with site.app() as app:
                alice, bob = app.sign_up("alice"), app.sign_up("bob")
                devices = [alice, *(app.sign_in("alice") for _ in range(3))]
                tokens = [user.token() for user in devices]
                readers = [site.session() for _ in devices]
                for reader, token in zip(readers, tokens):
                    reader.query(f"SET pg_auth_jwt.token = '{token}'")
                who = "SELECT auth.user_id()"
                site.equal("signed in", [reader.value(who) for reader in readers], [alice.id] * 4)
                app.request("/sign-out", {}, cookie=devices[0].cookie)
                codes = [reader.code(who) for reader in readers]
                site.equal("one device signs out", codes, ["28J10", None, None, None])
                site.equal("its token, elsewhere", site.verdict(tokens[0]), "28J10")
                app.request("/revoke-other-sessions", {}, cookie=devices[1].cookie)
                codes = [reader.code(who) for reader in readers]
                site.equal("and the others by one of them", codes, ["28J10", None, "28J10", "28J10"])
                app.request("/revoke-sessions", {}, cookie=devices[1].cookie)
                site.equal("all of them", readers[1].code(who), "28J10")
                site.equal("another user's", site.verdict(bob.token()), bob.id)
                site.equal("signed in again", site.verdict(app.sign_in("alice").token()), alice.id)

    def claims(self):
        """They are the user's row: also what users say of themselves, unless it is kept from
        them."""

        def fields(**role):
            return {"options": {"user": {"additionalFields": {"role": {"type": "string", "required": False, **role}}}}}

        site = Site(self, "claims", app=fields())
        site.follow()
        with site.app() as app:
            session = site.session()
            session.execute("SELECT auth.jwt_session_init($1)", app.sign_up("mallory", role="admin").token())
            row = session.query("SELECT auth.role(), auth.email(), auth.session() ->> 'emailVerified'")
            site.equal("as users say", row, [["admin", "mallory@test.example", "false"]])
        site.config = fields(input=False, defaultValue="user")
        with site.app() as app:
            session.execute("SELECT auth.jwt_session_init($1)", app.sign_up("alice").token())
            site.equal("not for users to say", session.value("SELECT auth.role()"), "user")
            try:
                app.sign_up("eve", role="admin")
            except RuntimeError as error:
                site.equal("a user who tries", "400" in str(error), True)
            else:
                session.execute("SELECT auth.jwt_session_init($1)", app.sign_in("eve").token())
                site.equal("a user who tries", session.value("SELECT auth.role()"), "user")
            # Signing out ends the session, and no token.
            alice = app.sign_in("alice")
            token = alice.token()
            app.request("/sign-out", {}, cookie=alice.cookie)
            try:
                alice.token()
                site.equal("a token after signing out", "given", "401")
            except RuntimeError as error:
                site.equal("a token after signing out", str(error)[:12], "/token: 401 ")
            site.equal("a token from before", site.verdict(token), alice.id)

    def turned_on(self):
        """A key that was made without expiry is not rotated until it gets one."""
        site = Site(self, "turned_on")
        site.follow()
        with site.app() as app:
            alice = app.sign_up("alice")
            old = alice.token()
        with site.app(jwt={"jwks": {"rotationInterval": 3600, "keyPairConfig": {"alg": "ES256"}}}) as app:
            site.equal("the key that is there", better_auth.decode(alice.token(app))[0], better_auth.decode(old)[0])
            site.app_role.query(doc_sql("better_auth_rotate"))
            new = alice.token(app)
            site.equal("a new key", better_auth.decode(new)[0]["alg"], "ES256")
            site.equal("both", [site.verdict(old), site.verdict(new)], [alice.id] * 2)

    def variants(self):
        """Ids, names and schemas of other kinds."""
        for kind, of_id in (("uuid", "uuid"), ("serial", "integer")):
            site = Site(self, kind, app={"options": {"advanced": {"database": {"generateId": kind}}}})
            site.follow()
            with site.app() as app:
                site.works(app)
            sql = (
                "SELECT format_type(atttypid, -1) FROM pg_attribute "
                "WHERE attrelid = 'jwks'::regclass AND attname = 'id'"
            )
            site.equal("type of id", site.app_role.value(sql), of_id)
        fields = {
            "publicKey": "pub",
            "privateKey": "priv",
            "createdAt": "made",
            "expiresAt": "ends",
            "alg": "algorithm",
            "crv": "curve",
        }
        jwt = {"schema": {"jwks": {"modelName": "signing_key", "fields": fields}}}
        site = Site(self, "renamed_columns", role="owner_role", app={"jwt": jwt})
        site.follow(source="signing_key", columns='{"public_key": "pub", "expires_at": "ends", "alg": "algorithm"}')
        with site.app() as app:
            site.works(app)
        site = Site(self, "own_schema", schema="better_auth")
        site.follow()
        with site.app() as app:
            site.works(app)

    def recreated(self):
        """Migration tools drop and create. By the same owner it is the same table; by another it is
        not."""
        site = Site(self, "recreated")
        site.follow()
        with site.app() as app:
            alice = app.sign_up("alice")
            old = alice.token()
        site.equal("before", site.verdict(old), alice.id)
        site.app_role.query("CREATE TABLE kept AS TABLE jwks; DROP TABLE jwks")
        site.equal("dropped", site.verdict(old), "28J03")
        with site.app(migrate=True) as app:
            site.app_role.query(GRANTS["kysely"])
            new = alice.token(app)
        site.equal("created", [site.verdict(old), site.verdict(new)], ["28J03", alice.id])
        site.app_role.query("INSERT INTO jwks TABLE kept")
        site.becomes("with the old key", old, alice.id)
        site.app_role.query("DELETE FROM jwks")
        site.becomes("without it", old, "28J03")
        site.app_role.query("DROP TABLE jwks; GRANT SELECT ON kept TO owner_role")
        site.owner.query("CREATE TABLE jwks AS TABLE kept")
        site.equal("of another owner", [site.verdict(old), site.states()], ["28J03", ["missing"]])


class Client(threading.Thread):
    """Asks for tokens and works with them, with older ones too, and tries what must be refused."""

    def __init__(self, site, user, apps, stranger, until):
        super().__init__()
        self.site, self.user, self.apps, self.stranger, self.until = site, user, apps, stranger, until
        self.tokens, self.wrong, self.requests, self.failure = [], [], 0, None

    def run(self):
        try:
            session = self.site.session()
            while time.monotonic() < self.until or self.requests < 12:
                token = self.user.token(self.apps[self.requests % 2])
                self.tokens.append(token)
                if self.requests % 7 == 0:
                    session.close()
                    session = self.site.session()
                self.expect(session, token, self.user.id)
                self.expect(session, self.tokens[self.requests // 2], self.user.id)
                payload = self.stranger.split(".")[1]
                self.expect(session, ".".join((token.split(".")[0], payload, token.split(".")[2])), "28J04")
                self.expect(session, self.stranger, "28J03")
                self.requests += 1
        except Exception as error:  # Whatever it is, the test has to hear of it.
            self.failure = error

    def expect(self, session, token, wanted):
        got = self.site.verdict(token, session)
        if got != wanted:
            self.wrong.append(f"{better_auth.decode(token)}: {got} instead of {wanted}")


checks = Checks()
installation = better_auth.install(checks)
with Cluster("better_auth", max_connections=200) as cluster:
    cluster.session("postgres", "postgres").query("CREATE ROLE app LOGIN")
    test = Test(cluster, installation, checks)
    checks.run(
        (
            test.adapters,
            test.algorithms,
            test.withdrawal,
            test.expiry,
            test.rotation,
            test.others,
            test.sessions,
            test.claims,
            test.published,
            test.turned_on,
            test.variants,
            test.recreated,
        )
    )
checks.done("Better Auth's tokens, of either adapter, while keys come and go")
