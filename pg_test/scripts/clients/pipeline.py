#!/usr/bin/env python3
"""Pipelines, as drivers send them: many statements at once, answers later. The statements before
one Sync are one transaction, and a local token lasts exactly as long."""

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

WHO = "SELECT coalesce(auth.user_id(), 'nobody')"


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_pipeline")
    cluster.session(db, "owner_role").query(tokens.setup(0))
    s = cluster.session(db)

    def statement(sql, *params):
        return s.parse(sql) + s.bind(params) + s.run()

    def give(user, is_local="true", **options):
        return statement(f"SELECT auth.jwt_session_init($1, {is_local}) IS NULL", tokens.token(user, **options))

    def answers():
        try:
            return [row[0] for row in s.receive() if row[0] not in ("t", "f")]
        except PgError as error:
            return error.code

    s.send(give("u1"), statement(WHO), statement(WHO), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("as long as its Sync", answers(), ["u1", "u1"])
    checks.equal("and no longer", answers(), ["nobody"])

    s.send(*(message for n in range(50) for message in (give(f"u{n}"), statement(WHO), s.SYNC)))
    checks.equal("fifty users, all sent at once", [answers() for _ in range(50)], [[f"u{n}"] for n in range(50)])

    s.send(give("u1"), statement(WHO), give("u2"), statement(WHO), statement("ROLLBACK"), statement(WHO), s.SYNC)
    checks.equal("another one in the same", answers(), ["u1", "u2", "nobody"])

    s.send(give("u1"), give("u2", seconds=-1), statement(WHO), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("refused: the rest is not run", answers(), "28J05")
    checks.equal("and nobody is signed in", answers(), ["nobody"])

    s.send(give("u1", "false"), statement("SELECT 1 / 0"), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("an error after it", answers(), "22012")
    checks.equal("takes it back, local or not", answers(), ["nobody"])

    # Without is_local: a statement after another one is known to be in a transaction.
    s.send(statement("SELECT NULL WHERE false"), give("u1", "NULL"), statement(WHO), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("no is_local, second in its pipeline", answers(), ["u1"])
    checks.equal("is local", answers(), ["nobody"])
    s.send(statement("BEGIN"), give("u1", "NULL"), statement(WHO), statement("COMMIT"), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("no is_local, in a block", answers(), ["u1"])
    checks.equal("is local too", answers(), ["nobody"])
    s.send(give("u1", "NULL"), statement(WHO), s.SYNC, statement(WHO), s.SYNC)
    checks.equal("no is_local, first in its pipeline: cannot be told from a single statement", answers(), ["u1"])
    checks.equal("so is the session's", answers(), ["u1"])
    s.query("SELECT auth.jwt_session_init(NULL)")

    s.send(
        statement("BEGIN"),
        give("u1"),
        s.SYNC,
        statement(WHO),
        s.SYNC,
        statement("COMMIT AND CHAIN"),
        statement(WHO),
        s.SYNC,
        statement("COMMIT"),
        s.SYNC,
    )
    checks.equal("a transaction over several", [answers() for _ in range(4)], [[], ["u1"], ["nobody"], []])

    # A prepared statement and a portal that are older than the identity.
    s.send(s.parse(WHO, name="who"), s.SYNC)
    answers()
    s.send(*(message for user in ("u1", "u2") for message in (give(user), s.bind(name="who"), s.run(), s.SYNC)))
    checks.equal("prepared once, run as two", [answers(), answers()], [["u1"], ["u2"]])
    s.send(
        statement("BEGIN"), s.bind(name="who", portal="p"), give("u1"), s.run(portal="p"), statement("COMMIT"), s.SYNC
    )
    checks.equal("bound before the token was given", answers(), ["u1"])
    checks.done("a local token lasts as long as its pipeline")


main()
