#!/usr/bin/env python3
"""docs/development.md: its tests in Vitest and pytest, and what it runs in CI, with the real tools; issuers on
localhost, in Docker Compose and behind a private authority; a copy of a database, and a token of staging."""

import os
import re
import shutil
import subprocess
import sys

from lib import packages, tokens
from lib.clients import block
from lib.endpoint import Authority, Endpoint, keys
from lib.following import FetchingCluster, folder, until
from lib.names import Names
from lib.pg import ROOT, Checks, shell

PAGE = "docs/development.md"
PSQL = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]


def on_page(name, *replaced):
    text = block(name, PAGE)
    for old, new in replaced:
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, new)
    return text


class Project:
    """A folder with the page's files, and the environment of its owner's shell."""

    def __init__(self, checks, cluster, place):
        installed, _ = packages.from_npm(checks, "development", "development")
        python = packages.from_pypi(checks, "development_python", "development/requirements.txt")
        _, _, environ = packages.node(checks)
        self.cluster, self.folder = cluster, f"{place}/project"
        os.mkdir(self.folder)
        shutil.copy(f"{ROOT}/examples/dev-issuer/dev-issuer.mjs", self.folder)
        os.symlink(f"{installed}/node_modules", f"{self.folder}/node_modules")
        for name, file in (
            ("vitest", "notes.test.mjs"),
            ("pytest_fixture", "conftest.py"),
            ("pytest", "test_notes.py"),
        ):
            self.write(file, on_page(name))
        # The role is there; the server may lack fixes.
        role = re.sub("CREATE ROLE .*", "", block("first_role", "README.md"))
        ignored = "COMMENT ON DATABASE app IS 'pg_auth_jwt: ignore server_outdated';\n"
        self.write("schema.sql", role + block("guard_text", "README.md") + ignored)
        self.environ = {
            **environ,
            "PATH": f"{shell('echo $PG_BIN')}:{environ['PATH']}",
            "PGHOST": cluster.dir,
            "PGUSER": "owner_role",
            "PYTHONPATH": f"{python}/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, file, text):
        with open(f"{self.folder}/{file}", "w") as out:
            out.write(text)

    def run(self, script, **environ):
        return subprocess.run(
            ["sh", "-euc", script.replace("python3", sys.executable)],
            env=self.environ | environ,
            cwd=self.folder,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def psql(self, text, db="app", user="owner_role", **variables):
        options = [option for name, value in variables.items() for option in ("-v", f"{name}={value}")]
        return self.cluster.client(*PSQL, *options, "-U", user, db, input=text).strip()


def ci(checks, project):
    run = project.run(on_page("ci"))
    checks.equal(f"CI: {run.stdout}", run.returncode, 0)
    checks.true(f"Vitest: {run.stdout}", re.search(r"Tests .*2 passed", run.stdout))
    run = project.run(on_page("pytest_run"), PGDATABASE="app")
    checks.true(f"pytest: {run.stdout}", re.search(r"^2 passed", run.stdout, re.M))

    # A policy that lets all write for anyone.
    project.psql("ALTER POLICY own_rows ON notes WITH CHECK (true)")
    for runner in ("vitest_run", "pytest_run"):
        run = project.run(on_page(runner), PGDATABASE="app")
        checks.equal(f"{runner}, without the policy", run.returncode, 1)
    findings = on_page("ci").split("vitest run\n")[1]
    run = project.run(findings, PGDATABASE="app")
    checks.equal("lint fails the job", run.returncode, 1)
    checks.true(f"and says why: {run.stdout}", "warning|policy_always_true|" in run.stdout)


def fetched(checks, project, name, script):
    """By auth.refresh(), unless the background worker was first."""
    *_, (outcome, _, detail) = (line.partition("|") for line in project.psql(script).splitlines())
    checks.true(f"{name}: {outcome} {detail}", outcome in ("changed", "unchanged"))
    issuer = re.search(r"follow_url\('([^']+)'", script)[1]
    checks.equal(f"{name}: keys", project.psql(f"SELECT count(*) FROM auth.jwks WHERE issuer = '{issuer}'"), "1")


def setting(cluster, name):
    with cluster.session("postgres", "postgres") as root:
        root.query("LOAD 'pg_auth_jwt'")
        return root.value(f"SHOW pg_auth_jwt.{name}")


def local_issuers(checks, project, authority):
    cluster = project.cluster
    with Endpoint() as endpoint:
        endpoint.script("/realms/app/protocol/openid-connect/certs", keys(1))
        endpoint.script("/api/auth/jwks", keys(1))
        project.names.set("keycloak", "172.18.0.3")
        project.names.redirect(endpoint.port)
        fetched(checks, project, "Keycloak in Compose", on_page("compose_follow"))

        here = ("localhost:3000", f"localhost:{endpoint.port}")
        project.psql(on_page("localhost", here), user="postgres")
        until(lambda: setting(cluster, "fetch_hosts") == f"http://{here[1]}", "the list of hosts")
        fetched(checks, project, "on localhost", on_page("localhost_follow", here))
    with Endpoint(authority) as endpoint:
        endpoint.script("/jwks", keys(1))
        here = ("localhost:3000", f"localhost:{endpoint.port}")
        pem = ("/etc/postgresql/rootCA.pem", authority.pem)
        cluster.allow(here[1])
        follow = on_page("private_ca_follow", here)
        checks.true("without the file", "certificate" in project.psql(follow))
        project.psql(on_page("private_ca", here, pem), user="postgres")
        until(lambda: setting(cluster, "fetch_ca_file") == authority.pem, "the authority")
        fetched(checks, project, "a private authority", follow)


def copies(checks, project):
    """A copy of a database that trusts a real issuer."""
    init = f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}', '{{production}}')"
    issuer = f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{tokens.ISSUER}', '{{HS256}}')"
    project.psql(f"DELETE FROM auth.issuers; {issuer}; {init}")
    project.cluster.client("createdb", "-U", "owner_role", "-T", "app", "copy")
    with project.cluster.session("copy") as user:
        token = tokens.token("alice", aud="production")
        checks.equal("a token of production, in the copy", user.code("SELECT auth.jwt_session_init($1)", token), None)
        project.psql(on_page("branch"), "copy")
        run = project.run(on_page("branch_init"), PGDATABASE="copy")
        checks.equal(f"init: {run.stdout}", run.returncode, 0)
        refused = user.code("SELECT auth.jwt_session_init($1)", token)
        checks.equal("once its issuer is disabled", refused, "28J03")
        token = project.run("./dev-issuer.mjs token alice").stdout.strip()
        checks.equal("a token for development", user.code("SELECT auth.jwt_session_init($1)", token), None)
    level = "SELECT level FROM auth.lint() WHERE code = 'development_issuer'"
    checks.equal("its issuer is alone there", project.psql(level, "copy"), "info")

    said = project.psql(on_page("staging"), staging_token=tokens.token("alice", aud="staging"))
    checks.true(f"a token of staging: {said}", said.startswith("aud|f|"))
    said = project.psql(on_page("staging"), staging_token=tokens.token("alice", aud="production"))
    checks.equal("a token of production", said, "")


def main():
    checks = Checks()
    text = block("compose", PAGE)
    hosts = re.search(r"pg_auth_jwt\.fetch_hosts=(\S+)", text)[1]
    with folder() as place:
        names = Names(f"{place}/names")
        settings = {"pg_auth_jwt.fetch_hosts": hosts}
        with FetchingCluster("development", place, environ=names.environ, **settings) as cluster:
            owner = "ALTER ROLE owner_role CREATEDB CREATEROLE; GRANT authenticated TO owner_role WITH ADMIN OPTION"
            cluster.psql("-c", owner, "postgres")
            project = Project(checks, cluster, place)
            project.names = names
            checks.run((ci,), checks, project)
            checks.run((local_issuers,), checks, project, Authority(f"{place}/private"))
            checks.run((copies,), checks, project)
            checks.equal("no crash", cluster.crashes(), [])
    checks.done("a developer's machine, CI and copies, as docs/development.md has them")


main()
