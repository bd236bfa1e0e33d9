#!/usr/bin/env python3
"""The issuers of docs/issuers.md that run here: oidc-provider, OpenAuth and django-oauth-toolkit, and the page's own
one by joserfc. Users sign in over HTTPS, as a browser does; the database finds the keys by discovery; the tokens are
theirs. Each goes on with another key, whose first token is accepted, and no token of the former one."""

import contextlib
import http.cookiejar
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from lib import packages
from lib.clients import block
from lib.endpoint import Answer, Endpoint
from lib.following import FetchingCluster, folder
from lib.pg import HERE, Checks, PgError

PAGE = "docs/issuers.md"
EXAMPLE = "https://auth.example.com"
API = "https://api.example.com"
CALLBACK = "https://app.example.com/callback"


class Arrived(Exception):
    """The browser was sent to the application."""


class StopAtApplication(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, fp, code, msg, headers, newurl):
        if newurl.startswith(CALLBACK):
            raise Arrived(newurl)
        return super().redirect_request(request, fp, code, msg, headers, newurl)


class Browser:
    """Follows redirects and keeps cookies."""

    def __init__(self, authority):
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority.pem)),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            StopAtApplication,
        )

    def open(self, url, form=None, **headers):
        """The final address and the page."""
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(url, data, {name.replace("_", "-"): text for name, text in headers.items()})
        try:
            with self.opener.open(request, timeout=20) as answer:
                return answer.url, answer.read().decode()
        except Arrived as arrived:
            return str(arrived), ""
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{url}: {error.code} {error.read().decode()[:500]}") from None

    def authorize(self, url, **more):
        query = {"client_id": "notes-web", "redirect_uri": CALLBACK, "response_type": "code", "state": "x", **more}
        return f"{url}?{urllib.parse.urlencode(query)}"

    def exchange(self, url, arrived, **more):
        """The answer of the token endpoint."""
        (code,) = urllib.parse.parse_qs(urllib.parse.urlsplit(arrived).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return self.tokens(url, **form, **more)

    def tokens(self, url, **form):
        return json.loads(self.open(url, {"client_id": "notes-web", "client_secret": "secret", **form})[1])


class Server:
    """A process that serves issuers, for the length of a `with`."""

    def __init__(self, authority, *command, **environ):
        certificate = authority.certificate("localhost")
        self.process = subprocess.Popen(
            [*command, *certificate],
            env={**os.environ, **environ},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.origins = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[1]} ended, with status {self.process.wait()}")
        return json.loads(line)

    def renew(self):
        """Has its issuers sign with a new key."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


class Section:
    """A database with the README's table, and the issuer of a section of the page followed there."""

    def __init__(self, checks, cluster, name, *replaced):
        self.checks, self.name = checks, name
        db = cluster.create_db(f"real_{name}")
        self.owner, self.user = cluster.session(db, "owner_role"), cluster.session(db)
        self.owner.query(block("guard_text", "README.md"))
        sql = block(name, PAGE)
        for old, new in replaced:
            checks.true(f"{name}: {old} is on the page", old in sql)
            sql = sql.replace(old, new)
        cluster.allow(urllib.parse.urlsplit(replaced[0][1]).netloc)
        self.owner.query(sql)
        ((outcome, detail),) = self.owner.query("SELECT outcome, detail FROM auth.refresh()")
        checks.equal(f"{name}: its keys are fetched: {detail}", outcome, "changed")
        # A busy machine takes longer than the default to fetch.
        self.user.query("SET pg_auth_jwt.fetch_wait = '20s'")

    def as_user(self, token, query):
        """The values of a row, or the SQLSTATE."""
        self.user.query("BEGIN")
        try:
            self.user.execute("SELECT auth.jwt_session_init($1)", token)
            return self.user.query(query)[0]
        except PgError as error:
            return error.code
        finally:
            self.user.query("COMMIT")

    def check(self, what, token, query, wanted):
        self.checks.equal(f"{self.name}: {what}", self.as_user(token, query), wanted)

    def writes(self, what, token, wanted):
        """What a user who adds a row sees of the table: owner and body."""
        self.check(what, token, "INSERT INTO notes (body) VALUES ('new') RETURNING owner, body", wanted)


def oidc_provider(checks, cluster, origin):
    section = Section(checks, cluster, "oidc_provider", (EXAMPLE, origin))

    def sign_in():
        browser = Browser(cluster.authority)
        url = browser.authorize(f"{origin}/auth", scope="openid notes", resource=API)
        page, _ = browser.open(url)
        page, _ = browser.open(page, {"prompt": "login", "login": "alice", "password": "x"})
        arrived, _ = browser.open(page, {"prompt": "consent"})
        return browser.exchange(f"{origin}/token", arrived, resource=API)

    before = sign_in()
    section.writes("access token", before["access_token"], ["alice", "new"])
    section.check("ID token", before["id_token"], "SELECT 1", "28J08")
    machine = Browser(cluster.authority).tokens(f"{origin}/token", grant_type="client_credentials", resource=API)
    section.check("of a client", machine["access_token"], "SELECT auth.user_id()", ["notes-web"])
    section.check("of a client: rows", machine["access_token"], "SELECT count(*) FROM notes", ["0"])
    opaque = Browser(cluster.authority).tokens(f"{origin}/token", grant_type="client_credentials")
    section.check("without resource", opaque["access_token"], "SELECT 1", "28J01")
    yield
    section.writes("first token of the new key", sign_in()["access_token"], ["alice", "new"])
    section.check("former key", before["access_token"], "SELECT 1", "28J03")


def openauth(checks, cluster, origin):
    section = Section(checks, cluster, "openauth", (EXAMPLE, origin))

    def sign_in():
        browser = Browser(cluster.authority)
        url = browser.authorize(f"{origin}/authorize", provider="anyone", response_type="token")
        arrived, _ = browser.open(url, X_User="alice")
        return urllib.parse.parse_qs(urllib.parse.urlsplit(arrived).fragment)

    before = sign_in()
    (token,) = before["access_token"]
    section.check("access token", token, f"SELECT {section_user_id('OpenAuth')}, auth.uid() IS NULL", ["alice", "t"])
    section.check("sub", token, "SELECT auth.user_id() ~ '^user:[0-9a-f]{16}$'", ["t"])
    section.check("refresh token", before["refresh_token"][0], "SELECT 1", "28J01")
    yield
    section.check(
        "first token of the new key", sign_in()["access_token"][0], "SELECT auth.user_id() LIKE 'user:%'", ["t"]
    )
    section.check("former key", token, "SELECT 1", "28J03")


def django_oauth_toolkit(checks, cluster, origin):
    section = Section(checks, cluster, "django_oauth_toolkit", (EXAMPLE, origin))

    def sign_in():
        browser = Browser(cluster.authority)
        _, user_id = browser.open(f"{origin}/login/alice")
        arrived, _ = browser.open(browser.authorize(f"{origin}/o/authorize/", scope="openid"))
        return user_id, browser.exchange(f"{origin}/o/token/", arrived)

    user_id, before = sign_in()
    section.writes("ID token", before["id_token"], [user_id, "new"])
    section.check("access token", before["access_token"], "SELECT 1", "28J01")
    yield
    section.writes("first token of the new key", sign_in()[1]["id_token"], [user_id, "new"])
    section.check("former key", before["id_token"], "SELECT 1", "28J03")


def section_user_id(provider):
    """The expression of the page's table."""
    with open(f"{HERE}/../{PAGE}") as page:
        (row,) = (line for line in page if line.startswith(f"| [{provider}]"))
    return row.split("|")[4].strip().strip("`")


def own_issuer(checks, cluster):
    """The page's code, and keys that a server on loopback has."""
    python = {}
    exec(block("own_issuer_python", PAGE), python)
    with Endpoint(cluster.authority) as endpoint:
        endpoint.script("/jwks.json", Answer(json.dumps(python["JWKS"])))
        section = Section(checks, cluster, "own_issuer", (EXAMPLE, endpoint.url))
        token = python["token"](type("User", (), {"id": 42}))
        section.check("another iss", token, "SELECT 1", "28J13")
        python["ISSUER"] = endpoint.url
        token = python["token"](type("User", (), {"id": 42}))
        section.writes("token", token, ["42", "new"])


def main():
    checks = Checks()
    node_packages, node = packages.from_npm(checks, "issuers_node", "issuers")
    python = packages.from_pypi(checks, "issuers_python", "issuers/requirements.txt") + "/packages"
    sys.path.insert(0, python)
    with open(f"{node_packages}/serve.mjs", "w") as out, open(f"{HERE}/issuers/serve.mjs") as text:
        out.write(text.read())
    with folder() as place, FetchingCluster("real_issuers", place) as cluster:
        authority = cluster.authority
        with (
            Server(authority, node, f"{node_packages}/serve.mjs") as javascript,
            Server(authority, sys.executable, f"{HERE}/issuers/django_issuer.py", PYTHONPATH=python) as django,
        ):
            for server, origin, part in (
                (javascript, javascript.origins[0], oidc_provider),
                (javascript, javascript.origins[1], openauth),
                (django, django.origins[0], django_oauth_toolkit),
            ):
                steps = part(checks, cluster, origin)
                next(steps)
                server.renew()
                with contextlib.suppress(StopIteration):
                    next(steps)
        own_issuer(checks, cluster)
        checks.equal("no crash", cluster.crashes(), [])
    checks.done("oidc-provider, OpenAuth, django-oauth-toolkit and joserfc: their tokens, by discovery, with rotation")


main()
