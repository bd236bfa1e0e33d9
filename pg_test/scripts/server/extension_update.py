#!/usr/bin/env python3
"""ALTER EXTENSION ... UPDATE gives what CREATE EXTENSION gives, object by object: functions, tables, columns in their
order, privileges, comments, what pg_dump leaves out. Rows, grants and policies of before stay.

Tried from each released version, whose install script is in fixtures/releases, and from a made-up 0.0.9, so that the
first real update is not the first one. It is made of the present script, by taking away and changing."""

import glob
import os
import re
import shutil

from lib import tokens
from lib.catalog import differences, objects
from lib.pg import HERE, ROOT, Checks, Cluster, shell

FOLDER = shell('"$PG_BIN/pg_config" --sharedir') + "/extension"
WHO = "SELECT auth.user_id()"


class MadeUp:
    """Version 0.0.9 and the way to the present one, from the present install script."""

    def __init__(self, script):
        self.old, self.steps = script, []

    def cut(self, begin, end=";\n"):
        """Takes a statement out of the old version, and returns it."""
        at = self.old.index(begin)
        stop = self.old.index(end, at) + len(end)
        statement, self.old = self.old[at:stop], self.old[:at] + self.old[stop:]
        return statement

    def adds(self, *begins):
        """Statements that only the new version has."""
        self.steps += [self.cut(begin) for begin in begins]

    def changes(self, present, former, step):
        """A part of a statement, and how the update changes it."""
        if self.old.count(present) != 1:
            raise SystemExit(f"{self.old.count(present)} times in the install script: {present}")
        self.old = self.old.replace(present, former)
        self.steps.append(step)

    def lists_no_longer(self, text):
        self.old = self.old.replace(text, "")


def made_up(script):
    """Something of each kind that an update may have to do."""
    made = MadeUp(script)
    # A column at the end of a table that the library does not read: no version was without those that it reads.
    column = re.search(r" +(withdrawn_at timestamptz.*),\n", made.old)
    made.old = made.old.replace(column.group(0), "")
    made.steps.append(f"ALTER TABLE auth.withdrawn_keys ADD COLUMN {column.group(1)};\n")
    made.adds("COMMENT ON COLUMN auth.withdrawn_keys.withdrawn_at")
    # A constraint with its comment.
    made.adds("COMMENT ON CONSTRAINT max_stale_not_negative")
    check = re.search(r"\n +CONSTRAINT (max_stale_not_negative CHECK \(.*?\))(?=,?\n)", made.old)
    made.old = made.old.replace(check.group(0), "")
    made.steps.insert(-1, f"ALTER TABLE auth.issuers ADD CONSTRAINT {check.group(1)};\n")
    # A function for everyone, one for the owner, and the list of what the owner may grant.
    made.adds("CREATE FUNCTION auth.organization_id()", "COMMENT ON FUNCTION auth.organization_id()")
    made.lists_no_longer(", 'auth.organization_id()'")
    made.adds("CREATE FUNCTION auth.reset_stats()", "COMMENT ON FUNCTION auth.reset_stats()")
    grant_to = re.search(r"CREATE FUNCTION auth\.grant_to\(.*?\n\$function\$;\n", made.old, re.DOTALL).group(0)
    made.lists_no_longer(", 'auth.reset_stats()'")
    made.steps.append(grant_to.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    # A function's properties, an index, a trigger, a comment.
    made.changes(
        "CREATE FUNCTION auth.user_id() RETURNS text\n    LANGUAGE c STABLE PARALLEL SAFE",
        "CREATE FUNCTION auth.user_id() RETURNS text\n    LANGUAGE c STABLE PARALLEL RESTRICTED COST 7",
        "ALTER FUNCTION auth.user_id() PARALLEL SAFE COST 1;\n",
    )
    index = made.cut("CREATE UNIQUE INDEX jwks_kid_key")
    at = made.old.index("COMMENT ON INDEX auth.jwks_kid_key")
    made.old = made.old[:at] + index.replace("UNIQUE ", "") + made.old[at:]
    comment = re.search(r"COMMENT ON INDEX auth\.jwks_kid_key.*?;\n", made.old, re.DOTALL).group(0)
    made.steps += ["DROP INDEX auth.jwks_kid_key;\n", index, comment]
    made.adds(
        "CREATE TRIGGER issuers_truncated",
        "COMMENT ON TRIGGER issuers_truncated",
        "ALTER TABLE auth.issuers ENABLE ALWAYS TRIGGER issuers_truncated",
    )
    present = re.search(r"COMMENT ON TABLE auth\.jwks IS .*?;\n", made.old, re.DOTALL).group(0)
    made.changes(present, "COMMENT ON TABLE auth.jwks IS 'keys';\n", present)
    # Privileges of what is new, and of nothing else: others have grants on the rest.
    made.steps.append(NEW_PRIVILEGES)
    return made.old, "".join(made.steps)


# As in RELEASING.md: default privileges may have given the new functions to anyone, and the owner needs them.
with open(f"{ROOT}/RELEASING.md") as file:
    block = re.search(r"<!-- privileges -->\n+ *```sql\n(.*?)```", file.read(), re.DOTALL).group(1)
OWNERS, EVERYONES = (
    "owners CONSTANT pg_catalog.regprocedure[] := '{",
    "everyones CONSTANT pg_catalog.regprocedure[] := '{",
)
NEW_PRIVILEGES = block.replace(OWNERS, f"{OWNERS}auth.reset_stats()").replace(
    EVERYONES, f"{EVERYONES}auth.organization_id()"
)

FILL = f"""
INSERT INTO auth.issuers (issuer, audience, leeway) VALUES ('https://old.example.com', '{{app}}', '7 s');
CREATE TABLE notes (owner text DEFAULT auth.user_id());
INSERT INTO notes VALUES ('u1'), ('u2');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON notes TO authenticated;
GRANT SELECT ON auth.issuers TO auditor;
GRANT EXECUTE ON FUNCTION auth.verify(text) TO auditor;
{tokens.setup()}
"""


def create(cluster, db, version):
    root = cluster.session("postgres", "postgres")
    root.query(f"CREATE DATABASE {db} OWNER owner_role")
    cluster.session(db, "owner_role").query(f"CREATE EXTENSION pg_auth_jwt VERSION '{version}'")
    return cluster.session(db, "owner_role")


def from_version(checks, cluster, old, present):
    """From an old version, in a database with rows, grants, policies and a session at work."""
    root = cluster.session("postgres", "postgres")
    name = re.sub(r"\W", "_", old)
    owner = create(cluster, f"old_{name}", old)
    before = objects(owner)
    owner.query(FILL)
    keys = owner.query("SELECT issuer, kid, thumbprint, name FROM auth.jwks ORDER BY 1, 2")
    at_work = cluster.session(f"old_{name}")
    at_work.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
    checks.equal(f"{old}: policy", at_work.query("SELECT owner FROM notes"), [["u1"]])
    # As the administrator has set them, between the two.
    for kind in ("FUNCTIONS", "TABLES"):
        cluster.session(f"old_{name}", "postgres").query(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO meddler")

    owner.query(f"ALTER EXTENSION pg_auth_jwt UPDATE TO '{present}'")
    granted = (
        "SELECT has_table_privilege('auditor', 'auth.issuers', 'SELECT'), "
        "has_function_privilege('auditor', 'auth.verify(text)', 'EXECUTE')"
    )
    checks.equal(f"{old}: grants of before", owner.query(granted), [["t", "t"]])
    owner.query("REVOKE SELECT ON auth.issuers FROM auditor; REVOKE EXECUTE ON FUNCTION auth.verify(text) FROM auditor")
    fresh = create(cluster, f"fresh_{name}", present)
    checks.true(f"{old}: it differed", differences(before, objects(fresh)))
    checks.equal(f"{old}: as a new one", differences(objects(owner), objects(fresh)), [])

    checks.equal(f"{old}: keys", owner.query("SELECT issuer, kid, thumbprint, name FROM auth.jwks ORDER BY 1, 2"), keys)
    row = "SELECT audience, leeway FROM auth.issuers WHERE issuer = 'https://old.example.com'"
    checks.equal(f"{old}: issuer", owner.query(row), [["{app}", "00:00:07"]])
    checks.equal(f"{old}: the session at work", at_work.value(WHO), "u1")
    with cluster.session(f"old_{name}") as later:
        later.execute("SELECT auth.jwt_session_init($1)", tokens.token("u2"))
        checks.equal(f"{old}: policy of a new session", later.query("SELECT owner FROM notes"), [["u2"]])
    root.query("DROP OWNED BY auditor")


def main(checks):
    control = f"{FOLDER}/pg_auth_jwt.control"
    with open(control) as file:
        present = re.search(r"default_version = '(.*)'", file.read()).group(1)
    with open(f"{FOLDER}/pg_auth_jwt--{present}.sql") as file:
        old, update = made_up(file.read())
    files, versions = [], ["0.0.9"]

    def put(name, text):
        files.append(f"{FOLDER}/{name}")
        with open(files[-1], "w") as file:
            file.write(text)

    try:
        put("pg_auth_jwt--0.0.9.sql", old)
        put(f"pg_auth_jwt--0.0.9--{present}.sql", update)
        for path in glob.glob(f"{HERE}/fixtures/releases/pg_auth_jwt--*.sql"):
            files.append(shutil.copy(path, FOLDER))
            versions.append(re.search(r"--(.*)\.sql", os.path.basename(path)).group(1))
        with Cluster("extension_update") as cluster:
            cluster.session("postgres", "postgres").query("CREATE ROLE auditor; CREATE ROLE meddler")
            for version in versions:
                from_version(checks, cluster, version, present)
            checks.equal("no crash", cluster.crashes(), [])
    finally:
        for path in files:
            os.remove(path)
    checks.done(f"an update gives what an installation gives, from {', '.join(versions)}")


main(Checks())
