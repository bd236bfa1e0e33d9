"""Logins by many clients at once, for measurements and tests that take minutes: honest ones, and senders of junk in
processes of their own, at a given rate."""

import base64
import hashlib
import hmac
import multiprocessing
import secrets
import select
import socket
import statistics
import struct
import threading
import time

from .oauth_client import CONTINUE, MECHANISM, SASL, SEPARATOR, LoginSession, initial_response
from .pg import PgError, Session


class Password:
    """A password, whose keys for a salt are derived once."""

    def __init__(self, text):
        self.text, self.keys = text, {}

    def client_key(self, salt, iterations):
        if salt not in self.keys:
            salted = hashlib.pbkdf2_hmac("sha256", self.text.encode(), salt, iterations)
            self.keys[salt] = hmac.digest(salted, b"Client Key", "sha256")
        return self.keys[salt]


class PasswordSession(Session):
    """A connection by a password (SCRAM-SHA-256, RFC 5802), to be compared with one by a token. It does not ask the
    server to prove itself, which saves the client some work."""

    def __init__(self, dbname, user, password, **options):
        self.password = password
        super().__init__(dbname, user, **options)

    def _authenticate(self, request):
        kind, rest = struct.unpack("!i", request[:4])[0], request[4:]
        if kind == SASL:
            self.first = f"n=,r={secrets.token_urlsafe(18)}"
            data = f"n,,{self.first}".encode()
            self.send(self._message("p", "SCRAM-SHA-256", struct.pack("!i", len(data)), data))
        elif kind == CONTINUE:
            parts = dict(part.split("=", 1) for part in rest.decode().split(","))
            key = self.password.client_key(base64.b64decode(parts["s"]), int(parts["i"]))
            last = f"c=biws,r={parts['r']}"
            message = f"{self.first},{rest.decode()},{last}".encode()
            signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
            proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
            self.send(self._message("p", f"{last},p={proof}".encode()))


def junk_bytes(dbname, user, token):
    """All that a client sends which expects to be refused: at once, without a look at the answers."""
    first = initial_response(token).encode()
    start = b"".join(text.encode() + b"\0" for text in ("user", user, "database", dbname)) + b"\0"
    return (
        struct.pack("!ii", len(start) + 8, 196608)
        + start
        + Session._message("p", MECHANISM, struct.pack("!i", len(first)), first)
        + Session._message("p", SEPARATOR.encode())
    )


def _send(path, messages, interval, most, over, sent, accepted):
    """Sends these in turn, each on a connection of its own and one in so many seconds, whether the server has answered
    the others or not; up to so many wait for that."""
    due, turn, waiting, answers = time.monotonic(), 0, {}, select.poll()
    while not over.is_set() or waiting:
        now = time.monotonic()
        if due <= now and len(waiting) < most and not over.is_set():
            due = max(due + interval, now - 1)
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
                connection.sendall(messages[turn % len(messages)])
                waiting[connection.fileno()] = (connection, bytearray())
                answers.register(connection, select.POLLIN)
            except OSError:
                connection.close()  # more connections than the server takes
            turn += 1
        until_due = max(due - time.monotonic(), 0.001) if len(waiting) < most else 0.1
        for descriptor, _ in answers.poll(until_due * 1e3):
            connection, answer = waiting[descriptor]
            try:
                part = connection.recv(4096)
            except OSError:
                part = b""
            answer += part
            is_in = b"R\0\0\0\x08\0\0\0\0" in answer  # AuthenticationOk
            if is_in or not part:
                answers.unregister(descriptor)
                del waiting[descriptor]
                connection.close()
                accepted.value += is_in
                with sent.get_lock():
                    sent.value += 1


class Junk:
    """Sends tokens that are refused, for the length of a `with`; `rate` is how many a second it tries, on up to `most`
    connections at once. `sent` and `seconds` say how it went, `accepted` how many came in."""

    def __init__(self, cluster, dbname, user, bad, rate, most=96, processes=4):
        self.path, self.rate = f"{cluster.dir}/.s.PGSQL.5432", rate
        context = multiprocessing.get_context("fork")
        self.over, self.count, self.let_in = context.Event(), context.Value("i", 0), context.Value("i", 0)
        messages = [junk_bytes(dbname, user, token) for token in bad]
        self.senders = [
            context.Process(
                target=_send,
                args=(
                    self.path,
                    messages[n:] + messages[:n],
                    processes / rate,
                    most // processes,
                    self.over,
                    self.count,
                    self.let_in,
                ),
            )
            for n in range(processes)
        ]

    def __enter__(self):
        self.began = time.monotonic()
        for sender in self.senders:
            sender.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        self.over.set()
        for sender in self.senders:
            sender.join()
        self.sent, self.accepted = self.count.value, self.let_in.value


class Honest:
    """So many clients that log in again and again, each as a user of its own, until `stop`; `took` has the milliseconds
    of each login, `failures` what went wrong."""

    def __init__(self, cluster, dbname, user, tokens):
        self.cluster, self.dbname, self.user = cluster, dbname, user
        self.over, self.took, self.failures = threading.Event(), [], []
        self.threads = [threading.Thread(target=self._run, args=(token,)) for token in tokens]

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.began

    def _run(self, token):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                LoginSession(self.dbname, self.user, token, host=self.cluster.dir).close()
                self.took.append((time.monotonic() - began) * 1e3)
            except (PgError, ConnectionError) as error:
                self.failures.append(repr(error))

    def percentile(self, percent):
        return statistics.quantiles(self.took, n=100)[percent - 1]
