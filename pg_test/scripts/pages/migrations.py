#!/usr/bin/env python3
"""docs/migrations.md: its statements, in two databases of one server; what drizzle-kit and Alembic make of its code;
what push, default privileges and a missing GRANT lead to."""

import os
import re
import subprocess
import sys

from lib import packages, tokens
from lib.clients import block
from lib.following import folder
from lib.pg import Checks, Cluster, shell

PAGE = "docs/migrations.md"
AFTERWARDS = block("afterwards", PAGE).strip().rstrip(";") + " AND code <> 'server_outdated'"


class Database:
    """A new one, owned by the role that runs migrations."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        cluster.client("createdb", "-O", "app_owner", name)

    def run(self, text):
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "app_owner"]
        text = "SET client_min_messages = warning;" + text
        self.cluster.client("psql", *options, self.name, input=text)

    def session(self, user="app_owner"):
        return self.cluster.session(self.name, user)

    def findings(self):
        with self.session() as owner:
            return owner.query(f"SELECT code, object FROM ({AFTERWARDS}) AS findings")

    def trust(self):
        self.run(tokens.setup(0))

    def as_alice(self, statement):
        """What alice gets: rows, or the SQLSTATE."""
        with self.session("authenticated") as user:
            user.query("BEGIN")
            user.execute("SELECT auth.jwt_session_init($1)", tokens.token("alice"))
            return user.code(statement) or user.query(statement)


class Tool:
    """A folder of a project, and a shell there that connects to the database."""

    def __init__(self, place, database, environ):
        self.folder, self.database = f"{place}/{database.name}", database
        os.mkdir(self.folder)
        self.write("first.sql", block("first", PAGE))
        self.environ = environ | {
            "PGHOST": database.cluster.dir,
            "PGUSER": "app_owner",
            "PGDATABASE": database.name,
        }

    def write(self, file, text):
        with open(f"{self.folder}/{file}", "w") as out:
            out.write(text)

    def run(self, script, check=True):
        run = subprocess.run(
            ["sh", "-euc", script],
            env=self.environ,
            cwd=self.folder,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if check and run.returncode:
            raise SystemExit(f"{script}:\n{run.stdout}")
        return run


def statements(checks, cluster, *_):
    first, table, alter = (block(name, PAGE) for name in ("first", "table", "alter"))
    for name in ("plain", "shadow"):
        Database(cluster, name).run(first + first)
    checks.equal(
        "the settings of each database",
        cluster.psql(
            "-c", "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ 'pg_auth_jwt'", "postgres"
        ).strip(),
        "4",
    )
    plain = Database(cluster, "application")
    plain.run(first + table + alter)
    checks.equal("nothing is found", plain.findings(), [])
    plain.trust()
    with plain.session() as owner:
        checks.equal("without an owner", owner.code("INSERT INTO tasks (title) VALUES ('x')"), "23502")
        owner.query(block("seed", PAGE))
        checks.equal("a column that a policy reads", owner.code("ALTER TABLE tasks ALTER owner TYPE varchar"), "0A000")
        owner.query("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
        checks.equal("with FORCE", owner.code(block("seed", PAGE)), "42501")
        owner.query("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")
    checks.equal("alice's rows", plain.as_alice("SELECT title FROM tasks"), [["of alice"]])
    checks.equal("a row without a title", plain.as_alice("INSERT INTO tasks (title) VALUES ('')"), "42501")
    with plain.session("authenticated") as user:
        checks.equal("a query without a token", user.code("SELECT title FROM tasks"), "28J11")
        checks.equal("a migration as the application", user.code(table), "42501")
    plain.run("REVOKE ALL ON tasks FROM authenticated")
    checks.equal("without the GRANT", plain.as_alice("SELECT title FROM tasks"), "42501")


def drizzle(checks, cluster, place, environ):
    installed, _ = packages.from_npm(checks, "development", "development")
    database = Database(cluster, "drizzle")
    tool = Tool(place, database, environ)
    os.symlink(f"{installed}/node_modules", f"{tool.folder}/node_modules")
    tool.write("package.json", '{"type": "module"}')
    tool.write("schema.mjs", block("drizzle_schema", PAGE))
    tool.write("drizzle.config.js", block("drizzle_config", PAGE))
    tool.run(block("drizzle_first", PAGE))
    checks.equal("drizzle-kit: nothing is found", database.findings(), [])
    database.trust()
    insert = "INSERT INTO cards (body) VALUES ('x') RETURNING owner"
    checks.equal("drizzle-kit: alice adds a row", database.as_alice(insert), [["alice"]])

    # Into another database, whose role is there.
    pushed = Database(cluster, "pushed")
    pushed.run(block("first", PAGE))
    tool.environ["PGDATABASE"] = "pushed"
    tool.run("npx drizzle-kit push --force </dev/null")
    lost = [["policy_without_expression", "policy own_rows on public.cards"]]
    checks.equal("drizzle-kit push loses the expressions", pushed.findings(), lost)


def alembic(checks, cluster, place, environ):
    python = packages.from_pypi(checks, "development_python", "development/requirements.txt")
    database = Database(cluster, "alembic")
    tool = Tool(place, database, environ | {"PYTHONPATH": f"{python}/packages"})
    command = f"{sys.executable} -m alembic"
    tool.run(f"{command} init migrations")
    tool.run("sed -i 's,^sqlalchemy.url = .*,sqlalchemy.url = postgresql+psycopg://,' alembic.ini")

    def revision(name, before, code):
        head = f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = {name!r}, {before!r}\n"
        tool.write(f"migrations/versions/{name}.py", head + code)

    parts = re.findall(r".+?;\n(?=CREATE|DO|$)", block("first", PAGE), re.S)
    checks.equal("the first migration's statements", len(parts), 3)
    escaped = [part.replace(":=", r"\:=") for part in parts]
    calls = "".join(f"    op.execute({part!r})\n" for part in escaped)
    revision("first", None, f"def upgrade():\n{calls}\ndef downgrade():\n    pass\n")
    revision("cards", "first", block("alembic", PAGE))
    tool.run(f"{command} upgrade head")
    checks.equal("Alembic: nothing is found", database.findings(), [])
    database.trust()
    insert = "INSERT INTO cards (body) VALUES ('x') RETURNING owner"
    checks.equal("Alembic: alice adds a row", database.as_alice(insert), [["alice"]])

    # With default privileges, Alembic's own table is open to all users.
    database.run("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO authenticated; DROP TABLE alembic_version, cards")
    tool.run(f"{command} upgrade head")
    checks.true("the tool's own table", ["table_without_rls", "table public.alembic_version"] in database.findings())


def main():
    checks = Checks()
    _, _, environ = packages.node(checks)
    environ["PATH"] = f"{shell('echo $PG_BIN')}:{environ['PATH']}"
    with folder() as place, Cluster("migrations", bare=True) as cluster:
        cluster.psql("-c", "CREATE ROLE app_owner LOGIN CREATEROLE", "postgres")
        checks.run((statements, drizzle, alembic), checks, cluster, place, environ)
    checks.done("migrations, as docs/migrations.md has them")


main()
