#!/usr/bin/env python3
"""The clients of docs/login.md, as that page has them, with an issuer on loopback: psql by libpq's device flow, and a
program in C and one in Python that give libpq their token."""

import glob
import os
import shutil
import subprocess
import sys

from lib import oauth_client
from lib.clients import block
from lib.device_issuer import DeviceIssuer
from lib.endpoint import Authority
from lib.following import folder
from lib.oauth_client import LoginCluster, line
from lib.pg import Checks, shell

PAGE = "docs/login.md"
WHO = "SELECT auth.user_id() || ' ' || system_user"
CONNECTION = "host=db.example.com dbname=app user=authenticated"


class Place:
    """A cluster that takes the issuer's tokens over TLS, in a database with the issuer; `libraries` are those of the
    tested Postgres."""

    def __init__(self, cluster, issuer, ca_file):
        self.cluster, self.issuer = cluster, issuer
        self.headers = shell('"$PG_BIN/pg_config" --includedir')
        self.libraries = shell('echo "$PGROOT/pg$PG/usr/lib/$(gcc -print-multiarch)"')
        # UNSAFE: for a certificate that is not of a public authority.
        unsafe = {"PGOAUTHDEBUG": "UNSAFE", "PGOAUTHCAFILE": ca_file}
        self.environ, self.ca_file = {**os.environ, **unsafe}, ca_file
        self.options = f"oauth_issuer={issuer.url} oauth_client_id=psql"
        self.connection = f"host=127.0.0.1 port={cluster.port} dbname=app user=authenticated"

    def run(self, *command, **environ):
        run = subprocess.run(
            command, check=False, text=True, capture_output=True, timeout=60, env={**self.environ, **environ}
        )
        return run.returncode, run.stdout.strip(), run.stderr


def psql(checks, place):
    """The device flow: psql prints where to go, asks the issuer, and is the user."""
    if not glob.glob(f"{place.libraries}/libpq-oauth*.so"):
        checks.skip("psql: needs libpq's device flow, which scripts/setup gets")
        return
    # The page's command, for this server, and with a statement.
    command = block("login_psql", PAGE).replace("\\\n", " ").replace(CONNECTION, place.connection)
    command = command.replace("https://auth.example.com", place.issuer.url)
    command = command.replace("sslrootcert=system", f"sslrootcert={place.ca_file}").strip()
    checks.true("it asks for TLS", "sslmode=verify-full" in command)
    checks.true(f"the page's command: {command}", command.endswith('oauth_client_id=psql"'))
    program = shell("echo $PG_BIN/psql")
    script = command.replace("psql ", 'env LD_LIBRARY_PATH="$LIBRARIES" "$PSQL" -XAtc "$STATEMENT" ', 1)
    environ = {"PSQL": program, "STATEMENT": WHO, "LIBRARIES": place.libraries}
    code, out, said = place.run("bash", "-c", script, **environ)
    checks.equal(f"psql: {said[-300:]}", [code, out], [0, "u1 oauth:u1"])
    checks.true("says where to go", f"Visit {place.issuer.url}/activate and enter the code: ABCD-EFGH" in said)
    checks.equal("asks for the token until it is there", place.issuer.seen("/token"), 2)
    code, out, said = place.run("bash", "-c", script.replace(place.issuer.url, "https://else.example"), **environ)
    checks.equal("another issuer than the server's", [code, out, "issuer" in said], [2, "", True])


def hook_c(checks, place):
    """A C program that has a token."""
    source, program = f"{place.cluster.dir}/hook.c", f"{place.cluster.dir}/hook"
    with open(source, "w") as out:
        out.write(block("login_hook_c", PAGE))
    # libpq may need a newer C library than the system's, which is beside it.
    beside = [f"-Wl,--dynamic-linker={loader}" for loader in glob.glob(f"{place.libraries}/ld-linux*.so.*")]
    options = [f"-I{place.headers}", f"-L{place.libraries}", f"-Wl,--disable-new-dtags,-rpath,{place.libraries}"]
    built = place.run(
        "cc", "-Wall", "-Werror", source, "-o", program, *options, "-lpq", "-Wl,--allow-shlib-undefined", *beside
    )
    checks.equal("it compiles", built, (0, "", ""))
    given(checks, place, "C", [program])


def hook_python(checks, place):
    """psycopg with the libpq that it brings."""
    packages = shell('echo "$PGROOT"') + f"/clients_python_{sys.implementation.cache_tag}/packages"
    if not os.path.exists(f"{packages}/psycopg"):
        checks.skip("psycopg: needs the packages of the test clients_python")
        return
    script = f"{place.cluster.dir}/hook.py"
    with open(script, "w") as out:
        out.write(block("login_hook_python", PAGE))
    given(checks, place, "Python", [sys.executable, script], PYTHONPATH=packages)


def given(checks, place, what, command, **environ):
    """A client whose token is in its environment: a good one, and one that is refused."""
    connection = f"{place.connection} {place.options} sslmode=verify-full sslrootcert={place.ca_file}"
    code, out, said = place.run(*command, connection, DB_TOKEN=place.issuer.token(), **environ)
    checks.equal(f"{what}: good: {said}", [code, out], [0, "u1"])
    place.cluster.new_lines()
    bad = place.issuer.token()[:-8] + "AAAAAAAA"
    code, out, said = place.run(*command, connection, DB_TOKEN=bad, **environ)
    checks.equal(f"{what}: bad", [code, out, "OAuth bearer authentication failed" in said], [1, "", True])
    checks.equal(f"{what}: bad, in the log", [state for state, _ in place.cluster.refusals()], ["28J04"])


def main():
    checks = Checks()
    if not oauth_client.has_login():
        checks.skip_all("Postgres takes tokens for logins from 18 on")
    if not shutil.which("cc"):
        checks.skip_all("needs a C compiler")
    with folder() as where, LoginCluster("login_clients", max_worker_processes="16") as cluster:
        authority = Authority(f"{where}/authority")
        with DeviceIssuer(authority, 1, aud=oauth_client.AUDIENCE, scope=oauth_client.SCOPE) as issuer:
            cluster.keys.query("LOAD 'pg_auth_jwt'")
            cluster.set(fetch_ca_file=authority.pem, fetch_hosts=issuer.host)
            cluster.create_db("app")
            # As the page says: the issuer is in the login database and in the session's.
            for session in (cluster.keys, cluster.session("app", "owner_role")):
                session.query(f"SELECT auth.follow_url('{issuer.url}', audience => '{{{oauth_client.AUDIENCE}}}')")
                checks.equal("its keys are fetched", session.value("SELECT outcome FROM auth.refresh()"), "changed")
            cluster.serve_tls(authority)
            hba = line("app", "authenticated 127.0.0.1/32", issuer.url, more="map=users").replace(
                "local ", "hostssl ", 1
            )
            cluster.configure([hba], block("login_ident", PAGE))
            checks.run((psql, hook_c, hook_python), checks, Place(cluster, issuer, authority.pem))
            checks.equal("no crash", cluster.crashes(), [])
    checks.done("psql, C and Python log in as docs/login.md says")


main()
