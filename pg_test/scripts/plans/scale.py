#!/usr/bin/env python3
"""The cost of a token does not grow with the number of keys and issuers: the test counts rows and
verifications, not time. A session keeps of the tables only what its tokens named, up to a bound."""

import secrets

from lib import tokens
from lib.pg import SharedCluster, run

WHO = "SELECT auth.user_id()"
ISSUERS, KEYS = 1_000, 10_000
LARGE = "https://large.example"  # has as many keys as all the others together
FILL = f"""
    INSERT INTO auth.issuers (issuer, algorithms) SELECT 'https://issuer' || i, '{{HS256}}'
        FROM generate_series(1, {ISSUERS}) i;
    INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{LARGE}', '{{HS256}}');
    INSERT INTO auth.jwks (issuer, kid, jwk)
        SELECT CASE WHEN i > {KEYS} THEN '{LARGE}' ELSE 'https://issuer' || i % {ISSUERS} + 1 END, 'other' || i,
               jsonb_build_object('kty', 'oct', 'k', translate(rtrim(encode(sha256(i::text::bytea), 'base64'), '='),
                   '+/', '-_'))
          FROM generate_series(1, {2 * KEYS}) i;
    INSERT INTO auth.jwks (issuer, jwk) VALUES ('{LARGE}', '{tokens.json.dumps(tokens.jwk(0))}')"""


class Rows:
    """Counts the rows of both tables that a session reads."""

    def __init__(self, session, root):
        self.session, self.root, self.last = session, root, None
        self.read()

    def read(self):
        """How many since the last call: by an index, and by a scan of the table."""
        self.session.query("SELECT pg_stat_force_next_flush()")
        self.session.query("SELECT")
        now = [
            int(value)
            for value in self.root.query(
                "SELECT pg_stat_clear_snapshot(), sum(idx_tup_fetch), sum(seq_tup_read) "
                "FROM pg_stat_user_tables WHERE schemaname = 'auth'"
            )[0][1:]
        ]
        found = [value - before for value, before in zip(now, self.last or now)]
        self.last = now
        return found


def unsigned(iss=tokens.ISSUER, **header):
    """A token with a wrong signature."""
    return ".".join(tokens.encode(part) for part in ({"alg": "HS256", **header}, {"iss": iss, "sub": "u1"}, "x"))


def few_rows_are_read(check, db, cluster, root):
    session = cluster.session(db)
    counter = Rows(session, root)

    def reads(what, call, most, wanted, *params):
        check.equal(what, session.code(call, *params) or "ok", wanted)
        by_index, through = counter.read()
        check.true(f"{what}: {by_index} rows by index", by_index <= most)
        check.equal(f"{what}: rows by reading the table through", through, 0)

    init = "SELECT auth.jwt_session_init($1)"
    # The issuer and the key.
    reads("first token", init, 2, "ok", tokens.token("u1"))
    reads("the same again", init, 0, "ok", tokens.token("u1"))
    reads("its use", WHO, 0, "ok")
    reads("another token of the key", init, 0, "ok", tokens.token("u2"))
    reads("another key", init, 2, "ok", tokens.token("u1", key=1))
    root.query(f"UPDATE auth.issuers SET leeway = leeway WHERE issuer = '{tokens.ISSUER}'")
    counter.read()
    reads("after a change", WHO, 2, "ok")
    reads("key id that there is not", init, 1, "28J03", unsigned(kid="nobody's"))
    reads("once more", init, 1, "28J03", unsigned(kid="nobody's"))
    reads("issuer that there is not", init, 0, "28J13", unsigned(kid="k0", iss="https://nobody.example"))
    reads("another issuer's key id", init, 1, "28J03", unsigned(kid="k0", iss="https://issuer1"))
    # As many as are tried; one more shows that there are more.
    reads("no key id, too many keys", init, 102, "28J03", unsigned(iss=LARGE))
    reads("no key id, some keys", init, 11, "28J03", unsigned(iss="https://issuer1"))
    reads("one key of many", init, 2, "ok", tokens.token("u1", iss=LARGE))
    session.close()


def signatures_are_checked_once(check, db, cluster, root):
    """A change that does not affect the token's issuer and key costs no signature check."""
    session = cluster.session(db, "postgres")
    session.query("SET pg_auth_jwt.audit_log = 'all'")
    session.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1", aud="a", iat=1_000_000_000))

    def verifications(change, wanted):
        root.query(change) if change else None
        before = cluster.log().count("token accepted: ")
        check.equal(f"after {change}", session.value(WHO), "u1")
        check.equal(f"verifications after {change}", cluster.log().count("token accepted: ") - before, wanted)

    verifications("", 0)
    for change in (
        "VACUUM auth.jwks",
        "VACUUM FULL auth.jwks",
        "ANALYZE auth.issuers, auth.jwks",
        "GRANT SELECT ON auth.jwks TO authenticated",
        "REVOKE SELECT ON auth.jwks FROM authenticated",
        "REINDEX TABLE auth.jwks",
        "CLUSTER auth.jwks USING jwks_pkey",
        "ALTER TABLE auth.jwks ADD COLUMN note text",
        "ALTER TABLE auth.jwks DROP COLUMN note",
        "UPDATE auth.jwks SET created_at = now()",
        "UPDATE auth.issuers SET leeway = '1 s' WHERE issuer = 'https://issuer1'",
        "DELETE FROM auth.issuers WHERE issuer = 'https://issuer2'",
        f"UPDATE auth.jwks SET expires_at = '2100-01-01' WHERE issuer = '{tokens.ISSUER}' AND kid = 'k1'",
        f"DELETE FROM auth.jwks WHERE issuer = '{tokens.ISSUER}' AND kid = 'k1'",
        f"SELECT auth.init('{tokens.jwks(0)}', issuer => '{tokens.ISSUER}')",
        f"SELECT auth.init('{tokens.jwks(0, 1)}', issuer => '{tokens.ISSUER}')",
        (
            f"BEGIN; DELETE FROM auth.jwks WHERE issuer = '{tokens.ISSUER}'; "
            f"SELECT auth.init('{tokens.jwks(0, 1)}', issuer => '{tokens.ISSUER}'); COMMIT"
        ),
    ):
        verifications(change, 0)
        verifications("", 0)
    for column, value in (
        ("leeway", "'7 s'"),
        ("max_age", "'100 years'"),
        ("required_claims", "'{exp,sub}'"),
        ("token_types", "'{jwt}'"),
        ("algorithms", "'{HS256,RS256}'"),
        ("audience", "'{a,b}'"),
    ):
        verifications(f"UPDATE auth.issuers SET {column} = {value} WHERE issuer = '{tokens.ISSUER}'", 1)
        verifications("", 0)
    root.query(
        f"UPDATE auth.issuers SET required_claims = '{{exp}}', "
        f"audience = NULL, max_age = NULL WHERE issuer = '{tokens.ISSUER}'"
    )
    verifications("", 1)
    verifications(f"UPDATE auth.jwks SET expires_at = '2100-01-01' WHERE issuer = '{tokens.ISSUER}' AND kid = 'k0'", 1)
    session.close()


def every_change_that_matters_counts(check, db, cluster, root):
    """For each way to find the rows: the fast way must not keep what the tables no longer hold."""
    key, issuer = (f"WHERE issuer = '{tokens.ISSUER}'" + more for more in (" AND kid = 'k0'", ""))
    session = cluster.session(db)
    # It has the claims that the rules below require, or not.
    session.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1", aud="a", iat=1_000_000_000))
    for change, wanted in (
        (f"DELETE FROM auth.jwks {key}", "28J03"),
        (f"UPDATE auth.jwks SET expires_at = '2020-01-01' {key}", "28J03"),
        (f"UPDATE auth.jwks SET kid = 'other', jwk = jwk || '{{\"kid\":\"other\"}}' {key}", "28J03"),
        (f'UPDATE auth.jwks SET jwk = jwk || \'{{"k":"{tokens.jwk(9)["k"]}"}}\' {key}', "28J04"),
        (f"UPDATE auth.issuers SET enabled = false {issuer}", "28J03"),
        (f"UPDATE auth.issuers SET issuer = 'https://renamed.example' {issuer}", "28J13"),
        (f"UPDATE auth.issuers SET audience = '{{b}}' {issuer}", "28J08"),
        (f"UPDATE auth.issuers SET required_claims = '{{nonce}}' {issuer}", "28J09"),
        (f"UPDATE auth.issuers SET token_types = '{{at+jwt}}' {issuer}", "28J01"),
        (f"UPDATE auth.issuers SET max_age = '1 s' {issuer}", "28J05"),
        (f"UPDATE auth.issuers SET algorithms = '{{HS384}}' {issuer}", "28J02"),
    ):
        check.equal("before", session.value(WHO), "u1")
        root.query(
            "DROP TABLE IF EXISTS saved_issuers, saved_jwks; "
            "CREATE TABLE saved_issuers AS TABLE auth.issuers; CREATE TABLE saved_jwks AS TABLE auth.jwks"
        )
        root.query(change)
        check.equal(change, session.code(WHO), wanted)
        root.query(
            "BEGIN; DELETE FROM auth.issuers; INSERT INTO auth.issuers TABLE saved_issuers; "
            "INSERT INTO auth.jwks TABLE saved_jwks; COMMIT"
        )
        check.equal(f"undone: {change}", session.value(WHO), "u1")
    # The exact name has precedence over *, also if it is added later, and not after it is deleted.
    root.query(
        f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('*', '{{HS256}}'); SELECT auth.init('{tokens.jwks(0)}')"
    )
    check.equal("the row of its name", session.value(WHO), "u1")
    root.query(f"DELETE FROM auth.issuers {issuer}")
    check.equal("the row of any", session.value(WHO), "u1")
    root.query(f"INSERT INTO auth.issuers (issuer, enabled) VALUES ('{tokens.ISSUER}', false)")
    check.equal("the row of its name, disabled", session.code(WHO), "28J03")
    root.query(f"DELETE FROM auth.issuers {issuer}; UPDATE auth.jwks SET expires_at = now() WHERE issuer = '*'")
    check.equal("the row of any, expired", session.code(WHO), "28J03")
    root.query(f"DELETE FROM auth.issuers WHERE issuer = '*'; {tokens.setup()}")
    check.equal("its name again", session.value(WHO), "u1")
    session.close()


def without_the_indexes(check, db, cluster, root):
    """The indexes may be dropped or replaced."""
    good, bad = tokens.token("u1"), unsigned(kid="nobody's")
    # A collation for which k0 and K0 are equal, if the server supports it.
    if root.value("SELECT EXISTS (SELECT FROM pg_collation WHERE collname LIKE '%-x-icu')") == "t":
        root.query("CREATE COLLATION other (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    else:
        root.query("CREATE COLLATION other (locale = 'C.UTF-8')")
    for change in (
        "DROP INDEX auth.jwks_kid_key",
        "ALTER TABLE auth.jwks DROP CONSTRAINT jwks_pkey",
        "CREATE INDEX ON auth.jwks (issuer, kid) WHERE kid <> 'k0'",
        "CREATE INDEX ON auth.jwks USING hash (issuer)",
        "CREATE INDEX ON auth.jwks (kid, issuer)",
        "CREATE INDEX pattern ON auth.jwks (issuer text_pattern_ops, kid)",
        "CREATE INDEX ON auth.jwks (lower(issuer), kid)",
        "ALTER TABLE auth.issuers DROP CONSTRAINT issuers_pkey CASCADE",
        "DROP INDEX auth.pattern;"
        "ALTER TABLE auth.issuers ALTER issuer TYPE text COLLATE other; CREATE INDEX ON auth.issuers (issuer);"
        "ALTER TABLE auth.jwks ALTER issuer TYPE text COLLATE other, ALTER kid TYPE text COLLATE other;"
        "CREATE INDEX ON auth.jwks (issuer, kid)",
    ):
        root.query(change)
        session = cluster.session(db)
        check.equal(f"{change}: good", session.code("SELECT auth.jwt_session_init($1)", good), None)
        check.equal(f"{change}: key id", session.code("SELECT auth.jwt_session_init($1)", bad), "28J03")
        for wrong, code in ((unsigned(kid="K0"), "28J03"), (unsigned(kid="k0", iss=tokens.ISSUER.upper()), "28J13")):
            check.equal(f"{change}: case", session.code("SELECT auth.jwt_session_init($1)", wrong), code)
        session.close()
    root.query(f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{tokens.ISSUER}', '{{HS256}}')")
    session = cluster.session(db)
    check.equal("two rows of the issuer", session.code("SELECT auth.jwt_session_init($1)", good), "28J03")
    session.close()


def memory_has_a_bound(check, db, cluster, root):
    """Tokens that name random issuers and keys, as many as exist."""
    session = cluster.session(db)

    def private():
        with open(f"/proc/{session.backend}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private"))

    def play(times):
        for _ in range(times):
            name = secrets.token_hex(8)
            for token in (
                unsigned(kid=name * 100),
                unsigned(kid="k0", iss=name * 50),
                tokens.token(name, iss=f"https://{name}.example"),
                unsigned(kid=f"other{secrets.randbelow(KEYS) + KEYS}", iss=LARGE),
            ):
                session.code("SELECT auth.jwt_session_init($1)", token)

    root.query(
        f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('*', '{{HS256}}'); SELECT auth.init('{tokens.jwks(0)}')"
    )
    play(1_500)
    before = private()
    play(1_500)
    growth = private() - before
    check.true(f"memory: {growth} KiB more", growth < 256)
    session.close()


def filled_again(checks, db, cluster, root):
    root.query(
        "DELETE FROM auth.issuers WHERE issuer = '*' OR issuer LIKE 'https://issuer%'; DELETE FROM auth.issuers; "
        + tokens.setup()
    )
    every_change_that_matters_counts(checks, db, cluster, root)
    root.query(FILL)


cluster = SharedCluster()
db = cluster.create_db("test_scale")
with cluster.session(db, "postgres") as root:
    root.query(tokens.setup())
    root.query(FILL)
    run(
        f"{2 * KEYS:,} keys of {ISSUERS + 1:,} issuers cost what few do",
        (few_rows_are_read, signatures_are_checked_once, memory_has_a_bound, filled_again, without_the_indexes),
        db,
        cluster,
        root,
    )
