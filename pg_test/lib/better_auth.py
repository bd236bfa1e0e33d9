"""Better Auth, the real one, on Node.js: a server in a process of pg_test/better_auth/app.mjs with a database behind
it, its users and their tokens."""

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from urllib.parse import parse_qs, urlencode, urlsplit

from . import packages
from .pg import HERE

SOURCE = f"{HERE}/better_auth"


def install(checks):
    """The folder with the packages and app.mjs, and Node.js."""
    folder, node = packages.from_npm(checks, "better_auth", "better_auth")
    # Node looks for packages beside the file itself, not beside a link to it.
    for file in ("app.mjs", "schema.mjs"):
        shutil.copy(f"{SOURCE}/{file}", folder)
    return folder, node


class Response:
    def __init__(self, answer):
        self.status, self.headers = answer.status, answer.headers
        self.text = answer.read().decode()

    def json(self):
        return json.loads(self.text)

    def cookies(self):
        """For the header Cookie of later requests."""
        return "; ".join(line.split(";")[0] for line in self.headers.get_all("set-cookie", []))


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Process:
    """Serves one server after the other, because its start takes a second. Servers of the same time have processes of
    their own, and so do those of another time zone."""

    idle = {}

    def __init__(self, installation, timezone):
        folder, node = installation
        self.kind = (installation, timezone)
        self.process = subprocess.Popen(
            [node, "app.mjs"],
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TZ": timezone},
        )

    @classmethod
    def get(cls, *kind):
        idle = cls.idle.get(kind)
        return idle.pop() if idle else cls(*kind)

    def serve(self, config):
        """None ends the server."""
        self.process.stdin.write(json.dumps(config) + "\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise SystemExit("Better Auth's process has ended")

    def free(self):
        self.serve(None)
        self.idle.setdefault(self.kind, []).append(self)


class App:
    """A server of Better Auth's, for the length of a `with`. See app.mjs for `config`."""

    def __init__(self, installation, cluster, dbname, user, base_url, options=None, timezone="UTC", **config):
        self.base_url = base_url
        self.dir = tempfile.mkdtemp(prefix="better_auth")
        self.socket = f"{self.dir}/socket"
        config = {
            "socket": self.socket,
            "database": {
                "host": cluster.dir,
                "port": 5432,
                "user": user,
                "database": dbname,
                **config.pop("database", {}),
            },
            "options": {"baseURL": base_url, **(options or {})},
            **config,
        }
        self.process = Process.get(installation, timezone)
        self.process.serve(config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.free()
        shutil.rmtree(self.dir, ignore_errors=True)

    def request(self, path, body=None, cookie=None, form=None, **headers):
        """GET, or POST with a body. Raises unless it succeeds or redirects."""
        connection = Connection(self.socket)
        headers = {"Host": self.base_url.split("//")[1], "Origin": self.base_url, **headers}
        if cookie:
            headers["Cookie"] = cookie
        if body is not None:
            headers["Content-Type"], body = "application/json", json.dumps(body)
        elif form is not None:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", form
        connection.request("GET" if body is None else "POST", f"/api/auth{path}", body, headers)
        response = Response(connection.getresponse())
        connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{path}: {response.status} {response.text}")
        return response

    def sign_up(self, name, **fields):
        return User(self, name, "/sign-up/email", **fields)

    def sign_in(self, name):
        return User(self, name, "/sign-in/email")


class User:
    """Signed in to the application by a session cookie."""

    def __init__(self, app, name, path, **fields):
        self.app, self.name = app, name
        body = {"name": name, "email": f"{name}@test.example", "password": f"the password of {name}", **fields}
        response = app.request(path, body)
        self.id, self.cookie = response.json()["user"]["id"], response.cookies()

    def token(self, app=None):
        """A JWT as an application hands it to the database."""
        return (app or self.app).request("/token", cookie=self.cookie).json()["token"]


class Client:
    """One of an OpenID provider's clients, which `user` registers. All that it does is by HTTP."""

    def __init__(self, user, redirect_uri):
        self.app, self.redirect_uri = user.app, redirect_uri
        answer = user.app.request("/oauth2/create-client", {"redirect_uris": [redirect_uri]}, cookie=user.cookie).json()
        self.id, self.secret = answer["client_id"], answer["client_secret"]

    def tokens(self, user, **more):
        """Outcome of the authorization code flow, for a user who consents."""
        verifier = "v" * 60
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid",
            "state": "a state",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **more,
        }
        where = self.app.request(f"/oauth2/authorize?{urlencode(query)}", cookie=user.cookie).headers["location"]
        if where.startswith("/consent?"):
            body = {"accept": True, "oauth_query": where.split("?")[1]}
            where = self.app.request("/oauth2/consent", body, cookie=user.cookie).json()["url"]
        code = parse_qs(urlsplit(where).query)["code"][0]
        secret = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
            **more,
        }
        return self.app.request("/oauth2/token", form=urlencode(form), Authorization=f"Basic {secret}").json()


def decode(token):
    """Header and claims, unverified."""
    return tuple(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2])
