#!/usr/bin/env python3
"""Issuers, key ids, audiences and other names beyond ASCII, in databases with other encodings than
UTF8: they are stored in the database's encoding, and match those of tokens, which are UTF-8."""

import json

from lib import tokens
from lib.pg import Checks, Cluster

# Names that each encoding has. `other` has, in the server's encoding, the bytes that `name` has in
# UTF-8.
NAMES = {"LATIN1": ("zoë", "zoÃ«"), "WIN1252": ("zoë€", "zoÃ«â‚¬"), "EUC_JP": ("日本", None), "UTF8": ("zoë日本", None)}
ENCODINGS = "SELECT pg_encoding_to_char(n) FROM generate_series(0, 50) n"
PUBLIC = '{"kty":"OKP","crv":"Ed25519","x":"bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI"}'


def token(iss, aud=None, kid="k", **claims):
    audience = {"aud": aud} if aud else {}
    return tokens.token("u1", iss=iss, header={"kid": kid}, **audience, **claims)


def jwk(kid):
    return json.dumps({**tokens.jwk(0), "kid": kid}, ensure_ascii=False)


def database(cluster, encoding):
    name = "enc_" + encoding.lower()
    cluster.client(
        "createdb", "-T", "template0", "-E", encoding, "--lc-collate=C", "--lc-ctype=C", "-O", "owner_role", name
    )
    convertible = encoding in NAMES
    session = cluster.session(name, "owner_role", client_encoding="UTF8" if convertible else encoding)
    session.query("CREATE EXTENSION pg_auth_jwt")
    return name, session


def outcome(session, sql, *params):
    """Its value, or the SQLSTATE of its error."""
    return session.code(sql, *params) or session.value(sql, *params)


def verdict(session, *args, **kwargs):
    return outcome(session, "SELECT auth.verify($1) ->> 'sub'", token(*args, **kwargs))


def convertible(checks, cluster, encoding, name, other):
    db, s = database(cluster, encoding)
    check = lambda what, got, wanted: checks.equal(f"{encoding}: {what}", got, wanted)
    iss = f"https://{name}.example"

    # By plain statements, and by auth.init.
    s.query(f"INSERT INTO auth.issuers (issuer, algorithms, audience) VALUES ('{iss}', '{{HS256}}', '{{{name}}}')")
    s.query(f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{iss}', '{jwk(name)}')")
    check("plain DML", verdict(s, iss, name, name), "u1")
    before = s.value("SELECT xmin FROM auth.jwks")
    check(
        "the same key again",
        s.value(f"SELECT auth.init('{jwk(name)}', issuer => '{iss}', audience => '{{{name}}}')"),
        "1",
    )
    check("unchanged input writes nothing", s.value("SELECT xmin FROM auth.jwks"), before)
    s.query(f"DELETE FROM auth.jwks; SELECT auth.init('{jwk(name)}', issuer => '{iss}')")
    check("auth.init", verdict(s, iss, name, name), "u1")
    for table, column, wanted in (("jwks", "issuer", iss), ("jwks", "kid", name), ("issuers", "issuer", iss)):
        check(
            f"{column} of {table} is stored as text",
            s.value(f"SELECT encode(convert_to({column}, 'UTF8'), 'hex') FROM auth.{table}"),
            wanted.encode().hex(),
        )
    check(
        "an issuer that is new",
        s.value(f"SELECT auth.init('{PUBLIC}', issuer => '{name}', audience => '{{{name}}}')"),
        "1",
    )
    check(
        "is stored as text",
        s.value(
            "SELECT encode(convert_to(issuer || audience[1], 'UTF8'), 'hex') FROM auth.issuers WHERE algorithms IS NULL"
        ),
        (name + name).encode().hex(),
    )
    check(
        "a second key of the kid",
        s.code(
            f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{iss}', "
            f"'{jwk(name)}'::jsonb || '{{\"k\":\"{tokens.jwk(1)['k']}\"}}')"
        ),
        "22023",
    )
    check(
        "another value of the column", s.code(f"UPDATE auth.jwks SET kid = '{name}x' WHERE issuer = '{iss}'"), "22023"
    )

    # No other name matches them.
    for wrong in ("\ufffd", name[:-1] + "\ufffd", other or "x", "?"):
        check(f"issuer {wrong}", verdict(s, f"https://{wrong}.example", name, name), "28J13")
        check(f"audience {wrong}", verdict(s, iss, wrong, name), "28J08")
        check(f"kid {wrong}", verdict(s, iss, name, wrong), "28J03")
    if other:
        s.query(f"UPDATE auth.issuers SET audience = '{{{other}}}' WHERE issuer = '{iss}'")
        check("an audience of the bytes", verdict(s, iss, name, name), "28J08")
        check("that audience itself", verdict(s, iss, other, name), "u1")
        s.query(f"UPDATE auth.issuers SET audience = '{{{name}}}' WHERE issuer = '{iss}'")
    s.query(f"UPDATE auth.issuers SET required_claims = '{{exp,{name}}}' WHERE issuer = '{iss}'")
    check("required claim", verdict(s, iss, name, name, **{name: 1}), "u1")
    check("required claim is missing", verdict(s, iss, name, name, **{"\ufffd": 1}), "28J09")
    s.query(f"UPDATE auth.issuers SET required_claims = '{{exp}}' WHERE issuer = '{iss}'")

    details = dict(s.execute("SELECT step, detail FROM auth.inspect($1)", token(iss, "x", name)))
    checks.true(f"{encoding}: inspect names the issuer: {details['issuer']}", iss in details["issuer"])
    checks.true(f"{encoding}: inspect names the audience: {details['aud']}", name in details["aud"])

    # In and out of a dump.
    dump = cluster.client("pg_dump", "-E", "UTF8", db)
    checks.true(f"{encoding}: dump", iss in dump and name in dump)
    cluster.client("createdb", "-T", "template0", "-E", encoding, "--lc-collate=C", "--lc-ctype=C", db + "_2")
    cluster.client(
        "psql", "-Xq", "-v", "ON_ERROR_STOP=1", db + "_2", text=False, input=cluster.client("pg_dump", db, text=False)
    )
    with_it = cluster.session(db + "_2", "postgres")
    check("restored", verdict(with_it, iss, name, name), "u1")


def not_convertible(checks, cluster):
    """MULE_INTERNAL, which Postgres has up to 18, has no conversion to UTF8: ASCII works, and the rest
    is refused where it enters."""
    if "MULE_INTERNAL" not in {row[0] for row in cluster.session("postgres", "postgres").query(ENCODINGS)}:
        return
    _, s = database(cluster, "MULE_INTERNAL")
    s.query(tokens.setup(0))
    checks.equal("MULE_INTERNAL: ASCII", outcome(s, "SELECT auth.verify($1) ->> 'sub'", tokens.token("u1")), "u1")
    # é as MULE_INTERNAL writes it: the charset LATIN1 (0x81), and the character.
    e = "convert_from('\\x81e9', 'MULE_INTERNAL')"
    checks.equal("MULE_INTERNAL: issuer", s.code(f"SELECT auth.init('{PUBLIC}', issuer => {e})"), "22P05")
    checks.equal(
        "MULE_INTERNAL: kid",
        s.code(f"SELECT auth.init(('{PUBLIC}'::jsonb || jsonb_build_object('kid', {e})))"),
        "22P05",
    )
    checks.equal(
        "MULE_INTERNAL: kid of the column",
        s.code(f"INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('{tokens.ISSUER}', {e}, '{PUBLIC}')"),
        "22P05",
    )
    for change in (
        f"audience = ARRAY[{e}]",
        f"required_claims = ARRAY['exp', {e}]",
        f"token_types = ARRAY['JWT', {e}]",
    ):
        s.query(f"BEGIN; UPDATE auth.issuers SET {change}")
        # A rule that cannot be read is not ignored.
        checks.equal(
            f"MULE_INTERNAL: {change}", outcome(s, "SELECT auth.verify($1)", tokens.token("u1", aud="x")), "28J03"
        )
        s.query("ROLLBACK")
    checks.equal(
        "MULE_INTERNAL: claims", outcome(s, "SELECT auth.verify($1)", token(tokens.ISSUER, kid="k0", name="é")), "28J01"
    )
    s.query(f"INSERT INTO auth.issuers (issuer) VALUES ({e})")
    for name in ("é", "\ufffd", "\\x81e9"):
        checks.equal(f"MULE_INTERNAL: issuer {name}", verdict(s, name), "28J13")


def bytes_as_they_are(checks, cluster):
    """SQL_ASCII knows no characters: what is UTF-8 counts, and nothing else does."""
    _, s = database(cluster, "SQL_ASCII")
    s.query("INSERT INTO auth.issuers (issuer, algorithms, audience) VALUES ('zoë', '{HS256}', '{zoë}')")
    s.query(f"SELECT auth.init('{jwk('zoë')}', issuer => 'zoë')")
    checks.equal("SQL_ASCII: UTF-8", verdict(s, "zoë", "zoë", "zoë"), "u1")
    e = "convert_from('\\xe9', 'SQL_ASCII')"
    checks.equal("SQL_ASCII: issuer", s.code(f"SELECT auth.init('{PUBLIC}', issuer => {e})"), "22P05")
    for change in (
        f"audience = ARRAY['zoë', {e}]",
        f"required_claims = ARRAY['exp', {e}]",
        f"token_types = ARRAY['JWT', {e}]",
    ):
        s.query(f"BEGIN; UPDATE auth.issuers SET {change}")
        checks.equal(f"SQL_ASCII: {change}", verdict(s, "zoë", "zoë", "zoë"), "28J03")
        s.query("ROLLBACK")
    s.query(f"INSERT INTO auth.issuers (issuer) VALUES ({e})")
    checks.equal("SQL_ASCII: what it is not", verdict(s, "\ufffd"), "28J13")


checks = Checks()
with Cluster("encodings") as cluster:
    for encoding, (name, other) in NAMES.items():
        checks.run((convertible,), checks, cluster, encoding, name, other)
    checks.run((not_convertible, bytes_as_they_are), checks, cluster)
checks.done("names are the same in every encoding")
