"""Tokens of asymmetric algorithms, for tests whose tokens the committed fixtures do not have.
Node.js makes the keys, which last as long as the process, and the signatures."""

import base64
import json
import subprocess
import time

from . import packages, tokens
from .pg import HERE


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
        return tokens.signed(header, payload, Key(self, kid))

    def token(self, kid, alg, claims, seconds=3600, **header):
        """Issued now, for so many seconds."""
        now = int(time.time())
        return self.sign(kid, {"alg": alg, "kid": kid, **header}, {"iat": now, "exp": now + seconds, **claims})


class Key:
    """One of a Signer's keys."""

    def __init__(self, signer, kid):
        self.signer, self.kid = signer, kid

    def sign(self, message):
        signature = self.signer.ask(sign=self.kid, data=message.decode())
        return base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
