#!/usr/bin/env python3
"""Settings that are stored for a role or a database change no function of the extension: each gives
the same as without them, and no warning. Old applications have some that change how SQL is read."""

import json

from lib import ed25519, tokens
from lib.pg import Checks, PgError, SharedCluster

FETCHED = "https://fetched.test.example"
TOKEN = tokens.token("u1", email="e", role="r", db="owner_role", o={"id": "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"})
SIGNED_IN = f"SELECT auth.jwt_session_init('{TOKEN}');"
NEW_JWK = json.dumps(ed25519.key(5).jwk())

# By the functions' names: what calls each of them, with what it changes shown.
CALLS = {
    "jwt_session_init": SIGNED_IN + "SELECT current_setting('pg_auth_jwt.token')",
    "session": SIGNED_IN + "SELECT auth.session() - 'exp'",
    "jwt": SIGNED_IN + "SELECT auth.jwt() - 'exp'",
    **{
        name: f"{SIGNED_IN}SELECT auth.{name}()"
        for name in ("user_id", "uid", "role", "email", "organization", "organization_id")
    },
    "verify": f"SELECT auth.verify('{TOKEN}') - 'exp'",
    "inspect": f"SELECT step, ok FROM auth.inspect('{TOKEN}')",
    "init": (
        f"SELECT auth.init('{ed25519.jwks(5, 6)}', 'https://loaded.test.example'); "
        "SELECT kid, alg, thumbprint FROM auth.jwks ORDER BY issuer, kid"
    ),
    "follow": f"SELECT auth.follow('public.followed_keys', '{tokens.FOLLOWED}', '{{a}}', '1 mon 2 days 03:00'); "
    "SELECT audience, source - 'owner_id' FROM auth.issuers WHERE issuer ~ 'followed'",
    "unfollow": (
        f"SELECT auth.unfollow('{tokens.FOLLOWED}'); SELECT issuer, source FROM auth.issuers WHERE issuer ~ 'followed'"
    ),
    "follow_url": (
        "SELECT auth.follow_url('https://new.test.example', NULL, '{a}'); "
        "SELECT audience, source FROM auth.issuers WHERE issuer ~ 'new'"
    ),
    "refresh": "SELECT issuer, outcome FROM auth.refresh()",
    "list_keys": "SELECT issuer, kid, alg, state FROM auth.list_keys() ORDER BY 1, 2",
    "source_is_known": 'SELECT auth.source_is_known(\'{"kind": "url", "url": "https://x.example/"}\')',
    "algorithms_are_known": (
        "SELECT auth.algorithms_are_known('{RS256,EdDSA}'), auth.algorithms_are_known('{RS256,none}')"
    ),
    "claim_path_is_valid": "SELECT auth.claim_path_is_valid('{a,b}'), auth.claim_path_is_valid('{a')",
    "login": (
        "UPDATE auth.issuers SET role_claim = 'db', allowed_roles = '{owner_role}'; "
        f"SELECT auth.login('{TOKEN}'); SELECT auth.user_id(), current_setting('role')"
    ),
    "revoke": (
        f"SELECT auth.revoke('{tokens.ISSUER}', sub => 'u9'); SELECT kind, value, issued_before = pg_catalog.now() "
        "FROM auth.revocations"
    ),
    "unrevoke": (
        f"SELECT auth.revoke('{tokens.ISSUER}', jti => 'j'); SELECT auth.unrevoke('{tokens.ISSUER}', jti => 'j'); "
        "SELECT count(*) FROM auth.revocations"
    ),
    "revoke_issuer": f"SELECT auth.revoke_issuer('{tokens.ISSUER}'); SELECT kind, value FROM auth.revocations",
    "unrevoke_issuer": (
        f"SELECT auth.revoke_issuer('{tokens.ISSUER}'); SELECT auth.unrevoke_issuer('{tokens.ISSUER}')"
    ),
    "list_revocations": (
        f"SELECT auth.revoke('{tokens.ISSUER}', token => '{TOKEN}'); SELECT kind, state FROM auth.list_revocations()"
    ),
    "revocations_changed": (
        f"INSERT INTO auth.revocations (issuer, kind, value) VALUES ('{tokens.ISSUER}', 'sub', 'u1'); "
        "SELECT kind, value FROM auth.revocations"
    ),
    "follow_sessions": (
        "CREATE TABLE public.sessions (id text PRIMARY KEY, expires_at timestamptz); "
        f"SELECT auth.follow_sessions('public.sessions', '{tokens.ISSUER}', 'sid'); "
        "SELECT sessions - '{owner_id,followed_at}'::text[] FROM auth.issuers WHERE sessions IS NOT NULL"
    ),
    "unfollow_sessions": (
        "CREATE TABLE public.sessions (id text PRIMARY KEY, expires_at timestamptz); "
        f"SELECT auth.follow_sessions('public.sessions', '{tokens.ISSUER}'); "
        f"SELECT auth.unfollow_sessions('{tokens.ISSUER}'); SELECT count(sessions) FROM auth.issuers"
    ),
    "list_session_sources": (
        "CREATE TABLE public.sessions (id text PRIMARY KEY, expires_at timestamptz); "
        f"SELECT auth.follow_sessions('public.sessions', '{tokens.ISSUER}'); "
        "SELECT issuer, claim, state, has_index FROM auth.list_session_sources()"
    ),
    "grant_to": (
        "SELECT auth.grant_to('authenticated'); "
        "SELECT pg_catalog.has_table_privilege('authenticated', 'auth.jwks', 'DELETE'),"
        " pg_catalog.has_function_privilege('authenticated', 'auth.lint()', 'EXECUTE')"
    ),
    "revoke_from": (
        "SELECT auth.grant_to('authenticated'); SELECT auth.revoke_from('authenticated'); "
        "SELECT pg_catalog.has_table_privilege('authenticated', 'auth.jwks', 'SELECT')"
    ),
    "list_triggers": "SELECT table_name, trigger_name, state FROM auth.list_triggers() ORDER BY 1, 2",
    "list_stats": "SELECT count(*) > 0 FROM auth.list_stats()",
    "reset_stats": "SELECT auth.reset_stats() IS NULL",
    "explain_access": f"SELECT subject, applies, kind, rows FROM auth.explain_access('public.posts', '{TOKEN}')",
    "lint": "SELECT level, code, object FROM auth.lint() ORDER BY 1, 2, 3",
    # The trigger functions.
    "admit_key": (
        f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://loaded.test.example', '{NEW_JWK}'); "
        "SELECT kid, thumbprint FROM auth.jwks ORDER BY 2"
    ),
    "keys_changed": (
        "UPDATE auth.jwks SET expires_at = pg_catalog.now() WHERE issuer ~ 'loaded'; "
        "SELECT kid, expires_at = pg_catalog.now() FROM auth.jwks ORDER BY 1"
    ),
    "cascade_issuer": "UPDATE auth.issuers SET issuer = 'https://renamed.test.example' WHERE issuer ~ 'loaded';"
    "DELETE FROM auth.issuers WHERE issuer ~ 'fetched'; SELECT issuer, kid FROM auth.jwks ORDER BY 1, 2",
    "endpoint_changed": (
        "UPDATE auth.endpoints SET last_success = pg_catalog.now() - interval '8 days'; "
        "SELECT issuer, state FROM auth.key_status ORDER BY 1, 2"
    ),
    "note_withdrawn": (
        "DELETE FROM auth.jwks WHERE issuer ~ 'fetched'; SELECT issuer, thumbprint FROM auth.withdrawn_keys"
    ),
    "delete_withdrawn": (
        "INSERT INTO auth.withdrawn_keys (issuer, thumbprint) "
        "SELECT issuer, thumbprint FROM auth.jwks; SELECT count(*) FROM auth.jwks"
    ),
}

SETUP = f"""
{tokens.setup(0)}
INSERT INTO auth.issuers (issuer, audience) VALUES ('https://loaded.test.example', '{{a}}'),
    ('https://dev.invalid', NULL);
SELECT auth.init('{ed25519.jwks(7)}', 'https://loaded.test.example');
{tokens.follow(0)}
SELECT auth.follow_url('{FETCHED}', '{FETCHED}/jwks', '{{a}}');
{ed25519.fetched_row(FETCHED, 1)};
UPDATE auth.endpoints SET last_success = now();
CREATE TABLE posts (owner text, title text, hidden boolean);
INSERT INTO posts VALUES ('u1', E'a\\\\b', false), ('u2', 'c', NULL), ('u1', 'd', true);
CREATE FUNCTION unsafe() RETURNS text LANGUAGE sql AS $$ SELECT current_setting('jwt.claims.sub', true) $$;
CREATE FUNCTION free_path() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT title FROM posts';
CREATE FUNCTION pinned() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT auth.user_id()';
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
CREATE POLICY pattern ON posts AS RESTRICTIVE TO authenticated USING (title ~ E'^\\\\w\\\\\\\\?'
    AND title <> '''' AND hidden IS NOT NULL);
CREATE POLICY forged ON posts FOR DELETE TO authenticated USING (owner = unsafe());
CREATE POLICY everything ON posts FOR UPDATE TO authenticated USING (true);
CREATE POLICY old ON posts FOR INSERT TO authenticated WITH CHECK (owner = pinned());
CREATE VIEW all_posts AS SELECT * FROM posts;
GRANT SELECT, INSERT, UPDATE, DELETE ON posts, all_posts TO authenticated;
CREATE TABLE open (id int);
GRANT ALL ON open TO authenticated;
"""

# Some can be stored by a superuser only, some are of newer versions of Postgres.
SETTINGS = {
    "standard_conforming_strings": ["off"],
    "backslash_quote": ["on"],
    "transform_null_equals": ["on"],
    "array_nulls": ["off"],
    "quote_all_identifiers": ["on"],
    "search_path": ["''", "shadow", "shadow, pg_catalog"],
    "DateStyle": ["German", "SQL, DMY"],
    "IntervalStyle": ["sql_standard", "iso_8601"],
    "TimeZone": ["Pacific/Kiritimati"],
    "extra_float_digits": ["-15"],
    "bytea_output": ["escape"],
    "xmloption": ["document"],
    "client_encoding": ["LATIN1", "SJIS"],
    "client_min_messages": ["debug5"],
    "default_transaction_isolation": ["serializable", "repeatable read"],
    "check_function_bodies": ["off"],
    "plan_cache_mode": ["force_generic_plan"],
    "force_parallel_mode": ["regress"],
    "debug_parallel_query": ["regress"],
    "from_collapse_limit": ["1"],
    "join_collapse_limit": ["1"],
    "geqo_threshold": ["2"],
    "enable_seqscan": ["off"],
    "enable_indexscan": ["off"],
    "enable_hashjoin": ["off"],
    "enable_nestloop": ["off"],
    "work_mem": ["64"],
    "jit_above_cost": ["0"],
    "track_functions": ["all"],
    "debug_print_plan": ["on"],
    "synchronous_commit": ["off"],
    "row_security": ["on"],
    "default_table_access_method": ["heap"],
    "plpgsql.variable_conflict": ["use_variable"],
    "plpgsql.extra_errors": ["all"],
    "statement_timeout": ["1min"],
}


def run(session, name):
    """Rows of the call, or its SQLSTATE; and its warnings."""
    session.notices()
    try:
        shown = session.query(f"BEGIN; {CALLS[name]}")
    except PgError as error:
        shown = f"{error.code} {error.fields['M']}"
    session.query("ROLLBACK")
    return shown, [notice["M"] for notice in session.warnings()]


def main():
    checks = Checks()
    with SharedCluster() as cluster:
        db = cluster.create_db("test_stored_settings")
        root = cluster.session(db, "postgres")
        with cluster.session(db, "owner_role") as owner:
            owner.query(SETUP)
        # Its functions and operators are what a careless search_path would call.
        root.query("""CREATE SCHEMA shadow; GRANT USAGE ON SCHEMA shadow TO PUBLIC;
            CREATE FUNCTION shadow.wrong(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'an operator of the schema shadow'; END $$;
            CREATE OPERATOR shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.wrong);
            CREATE OPERATOR shadow.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = shadow.wrong);
            CREATE FUNCTION shadow.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'a function of the schema shadow'; END $$;
            CREATE VIEW shadow.pg_class AS SELECT 1 AS oid; CREATE VIEW shadow.pg_roles AS SELECT 1 AS oid;
                CREATE VIEW shadow.issuers AS SELECT 1 AS issuer;
            GRANT SELECT ON ALL TABLES IN SCHEMA shadow TO PUBLIC""")
        functions = [
            name
            for (name,) in root.query("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'auth'::regnamespace")
        ]
        checks.equal("each function is called", sorted(CALLS), sorted(functions))
        with cluster.session(db, "owner_role") as session:
            wanted = {name: run(session, name) for name in CALLS}
        for name, (shown, said) in wanted.items():
            checks.true(f"{name} works: {shown!r}, {said}", isinstance(shown, list) and shown)
        checks.true(
            f"lint has enough to say: {wanted['lint'][0]}", len({code for _, code, _ in wanted["lint"][0]}) >= 10
        )
        # Since Postgres 19 it has no other value.
        if int(root.value("SHOW server_version_num")) >= 190000:
            del SETTINGS["standard_conforming_strings"]
        known = {name for (name,) in root.query("SELECT lower(name) FROM pg_settings")} | {
            "plpgsql.variable_conflict",
            "plpgsql.extra_errors",
        }
        tried = 0
        for setting, values in SETTINGS.items():
            for value in values if setting.lower() in known else ():
                whose = f"DATABASE {db}" if setting == "standard_conforming_strings" else "ROLE owner_role"
                root.query(f"ALTER {whose} SET {setting} = {value if setting == 'search_path' else repr(value)}")
                with cluster.session(
                    db, "owner_role", **({"client_encoding": value} if setting == "client_encoding" else {})
                ) as session:
                    for name, expected in wanted.items():
                        got = run(session, name)
                        if setting in ("search_path", "quote_all_identifiers") and name in ("explain_access", "lint"):
                            # How the caller sees names is theirs.
                            got, expected = (len(got[0]), got[1]), (len(expected[0]), expected[1])
                        checks.equal(f"{setting} = {value}: {name}", got, expected)
                root.query(f"ALTER {whose} RESET {setting}")
                tried += 1
        checks.true(f"{tried} values were tried", tried >= 37)
        root.close()
    checks.done("stored settings change nothing")


main()
