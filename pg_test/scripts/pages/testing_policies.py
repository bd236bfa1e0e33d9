#!/usr/bin/env python3
"""docs/testing_policies.md: examples/dev-issuer makes tokens, and refuses databases that are in
use; the page's pgTAP test passes, and fails where the policy is wrong."""

import os
import re
import shutil
import subprocess
import tempfile

from lib import packages, tokens
from lib.clients import block
from lib.pg import ROOT, Checks, SharedCluster, shell

PAGE = "docs/testing_policies.md"
ISSUER = "https://dev.invalid"


def page():
    with open(f"{ROOT}/{PAGE}") as file:
        return file.read()


class Project:
    """A folder with the script, as a user would copy it."""

    def __init__(self, cluster, db, folder):
        self.folder = folder
        os.makedirs(folder)
        shutil.copy(f"{ROOT}/examples/dev-issuer/dev-issuer.mjs", folder)
        path = f"{shell('echo $PG_BIN')}:{shell('echo $PATH')}"
        self.environ = {**os.environ, "PATH": path, "PGHOST": cluster.dir, "PGUSER": "owner_role", "PGDATABASE": db}

    def run(self, *command, **environ):
        return subprocess.run(
            command, cwd=self.folder, env={**self.environ, **environ}, text=True, check=False, capture_output=True
        )

    def issuer(self, *arguments, **environ):
        return self.run("./dev-issuer.mjs", *arguments, **environ)

    def shell(self, script):
        return self.run("sh", "-euc", script)


def makes_tokens(checks, project, owner, user):
    run = project.shell(block("init", PAGE))
    checks.equal("init and token", (run.returncode, run.stderr), (0, ""))
    alice, with_claim, expired = run.stdout.split()[-3:]
    checks.equal("the private key's file", oct(os.stat(f"{project.folder}/.dev-issuer.json").st_mode & 0o777), "0o600")
    rules = owner.query(
        f"SELECT audience, algorithms, max_age, source IS NULL FROM auth.issuers WHERE issuer = '{ISSUER}'"
    )
    checks.equal("rules", rules, [[f"{{{ISSUER}}}", "{EdDSA}", "24:00:00", "t"]])
    trusted = "SELECT expires_at BETWEEN now() + '29 days' AND now() + '30 days' FROM auth.jwks"
    checks.equal("trusted for 30 days", owner.value(trusted), "t")
    owner.query("UPDATE auth.jwks SET expires_at = now() - interval '1 s'")
    checks.equal("and no longer", user.code("SELECT auth.jwt_session_init($1)", alice), "28J03")
    checks.equal("init once more", (project.issuer("init").returncode, owner.value(trusted)), (0, "t"))

    def claims(token, expression):
        user.query("BEGIN")
        user.execute("SELECT auth.jwt_session_init($1)", token)
        value = user.value(f"SELECT {expression}")
        user.query("ROLLBACK")
        return value

    checks.equal("user", claims(alice, "auth.user_id()"), "alice")
    checks.equal("claim", claims(with_claim, "auth.session() ->> 'tenant_id'"), "acme")
    checks.equal("expired", user.code("SELECT auth.jwt_session_init($1)", expired), "28J05")
    forged = project.issuer(
        "token", "alice", "--claims", '{"iss": "https://other", "sub": "bob", "aud": "x", "exp": 9999999999}'
    ).stdout
    checks.equal("claims do not replace its own", claims(forged.strip(), "auth.user_id()"), "alice")
    checks.equal(
        "claims of other types",
        claims(
            project.issuer("token", "ü", "--claims", '{"n": [1, {"a": "ü"}]}').stdout.strip(),
            "auth.user_id() || (auth.session() -> 'n')::text",
        ),
        'ü[1, {"a": "ü"}]',
    )
    for arguments, status in (
        (("token", "alice", "--ttl", "86401"), 1),
        (("token", "alice", "--ttl", "x"), 1),
        (("token", "alice", "--claims", "{"), 1),
        (("token",), 2),
        ((), 2),
        (("init", "x"), 2),
    ):
        run = project.issuer(*arguments)
        checks.equal(f"{arguments}", (run.returncode, run.stdout), (status, ""))
    checks.equal(
        "init again", (project.issuer("init").returncode, owner.value("SELECT count(*) FROM auth.jwks")), (0, "1")
    )
    checks.equal(
        "without a key",
        project.issuer("token", "alice", DEV_ISSUER_KEY="missing.json").stderr,
        "dev-issuer: no key in missing.json: run dev-issuer.mjs init first\n",
    )
    checks.equal(
        "remove without a key",
        project.issuer("remove", DEV_ISSUER_KEY="missing.json").stderr,
        (
            "dev-issuer: no key in missing.json: to end the trust in another key, DELETE "
            f"FROM auth.issuers WHERE issuer = '{ISSUER}'\n"
        ),
    )
    with open(f"{project.folder}/use.mjs", "w") as file:
        file.write(block("javascript", PAGE) + "console.log(alice, expired)\n")
    imported = project.run("node", "use.mjs").stdout.split()
    checks.equal("imported", claims(imported[0], "auth.session() ->> 'tenant_id'"), "acme")
    checks.equal("imported, expired", user.code("SELECT auth.jwt_session_init($1)", imported[1]), "28J05")


def stays_out_of_restores(checks, cluster, project, db):
    """A dump as the page makes it, into a database that has an issuer of its own."""
    checks.equal("init before the dump", project.issuer("init").returncode, 0)
    production = cluster.create_db("test_testing_policies_production")
    other = cluster.session(production, "owner_role")
    other.query(tokens.setup(0))
    options = re.search(r"`pg_dump (--exclude[^`]*)`", page())[1]
    for arguments, wanted in ((options, "1"), ("", "2")):
        run = project.shell(
            f"pg_dump -a -n auth -e pg_auth_jwt {arguments} {db} | psql -Xq -v ON_ERROR_STOP=1 {production}"
        )
        checks.equal(
            f"restored with {arguments!r}: {run.stderr}",
            (run.returncode, other.value("SELECT count(*) FROM auth.issuers")),
            (0, wanted),
        )
    lint = "SELECT level FROM auth.lint() WHERE code = 'development_issuer'"
    checks.equal("lint where a dump was restored", other.value(lint), "error")
    checks.equal(
        "the trust ends there too",
        other.value(f"SELECT expires_at IS NOT NULL FROM auth.jwks WHERE issuer = '{ISSUER}'"),
        "t",
    )
    other.query(f"COMMENT ON DATABASE {production} IS 'pg_auth_jwt: ignore development_issuer'")
    checks.equal("lint, ignored", other.value(lint), None)
    checks.equal("remove after the dump", project.issuer("remove").returncode, 0)


def refuses_databases_in_use(checks, project, owner):
    def refused(what, words, *arguments, **environ):
        before = owner.query("SELECT i, j FROM auth.issuers i LEFT JOIN auth.jwks j USING (issuer) ORDER BY 1, 2")
        run = project.issuer(*arguments, **environ)
        checks.equal(f"{what}: status", run.returncode, 3)
        checks.true(f"{what}: {run.stderr}", words in run.stderr)
        checks.equal(
            f"{what}: nothing changed",
            owner.query("SELECT i, j FROM auth.issuers i LEFT JOIN auth.jwks j USING (issuer) ORDER BY 1, 2"),
            before,
        )

    lint = "SELECT level, object FROM auth.lint() WHERE code = 'development_issuer'"
    refused("another key", "trusts another key", "init", DEV_ISSUER_KEY="other.json")
    refused("another key, --beside", "trusts another key", "init", "--beside", DEV_ISSUER_KEY="other.json")
    refused("another key, remove", "trusts another key", "remove", DEV_ISSUER_KEY="other.json")
    checks.equal("remove", project.issuer("remove").returncode, 0)
    checks.equal("removed", owner.value("SELECT count(*) FROM auth.issuers"), "0")

    owner.query(tokens.setup(0))
    refused("other issuers", "trusts other issuers", "init")
    # Cases that init cannot see: another issuer that comes later, and a dump that takes the key along.
    checks.equal("lint, without the issuer", owner.query(lint), [])
    checks.equal(
        "--beside",
        (project.issuer("init", "--beside").returncode, owner.value("SELECT count(*) FROM auth.issuers")),
        (0, "2"),
    )
    checks.equal("lint, beside another issuer", owner.query(lint), [["error", f"issuer {ISSUER}"]])
    owner.query("UPDATE auth.issuers SET enabled = false WHERE issuer !~ 'invalid'")
    checks.equal("lint, alone", owner.query(lint), [["info", f"issuer {ISSUER}"]])
    checks.equal(
        "remove again",
        (project.issuer("remove").returncode, owner.value("SELECT count(*) FROM auth.issuers")),
        (0, "1"),
    )
    owner.query(tokens.follow(0).replace(tokens.FOLLOWED, ISSUER))
    refused("followed in a table", "trusts another key", "init", "--beside")
    owner.query(f"SELECT auth.unfollow('{ISSUER}'); DELETE FROM auth.issuers; DROP TABLE followed_keys")


def tests_with_pgtap(checks, project, owner):
    with open(f"{project.folder}/projects.sql", "w") as file:
        file.write(block("pgtap", PAGE))

    def failures():
        """The descriptions of the tests that fail, or what went wrong."""
        run = project.shell(block("run", PAGE))
        if run.returncode:
            return run.stderr
        checks.equal("all tests ran", len(re.findall(r"^(?:not )?ok \d", run.stdout, re.MULTILINE)), 11)
        return re.findall(r"^not ok \d+ - (.*)", run.stdout, re.MULTILINE)

    checks.equal("init", project.issuer("init").returncode, 0)
    owner.query(block("tenants", "docs/policies.md"))
    checks.equal("the policy of policies.md", failures(), [])
    owner.query(
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', "
        "current_database(), 'pg_auth_jwt: ignore server_outdated'); END $$"
    )
    checks.equal("lint", project.shell(block("lint", PAGE)).returncode, 0)
    owner.query("ALTER POLICY of_the_tenant ON projects WITH CHECK (true)")
    checks.equal(
        "without WITH CHECK",
        failures(),
        ["but not to another tenant", "nor moves one there", "bob sees the rows of his"],
    )
    owner.query("ALTER POLICY of_the_tenant ON projects USING (true)")
    shown = {"no rows without a token", "alice sees the rows of her tenant", "no rows without a tenant"}
    checks.equal("without USING", shown - set(failures()), set())
    owner.query("ALTER TABLE projects DISABLE ROW LEVEL SECURITY")
    checks.equal("without row-level security", shown - set(failures()), set())
    checks.equal("lint without it", project.shell(block("lint", PAGE)).returncode, 1)


checks = Checks()
if not shutil.which("node", path=shell("echo $PATH")):
    packages.missing(checks, "needs Node.js")
cluster = SharedCluster()
db = cluster.create_db("test_testing_policies")
owner = cluster.session(db, "owner_role")
if owner.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'pgtap'") == "0":
    packages.missing(checks, "needs pgTAP")
cluster.psql("-d", db, "-c", "CREATE EXTENSION pgtap")
with tempfile.TemporaryDirectory() as folder:
    project = Project(cluster, db, f"{folder}/a project's folder")
    checks.run((makes_tokens,), checks, project, owner, cluster.session(db))
    checks.run((refuses_databases_in_use,), checks, project, owner)
    checks.run((stays_out_of_restores,), checks, cluster, project, db)
    checks.run((tests_with_pgtap,), checks, project, owner)
checks.done("a development issuer and pgTAP, as docs/testing_policies.md has them")
