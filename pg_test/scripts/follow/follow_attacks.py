#!/usr/bin/env python3
"""Attacks on auth.follow: what a change that is rolled back, renamed around or hidden behind a lock
leaves in a session; rights that reach the table by another way than its own grants; rows that are
meant to exhaust the server."""

import json

from lib import tokens
from lib.database import AUDIENCE, FOLLOW, ISSUER, WHO, Database
from lib.pg import SharedCluster, run

STATUS = f"SELECT DISTINCT %s FROM auth.key_status WHERE issuer = '{tokens.ISSUER}'"
TABLE = "CREATE TABLE %s (id text PRIMARY KEY, public_key text NOT NULL, expires_at timestamptz)"


def token(sub="u1", **claims):
    return tokens.token(sub, aud=AUDIENCE, **claims)


def insert(key=0, table="jwks"):
    return f"INSERT INTO {table} (id, public_key) VALUES ('k{key}', '{json.dumps(tokens.jwk(key))}')"


def database(cluster, name):
    """With an issuer whose key k0 is followed in the table public.jwks."""
    return Database(cluster, f"attacks_{name}", ISSUER, TABLE % "public.jwks", insert(), FOLLOW % "public.jwks")


def rolled_back(checks, cluster):
    """A key that no other session ever saw: looked up before its trigger fires, then undone."""
    db = database(cluster, "rollback")
    session = db.signed_in("owner_role", key=1)
    session.query(
        "CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql AS 'BEGIN "
        f"RETURN auth.verify(''{token(key=1)}'') ->> ''sub''; END'"
    )
    key = insert(1)
    ways = {
        "the statement fails": f"{key} RETURNING who(), 1 / (length(id) - 2)",
        "the transaction is rolled back": f"BEGIN; {key} RETURNING who(); ROLLBACK",
        "the savepoint is rolled back": f"BEGIN; SAVEPOINT s; {key} RETURNING who(); ROLLBACK TO s; COMMIT",
        "the block catches it": (
            f"DO $$BEGIN {key}; PERFORM who(); RAISE 'undo'; EXCEPTION WHEN OTHERS THEN NULL; END$$"
        ),
        "another issuer's rule": "BEGIN; UPDATE auth.issuers SET source = NULL RETURNING who(); ROLLBACK",
    }
    for what, way in ways.items():
        session.error(way)
        session.query("ROLLBACK")
        checks.equal(f"{what}: the key is not trusted", session.code(WHO), "28J03")
    # And the other way round.
    good = db.signed_in("owner_role")
    good.error(f"DELETE FROM jwks RETURNING auth.verify('{token()}'), 1 / 0")
    checks.equal("a deletion that is rolled back", good.value(WHO), "u1")


def renamed_around(checks, cluster):
    """The table's name comes to mean another table, and nothing tells that of the table itself."""
    db = database(cluster, "renames")
    session = db.signed_in()
    checks.equal("before", session.value(WHO), "u1")
    db.root.query("ALTER SCHEMA public RENAME TO former")
    checks.equal("the schema was renamed", session.code(WHO), "28J03")
    db.root.query("ALTER SCHEMA former RENAME TO public")
    checks.equal("and back", session.value(WHO), "u1")
    db.root.query(
        f"BEGIN; CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO owner_role; SET LOCAL ROLE owner_role;"
        f"{TABLE % 'other.jwks'}; {insert(1, 'other.jwks')}; RESET ROLE;"
        "ALTER SCHEMA public RENAME TO former; ALTER SCHEMA other RENAME TO public; COMMIT"
    )
    checks.equal("the schemas were exchanged", session.code(WHO), "28J03")
    checks.equal("what is there now counts", db.signed_in(key=1).value(WHO), "u1")
    db.root.query("DROP SCHEMA public CASCADE; ALTER SCHEMA former RENAME TO public")
    checks.equal("and exchanged back", session.value(WHO), "u1")
    db.root.query("ALTER ROLE owner_role RENAME TO renamed_role")
    checks.equal("its owner was renamed, and is the same", session.value(WHO), "u1")
    db.root.query("ALTER ROLE renamed_role RENAME TO owner_role")
    checks.equal("and back", session.value(WHO), "u1")
    # The extension's owner reads by membership.
    db.root.query(
        "CREATE ROLE attacks_reader; CREATE ROLE attacks_keeper; "
        "ALTER TABLE jwks OWNER TO attacks_keeper; GRANT SELECT ON jwks TO attacks_reader;"
        "GRANT attacks_reader TO owner_role; " + FOLLOW % "public.jwks"
    )
    checks.equal("read by membership", session.value(WHO), "u1")
    db.root.query("REVOKE attacks_reader FROM owner_role")
    checks.equal("no member any more", session.code(WHO), "28J03")


def hidden_rows(checks, cluster):
    """Row security of the table applies to who would read it: nothing is read, nor shown."""
    db = database(cluster, "hidden")
    db.root.query(
        "CREATE ROLE attacks_app; CREATE SCHEMA app AUTHORIZATION attacks_app; "
        "GRANT USAGE ON SCHEMA app TO owner_role; SET ROLE attacks_app;"
        "CREATE TABLE app.notes (word text, note text); INSERT INTO app.notes VALUES ('secret', 'x');"
        "ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY; GRANT SELECT ON app.notes TO owner_role; RESET ROLE"
    )
    source = {
        "kind": "table",
        "schema": "app",
        "table": "notes",
        "owner": "attacks_app",
        "grace": 0,
        "columns": {"kid": "word", "public_key": "note"},
    }
    checks.equal("by SQL", db.owner.value("SELECT count(*) FROM app.notes"), "0")
    db.owner.query(f"UPDATE auth.issuers SET source = '{json.dumps(source)}'")
    checks.equal("a source that is written by hand", db.owner.value(STATUS % "kid"), None)
    checks.true("says why", "ow security" in (db.owner.value(STATUS % "detail") or ""))
    columns = json.dumps(source["columns"])
    checks.equal(
        "followed by a superuser, for an owner who is none",
        db.root.code((FOLLOW % "app.notes")[:-1] + f", columns => '{columns}')"),
        "42501",
    )
    db.root.query("ALTER ROLE owner_role BYPASSRLS")
    checks.equal("with BYPASSRLS", db.owner.value(STATUS % "kid"), "secret")
    db.root.query("ALTER ROLE owner_role NOBYPASSRLS")
    checks.equal("and without again", db.owner.value(STATUS % "kid"), None)


def written_by_way_of_parents(checks, cluster):
    """Writing by way of a parent takes rights on the parent only."""
    db = database(cluster, "parents")
    session = db.signed_in()
    parent = "CREATE TABLE parent (id text, public_key text NOT NULL, expires_at timestamptz)"
    ways = {
        "inherited": (
            f"{parent}; ALTER TABLE jwks INHERIT parent",
            "ALTER TABLE jwks NO INHERIT parent; DROP TABLE parent",
        ),
        "a partition": (
            f"{parent} PARTITION BY LIST (id); ALTER TABLE parent ATTACH PARTITION jwks DEFAULT",
            "ALTER TABLE parent DETACH PARTITION jwks; DROP TABLE parent",
        ),
    }
    for what, (way, back) in ways.items():
        checks.equal(f"{what}: before", session.value(WHO), "u1")
        db.owner.query(f"{way}; GRANT ALL ON parent TO PUBLIC")
        attacker = db.session()
        attacker.query("UPDATE parent SET id = 'k1', public_key = '%s'" % json.dumps(tokens.jwk(1)))
        checks.equal(
            f"{what}: the attacker's key", attacker.code(f"SELECT auth.jwt_session_init('{token(key=1)}')"), "28J03"
        )
        db.owner.query("UPDATE jwks SET id = 'k0', public_key = '%s'" % json.dumps(tokens.jwk(0)))
        checks.equal(f"{what}: closed", session.code(WHO), "28J03")
        checks.true(f"{what}: status says why", "parent" in (db.owner.value(STATUS % "detail") or ""))
        checks.equal(f"{what}: follow", db.owner.code(FOLLOW % "jwks"), "0A000")
        db.owner.query(back)
        checks.equal(f"{what}: and no more", session.value(WHO), "u1")


def rows_that_exhaust(checks, cluster):
    """Rows that are large, or many, cost neither the server's memory nor the other keys."""
    db = database(cluster, "large")
    session = db.signed_in()
    db.owner.query("ALTER TABLE jwks DROP CONSTRAINT jwks_pkey, ALTER public_key TYPE jsonb USING public_key::jsonb")

    def memory():
        """The most memory that the owner's backend has had, in MiB."""
        with open(f"/proc/{db.owner.backend}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

    def odd_row(what, kid, key, words):
        db.owner.query(f"INSERT INTO jwks VALUES ({kid}, {key})")
        before = memory()
        checks.equal(
            f"{what}: listed", db.owner.value(f"SELECT count(*) FROM auth.key_status WHERE detail ~ '{words}'"), "1"
        )
        checks.equal(f"{what}: the others count", session.value(WHO), "u1")
        checks.equal(f"{what}: without kid", db.owner.code(f"SELECT auth.verify('{nameless}')"), None)
        checks.true(f"{what}: memory, from {before} to {memory()} MiB", memory() < before + 30)
        db.owner.query("DELETE FROM jwks WHERE id <> 'k0'")

    nameless = token(header={"kid": None})
    odd_row("a long kid", "repeat('x', 100000000)", "'{}'", "key id is longer")
    odd_row("a long key", "'long'", "jsonb_build_object('x', repeat('x', 100000000))", "JWK is longer")
    numbers = "(SELECT jsonb_agg(n) FROM (SELECT numeric '1e131000' AS n FROM generate_series(1, 3000)) AS s)"
    odd_row("numbers that are short as stored", "'numbers'", f"jsonb_build_object('x', {numbers})", "JWK is longer")
    db.owner.query("INSERT INTO jwks SELECT 'k' || n, '{}' FROM generate_series(10, 20010) n")
    checks.equal("many rows: listed", db.owner.value("SELECT count(*) FROM auth.key_status"), "20001")
    checks.equal(
        "many rows: says so",
        db.owner.value("SELECT count(*) FROM auth.key_status WHERE detail ~ 'not listed'"),
        "1",
    )
    db.owner.notices()
    db.owner.query(FOLLOW % "jwks")
    checks.true("many rows: follow says so", any("20000" in notice["M"] for notice in db.owner.notices()))
    checks.equal("many rows: the key counts", session.value(WHO), "u1")


def careless_grants(checks, cluster):
    """A migration re-creates the table under default privileges that let users write to it."""
    db = database(cluster, "grants")
    lint = (
        "SELECT string_agg(DISTINCT code || ' ' || object, ', ') "
        "FROM auth.lint() WHERE code IN ('no_keys', 'key_privilege')"
    )
    checks.equal("as followed", db.owner.value(lint), None)
    db.owner.query(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO authenticated;"
        f"DROP TABLE jwks; {TABLE % 'public.jwks'}; {insert()}; {FOLLOW % 'public.jwks'}"
    )
    checks.true("auth.follow() says who", any("authenticated" in notice.get("D", "") for notice in db.owner.notices()))
    checks.equal("auth.lint() says it too", db.owner.value(lint), "key_privilege role authenticated")
    # An expiry of another name, as Postgres writes expiresAt without quotes, is not taken for none.
    db.owner.query("CREATE TABLE folded (id text PRIMARY KEY, public_key text, expiresAt timestamptz)")

    def says_so(columns):
        db.owner.notices()
        db.owner.query((FOLLOW % "folded")[:-1] + f", columns => '{columns}')")
        return any("do not expire" in notice["M"] for notice in db.owner.notices())

    checks.equal("an expiry of another name", says_so("{}"), True)
    checks.equal("when it is named", says_so('{"expires_at": "expiresat"}'), False)
    checks.equal("when there is none", says_so('{"expires_at": null}'), False)
    # A table that SELECT alone does not open, by its oid.
    db.root.query(
        "CREATE ROLE attacks_hidden; CREATE SCHEMA hidden AUTHORIZATION attacks_hidden; SET ROLE attacks_hidden;"
        f"{TABLE % 'hidden.jwks'}; {insert(0, 'hidden.jwks')}; GRANT SELECT ON hidden.jwks TO owner_role; RESET ROLE"
    )
    hidden = db.root.value("SELECT 'hidden.jwks'::regclass::oid")
    checks.equal("no USAGE: by SQL", db.owner.code("SELECT * FROM hidden.jwks"), "42501")
    checks.equal("no USAGE: follow", db.owner.code(FOLLOW % hidden), "42501")
    db.root.query("GRANT USAGE ON SCHEMA hidden TO owner_role")
    checks.equal("with USAGE: follow", db.owner.value(FOLLOW % hidden), "1")
    session = db.signed_in()
    checks.equal("with USAGE", session.value(WHO), "u1")
    db.root.query("REVOKE USAGE ON SCHEMA hidden FROM owner_role")
    checks.equal("and no more", session.code(WHO), "28J03")
    checks.true("says why", "USAGE" in db.owner.value(STATUS % "detail"))


def names_in_other_encodings(checks, cluster):
    """The statements that make triggers name the table in the server's encoding."""
    cluster.client(
        "createdb", "-T", "template0", "-O", "owner_role", "-E", "LATIN1", "--locale=C", "test_attacks_latin1"
    )
    owner = cluster.session("test_attacks_latin1", "owner_role")
    table = 'public."Schl\u00fcssel"'
    owner.query(f"CREATE EXTENSION pg_auth_jwt; {ISSUER}; {TABLE % table}; {insert(table=table)}")
    checks.equal("LATIN1: followed", owner.value(FOLLOW % table), "1")
    checks.equal("LATIN1: live", owner.value(STATUS % "state"), "live")
    checks.equal("LATIN1: unfollowed", owner.value(f"SELECT auth.unfollow('{tokens.ISSUER}')"), "t")
    checks.equal(
        "LATIN1: no trigger", owner.value("SELECT count(*) FROM pg_trigger WHERE tgname ~ '^pg_auth_jwt'"), "0"
    )


def shut_out(checks, cluster):
    """An issuer is shut out by one statement, whatever it holds on its table."""
    db = database(cluster, "shut")
    locker = db.session("owner_role")
    rules = {
        "disabled": ("enabled = false", "enabled = true", "28J03"),
        "another audience": ("audience = '{other}'", f"audience = '{{{AUDIENCE}}}'", "28J03"),
        "another source": (
            "source = jsonb_set(source, '{table}', '\"other\"')",
            "source = jsonb_set(source, '{table}', '\"jwks\"')",
            "28J03",
        ),
        "an optional column": (
            "source = jsonb_set(source, '{columns,expires_at}', 'null')",
            "source = jsonb_set(source, '{columns,expires_at}', '\"expires_at\"')",
            "28J03",
        ),
        "gone": ("issuer = 'x'", f"issuer = '{tokens.ISSUER}'", "28J13"),
    }
    db.owner.query(TABLE % "public.other")
    session = db.signed_in()
    for what, (change, back, code) in rules.items():
        checks.equal(f"{what}: before", session.value(WHO), "u1")
        locker.query("BEGIN; LOCK jwks, other")
        db.owner.query(f"UPDATE auth.issuers SET {change}")
        checks.equal(f"{what}: obeyed while the table is locked", session.code(WHO), code)
        locker.query("ROLLBACK")
        db.owner.query(f"UPDATE auth.issuers SET {back}")
    checks.equal("afterwards", session.value(WHO), "u1")
    for lock in ("SELECT count(*) FROM jwks", "DELETE FROM jwks WHERE false", "LOCK jwks"):
        locker.query(f"BEGIN; {lock}")
        db.owner.notices()
        checks.equal(
            f"{lock}: unfollow does not wait",
            db.owner.code(f"SET statement_timeout = '5s'; SELECT auth.unfollow('{tokens.ISSUER}')"),
            None,
        )
        checks.equal(f"{lock}: shut out", session.code(WHO), "28J03")
        checks.true(
            f"{lock}: says that triggers are left", any("triggers" in notice["M"] for notice in db.owner.notices())
        )
        locker.query("ROLLBACK")
        checks.equal(f"{lock}: followed again", db.owner.value(FOLLOW % "jwks"), "1")
        checks.equal(f"{lock}: live", db.owner.value(STATUS % "state"), "live")
    db.owner.query(f"SELECT auth.unfollow('{tokens.ISSUER}')")
    checks.equal(
        "no trigger is left", db.owner.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'jwks'::regclass"), "0"
    )


run(
    "attacks on followed tables fail",
    (
        rolled_back,
        renamed_around,
        hidden_rows,
        written_by_way_of_parents,
        rows_that_exhaust,
        careless_grants,
        names_in_other_encodings,
        shut_out,
    ),
    SharedCluster(),
)
