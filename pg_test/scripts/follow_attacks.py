#!/usr/bin/env python3
"""Attacks on auth.follow: what a change that is rolled back, renamed around or hidden behind a lock leaves
in a session; rights that reach the table by another way than its own grants; rows that are meant to
exhaust the server."""

import json
import time

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

WHO = "SELECT auth.user_id()"
AUDIENCE = "https://app.example.com"
FOLLOW = f"SELECT auth.follow('%s', '{tokens.ISSUER}', '{{{AUDIENCE}}}')"
STATUS = f"SELECT DISTINCT %s FROM auth.key_status WHERE issuer = '{tokens.ISSUER}'"
TABLE = "CREATE TABLE %s (id text PRIMARY KEY, public_key text NOT NULL, expires_at timestamptz)"
ISSUER = f"INSERT INTO auth.issuers (issuer, algorithms, leeway) VALUES ('{tokens.ISSUER}', '{{HS256}}', '0 s')"


def token(sub="u1", key=0, **claims):
    return tokens.token(sub, key=key, aud=AUDIENCE, **claims)


def insert(key=0, table="jwks"):
    return f"INSERT INTO {table} (id, public_key) VALUES ('k{key}', '{json.dumps(tokens.jwk(key))}')"


class Database:
    """A database of its own with an issuer whose key k0 is followed in the table public.jwks."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, cluster.create_db(f"test_attacks_{name}")
        self.root, self.owner = self.session("postgres"), self.session("owner_role")
        self.owner.query(f"{ISSUER}; {TABLE % 'public.jwks'}; {insert()}; {FOLLOW % 'public.jwks'}")

    def session(self, user="authenticated", **options):
        return self.cluster.session(self.name, user, **options)

    def signed_in(self, user="authenticated", **claims):
        session = self.session(user)
        session.query(f"SET pg_auth_jwt.token = '{token(**claims)}'")
        return session


def rolled_back(checks, cluster):
    """A key that no other session ever saw: looked up before its row's trigger fires, then rolled back."""
    db = Database(cluster, "rollback")
    session = db.signed_in("owner_role", key=1)
    session.query(f"CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN auth.verify(''{token(key=1)}'') ->> ''sub''; END'")
    key = insert(1)
    ways = {
        "the statement fails": f"{key} RETURNING who(), 1 / (length(id) - 2)",
        "the transaction is rolled back": f"BEGIN; {key} RETURNING who(); ROLLBACK",
        "the savepoint is rolled back": f"BEGIN; SAVEPOINT s; {key} RETURNING who(); ROLLBACK TO s; COMMIT",
        "the block catches it": f"DO $$BEGIN {key}; PERFORM who(); RAISE 'undo'; EXCEPTION WHEN OTHERS THEN NULL; END$$",
        "another issuer's rule": "BEGIN; UPDATE auth.issuers SET source = NULL RETURNING who(); ROLLBACK",
    }
    for what, way in ways.items():
        try:
            session.query(way)
        except PgError:
            pass
        session.query("ROLLBACK")
        checks.equal(f"{what}: the key is not trusted", session.code(WHO), "28J03")
    # And the other way round.
    good = db.signed_in("owner_role")
    try:
        good.query(f"DELETE FROM jwks RETURNING auth.verify('{token()}'), 1 / 0")
    except PgError:
        pass
    checks.equal("a deletion that is rolled back", good.value(WHO), "u1")


def renamed_around(checks, cluster):
    """The table's name comes to mean another table, and nothing tells that of the table itself."""
    db = Database(cluster, "renames")
    session = db.signed_in()
    checks.equal("before", session.value(WHO), "u1")
    db.root.query("ALTER SCHEMA public RENAME TO former")
    checks.equal("the schema was renamed", session.code(WHO), "28J03")
    db.root.query("ALTER SCHEMA former RENAME TO public")
    checks.equal("and back", session.value(WHO), "u1")
    db.root.query(f"BEGIN; CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO owner_role; SET LOCAL ROLE owner_role;"
                  f"{TABLE % 'other.jwks'}; {insert(1, 'other.jwks')}; RESET ROLE;"
                  "ALTER SCHEMA public RENAME TO former; ALTER SCHEMA other RENAME TO public; COMMIT")
    checks.equal("the schemas were exchanged", session.code(WHO), "28J03")
    checks.equal("what is there now counts", db.signed_in(key=1).value(WHO), "u1")
    db.root.query("DROP SCHEMA public CASCADE; ALTER SCHEMA former RENAME TO public")
    checks.equal("and exchanged back", session.value(WHO), "u1")
    db.root.query("ALTER ROLE owner_role RENAME TO renamed_role")
    checks.equal("its owner was renamed", session.code(WHO), "28J03")
    db.root.query("ALTER ROLE renamed_role RENAME TO owner_role")
    checks.equal("and back", session.value(WHO), "u1")
    # The extension's owner reads by membership.
    db.root.query("CREATE ROLE reader; CREATE ROLE keeper; ALTER TABLE jwks OWNER TO keeper; GRANT SELECT ON jwks TO reader;"
                  "GRANT reader TO owner_role; " + FOLLOW % "public.jwks")
    checks.equal("read by membership", session.value(WHO), "u1")
    db.root.query("REVOKE reader FROM owner_role")
    checks.equal("no member any more", session.code(WHO), "28J03")


def hidden_rows(checks, cluster):
    """Row security of the table applies to who would read it: nothing of it is read, and nothing shown."""
    db = Database(cluster, "hidden")
    db.root.query("CREATE ROLE app; CREATE SCHEMA app AUTHORIZATION app; GRANT USAGE ON SCHEMA app TO owner_role; SET ROLE app;"
                  "CREATE TABLE app.notes (word text, note text); INSERT INTO app.notes VALUES ('secret', 'x');"
                  "ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY; GRANT SELECT ON app.notes TO owner_role; RESET ROLE")
    source = {"schema": "app", "table": "notes", "owner": "app", "grace": 0, "columns": {"kid": "word", "public_key": "note"}}
    checks.equal("by SQL", db.owner.value("SELECT count(*) FROM app.notes"), "0")
    db.owner.query(f"UPDATE auth.issuers SET source = '{json.dumps(source)}'")
    checks.equal("a source that is written by hand", db.owner.value(STATUS % "kid"), None)
    checks.true("says why", "ow security" in (db.owner.value(STATUS % "last_error") or ""))
    columns = json.dumps(source["columns"])
    checks.equal("followed by a superuser, for an owner who is none",
                 db.root.code((FOLLOW % "app.notes")[:-1] + f", columns => '{columns}')"), "42501")
    db.root.query("ALTER ROLE owner_role BYPASSRLS")
    checks.equal("with BYPASSRLS", db.owner.value(STATUS % "kid"), "secret")
    db.root.query("ALTER ROLE owner_role NOBYPASSRLS")
    checks.equal("and without again", db.owner.value(STATUS % "kid"), None)


def main():
    checks = Checks()
    with SharedCluster() as cluster:
        for test in (rolled_back, renamed_around, hidden_rows):
            test(checks, cluster)
    checks.done("attacks on followed tables fail")


main()
