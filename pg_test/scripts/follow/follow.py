#!/usr/bin/env python3
"""auth.follow: an issuer's keys are read in the table where the issuer keeps them. Which tables and
whom it refuses; how soon a change counts, with triggers and without; what becomes of a table that
others alter, lock, drop or re-create."""

import json
import time
import uuid

from lib import tokens
from lib.database import AUDIENCE, FOLLOW, ISSUER, WHO, Database
from lib.pg import SharedCluster, run

STATE = f"SELECT DISTINCT state FROM auth.key_status WHERE issuer = '{tokens.ISSUER}'"
REMARK = f"SELECT DISTINCT detail FROM auth.key_status WHERE issuer = '{tokens.ISSUER}'"
TABLE = """CREATE TABLE public.jwks (id text PRIMARY KEY, "publicKey" text NOT NULL, "privateKey" text NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(), "expiresAt" timestamptz)"""


def token(sub="u1", **claims):
    return tokens.token(sub, aud=AUDIENCE, **claims)


def insert(table, kid, key=0, columns='id, "publicKey", "privateKey"', private="'private'"):
    more = f", {private}" if private else ""
    return f"INSERT INTO {table} ({columns}) VALUES ('{kid}', '{tokens.public_part(key)}'{more})"


def database(cluster, name, follow=True):
    """With an issuer and, if wanted, a table that is followed."""
    followed = (TABLE, insert("jwks", "k0"), FOLLOW % "public.jwks") if follow else ()
    return Database(cluster, f"follow_{name}", ISSUER, *followed)


def detail(session, sql=WHO):
    caught = session.error(sql)
    return caught and caught.detail


def follows_what_issuers_make(checks, cluster):
    """The tables of Better Auth and its like, by column types and names."""
    db = database(cluster, "shapes", follow=False)
    key_id = str(uuid.uuid4())
    shapes = {
        "Kysely": ('id text PRIMARY KEY, "publicKey" text, "expiresAt" timestamptz', "a-b", None),
        "Drizzle": ("id text PRIMARY KEY, public_key text, expires_at timestamp", "a-b", None),
        "without expiry": ("id varchar(36) PRIMARY KEY, public_key varchar", "a-b", None),
        "uuid": ('id uuid PRIMARY KEY, "publicKey" text', key_id, None),
        "smallint": ("id smallint PRIMARY KEY, public_key text", "17", None),
        "integer": ("id integer PRIMARY KEY, public_key json", "17", None),
        "bigint": ("id bigint PRIMARY KEY, public_key jsonb", "9000000017", None),
        "named columns": (
            "key_name text, pub jsonb, id text, ends timestamp",
            "n1",
            {"kid": "key_name", "public_key": "pub", "expires_at": "ends"},
        ),
        "other collation": ('id text COLLATE "C" PRIMARY KEY, public_key text', "ü", None),
    }
    for name, (columns, kid, mapping) in shapes.items():
        for size in ("few rows", "an index"):
            db.owner.query(f"CREATE TABLE public.keys ({columns})")
            names = [column.split()[0] for column in columns.split(", ")][:2]
            db.owner.query(insert("keys", kid, columns=", ".join(names), private=None))
            if size == "an index" and "PRIMARY KEY" in columns:
                filler = {"uuid": "gen_random_uuid()", "smallint": "n + 100"}.get(
                    name, "n + 100" if name in ("integer", "bigint") else "n"
                )
                db.owner.query(
                    f"INSERT INTO keys ({', '.join(names)}) SELECT {filler}, '{{}}' FROM generate_series(1, 3000) n"
                )
            more = f", columns => '{json.dumps(mapping)}'" if mapping else ""
            follow = (FOLLOW % "public.keys")[:-1] + more + ")"
            checks.equal(f"{name}, {size}: followed", db.owner.value(follow), "1")
            checks.equal(f"{name}, {size}: again", db.owner.value(follow), "1")
            checks.equal(f"{name}, {size}: accepted", db.signed_in(header={"kid": kid}).value(WHO), "u1")
            checks.equal(f"{name}, {size}: other kid", db.signed_in(header={"kid": kid + "1"}).code(WHO), "28J03")
            checks.equal(
                f"{name}, {size}: capitals", db.signed_in(header={"kid": kid.upper() + " "}).code(WHO), "28J03"
            )
            checks.equal(f"{name}, {size}: other key", db.signed_in(header={"kid": kid}, key=1).code(WHO), "28J04")
            checks.equal(
                f"{name}, {size}: other audience", db.signed_in(header={"kid": kid}, aud="x").code(WHO), "28J08"
            )
            checks.equal(f"{name}, {size}: live", db.owner.value(STATE), "live")
            db.owner.query("DROP TABLE keys")


def times_and_revocation(checks, cluster):
    """Expiry plus grace; revoked_at without grace; a pinned alg."""
    db = database(cluster, "times", follow=False)
    db.owner.query(
        "CREATE TABLE public.keys (id text, public_key text, expires_at timestamp, revoked_at timestamptz, alg text);"
        + insert("keys", "k0", columns="id, public_key", private=None)
        + ";"
        "SET timezone = 'Pacific/Kiritimati'"
    )
    follow = (FOLLOW % "keys")[:-1] + ", grace => '1 hour')"
    db.owner.query(follow)
    session = db.signed_in()

    def key(change, code, what):
        db.owner.query(f"UPDATE keys SET expires_at = NULL, revoked_at = NULL, alg = NULL; UPDATE keys SET {change}")
        checks.equal(what, session.code(WHO), code)

    now = "(now() AT TIME ZONE 'UTC')"
    key(f"expires_at = {now} + interval '1 minute'", None, "not expired")
    key(f"expires_at = {now} - interval '59 minutes'", None, "expired, within grace")
    key(f"expires_at = {now} - interval '61 minutes'", "28J03", "expired, beyond grace")
    key("expires_at = 'infinity'", None, "never expires")
    key("expires_at = '-infinity'", "28J03", "always expired")
    key("revoked_at = now()", "28J03", "revoked")
    key("revoked_at = now() + interval '1 minute'", None, "to be revoked")
    key(f"expires_at = {now} + interval '1 year', revoked_at = now()", "28J03", "revoked before it expires")
    key("alg = 'HS256'", None, "pinned")
    key("alg = 'HS512'", "28J03", "pinned to another algorithm")
    db.owner.query("UPDATE keys SET alg = NULL")
    checks.equal(
        "grace: what is shown",
        db.owner.value(
            "UPDATE keys SET expires_at = '2040-01-01 00:00'; "
            "SELECT valid_until = '2040-01-01 01:00+00' FROM auth.key_status"
        ),
        "t",
    )
    for expiry, shown in (("-infinity", "-infinity"), ("infinity", "infinity"), ("294276-12-31 23:59:59", "infinity")):
        db.owner.query((FOLLOW % "keys")[:-1] + ", grace => '100000 years')")
        checks.equal(
            f"{expiry}, and a long grace",
            db.owner.value(f"UPDATE keys SET expires_at = '{expiry}'; SELECT valid_until FROM auth.key_status"),
            shown,
        )
    checks.equal("negative grace", db.owner.code((FOLLOW % "keys")[:-1] + ", grace => '-1 s')"), "22023")
    db.owner.query((FOLLOW % "keys")[:-1] + ", grace => '0')")
    key(f"expires_at = {now} - interval '1 second'", "28J03", "no grace")


def who_may_and_what(checks, cluster):
    db = database(cluster, "who", follow=False)
    owner, root = db.owner, db.root
    root.query(
        "CREATE ROLE app LOGIN; CREATE ROLE writer; CREATE ROLE manager LOGIN;"
        "CREATE SCHEMA app AUTHORIZATION app; GRANT USAGE ON SCHEMA app TO owner_role, manager"
    )
    app = db.session("app")
    table = "id text PRIMARY KEY, public_key text, private_key text"

    def refused(what, create, code, words, name="public.t", drop="DROP TABLE public.t", by=owner):
        owner.query(create)
        caught = by.error(FOLLOW % name)
        checks.equal(what, caught and caught.code, code)
        checks.true(f"{what}: says why", caught and words in caught.detail)
        checks.equal(f"{what}: nothing stored", owner.value("SELECT source FROM auth.issuers"), None)
        owner.query(drop)

    refused(
        "a view",
        "CREATE VIEW public.t AS SELECT 'a' AS id, '{}' AS public_key",
        "0A000",
        "ordinary",
        drop="DROP VIEW public.t",
    )
    refused("our own table", "SELECT", "0A000", "belongs to the extension", name="auth.jwks", drop="SELECT")
    refused(
        "a materialized view",
        "CREATE MATERIALIZED VIEW public.t AS SELECT text 'a' AS id, text '{}' AS public_key",
        "0A000",
        "ordinary",
        drop="DROP MATERIALIZED VIEW public.t",
    )
    refused(
        "a partitioned table",
        "CREATE TABLE public.t (id text, public_key text) PARTITION BY LIST (id)",
        "0A000",
        "ordinary",
    )
    refused("a temporary table", f"CREATE TEMP TABLE t ({table})", "0A000", "temporary", name="t", drop="DROP TABLE t")
    refused("an unlogged table", f"CREATE UNLOGGED TABLE public.t ({table})", "0A000", "unlogged")
    refused(
        "a parent",
        f"CREATE TABLE public.t ({table}); CREATE TABLE child () INHERITS (t)",
        "0A000",
        "inherit",
        drop="DROP TABLE public.t CASCADE",
    )
    refused(
        "a generated column",
        "CREATE TABLE public.t (id text, j text, public_key text GENERATED ALWAYS AS (j) STORED)",
        "0A000",
        "generated",
    )
    refused("no key column", "CREATE TABLE public.t (id text)", "42703", "publicKey")
    refused("two key columns", 'CREATE TABLE public.t (id text, "publicKey" text, public_key text)', "42702", "both")
    refused("a kid that is a date", "CREATE TABLE public.t (id date, public_key text)", "42804", "uuid")
    refused("a key that is bytes", "CREATE TABLE public.t (id text, public_key bytea)", "42804", "jsonb")
    refused(
        "an expiry in milliseconds",
        "CREATE TABLE public.t (id text, public_key text, expires_at bigint)",
        "42804",
        "timestamp",
    )
    refused("written by all", f"CREATE TABLE public.t ({table}); GRANT INSERT ON public.t TO PUBLIC", "42501", "PUBLIC")
    refused(
        "a column written by all",
        f"CREATE TABLE public.t ({table}); GRANT UPDATE (public_key) ON public.t TO PUBLIC",
        "42501",
        "PUBLIC",
    )
    refused(
        "triggers by all", f"CREATE TABLE public.t ({table}); GRANT TRIGGER ON public.t TO PUBLIC", "42501", "PUBLIC"
    )
    app.query(
        f"CREATE TABLE app.t ({table}); CREATE TABLE app.rls ({table}); ALTER TABLE app.rls ENABLE ROW LEVEL SECURITY;"
        "GRANT SELECT ON app.rls TO owner_role"
    )
    refused("no SELECT", "SELECT", "42501", "may not read", name="app.t", drop="SELECT")
    app.query("GRANT SELECT (id, public_key) ON app.t TO owner_role")
    refused("row security", "SELECT", "42501", "Row security", name="app.rls", drop="SELECT")
    root.query(
        "GRANT EXECUTE ON FUNCTION auth.follow(regclass, text, text[], interval, jsonb) TO manager;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON auth.issuers, auth.jwks TO manager"
    )
    refused(
        "a manager without SELECT",
        "SELECT",
        "42501",
        '"manager" may not read',
        name="app.t",
        drop="SELECT",
        by=db.session("manager"),
    )
    checks.equal("authenticated", db.session().code(FOLLOW % "app.t"), "42501")
    checks.equal("authenticated unfollows", db.session().code(f"SELECT auth.unfollow('{tokens.ISSUER}')"), "42501")
    checks.equal("authenticated looks", db.session().code("SELECT * FROM auth.key_status"), "42501")
    checks.equal("no audience", owner.code(f"SELECT auth.follow('app.t', '{tokens.ISSUER}')"), "22023")
    checks.equal("no issuer", owner.code("SELECT auth.follow('app.t', NULL, '{a}')"), "22004")
    checks.equal("no table", owner.code(f"SELECT auth.follow(999999, '{tokens.ISSUER}', '{{a}}')"), "42P01")
    for columns in ("[]", '{"kidd": "id"}', '{"kid": 1}'):
        checks.equal(f"columns {columns}", owner.code((FOLLOW % "app.t")[:-1] + f", columns => '{columns}')"), "22023")
    checks.equal(
        "a column that is not there",
        owner.code((FOLLOW % "app.t")[:-1] + """, columns => '{"expires_at": "ends"}')"""),
        "42703",
    )
    checks.equal("in a read-only transaction", owner.code(f"BEGIN READ ONLY; {FOLLOW % 'app.t'}"), "25006")
    owner.query("ROLLBACK")

    # By column rights alone, of another owner's table: polled, with the statements for its owner.
    app.query(
        "GRANT INSERT, DELETE ON app.t TO writer; GRANT UPDATE (public_key) ON app.t TO manager;"
        + insert("app.t", "k0", columns="id, public_key", private=None)
    )
    owner.notices()
    checks.equal("by column rights", owner.value(FOLLOW % "app.t"), "1")
    notices = {notice["S"]: notice for notice in owner.notices()}
    checks.true("other writers are named", "manager, writer" in notices.get("WARNING", {}).get("D", ""))
    checks.equal("polled", owner.value(STATE), "polled")
    hint = notices.get("NOTICE", {}).get("H", "")
    grant, statements = hint.partition("as the owner of the extension: ")[2].split(" then ", 1)
    owner.query(grant)
    app.query(statements.partition("run: ")[2])
    checks.equal("live, by the statements of the hint", owner.value(STATE), "live")
    checks.equal("accepted", db.signed_in().value(WHO), "u1")
    app.query("REVOKE SELECT ON app.t FROM owner_role; REVOKE SELECT (id, public_key) ON app.t FROM owner_role")
    session = db.signed_in()
    checks.equal("a right that was taken back", session.code(WHO), "28J03")
    checks.true("says so", "may not read" in detail(session))

    # A row that is written by hand opens nothing that auth.follow() would refuse, also where a
    # superuser has dropped the constraint that refuses it.
    written = (
        "{}",
        '{"kind":"table","schema":"app"}',
        '{"schema":"app","table":"t","owner":"app","grace":0,"columns":{}}',
        '{"kind":"table","schema":"app","table":"t","owner":"app","grace":-1,"columns":{}}',
        '{"kind":"table","schema":"app","table":"t","owner":"app","grace":0,"columns":{},"more":1}',
        "1",
        "[]",
        "null",
    )
    for source in written:
        checks.equal(f"{source} by hand", owner.code(f"UPDATE auth.issuers SET source = '{source}'"), "23514")
    db.root.query("ALTER TABLE auth.issuers DROP CONSTRAINT source_known")
    for source in written:
        owner.query(f"UPDATE auth.issuers SET source = '{source}'")
        checks.equal(source, session.code(WHO), "28J03")
        checks.true(f"{source}: says so", "auth.follow" in detail(session))


def one_source_only(checks, cluster):
    db = database(cluster, "one", follow=False)
    owner = db.owner
    owner.query(f"SELECT auth.init('{tokens.jwks(0, 1)}', '{tokens.ISSUER}', '{{{AUDIENCE}}}')")
    first = db.signed_in(key=1)
    checks.equal("before", first.value(WHO), "u1")
    owner.query(TABLE + ";" + insert("jwks", "k0"))
    owner.notices()
    checks.equal("follow", owner.value(f"SELECT auth.follow('jwks', '{tokens.ISSUER}')"), "1")
    checks.true("keys removed", any("removed 2 keys" in notice["M"] for notice in owner.notices()))
    checks.equal("its former keys are gone", first.code(WHO), "28J03")
    checks.equal("auth.init", owner.code(f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}')"), "55000")
    checks.equal(
        "INSERT",
        owner.code(f"INSERT INTO auth.jwks (issuer, jwk) VALUES ('{tokens.ISSUER}', '{json.dumps(tokens.jwk(1))}')"),
        "55000",
    )
    # Behind the trigger's back.
    db.root.query(
        "SET session_replication_role = replica; ALTER TABLE auth.jwks DISABLE TRIGGER admit_key;"
        "INSERT INTO auth.jwks (issuer, kid, jwk, thumbprint) VALUES "
        f"('{tokens.ISSUER}', 'k1', '{json.dumps(tokens.jwk(1))}', 'x'); "
        "ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER admit_key"
    )
    checks.equal("a row that is there all the same", first.code(WHO), "28J03")
    checks.equal(
        "unchanged, nothing is written",
        owner.value(
            f"BEGIN; DELETE FROM auth.jwks; SELECT auth.follow('jwks', '{tokens.ISSUER}'); COMMIT;"
            f"BEGIN; SELECT auth.follow('jwks', '{tokens.ISSUER}'); SELECT pg_current_xact_id_if_assigned()"
        ),
        None,
    )
    owner.query("ROLLBACK")

    second = db.signed_in()
    checks.equal("followed", second.value(WHO), "u1")
    checks.equal("unfollow", owner.value(f"SELECT auth.unfollow('{tokens.ISSUER}')"), "t")
    checks.equal("no key any more", second.code(WHO), "28J03")
    checks.equal(
        "no trigger any more", owner.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'jwks'::regclass"), "0"
    )
    checks.equal("unfollow again", owner.value(f"SELECT auth.unfollow('{tokens.ISSUER}')"), "f")
    checks.equal("auth.init", owner.value(f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}')"), "1")
    checks.equal("as before", second.value(WHO), "u1")

    # Two issuers in one table: the triggers stay for the other one.
    owner.query(FOLLOW % "jwks")
    owner.query("SELECT auth.follow('jwks', 'https://other.example', '{a}')")
    owner.query("SELECT auth.unfollow('https://other.example')")
    checks.equal("triggers stay", owner.value(STATE), "live")
    owner.query("CREATE TABLE moved (LIKE jwks INCLUDING ALL); " + insert("moved", "k0"))
    owner.query(FOLLOW % "moved")
    checks.equal("another table", second.value(WHO), "u1")
    checks.equal(
        "no trigger on the former", owner.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'jwks'::regclass"), "0"
    )


def changes_count_at_once(checks, cluster):
    """Live: at the next statement, also in open transactions, prepared plans and as a replication
    worker."""
    db = database(cluster, "live")
    owner = db.owner
    db.root.query(
        "CREATE TABLE things AS SELECT 'u1' AS owner; ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON things USING (owner = auth.user_id()); GRANT SELECT ON things TO authenticated"
    )
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        session, unknown = db.signed_in(), db.signed_in(key=1)
        session.query("PREPARE things AS SELECT owner FROM things")
        for _ in range(7):
            session.query("EXECUTE things")
        for s in (session, unknown):
            s.query(f"BEGIN ISOLATION LEVEL {level}; SELECT 1")
        checks.equal(f"{level}: known", session.value("EXECUTE things"), "u1")
        owner.query(insert("jwks", "k1", 1))
        checks.equal(f"{level}: a new key", unknown.value(WHO), "u1")
        owner.query("DELETE FROM jwks WHERE id = 'k0'")
        checks.equal(f"{level}: a deleted key", session.code("EXECUTE things"), "28J03")
        owner.query("TRUNCATE jwks")
        checks.equal(f"{level}: truncated", unknown.code(WHO), "28J03")
        owner.query(insert("jwks", "k0"))

    changes = {
        "DELETE": "DELETE FROM jwks",
        "TRUNCATE": "TRUNCATE jwks",
        "another kid": "UPDATE jwks SET id = 'x'",
        "another key": f"UPDATE jwks SET \"publicKey\" = '{tokens.public_part(2)}'",
        "expired": "UPDATE jwks SET \"expiresAt\" = '2020-01-01'",
    }
    for role in ("origin", "replica"):
        for what, change in changes.items():
            session = db.signed_in()
            checks.equal(f"{role}, {what}: before", session.value(WHO), "u1")
            db.root.query(f"SET session_replication_role = {role}; {change}")
            checks.equal(f"{role}, {what}: after", session.code(WHO), "28J04" if what == "another key" else "28J03")
            db.root.query("RESET session_replication_role; TRUNCATE jwks")
            owner.query(insert("jwks", "k0"))

    writer = db.session("owner_role")
    session = db.signed_in()
    writer.query("BEGIN; DELETE FROM jwks")
    checks.equal("not committed", session.value(WHO), "u1")
    writer.query("ROLLBACK")
    checks.equal("rolled back", session.value(WHO), "u1")

    # An odd row disturbs neither the issuer's write nor other keys.
    for kid, value in {
        "nothing": "",
        "no JSON": "x",
        "private": json.dumps({"kty": "OKP", "crv": "Ed25519", "x": "x", "d": "x"}),
        "long": "x" * 200_000,
    }.items():
        checks.equal(f"{kid}: written", owner.code(f"INSERT INTO jwks VALUES ('{kid}', '{value}', '')"), None)
        checks.equal(f"{kid}: no key", db.signed_in(header={"kid": kid}).code(WHO), "28J03")
        # A value that is too long to be read counts as absent.
        checks.equal(f"{kid}: says so", "cannot be used" in detail(db.signed_in(header={"kid": kid})), kid != "long")
    checks.equal("the others count", session.value(WHO), "u1")
    checks.equal(
        "odd rows are listed", owner.value("SELECT count(*) FROM auth.key_status WHERE detail IS NOT NULL"), "4"
    )
    owner.notices()
    checks.equal("follow says which", owner.value(FOLLOW % "jwks"), "1")
    checks.true("by name", any('"no JSON"' in notice.get("D", "") for notice in owner.notices()))
    # Two rows of one kid are ambiguous, for one type of keys.
    owner.query("ALTER TABLE jwks DROP CONSTRAINT jwks_pkey;" + insert("jwks", "k0", 1))
    checks.equal("two keys of a kid", session.code(WHO), "28J03")


def polled_within_a_second(checks, cluster):
    """A trigger is missing, demoted or disabled, or was never made."""
    ways = {
        "disabled": "ALTER TABLE jwks DISABLE TRIGGER ALL",
        "on origin only": "ALTER TABLE jwks ENABLE TRIGGER pg_auth_jwt_keys_changed",
        "truncation on origin only": "ALTER TABLE jwks ENABLE TRIGGER pg_auth_jwt_keys_truncated",
        "dropped": "DROP TRIGGER pg_auth_jwt_keys_changed ON jwks",
        "re-created table": f"ALTER TABLE jwks RENAME TO former; {TABLE.replace('PRIMARY KEY', '')}; "
        "INSERT INTO jwks SELECT * FROM former; DROP TABLE former",
    }
    db = database(cluster, "polled")
    for what, way in ways.items():
        session, unknown = db.signed_in(), db.signed_in(key=1)
        checks.equal(f"{what}: before", session.value(WHO), "u1")
        db.owner.query(way)
        checks.equal(f"{what}: polled", db.owner.value(STATE), "polled")
        checks.equal(f"{what}: good while the key is", session.value(WHO), "u1")
        checks.equal(f"{what}: unknown", unknown.code(WHO), "28J03")
        db.root.query(
            f"SET session_replication_role = replica; {insert('jwks', 'k1', 1)}; "
            "DELETE FROM jwks WHERE id = 'k0'; RESET ALL"
        )
        checks.equal(f"{what}: a new key at once", unknown.value(WHO), "u1")
        time.sleep(1.05)
        checks.equal(f"{what}: a deleted key after a second", session.code(WHO), "28J03")
        db.root.query("DELETE FROM jwks")
        time.sleep(1.05)
        checks.equal(f"{what}: unknown again", unknown.code(WHO), "28J03")
        db.owner.query(insert("jwks", "k0"))
        checks.equal(f"{what}: followed again", db.owner.value(FOLLOW % "jwks"), "1")
        checks.equal(f"{what}: live again", db.owner.value(STATE), "live")
        checks.equal(f"{what}: afterwards", session.value(WHO), "u1")
    lines = [line.partition("LOG:  ")[2] for line in cluster.log().splitlines() if "keys of issuer" in line]
    says = f'keys of issuer "{tokens.ISSUER}" in table public.jwks are '
    checks.equal(
        "the log says so",
        [state for state in ("polled", "live") if any(line.startswith(says + state) for line in lines)],
        ["polled", "live"],
    )


def what_migrations_do(checks, cluster):
    """The table is dropped, re-created, renamed, changed, given away: what is not as it was does
    not count."""
    db = database(cluster, "migrations")
    owner, root = db.owner, db.root
    session = db.signed_in()
    root.query("CREATE ROLE somebody; GRANT CREATE ON SCHEMA public TO somebody")
    restore = f"DROP TABLE IF EXISTS jwks CASCADE; {TABLE}; {insert('jwks', 'k0')}; {FOLLOW % 'jwks'}"

    def closed(what, change, words, by=root):
        checks.equal(f"{what}: before", session.value(WHO), "u1")
        by.query(change)
        checks.equal(f"{what}: closed", session.code(WHO), "28J03")
        checks.true(f"{what}: says why: {detail(session)}", words in detail(session))
        checks.equal(f"{what}: status", owner.value(STATE), "missing")
        checks.true(f"{what}: status says why", words in owner.value(REMARK))

    def open_again(what, change, by=root):
        by.query(change)
        checks.equal(f"{what}: open again", session.value(WHO), "u1")

    closed("dropped", "DROP TABLE jwks", "does not exist")
    open_again("re-created", f"{TABLE}; {insert('jwks', 'k0')}", by=owner)
    closed("renamed", "ALTER TABLE jwks RENAME TO keys", "does not exist")
    open_again("renamed back", "ALTER TABLE keys RENAME TO jwks")
    closed("moved", "CREATE SCHEMA elsewhere; ALTER TABLE jwks SET SCHEMA elsewhere", "does not exist")
    open_again("moved back", "ALTER TABLE elsewhere.jwks SET SCHEMA public")
    closed("given away", "ALTER TABLE jwks OWNER TO somebody", 'belongs to role "somebody"')
    open_again("given back", "ALTER TABLE jwks OWNER TO owner_role")
    closed(
        "re-created by another role",
        f"DROP TABLE jwks; SET ROLE somebody; {TABLE}; {insert('jwks', 'k0')}; RESET ROLE",
        'belongs to role "somebody"',
    )
    root.query(f"DROP TABLE jwks; SET ROLE owner_role; {restore}; RESET ROLE")
    closed(
        "a view in its place",
        "ALTER TABLE jwks RENAME TO keys; CREATE VIEW jwks AS SELECT * FROM keys; ALTER VIEW jwks OWNER TO owner_role",
        "not an ordinary table",
    )
    open_again("the table again", "DROP VIEW jwks; ALTER TABLE keys RENAME TO jwks")
    closed(
        "partitioned",
        (
            f"DROP TABLE jwks; {TABLE.replace('PRIMARY KEY', '')} PARTITION BY LIST (id); "
            "ALTER TABLE jwks OWNER TO owner_role"
        ),
        "not an ordinary table",
    )
    root.query(f"DROP TABLE jwks; SET ROLE owner_role; {restore}; RESET ROLE")
    closed("unlogged", "ALTER TABLE jwks SET UNLOGGED", "temporary or unlogged")
    open_again("logged", "ALTER TABLE jwks SET LOGGED")
    # Postgres remembers that there was a child until the next ANALYZE.
    for _ in range(2):
        closed("a child", "CREATE TABLE child () INHERITS (jwks)", "inherit")
        open_again("the child was dropped", "DROP TABLE child")
        checks.equal(
            "as it is followed", owner.code(f"SELECT auth.follow('jwks', '{tokens.ISSUER}', '{{{AUDIENCE}}}')"), None
        )
    checks.equal(
        "nobody has run ANALYZE", root.value("SELECT relhassubclass FROM pg_class WHERE oid = 'jwks'::regclass"), "t"
    )
    closed(
        "a child of two parents",
        "CREATE TABLE parent (other int); CREATE TABLE two () INHERITS (parent, jwks)",
        "inherit",
    )
    open_again("no longer its child", "ALTER TABLE two NO INHERIT jwks")
    closed("its child again", "ALTER TABLE two INHERIT jwks", "inherit")
    root.query("DROP TABLE two; DROP TABLE parent")
    root.query(f"SET ROLE owner_role; {restore}; RESET ROLE")
    closed("written by all", "GRANT INSERT ON jwks TO PUBLIC", "PUBLIC may write")
    open_again("no more", "REVOKE INSERT ON jwks FROM PUBLIC")
    closed("a column written by all", 'GRANT UPDATE ("publicKey") ON jwks TO PUBLIC', "PUBLIC may write")
    open_again("no more", 'REVOKE UPDATE ("publicKey") ON jwks FROM PUBLIC')
    closed("no column for the key", 'ALTER TABLE jwks RENAME "publicKey" TO pk', 'no column "publicKey"')
    open_again("renamed back", 'ALTER TABLE jwks RENAME pk TO "publicKey"')
    # The keys would never expire.
    closed("no column for the expiry", 'ALTER TABLE jwks DROP "expiresAt"', 'no column "expiresAt"')
    open_again("another type that will do", 'ALTER TABLE jwks ADD "expiresAt" timestamp')
    closed("a type that will not", 'ALTER TABLE jwks ALTER "expiresAt" TYPE text', "is not of type")
    open_again(
        "of the right type", 'ALTER TABLE jwks ALTER "expiresAt" TYPE timestamptz USING "expiresAt"::timestamptz'
    )
    closed(
        "a generated column",
        """ALTER TABLE jwks DROP "expiresAt"; ALTER TABLE jwks ADD "expiresAt" timestamptz
           GENERATED ALWAYS AS ('infinity'::timestamptz) STORED""",
        "generated",
    )
    root.query(f"SET ROLE owner_role; {restore}; RESET ROLE")
    # A column that comes later, and makes the rules stricter, is obeyed.
    owner.query("ALTER TABLE jwks ADD revoked_at timestamptz; UPDATE jwks SET revoked_at = now()")
    checks.equal("a column that comes later", session.code(WHO), "28J03")
    owner.query("ALTER TABLE jwks DROP revoked_at")
    checks.equal("and goes", session.value(WHO), "u1")
    for harmless in (
        "ALTER TABLE jwks ADD note text DEFAULT 'x'",
        'ALTER TABLE jwks DROP "createdAt"',
        "VACUUM FULL jwks",
        "CLUSTER jwks USING jwks_pkey",
        "REINDEX TABLE jwks",
        "ANALYZE jwks",
        'ALTER TABLE jwks ALTER "publicKey" TYPE jsonb USING "publicKey"::jsonb',
        "ALTER TABLE jwks ENABLE ROW LEVEL SECURITY",
    ):
        owner.query(harmless)
        checks.equal(harmless, session.value(WHO), "u1")
    # Its owner is the same role by any name, and another role of the former name is not.
    root.query("ALTER ROLE owner_role RENAME TO renamed_role")
    checks.equal("its owner renamed", [session.value(WHO), db.signed_in().value(WHO)], ["u1", "u1"])
    checks.equal("it stays live", root.value(STATE), "live")
    root.query("CREATE ROLE owner_role; GRANT SELECT ON jwks TO renamed_role; ALTER TABLE jwks OWNER TO owner_role")
    checks.equal("another role of the former name", [session.code(WHO), db.signed_in().code(WHO)], ["28J03", "28J03"])
    checks.true(
        f"which is said, with the cure: {detail(session)}",
        all(part in detail(session) for part in ("another role of that name", "auth.follow()")),
    )
    root.query(
        "ALTER TABLE jwks OWNER TO renamed_role; DROP OWNED BY owner_role; "
        "DROP ROLE owner_role; ALTER ROLE renamed_role RENAME TO owner_role"
    )
    checks.equal("and back", db.signed_in().value(WHO), "u1")
    # The number of a role of another server means nothing here: where a dump was restored, the
    # name counts.
    here = owner.value("SELECT source ->> 'owner_id' FROM auth.issuers")
    checks.equal(
        "the number",
        here,
        root.value("SELECT system_identifier || '/' || 'owner_role'::regrole::oid FROM pg_control_system()"),
    )
    someone = root.value("SELECT oid FROM pg_roles WHERE rolname = 'authenticated'")
    for elsewhere in (f"1/{someone}", "1/0", "x", "", here.partition("/")[0] + "/4294967295", here + "x"):
        owner.query(f"UPDATE auth.issuers SET source = jsonb_set(source, '{{owner_id}}', '\"{elsewhere}\"')")
        checks.equal(f"{elsewhere}: by name", session.value(WHO), "u1")
        owner.query("UPDATE auth.issuers SET source = jsonb_set(source, '{owner}', '\"authenticated\"')")
        checks.equal(f"{elsewhere}: of another name", session.code(WHO), "28J03")
        owner.query("UPDATE auth.issuers SET source = jsonb_set(source, '{owner}', '\"owner_role\"')")
    owner.query("UPDATE auth.issuers SET source = source - 'owner_id'")
    checks.equal("without a number", session.value(WHO), "u1")
    lines = [line for line in cluster.log().splitlines() if "keys of issuer" in line and "belongs to role" in line]
    checks.true("the log says so", lines)


def locks_stall_no_login(checks, cluster):
    """ACCESS EXCLUSIVE, as of a migration: known keys go on, unknown ones are refused after a
    second."""
    db = database(cluster, "locks")
    session, locker = db.signed_in(), db.session("owner_role")
    checks.equal("before", session.value(WHO), "u1")
    for lock in ("LOCK jwks", "ALTER TABLE jwks ADD note text", "TRUNCATE jwks"):
        locker.query(f"BEGIN; {lock}")
        session.query("SET statement_timeout = '900ms'")
        for n in (2, 3, 1):
            session.query(f"SELECT auth.jwt_session_init('{token(f'u{n}')}')")
            checks.equal(f"{lock}: a known key", session.value(WHO), f"u{n}")
        # Something else makes the known keys doubtful.
        db.root.query("UPDATE auth.issuers SET leeway = '0 s'")
        checks.equal(f"{lock}: doubtful", session.value(WHO), "u1")
        new = db.session("owner_role")
        start = time.monotonic()
        checks.equal(f"{lock}: a new connection", new.code(f"SELECT auth.verify('{token()}')"), "28J03")
        checks.true(f"{lock}: did not wait for long", time.monotonic() - start < 5)
        checks.true(f"{lock}: says why", "is locked" in detail(new, f"SELECT auth.verify('{token()}')"))
        checks.equal(
            f"{lock}: cancelled", new.code(f"SET statement_timeout = '100ms'; SELECT auth.verify('{token()}')"), "57014"
        )
        locker.query("ROLLBACK")
        checks.equal(
            f"{lock}: afterwards",
            new.value(f"RESET statement_timeout; SELECT auth.verify('{token()}') ->> 'sub'"),
            "u1",
        )
    # A key that is withdrawn by who holds the lock.
    locker.query("BEGIN; LOCK jwks; DELETE FROM jwks")
    checks.equal("known, until it is committed", session.value(WHO), "u1")
    locker.query("COMMIT")
    checks.equal("withdrawn", session.code(WHO), "28J03")
    # A key that was withdrawn right before the lock.
    session.query("RESET statement_timeout")
    db.owner.query(insert("jwks", "k0"))
    for withdrawal in ("DELETE FROM jwks", "TRUNCATE jwks", "UPDATE jwks SET \"expiresAt\" = '2020-01-01'"):
        checks.equal(f"{withdrawal}: before", session.value(WHO), "u1")
        db.owner.query(withdrawal)
        locker.query("BEGIN; LOCK jwks")
        checks.equal(f"{withdrawal}: refused under a lock that came after it", session.code(WHO), "28J03")
        locker.query("ROLLBACK")
        db.owner.query("DELETE FROM jwks; " + insert("jwks", "k0"))
    db.owner.query("DELETE FROM jwks")
    # Short locks are waited for.
    db.owner.query(insert("jwks", "k0"))
    locker.query("BEGIN; LOCK jwks")
    new = db.session("owner_role")
    new.begin_query(f"SELECT auth.verify('{token()}') ->> 'sub'")
    time.sleep(0.2)
    locker.query("COMMIT")
    checks.equal("a short lock", new.receive(), [["u1"]])


def extension_goes(checks, cluster):
    """DROP EXTENSION takes the triggers along, without CASCADE; the table works on."""
    db = database(cluster, "drop")
    session = db.signed_in()
    checks.equal("before", session.value(WHO), "u1")
    db.owner.query("DROP EXTENSION pg_auth_jwt")
    checks.equal("no trigger", db.owner.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'jwks'::regclass"), "0")
    checks.equal("the table works", db.owner.code(insert("jwks", "k9")), None)
    db.owner.query(f"CREATE EXTENSION pg_auth_jwt; {ISSUER}; {FOLLOW % 'jwks'}")
    checks.equal("created again", session.value(WHO), "u1")
    db.owner.query("DROP TABLE jwks; DROP EXTENSION pg_auth_jwt")


run(
    "keys are followed in the issuer's table",
    (
        follows_what_issuers_make,
        times_and_revocation,
        who_may_and_what,
        one_source_only,
        changes_count_at_once,
        polled_within_a_second,
        what_migrations_do,
        locks_stall_no_login,
        extension_goes,
    ),
    SharedCluster(),
)
