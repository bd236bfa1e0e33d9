#!/usr/bin/env python3
"""The user of a session is nobody in another database that it reaches by postgres_fdw or dblink: no rows, unless it is
reached as a role that sees all of them. And a database of one tenant refuses the tokens of another."""

from lib import tokens
from lib.pg import Checks, SharedCluster, has_library

NOTES = """
CREATE TABLE notes (owner text, note text);
INSERT INTO notes SELECT 'u' || n, 'note of u' || n FROM generate_series(1, 3) n;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON notes TO authenticated;
"""
OWN = [["note of u1"]]
ALL = [["note of u1"], ["note of u2"], ["note of u3"]]
READ = "SELECT note FROM %s ORDER BY note"


class Place:
    """A database, `here`, and one behind it, `there`, which has the notes."""

    def __init__(self, checks, cluster):
        self.checks, self.cluster = checks, cluster
        self.here, self.there = (cluster.create_db(f"test_many_databases_{name}") for name in ("here", "there"))
        for db in (self.here, self.there):
            cluster.session(db, "owner_role").query(tokens.setup(0))
        cluster.session(self.there, "owner_role").query(NOTES)
        self.root = cluster.session(self.here, "postgres")
        self.root.query("CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink")
        for name, role in ("as_authenticated", "authenticated"), ("as_owner", "owner_role"):
            self.root.query(
                f"CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw"
                f" OPTIONS (host '{cluster.dir}', dbname '{self.there}');"
                f"CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS (user '{role}', password_required 'false');"
                f"CREATE FOREIGN TABLE notes_{name} (owner text, note text) SERVER {name} OPTIONS (table_name 'notes');"
                f"GRANT SELECT ON notes_{name} TO authenticated"
            )

    def signed_in(self, sub="u1"):
        session = self.cluster.session(self.here)
        session.query("BEGIN")
        session.execute("SELECT auth.jwt_session_init($1)", tokens.token(sub))
        return session


def by_postgres_fdw(place):
    session = place.signed_in()
    there = place.cluster.session(place.there)
    there.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u1"))
    place.checks.equal("the rows in their database", there.query(READ % "notes"), OWN)
    place.checks.equal("the user's rows, as authenticated", session.query(READ % "notes_as_authenticated"), [])
    place.checks.equal("as the owner", session.query(READ % "notes_as_owner"), ALL)
    place.checks.equal("and without any user", place.cluster.session(place.here).query(READ % "notes_as_owner"), ALL)


def by_dblink(place):
    place.root.query("GRANT EXECUTE ON FUNCTION dblink_connect_u(text) TO authenticated")
    session = place.signed_in()
    for role, rows in ("authenticated", []), ("owner_role", ALL):
        connection = f"host={place.cluster.dir} dbname={place.there} user={role}"
        session.query(f"SELECT dblink_connect_u('{connection}')")
        notes = f"dblink('{READ % 'notes'}') AS notes(note text)"
        place.checks.equal(f"dblink as {role}", session.query(READ % notes), rows)
        session.query("SELECT dblink_disconnect()")


def with_policies_here(place):
    """Policies of this database guard what comes as the owner: those of a partitioned table, and a view's WHERE."""
    place.root.query(
        "CREATE TABLE parted (owner text, note text) PARTITION BY LIST (owner);"
        "CREATE FOREIGN TABLE part PARTITION OF parted DEFAULT SERVER as_owner OPTIONS (table_name 'notes');"
        "ALTER TABLE parted ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON parted TO authenticated USING (owner = auth.user_id());"
        "CREATE VIEW own_notes WITH (security_barrier) AS SELECT * FROM notes_as_owner WHERE owner = auth.user_id();"
        "GRANT SELECT ON parted, own_notes TO authenticated"
    )
    for table in ("parted", "own_notes"):
        for sub in ("u1", "u2"):
            session = place.signed_in(sub)
            place.checks.equal(f"{table}: {sub}", session.query(READ % table), [[f"note of {sub}"]])
            session.query("COMMIT")
            place.checks.equal(f"{table}: nobody", session.query(READ % table), [])
    place.checks.equal("the partition itself", place.signed_in().code(READ % "part"), "42501")


def loudly(place):
    """require_token, stored for the role there, makes the missing user an error."""
    place.cluster.session(place.there, "postgres").query(
        f"ALTER ROLE authenticated IN DATABASE {place.there} SET pg_auth_jwt.require_token = on"
    )
    error = place.signed_in().error(READ % "notes_as_authenticated")
    place.checks.equal("with require_token", error and error.code, "28J11")


def tenants(place):
    """One issuer for all tenants' databases, each with an audience of its own."""
    for db, audience in (place.here, "tenant-a"), (place.there, "tenant-b"):
        place.cluster.session(db, "owner_role").query(f"UPDATE auth.issuers SET audience = '{{{audience}}}'")
    for db, audience, code in (
        (place.here, "tenant-a", None),
        (place.here, "tenant-b", "28J08"),
        (place.there, "tenant-a", "28J08"),
        (place.there, "tenant-b", None),
    ):
        session = place.cluster.session(db)
        got = session.code("SELECT auth.jwt_session_init($1)", tokens.token("u1", aud=audience))
        place.checks.equal(f"a token for {audience} in {db}", got, code)


def main():
    checks = Checks()
    missing = [name for name in ("postgres_fdw", "dblink") if not has_library(name)]
    if missing:
        checks.skip_all(f"this Postgres has no contrib/{missing[0]}")
    place = Place(checks, SharedCluster())
    checks.run([by_postgres_fdw, by_dblink, with_policies_here, loudly, tenants], place)
    checks.done("a user is nobody in another database")


main()
