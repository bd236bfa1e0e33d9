#!/usr/bin/env python3
"""An error of Postgres that passes through a function of the extension reaches the client as
Postgres raised it, with all its fields, and neither client nor log get stack frames of Rust, also
where the server was started with RUST_BACKTRACE."""

from lib import tokens
from lib.pg import Checks, Cluster

# The protocol's fields for the error's source file, line and routine, its context and its position.
WHERE = "FLRWP"

SETUP = """
CREATE DOMAIN short AS text CONSTRAINT at_most_three CHECK (length(VALUE) <= 3);
CREATE TABLE mode (name text);
INSERT INTO mode VALUES ('none');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$ BEGIN
    BEGIN
        RAISE 'an error that is caught' USING ERRCODE = 'ZZ999', CONSTRAINT = 'not this one';
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    CASE (SELECT name FROM public.mode)
    WHEN 'all fields' THEN
        RAISE 'raised by a trigger' USING ERRCODE = 'ZZ123', DETAIL = 'a detail', HINT = 'a hint', COLUMN = 'a column',
            CONSTRAINT = 'a constraint', DATATYPE = 'a type', TABLE = 'a table', SCHEMA = 'a schema';
    WHEN 'domain' THEN
        PERFORM 'four'::public.short;
    WHEN 'internal query' THEN
        EXECUTE 'SELECT no_such_column';
    WHEN 'unique' THEN
        INSERT INTO public.numbers VALUES (1);
    WHEN 'not null' THEN
        INSERT INTO public.numbers VALUES (NULL);
    WHEN 'no message' THEN
        RAISE USING ERRCODE = 'ZZ124', MESSAGE = '';
    ELSE
        NULL;
    END CASE;
    RETURN NEW;
END $$;
CREATE TABLE numbers (n int NOT NULL CONSTRAINT numbers_are_unique UNIQUE);
INSERT INTO numbers VALUES (1);
CREATE TRIGGER refuse BEFORE INSERT ON auth.jwks FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE FUNCTION caught(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE name text; of_table text;
BEGIN EXECUTE sql;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME, of_table = TABLE_NAME;
    RETURN concat_ws('|', SQLSTATE, SQLERRM, name, of_table);
END $$;
"""

INIT = f"SELECT auth.init('{tokens.jwks(1)}', '{tokens.ISSUER}')"
INSERT = "INSERT INTO auth.jwks (issuer, jwk) VALUES ('%s', '%s')" % (tokens.ISSUER, tokens.jwks(1)[10:-2])


def error(session, sql):
    """The fields of its error."""
    caught = session.error(sql)
    session.query("ROLLBACK")
    return caught and caught.fields


def without_place(fields):
    return {name: value for name, value in (fields or {}).items() if name not in WHERE}


def same_as_without_extension(checks, admin):
    """The same statement, run by itself, shows the fields to keep."""
    for mode, code in {
        "all fields": "ZZ123",
        "domain": "23514",
        "internal query": "42703",
        "unique": "23505",
        "not null": "23502",
        "no message": "ZZ124",
    }.items():
        admin.query(f"UPDATE mode SET name = '{mode}'")
        direct, passed = error(admin, INSERT), error(admin, INIT)
        checks.equal(f"{mode}: code", direct and direct["C"], code)
        checks.equal(f"{mode}: fields", without_place(passed), without_place(direct))
        context = passed["W"]
        checks.true(f"{mode}: context {context}", context.startswith(direct["W"]))
        checks.equal(f"{mode}: context, once", context.count("PL/pgSQL function"), 1)
        checks.equal(f"{mode}: context of the caller", context.count('SQL statement "INSERT INTO auth.jwks'), 1)

        # Through another function, and caught there.
        outer = error(admin, f"DO $$ BEGIN PERFORM 1; {INIT.replace('SELECT', 'PERFORM')}; END $$")
        checks.equal(f"{mode}: in DO", without_place(outer), without_place(direct))
        checks.true(f"{mode}: in DO, context", outer["W"].startswith(context) and "inline_code_block" in outer["W"])
        got = admin.value("SELECT caught(%s)" % "$1", INIT)
        checks.equal(f"{mode}: caught", got, f"{code}|{direct['M']}|{direct.get('n', '')}|{direct.get('t', '')}")
    admin.query("UPDATE mode SET name = 'none'")


def errors_of_postgres(checks, cluster, db, admin):
    admin.query("ALTER TABLE auth.issuers ADD CONSTRAINT no_b CHECK (issuer <> 'b')")
    fields = error(admin, INIT.replace(tokens.ISSUER, "b").replace("HS256", "EdDSA").replace("oct", "OKP"))
    checks.equal("key set without a usable key", fields["C"], "22023")
    key = '{"kty": "OKP", "crv": "Ed25519", "x": "bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI", "kid": "b"}'
    fields = error(admin, f"SELECT auth.init('{key}', 'b')")
    checks.equal("check", [fields.get(name) for name in "Csdtn"], ["23514", "auth", None, "issuers", "no_b"])
    checks.true("check: the row", fields["D"].startswith("Failing row contains (b, "))

    checks.equal("read-only", error(admin, "BEGIN READ ONLY;" + INIT)["C"], "25006")
    admin.query(
        "GRANT USAGE ON SCHEMA auth TO authenticated; "
        "GRANT EXECUTE ON FUNCTION auth.init(jsonb, text, text[]), auth.inspect(text) TO authenticated"
    )
    user = cluster.session(db, options="-c statement_timeout=300 -c search_path=auth")
    checks.equal("no right", error(user, INIT)["C"], "42501")
    checks.equal("no set", error(user, "SELECT 1 WHERE (auth.inspect('x')) IS NULL")["C"], "0A000")

    # Time-outs while waiting for a lock, in each kind of function.
    admin.query("BEGIN; LOCK TABLE auth.jwks IN ACCESS EXCLUSIVE MODE")
    owner = cluster.session(db, "postgres", options="-c statement_timeout=300")
    waits = {
        "auth.init": (owner, INIT),
        "auth.inspect": (user, f"SELECT * FROM auth.inspect('{tokens.token('u1')}')"),
        "auth.jwt_session_init": (user, f"SELECT auth.jwt_session_init('{tokens.token('u1')}')"),
        "auth.user_id": (user, f"SET pg_auth_jwt.token = '{tokens.token('u1')}'; SELECT auth.user_id()"),
        "the trigger": (owner, "INSERT INTO auth.issuers VALUES ('c'); UPDATE auth.jwks SET expires_at = NULL"),
    }
    for what, (session, sql) in waits.items():
        fields = error(session, sql)
        checks.equal(
            f"{what}: statement_timeout",
            [fields["C"], fields.get("D"), fields["M"]],
            ["57014", None, "canceling statement due to statement timeout"],
        )
        fields = error(session, f"BEGIN; SET LOCAL lock_timeout = 50; {sql}")
        checks.equal(
            f"{what}: lock_timeout",
            [fields["C"], fields.get("D"), fields["M"]],
            ["55P03", None, "canceling statement due to lock timeout"],
        )
    admin.query("ROLLBACK")
    checks.equal(
        "afterwards", user.value(f"SELECT auth.jwt_session_init('{tokens.token('u1')}'); SELECT auth.user_id()"), "u1"
    )


checks = Checks()
for backtrace in ["1", "full"]:
    with Cluster("passing_errors", log_error_verbosity="verbose") as cluster:
        # scripts/cluster removes the variable.
        cluster.environ = {**cluster.environ, "RUST_BACKTRACE": backtrace}
        cluster.control("restart")
        db = cluster.create_db("test")
        admin = cluster.session(db, "postgres")
        with open(f"{cluster.dir}/data/postmaster.pid") as file:
            server = file.readline().strip()
        with open(f"/proc/{server}/environ") as file:
            checks.true("the server has the variable", f"RUST_BACKTRACE={backtrace}\0" in file.read())
        admin.query(tokens.setup(0) + SETUP)
        checks.run((same_as_without_extension,), checks, admin)
        checks.run((errors_of_postgres,), checks, cluster, db, admin)
        log = cluster.log()
        for frame in ["pgrx", "std::panicking", "rust_begin_unwind", "__libc_start_main", "Panic at"]:
            checks.equal(f"{frame} in the log", log.count(frame), 0)
checks.done("Postgres's errors pass as they were raised, without a backtrace")
