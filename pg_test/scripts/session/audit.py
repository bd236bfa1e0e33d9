#!/usr/bin/env python3
"""pg_auth_jwt.audit_log: one line for each verification, none for each row or statement, with what
is needed to find the token and nothing of the token itself."""

from lib import tokens
from lib.pg import Checks, Cluster

WHO = "SELECT auth.user_id()"


def main():
    checks = Checks()
    with Cluster("audit", log_line_prefix="", **{"pg_auth_jwt.audit_log": "all"}) as cluster:
        db = cluster.create_db("test")
        owner = cluster.session(db, "owner_role")
        owner.query(tokens.setup(0, 1))
        root = cluster.session(db, "postgres")
        seen = 0
        given = []

        def token(*args, **claims):
            given.append(tokens.token(*args, **claims))
            return given[-1]

        def lines(what, *wanted):
            """The audit lines since the last call."""
            nonlocal seen
            log = [
                line for line in cluster.log().splitlines() if line.startswith(("LOG:  token ", "LOG:  00000: token "))
            ]
            checks.equal(what, [line.removeprefix("LOG:  ") for line in log[seen:]], list(wanted))
            seen = len(log)

        def accepted(sub, jti="-"):
            return f'token accepted: issuer "{tokens.ISSUER}", kid "k0", sub {sub}, jti {jti}'

        def refused(claims, reason):
            return f"token refused: {claims}, reason {reason}"

        s = cluster.session(db)
        s.value("SELECT auth.jwt_session_init($1)", token("u1", jti="id-1"))
        lines("a token", accepted('"u1"', '"id-1"'))
        s.query("SELECT auth.user_id() FROM generate_series(1, 100)")
        s.query("BEGIN; SELECT auth.session(); SAVEPOINT a; SELECT auth.uid(); COMMIT")
        s.query("SELECT auth.jwt_session_init('%s'), auth.user_id()" % given[-1])
        lines("in use, and given once more")
        owner.query("UPDATE auth.issuers SET leeway = '1 s'")
        s.query(WHO)
        lines("verified anew, under other rules", accepted('"u1"', '"id-1"'))

        # A cache that is turned off is not used, even for what it still holds.
        root.value("SELECT auth.verify($1)", token("u5"))
        root.value("SELECT auth.verify($1)", given[-1])
        lines("verified once", accepted('"u5"'))
        root.query("SET pg_auth_jwt.cache_size = 0")
        root.value("SELECT auth.verify($1)", given[-1])
        lines("verified anew, without a cache", accepted('"u5"'))

        # Unverified values are quoted as claimed; they can neither end the line nor make it long.
        claims = f'issuer "{tokens.ISSUER}", kid "k0", sub "u2", jti -'
        s.code("SELECT auth.jwt_session_init($1)", token("u2", -9))
        s.code("SELECT auth.jwt_session_init($1)", "x")
        log = cluster.log()
        checks.true("refused, with its reason", refused(claims, "28J05 token expired at ") in log)
        checks.true("malformed", refused("issuer -, kid -, sub -, jti -", "28J01 token has 1 part, not 3") in log)
        evil = 'u3"\nLOG:  token accepted: issuer "x", kid "y", sub "root'
        s.code("SELECT auth.jwt_session_init($1)", token(evil, -9))
        s.code("SELECT auth.jwt_session_init($1)", token(evil * 100))
        checks.true("no line was forged", '\nLOG:  token accepted: issuer "x"' not in cluster.log())
        checks.true("no line is long", max(map(len, cluster.log().splitlines())) < 1000)
        seen += 4

        # Failures only, and nothing at all.
        for setting in ("failures", "off"):
            root.query(f"ALTER DATABASE {db} SET pg_auth_jwt.audit_log = '{setting}'")
            s = cluster.session(db)
            s.value("SELECT auth.jwt_session_init($1)", token(f"u-{setting}"))
            s.code("SELECT auth.jwt_session_init($1)", "x")
            line = refused("issuer -, kid -, sub -, jti -", "28J01 token has 1 part, not 3")
            lines(setting, *([line] if setting == "failures" else []))
        checks.equal("only superusers set it", s.code("SET pg_auth_jwt.audit_log = 'off'"), "42501")

        for one in given:
            for part in one.split(".")[1:]:
                checks.true("no part of a token in the log", part not in cluster.log())
    checks.done("audit lines: one for each verification")


main()
