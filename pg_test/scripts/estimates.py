#!/usr/bin/env python3
"""What hoisting does to plans where one user owns nine tenths of the rows: the planner reckons with an
average user in place of the one who asks. Pages looked at, with hoisting on and off; bench/run.py skew
measures the times."""


from lib import skew, tokens
from lib.pg import Checks, SharedCluster


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_estimates")
    cluster.session(db, "owner_role").query(tokens.setup(0))
    owner = skew.make(cluster, db)

    def at_most(what, pages, bound):
        checks.true(f"{what}: {pages} pages, at most {bound}", pages <= bound)

    def run(user, statement, hoist):
        session = skew.session(cluster, db, user, hoist)
        session.query(statement)  # looks into the catalogs, which are pages too
        found = skew.Run(session, statement)
        session.close()
        return found

    # A user like most, and one without rows: the same plan, though more rows are expected of it.
    for user in ("u5", "nobody"):
        for statement in (skew.ALL, skew.SOME, skew.JOINED, skew.PAGE):
            hoisted, called = run(user, statement, "on"), run(user, statement, "off")
            checks.equal(f"{user}: {statement}: plan", hoisted.nodes, called.nodes)
            checks.equal(f"{user}: {statement}: pages", hoisted.pages, called.pages)

    # The heavy user. Hoisted it is the same plan as everyone's.
    expected = {user: run(user, skew.ALL, "on").expected for user in skew.USERS}
    checks.equal("expected rows", len(set(expected.values())), 1)
    checks.true("known without hoisting", run("heavy", skew.ALL, "off").expected > skew.ROWS * 0.8)
    everything = run("heavy", skew.ALL, "on")
    checks.equal("all rows", everything.nodes, ["Index Scan docs_owner_idx"])
    checks.equal("all rows, called", run("heavy", skew.ALL, "off").nodes, ["Seq Scan docs"])
    # An index on the owner has each owner's rows in their order in the table: little more than reading it.
    for statement in (skew.ALL, skew.SOME):
        at_most(statement, run("heavy", statement, "on").pages, run("heavy", statement, "off").pages * 1.1)
    # A nested loop looks at the pages of an index again for each row, and they are in memory: 3 levels of
    # the index and the 2 lines.
    joined = run("heavy", skew.JOINED, "on")
    checks.equal("joined", joined.nodes[0], "Nested Loop")
    at_most(skew.JOINED, joined.pages, everything.pages + skew.USERS["heavy"] * 5)
    # All of the user's rows, to sort them, where twenty would do.
    at_most(skew.PAGE, run("heavy", skew.PAGE, "on").pages, everything.pages)
    at_most(skew.PAGE + ", called", run("heavy", skew.PAGE, "off").pages, 20)

    # What a plan that is kept costs the user who comes second: hoisted, what his own would cost. Called,
    # the others may get what was planned for the heavy one.
    def kept(first, second, statement, hoist):
        session = skew.session(cluster, db, first, hoist)
        session.query(f"PREPARE kept AS {statement}")
        session.query("EXECUTE kept")
        skew.sign_in(session, second)
        pages = skew.Run(session, "EXECUTE kept").pages
        session.close()
        return pages

    for statement in (skew.ALL, skew.PAGE):
        for first, second in (("heavy", "u5"), ("u5", "heavy"), ("heavy", "nobody")):
            checks.equal(f"{first}'s plan for {second}: {statement}",
                         kept(first, second, statement, "on"), run(second, statement, "on").pages)
        checks.true(f"heavy's plan for u5, called: {statement}",
                    kept("heavy", "u5", statement, "off") > run("u5", statement, "on").pages * 100)

    # An index that has the order as well.
    owner.query(skew.INDEX)
    for user in skew.USERS:
        at_most(f"{user}, with an index: {skew.PAGE}", run(user, skew.PAGE, "on").pages, run(user, skew.PAGE, "off").pages + 2)
    checks.done("plans for an average user, where one owns nine tenths")


main()
