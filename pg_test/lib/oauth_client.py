"""Connections that a bearer token opens (SASL mechanism OAUTHBEARER, RFC 7628), message by message, and a cluster that
takes them. Needs nothing but Python."""

import json
import os
import re
import socket
import struct
import time

from . import tokens
from .pg import Cluster, PgError, Session, shell

# The database where logins are verified, whose extension belongs to a superuser.
LOGIN_DATABASE = "logins"
AUDIENCE = "https://db.test.example"
SCOPE = "db"

MECHANISM = "OAUTHBEARER"
SEPARATOR = "\x01"
# Requests of the server: AuthenticationOk, AuthenticationSASL and AuthenticationSASLContinue.
OK, SASL, CONTINUE = 0, 10, 11
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def initial_response(token):
    """The first message of the mechanism; without a token it asks where tokens are to be had."""
    bearer = f"Bearer {token}" if token else ""
    return f"n,,{SEPARATOR}auth={bearer}{SEPARATOR}{SEPARATOR}"


class LoginSession(Session):
    """A connection by a token. `response` replaces the first message; `replication` and other startup parameters are
    options; `tls` is the context of a connection by TCP to `host`. A PgError of the login has the server's answer to
    the token as `challenge`: None before there is one."""

    def __init__(self, dbname, user, token="", response=None, tls=None, **options):
        self.response = initial_response(token) if response is None else response
        self.challenge, self.tls, self.mechanisms = None, tls, []
        try:
            super().__init__(dbname, user, **options)
        except (PgError, ConnectionError) as error:
            error.challenge = self.challenge
            if hasattr(self, "stream"):
                self.die()
            raise

    def _connect(self, host, port):
        if self.tls is None and host.startswith("/"):
            return super()._connect(host, port)
        connection = socket.create_connection((host, port))
        if self.tls:
            connection.sendall(SSL_REQUEST)
            answer = connection.recv(1)
            if answer != b"S":
                raise ConnectionError(f"the server answers {answer} to a request for TLS")
            connection = self.tls.wrap_socket(connection, server_hostname=host)
        return connection

    def _authenticate(self, request):
        kind, rest = struct.unpack("!i", request[:4])[0], request[4:]
        if kind == SASL:
            self.mechanisms = rest.decode().strip("\0").split("\0")
            first = self.response.encode()
            self.send(self._message("p", MECHANISM, struct.pack("!i", len(first)), first))
        elif kind == CONTINUE:
            self.challenge = json.loads(rest)
            self.send(self._message("p", SEPARATOR.encode()))
        elif kind != OK:
            raise ConnectionError(f"the server asks for authentication of kind {kind}")


class LoginCluster(Cluster):
    """A cluster of Postgres 18 or later whose roles log in by tokens: as `lines` of pg_hba.conf say, after those of
    postgres and owner_role, which need no token. `map` is the content of pg_ident.conf."""

    port = 5432

    def __init__(self, name, lines=(), map="", **settings):
        super().__init__(
            name,
            **{
                "oauth_validator_libraries": "pg_auth_jwt",
                "pg_auth_jwt.login_database": LOGIN_DATABASE,
                "log_line_prefix": "%p %e ",
                "log_connections": "all",
                **settings,
            },
        )
        self.root = self.session("postgres", "postgres")
        self.root.query(f"CREATE DATABASE {LOGIN_DATABASE}")
        self.keys = self.session(LOGIN_DATABASE, "postgres")
        self.keys.query("CREATE EXTENSION pg_auth_jwt")
        self.keys.query(issuer())
        self.major = int(self.root.value("SHOW server_version_num")) // 10_000
        self.read = 0
        self.configure(lines, map)

    def session(self, dbname, user="authenticated", **options):
        return super().session(dbname, user, **{"port": self.port, **options})

    def serve_tls(self, authority):
        """Starts again with TLS, at a port of 127.0.0.1 of its own."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for name, file in zip(("server.crt", "server.key"), authority.certificate("127.0.0.1")):
            with open(file) as content:
                self.write(name, content.read())
        with open(f"{self.dir}/data/postgresql.conf", "a") as conf:
            conf.write(f"ssl = on\nlisten_addresses = '127.0.0.1'\nport = {self.port}\n")
        self.control("restart")
        self.root, self.keys = self.session("postgres", "postgres"), self.session(LOGIN_DATABASE, "postgres")

    def configure(self, lines, map=""):
        """Writes pg_hba.conf and pg_ident.conf, and waits until new connections follow them."""
        by_trust = "local all postgres,owner_role trust\nlocal replication postgres trust\n"
        self.write("pg_hba.conf", by_trust + "".join(f"{line}\n" for line in lines))
        self.write("pg_ident.conf", map)
        self.reload()

    def write(self, name, text):
        """A file of the data folder, in place of what it was; nobody but the server can read it."""
        path, owner = f"{self.dir}/data/{name}", os.stat(f"{self.dir}/data")
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        os.chown(path, owner.st_uid, owner.st_gid)

    def set(self, **settings):
        """Settings of pg_auth_jwt, for the server; None resets one."""
        self.alter(**{f"pg_auth_jwt.{name}": value for name, value in settings.items()})

    def alter(self, **settings):
        """The same for any settings."""
        for name, value in settings.items():
            change = f"RESET {name}" if value is None else f"SET {name} = '{value}'"
            self.root.query(f"ALTER SYSTEM {change}")
        self.reload()

    def loaded(self):
        with self.session("postgres", "postgres") as session:
            return session.value("SELECT pg_conf_load_time()")

    def reload(self):
        before = self.loaded()
        self.root.query("SELECT pg_reload_conf()")
        for _ in range(600):
            if self.loaded() != before:
                return
            time.sleep(0.05)
        raise TimeoutError("the server does not read its files again")

    def login(self, dbname, user, token="", **options):
        return LoginSession(dbname, user, token, **{"host": self.dir, "port": self.port, **options})

    def new_lines(self):
        """What the log has since the last call: (pid, SQLSTATE, severity, message) of each line that has them."""
        with open(f"{self.dir}/log", "rb") as file:
            file.seek(self.read)
            text = file.read()
            self.read += len(text)
        return re.findall(r"^(\d+) (\w{5}) (\w+):  (.*)$", text.decode(errors="replace"), re.M)

    def refusals(self):
        """SQLSTATE and reason of the logins refused since the last call."""
        head = "login by token refused: "
        return [
            (state, message.removeprefix(head))
            for _, state, severity, message in self.new_lines()
            if severity == "LOG" and message.startswith(head)
        ]

    def refused(self, *login, **options):
        """SQLSTATEs of a login that the server must refuse: the client's, and those of the log's lines about it; an
        empty list if it says nothing. `let in` in place of both if the login succeeds."""
        self.new_lines()
        try:
            self.login(*login, **options).close()
        except PgError as error:
            return error.code, [state for state, _ in self.refusals()]
        return "let in"


def line(databases="all", users="all", issuer=tokens.ISSUER, scope=SCOPE, more=""):
    """A line of pg_hba.conf for sockets."""
    return f'local {databases} {users} oauth issuer="{issuer}" scope="{scope}" {more}'


def issuer(name=tokens.ISSUER, *keys, audience=AUDIENCE):
    """SQL that makes an issuer with HMAC keys, for an audience."""
    return (
        f"INSERT INTO auth.issuers (issuer, algorithms, leeway) VALUES ('{name}', '{{HS256}}', '0 s');"
        f"SELECT auth.init('{tokens.jwks(*(keys or range(tokens.KEYS)))}', '{name}', '{{{audience}}}')"
    )


def token(sub="u1", seconds=3600, **claims):
    """A token that opens connections, if no claim says otherwise."""
    return tokens.token(sub, seconds, **{"aud": AUDIENCE, "scope": SCOPE, **claims})


def has_login():
    """Whether the tested Postgres takes tokens."""
    return int(shell("echo $PG")) >= 18
