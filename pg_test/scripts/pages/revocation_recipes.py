#!/usr/bin/env python3
"""docs/revocation.md: each recipe ends the tokens that it speaks of, in a session that has used them, and no others."""

import time

from lib import tokens
from lib.clients import block
from lib.database import WHO
from lib.pg import ROOT, SharedCluster, run

ISSUER = "https://auth.example.com"
SETUP = f"""
    INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{ISSUER}', '{{HS256}}');
    SELECT auth.init('{tokens.jwks(0)}', issuer => '{ISSUER}', audience => '{{my-app}}');
"""


def recipe(name):
    return block(name, "docs/revocation.md")


def token(sub="alice", age=10, **claims):
    """`age` in seconds; None: it does not say."""
    if age is not None:
        claims["iat"] = int(time.time()) - age
    return tokens.token(sub, iss=ISSUER, aud="my-app", **claims)


class Page:
    """A database with sessions that have used their tokens before."""

    def __init__(self, checks, cluster, name):
        self.checks, self.db, self.cluster = checks, cluster.create_db(f"test_recipe_{name}"), cluster
        self.owner = cluster.session(self.db, "owner_role")
        self.owner.query(SETUP)

    def signed_in(self, *given):
        sessions = [self.cluster.session(self.db) for _ in given]
        for session, one in zip(sessions, given):
            session.query(f"SET pg_auth_jwt.token = '{one}'")
            self.checks.true("signed in", session.value(WHO))
        return sessions

    def ends(self, statement, ended, others, user=None):
        """The statement ends these tokens, and not those."""
        gone, still = self.signed_in(*ended), self.signed_in(*others)
        (user or self.owner).query(statement)
        self.checks.equal("ended", [session.code(WHO) for session in gone], ["28J10"] * len(gone))
        self.checks.equal("not ended", [session.code(WHO) for session in still], [None] * len(still))


def one_session(checks, cluster):
    page = Page(checks, cluster, "session")
    page.ends(recipe("first"), [token(sid="session-1")], [token(sid="session-2")])
    page.ends(recipe("session"), [token(session_id="session-2")], [token(sid="session-3"), token("session-2")])


def better_auth(checks, cluster):
    page = Page(checks, cluster, "better_auth")
    page.owner.query("""
        CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
            "userId" text NOT NULL);
        INSERT INTO session SELECT s, now() + interval '7 days', s, 'alice' FROM unnest('{s1,s2,s3}'::text[]) AS s""")
    page.owner.query(recipe("better_auth"))
    # As the role of Better Auth, which may not revoke by itself.
    page.owner.query("GRANT SELECT, DELETE ON session TO authenticated")
    issuer = cluster.session(page.db)
    page.ends("DELETE FROM session WHERE id = 's1'", [token(sid="s1")], [token(sid="s2"), token()], issuer)
    page.ends("DELETE FROM session WHERE \"userId\" = 'alice'", [token(sid="s2"), token(sid="s3")], [token()], issuer)
    checks.equal(
        "until the session's end",
        page.owner.value("SELECT bool_and(expires_at > now() + interval '6 days') FROM auth.revocations"),
        "t",
    )
    page.owner.query("INSERT INTO session VALUES ('old', now() - interval '1 day', 'old', 'alice')")
    issuer.query("DELETE FROM session")
    checks.equal("nothing is said of a session that has run out", issuer.warnings(), [])
    checks.equal("nor kept", page.owner.value("SELECT count(*) FROM auth.revocations WHERE value = 'old'"), "0")


def supabase(checks, cluster):
    page = Page(checks, cluster, "supabase")
    session, other = "5f0f1c9e-6f2b-4a8e-9a53-0d2f6c1b7a11", "5f0f1c9e-6f2b-4a8e-9a53-0d2f6c1b7a12"
    page.ends(recipe("supabase_sign_out"), [token(session_id=session)], [token(session_id=other), token(session)])
    page.owner.query(
        "TRUNCATE auth.revocations; CREATE TABLE live_sessions (id uuid PRIMARY KEY, not_after timestamptz);"
        f"INSERT INTO live_sessions VALUES ('{session}', NULL), ('{other}', NULL)"
    )
    page.owner.query(recipe("supabase"))
    page.ends(
        f"DELETE FROM live_sessions WHERE id = '{session}'", [token(session_id=session)], [token(session_id=other)]
    )


def leaked(checks, cluster):
    page = Page(checks, cluster, "leaked")
    page.owner.query(f"SELECT auth.init('{tokens.jwks(0, 1)}', issuer => '{ISSUER}')")
    bad, good = page.signed_in(token(), token(key=1))
    page.owner.query(recipe("leaked"))
    checks.equal("the key's tokens", [bad.code(WHO), good.value(WHO)], ["28J03", "alice"])


def followed_sessions(checks, cluster):
    page = Page(checks, cluster, "followed")
    page.owner.query("""
        CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL);
        INSERT INTO session SELECT s, now() + interval '7 days' FROM unnest('{s1,s2}'::text[]) AS s""")
    page.owner.query(recipe("follow"))
    page.ends("DELETE FROM session WHERE id = 's1'", [token(sid="s1")], [token(sid="s2")])


def back_channel(checks, cluster):
    page = Page(checks, cluster, "back_channel")
    page.ends(
        recipe("back_channel"),
        [token("alice", sid="session-3"), token("bob", sid="x"), token("bob")],
        [token("alice", sid="session-4"), token("alice")],
    )
    logout = token("alice", sid="session-4", header={"typ": "logout+jwt"})
    checks.equal("a logout token is none for a session", page.owner.code("SELECT auth.verify($1)", logout), "28J01")


def not_before(checks, cluster):
    page = Page(checks, cluster, "not_before")
    before = 1767225600 - int(time.time())
    page.ends(recipe("not_before"), [token(age=10 - before)], [token(age=-120 - before)])


def everywhere(checks, cluster):
    page = Page(checks, cluster, "everywhere")
    page.ends(recipe("everywhere"), [token(), token(sid="a"), token(age=None)], [token("bob")])


def stolen(checks, cluster):
    page = Page(checks, cluster, "stolen")
    copied = token(jti="x")
    page.ends(recipe("stolen").replace(":'token'", f"'{copied}'"), [copied], [token(jti="y"), token()])


def dismissed(checks, cluster):
    page = Page(checks, cluster, "dismissed")
    page.ends(recipe("dismissed"), [token("carol"), token("carol", age=-30)], [token("alice")])


def restored(checks, cluster):
    page = Page(checks, cluster, "restored")
    page.ends(recipe("restore"), [token(), token("bob")], [])
    page.owner.query("UPDATE auth.revocations SET issued_before = now() - interval '2 min'")
    checks.equal("not those of later", page.owner.code("SELECT auth.verify($1)", token(age=1)), None)


def support(checks, cluster):
    page = Page(checks, cluster, "support")
    root = cluster.session(page.db, "postgres")
    root.query("CREATE ROLE support LOGIN")
    try:
        page.owner.query(recipe("grant"))
        with cluster.session(page.db, "support") as desk:
            page.ends(recipe("everywhere"), [token()], [token("bob")], desk)
            checks.equal("sees no table", desk.code("SELECT FROM auth.revocations"), "42501")
            checks.equal("takes nothing back", desk.code("SELECT auth.unrevoke($1, sub => 'alice')", ISSUER), "42501")
            checks.equal("not everyone's", desk.code("SELECT auth.revoke_issuer($1)", ISSUER), "42501")
        page.owner.query("REVOKE EXECUTE ON FUNCTION auth.revoke FROM support")
    finally:
        root.query("DROP ROLE support")


def each_block_is_tested(checks, cluster):
    with open(f"{ROOT}/docs/revocation.md") as file:
        text = file.read()
    checks.equal("each statement has a test", text.count("```sql"), text.count("<!-- test: "))


PARTS = (
    one_session,
    better_auth,
    supabase,
    leaked,
    followed_sessions,
    back_channel,
    not_before,
    everywhere,
    stolen,
    dismissed,
    restored,
    support,
    each_block_is_tested,
)
run("the recipes for revocations do what they say", PARTS, SharedCluster())
