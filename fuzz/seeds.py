#!/usr/bin/env python3
"""Writes the first inputs of each fuzz target, taken from the conformance cases."""

import base64
import json
import pathlib

here = pathlib.Path(__file__).parent
cases = json.loads((here / "../crates/jwt_verify/tests/vectors/cases.json").read_text())


def write(target, name, data):
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"case-{name.replace('/', '_')}").write_bytes(data)


def decode(part):
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return part.encode()


for case in cases:
    name, token = case["name"], case["token"]
    write("token", name, token.encode("utf-8", "surrogatepass"))
    parts = token.split(".")
    if len(parts) == 3:
        write("header", name, decode(parts[0]))
        write("claims", name, decode(parts[1]))
        # Two slices: libFuzzer's structured input has the length of the first one at the end.
        write("signature", name, decode(parts[2]))
    jwks = case["jwks_text"] if case.get("jwks_text") else json.dumps(case["jwks"])
    write("jwks", name, jwks.encode())
    if isinstance(case["jwks"], dict) and isinstance(case["jwks"].get("keys"), list):
        for index, key in enumerate(case["jwks"]["keys"][:3]):
            write("jwk", f"{name}-{index}", json.dumps(key).encode())
for choice in range(32):
    write("mutation", str(choice), bytes([choice, 0, 5, 65]))
