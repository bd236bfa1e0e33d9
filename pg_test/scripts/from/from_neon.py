#!/usr/bin/env python3
"""docs/from_neon.md: Neon Auth's tokens and custom ones, its policies, the API in FastAPI; and what
jose, jsonwebtoken, PyJWT and golang-jwt say of good and bad tokens, compared with the database."""

import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

from lib import clients, packages, tokens
from lib.pg import HERE, ROOT, Checks, Cluster, PgError, shell
from lib.signer import Signer
from lib.tokens import encode

PAGE = "docs/from_neon.md"
ORIGIN = "https://ep-x.neonauth.example.aws.neon.tech"
ALICE = "860dc360-609f-4b7d-9e70-ec93fe6414d3"
BOB = "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"
ORGANIZATION = "7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22"

SCHEMA = f"""
CREATE SCHEMA neon_auth;
CREATE TABLE neon_auth."user" (id uuid PRIMARY KEY, email text, "emailVerified" boolean);
INSERT INTO neon_auth."user" VALUES ('{ALICE}', 'user@email.com', true), ('{BOB}', 'bob@email.com', false);
CREATE TABLE posts (user_id uuid DEFAULT auth.uid() REFERENCES neon_auth."user", title text);
CREATE TABLE team (organization_id uuid, name text);
CREATE TABLE todos (user_id text DEFAULT auth.user_id(), task text);
CREATE TABLE tenants (id int, name text);
INSERT INTO posts VALUES ('{ALICE}', 'of alice'), ('{BOB}', 'of bob');
INSERT INTO team VALUES ('{ORGANIZATION}', 'hers'), (gen_random_uuid(), 'not hers');
INSERT INTO todos VALUES ('{ALICE}', 'of alice'), ('{BOB}', 'of bob');
INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
ALTER TABLE posts ENABLE ROW LEVEL SECURITY; ALTER TABLE team ENABLE ROW LEVEL SECURITY;
ALTER TABLE todos ENABLE ROW LEVEL SECURITY; ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT ON posts, team, todos, tenants TO authenticated;
GRANT USAGE ON SCHEMA neon_auth TO authenticated;
GRANT SELECT (id, "emailVerified") ON neon_auth."user" TO authenticated;
"""


def neon_claims(sub=ALICE, **changes):
    """Those of the "Example decoded JWT payload" of Neon's page on the JWT plugin."""
    return {
        "name": "User Name",
        "email": "user@email.com",
        "emailVerified": False,
        "image": None,
        "createdAt": "2025-12-20T11:04:41.437Z",
        "updatedAt": "2025-12-20T11:04:41.437Z",
        "role": "authenticated",
        "banned": False,
        "banReason": None,
        "banExpires": None,
        "id": sub,
        "sub": sub,
        "iss": ORIGIN,
        "aud": ORIGIN,
        **changes,
    }


def policies(checks, cluster, db, sign):
    """The rows that users see by Neon's policies and its token's claims."""
    s = cluster.session(db)

    def as_user(token, query):
        s.query("BEGIN")
        try:
            s.execute("SELECT auth.jwt_session_init($1)", token)
            return s.query(query)
        except PgError as error:
            return error.code
        finally:
            s.query("ROLLBACK")

    alice = sign(neon_claims(o={"id": ORGANIZATION, "slug": "my-org", "role": "owner"}, tenant_id="2"))
    for query, wanted in {
        "SELECT title FROM posts": [["of alice"]],
        "INSERT INTO posts (title) VALUES ('new') RETURNING user_id": [[ALICE]],
        f"INSERT INTO posts VALUES ('{BOB}', 'x')": "42501",
        "SELECT name FROM team": [["hers"]],
        "SELECT task FROM todos": [["of alice"]],
        "INSERT INTO todos (task) VALUES ('new') RETURNING user_id": [[ALICE]],
        f"INSERT INTO todos VALUES ('{BOB}', 'x')": "42501",
        "SELECT name FROM tenants": [["two"]],
        (
            "SELECT auth.uid(), auth.email(), auth.role(), "
            "(auth.session() ->> 'banned')::boolean, auth.session() ->> 'banReason'"
        ): [[ALICE, "user@email.com", "authenticated", "f", None]],
        "SELECT auth.organization() ->> 'slug', auth.organization_id()": [["my-org", ORGANIZATION]],
    }.items():
        checks.equal(f"alice: {query}", as_user(alice, query), wanted)
    bob = sign(neon_claims(BOB))
    checks.equal("bob: posts", as_user(bob, "SELECT title FROM posts"), [["of bob"]])
    checks.equal("bob is not verified in neon_auth", as_user(bob, "INSERT INTO posts (title) VALUES ('x')"), "42501")
    checks.equal("bob has no organization", as_user(bob, "SELECT name FROM team"), [])
    checks.equal("nobody", s.query("SELECT title FROM posts"), [])


def fastapi(checks, folder, cluster, db, sign):
    """The page's API, called as an ASGI server calls it."""
    with open(f"{folder}/api.py", "w") as file:
        file.write(clients.block("fastapi", PAGE))
    requests = {
        "alice": sign(neon_claims()),
        "bob": sign(neon_claims(BOB)),
        "expired": sign(neon_claims(), seconds=-3600),
        "forged": sign(neon_claims())[:-8] + "AAAAAAAA",
        "another issuer": sign(neon_claims(iss="https://ep-y.example")),
        "nobody": None,
    }
    environ = {
        **os.environ,
        "PGHOST": cluster.dir,
        "PGUSER": "authenticated",
        "PGDATABASE": db,
        "PYTHONPATH": f"{folder}/packages",
    }
    run = subprocess.run(
        [sys.executable, f"{HERE}/neon/call_api.py", folder],
        input=json.dumps(requests),
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    checks.equal("FastAPI: exit code", run.returncode, 0)
    checks.equal(
        "FastAPI: answers",
        json.loads(run.stdout or "{}"),
        {
            "alice": [200, ["of alice"]],
            "bob": [200, ["of bob"]],
            "expired": [401, {"detail": "Unauthorized"}],
            "forged": [401, {"detail": "Unauthorized"}],
            "another issuer": [401, {"detail": "Unauthorized"}],
            "nobody": [401, {"detail": "Not authenticated"}],
        },
    )


class Issuer:
    """One algorithm's key, and the good and bad tokens of an issuer that signs with it."""

    def __init__(self, signer, algorithm, base):
        self.signer, self.algorithm, self.base = signer, algorithm, base
        self.kid = f"{algorithm}-1"
        self.jwk = signer.make(self.kid, algorithm, use="sig", alg=algorithm)
        # A key of the same algorithm, published nowhere.
        signer.make(f"{self.kid}-attacker", algorithm)

    def token(self, header=None, claims=None, key=None, payload=None):
        """Members of header and claims to change; None removes one."""
        now = int(time.time())
        header = {"alg": self.algorithm, "kid": self.kid, **(header or {})}
        claims = {**self.base, "iat": now, "exp": now + 3600, **(claims or {})}
        known = [{name: value for name, value in part.items() if value is not None} for part in (header, claims)]
        return self.signer.sign(key or self.kid, known[0], payload or known[1])

    def tokens(self):
        now = int(time.time())
        good = self.token()
        header, payload, signature = good.split(".")
        attacker = self.signer.ask(make=f"{self.kid}-attacker", alg=self.algorithm)
        other = {"EdDSA": "ES256", "ES256": "EdDSA", "RS256": "ES256"}[self.algorithm]
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
        noncanonical = signature[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last ^ 1]
        public = self.jwk.get("n") or self.jwk["x"]
        mac_header = encode({"alg": "HS256", "kid": self.kid})
        text = json.dumps({**self.base, "exp": now + 3600})

        def unsigned(**changes):
            return encode({"kid": self.kid, **changes}) + "." + payload

        return {
            "good": good,
            "`typ` `JWT`": self.token({"typ": "JWT"}),
            "`typ` `at+jwt`": self.token({"typ": "at+jwt"}),
            "`typ` of another kind of token, `secevent+jwt`": self.token({"typ": "secevent+jwt"}),
            "`typ` a number": self.token({"typ": 7}),
            "another payload under the signature": ".".join(
                (header, encode({**self.base, "sub": "admin", "exp": now + 3600}), signature)
            ),
            "another signature": good[:-10] + "AAAAAAAAAA",
            "the signature removed": f"{header}.{payload}.",
            "`alg` `none`, no signature": unsigned(alg="none") + ".",
            "`alg` `none`, the signature kept": unsigned(alg="none") + "." + signature,
            "HS256, signed with the public key as the secret": tokens.sign(
                f"{mac_header}.{payload}", tokens.Secret(public.encode())
            ),
            "another algorithm's name": unsigned(alg=other) + "." + signature,
            "signed by another key": self.token(key=f"{self.kid}-attacker"),
            "another key in the header, `jwk`": self.token({"jwk": attacker}, key=f"{self.kid}-attacker"),
            "`jku` in the header": self.token({"jku": "https://attacker.example/jwks"}, key=f"{self.kid}-attacker"),
            "`jwk` in the header, signed by the issuer's key": self.token({"jwk": attacker}),
            "unknown `kid`": self.token({"kid": "unknown"}),
            "no `kid`": self.token({"kid": None}),
            "`kid` a number": self.token({"kid": 1}),
            "`crit` that names an unknown extension": self.token({"crit": ["exp"], "exp": 1}),
            "`crit` empty": self.token({"crit": []}),
            "`b64` false": self.token({"b64": False, "crit": ["b64"]}),
            "expired": self.token(claims={"exp": now - 3600}),
            "`exp` absent": self.token(claims={"exp": None}),
            "`exp` a string": self.token(claims={"exp": str(now + 3600)}),
            "`exp` with a fraction": self.token(claims={"exp": now + 3600.5}),
            "`nbf` in an hour": self.token(claims={"nbf": now + 3600}),
            "`nbf` a string": self.token(claims={"nbf": "never"}),
            "`iat` in an hour": self.token(claims={"iat": now + 3600}),
            "`iat` a string": self.token(claims={"iat": "now"}),
            "another `iss`": self.token(claims={"iss": "https://other.example"}) if "iss" in self.base else good,
            "`iss` with a slash at the end": self.token(claims={"iss": ORIGIN + "/"}) if "iss" in self.base else good,
            "`iss` absent": self.token(claims={"iss": None}),
            "`iss` a number": self.token(claims={"iss": 7}),
            "another `aud`": self.token(claims={"aud": "https://other.example"}) if "aud" in self.base else good,
            "`aud` absent": self.token(claims={"aud": None}),
            "`aud` an array with ours": self.token(claims={"aud": ["other", ORIGIN]}),
            "`aud` a number": self.token(claims={"aud": 5}),
            "`sub` absent": self.token(claims={"sub": None}),
            "`sub` a number": self.token(claims={"sub": 7}),
            "`sub` twice": self.token(payload='{"sub": "admin", ' + text[1:]),
            "a payload that is an array": self.token(payload="[1]"),
            "a payload that is no JSON": self.token(payload=text[:-1]),
            "two parts": f"{header}.{payload}",
            "four parts": good + ".AAAA",
            "the signature padded with `=`": good + "=" * (-len(signature) % 4),
            "a signature whose last character has other unused bits": f"{header}.{payload}.{noncanonical}",
            "a line break at the end": good + "\n",
            "a space in front": " " + good,
            "a space in the payload": f"{header}.{payload[:8]} {payload[8:]}.{signature}",
            "`Bearer ` in front": "Bearer " + good,
            "an empty text": "",
        }


@contextlib.contextmanager
def serve(jwks):
    """The JWKS, on the loopback interface; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(jwks).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/.well-known/jwks.json"
        finally:
            server.shutdown()


class Verdicts:
    """The verdicts of the database and of each library on each token."""

    def __init__(self, folder, node, python, go):
        self.commands = [[node, f"{folder}/verify.mjs"], [sys.executable, f"{HERE}/neon/verify.py"], [go]]
        self.environ = {**os.environ, "PYTHONPATH": f"{python}/packages"}
        # By name of the token: libraries, error here.
        self.stricter, self.laxer, self.compared = {}, {}, 0

    def compare(self, checks, owner, jwks, issuer, audience, makers):
        with serve(jwks) as url:
            for maker in makers:
                made = maker.tokens()
                accepted = {}
                for command in self.commands:
                    given = {
                        "url": url,
                        "jwks": jwks,
                        "algorithms": [m.algorithm for m in makers],
                        "issuer": issuer or "",
                        "audience": audience or "",
                        "tokens": made,
                    }
                    run = subprocess.run(
                        command,
                        input=json.dumps(given),
                        env=self.environ,
                        text=True,
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    accepted |= json.loads(run.stdout)
                for what, token in made.items():
                    self.look(
                        checks,
                        f"{maker.algorithm}: {what}",
                        what,
                        owner.code("SELECT auth.verify($1)", token),
                        {library for library, names in accepted.items() if what in names},
                        set(accepted),
                    )

    def look(self, checks, label, what, code, accepting, libraries):
        self.compared += 1 + len(libraries)
        if code is None:
            checks.true(f"{label}: some library accepts what is accepted here", accepting)
            if accepting != libraries:
                self.laxer.setdefault(what, set()).update(libraries - accepting)
        elif accepting:
            names, known = self.stricter.setdefault(what, (set(), code))
            names.update(accepting)
            checks.equal(f"{label}: error", code, known)
        if what == "good":
            checks.equal(f"{label}: accepted by all", (code, accepting), (None, libraries))


def tables():
    """The two tables of the page, by token: the libraries; the error."""
    with open(f"{ROOT}/{PAGE}") as file:
        section = file.read().partition("## The same verdicts")[2]
    stricter, _, laxer = section.partition("Accepted here, and refused by some")

    def rows(text):
        return {
            what: (set(names.split(", ")), last)
            for what, names, last in re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", text, re.M)[1:]
        }

    return rows(stricter), rows(laxer)


def build_go(checks):
    """The program in golang/, with Debian's packages; no module is downloaded."""
    program = shutil.which("go")
    library = "/usr/share/gocode/src/github.com/golang-jwt/jwt"
    if not program or not os.path.exists(library):
        packages.missing(checks, "needs Debian's golang-go and golang-github-golang-jwt-jwt-dev")
    folder = shell('echo "$PGROOT/golang"')
    os.makedirs(folder, exist_ok=True)
    environ = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": f"{folder}/cache",
        "GOFLAGS": "",
    }
    subprocess.run(
        [program, "build", "-o", f"{folder}/verify", "."], check=True, cwd=f"{HERE}/neon/golang", env=environ
    )
    return f"{folder}/verify"


def main():
    checks = Checks()
    folder, node = packages.from_npm(checks, "neon_node", "neon")
    python = packages.from_pypi(checks, "neon_python", "neon/requirements.txt")
    go = build_go(checks)
    shutil.copy(f"{HERE}/neon/verify.mjs", folder)
    verdicts = Verdicts(folder, node, python, go)
    with Cluster("from_neon") as cluster, Signer(checks) as signer:
        neon = Issuer(signer, "EdDSA", neon_claims())
        db = cluster.create_db("neon_auth")
        owner = cluster.session(db, "owner_role")
        jwks = {"keys": [neon.jwk]}
        checks.equal(
            "the JWKS of Neon Auth",
            owner.value(clients.block("neon_auth", PAGE).replace(":'jwks'", f"'{json.dumps(jwks)}'")),
            "1",
        )
        owner.query(SCHEMA + clients.block("policies", PAGE))

        def sign(claims, seconds=3600):
            return signer.token(neon.kid, "EdDSA", claims, seconds)

        policies(checks, cluster, db, sign)
        fastapi(checks, python, cluster, db, sign)
        verdicts.compare(checks, owner, jwks, ORIGIN, ORIGIN, [neon])

        # As in Neon's guide to custom JWTs: neither iss nor aud.
        custom = [Issuer(signer, algorithm, {"sub": "user_1", "tenant_id": "t1"}) for algorithm in ("RS256", "ES256")]
        owner = cluster.session(cluster.create_db("custom_jwt"), "owner_role")
        jwks = {"keys": [maker.jwk for maker in custom]}
        checks.equal(
            "the JWKS of custom JWTs",
            owner.value(clients.block("custom_jwt", PAGE).replace(":'jwks'", f"'{json.dumps(jwks)}'")),
            "2",
        )
        verdicts.compare(checks, owner, jwks, None, None, custom)

    stricter, laxer = tables()
    checks.equal(
        "the page: refused here",
        {what: (names, last) for what, (names, last) in stricter.items()},
        {what: (names, f"`{code}`") for what, (names, code) in verdicts.stricter.items()},
    )
    checks.equal("the page: accepted here", {what: names for what, (names, _) in laxer.items()}, verdicts.laxer)
    checks.done(
        f"Neon's tokens and policies, and {verdicts.compared} verdicts beside jose, jsonwebtoken, PyJWT and golang-jwt"
    )


main()
