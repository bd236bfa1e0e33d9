"""Verdicts of PyJWT on tokens, as verify.mjs has them for JavaScript."""

import json
import sys

import jwt

given = json.load(sys.stdin)
client = jwt.PyJWKClient(given["url"])
options = (
    {"issuer": given["issuer"], "audience": given["audience"]}
    if given["issuer"]
    else {"options": {"verify_aud": False}}
)


def accepts(token):
    try:
        jwt.decode(token, client.get_signing_key_from_jwt(token), algorithms=given["algorithms"], **options)
    except jwt.PyJWTError:
        return False
    return True


print(json.dumps({"PyJWT": [what for what, token in given["tokens"].items() if accepts(token)]}))
