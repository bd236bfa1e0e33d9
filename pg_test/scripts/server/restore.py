#!/usr/bin/env python3
"""A dump is restored in any order of the key tables and the revocations, as `pg_restore --jobs` loads them, and by
any form of pg_restore: the rows come back as they were, and a withdrawn key stays withdrawn."""

import itertools
import json
import os
import subprocess
import tempfile

from lib import ed25519, tokens
from lib.pg import Checks, Cluster, SharedCluster, shell

# Those whose rows belong to an issuer's, and the others.
OF_ISSUERS = ("issuers", "jwks", "endpoints", "withdrawn_keys")
TABLES = (*OF_ISSUERS, "revocations")
FETCHED = "https://fetched.test.example"
KEPT, LEAKED = 1, 2
ROWS = {name: f"SELECT * FROM auth.{name} ORDER BY 1, 2" for name in TABLES}
# Rounds of a parallel restore. One of the parts of a race wins in about half of them.
ROUNDS = 10


def source(cluster):
    """Each kind of issuer; of the one that is fetched a key was withdrawn, because it had
    leaked."""
    db = cluster.create_db("test_restore_from")
    owner = cluster.session(db, "owner_role")
    owner.query(tokens.setup(0, 1) + tokens.follow(0))
    two_names = [ed25519.key(3).jwk(), ed25519.key(3).jwk(kid="another"), ed25519.key(4).jwk()]
    owner.query(
        f"INSERT INTO auth.issuers (issuer, audience) VALUES ('https://loaded.test.example', '{{a}}');"
        f"SELECT auth.init('{json.dumps({'keys': two_names})}', 'https://loaded.test.example');"
        f"SELECT auth.follow_url('{FETCHED}', '{FETCHED}/jwks', '{{app}}')"
    )
    for number in (KEPT, LEAKED):
        owner.query(ed25519.fetched_row(FETCHED, number))
    owner.query(
        f"UPDATE auth.endpoints SET last_success = now(), next_attempt = now() + '1 h' WHERE issuer = '{FETCHED}'"
    )
    owner.query(f"SELECT auth.revoke('{FETCHED}', sub => 'mallory'), auth.revoke('{tokens.ISSUER}', sid => 's')")
    for number in (KEPT, LEAKED):
        assert accepts(cluster, db, number) is None
    owner.query(f"DELETE FROM auth.jwks WHERE issuer = '{FETCHED}' AND kid = 'e{LEAKED}'")
    owner.close()
    return db


def accepts(cluster, db, number):
    with cluster.session(db) as session:
        return session.code("SELECT auth.jwt_session_init($1)", ed25519.token(number, FETCHED, aud="app"))


def rows(cluster, db):
    with cluster.session(db, "postgres") as root:
        return {name: root.query(query) for name, query in ROWS.items()}


class Restores:
    def __init__(self, checks, cluster):
        self.checks, self.cluster = checks, cluster
        self.db = source(cluster)
        self.wanted = rows(cluster, self.db)
        checks.equal("of each table", [len(self.wanted[name]) for name in TABLES], [4, 6, 1, 1, 2])
        self.bin = cluster.client("pg_config", "--bindir").strip()
        self.dump = f"{cluster.dir}/restore.dump"
        cluster.client("pg_dump", "-Fc", "-f", self.dump, self.db)
        self.count = 0

    def new(self, template="template0"):
        self.count += 1
        db = f"test_restore_{self.count}"
        self.cluster.client("createdb", "-T", template, "-O", "owner_role", db)
        return db

    def run(self, *args, **options):
        """The program's exit status, and what it said."""
        environ = {**os.environ, "PGHOST": self.cluster.dir, "PGUSER": "postgres"}
        run = subprocess.run(
            args,
            env=environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"},
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
        return run.returncode, run.stdout

    def good(self, name, db, status, said):
        self.checks.equal(f"{name}: ends well, {said[-300:]}", status, 0)
        self.checks.equal(f"{name}: rows", rows(self.cluster, db), self.wanted)
        self.checks.equal(f"{name}: the kept key", accepts(self.cluster, db, KEPT), None)
        self.checks.equal(f"{name}: the leaked key", accepts(self.cluster, db, LEAKED), "28J03")
        with self.cluster.session(db, "owner_role") as owner:
            owner.query(f"DELETE FROM auth.issuers WHERE issuer = '{FETCHED}'")
            self.checks.equal(
                f"{name}: an issuer is deleted with all that belongs to it",
                owner.query(
                    " UNION ALL ".join(
                        f"SELECT issuer FROM auth.{table} WHERE issuer = '{FETCHED}'" for table in OF_ISSUERS
                    )
                ),
                [],
            )
        self.cluster.client("dropdb", db)

    def in_parallel(self):
        for number in range(ROUNDS):
            db = self.new()
            self.good(f"--jobs, {number}", db, *self.run("pg_restore", "-j4", "--role=owner_role", "-d", db, self.dump))

    def in_other_forms(self):
        for options in (["--exit-on-error"], ["--single-transaction"], ["--clean", "--if-exists"]):
            db = self.new()
            self.good(
                " ".join(options), db, *self.run("pg_restore", "--role=owner_role", *options, "-d", db, self.dump)
            )
        db = self.new()
        for section in ("pre-data", "data", "post-data"):
            status, said = self.run(
                "pg_restore", "-e", "-j2", "--role=owner_role", f"--section={section}", "-d", db, self.dump
            )
            self.checks.equal(f"section {section}: {said[-300:]}", status, 0)
        self.good("section by section", db, status, said)
        # Into a database that has the extension already, without rows.
        for options in (
            ["--data-only", "-e"],
            ["--data-only", "-n", "auth", "-e"],
            ["--data-only", "--disable-triggers", "-e"],
            ["--data-only", "--disable-triggers", "-j4", "-e"],
            ["--data-only", "--single-transaction"],
        ):
            db = self.new(template="template_test")
            with self.cluster.session(db, "owner_role") as owner:
                owner.query(
                    tokens.follow(0).partition("INSERT INTO auth.issuers")[0]
                    + "DELETE FROM followed_keys; DELETE FROM fixture.jose"
                )
            status, said = self.run("pg_restore", *options, "-d", db, self.dump)
            if "--disable-triggers" in options:
                self.mended(" ".join(options), db)
            self.good(" ".join(options), db, status, said)

    def by_themselves(self):
        """The key tables alone, as docs/operations.md dumps them."""
        dump = shell('"$ROOT/pg_test/doc_sql" docs/operations.md key_dump')
        with tempfile.TemporaryDirectory() as folder:
            status, said = self.run("sh", "-euc", dump.removesuffix(" app") + f" {self.db}", cwd=folder)
            self.checks.equal(f"the key tables are dumped: {said}", status, 0)
            db = self.new(template="template_test")
            with self.cluster.session(db, "owner_role") as owner:
                owner.query(tokens.follow(0) + ";DELETE FROM auth.issuers")
            status, said = self.run("pg_restore", "-e", "--role=owner_role", "-d", db, f"{folder}/keys.dump")
        self.good("the key tables alone", db, status, said)

    def of_a_whole_server(self):
        """pg_dumpall, restored by a superuser."""
        db = self.cluster.create_db("test_restore_app")
        self.cluster.session(db, "owner_role").query(tokens.setup(0))
        names = self.cluster.psql("-c", "SELECT datname FROM pg_database WHERE datallowconn", "postgres").split()
        others = [f"--exclude-database={name}" for name in names if name not in (db, "postgres", "template1")]
        script = self.cluster.client("pg_dumpall", *others)
        with Cluster("dumpall", bare=True) as target:
            target.client("psql", "-Xq", "-o", "/dev/null", "postgres", input=script, stderr=subprocess.DEVNULL)
            with target.session(db) as user, target.session(db, "owner_role") as owner:
                code = user.code("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
                self.checks.equal("pg_dumpall: a token", code, None)
                manage = f"SELECT auth.init('{tokens.jwks(0, 1)}', '{tokens.ISSUER}')"
                self.checks.equal("pg_dumpall: the former owner", owner.code(manage), "42501")
                grant = shell('"$ROOT/pg_test/doc_sql" docs/operations.md grant_back')
                target.session(db, "postgres").query(grant.replace("app_owner", "owner_role"))
                self.checks.equal("pg_dumpall: after the grant", owner.value(manage), "2")

    def mended(self, name, db):
        """Triggers that the restore has left not ENABLE ALWAYS."""
        with self.cluster.session(db, "postgres") as root:
            fixes = root.query("SELECT fix FROM auth.lint() WHERE code = 'trigger_not_always'")
            self.checks.equal(f"{name}: triggers that lint finds", len(fixes), 10)
            for (fix,) in fixes:
                root.query(fix)
            self.checks.equal(
                f"{name}: mended",
                root.query("SELECT trigger_name, state FROM auth.list_triggers() WHERE state <> 'good'"),
                [],
            )

    def in_each_order(self):
        """Runs the statements of a restore in each order of the tables, with each form of the
        rows, as the owner and as a replication worker."""
        forms = {
            "COPY": [],
            "INSERT": ["--inserts"],
            "INSERT with columns": ["--column-inserts", "--rows-per-insert=2"],
        }
        db = self.new(template="template_test")
        with self.cluster.session(db, "owner_role") as owner:
            owner.query(tokens.follow(0))
            owner.query("DELETE FROM auth.issuers")
        for form, options in forms.items():
            parts = {}
            for name in TABLES:
                status, parts[name] = self.run("pg_dump", "--data-only", *options, "-t", f"auth.{name}", self.db)
                self.checks.true(f"{form}: {name} is dumped", status == 0 and f"auth.{name} " in parts[name])
            # Revocations come before all others, or after them: no trigger of one writes the other.
            for number, others in enumerate(itertools.permutations(OF_ISSUERS)):
                order = ("revocations", *others) if number % 2 else (*others, "revocations")
                for who in ("SET ROLE owner_role;", "SET session_replication_role = replica;"):
                    script = "\n".join(
                        [
                            "BEGIN;",
                            who,
                            *(parts[name] for name in order),
                            "RESET ALL; RESET ROLE;",
                            *(f"\\echo {name}\n{ROWS[name]};" for name in TABLES),
                            "ROLLBACK;",
                        ]
                    )
                    status, said = self.run(
                        "psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", db, input=script
                    )
                    self.checks.equal(
                        f"{form}: {' '.join(order)} {who}",
                        (status, said.splitlines()[-len(self.shown()) :]),
                        (0, self.shown()),
                    )
        self.cluster.client("dropdb", db)

    def shown(self):
        """The rows, as psql shows them."""
        return [
            line
            for name in TABLES
            for line in (name, *("\t".join(value or "" for value in row) for row in self.wanted[name]))
        ]


checks = Checks()
restores = Restores(checks, SharedCluster())
checks.run((restores.in_each_order, restores.in_other_forms, restores.in_parallel, restores.by_themselves))
checks.run((restores.of_a_whole_server,))
checks.done("dumps restored in each order and form")
