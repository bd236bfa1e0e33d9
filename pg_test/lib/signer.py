"""Tokens of asymmetric algorithms, for tests whose tokens the committed fixtures do not have.
Node.js makes the keys, which last as long as the process, and the signatures."""

import json
import subprocess
import time

from . import packages
from .pg import HERE
from .tokens import base64url


class Signer:
    """For the length of a `with`."""

    def __init__(self, checks):
        self.process = subprocess.Popen(
            [packages.node(checks)[0], f"{HERE}/lib/signer.mjs"],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def make(self, kid, kind, **members):
        """A new key's public JWK, with these members beside those of the key type. `kind`: the
        algorithm that it is for."""
        return {**self.ask(make=kid, alg=kind), "kid": kid, **members}

    def sign(self, kid, header, payload):
        """The token of a header and a payload: texts, or what becomes JSON."""
        parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
        data = ".".join(base64url(part.encode()) for part in parts)
        return f"{data}.{self.ask(sign=kid, data=data)}"

    def token(self, kid, alg, claims, seconds=3600, **header):
        """Issued now, for so many seconds."""
        now = int(time.time())
        return self.sign(kid, {"alg": alg, "kid": kid, **header}, {"iat": now, "exp": now + seconds, **claims})
