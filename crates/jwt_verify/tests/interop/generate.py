"""Writes verdicts.json.gz: tokens, and the verdicts of joserfc and jose on them.

Its argument is the folder where jose is installed, beside jose.mjs.
"""

import gzip
import json
import subprocess
import sys
import warnings
from pathlib import Path

from joserfc import errors, jws, jwt
from joserfc.jwk import KeySet

from cases import CASES, KEYSETS, POLICIES

FILE = Path(__file__).parent / "verdicts.json.gz"


def joserfc(policy, keys):
    """A verifier as a careful user sets it up: everything listed that can be."""
    # Unknown members must be ignored (RFC 7515 §4).
    registry = jws.JWSRegistry(algorithms=policy["algorithms"], strict_check_header=False)
    rules = {claim: {"essential": True, "allow_blank": True} for claim in policy["required"]}
    if policy["issuer"]:
        rules["iss"] = {"essential": True, "value": policy["issuer"]}
    if policy["audience"]:
        rules["aud"] = {"essential": True, "values": policy["audience"]}

    def accepts(token, now):
        try:
            decoded = jwt.decode(token, keys, registry=registry)
            jwt.JWTClaimsRegistry(now, policy["leeway"], **rules).validate(decoded.claims)
            return True
        except errors.JoseError:
            return False
        except Exception as error:  # of the token, too: but not as it should be
            unforeseen[type(error).__name__] = unforeseen.get(type(error).__name__, 0) + 1
            return False

    return accepts


warnings.simplefilter("ignore", errors.SecurityWarning)
unforeseen = {}
verifiers = {
    (keyset, policy): joserfc(POLICIES[policy], KeySet.import_key_set(KEYSETS[keyset]))
    for keyset in KEYSETS
    for policy in POLICIES
}
for case in CASES:
    case["joserfc"] = verifiers[case["keyset"], case["policy"]](case["token"], case["now"])

recorded = {"keysets": KEYSETS, "policies": POLICIES, "cases": CASES}
asked = subprocess.run(
    ["node", "jose.mjs"],
    cwd=sys.argv[1],
    input=json.dumps(recorded),
    stdout=subprocess.PIPE,
    text=True,
    check=True,
)
for case, verdict in zip(CASES, json.loads(asked.stdout), strict=True):
    case["jose"] = verdict

text = json.dumps(recorded, separators=(",", ":"))
FILE.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
print(f"{len(CASES)} cases, {FILE.stat().st_size} bytes")
print(f"accepted by joserfc: {sum(case['joserfc'] for case in CASES)}")
print(f"accepted by jose: {sum(case['jose'] for case in CASES)}")
print(f"joserfc failed otherwise: {unforeseen}")
