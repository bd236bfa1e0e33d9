#!/usr/bin/env python3
"""The hooks search a client's message once, and not once for each statement that runs on its
behalf: a statement costs the same in a message with ten times as many statements."""

from lib import tokens
from lib.pg import Checks, SharedCluster

FEW, MANY = 1_500, 15_000
INSERT = "INSERT INTO items VALUES (1, '%s');" % ("x" * 90)
QUOTED = INSERT.replace("'", "''")

MESSAGES = {
    "statements": lambda n: INSERT * n,
    "statements, and a token": lambda n: f"SELECT auth.jwt_session_init('{tokens.token('u1')}', true);" + INSERT * n,
    "statements of EXECUTE": lambda n: f"DO $$ BEGIN EXECUTE '{QUOTED * n}'; END $$",
    "rows whose trigger runs a query": lambda n: "INSERT INTO checked VALUES "
    + ",".join(["(1, '%s')" % ("x" * 90)] * n),
    "queries of a function": lambda n: f"SELECT queries({n}) /* {'x' * 120 * n} */",
    "queries of a function, and a token": lambda n: f"SELECT queries({n}) /* {tokens.token('u1')} {'x' * 120 * n} */",
    "notices": lambda n: f"SELECT notices({n}) /* {'x' * 120 * n} */",
}

SETUP = """
CREATE TABLE items (a int, b text);
CREATE TABLE checked (a int, b text);
CREATE FUNCTION query() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM items WHERE a = 0 AND b = '';
    RETURN NULL; END $$;
CREATE TRIGGER query BEFORE INSERT ON checked FOR EACH ROW EXECUTE FUNCTION query();
CREATE FUNCTION queries(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    FOR i IN 1..n LOOP PERFORM FROM pg_class WHERE oid = i; END LOOP; END $$;
CREATE FUNCTION notices(n int) RETURNS void LANGUAGE plpgsql SET log_min_messages = notice AS $$ BEGIN
    FOR i IN 1..n LOOP RAISE NOTICE 'one of many'; END LOOP; END $$;
"""


def cpu_time(session):
    """Nanoseconds of CPU time of its server process, which other load on the machine hardly
    affects."""
    with open(f"/proc/{session.backend}/schedstat") as file:
        return int(file.read().split()[0])


def cost(session, message):
    """CPU time of a message, the least of three times."""
    times = []
    for _ in range(3):
        session.query("TRUNCATE items")
        before = cpu_time(session)
        session.query(message)
        times.append(cpu_time(session) - before)
    return min(times)


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_message_cost")
    session = cluster.session(db, "postgres")
    session.query(tokens.setup(0) + SETUP)
    session.query("LOAD 'pg_auth_jwt'")
    for what, message in MESSAGES.items():
        ratio = cost(session, message(MANY)) / MANY / (cost(session, message(FEW)) / FEW)
        checks.true(f"{what}: each costs {ratio:.1f} times as much if there are ten times as many", ratio < 3)
    checks.done("what a statement costs does not depend on the length of its message")


main()
