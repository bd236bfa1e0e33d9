#!/usr/bin/env python3
"""docs/from_supabase_postgrest.md: a database with Supabase's auth functions is moved, Supabase's
policies answer by its tokens, and the statements of PostgREST for a request verify the token by the
page's function. PostgREST and Supabase themselves are not run: no registry of ours has them."""

import json
import os
import subprocess
import tempfile
import time

from lib import clients, tokens
from lib.pg import Checks, Cluster, PgError, has_library, shell
from lib.signer import Signer

PAGE = "docs/from_supabase_postgrest.md"
ISSUER = "https://abcdefghijklmnopqrst.supabase.co/auth/v1"
# Supabase generates such secrets: text, whose bytes are the key.
SECRET = "super-secret-jwt-token-with-at-least-32-characters-long+/=="
ALICE = "123e4567-e89b-12d3-a456-426614174000"
BOB = "7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22"

# As supabase/postgres declares them, in short.
SUPABASE = """
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS
    $$SELECT coalesce(nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), ''))::jsonb$$;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
    $$SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                      nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$SELECT auth.jwt() ->> 'role'$$;
CREATE FUNCTION auth.email() RETURNS text LANGUAGE sql STABLE AS $$SELECT auth.jwt() ->> 'email'$$;
GRANT USAGE ON SCHEMA auth TO PUBLIC;
"""
TABLES = f"""
INSERT INTO auth.users VALUES ('{ALICE}'), ('{BOB}');
CREATE TABLE todos (user_id uuid DEFAULT auth.uid() REFERENCES auth.users, title text);
CREATE TABLE profiles (user_id uuid REFERENCES auth.users ON DELETE CASCADE, name text);
CREATE TABLE my_table (team_id text, name text);
CREATE TABLE news_feed (body text);
CREATE TABLE secrets (body text);
CREATE TABLE factors (id uuid, user_id uuid, status text);
CREATE TABLE organization_settings (organization_id text, name text);
CREATE TABLE objects (bucket_id text, name text);
CREATE TABLE news (body text);
CREATE TABLE invitations (email text, body text);
CREATE FUNCTION foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE
    AS $$SELECT (string_to_array(name, '/'))[:array_length(string_to_array(name, '/'), 1) - 1]$$;
INSERT INTO todos VALUES ('{ALICE}', 'of alice'), ('{BOB}', 'of bob');
INSERT INTO profiles VALUES ('{ALICE}', 'Alice'), ('{BOB}', 'Bob');
INSERT INTO my_table VALUES ('red', 'of red'), ('blue', 'of blue'), ('green', 'of green');
INSERT INTO news_feed VALUES ('first'); INSERT INTO secrets VALUES ('secret'); INSERT INTO news VALUES ('new');
INSERT INTO factors VALUES (gen_random_uuid(), '{BOB}', 'verified');
INSERT INTO organization_settings VALUES ('sso-1', 'of sso-1'), ('sso-2', 'of sso-2');
INSERT INTO objects VALUES ('avatars', '{ALICE}/a.png'), ('avatars', '{BOB}/b.png'), ('other', '{ALICE}/c.png');
INSERT INTO invitations VALUES ('user@example.com', 'to alice'), ('bob@example.com', 'to bob');
DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname <> 'factors' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO anon, authenticated;
"""
# The project beside that: a schema of its own, an extension, services, and what reads them.
REST = """
CREATE SCHEMA extensions; CREATE SCHEMA storage; CREATE SCHEMA realtime; CREATE SCHEMA app;
CREATE TABLE storage.objects (bucket_id text, name text);
CREATE TABLE realtime.messages (topic text);
CREATE TABLE auth.mfa_factors (id uuid PRIMARY KEY, user_id uuid REFERENCES auth.users);
CREATE FUNCTION storage.track() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER track BEFORE INSERT ON storage.objects FOR EACH ROW EXECUTE FUNCTION storage.track();
CREATE FUNCTION public.new_user() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.profiles VALUES (new.id, $$new$$); RETURN new; END';
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.new_user();
CREATE POLICY avatars ON storage.objects TO authenticated USING (bucket_id = 'avatars' AND auth.uid() IS NOT NULL);
CREATE POLICY topics ON realtime.messages TO authenticated USING (true);
CREATE FUNCTION app.count_users() RETURNS bigint LANGUAGE sql AS
    'SELECT count(*) FROM auth.users WHERE auth.uid() = id';
CREATE FUNCTION app.own_id() RETURNS uuid LANGUAGE sql AS 'SELECT auth.uid()';
CREATE VIEW app.members AS SELECT id FROM auth.users;
CREATE TABLE app.orders (id text PRIMARY KEY DEFAULT DEFAULT_ID, user_id uuid REFERENCES auth.users, item text);
INSERT INTO app.orders (item) VALUES ('book');
GRANT USAGE ON SCHEMA app TO authenticated; GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
CREATE PUBLICATION supabase_realtime FOR TABLE todos;
CREATE FUNCTION extensions.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
"""
# A superuser's.
EVENT_TRIGGER = "CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.watch()"
BEFORE = [
    ["function", "app.count_users() reads auth.users"],
    ["policy", "avatars on storage.objects"],
    ["policy", "topics on realtime.messages"],
    ["trigger", "on_auth_user_created on auth.users calls new_user"],
    ["view", "app.members reads auth.users"],
]
POLICIES = """SELECT tablename, policyname, permissive, roles, cmd, qual, with_check
                FROM pg_policies WHERE schemaname = 'public' ORDER BY 1, 2"""


def claims(sub=ALICE, **changes):
    """Those of the "Authenticated user token" of Supabase's JWT Claims Reference."""
    now = int(time.time())
    return {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "app_metadata": {"provider": "email", "providers": ["email"], "teams": ["red", "blue"]},
        "aud": "authenticated",
        "email": "user@example.com" if sub == ALICE else "bob@example.com",
        "exp": now + 3600,
        "iat": now,
        "iss": ISSUER,
        "phone": "",
        "role": "authenticated",
        "session_id": "123e4567-e89b-12d3-a456-426614174001",
        "sub": sub,
        "user_metadata": {"name": "John Doe"},
        "is_anonymous": False,
        **changes,
    }


def legacy(payload):
    """Signed with the legacy secret; `kid` absent, as in older projects."""
    return tokens.signed({"alg": "HS256", "typ": "JWT"}, payload, tokens.Secret(SECRET.encode()))


def anon_key(role="anon"):
    return legacy(
        {"iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": role, "iat": 1640991600, "exp": 4102444800}
    )


class PostgREST:
    """Sends what PostgREST sends for a request, on a connection as its `authenticator`: the
    settings in one statement (its src/PostgREST/Query/PreQuery.hs), the pre-request function, the
    query. It verifies nothing, so its role and claims are what the caller says, and only the
    database decides."""

    def __init__(self, cluster, db, pre_request='SELECT "public"."verify_token"()'):
        self.s, self.pre_request = cluster.session(db, "authenticator"), pre_request

    def request(self, query, token=None, role=None, made_up=None, scheme="Bearer", method="GET", end="COMMIT"):
        """The rows, or the SQLSTATE. `end`: ROLLBACK is PostgREST's with Prefer: tx=rollback."""
        headers = {
            "accept": "*/*",
            "host": "localhost:3000",
            "user-agent": "curl/7.88.1",
            "x-client-info": "supabase-js-node/2.45.0",
        }
        if token is not None:
            headers["authorization"] = f"{scheme} {token}"
        role = role or ("authenticated" if token else "anon")
        s = self.s
        s.query(f"BEGIN ISOLATION LEVEL READ COMMITTED {'READ ONLY' if method == 'GET' else 'READ WRITE'}")
        try:
            s.execute(
                "SELECT set_config('search_path', $1, true), set_config('role', "
                "$2, true), set_config('request.jwt.claims', $3, true),"
                " set_config('request.method', $4, true), set_config('request.path', $5, true),"
                " set_config('request.headers', $6, true), set_config('request.cookies', $7, true)",
                '"public"',
                role,
                json.dumps(made_up or {"role": role}),
                method,
                "/todos",
                json.dumps(headers),
                "{}",
            )
            s.execute(self.pre_request)
            return s.execute(query)
        except PgError as error:
            self.error = error
            return error.code
        finally:
            s.query(end)


def move(checks, cluster):
    """The page's shell script, on a database as Supabase has it."""
    root = cluster.session("postgres", "postgres")
    root.query(
        "CREATE ROLE anon; CREATE ROLE service_role BYPASSRLS; CREATE ROLE authenticator NOINHERIT LOGIN;"
        "GRANT anon, authenticated, service_role TO authenticator; ALTER ROLE owner_role CREATEDB"
    )
    cluster.client("createdb", "-O", "owner_role", "supabase")
    cluster.session("supabase", "owner_role").query(SUPABASE + TABLES + clients.block("policies", PAGE))
    old = cluster.session("supabase", "owner_role").query(POLICIES)
    contrib = has_library("pgcrypto")
    if not contrib:
        checks.skip("an extension of the project: Postgres has no pgcrypto here")
    project = cluster.session("supabase", "owner_role")
    rest = REST.replace("DEFAULT_ID", "extensions.gen_random_bytes(8)::text" if contrib else "'1'")
    if contrib:
        rest = rest.replace(
            "CREATE SCHEMA storage", "CREATE EXTENSION pgcrypto SCHEMA extensions; CREATE SCHEMA storage"
        )
    project.query(rest)
    cluster.session("supabase", "postgres").query(EVENT_TRIGGER)
    checks.equal("what cannot come along", project.query(clients.block("before", PAGE)), BEFORE)
    environ = {
        **os.environ,
        "PGHOST": cluster.dir,
        "PGUSER": "owner_role",
        "JWT_SECRET": SECRET,
        "PATH": f"{shell('echo $PG_BIN')}:{os.environ['PATH']}",
    }
    with tempfile.TemporaryDirectory() as folder:
        # In place of psql, to see what other users of the machine see.
        os.mkdir(f"{folder}/bin")
        with open(f"{folder}/bin/psql", "w") as wrapper:
            wrapper.write(f'#!/bin/sh\necho "$@" >>"{folder}/arguments"\nexec "{shell("echo $PG_BIN")}/psql" "$@"\n')
        os.chmod(f"{folder}/bin/psql", 0o755)
        environ["PATH"] = f"{folder}/bin:{environ['PATH']}"

        def script(what, **more):
            return subprocess.run(
                ["bash", "-c", clients.block(what, PAGE)],
                check=False,
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environ, **more},
            )

        stopped = script("move")
        checks.equal("a view stops the script", stopped.returncode, 1)
        checks.true("which names it", "CREATE VIEW app.members" in stopped.stdout)
        project.query("DROP VIEW app.members")
        cluster.client("dropdb", "app")
        os.remove(f"{folder}/arguments")
        for what, more in {"move": {}, "legacy_secret": {"PGDATABASE": "app"}}.items():
            run = script(what, **more)
            checks.equal(f"{what}: exit code", run.returncode, 0)
            checks.true(f"{what}: messages", "ERROR" not in run.stdout or print(run.stdout))
        with open(f"{folder}/arguments") as file:
            arguments = file.read()
        checks.equal("psql was run by both scripts", arguments.count("ON_ERROR_STOP"), 3)
        checks.true(
            "the secret in psql's arguments",
            not any(text in arguments for text in (SECRET, tokens.base64url(SECRET.encode()), "oct")),
        )
    owner = cluster.session("app", "owner_role")
    checks.equal("the policies, unchanged", owner.query(POLICIES), old)
    checks.equal(
        "foreign keys to auth.users",
        owner.query("SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"),
        [],
    )
    checks.equal("left over", owner.query(clients.block("left_over", PAGE)), [])
    found = "SELECT DISTINCT code FROM auth.lint() WHERE object ~ '^issuer' AND level = 'warning' ORDER BY 1"
    checks.equal("the issuers", owner.query(found), [["audience_not_checked"], ["shared_secret"]])
    owner.query(clients.block("lint_ignore", PAGE))
    checks.equal("the issuers, which are meant", owner.query(found), [])
    checks.equal("a schema of its own", owner.query("SELECT item FROM app.orders"), [["book"]])
    if contrib:
        query = "INSERT INTO app.orders (item) VALUES ('pen') RETURNING length(id) > 8"
        checks.equal("a default of an extension", owner.query(query), [["t"]])
    checks.equal("a function of auth.uid()", owner.query("SELECT app.own_id()"), [[None]])
    checks.equal("a function that reads auth.users", owner.code("SELECT app.count_users()"), "42P01")
    found = "SELECT code FROM auth.lint() WHERE code = 'privilege_beyond_rls'"
    checks.true("the grants of Supabase are found", owner.query(found))
    owner.query(clients.block("revoke", PAGE))
    checks.equal("and taken back in one statement", owner.query(found), [])
    return owner


# By user: a query, and its rows under Supabase's policies.
ANSWERS = {
    "alice": {
        "SELECT title FROM todos": [["of alice"]],
        "SELECT name FROM profiles": [["Alice"]],
        "SELECT name FROM my_table ORDER BY 1": [["of blue"], ["of red"]],
        "SELECT body FROM news_feed": [["first"]],
        "SELECT body FROM secrets": [["secret"]],
        "SELECT name FROM organization_settings": [],
        "SELECT name FROM objects": [[f"{ALICE}/a.png"]],
        "SELECT body FROM news": [["new"]],
        "SELECT body FROM invitations": [["to alice"]],
        "INSERT INTO todos (title) VALUES ('x')": "42501",
        f"INSERT INTO profiles VALUES ('{ALICE}', 'again') RETURNING name": [["again"]],
        f"INSERT INTO profiles VALUES ('{BOB}', 'x')": "42501",
        "UPDATE profiles SET name = 'x' RETURNING name": [],
        "INSERT INTO news_feed VALUES ('x') RETURNING body": [["x"]],
        "SELECT auth.uid(), auth.role(), auth.email(), auth.jwt() ->> 'session_id'": [
            [ALICE, "authenticated", "user@example.com", "123e4567-e89b-12d3-a456-426614174001"]
        ],
    },
    "alice, aal2": {"UPDATE profiles SET name = 'Alice 2' RETURNING name": [["Alice 2"]]},
    "anonymous user": {
        "SELECT body FROM news_feed": [["first"]],
        "INSERT INTO news_feed VALUES ('x')": "42501",
    },
    # Bob has a second factor, and has not used it.
    "bob": {"SELECT body FROM secrets": [], "SELECT title FROM todos": [["of bob"]]},
    "bob, aal2": {"SELECT body FROM secrets": [["secret"]]},
    "by single sign-on": {"SELECT name FROM organization_settings": [["of sso-1"]]},
    "nobody": {
        "SELECT title FROM todos": [],
        "SELECT body FROM news": [],
        "SELECT body FROM invitations": [],
        "SELECT auth.uid(), auth.role(), auth.jwt()": [[None, None, None]],
    },
    "anon key": {
        "SELECT title FROM todos": [],
        "SELECT auth.uid(), auth.role()": [[None, "anon"]],
    },
}
USERS = {
    "alice": {},
    "alice, aal2": {"aal": "aal2"},
    "anonymous user": {"is_anonymous": True},
    "bob": {"sub": BOB},
    "bob, aal2": {"sub": BOB, "aal": "aal2"},
    "by single sign-on": {"amr": [{"method": "sso/saml", "provider": "sso-1", "timestamp": 1640991600}]},
}


def answers(checks, api, sign, how):
    for user, queries in ANSWERS.items():
        token = sign(claims(**USERS[user])) if user in USERS else anon_key() if user == "anon key" else None
        for query, wanted in queries.items():
            role = "authenticated" if user in USERS else "anon"
            if how == "read only" and not query.startswith("SELECT"):
                continue
            got = api.request(query, token, role, method="GET" if how == "read only" else "POST", end="ROLLBACK")
            checks.equal(f"{how}: {user}: {query}", got, wanted)


def as_in_supabase(checks, cluster):
    """The same answers by Supabase's functions, from the settings that PostgREST sets. The page
    names the one difference: without a token, the role there is anon."""
    api = PostgREST(cluster, "supabase", "SELECT 'none'")
    for user, queries in ANSWERS.items():
        for query, wanted in queries.items():
            if "auth.role()" in query and user == "nobody":
                query, wanted = "SELECT auth.uid(), auth.role()", [[None, "anon"]]
            got = api.request(
                query,
                role="authenticated" if user in USERS else "anon",
                method="POST",
                end="ROLLBACK",
                made_up=claims(**USERS[user]) if user in USERS else None,
            )
            checks.equal(f"in Supabase: {user}: {query}", got, wanted)


def refused(checks, api, owner, sign):
    """The claims that PostgREST says do not count, and a token that is not good is an error."""
    who = "SELECT auth.uid()"
    made_up = claims(BOB)
    checks.equal("claims without a token", api.request(who, role="authenticated", made_up=made_up), [[None]])
    checks.equal("other claims than the token's", api.request(who, sign(claims()), made_up=made_up), [[ALICE]])
    checks.equal(
        "set by a client's SQL",
        api.request(
            f"SELECT set_config('request.jwt.claims', '{json.dumps(made_up)}', true), auth.uid()", role="authenticated"
        )[0][1],
        None,
    )
    checks.equal("scheme in lower case", api.request(who, sign(claims()), scheme="bearer"), [[ALICE]])
    checks.equal("another scheme", api.request(who, "dXNlcjpwYXNz", role="anon", scheme="Basic"), [[None]])
    cases = {
        "28J05": sign(claims(exp=int(time.time()) - 100)),
        "28J04": sign(claims())[:-8] + "AAAAAAAA",
        "28J01": "x",
        "28J08": sign(claims(aud="anon")),
        "28J13": sign(claims(iss="https://other.supabase.co/auth/v1")),
        "28J02": tokens.encode({"alg": "none"}) + "." + sign(claims()).split(".")[1] + ".AAAA",
    }
    for code, token in cases.items():
        checks.equal(f"refused: {code}", api.request(who, token), code)
    checks.equal("afterwards", api.request(who), [[None]])
    owner.query(clients.block("pre_request_status", PAGE))
    for code, token in cases.items():
        checks.equal(f"status: {code}", api.request(who, token), "PT401")
        checks.equal(f"status: {code}: DETAIL", api.error.fields["D"], code)
        checks.true(f"status: {code}: no token", token not in str(api.error.fields) or len(token) < 9)
    checks.equal("status: good", api.request(who, sign(claims())), [[ALICE]])
    checks.equal(
        "status: set by the function for the whole transaction, and not beyond",
        (api.request("SELECT title FROM todos", sign(claims())), api.s.value(who)),
        ([["of alice"]], None),
    )


def without_postgrest(checks, cluster, sign):
    s = cluster.session("app", "authenticator")
    for statement in clients.block("request", PAGE).split(";\n"):
        sql = statement.split("--")[0].strip().rstrip(";")
        if "$1" in sql:
            s.execute(sql, sign(claims()))
        elif sql.startswith("SELECT"):
            checks.equal("without PostgREST", s.query(sql), [[ALICE, "of alice"]])
        else:
            s.query(sql.split("--")[0])
    checks.equal("without PostgREST: afterwards", s.value("SELECT auth.uid()"), None)


def main():
    checks = Checks()
    with Cluster("from_supabase") as cluster, Signer(checks) as signer:
        owner = move(checks, cluster)
        owner.query(clients.block("pre_request", PAGE))
        api = PostgREST(cluster, "app")
        answers(checks, api, legacy, "legacy secret")
        as_in_supabase(checks, cluster)
        checks.equal(
            "service key",
            api.request("SELECT auth.role(), auth.uid()", anon_key("service_role")),
            [["service_role", None]],
        )

        # The project changes to an asymmetric key: first both, then it alone.
        es = signer.make(
            "c1b7a3f0-6a86-4f0f-9a37-0a2ee2cbb5de", "ES256", alg="ES256", use="sig", key_ops=["verify"], ext=True
        )
        oct_key = {"kty": "oct", "alg": "HS256", "k": tokens.base64url(SECRET.encode())}

        def asymmetric(payload):
            return signer.sign(es["kid"], {"alg": "ES256", "kid": es["kid"], "typ": "JWT"}, payload)

        def load(*keys):
            jwks = json.dumps({"keys": keys})
            return owner.value(clients.block("jwks", PAGE).replace(":'jwks'", f"'{jwks}'"))

        owner.query(f"UPDATE auth.issuers SET algorithms = '{{ES256,HS256}}' WHERE issuer = '{ISSUER}'")
        checks.equal("both keys", load(es, oct_key), "2")
        who = "SELECT auth.uid()"
        checks.equal("both: the secret", api.request(who, legacy(claims())), [[ALICE]])
        answers(checks, api, asymmetric, "read only")
        checks.equal("the new key alone", load(es), "1")
        checks.equal("the secret no longer", api.request(who, legacy(claims())), "28J02")
        answers(checks, api, asymmetric, "asymmetric")
        made_up = legacy(claims(iss="supabase", aud="x"))
        checks.equal("the secret, by the other issuer", api.request(who, made_up), [[ALICE]])
        owner.query(clients.block("secret_ends", PAGE))
        checks.equal("the secret, by the other issuer, no longer", api.request(who, made_up), "28J13")
        checks.equal("its anon key", api.request(who, anon_key()), "28J13")
        refused(checks, api, owner, asymmetric)
        without_postgrest(checks, cluster, asymmetric)
    checks.done(
        "Supabase's policies, tokens and keys, and PostgREST's requests, as docs/from_supabase_postgrest.md has them"
    )


main()
