"""An issuer on loopback that gives tokens by the device flow (RFC 8628): the user's part is done as soon as the client
asks for the second time."""

import json

from . import ed25519
from .endpoint import Answer, Endpoint


class DeviceIssuer(Endpoint):
    """Its name is its URL. Tokens are those of its key, with these claims; `requests` are what it was asked for."""

    def __init__(self, authority, number, **claims):
        super().__init__(authority)
        self.number, self.claims = number, claims
        self.script("/keys", self._json(json.loads(ed25519.jwks(number))))
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "authorization_endpoint": f"{self.url}/authorize",
            "response_types_supported": ["code"],
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code"],
        }
        self.script("/.well-known/openid-configuration", self._json(document))
        self.script(
            "/device",
            self._json(
                {
                    "device_code": "device-1",
                    "user_code": "ABCD-EFGH",
                    "verification_uri": f"{self.url}/activate",
                    "interval": 1,
                    "expires_in": 60,
                }
            ),
        )
        pending = Answer(json.dumps({"error": "authorization_pending"}), 400)
        self.script("/token", pending, lambda _: self._json({"access_token": self.token(), "token_type": "Bearer"}))

    @staticmethod
    def _json(value):
        return Answer(json.dumps(value))

    def token(self):
        return ed25519.token(self.number, self.url, **self.claims)
