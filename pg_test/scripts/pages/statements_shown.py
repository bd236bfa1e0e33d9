#!/usr/bin/env python3
"""Each block of code on a page is a test's input ("<!-- test: NAME -->", which a test names), says why it is not run
("<!-- not run: REASON -->"), or is SQL that runs here, in a database with the README's set-up: without an error."""

import glob
import os
import re
import subprocess

from lib import tokens
from lib.clients import block
from lib.pg import HERE, ROOT, Checks, Cluster

# Languages of blocks that need neither: output, figures, settings of another program.
TEXT = {"", "text", "ini"}
# Their blocks are examples of one form, which lint_examples runs.
BY_FORM = {"docs/lint.md"}
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
MARK = re.compile(r"<!-- (test|not run): (.+?) -->\n+\Z")
PSQL = ["-XAtq", "-v", "ON_ERROR_STOP=1"]
# Statements of a superuser, by a word in them.
SUPERUSER = re.compile(r"superuser|ALTER SYSTEM|LOAD ")
# Changes that are not rolled back.
OWN_TRANSACTION = re.compile(r"ALTER SYSTEM|BEGIN;|COMMIT;")
BETTER_AUTH = """CREATE TABLE jwks (id text PRIMARY KEY, "publicKey" text NOT NULL, "privateKey" text NOT NULL,
    "createdAt" timestamptz NOT NULL, "expiresAt" timestamptz);"""


def pages():
    names = ["README.md", *(f"docs/{os.path.basename(path)}" for path in glob.glob(f"{ROOT}/docs/*.md"))]
    for name in sorted(set(names) - BY_FORM):
        with open(f"{ROOT}/{name}") as file:
            yield name, file.read()


def blocks():
    """The page, the language, the code, and what is said of each block."""
    for name, page in pages():
        for found in FENCE.finditer(page):
            mark = MARK.search(page, 0, found.start())
            yield name, found[1], found[2], mark and mark.groups()


def named_by_tests():
    """The text of all tests, in which the names of blocks are, and the names of the issuers' fixtures."""
    texts = os.listdir(f"{HERE}/fixtures/issuers")
    for path in glob.glob(f"{HERE}/**/*", recursive=True):
        if re.search(r"\.(py|sql|sh|spec)$", path) or path.endswith("/packages"):
            with open(path) as file:
                texts.append(file.read())
    return "\n".join(texts)


def runs(checks, cluster, where, code):
    token = tokens.token("alice", aud="my-app")
    code = code.replace("eyJhbGciOi...", token).replace("$1", f"'{token}'")
    user = "postgres" if SUPERUSER.search(code) else "owner_role"
    if not OWN_TRANSACTION.search(code):
        code = f"BEGIN; {code}; ROLLBACK;"
    try:
        cluster.client("psql", *PSQL, "-U", user, "app", input=code, stderr=subprocess.STDOUT)
        checks.true(where, True)
    except subprocess.CalledProcessError as error:
        checks.equal(where, error.output, "no error")


def main():
    checks, tests, count = Checks(), named_by_tests(), 0
    with Cluster("statements_shown") as cluster:
        cluster.create_db("app")
        with cluster.session("app", "owner_role") as owner:
            shared = f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{tokens.ISSUER}', '{{HS256}}');"
            init = f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}', '{{my-app}}');"
            guarded = block("guard_text", "README.md") + block("guard_uuid", "docs/concepts.md")
            owner.query(BETTER_AUTH + guarded + block("load_keys", "docs/fetching.md") + shared + init)
        for page, language, code, mark in blocks():
            where = f"{page}: {code.splitlines()[0]}"
            if mark and mark[0] == "test":
                # policies_to_copy has the two that belong to a block of tables.
                name = re.sub("_(query|explain)$", "", mark[1])
                checks.true(f"{where}: a test names {mark[1]}", re.search(rf"\b{name}\b", tests))
            elif not mark and language == "sql":
                count += 1
                runs(checks, cluster, where, code)
            elif language not in TEXT:
                checks.true(f"{where}: is tested, or says why it is not run", mark)
    checks.true("some run here", count >= 20)
    checks.done(f"{count} blocks of SQL run as they are shown; all others are tested, or say why not")


main()
