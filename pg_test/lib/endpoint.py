"""JWKS endpoints on loopback: an HTTPS server with a certificate authority of its own, which
answers each request as the test has scripted it, and keeps the times and headers of the requests.

A script is a list of answers for a path: the first request gets the first of them, and the last
answer stays. A stalled connection ends when the client closes it or the endpoint is closed."""

import contextlib
import email.utils
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

from . import ed25519


class Authority:
    """A certificate authority; `pem` is the file for pg_auth_jwt.fetch_ca_file."""

    def __init__(self, folder, name="test authority"):
        self.folder, self.count = folder, 0
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.pem, self.key = f"{folder}/ca.pem", f"{folder}/ca.key"
        self._openssl(self.pem, self.key, f"/CN={name}", "basicConstraints=critical,CA:TRUE")

    def _openssl(self, pem, key, subject, *extensions, signed_by=()):
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            subject,
            "-keyout",
            key,
            "-out",
            pem,
            *signed_by,
        ]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        os.chmod(pem, 0o644)

    def certificate(self, *names):
        """The files of a certificate and its key, for a server of these names; what looks like an address is one."""
        self.count += 1
        base = f"{self.folder}/{self.count}"
        kinds = ",".join(("IP:" if name.replace(".", "").isdigit() or ":" in name else "DNS:") + name for name in names)
        self._openssl(
            f"{base}.pem",
            f"{base}.key",
            f"/CN={names[0][:60]}",
            "basicConstraints=critical,CA:FALSE",
            f"subjectAltName={kinds}",
            signed_by=("-CA", self.pem, "-CAkey", self.key),
        )
        return f"{base}.pem", f"{base}.key"

    def context(self, *names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate(*names))
        return context


class Answer:
    """The answer to one request. `headers` are added to the usual ones; None leaves one out. `stall`:
    "head" sends nothing, "body" the head and half of the body, "drip" a byte each second from the
    first one on, "endless" headers without an end. `close` is after how many bytes of the body the
    connection ends. `raw` replaces all of the answer."""

    def __init__(self, body="", status=200, headers=None, stall=None, close=None, raw=None, chunked=False):
        self.body = body.encode() if isinstance(body, str) else body
        self.status, self.stall, self.close, self.raw, self.chunked = status, stall, close, raw, chunked
        self.headers = {"Content-Type": "application/json", **(headers or {})}

    def etag(self):
        return '"' + hashlib.sha256(self.body).hexdigest()[:16] + '"'

    def bytes(self, head_only=False):
        if self.raw is not None:
            return self.raw
        headers = {"Date": http_date(), **self.headers}
        body = b"" if head_only else self.body
        if self.chunked:
            headers.setdefault("Transfer-Encoding", "chunked")
            body = (
                b"".join(
                    b"%x\r\n%b\r\n" % (len(body[at : at + 8192]), body[at : at + 8192])
                    for at in range(0, len(body), 8192)
                )
                + b"0\r\n\r\n"
            )
        elif not head_only:
            headers.setdefault("Content-Length", str(len(body)))
        lines = [
            f"HTTP/1.1 {self.status} Answer",
            *(f"{name}: {value}" for name, value in headers.items() if value is not None),
        ]
        if self.close is not None:
            body = body[: self.close]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def keys(*numbers, **options):
    """A JWKS of the keys of these numbers (lib/ed25519.py), with an ETag that is obeyed."""
    answer = Answer(ed25519.jwks(*numbers), **options)
    answer.headers.setdefault("ETag", answer.etag())
    return answer


class Held:
    """An answer that is given when the test says so."""

    def __init__(self, answer):
        self.answer, self.released = answer, threading.Event()

    def __call__(self, _):
        self.released.wait(20)
        return self.answer

    def release(self):
        self.released.set()


def http_date(seconds=0):
    """The time that many seconds from now."""
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.at, self.lines = time.monotonic(), lines
        self.method, self.path, self.version = (lines[0].split(" ") + ["", "", ""])[:3]
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }


class Endpoint:
    """A server for the length of a `with`. `stall` is for phases before any request: "connect" (no
    connection is completed) and "tls" (completed, and nothing follows). Without an authority it is
    plain HTTP."""

    def __init__(self, authority=None, names=("localhost", "127.0.0.1"), stall=None):
        self.context = authority.context(*names) if authority else None
        self.stall, self.scripts, self.requests, self.connections, self.open = stall, {}, [], 0, 0
        self.closed, self.lock = threading.Event(), threading.Condition()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0 if stall == "connect" else 256)
        self.port = self.listener.getsockname()[1]
        self.host = f"{names[0]}:{self.port}"
        self.url = f"{'https' if authority else 'http'}://{self.host}"
        self.fillers = []
        if stall == "connect":
            self._fill()
        else:
            threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()
        # Ends accept(), which closing the socket would not.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for filler in self.fillers:
            filler.close()

    def _fill(self):
        """Until the listener's queue is full, and further connections hang."""
        while True:
            filler = socket.socket()
            filler.settimeout(0.3)
            self.fillers.append(filler)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return

    def script(self, path, *answers):
        """Answers for a path from now on: each an Answer, or a function from Request to one."""
        with self.lock:
            self.scripts[path] = list(answers)
        return self.url + path

    def seen(self, path=None):
        """How many requests there were, for this path if given."""
        with self.lock:
            return sum(path in (None, request.path) for request in self.requests)

    def last(self, path):
        """The last request of a path."""
        with self.lock:
            return next(request for request in reversed(self.requests) if request.path == path)

    def wait(self, path, count=1, seconds=30):
        """Until there were that many requests for the path; False where there are not in time."""
        with self.lock:
            return self.lock.wait_for(lambda: sum(request.path == path for request in self.requests) >= count, seconds)

    def _accept(self):
        while not self.closed.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.settimeout(20)
            # Else the kernel waits 40 ms for an acknowledgement before it sends a second packet.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.stall == "tls":
                self._hold(connection)
                return
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self._answer(connection)
        except (OSError, ValueError):
            pass  # the client went away, or does not trust the certificate
        finally:
            connection.close()
            with self.lock:
                self.open -= 1
                self.lock.notify_all()

    def _hold(self, connection):
        """Until the client closes the connection, or the endpoint is closed."""
        connection.settimeout(0.1)
        while not self.closed.is_set():
            try:
                if not connection.recv(4096):
                    return
            except TimeoutError:
                pass

    def _answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65536)
            if not part:
                return
            head += part
        request = Request(head)
        with self.lock:
            self.requests.append(request)
            script = self.scripts.get(request.path)
            answer = (script.pop(0) if len(script) > 1 else script[0]) if script else Answer("", 404)
            self.lock.notify_all()
        if callable(answer):
            answer = answer(request)
        self._send(connection, request, answer)

    def _send(self, connection, request, answer):
        etag = answer.headers.get("ETag")
        is_usual = answer.status == 200 and not answer.stall
        if is_usual and etag and request.headers.get("if-none-match") == etag:
            answer = Answer("", 304, {**answer.headers, "Content-Type": None})
            connection.sendall(answer.bytes(head_only=True))
        elif answer.stall == "head":
            self._hold(connection)
        elif answer.stall == "body":
            whole = answer.bytes()
            connection.sendall(whole[: len(whole) - len(answer.body) // 2])
            self._hold(connection)
        elif answer.stall == "drip":
            for byte in answer.bytes():
                connection.sendall(bytes([byte]))
                if self.closed.wait(1):
                    return
        elif answer.stall == "endless":
            connection.sendall(b"HTTP/1.1 200 Answer\r\n")
            while not self.closed.is_set():
                connection.sendall(b"X-Filler: " + b"x" * 4000 + b"\r\n")
        else:
            connection.sendall(answer.bytes())
        with contextlib.suppress(OSError):
            # Says goodbye as TLS asks for it, so that the end is not taken for a broken connection.
            if self.context and answer.close is None:
                connection.settimeout(2)
                connection.unwrap()


class Sink:
    """Takes connections, closes them and counts them: for what nothing should connect to."""

    def __init__(self):
        self.listener, self.connections = socket.socket(), 0
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
