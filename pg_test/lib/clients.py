"""The clients of docs/clients.md, as that page has them: what each of them must show, directly and
behind PgBouncer."""

import json
import os
import re
import subprocess
import sys

from . import lines, tokens
from .pg import shell
from .pooler import Pooler

# Answers to requests that are refused for their token.
REFUSED = {
    "expired": [401, "28J05"],
    "forged": [401, "28J04"],
    "malformed": [401, "28J01"],
    "unknown key": [503, "28J03"],
    "unknown issuer": [401, "28J13"],
}
FAILED = {
    "of a statement": [500, "22012"],
    "a row of another": [403, "42501"],
    "no token": [500, "28J11"],
    "another token in a query": [500, "28J12"],
}
# The log's part of the DETAIL.
DETAILS = {"unknown key": 'no key with "kid" "k1"', "unknown issuer": "https://other.test.example"}
NOT_REFUSED = {"status": 200, "log": "", "code": None, "cause": None, "leaks": [], "kind": None}


# A header as tokens.py writes it, and what follows.
TOKEN = re.compile(r"eyJhbGci[^*]{20}")


def block(name, file="docs/clients.md"):
    """A block of code from the documentation."""
    return shell('"$ROOT/pg_test/doc_sql" "$1" "$2"', file, name) + "\n"


def request_tokens():
    """As run.mjs and run.py take them."""
    alice = tokens.token("alice")
    refused = {
        "expired": tokens.token("alice", -1),
        "forged": alice[:-6] + "AAAAAA",
        "malformed": alice.replace(".", "!"),
        "unknown key": tokens.token("alice", key=1),
        "unknown issuer": tokens.token("alice", iss="https://other.test.example"),
    }
    return {"alice": alice, "bob": tokens.token("bob"), "refused": refused}


def write_blocks(folder, blocks):
    for name, file in blocks.items():
        with open(f"{folder}/{file}", "w") as out:
            out.write(block(name))


def compile_types(node, compiler, folder, files):
    """Makes JavaScript of TypeScript, beside it, if that has no fault. `compiler` is a folder with tsc's package."""
    tsc = [node, f"{compiler}/node_modules/typescript/bin/tsc"]
    options = ["--strict", "--noEmitOnError", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"]
    run = subprocess.run(
        [*tsc, *options, *files], check=False, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if run.returncode:
        raise SystemExit(f"tsc --strict:\n{run.stdout}")


def database(cluster):
    """With the README's table of notes, and two users' rows."""
    db = cluster.create_db("clients")
    cluster.session(db, "owner_role").query(
        tokens.setup(0)
        + block("guard_text", "README.md")
        + "INSERT INTO notes (owner, body) VALUES ('alice', 'alice 1'), ('alice', 'alice 2'), ('bob', 'bob 1')"
    )
    return db


def play(checks, cluster, db, command, name, leaks, code, kind=None):
    """Runs a client directly and behind PgBouncer. `leaks` are the sides of an error that have the
    token, `code` the side that has the SQLSTATE, and `kind` the class, where that is checked."""
    for way, environ in ways(cluster, db):
        run = subprocess.run(
            [*command, name, json.dumps(request_tokens())],
            check=False,
            env=environ,
            text=True,
            capture_output=True,
            timeout=60,
        )
        checks.equal(f"{name}, {way}: tokens in the server's log", TOKEN.findall(cluster.log()), [])
        if run.returncode:
            print(run.stderr, file=sys.stderr)
            checks.equal(f"{name}, {way}: its exit code", run.returncode, 0)
            continue
        judge(checks, f"{name}, {way}", json.loads(run.stdout), leaks, code, kind)


def play_lines(checks, cluster, db, command, name, leaks, kind=None, address=""):
    """The same for a client that takes requests as lines: see lines.py. `address` is where both
    servers listen beside their sockets, for clients that do not know Unix sockets."""
    for way, environ in ways(cluster, db, address):
        seen = lines.scenario(command, environ, request_tokens())
        checks.equal(f"{name}, {way}: tokens in the server's log", TOKEN.findall(cluster.log()), [])
        judge(checks, f"{name}, {way}", seen, leaks, "code", kind)


def ways(cluster, db, address=""):
    """The environment of a client, directly and behind PgBouncer."""
    with Pooler(cluster, db, "transaction", 2, address) as pooler:
        for way, folder, port in (("direct", cluster.dir, "5432"), ("PgBouncer", pooler.dir, "6432")):
            host = address or folder
            yield (
                way,
                {
                    **os.environ,
                    "PGHOST": host,
                    "PGPORT": port,
                    "PGUSER": "authenticated",
                    "PGDATABASE": db,
                    "DATABASE_URL": f"host={host} port={port} user=authenticated dbname={db}",
                },
            )


def judge(checks, what, seen, leaks, code, kind):
    checks.equal(f"{what}: own rows", seen["own"], [["alice 1", "alice 2"], ["bob 1"]])
    for why, wanted in REFUSED.items():
        got = seen["refused"][why] or NOT_REFUSED
        checks.equal(f"{what}: {why}", [got["status"], got["log"].split(" ")[0]], wanted)
        checks.equal(f"{what}: {why}: where the SQLSTATE is", got[code], wanted[1])
        checks.equal(f"{what}: {why}: where the token is", got["leaks"], leaks)
        if kind:
            checks.equal(f"{what}: {why}: class", got["kind"], kind)
    for why, words in DETAILS.items():
        log = (seen["refused"][why] or NOT_REFUSED)["log"]
        checks.true(f"{what}: {why}: the DETAIL is logged: {log}", words in log)
    for why, wanted in FAILED.items():
        got = seen["failed"][why] or NOT_REFUSED
        checks.equal(f"{what}: {why}", [got["status"], got["log"].split(" ")[0]], wanted)
    for why, got in seen["failed"].items():
        checks.equal(f"{what}: {why}", (got or NOT_REFUSED)["status"], FAILED.get(why, [500])[0])
        if why == "no such function":
            checks.equal(f"{what}: {why}: where the token is", got["leaks"], leaks)
    checks.equal(
        f"{what}: the application's own error", seen["failed"]["of the application"]["log"], " of the application"
    )
    checks.equal(f"{what}: crossings", seen["crossings"][:3], [])
    checks.true(f"{what}: requests at once", seen["requests"] >= 200)
    checks.equal(f"{what}: afterwards, without a token", seen["nobody"], [])
