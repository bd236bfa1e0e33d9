#!/usr/bin/env python3
"""Plans where one user owns nine tenths of the rows: with claim functions evaluated once they are
the same as without, for the heavy user and for a light one. Compares plans and pages; bench/run.py
skew measures the times."""

from lib import skew, tokens
from lib.pg import Checks, SharedCluster

# Ways to write the policy, each with whether the planner knows the user's share of the rows from
# it.
POLICIES = {
    "owner = auth.user_id()": True,
    "owner = (SELECT auth.user_id())": True,
    "(SELECT auth.user_id() = owner)": True,
    "owner = auth.session() ->> 'sub'": True,
    "(SELECT auth.session() ->> 'sub' = owner)": True,
    "owner = (SELECT lower(auth.user_id()))": False,  # a sub-select that stays
}


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_estimates")
    cluster.session(db, "owner_role").query(tokens.setup(0))
    owner = skew.make(cluster, db)
    statements = (skew.ALL, skew.SOME, skew.JOINED, skew.PAGE)

    def run(user, statement, once):
        session = skew.session(cluster, db, user, once)
        session.query(statement)  # looks into the catalogs, which are pages too
        found = skew.Run(session, statement)
        session.close()
        return found

    def same(note):
        for user in skew.USERS:
            for statement in statements:
                on, off = run(user, statement, "on"), run(user, statement, "off")
                for what in ("nodes", "expected", "pages"):
                    checks.equal(f"{note}{user}: {statement}: {what}", getattr(on, what), getattr(off, what))

    same("")
    # The plan is the heavy user's: all rows by a scan of the table, a page of them by the other
    # index.
    checks.equal("all rows", run("heavy", skew.ALL, "on").nodes, ["Seq Scan docs"])
    checks.equal("all rows of a light user", run("u5", skew.ALL, "on").nodes, ["Index Scan docs_owner_idx"])
    checks.equal("joined", run("heavy", skew.JOINED, "on").nodes[0], "Hash Join")
    checks.true("a page of rows", run("heavy", skew.PAGE, "on").pages <= 20)

    # For each way to write the policy.
    for policy, is_known in POLICIES.items():
        owner.query(f"ALTER POLICY own ON docs USING ({policy})")
        for user, rows in skew.USERS.items():
            expected = run(user, skew.ALL, "on").expected
            near = abs(expected - rows) <= max(rows * 0.1, 200)
            if is_known or user == "heavy":
                checks.equal(f"{user}'s rows are known: {policy}", near, is_known)
        checks.equal(
            f"by index for a light user: {policy}", run("u5", skew.ALL, "on").nodes, ["Index Scan docs_owner_idx"]
        )
    owner.query("ALTER POLICY own ON docs USING (owner = auth.user_id())")

    # A cached plan stays the plan for the user of its planning, as always in Postgres, and gives
    # each user their rows.
    def kept(first, second, statement, once):
        session = skew.session(cluster, db, first, once)
        session.query(f"PREPARE kept AS {statement}")
        session.query("EXECUTE kept")
        skew.sign_in(session, second)
        found = skew.Run(session, "EXECUTE kept")
        rows = session.query("EXECUTE kept")
        session.close()
        return found.nodes, found.pages, rows

    for statement in (skew.ALL, skew.PAGE):
        for first, second in (("heavy", "u5"), ("u5", "heavy"), ("heavy", "nobody")):
            nodes, pages, rows = kept(first, second, statement, "on")
            what = f"{first}'s plan for {second}: {statement}"
            checks.equal(what, (nodes, pages, rows), kept(first, second, statement, "off"))
            checks.equal(f"{what}: nodes", nodes, run(first, statement, "on").nodes)
            checks.equal(f"{what}: rows", rows, skew.session(cluster, db, second, "on").query(statement))

    # An index that has the order too.
    owner.query(skew.INDEX)
    same("with an index on owner and id: ")
    checks.done("plans for the user who asks, where one owns nine tenths")


main()
