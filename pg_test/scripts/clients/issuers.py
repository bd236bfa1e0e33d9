#!/usr/bin/env python3
"""docs/issuers.md: the SQL of each section, tokens of the shape that the issuer gives them
(fixtures/issuers), and the tokens next to them that must be refused."""

import json
import os
import re
import shutil
import subprocess
import time

from lib import packages, tokens
from lib.clients import block
from lib.pg import HERE, ROOT, Checks, PgError, SharedCluster, shell

FOLLOW = re.compile(
    r"SELECT auth\.follow_url\('(?P<issuer>[^']+)'(?:,\s*url => '(?P<url>[^']+)')?"
    r"(?:,\s*audience => '(?P<audience>\{[^}]+\})')?\);"
)
ROW = re.compile(
    r"^\| \[(?P<provider>[^]]+)\]\(#(?P<anchor>[^)]+)\) \| `(?P<issuer>[^`]+)` \| (?P<audience>.+?) \| "
    r"`(?P<user_id>[^`]+)` \| `(?P<type>text|uuid)` \|$",
    re.MULTILINE,
)
NOTES = block("guard_text", "README.md")
# The test real_issuers has tokens that they made.
RUN_HERE = ["OpenAuth", "django-oauth-toolkit", "oidc-provider"]


def page(name="docs/issuers.md"):
    with open(f"{ROOT}/{name}") as file:
        return file.read()


def fixtures():
    folder = f"{HERE}/fixtures/issuers"
    for file in sorted(os.listdir(folder)):
        if file.endswith(".json"):
            with open(f"{folder}/{file}") as text:
                yield file.removesuffix(".json"), json.load(text)


def times(claims):
    """With the times that are written as now+60."""
    now = int(time.time())
    found = {
        name: re.fullmatch(r"now([+-]\d+)?", value) if isinstance(value, str) else None
        for name, value in claims.items()
    }
    return {name: now + int(found[name][1] or 0) if found[name] else value for name, value in claims.items()}


def complete(fixture, token):
    """The input of sign.mjs."""
    if "like" in token:
        base = fixture["accepted"][token["like"]]
        header = {**base["header"], **token.get("header", {})}
        claims = {**base["claims"], **token.get("claims", {})}
    else:
        header, claims = token["header"], token["claims"]
    header = {name: value for name, value in header.items() if value is not None}
    claims = {name: value for name, value in claims.items() if name not in token.get("without", ())}
    key = token.get("key") or next(jwk["key"] for jwk in fixture["jwks"] if jwk["kid"] == header["kid"])
    return {"key": key, "header": header, "claims": times(claims)}


def sign(node, fixture):
    """The key set, and the tokens of each kind by their names."""
    named = [
        (kind, name, token)
        for kind in ("accepted", "no_rows", "refused")
        for name, token in fixture.get(kind, {}).items()
    ]
    to_sign = [(kind, name, complete(fixture, token)) for kind, name, token in named if "raw" not in token]
    asked = {"keys": sorted({jwk["key"] for jwk in fixture["jwks"]}), "tokens": [token for _, _, token in to_sign]}
    run = subprocess.run(
        [node, f"{HERE}/issuers/sign.mjs"], input=json.dumps(asked), text=True, stdout=subprocess.PIPE, check=True
    )
    made = json.loads(run.stdout)
    signed = {kind: {} for kind in ("accepted", "no_rows", "refused")}
    for (kind, name, _), token in zip(to_sign, made["tokens"], strict=True):
        signed[kind][name] = token
    for kind, name, token in named:
        if "raw" in token:
            signed[kind][name] = token["raw"]
    jwks = {
        "keys": [
            {**made["keys"][jwk["key"]], **{name: value for name, value in jwk.items() if name != "key"}}
            for jwk in fixture["jwks"]
        ]
    }
    return jwks, signed


class Issuer:
    """A section of the page, and its row of the table."""

    def __init__(self, name, row):
        self.row, self.sql = row, block(name, "docs/issuers.md")
        self.follow = FOLLOW.search(self.sql)
        self.rules = FOLLOW.sub("", self.sql)


def followed(checks, what, owner, issuer):
    """Checks that auth.follow_url takes the page's line."""
    owner.query("BEGIN")
    owner.query(issuer.follow[0])
    source, audience = owner.query(
        f"SELECT source, audience FROM auth.issuers WHERE issuer = '{issuer.follow['issuer']}'"
    )[0]
    owner.query("ROLLBACK")
    url = issuer.follow["url"]
    wanted = (
        {"kind": "url", "url": url}
        if url
        else {"kind": "discovery", "url": f"{issuer.follow['issuer'].rstrip('/')}/.well-known/openid-configuration"}
    )
    checks.equal(f"{what}: its source", json.loads(source), wanted)
    checks.equal(f"{what}: its audience", audience, issuer.follow["audience"])


def play(checks, owner, user, name, fixture, issuer, jwks, signed):
    owner.query("DELETE FROM auth.issuers; DROP TABLE IF EXISTS notes;" + NOTES)
    owner.notices()
    trusted = owner.value(
        "SELECT auth.init($1::jsonb, $2, $3::text[])",
        json.dumps(jwks),
        issuer.follow["issuer"],
        issuer.follow["audience"],
    )
    skipped = owner.warnings()
    checks.equal(
        f"{name}: keys",
        (int(trusted), len(skipped)),
        (len(jwks["keys"]) - fixture.get("unusable", 0), fixture.get("unusable", 0)),
    )
    if issuer.rules.strip():
        owner.query(issuer.rules)

    expression, user_id = issuer.row["user_id"], fixture["user_id"]
    owner.query(f"""ALTER POLICY own_rows ON notes USING (owner = ({expression})::text);
                    INSERT INTO notes (owner, body) VALUES ('{user_id}', 'own'), ('somebody', 'of somebody')""")

    def rows(what, token):
        """The bodies that the token shows, or the SQLSTATE."""
        user.query("BEGIN")
        try:
            user.execute("SELECT auth.jwt_session_init($1)", token)
            identity = user.query(f"SELECT {expression}, pg_typeof({expression}), auth.uid() IS NOT NULL")[0]
            return identity, [body for (body,) in user.query("SELECT body FROM notes")]
        except PgError as error:
            return error.code
        finally:
            user.query("ROLLBACK")

    is_uuid = fixture.get("sub_is_uuid", issuer.row["type"] == "uuid")
    identity = [user_id, issuer.row["type"], "t" if is_uuid else "f"]
    findings = owner.query(
        "SELECT code, object FROM auth.lint() WHERE code NOT IN ('scope_not_stored', 'server_outdated')"
    )
    no_audience = [["audience_not_checked", f"issuer {issuer.follow['issuer']}"]]
    checks.equal(f"{name}: auth.lint", findings, [] if issuer.follow["audience"] else no_audience)
    for what, token in signed["accepted"].items():
        checks.equal(f"{name}: {what}", rows(what, token), (identity, ["own"]))
    for what, token in signed["no_rows"].items():
        checks.equal(f"{name}: {what}", rows(what, token)[1], [])
    for what, token in signed["refused"].items():
        checks.equal(f"{name}: {what}", rows(what, token), fixture["refused"][what]["code"])


def several(checks, owner, user):
    """A user of another issuer, with the same sub."""
    ours, other = "https://auth.example.com", "https://other.test.example"
    owner.query("DELETE FROM auth.issuers; DROP TABLE IF EXISTS notes;" + NOTES + block("several", "docs/issuers.md"))
    for issuer in (ours, other):
        owner.query(f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{issuer}', '{{HS256}}')")
        owner.value("SELECT auth.init($1::jsonb, $2)", tokens.jwks(0), issuer)

    def as_alice(issuer, *statements):
        user.query("BEGIN")
        user.execute("SELECT auth.jwt_session_init($1)", tokens.token("alice", iss=issuer))
        try:
            for statement in statements:
                rows = user.query(statement)
            return rows
        except PgError as error:
            return error.code
        finally:
            user.query("COMMIT")

    for table in ("notes", "drafts"):
        checks.equal(
            f"{table}: adds",
            as_alice(ours, f"INSERT INTO {table} (body) VALUES ('of ours') RETURNING body"),
            [["of ours"]],
        )
    checks.equal(
        "the same sub has the rows, as the page warns", as_alice(other, "SELECT body FROM notes"), [["of ours"]]
    )
    checks.equal("both are compared", as_alice(other, "SELECT body FROM drafts"), [])
    checks.equal(
        "adds for the other issuer",
        as_alice(other, f"INSERT INTO drafts (issuer, body) VALUES ('{ours}', 'x')"),
        "42501",
    )
    checks.equal(
        "own",
        as_alice(other, "INSERT INTO drafts (body) VALUES ('of other')", "SELECT body FROM drafts"),
        [["of other"]],
    )
    checks.equal("moves to the other issuer", as_alice(other, f"UPDATE drafts SET issuer = '{ours}'"), "42501")
    checks.equal("the first's are the same", as_alice(ours, "SELECT body FROM drafts"), [["of ours"]])
    owner.query(block("one_of_several", "docs/issuers.md"))
    checks.equal(
        "one issuer's table",
        (as_alice(ours, "SELECT body FROM notes"), as_alice(other, "SELECT body FROM notes")),
        ([["of ours"]], []),
    )
    checks.equal("one issuer's table: adds", as_alice(other, "INSERT INTO notes (body) VALUES ('x')"), "42501")


def main():
    checks = Checks()
    node = shutil.which("node", path=shell("echo $PATH"))
    if not node:
        packages.missing(checks, "needs Node.js")
    cluster = SharedCluster()
    db = cluster.create_db("test_issuers")
    owner, user = cluster.session(db, "owner_role"), cluster.session(db)
    table = {row["provider"]: row for row in ROW.finditer(page())}

    played = []
    for name, fixture in fixtures():
        provider = fixture["provider"]
        issuer = Issuer(name, table[provider])
        checks.true(f"{name}: names its documentation", fixture["documentation"])
        checks.true(f"{name}: has a line with auth.follow_url", issuer.follow)
        checks.equal(f"{name}: the same issuer in table and section", issuer.row["issuer"], issuer.follow["issuer"])
        anchor = re.sub(r"[^a-z0-9 -]", "", provider.lower()).replace(" ", "-")
        checks.equal(f"{name}: link", issuer.row["anchor"], anchor)
        checks.true(f"{name}: section", f"\n## {provider}\n" in page())
        checks.equal(f"{name}: aud", issuer.row["audience"] == "none", issuer.follow["audience"] is None)
        checks.true(f"{name}: neighbours", len(fixture["refused"]) >= 3)
        followed(checks, name, owner, issuer)
        play(checks, owner, user, name, fixture, issuer, *sign(node, fixture))
        played.append(provider)
    several(checks, owner, user)
    owner.query("DELETE FROM auth.issuers")
    clerk = table["Clerk"]["issuer"]
    owner.query(f"INSERT INTO auth.issuers (issuer) VALUES ('{clerk}')")
    owner.query(block("lint_ignore", "docs/issuers.md").replace("DATABASE app", f"DATABASE {db}"))
    checks.equal(
        "ignored by auth.lint", owner.query("SELECT code FROM auth.lint() WHERE object LIKE 'issuer %'"), [["no_keys"]]
    )

    statements = re.findall(r"SELECT auth\.follow_url\(.*?\);", block("issuers", "README.md"), re.S)
    lines = [" ".join(line.split()) for line in statements]
    checks.true("the README has statements", len(lines) >= 3)
    for line in lines:
        checks.true(f"as in the README: {line}", line in " ".join(page().split()))

    checks.equal("every row of the table", sorted(played + RUN_HERE), sorted(table))
    checks.equal("every row is read", page().count("\n| ["), len(table))
    checks.done(f"{len(played)} issuers, as docs/issuers.md has them")


main()
