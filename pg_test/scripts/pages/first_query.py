#!/usr/bin/env python3
"""The README's first guarded query, as somebody who reads it from top to bottom does it: in a new database, by psql
and with a copy of examples/dev-issuer. It ends in the rows that the README shows, and its settings make errors of a
forgotten BEGIN and of a forgotten token."""

import shutil
import subprocess

from lib import packages
from lib.clients import block
from lib.following import folder
from lib.pg import ROOT, Checks, Cluster, shell

NOTES = "SELECT body FROM notes"


def readme(name):
    return block(name, "README.md")


def main():
    checks = Checks()
    _, _, environ = packages.node(checks)
    with folder() as project, Cluster("first_query", bare=True) as cluster:
        shutil.copy(f"{ROOT}/examples/dev-issuer/dev-issuer.mjs", project)
        cluster.psql("-c", "CREATE ROLE app_owner LOGIN CREATEROLE", "postgres")
        cluster.client("createdb", "-O", "app_owner", "app")
        environ |= {
            "PATH": f"{shell('echo $PG_BIN')}:{environ['PATH']}",
            "PGHOST": cluster.dir,
            "PGUSER": "app_owner",
            "PGDATABASE": "app",
        }

        def run(program, text, **more):
            return subprocess.run(
                program, input=text, env=environ | more, cwd=project, check=True, text=True, capture_output=True
            )

        def psql(text, user):
            return run(["psql", "-X", "-v", "ON_ERROR_STOP=1"], text, PGUSER=user)

        said = psql(readme("first_role") + readme("guard_text"), "app_owner").stderr
        checks.equal("nobody is warned of the set-up", said, "")
        run(["sh", "-eu"], readme("first_issuer"))
        request = psql(readme("first_request"), "authenticated")
        checks.equal("nor of the request", request.stderr, "")
        screen = "\n".join(line.rstrip() for line in request.stdout.splitlines())
        checks.true(f"ends in the rows that are shown:\n{screen}", readme("first_rows") in screen)

        token = run(["sh", "-c", "./dev-issuer.mjs token alice"], None).stdout.strip()
        user, owner = cluster.session("app"), cluster.session("app", "app_owner")
        checks.equal("a forgotten token", user.code(NOTES), "28J11")
        user.query("BEGIN")
        user.execute("SELECT auth.jwt_session_init($1)", token)
        checks.equal("alice's rows", user.query(NOTES), [["of alice"]])
        user.query("COMMIT")
        checks.equal("after the transaction", user.code(NOTES), "28J11")
        user.execute("SELECT auth.jwt_session_init($1)", token)
        checks.true("a forgotten BEGIN is named", "transaction blocks" in str(user.warnings()))
        checks.equal("a forgotten BEGIN", user.code(NOTES), "28J11")
        findings = "SELECT code FROM auth.lint() WHERE code <> 'server_outdated'"
        checks.equal("auth.lint() names the issuer alone", owner.query(findings), [["development_issuer"]])
    checks.done("the README's first query ends in its rows")


main()
