"""The tokens: good ones, and every change of them.

A case's `mutation` names what was done to a good token; several changes are
joined by " + ". The Rust side lists intended differences by these names.
"""

import hmac
import json
import random
import string
from base64 import b64encode, urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys import DIGEST_INFO, OURS, SIGNERS, STRANGERS, b64, digest

NOW = 1767225600  # 2026-01-01
HOUR = 3600
ISSUER = "https://issuer.example"
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

chance = random.Random(20260101)

# Sets, policies ----------------------------------------------------------------------------


def jwk(key, **more):
    return key.jwk | {"kid": key.kid, "use": "sig"} | more


STATED = {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "p521": "ES512", "ed": "EdDSA", "secret": "HS256"}
KEYSETS = {
    "all": [jwk(key) for key in OURS.values()],
    # Each with its `alg`.
    "stated": [jwk(OURS[kid], alg=alg) for kid, alg in STATED.items()],
    **{f"only {kid}": [jwk(key)] for kid, key in OURS.items()},
    "one kid, two types": [jwk(OURS["rsa"], kid="k"), jwk(OURS["ed"], kid="k")],
    "one kid, one type": [jwk(OURS["ed"], kid="k"), jwk(STRANGERS["ed"], kid="k")],
    "without kid": [{**OURS["ed"].jwk, "use": "sig"}],
}
KEYSETS = {name: {"keys": keys} for name, keys in KEYSETS.items()}

ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
    "HS256",
    "HS384",
    "HS512",
]


def policy(algorithms=ALGORITHMS, issuer=ISSUER, audience=("app", "app2"), required=("exp",), leeway=0):
    return {
        "algorithms": list(algorithms),
        "issuer": issuer,
        "leeway": leeway,
        "audience": audience and list(audience),
        "required": list(required),
    }


POLICIES = {
    "usual": policy(),
    "leeway": policy(leeway=60),
    "open": policy(issuer=None, audience=None, required=()),
    "demanding": policy(required=("exp", "iat", "nbf", "sub", "jti", "tenant"), leeway=60),
    # One algorithm only; EdDSA and Ed25519 are the same.
    **{f"only {alg}": policy(["EdDSA", "Ed25519"] if alg == "EdDSA" else [alg]) for alg in SIGNERS},
}

# Cases -------------------------------------------------------------------------------------

CASES = []
_seen = set()


def case(mutation, token, keyset="all", policy="usual", now=NOW):
    if (token, keyset, policy, now) not in _seen:
        _seen.add((token, keyset, policy, now))
        CASES.append({"mutation": mutation, "keyset": keyset, "policy": policy, "now": now, "token": token})


# Tokens are made from JSON texts, so that a member can occur twice, or the text be invalid JSON.

HEADER = {"kid": None, "typ": '"JWT"'}
CLAIMS = {
    "iss": f'"{ISSUER}"',
    "sub": '"alice"',
    "aud": '["app","other"]',
    "iat": str(NOW - HOUR),
    "nbf": str(NOW - HOUR),
    "exp": str(NOW + HOUR),
    "jti": '"t-1"',
    "tenant": '"acme"',
}


def text(members):
    """An object; a member of value None is left out."""
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items() if value is not None) + "}"


def header(alg, edits={}):
    return text({"alg": f'"{alg}"'} | HEADER | {"kid": f'"{SIGNERS.get(alg)}"'} | edits)


def claims(edits={}):
    return text(CLAIMS | edits)


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def sign(alg, head=None, body=None, keys=OURS, by=None):
    """A token of these texts, by the key of `alg`, with the algorithm `by`."""
    head, body = (b64(as_bytes(part)) for part in (head or header(alg), body or claims()))
    return sign_encoded(alg, head, body, keys, by)


def sign_encoded(alg, head, body, keys=OURS, by=None):
    signature = keys[SIGNERS[alg]].sign(by or alg, f"{head}.{body}".encode())
    return f"{head}.{body}.{b64(signature)}"


def parts_of(token):
    return token.split(".")


def decode(part):
    return urlsafe_b64decode(part + "==")


PARTS = ["header", "payload", "signature"]
GOOD = {alg: sign(alg) for alg in SIGNERS}
# Small, so that there can be many.
SMALL = ["EdDSA", "HS256", "ES256"]


def good():
    for alg, token in GOOD.items():
        for keyset in ["all", f"only {SIGNERS[alg]}", "stated"]:
            for name in POLICIES:
                case("none", token, keyset, name)
        for at in [-2 * HOUR, -HOUR - 61, -HOUR - 60, -HOUR - 1, -HOUR, HOUR - 1, HOUR, HOUR + 59, HOUR + 60]:
            for name in ["usual", "leeway"]:
                case(f"none, looked at {at:+} s from now", token, policy=name, now=NOW + at)


def spoiled():
    for alg, token in GOOD.items():
        parts = parts_of(token)
        for index, name in enumerate(PARTS):
            for _ in range(40):
                data = bytearray(decode(parts[index]))
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                changed = parts[:index] + [b64(data)] + parts[index + 1 :]
                case(f"{name}: bit flipped", ".".join(changed))
            for _ in range(12):
                at = chance.randrange(len(parts[index]) - 1)
                instead = chance.choice(ALPHABET.replace(parts[index][at], ""))
                changed = parts[index][:at] + instead + parts[index][at + 1 :]
                case(f"{name}: other character", ".".join(parts[:index] + [changed] + parts[index + 1 :]))
            for cut in [1, 2, 3, 4, 8]:
                case(f"{name}: end cut", ".".join(parts[:index] + [parts[index][:-cut]] + parts[index + 1 :]))
                case(f"{name}: start cut", ".".join(parts[:index] + [parts[index][cut:]] + parts[index + 1 :]))
            for more in ["A", "AA", "AAA", "AAAA", parts[index]]:
                case(f"{name}: longer", ".".join(parts[:index] + [parts[index] + more] + parts[index + 1 :]))
            case(f"{name}: empty", ".".join(parts[:index] + [""] + parts[index + 1 :]))
            case(f"{name}: left out", ".".join(parts[:index] + parts[index + 1 :]))
            case(f"{name}: twice", ".".join(parts[: index + 1] + parts[index:]))
        for _ in range(15):
            case("truncated", token[: chance.randrange(len(token))])
        for _ in range(10):
            at = chance.randrange(len(token))
            case(
                "printable character inserted",
                token[:at] + chance.choice("!#$%&*,:;<>@~|é\u2028") + token[at:],
            )
        for more in [".", "..", ".e30", "~", "\x00"]:
            case("trailed by more", token + more)
            case("led by more", more + token)
        case("parts in another order", ".".join(parts[::-1]))
        case("parts in another order", ".".join([parts[1], parts[0], parts[2]]))
    for token in [
        "",
        ".",
        "..",
        "...",
        "a",
        "e30.e30.",
        "e30.e30.e30",
        "Bearer " + GOOD["EdDSA"],
        "null",
        "{}",
    ]:
        case("no token", token)


def swapped():
    for alg, token in GOOD.items():
        others = [("another algorithm", GOOD[other]) for other in SIGNERS if other != alg]
        bob = sign(alg, body=claims({"sub": '"bob"'}))
        others.append(("another's token", bob))
        others.append(("a stranger's key", sign(alg, keys=STRANGERS)))
        for whose, other in others:
            for index, name in enumerate(PARTS):
                changed = parts_of(token)
                changed[index] = parts_of(other)[index]
                case(f"{name}: from {whose}", ".".join(changed))
        case("signed by a stranger's key", sign(alg, keys=STRANGERS))
        embedded = json.dumps(STRANGERS[SIGNERS[alg]].jwk)
        case("signed by a stranger's key in jwk", sign(alg, header(alg, {"jwk": embedded}), keys=STRANGERS))


HEADER_EDITS = {
    "kid": [
        "null",
        "1",
        '""',
        '"nobody"',
        '"ED"',
        '["rsa"]',
        '{"a":1}',
        '"rsa"',
        '"p256"',
        '"ed "',
        '"../rsa"',
    ],
    "typ": ["null", "1", '""', '"at+jwt"', '"JOSE"', '["JWT"]', "true"],
    "crit": [
        "null",
        "[]",
        '["exp"]',
        '["b64"]',
        '["kid"]',
        '["alg"]',
        '["typ"]',
        '["x"]',
        '"kid"',
        "true",
        "{}",
        "[1]",
        '["kid","kid"]',
    ],
    "b64": ["true", "false", "null", '"true"', "1", "0"],
    "cty": ['"JWT"', "1"],
    "jku": ['"https://attacker.example/jwks"', "1", '"none"'],
    "x5u": ['"https://attacker.example/x"'],
    "x5c": ['["AAAA"]', '"AAAA"'],
    "x5t": ['"AAAA"', "1"],
    "jwk": ["{}", "1", "null"],
    "zip": ['"DEF"'],
    "enc": ['"A256GCM"'],
    "nonce": ['"abc"'],
    "https://example.com/x": ['{"a":[1,2,null]}'],
}


def header_edits():
    for alg, token in GOOD.items():
        _, body, signature = parts_of(token)
        for name, values in HEADER_EDITS.items():
            for value in values:
                edited = header(alg, {name: value})
                case(f"header, not signed: {name}={value}", f"{b64(edited.encode())}.{body}.{signature}")
                if chance.random() < (0.9 if alg in SMALL else 0.2):
                    case(f"header: {name}={value}", sign(alg, edited))
        for name, edits in {"no kid": {"kid": None}, "no typ": {"typ": None}}.items():
            edited = header(alg, edits)
            case(f"header, not signed: {name}", f"{b64(edited.encode())}.{body}.{signature}")
            case(f"header: {name}", sign(alg, edited))
            case(f"header: {name}, one key", sign(alg, edited), f"only {SIGNERS[alg]}")
            case(f"header: {name}, keys with alg", sign(alg, edited), "stated")
        case('header: crit=["b64"], b64=true', sign(alg, header(alg, {"crit": '["b64"]', "b64": "true"})))
        unencoded = header(alg, {"crit": '["b64"]', "b64": "false"})
        case('header: crit=["b64"], b64=false', sign(alg, unencoded))
        key = OURS[SIGNERS[alg]]
        for payload in ["payload", claims({"iss": '"a"'}).replace(".", "")]:
            raw = key.sign(alg, f"{b64(unencoded.encode())}.{payload}".encode())
            case("payload not encoded", f"{b64(unencoded.encode())}.{payload}.{b64(raw)}")
            case("payload detached", f"{b64(unencoded.encode())}..{b64(raw)}")
        case("payload detached", f"{parts_of(token)[0]}..{signature}")


def algorithms():
    names = ALGORITHMS + [
        "none",
        "None",
        "NONE",
        "",
        "ES256K",
        "Ed448",
        "HS1",
        "RSA-OAEP",
        "dir",
        "ML-DSA-44",
        "toString",
        "__proto__",
    ]
    for alg, token in GOOD.items():
        kid = f'"{SIGNERS[alg]}"'
        key = OURS[SIGNERS[alg]]
        _, body, signature = parts_of(token)
        for name in names + [alg.lower(), alg + " ", " " + alg]:
            if name == alg:
                continue
            edited = header(name, {"kid": kid})
            head = b64(edited.encode())
            case(f"alg, not signed: {name}", f"{head}.{body}.{signature}")
            case(f"alg, no signature: {name}", f"{head}.{body}.")
            # Signed with an algorithm that the header no longer names.
            if alg in SMALL or name in key.algorithms or chance.random() < 0.5:
                case(f"alg, signed by another: {name}", sign(alg, edited))
            if name in key.algorithms:
                resigned = sign(alg, edited, by=name)
                for keyset in ["all", "stated"]:
                    for policy in ["usual", f"only {alg}"]:
                        case(f"alg, signed: {alg} to {name}, {keyset}", resigned, keyset, policy)
        for value in ["null", "1", "true", '["' + alg + '"]', "{}"]:
            case(f"alg: {value}", sign(alg, header(alg, {"alg": value})))
        case("alg: left out", sign(alg, header(alg, {"alg": None})))
        if alg == "HS256":
            continue
        # A public key as the secret of an HMAC.
        pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        publics = [
            pem,
            pem.strip(),
            key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(key.jwk).encode(),
            json.dumps(key.jwk, separators=(",", ":")).encode(),
            decode(key.jwk.get("n") or key.jwk["x"]),
            (key.jwk.get("n") or key.jwk["x"]).encode(),
            b"",
        ]
        for bits in ["256", "384", "512"]:
            for secret in publics:
                for edits in [{"kid": kid}, {"kid": None}]:
                    signed = f"{b64(header(f'HS{bits}', edits).encode())}.{body}"
                    mac = hmac.digest(secret, signed.encode(), f"sha{bits}") if secret else bytes(int(bits) // 8)
                    case(
                        "HMAC by a public key",
                        f"{signed}.{b64(mac)}",
                        f"only {key.kid}" if chance.random() < 0.5 else "all",
                    )


def encodings():
    def ways(part):
        last = ALPHABET.index(part[-1])
        at = chance.randrange(1, len(part))
        yield "padding", part + "=" * (-len(part) % 4 or 4)
        yield "one =", part + "="
        yield "padding", part + "=="
        standard = b64encode(decode(part)).decode()
        yield "standard alphabet", standard.rstrip("=")
        yield "standard alphabet and padding", standard
        for space in [" ", "\n", "\t", "\r\n", "\f", "\v", "\u00a0", "\ufeff"]:
            yield f"space {space!r} after", part + space
            yield f"space {space!r} before", space + part
            yield f"space {space!r} within", part[:at] + space + part[at:]
        if len(part) % 4:
            for bit in [1] if len(part) % 4 == 3 else [1, 2, 4, 8]:
                yield "stray bits", part[:-1] + ALPHABET[last ^ bit]
        yield "percent", part[:at] + "%2D" + part[at:]
        yield "two encodings", b64(part.encode())

    for alg in SIGNERS:
        # Lengths of all three kinds, so that each part can have stray bits.
        for filler in ["", "x", "xx"]:
            if filler and alg not in ["EdDSA", "HS256"]:
                continue
            edits = {"zz": f'"{filler}>>???ÿ~~"'}
            head, body, signature = parts_of(sign(alg, header(alg, edits), claims(edits)))
            # Long signatures are not made for each way.
            some = 0.3 if alg in ["RS256", "RS512", "PS256"] else 1
            for way, changed in ways(head):
                case(f"header, not signed: {way}", f"{changed}.{body}.{signature}")
                if chance.random() < some:
                    case(f"header: {way}", sign_encoded(alg, changed, body))
            for way, changed in ways(body):
                case(f"payload, not signed: {way}", f"{head}.{changed}.{signature}")
                if chance.random() < some:
                    case(f"payload: {way}", sign_encoded(alg, head, changed))
            for way, changed in ways(signature):
                case(f"signature: {way}", f"{head}.{body}.{changed}")


TIMES = [
    "0",
    "-1",
    "-0",
    "null",
    "true",
    "false",
    '""',
    f'"{NOW}"',
    "[]",
    f"[{NOW}]",
    "{}",
    "1e9",
    "1E10",
    "1.5e9",
    "1.7e9",
    "1e300",
    "-1e300",
    "1e400",
    "-1e400",
    "1e-5",
    "1e-400",
    "1e-1001",
    "99999999999999999999",
    "-99999999999999999999",
    "1" + "0" * 310,
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "1e18",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x7fffffff",
    "01",
    "+1",
    ".5",
    "1.",
    f"{NOW * 1000}",
    f"{NOW}.0",
    f"{NOW}.5",
    f"{NOW - 1}.5",
    f"{NOW}.000001",
    f"{NOW - 1}.999999",
    f"{NOW - 60}.5",
    f"{NOW + 60}.5",
    f"{NOW + 59}.999999",
    f"{NOW + 60}.000001",
] + [
    str(NOW + around) for around in [-86400 * 365, -HOUR, -61, -60, -59, -1, 0, 1, 59, 60, 61, HOUR, 86400 * 365 * 100]
]
STRINGS = [
    "null",
    "1",
    "1.5",
    "true",
    "[]",
    "{}",
    '""',
    '" "',
    '["alice"]',
    '"' + "x" * 300 + '"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"é"',
    '"\\u00e9"',
]
CLAIM_EDITS = {
    "exp": TIMES + [None],
    "nbf": TIMES + [None],
    "iat": TIMES + [None],
    "iss": STRINGS
    + [
        None,
        '"https://issuer.example/"',
        '"HTTPS://issuer.example"',
        '"https://issuer.exampl"',
        f'["{ISSUER}"]',
        '"https:\\/\\/issuer.example"',
        '"\\u0068ttps://issuer.example"',
        '" https://issuer.example"',
        '"*"',
        '"https://issuer.example\\u0000"',
    ],
    "aud": STRINGS
    + [
        None,
        '"app"',
        '"app2"',
        '"APP"',
        '"ap"',
        '"app "',
        '"app,other"',
        '["app"]',
        '["app2","app"]',
        '["other"]',
        '["app",1]',
        '[1,"app"]',
        '["app",null]',
        '[["app"]]',
        '{"app":1}',
        '["",""]',
        '["app","app"]',
        "[null]",
        '"\\u0061pp"',
        '["other",{}]',
    ],
    "sub": STRINGS + [None],
    "jti": STRINGS + [None],
    "tenant": STRINGS + [None],
    "extra": STRINGS
    + [
        "1e400",
        "1e1001",
        "1e-1001",
        "0." + "1" * 300,
        "12345678901234567890123456789",
        "-0.0",
        "NaN",
        "-Infinity",
        '{"a":1,"a":2}',
        "[" * 100 + "]" * 100,
        "[" * 127 + "]" * 127,
        "[" * 128 + "]" * 128,
        '"\\u0000"',
        '"a\\u0000b"',
        '{"\\u0000":1}',
        '"\\udc00"',
        '"\\ud800\\ud800"',
        '"\\x"',
        '"\t"',
        "undefined",
        "'a'",
        "/* */1",
        "1 2",
        "1,",
        "True",
    ],
    "__proto__": ['{"exp":1}', "null"],
    "toString": ["1"],
}


def named(name, value):
    value = "absent" if value is None else value
    return f"{name}={value if len(value) <= 40 else value[:24] + f'... ({len(value)})'}"


def claim_edits():
    for name, values in CLAIM_EDITS.items():
        for value in values:
            for alg in SIGNERS:
                if alg not in SMALL[:1] and chance.random() > (0.4 if alg in SMALL else 0.1):
                    continue
                token = sign(alg, body=claims({name: value}))
                for policy in ["usual", "leeway", "open", "demanding"]:
                    if alg == "EdDSA" or chance.random() < 0.3:
                        case(named(name, value), token, policy=policy)
    # Not signed again.
    for alg, token in GOOD.items():
        head, _, signature = parts_of(token)
        for name in ["sub", "exp", "aud", "tenant"]:
            value = chance.choice(CLAIM_EDITS[name])
            case(
                f"payload, not signed: {named(name, value)}",
                f"{head}.{b64(claims({name: value}).encode())}.{signature}",
            )


def several_claim_edits():
    for _ in range(700):
        alg = chance.choice(SMALL)
        edits = {
            name: chance.choice(CLAIM_EDITS[name])
            for name in chance.sample(list(CLAIM_EDITS), chance.choice([2, 2, 3]))
        }
        mutation = " + ".join(named(name, value) for name, value in edits.items())
        policy = chance.choice(["usual", "leeway", "open", "demanding"])
        case(mutation, sign(alg, body=claims(edits)), policy=policy)


def texts():
    """Payloads and headers that are odd as JSON texts."""

    def ways(object_text, name, value):
        inner = object_text[1:-1]
        yield "byte order mark", b"\xef\xbb\xbf" + object_text.encode()
        for codec in ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]:
            yield "UTF-16 or UTF-32", object_text.encode(codec)
        yield "not UTF-8", object_text[:-1].encode() + b',"z":"\xff"}'
        yield "not UTF-8", object_text[:-1].encode() + b',"z":"\xc0\xaf"}'
        yield "not UTF-8", object_text[:-1].encode() + b',"z":"\xed\xa0\x80"}'
        yield "white space", f" \n\t\r{object_text} \n"
        yield "other white space", "\u00a0" + object_text
        yield "other white space", object_text + "\v"
        yield "followed by more", object_text + "{}"
        yield "followed by more", object_text + "\0"
        yield "followed by more", object_text + ","
        yield "not an object", f"[{object_text}]"
        yield "not an object", json.dumps(object_text)
        yield "not an object", "null"
        yield "not an object", "1"
        yield "not JSON", object_text[:-1]
        yield "not JSON", object_text[:-1] + ",}"
        yield "not JSON", object_text.replace('"', "'")
        yield "not JSON", "{" + inner.replace(":", "=", 1) + "}"
        yield "not JSON", "// x\n" + object_text
        yield "not JSON", "x"
        yield "name twice, same value", "{" + inner + f',"{name}":{value}' + "}"
        yield "name twice, other value first", "{" + f'"{name}":"x",' + inner + "}"
        yield "name twice, other value last", "{" + inner + f',"{name}":"x"' + "}"
        yield "name twice, escaped", "{" + inner + f',"\\u{ord(name[0]):04x}{name[1:]}":{value}' + "}"
        yield "unknown name twice", "{" + inner + ',"z":1,"z":2}'
        yield "name escaped", object_text.replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')
        yield "name in another case", object_text.replace(f'"{name}"', f'"{name.upper()}"')
        yield "U+0000 in a name", "{" + inner + ',"a\\u0000":1}'
        yield "lone surrogate in a name", "{" + inner + ',"\\ud800":1}'
        yield "empty name", "{" + inner + ',"":1}'

    for alg in SMALL:
        for name in ["exp", "iss", "sub", "aud"]:
            for way, body in ways(claims(), name, CLAIMS[name]):
                case(f"payload as JSON: {way}", sign(alg, body=body))
        for name, value in {"alg": f'"{alg}"', "kid": f'"{SIGNERS[alg]}"'}.items():
            for way, head in ways(header(alg), name, value):
                case(f"header as JSON: {way}", sign(alg, head))
        for depth in [50, 126, 127, 128, 129, 200, 400]:
            nested = "[" * depth + "]" * depth
            case(f"nested {depth + 1} deep", sign(alg, body=claims({"deep": nested})))
        for size in [1000, 20000]:
            case("long", sign(alg, body=claims({"long": '"' + "a" * size + '"'})))


def signatures():
    """Signatures that are nearly right, over a good token."""

    def over(alg, edits={}):
        head, body, _ = parts_of(GOOD[alg])
        return f"{head}.{body}"

    for alg in ["ES256", "ES384", "ES512"]:
        key, signed = OURS[SIGNERS[alg]], over(alg)
        r, s = key.pair(alg, signed.encode())
        n, size = key.order, key.size
        limit = 256**size
        pairs = {
            "(r, -s)": (r, n - s),
            "(-r, s)": (n - r, s),
            "(s, r)": (s, r),
            "(0, 0)": (0, 0),
            "(0, s)": (0, s),
            "(r, 0)": (r, 0),
            "(1, 1)": (1, 1),
            "(n, n)": (n, n),
            "(n, s)": (n, s),
            "(r, n)": (r, n),
            "(r + n, s)": (r + n, s),
            "(r, s + n)": (r, s + n),
            "(1, 0)": (1, 0),
            "(0, 1)": (0, 1),
            "(n - 1, n - 1)": (n - 1, n - 1),
            "(max, max)": (limit - 1, limit - 1),
        }
        for name, (a, b) in pairs.items():
            if a < limit and b < limit:
                case(f"ECDSA: {name}", f"{signed}.{b64(key.join(a, b))}")
        case("ECDSA: DER", f"{signed}.{b64(encode_dss_signature(r, s))}")
        case("ECDSA: longer numbers", f"{signed}.{b64(key.join(r, s, size + 1))}")
        case("ECDSA: zeros after", f"{signed}.{b64(key.join(r, s) + bytes(2))}")
        case("ECDSA: hex", f"{signed}.{b64(key.join(r, s).hex().encode())}")
        for other in sorted({"256", "384", "512"} - {alg[2:]}):
            case("ECDSA: other hash", f"{signed}.{b64(key.join(*key.pair('ES' + other, signed.encode())))}")
    order = 2**252 + 27742317777372353535851937790883648493
    signed = over("EdDSA")
    signature = OURS["ed"].sign("EdDSA", signed.encode())
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    for name, value in {
        "s + L": s + order,
        "s + 8 L": s + 8 * order,
        "L - s": order - s,
        "0": 0,
        "L": order,
    }.items():
        case(f"Ed25519: {name}", f"{signed}.{b64(r + value.to_bytes(32, 'little'))}")
    case("Ed25519: R with another sign", f"{signed}.{b64(r[:31] + bytes([r[31] ^ 128]) + signature[32:])}")
    for point in [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]:
        for value in [0, s, order]:
            case("Ed25519: R of small order", f"{signed}.{b64(point + value.to_bytes(32, 'little'))}")
    rsa = OURS["rsa"]
    for alg in ["RS256", "RS512"]:
        signed, bits = over(alg), alg[2:]
        info = DIGEST_INFO[bits]
        hashed = digest(bits, signed.encode())
        good = rsa.pkcs1(info + hashed)
        no_null = info[:1] + bytes([info[1] - 2]) + info[2:3] + bytes([info[3] - 2]) + info[4:15] + info[17:]
        others = [other for other in DIGEST_INFO if other != bits]
        variants = {
            "no NULL": rsa.pkcs1(no_null + hashed),
            "bare digest": rsa.pkcs1(hashed),
            "garbage after": rsa.pkcs1(info + hashed, bytes(20)),
            "short padding": rsa.raw(
                b"\x00\x01" + b"\xff" * 8 + b"\x00" + (info + hashed).ljust(rsa.size - 11, b"\x00")
            ),
            "block type 2": rsa.raw(
                (b"\x00\x02" + b"\xff" * (rsa.size - 3 - len(info + hashed)) + b"\x00" + info + hashed)
            ),
            "block type 0": rsa.raw((info + hashed).rjust(rsa.size, b"\x00")),
            "other hash": rsa.pkcs1(DIGEST_INFO[others[0]] + digest(others[0], signed.encode())),
            "other name of the hash": rsa.pkcs1(DIGEST_INFO[others[1]] + hashed),
            "PSS": rsa.pss(bits, signed.encode(), bytes(int(bits) // 8)),
            "zero before": b"\x00" + good,
            "zero after": good + b"\x00",
            "plus the modulus": (int.from_bytes(good, "big") + rsa.n).to_bytes(rsa.size + 1, "big"),
            "minus": (rsa.n - int.from_bytes(good, "big")).to_bytes(rsa.size, "big"),
            "0": bytes(rsa.size),
            "1": (1).to_bytes(rsa.size, "big"),
            "the modulus": rsa.n.to_bytes(rsa.size, "big"),
        }
        for name, signature in variants.items():
            case(f"PKCS #1: {name}", f"{signed}.{b64(signature)}")
    signed = over("PS256")
    for length in [0, 1, 20, 31, 32, 33, 48, 64, rsa.size - 34]:
        signature = rsa.pss("256", signed.encode(), bytes(range(256))[:length])
        case(f"PSS: salt of {length}", f"{signed}.{b64(signature)}")
    case("PSS: PKCS #1", f"{signed}.{b64(rsa.sign('RS256', signed.encode()))}")
    case("PSS: other hash", f"{signed}.{b64(rsa.sign('PS512', signed.encode()))}")
    case("PSS: zero before", f"{signed}.{b64(bytes(1) + rsa.sign('PS256', signed.encode()))}")
    signed = over("HS256")
    mac = OURS["secret"].sign("HS256", signed.encode())
    for name, value in {
        "half": mac[:16],
        "longer": mac + bytes(1),
        "zeros": bytes(32),
        "hex": mac.hex().encode(),
        "HS512": OURS["secret"].sign("HS512", signed.encode()),
    }.items():
        case(f"HMAC: {name}", f"{signed}.{b64(value)}")


def key_choices():
    for alg, keyset in [
        ("RS256", "one kid, two types"),
        ("EdDSA", "one kid, two types"),
        ("EdDSA", "one kid, one type"),
    ]:
        case(f"{keyset}: {alg}", sign(alg, header(alg, {"kid": '"k"'})), keyset)
        case(f"{keyset}: {alg}, no kid", sign(alg, header(alg, {"kid": None})), keyset)
    second = sign("EdDSA", header("EdDSA", {"kid": '"k"'}), keys=STRANGERS)
    case("one kid, one type: EdDSA, the second", second, "one kid, one type")
    case("key without kid: token with", GOOD["EdDSA"], "without kid")
    case("key without kid: token without", sign("EdDSA", header("EdDSA", {"kid": None})), "without kid")


for make in [
    good,
    spoiled,
    swapped,
    header_edits,
    algorithms,
    encodings,
    claim_edits,
    several_claim_edits,
    texts,
    signatures,
    key_choices,
]:
    make()
