#!/usr/bin/env python3
"""docs/lint.md: each code of auth.lint has one section, with an example of what is wrong and what is right, and no
section is for another code. Each example runs: what is wrong leads to the finding, at a level that the section names,
and what is right removes it and leads to no other."""

import contextlib
import re
import subprocess

from lib.clients import block
from lib.endpoint import Answer, Endpoint, keys
from lib.following import FetchingCluster, folder, until
from lib.names import Names
from lib.pg import ROOT, Checks

FENCE = r"```(\w+)\n(.*?)```\n"
EXAMPLE = re.compile(rf"^Wrong:\n\n(?:<!-- not run: (.+) -->\n\n)?{FENCE}\nRight:\n\n{FENCE}", re.M | re.S)
# The two first values of a finding, in SQL.
LEVEL, CODE = r"'(?:error|warning|info)'|\bEND|\w\.level", r"(?:'\w+'|CASE .*? END|s\.code)"
SUPERUSER = "-- as a superuser\n"
# The host of the page's examples, and the path that it has.
HOST, PATH = "accounts.example.com", "/jwks"
STARTS_HERE = "\nThe following examples start where this one ends"


def sections():
    """Each code, its text, and the example that its own starts from, if not from the README's set-up."""
    with open(f"{ROOT}/docs/lint.md") as file:
        parts = re.split(r"^## ", file.read(), flags=re.M)[1:]
    for part in parts:
        before = ()
        for section in re.split(r"^### ", part, flags=re.M)[1:]:
            title, text = section.split("\n", 1)
            yield title.strip("`"), text, before
            if STARTS_HERE in text:
                _, _, wrong, _, right = EXAMPLE.search(text).groups()
                before = (wrong, right)


def codes(checks):
    """Those that sql/lint.sql can return: the second value of each part of `findings`, or that of the list of problems
    with a source."""
    with open(f"{ROOT}/sql/lint.sql") as file:
        sql = file.read()
    parts = dict(re.findall(r"^(\w+)(?: \([\w, ]+\))? AS (?:MATERIALIZED )?\(\n(.*?)^\),$", sql, re.M | re.S))
    union = re.search(r"^findings \(.*?^\),", sql, re.M | re.S)[0]
    listed = set(re.findall(r"^ +\('\w+', '(\w+)', '\w+'\)", parts["source_problems"], re.M))
    found = set()
    for name in re.findall(r"TABLE (\w+)", union):
        rows = re.findall(rf"(?:{LEVEL}), ({CODE}),", parts[name])
        checks.true(f"{name} has a code", rows)
        for row in rows:
            found |= listed if row == "s.code" else set(re.findall(r"(?:^|THEN |ELSE )'(\w+)'", row))
    return found


class Examples:
    """Databases for the examples, each with the README's set-up."""

    def __init__(self, checks, cluster):
        self.checks, self.cluster = checks, cluster
        cluster.create_db("start")
        self.run("start", block("load_keys", "docs/fetching.md") + block("guard_text", "README.md"))
        self.roles = set(self.all_roles())

    def all_roles(self):
        return self.cluster.psql("-c", "SELECT rolname FROM pg_roles", "postgres").split()

    def run(self, db, sql):
        """As somebody who follows the page: in psql, as the owner or a superuser."""
        user = "postgres" if sql.startswith(SUPERUSER) else "owner_role"
        sql = sql.replace("DATABASE app ", f"DATABASE {db} ")
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", user]
        self.cluster.client("psql", *options, db, input=sql, stderr=subprocess.STDOUT)

    def found(self, db):
        """Levels and codes, but for what is the server's alone."""
        with self.cluster.session(db, "postgres") as session:
            rows = session.query("SELECT level, code FROM auth.lint() WHERE code <> 'server_outdated'")
        return {(level, code) for level, code in rows}

    @contextlib.contextmanager
    def database(self, *before):
        """A new one, in which this was run."""
        db = "example"
        self.cluster.client("createdb", "-T", "start", "-O", "owner_role", db)
        self.run(db, "SELECT auth.user_id(); ALTER DATABASE app SET pg_auth_jwt.scope = 'transaction'")
        self.checks.equal("nothing is found at the start", self.found(db), set())
        try:
            for sql in before:
                self.until(db, sql, lambda found: not found)
            yield db
        finally:
            self.cluster.client("dropdb", "--force", db)
            self.cluster.psql("-c", "ALTER SYSTEM RESET ALL", "-c", "SELECT pg_reload_conf()", "postgres")
            for role in set(self.all_roles()) - self.roles:
                self.cluster.psql("-c", f'DROP ROLE "{role}"', "postgres")

    def until(self, db, sql, condition):
        """Runs it, and once more until the condition holds if it changes a setting: the server tells its processes of
        that at a moment of its own."""
        self.run(db, sql)
        if "pg_reload_conf" in sql:
            until(lambda: condition(self.found(db)) or self.run(db, sql), sql)
        return self.found(db)

    def run_both(self, code, text, wrong, right, *before):
        # The levels are told in the first sentence.
        levels = {level for level in ("error", "warning", "info") if level in text.strip().split(". ")[0].lower()}
        with self.database(*before) as db:
            first = self.until(db, wrong, lambda found: code in {name for _, name in found})
            named = {level for level, name in first if name == code}
            self.checks.true(f"{code}: found at a level of {levels}: {first}", named and named <= levels)
            second = self.until(db, right, lambda found: code not in {name for _, name in found})
            left = {name for _, name in second}
            self.checks.equal(f"{code}: right", left - ({name for _, name in first} - {code}), set())


def main():
    checks, page = Checks(), list(sections())
    titles = [code for code, *_ in page]
    checks.equal("codes without a section, or the other way round", set(titles) ^ codes(checks), set())
    checks.equal("sections of one code", len(titles), len(set(titles)))
    with folder() as place:
        names = Names(f"{place}/names")
        with (
            FetchingCluster("lint_examples", place, environ=names.environ) as cluster,
            Endpoint(cluster.authority, names=(HOST,)) as endpoint,
        ):
            names.set(HOST, "93.184.215.14")
            names.redirect(endpoint.port)
            endpoint.script(PATH, keys(2))
            endpoint.script("/none", Answer("", status=404))
            examples = Examples(checks, cluster)
            for code, text, before in page:
                found = EXAMPLE.findall(text)
                checks.equal(f"{code}: one example", len(found), 1)
                for reason, language, wrong, _, right in found:
                    checks.true(f"{code}: is in SQL, or says why it is not run", reason or language == "sql")
                    if not reason:
                        try:
                            examples.run_both(code, text, wrong, right, *before)
                        except subprocess.CalledProcessError as error:
                            checks.equal(f"{code}: runs without an error", error.output, "")
            checks.equal("no crash", cluster.crashes(), [])
    checks.done(f"{len(titles)} codes of auth.lint have examples")


main()
