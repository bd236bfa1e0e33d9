#!/usr/bin/env python3
"""auth.explain_access says how many rows a role finds under random sets of policies, and the role
then finds as many: permissive and restrictive policies, of each command, for roles, groups and
PUBLIC, with and without USING and WITH CHECK; roles to whom they apply, the table's owner with and
without FORCE, a role with BYPASSRLS. EXPLAIN_SEED gives other sets, EXPLAIN_SETS another number."""

import itertools
import os
import random

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

ROWS = 24
COMMANDS = {
    "SELECT": "SELECT count(*) FROM documents",
    "UPDATE": "WITH changed AS (UPDATE documents SET id = id WHERE id > 0 RETURNING 1) SELECT count(*) FROM changed",
    "DELETE": "WITH deleted AS (DELETE FROM documents WHERE id > 0 RETURNING 1) SELECT count(*) FROM deleted",
}
# New rows: each combination of what the policies ask for.
NEW_ROWS = list(itertools.product(("u1", "u2"), ("true", "false")))
EXPRESSIONS = (
    None,
    None,
    "true",
    "false",
    "owner = auth.user_id()",
    "published",
    "NULL::boolean",
    "auth.session() ->> 'tenant' IS NOT NULL",
)
ROLES = ("explain_user", "explain_user", "explain_user", "owner_role", "explain_bypass")
GRANTEES = ("explain_user", "explain_user", "explain_group", "explain_other", "PUBLIC", "owner_role")
SETUP = f"""
CREATE ROLE explain_group; CREATE ROLE explain_other; CREATE ROLE explain_bypass BYPASSRLS;
CREATE ROLE explain_user IN ROLE explain_group;
CREATE TABLE documents (id int, owner text, published boolean);
INSERT INTO documents SELECT n, 'u' || n % 3, n % 4 = 0 FROM generate_series(1, {ROWS}) AS n;
ALTER TABLE documents OWNER TO owner_role;
ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON documents TO explain_user, explain_bypass;
"""


def policy(rng, number):
    """A CREATE POLICY that Postgres takes."""
    command = rng.choice(("ALL", "SELECT", "INSERT", "UPDATE", "DELETE"))
    using = rng.choice(EXPRESSIONS) if command != "INSERT" else None
    check = rng.choice(EXPRESSIONS) if command in ("ALL", "INSERT", "UPDATE") else None
    return (
        f"CREATE POLICY p{number} ON documents "
        f"AS {'PERMISSIVE' if rng.random() < 0.67 else 'RESTRICTIVE'} FOR {command}"
        f" TO {rng.choice(GRANTEES)}{f' USING ({using})' if using else ''}{f' WITH CHECK ({check})' if check else ''};"
    )


def found(session, role, token, sql):
    """The rows that the statement finds as that role, or the SQLSTATE; it changes nothing."""
    session.query("SAVEPOINT before")
    try:
        return session.query(f"SELECT set_config('pg_auth_jwt.token', '{token}', true); SET LOCAL ROLE {role}; {sql}")[
            0
        ][0]
    except PgError as error:
        return error.code
    finally:
        session.query("ROLLBACK TO before")


def said(session, role, token, command):
    """The last line: rows and detail."""
    lines = session.query(
        f"SELECT subject, rows, detail FROM auth.explain_access('documents', '{token}', '{command}', '{role}')"
    )
    return lines[-1][1:]


def compare(checks, session, name, role, token):
    """The number of rows that it was right about."""
    numbers = 0
    for command, sql in COMMANDS.items():
        rows, detail = said(session, role, token, command)
        rows = str(ROWS) if detail.startswith("All rows") else rows
        real = found(session, role, token, sql)
        # Rows that are found, but not as they would be written, are an error.
        if command == "UPDATE" and real == "42501":
            checks.true(f"{name}: {command}: none is found, and one is refused", rows != "0")
            continue
        checks.equal(f"{name}: {command}: {detail}", rows, real)
        numbers += 1
    detail = said(session, role, token, "INSERT")[1]
    for begins, fate in {"None": "42501", "All rows": "1"}.items():
        if detail.startswith(begins):
            fates = {
                found(session, role, token, f"INSERT INTO documents VALUES (0, '{owner}', {published}); SELECT 1")
                for owner, published in NEW_ROWS
            }
            checks.equal(f"{name}: INSERT: {detail}", fates, {fate})
    return numbers


def main():
    checks = Checks()
    cluster = SharedCluster()
    seed, count = os.environ.get("EXPLAIN_SEED") or "1", int(os.environ.get("EXPLAIN_SETS") or 1200)
    session = cluster.session(cluster.create_db("test_explain_counts"), "postgres")
    session.query(tokens.setup(0) + SETUP)
    token = tokens.token("u1")
    numbers = 0
    for n in range(count):
        rng = random.Random(f"{seed} {n}")
        role, force = rng.choice(ROLES), rng.random() < 0.5
        statements = [policy(rng, number) for number in range(rng.randrange(4))]
        name = f"set {n} of seed {seed}, as {role}{', FORCE' if force else ''}: {' '.join(statements)}"
        session.query(
            f"BEGIN; ALTER TABLE documents {'' if force else 'NO '}FORCE ROW LEVEL SECURITY; {''.join(statements)}"
        )
        numbers += compare(checks, session, name, role, token)
        session.query("ROLLBACK")
    session.query("DROP TABLE documents; DROP ROLE explain_user, explain_group, explain_other, explain_bypass")
    checks.true("most numbers were compared", numbers > count * 2)
    checks.done(
        f"seed {seed}: as many rows are found as auth.explain_access "
        f"says, {numbers} numbers under {count} sets of policies"
    )


main()
