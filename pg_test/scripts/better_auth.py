#!/usr/bin/env python3
"""Better Auth, the real one, signs its users in to the database: tokens of each algorithm, and tokens that it signs
with the same keys for others."""

from lib import better_auth
from lib.better_auth import App
from lib.pg import Checks, Cluster, PgError

BASE = "https://app.test.example"
API = "https://api.test.example"

SCHEMA = """
CREATE TABLE notes (owner text DEFAULT auth.user_id(), note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
GRANT SELECT, INSERT ON notes TO authenticated;
GRANT CREATE ON SCHEMA public TO app;
"""


class Site:
    """A database, and in it the tables of a Better Auth that connects as `role`."""

    def __init__(self, test, name, adapter="kysely", role="app", **config):
        self.test, self.checks, self.cluster = test, test.checks, test.cluster
        self.name, self.adapter, self.role = name, adapter, role
        self.db = self.cluster.create_db(name)
        self.owner = self.session("owner_role")
        self.owner.query(SCHEMA)
        self.app_role = self.session(role)
        with self.app(migrate=True, **config):
            pass

    def app(self, **config):
        return App(self.test.installation, self.cluster, self.db, self.role, BASE, adapter=self.adapter, **config)

    def session(self, user="authenticated"):
        return self.cluster.session(self.db, user)

    def trust(self, app):
        """Takes over the keys that Better Auth publishes."""
        sql = "SELECT auth.init($1, issuer => $2, audience => ARRAY[$2])"
        return int(self.owner.value(sql, app.request("/jwks").text, BASE))

    def equal(self, what, got, wanted):
        self.checks.equal(f"{self.name}: {what}", got, wanted)

    def verdict(self, token, session=None):
        """What signing in by it gives: whose it is, or the SQLSTATE."""
        session = session or self.session()
        try:
            session.query("BEGIN")
            session.execute("SELECT auth.jwt_session_init($1)", token)
            return session.value("SELECT auth.user_id()")
        except PgError as error:
            return error.code
        finally:
            session.query("ROLLBACK")

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
        return sorted(kid for kid, in self.app_role.query("SELECT id FROM jwks"))


class Test:
    def __init__(self, cluster, installation, checks):
        self.cluster, self.installation, self.checks = cluster, installation, checks

    def adapters(self):
        """Both adapters; each with a role of the application's own, and with the extension's owner's."""
        for adapter in ("kysely", "drizzle"):
            for role in ("app", "owner_role"):
                site = Site(self, f"{adapter}_{role}", adapter, role)
                with site.app() as app:
                    site.equal("keys", site.trust(app), 1)
                    alice, _ = site.works(app)
                    token = alice.token()
                header, claims = better_auth.decode(token)
                site.equal("header", header, {"alg": "EdDSA", "kid": site.kids()[0]})
                site.equal("claims", [claims[name] for name in ("iss", "aud", "sub")], [BASE, BASE, alice.id])

    def algorithms(self):
        """Better Auth goes on with the key that it has, so each one is taken away."""
        site = Site(self, "algorithms")
        old = None
        for config in ({"alg": "EdDSA", "crv": "Ed25519"}, {"alg": "ES256"}, {"alg": "RS256"}, {"alg": "PS256"}, {"alg": "ES512"}):
            with site.app(jwt={"jwks": {"keyPairConfig": config}}) as app:
                user = app.sign_in("alice") if old else app.sign_up("alice")
                token = user.token()
                site.trust(app)
            alg = config["alg"]
            site.equal(f"{alg}: header", better_auth.decode(token)[0], {"alg": alg, "kid": site.kids()[0]})
            site.equal(f"{alg}: whose", site.verdict(token), user.id)
            if old:
                site.equal(f"{alg}: a token of the key before", site.verdict(old), "28J03")
            site.app_role.query("DELETE FROM jwks")
            old = token

    def others(self):
        """What Better Auth signs with the same keys for somebody else."""
        oauth = {"resources": [{"identifier": API}, {"identifier": BASE}], "enforcePerClientResources": False}
        site = Site(self, "others", jwt={"jwt": {"issuer": BASE}}, oauth=oauth)
        with site.app(jwt={"jwt": {"issuer": BASE}}, oauth=oauth) as app:
            alice = app.sign_up("alice")
            site.trust(app)
            site.equal("her own", site.verdict(alice.token()), alice.id)
            client = better_auth.Client(alice, "https://client.test.example/callback")
            id_token = client.tokens(alice)["id_token"]
            header, claims = better_auth.decode(id_token)
            site.equal("ID token's header", header, {"alg": "EdDSA", "kid": site.kids()[0]})
            site.equal("ID token's claims", [claims[name] for name in ("iss", "aud", "sub")], [BASE, client.id, alice.id])
            site.equal("ID token for another client", site.verdict(id_token), "28J08")
            access = client.tokens(alice, resource=API)["access_token"]
            site.equal("access token's header", better_auth.decode(access)[0], {"alg": "EdDSA", "kid": site.kids()[0], "typ": "at+jwt"})
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
            site.equal("ID token of another issuer", site.verdict(id_token), "28J03")
        # Its session cookie may be a token, too.
        options = {"session": {"cookieCache": {"enabled": True, "strategy": "jwt"}}}
        with site.app(options=options, jwt={"sessionCookieCache": True}) as app:
            alice = app.sign_in("alice")
            cookie = dict(pair.split("=", 1) for pair in alice.cookie.split("; "))["__Secure-better-auth.session_data"]
            header, claims = better_auth.decode(cookie)
            site.equal("session cookie", [header["kid"], header["typ"], claims["iss"], claims["sub"]],
                       [site.kids()[0], "better-auth.session-cache+jwt", BASE, alice.id])
            site.equal("session cookie is no token for the database", site.verdict(cookie), "28J01")
            site.owner.query("UPDATE auth.issuers SET token_types = NULL")
            site.equal("nor where no type is looked at", site.verdict(cookie), "28J08")


def main():
    checks = Checks()
    installation = better_auth.install(checks)
    with Cluster("better_auth") as cluster:
        cluster.session("postgres", "postgres").query("CREATE ROLE app LOGIN")
        test = Test(cluster, installation, checks)
        test.adapters()
        test.algorithms()
        test.others()
    checks.done("Better Auth's tokens, of either adapter and each algorithm")


main()
