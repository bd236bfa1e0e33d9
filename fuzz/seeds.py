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

# A list of hosts, a URL, a header's value, an answer of the endpoint: a line each.
DOCUMENT = '{"issuer":"https://example.com","jwks_uri":"https://example.com/jwks"}'
HOSTS = "example.com, *.example.com:8443 * [fd00::5] http://127.0.0.1:8080"
for number, (url, header) in enumerate(
    [
        ("https://example.com/.well-known/jwks.json", "public, max-age=600"),
        ("https://xn--bcher-kva.example:8443/a?b", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("https://b\u00fccher.example/", "120"),
        ("https://[::ffff:169.254.169.254]/", 'W/"abc"'),
        ("https://0251.0376.43518/", "max-age=99999999999999999999999"),
        ("http://2130706433:8080/jwks", "Sunday, 06-Nov-94 08:49:37 GMT"),
        ("https://user@example.com./#a", "Sun Nov  6 08:49:37 1994"),
    ]
):
    write("fetching", str(number), "\n".join([HOSTS, url, header, DOCUMENT]).encode())
