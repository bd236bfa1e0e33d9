#!/usr/bin/env python3
"""examples/better-auth as it is: users and an attacker, by HTTP, by SQL and in Chromium, while its
keys are replaced."""

import concurrent.futures
import glob
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile

from lib import better_auth, packages, tokens
from lib.better_auth import decode
from lib.pg import HERE, ROOT, Checks, PgError, Session, shell
from lib.tokens import encode

APP = f"{ROOT}/examples/better-auth"
NAME = "test_example"
SECRET = "a secret of at least 32 characters, for this test"
HTML = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
INJECTION = "'); DROP TABLE notes; SELECT ('"

# Has the application's key sign what Better Auth never would: reads payloads, prints tokens.
SIGN = """
import { auth, close } from './auth.mjs'
const tokens = {}
for (const [name, payload] of Object.entries(JSON.parse(process.argv[1])))
  tokens[name] = (await auth.api.signJWT({ body: { payload } })).token
await close()
console.log(JSON.stringify(tokens))
"""


def free_port():
    """One that the system gives to no connection by itself."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Application:
    """The example, started by its own script, for the length of a `with`."""

    def __init__(self, checks):
        packages_run = subprocess.run(
            [f"{APP}/run", "packages"], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if packages_run.returncode:
            if packages.UNREACHABLE.search(packages_run.stdout):
                packages.missing(checks, "npm reaches no registry")
            raise SystemExit(packages_run.stdout)
        self.port, self.dir = free_port(), shell('cluster_dir "$1"', NAME)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            **os.environ,
            "PORT": str(self.port),
            "BETTER_AUTH_SECRET": SECRET,
            "NODE_ENV": "test",
            # As with a package: a Postgres that has the extension.
            "PG_CONFIG": shell('echo "$PG_BIN/pg_config"'),
            "PATH": shell("echo $PATH"),
        }
        self.tokens = []

    def __enter__(self):
        try:
            subprocess.run([f"{APP}/run", "up", NAME], check=True, env=self.environ, stdout=subprocess.DEVNULL)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run([f"{APP}/run", "stop", NAME], check=True, env=self.environ)

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if body is not None and not isinstance(body, bytes):
            headers["Content-Type"], body = "application/json", json.dumps(body)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = better_auth.Response(connection.getresponse())
        connection.close()
        return response

    def api(self, token, path="/notes", body=None, method=None):
        """The status, and the answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = self.request(method or ("GET" if body is None else "POST"), f"/api{path}", body, **headers)
        return response.status, response.json()

    def verdict(self, token):
        """The status of a request with this token, and the SQLSTATE."""
        status, answer = self.api(token)
        return status, answer.get("code") if isinstance(answer, dict) else None

    def sql(self, user, port=5432):
        return Session("notes", user, self.dir, port)

    def sign(self, **payloads):
        """Tokens with these claims, signed by the application's own key."""
        environ = {**self.environ, "PGHOST": self.dir, "PGDATABASE": "notes", "BASE_URL": self.url}
        run = subprocess.run(
            ["node", "--input-type=module", "-e", SIGN, json.dumps(payloads)],
            cwd=APP,
            env=environ,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        )
        signed = json.loads(run.stdout)
        self.tokens += signed.values()
        return signed

    def logs(self):
        text = ""
        for name in ("log", "pgbouncer.log", "server.log"):
            with open(f"{self.dir}/{name}", errors="replace") as file:
                text += file.read()
        return text


class User:
    """Signed in by a cookie, as a browser is."""

    def __init__(self, app, name):
        self.app, self.name = app, name
        response = app.request(
            "POST",
            "/api/auth/sign-up/email",
            {"name": name, "email": f"{name}@test.example", "password": f"the password of {name}"},
            Origin=app.url,
        )
        self.set_cookie = response.headers["set-cookie"]
        self.id, self.cookie = response.json()["user"]["id"], response.cookies()

    def post(self, path, body, **headers):
        response = self.app.request(
            "POST", f"/api/auth{path}", body, **{"Cookie": self.cookie, "Origin": self.app.url, **headers}
        )
        return response.status, response.json()

    def token(self):
        self.app.tokens.append(self.app.request("GET", "/api/auth/token", Cookie=self.cookie).json()["token"])
        return self.app.tokens[-1]

    def claims(self):
        return decode(self.token())[1]

    def create_tenant(self, name):
        tenant = self.post("/organization/create", {"name": name, "slug": name.lower()})[1]["id"]
        self.switch(tenant)
        return tenant

    def switch(self, tenant):
        """The status, and the claim of a new token."""
        status, _ = self.post("/organization/set-active", {"organizationId": tenant})
        return status, self.claims().get("tenant_id")


def bodies(answer):
    status, notes = answer
    return [note["body"] for note in notes] if status == 200 else answer


class Test:
    def __init__(self, app, checks):
        self.app, self.equal, self.true = app, checks.equal, checks.true
        self.alice, self.bob, self.mallory = (User(app, name) for name in ("alice", "bob", "mallory"))
        self.equal("a user without a tenant", self.alice.claims().get("tenant_id"), None)
        self.acme, self.globex = self.alice.create_tenant("Acme"), self.bob.create_tenant("Globex")
        self.mallory.create_tenant("Evil")

    def headers(self):
        page = self.app.request("GET", "/")
        policy = page.headers["content-security-policy"]
        self.equal(
            "the page",
            [page.status, "default-src 'none'" in policy, "script-src 'self'" in policy, "unsafe" in policy],
            [200, True, True, False],
        )
        self.equal(
            "its headers",
            [page.headers[name] for name in ("x-content-type-options", "referrer-policy", "x-frame-options")],
            ["nosniff", "no-referrer", "DENY"],
        )
        for path in ("/%2e%2e/server.mjs", "/..%2fserver.mjs", "/package.json", "/api/no"):
            self.equal(f"GET {path}", self.app.request("GET", path).status, 401 if "api" in path else 404)
        flags = self.alice.set_cookie.lower()
        self.true(
            "the session cookie is closed to scripts and other sites", "httponly" in flags and "samesite=lax" in flags
        )
        self.equal(
            "an answer is not stored", self.app.request("GET", "/api/notes").headers["cache-control"], "no-store"
        )

    def notes(self):
        """The actions of the page, and the rows that members of a tenant see of each other."""
        app, alice, bob = self.app, self.alice.token(), self.bob.token()
        status, private = app.api(alice, body={"body": "of alice"})
        self.equal(
            "written",
            [status, private["author"], private["tenantId"], private["shared"]],
            [201, self.alice.id, self.acme, False],
        )
        _, shared = app.api(alice, body={"body": "for Acme", "shared": True})
        app.api(bob, body={"body": "of bob"})
        self.equal("hers", bodies(app.api(alice)), ["for Acme", "of alice"])
        self.equal("his", bodies(app.api(bob)), ["of bob"])
        self.equal("claims", app.api(alice, "/claims")[1]["tenant_id"], self.acme)

        # A member, until removed.
        invitation = self.alice.post(
            "/organization/invite-member", {"email": "bob@test.example", "role": "member", "organizationId": self.acme}
        )[1]["id"]
        self.equal(
            "an invitation is not another's",
            self.mallory.post("/organization/accept-invitation", {"invitationId": invitation})[0],
            403,
        )
        member = self.bob.post("/organization/accept-invitation", {"invitationId": invitation})[1]["member"]["id"]
        self.equal("he switches", self.bob.switch(self.acme), (200, self.acme))
        member_token = self.bob.token()
        self.equal("a member reads what is shared", bodies(app.api(member_token)), ["for Acme"])
        self.equal("his own are in the other tenant", bodies(app.api(member_token, f"/notes?tenant={self.globex}")), [])
        self.equal("he cannot delete hers", app.api(member_token, f"/notes/{shared['id']}", method="DELETE")[0], 404)
        self.equal("nor read a private one", app.api(member_token, f"/notes/{private['id']}")[0], 404)
        self.equal(
            "she can delete",
            [app.api(alice, f"/notes/{private['id']}", method=method)[0] for method in ("DELETE", "GET")],
            [200, 404],
        )
        self.equal(
            "removed",
            self.alice.post("/organization/remove-member", {"memberIdOrEmail": member, "organizationId": self.acme})[0],
            200,
        )
        self.equal("a removed member's next token has no tenant", self.bob.claims().get("tenant_id"), None)
        self.equal("and reads nothing", bodies(app.api(self.bob.token())), [])
        self.equal("nor writes", app.api(self.bob.token(), body={"body": "still here"})[0], 403)
        self.equal("back", self.bob.switch(self.globex), (200, self.globex))

    def input(self):
        """Texts are texts; what is none is refused."""
        app, alice = self.app, self.alice.token()
        for text in (INJECTION, HTML):
            status, note = app.api(alice, body={"body": text})
            self.equal(text, [status, app.api(alice, f"/notes/{note['id']}")[1]["body"]], [201, text])
            app.api(alice, f"/notes/{note['id']}", method="DELETE")
        self.equal("a tenant's name with SQL in it", bodies(app.api(alice, "/notes?tenant=x'%20OR%20'1'='1")), [])
        for path, wanted in (("/notes/1%20OR%201=1", 404), ("/notes/99999999999999999999", 404), ("/notes/-1", 404)):
            self.equal(path, app.api(alice, path)[0], wanted)
        for what, body, wanted in (
            ("no JSON", b"{", 400),
            ("no object", [1], 400),
            ("no text", {"body": 1}, 400),
            ("empty", {"body": ""}, 400),
            ("U+0000", {"body": "a\0b"}, 400),
            ("too long", {"body": "x" * 2001}, 400),
            ("large", b"x" * 20000, 413),
        ):
            self.equal(what, app.api(alice, body=body)[0], wanted)
        self.equal("large, to Better Auth", self.alice.post("/update-user", {"name": "x" * 20000})[0], 413)

    def refused(self):
        """Tokens that are not good."""
        app, bob = self.app, self.bob.token()
        header, payload, signature = bob.split(".")
        claims, own = decode(bob)[1], decode(bob)[0]
        forged = {**claims, "sub": self.alice.id, "tenant_id": self.acme}
        now = claims["iat"]
        signed = app.sign(
            expired={**claims, "iat": now - 900, "exp": now - 600},
            other_audience={**claims, "aud": "https://other.test.example"},
            other_issuer={**claims, "iss": "https://other.test.example"},
            good=claims,
        )
        self.equal("the helper's own good token", app.verdict(signed["good"]), (200, None))
        hs256 = ".".join((encode({**own, "alg": "HS256"}), encode(forged)))
        cases = {
            "no token": (None, (401, None)),
            "not a token": ("undefined", (401, "28J01")),
            "another's sub and tenant": (".".join((header, encode(forged), signature)), (401, "28J04")),
            "claims in the header": (
                ".".join((encode({**own, "sub": self.alice.id}), payload, signature)),
                (401, "28J04"),
            ),
            "alg none": (".".join((encode({**own, "alg": "none"}), encode(forged), "")), (401, "28J01")),
            "alg none, a signature": (
                ".".join((encode({**own, "alg": "none"}), encode(forged), signature)),
                (401, "28J02"),
            ),
            "HS256 with a key of one's own": (tokens.sign(hs256), (401, "28J02")),
            "a key of one's own in the header": (
                ".".join((encode({**own, "jwk": tokens.jwk()}), encode(forged), signature)),
                (401, "28J04"),
            ),
            "an unknown key": (".".join((encode({**own, "kid": "unknown"}), payload, signature)), (503, "28J03")),
            "another issuer's": (tokens.token("alice"), (401, "28J13")),
            "expired": (signed["expired"], (401, "28J05")),
            "for another application": (signed["other_audience"], (401, "28J08")),
            "of an issuer that is not known": (signed["other_issuer"], (401, "28J13")),
        }
        for what, (token, wanted) in cases.items():
            self.equal(what, app.verdict(token), wanted)
            if token:
                app.tokens.append(token)
                self.equal(f"{what}: written", app.api(token, body={"body": "by an attacker"})[0], wanted[0])
        self.equal("without a token", app.request("GET", "/api/notes").headers["www-authenticate"], "Bearer")
        # Connections of the pool that refused a token serve the next request.
        self.equal("afterwards", [bodies(app.api(bob)) for _ in range(8)], [["of bob"]] * 8)

    def other_tenants(self):
        """Good tokens, and other people's tenants."""
        app, bob = self.app, self.bob.token()
        self.equal("another tenant in the body", app.api(bob, body={"body": "in Acme", "tenantId": self.acme})[0], 403)
        self.equal("another tenant asked for", bodies(app.api(bob, f"/notes?tenant={self.acme}")), [])
        for claim in ({"author": self.alice.id}, {"id": 1}, {"tenant_id": self.acme}):
            status, note = app.api(bob, body={"body": "mine", **claim})
            self.equal(
                f"{claim} in the body", [status, note["author"], note["tenantId"]], [201, self.bob.id, self.globex]
            )
            app.api(bob, f"/notes/{note['id']}", method="DELETE")
        self.equal("no member", self.mallory.switch(self.acme), (403, None))
        for path in ("/update-session", "/update-user"):
            self.mallory.post(path, {"activeOrganizationId": self.acme, "tenant_id": self.acme})
            self.equal(f"{path}", self.mallory.claims().get("tenant_id"), None)
        # Even a session that names the tenant: the table of members decides.
        app.sql("better_auth").execute(
            'UPDATE session SET "activeOrganizationId" = $1 WHERE "userId" = $2', self.acme, self.mallory.id
        )
        self.equal("a session for a tenant, without membership", self.mallory.claims().get("tenant_id"), None)
        self.equal("reads nothing", bodies(app.api(self.mallory.token())), [])

    def other_sites(self):
        """Requests that another site makes a browser send (CSRF)."""
        foreign = {"Origin": "https://evil.test.example"}
        self.equal(
            "Better Auth, from another site",
            self.alice.post("/organization/create", {"name": "x", "slug": "x"}, **foreign)[0],
            403,
        )
        self.equal("signing out, from another site", self.alice.post("/sign-out", {}, **foreign)[0], 403)
        self.true("still signed in", self.alice.claims()["tenant_id"])
        local = {"Origin": self.app.url.replace("127.0.0.1", "localhost")}
        sign_in = {"email": "alice@example.com", "password": "the password of Alice"}
        self.equal("from localhost, as people type it", self.alice.post("/sign-in/email", sign_in, **local)[0], 200)
        self.equal(
            "the API by the cookie alone", self.app.request("GET", "/api/notes", Cookie=self.alice.cookie).status, 401
        )
        for path in ("/api/notes", "/api/auth/token"):
            response = self.app.request("GET", path, Cookie=self.alice.cookie, **foreign)
            self.equal(f"{path}: no other site reads it", response.headers["access-control-allow-origin"], None)

    def roles(self):
        """SQL as the API's role, with tokens made up and genuine."""
        app, session = self.app, self.app.sql("authenticated")
        bob = self.bob.token()
        header, _, signature = bob.split(".")
        forged = ".".join((header, encode({**decode(bob)[1], "sub": self.alice.id, "tenant_id": self.acme}), signature))
        self.equal("no token", session.code("SELECT * FROM notes"), "28J11")
        self.equal("a token made up", session.code("SELECT auth.jwt_session_init($1)", forged), "28J04")
        session.query("BEGIN")
        session.execute("SELECT set_config('pg_auth_jwt.token', $1, true)", "eyJhbGciOiJub25lIn0.e30.")
        self.true("a token set by hand", (session.code("SELECT * FROM notes") or "").startswith("28J"))
        session.query("ROLLBACK")
        for sql in (
            "SET ROLE app_owner",
            "SET ROLE better_auth",
            'SELECT * FROM better_auth."user"',
            "SELECT id FROM better_auth.jwks",
            "SELECT * FROM auth.jwks",
            "SELECT * FROM auth.lint()",
            "CREATE TABLE public.mine ()",
            "CREATE TEMP TABLE mine ()",
            "TRUNCATE notes",
            'DROP POLICY "crud-authenticated-policy-select" ON notes',
        ):
            self.equal(sql, session.code(sql), "42501")
        session.query("BEGIN")
        session.execute("SELECT auth.jwt_session_init($1)", bob)
        self.equal("his", session.query("SELECT body FROM notes"), [["of bob"]])
        session.query("UPDATE notes SET body = 'changed' WHERE body = 'for Acme'")
        self.equal("hers, changed", session.tag, "UPDATE 0")
        session.query("SAVEPOINT a")
        for column, value in (("author", self.alice.id), ("tenant_id", self.acme)):
            for sql in (
                f"INSERT INTO notes (body, {column}) VALUES ('x', '{value}')",
                f"UPDATE notes SET {column} = '{value}'",
            ):
                self.equal(sql, session.code(sql), "42501")
                session.query("ROLLBACK TO a")
        session.query("ROLLBACK")
        self.equal(
            "Better Auth's role and the notes", app.sql("better_auth").code("SELECT * FROM public.notes"), "42501"
        )
        for user in ("app_owner", "postgres"):
            try:
                app.sql(user, 6432)
                self.equal(f"{user} behind PgBouncer", "let in", "refused")
            except (PgError, ConnectionError):
                self.true(f"{user} behind PgBouncer", True)
        self.equal(
            "private keys, to the extension's owner",
            app.sql("app_owner").code('SELECT "privateKey" FROM better_auth.jwks'),
            "42501",
        )
        for user in ("app_owner", "postgres"):
            self.equal(
                f"auth.lint() as {user}",
                app.sql(user).query("SELECT * FROM auth.lint() WHERE code <> 'server_outdated'"),
                [],
            )
        owned = "SELECT count(*) FROM pg_class WHERE relowner = 'authenticated'::regrole"
        self.equal("what authenticated owns", app.sql("postgres").value(owned), "0")

    def at_once(self):
        """More requests than connections; none gets another's answer."""
        users = [
            (self.alice.token(), ["for Acme"]),
            (self.bob.token(), ["of bob"]),
            (tokens.token("alice"), None),
            (None, None),
        ]

        def ask(n):
            token, wanted = users[n % 4]
            status, answer = self.app.api(token)
            return (bodies((status, answer)) if status == 200 else None) == wanted

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.equal("crossings", [n for n, right in enumerate(pool.map(ask, range(240))) if not right], [])

    def rotation(self):
        """Keys come and go while the application runs."""
        app, keys = self.app, self.app.sql("better_auth")
        old = self.alice.token()
        keys.query('UPDATE jwks SET "expiresAt" = now()')
        new = self.alice.token()
        self.true("another key signs", decode(old)[0]["kid"] != decode(new)[0]["kid"])
        self.equal("both keys", [app.verdict(old), app.verdict(new)], [(200, None)] * 2)
        keys.execute("DELETE FROM jwks WHERE id = $1", decode(old)[0]["kid"])
        self.equal("the former key withdrawn", [app.verdict(old), app.verdict(new)], [(503, "28J03"), (200, None)])
        keys.query("TRUNCATE jwks")
        self.equal("all keys withdrawn", app.verdict(new), (503, "28J03"))
        self.equal("a token of a new key", app.verdict(self.alice.token()), (200, None))
        self.equal("keys", app.sql("app_owner").query("SELECT state FROM auth.key_status"), [["live"]])

    def page(self, folder, node, chromium):
        """Two other users in a browser."""
        shutil.copy(f"{HERE}/browser/notes.mjs", folder)
        with subprocess.Popen(
            [node, "notes.mjs", self.app.url, chromium],
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as browser:
            for _ in range(2):
                if browser.stdout.readline() == "rotate\n":
                    self.app.sql("better_auth").query("DELETE FROM jwks")
                    browser.stdin.write("go on\n")
                    browser.stdin.flush()
            seen, _ = browser.communicate(timeout=120)
        self.equal("the browser's exit code", browser.returncode, 0)
        if browser.returncode:
            return
        seen = json.loads(seen)
        shared, private, later = "The kitchen is closed on Friday", "Order more paper", "Call the plumber"
        wanted = {
            "errors": [],
            "barriers": [],
            "refusedBefore": [],
            "requests": [self.app.url],
            "triedAlice": [shared, private],
            "triedBob": ["Ask for the budget"],
            "policy": [
                "crud-authenticated-policy-select",
                "((tenant_id = (auth.session() ->> 'tenant_id'::text)) AND ((author = auth.user_id()) OR shared))",
            ],
            "alice": [shared, private],
            "otherTenant": [],
            "switched": [shared, private],
            "html": {"shown": [HTML], "images": 0, "title": "Notes: an example for pg_auth_jwt"},
            "rotated": [later, shared, private],
            "deleted": [later, shared],
            "signedOut": [],
            "bob": [],
            "joined": [shared],
            "reloaded": [shared],
            "otherWindow": [later, shared],
        }
        for what, value in wanted.items():
            self.equal(f"page: {what}", seen[what], value)
        self.true("page: claims", {"sub", "tenant_id", "exp"} <= set(seen["claims"]))
        self.true("page: its token was of a withdrawn key", "503 /api/notes" in seen["refused"])
        statuses = {token: answer[:3] for token, answer, _ in seen["all"]}
        shown = {token: notes for token, _, notes in seen["all"]}
        forged = "Bob in Initech, with sub and tenant_id of Alice in Acme written in"
        self.equal(
            "page: each token",
            statuses,
            {
                "Alice in Acme": "200",
                "Alice in Globex": "503",
                "Bob in Initech": "200",
                forged: "401",
                "no token": "401",
            },
        )
        self.equal(
            "page: each token's notes",
            [notes for notes in shown.values() if notes],
            [[later, shared], ["Ask for the budget"]],
        )
        self.equal("page: one note", [answer[:3] for _, answer, _ in seen["one"]], ["200", "503", "404", "401", "401"])

    def quotes(self):
        """The code that its README quotes is the code that runs."""
        with open(f"{APP}/README.md") as file:
            blocks = re.findall(r"^```(?:js|sql)\n(.*?)^```$", file.read(), re.S | re.M)
        sources = [*glob.glob(f"{APP}/*.mjs"), *glob.glob(f"{APP}/setup/*.sql")]
        texts = []
        for source in sources:
            with open(source) as file:
                texts.append(file.read())
        self.true("README has quotes", len(blocks) >= 5)
        self.equal(
            "quotes that are in no file",
            [block for block in blocks if not any(block.rstrip() in text for text in texts)],
            [],
        )

    def migrations(self):
        """schema.mjs says what the migrations make."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("schema.mjs", "drizzle.config.js", "package.json"):
                shutil.copy(f"{APP}/{name}", folder)
            shutil.copytree(f"{APP}/migrations", f"{folder}/migrations")
            os.symlink(f"{APP}/node_modules", f"{folder}/node_modules")
            run = subprocess.run(
                ["node", "node_modules/drizzle-kit/bin.cjs", "generate"],
                cwd=folder,
                env=self.app.environ,
                check=False,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            self.true("drizzle-kit finds nothing to migrate", "No schema changes" in run.stdout)

    def logs(self):
        """None has a token, or what a user signs in with."""
        logs = self.app.logs()
        # By the signatures: forged tokens have those of genuine ones.
        secrets = [token.rpartition(".")[2] for token in self.app.tokens] + [
            f"the password of {user.name}" for user in (self.alice, self.bob)
        ]
        secrets += [user.cookie.split("=")[1].split(".")[0] for user in (self.alice, self.bob, self.mallory)]
        self.equal("secrets in the logs", [secret for secret in secrets if len(secret) > 10 and secret in logs], [])
        self.equal("tokens in the logs", re.findall(r"eyJhbGci[\w.-]{20}", logs), [])
        self.true("refusals in the log", "401 28J04" in logs and "503 28J03" in logs and "403 42501" in logs)


checks = Checks()
folder, node = packages.from_npm(checks, "browser", "browser")
chromium = shutil.which("chromium")
if not chromium:
    raise SystemExit("needs Chromium: scripts/setup pg15 test")
with Application(checks) as app:
    test = Test(app, checks)
    checks.run(
        (
            test.headers,
            test.notes,
            test.input,
            test.refused,
            test.other_tenants,
            test.other_sites,
            test.roles,
            test.at_once,
            test.rotation,
        )
    )
    checks.run((test.page,), folder, node, chromium)
    checks.run((test.quotes, test.migrations, test.logs))
checks.done("examples/better-auth: two users and an attacker, by HTTP, by SQL and in Chromium")
