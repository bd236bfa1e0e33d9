#!/usr/bin/env python3
"""docs/policies.md: each case with 100,000 rows. Who sees and who may write what; which indexes the
page's query uses; what the page warns of; and that auth.lint finds nothing."""

import json
import os
import re
import subprocess

from lib import explained, tokens
from lib.clients import block
from lib.pg import ROOT, Checks, PgError, SharedCluster, shell

PAGE = "docs/policies.md"
with open(f"{ROOT}/{PAGE}") as page:
    TEXT = page.read()
BLOCKS = set(re.findall(r"<!-- test: (\w+) -->", TEXT))
ROWS = 100_000
USERS = 1000

# Rows of 1,000 users or tenants, "u1" to "u1000", 100 each.
FILL = {
    "invitations": """INSERT INTO invitations (email, body) SELECT 'u' || i % {users} + 1 || '@example.com', 'i' || i
        FROM {rows};
                   INSERT INTO invitations (email, body) VALUES ('kate@example.com', 'to kate')""",
    "tenants": (
        "INSERT INTO projects (tenant_id, name, created_at) "
        "SELECT 'u' || i % {users} + 1, 'p' || i, now() - i * interval '1 min' FROM {rows}"
    ),
    "roles": "INSERT INTO tickets (tenant_id, subject) SELECT 'u' || i % {users} + 1, 't' || i FROM {rows}",
    "permissions": "INSERT INTO reports (tenant_id, title) SELECT 'u' || i % {users} + 1, 'r' || i FROM {rows}",
    "members": """INSERT INTO documents (organization_id, body) SELECT i % {users} + 1, 'd' || i FROM {rows};
                  INSERT INTO members SELECT i % {users} + 1, 'u' || i % {users} + 1,
                      CASE WHEN i <= {users} THEN 'admin' ELSE 'member' END
                    FROM generate_series(1, {users}) i;
                  INSERT INTO members SELECT (i + i / 5000 * 200) % {users} + 1, 'v' || i % 5000
                      FROM generate_series(1, 20000) i ON CONFLICT DO NOTHING""",
    "shares": """INSERT INTO pages (owner, body) SELECT 'u' || i % {users} + 1, 'p' || i FROM {rows};
                 INSERT INTO page_shares SELECT id, owner, 'v' || id % 1000, id % 2000 = 7 FROM pages
                     WHERE id % 5 = 2""",
    "soft_delete": """INSERT INTO notices (owner, body, deleted_at)
                        SELECT 'u' || i % {users} + 1, CASE WHEN i % 7 = 0 THEN 'old' ELSE 'n' || i END,
                               CASE WHEN i % 2 = 0 THEN now() - interval '1 day' END FROM {rows}""",
    "search": """INSERT INTO articles (tenant_id, title)
                   SELECT 'u' || i % {users} + 1, 'Title ' || i / {users} FROM {rows}""",
    "partitions": "INSERT INTO events (tenant_id, body) SELECT 'u' || i % {users} + 1, 'e' || i FROM {rows}",
    "administrators": "INSERT INTO orders (owner, item) SELECT 'u' || i % {users} + 1, 'o' || i FROM {rows}",
}


def fill(owner, case):
    owner.query(FILL[case].format(users=USERS, rows=f"generate_series(0, {ROWS - 1}) i"))


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


class Case:
    """A section of the page, in a database with all of them."""

    def __init__(self, checks, owner, user, name):
        self.checks, self.owner, self.user, self.name = checks, owner, user, name
        self.version = explained.version(owner)
        owner.query(block(name, PAGE))
        fill(owner, name)
        owner.query("ANALYZE")
        self.query = block(f"{name}_query", PAGE).strip().rstrip(";")
        plan = re.search(rf"<!-- test: {name}_query -->.*?^Plan: ((?:`\w+`(?:,\s)?)+)", TEXT, re.DOTALL | re.MULTILINE)
        self.plan = set(re.findall(r"`(\w+)`", plan[1]))

    def as_user(self, sub, *statements, **claims):
        """The rows of the last statement, or the SQLSTATE of the first that fails; and the count of
        rows that the last one changed. All is rolled back."""
        self.user.query("BEGIN")
        try:
            if sub:
                self.user.execute("SELECT auth.jwt_session_init($1)", tokens.token(sub, **claims))
            for statement in statements:
                rows = self.user.query(statement)
            return (
                int(self.user.tag.split()[-1]) if not rows and self.user.tag[0] in "UDI" else [row[0] for row in rows]
            )
        except PgError as error:
            return error.code
        finally:
            self.user.query("ROLLBACK")

    def check(self, what, wanted, sub, *statements, **claims):
        self.checks.equal(f"{self.name}: {what}", self.as_user(sub, *statements, **claims), wanted)

    def found(self, sub, **claims):
        """Parts of the plan of the page's query: indexes; tables that it reads whole, sorting."""
        lines = self.as_user(sub, f"EXPLAIN (FORMAT json) {self.query}", **claims)
        plan = list(nodes(json.loads(lines[0])[0]["Plan"]))
        costly = {
            node.get("Relation Name", "Sort")
            for node in plan
            if node["Node Type"] in ("Seq Scan", "Sort", "Incremental Sort")
        }
        return {node["Index Name"] for node in plan if "Index Name" in node}, costly

    def check_plan(self, sub, **claims):
        self.checks.equal(f"{self.name}: plan", self.found(sub, **claims), (self.plan, set()))
        shown = f"{self.name}_explain"
        if shown in BLOCKS:
            plan = self.as_user(sub, f"EXPLAIN (COSTS OFF) {self.query}", **claims)
            self.checks.equal(shown, plan, explained.as_shown(block(shown, PAGE), self.version))

    def instead(self, what, policy, using, wanted, look):
        """A mistake that the page warns of: `look` with another USING, which is set back."""
        table = re.search(rf"CREATE POLICY {policy} ON (\w+)", block(self.name, PAGE))[1]
        before = self.owner.value(
            f"SELECT qual FROM pg_policies WHERE policyname = '{policy}' AND tablename = '{table}'"
        )
        self.owner.query(f"ALTER POLICY {policy} ON {table} USING ({using})")
        self.checks.equal(f"{self.name}: {what}", look(), wanted)
        self.owner.query(f"ALTER POLICY {policy} ON {table} USING ({before})")


def invitations(case):
    alice = {"email": "u5@example.com", "email_verified": True}
    case.check_plan("x", **alice)
    count = "SELECT count(*) FROM invitations"
    for what, wanted, claims in (
        ("verified", "100", {}),
        ("verified, as text", "100", {"email_verified": "true"}),
        ("in upper case", "100", {"email": "U5@Example.com"}),
        ("not verified", "0", {"email_verified": False}),
        ("not verified, as text", "0", {"email_verified": "false"}),
        ("null", "0", {"email_verified": None}),
        ("a list", "0", {"email_verified": [True]}),
        ("a number", "0", {"email_verified": 1}),
        ("addresses in a list", "0", {"email": ["u5@example.com"]}),
        ("no address", "0", {"email": None}),
    ):
        case.check(what, [wanted], "x", count, **{**alice, **claims})
    case.check("ASCII in upper case", ["1"], "x", count, email="KATE@example.com", email_verified=True)
    kelvin = "\u212aate@example.com"
    case.checks.equal(
        "invitations: what another collation makes of the Kelvin sign",
        case.owner.value("SELECT lower($1)", kelvin),
        "kate@example.com",
    )
    case.check("the Kelvin sign", ["0"], "x", count, email=kelvin, email_verified=True)
    case.check("anonymous", ["0"], None, count)
    case.check("adds", "42501", "x", "INSERT INTO invitations (email, body) VALUES ('u5@example.com', 'x')", **alice)


def tenants(case):
    case.check_plan("x", tenant_id="u5")
    case.check("rows", ["100"], "x", "SELECT count(*) FROM projects", tenant_id="u5")
    case.check("without a tenant", ["0"], "x", "SELECT count(*) FROM projects")
    case.check("anonymous", ["0"], None, "SELECT count(*) FROM projects")
    case.check("adds", ["u5"], "x", "INSERT INTO projects (name) VALUES ('new') RETURNING tenant_id", tenant_id="u5")
    case.check(
        "adds to another", "42501", "x", "INSERT INTO projects (name, tenant_id) VALUES ('new', 'u6')", tenant_id="u5"
    )
    case.check("adds without a tenant", "42501", "x", "INSERT INTO projects (name) VALUES ('new')")
    case.check("changes", 100, "x", "UPDATE projects SET name = 'x'", tenant_id="u5")
    case.check("moves to another", "42501", "x", "UPDATE projects SET tenant_id = 'u6'", tenant_id="u5")
    case.check("deletes", 100, "x", "DELETE FROM projects", tenant_id="u5")
    # Claims of other types.
    for tenant in (["u5"], {"u5": True}, True, "", None):
        case.check(f"tenant {tenant!r}", ["0"], "x", "SELECT count(*) FROM projects", tenant_id=tenant)
    case.check(
        "a tenant that is no uuid", "22P02", "x", "SELECT (auth.session() ->> 'tenant_id')::uuid", tenant_id="u5"
    )


def roles(case):
    case.check_plan("x", tenant_id="u5", role="agent")
    for role, added, changed, deleted in (
        ("viewer", "42501", 0, 0),
        ("agent", 1, 100, 0),
        ("manager", 1, 100, 100),
        (None, "42501", 0, 0),
    ):
        claims = {"tenant_id": "u5", **({"role": role} if role else {})}
        case.check(f"{role} reads", ["100"], "x", "SELECT count(*) FROM tickets", **claims)
        case.check(f"{role} adds", added, "x", "INSERT INTO tickets (subject) VALUES ('new')", **claims)
        case.check(f"{role} changes", changed, "x", case.query, **claims)
        case.check(f"{role} deletes", deleted, "x", "DELETE FROM tickets", **claims)
    case.check(
        "adds to another",
        "42501",
        "x",
        "INSERT INTO tickets (subject, tenant_id) VALUES ('new', 'u6')",
        tenant_id="u5",
        role="manager",
    )
    case.check("moves to another", "42501", "x", "UPDATE tickets SET tenant_id = 'u6'", tenant_id="u5", role="manager")


def permissions(case):
    may_read = {"tenant_id": "u5", "permissions": ["reports:read", "other"]}
    case.check_plan("x", **may_read)
    case.check("reads", ["100"], "x", case.query, **may_read)
    for what, permitted in (
        ("none", None),
        ("another", ["other"]),
        ("empty", []),
        ("a longer name", ["reports:read-drafts"]),
        ("true", True),
        ("one text", "other reports:read"),
    ):
        case.check(f"{what}: reads", ["0"], "x", case.query, tenant_id="u5", permissions=permitted)
    case.check("an object: reads", ["100"], "x", case.query, tenant_id="u5", permissions={"reports:read": False})
    for scope, added in (
        ("openid reports:write", 1),
        ("reports:write-drafts", "42501"),
        ("reports:read", "42501"),
        (["reports:write"], "42501"),
        (["x", "reports:write"], "42501"),
        (None, "42501"),
    ):
        case.check(
            f"{scope}: adds", added, "x", "INSERT INTO reports (title) VALUES ('new')", tenant_id="u5", scope=scope
        )
    case.check(
        "adds to another",
        "42501",
        "x",
        "INSERT INTO reports (title, tenant_id) VALUES ('new', 'u6')",
        tenant_id="u5",
        scope="reports:write",
    )


def members(case):
    case.check_plan("u5")
    case.check("reads", ["100"], "u5", "SELECT count(*) FROM documents")
    # v5 is a member of four organizations.
    case.check("reads as a member of some", ["400"], "v5", "SELECT count(*) FROM documents")
    read_members = "organization_id IN (SELECT m.organization_id FROM members m WHERE m.user_id = auth.user_id())"
    case.instead(
        "IN (SELECT ...)", "of_my_organizations", read_members, True, lambda: "documents" in case.found("u5")[1]
    )
    case.instead(
        "without the function", "admins_manage", read_members, "42P17", lambda: case.as_user("u5", "TABLE members")
    )
    case.owner.query("ALTER TABLE members FORCE ROW LEVEL SECURITY")
    case.check("FORCE ROW LEVEL SECURITY", "54001", "u5", "TABLE members")
    case.owner.query("ALTER TABLE members NO FORCE ROW LEVEL SECURITY")
    case.check("a stranger", ["0"], "stranger", "SELECT count(*) FROM documents")
    case.check("anonymous", ["0"], None, "SELECT count(*) FROM documents")
    case.check("adds", 1, "u5", "INSERT INTO documents (organization_id, body) VALUES (5, 'new')")
    case.check("adds to another", "42501", "u5", "INSERT INTO documents (organization_id, body) VALUES (6, 'new')")
    case.check("moves to another", "42501", "u5", "UPDATE documents SET organization_id = 6")
    own = "(SELECT max(organization_id) FROM documents)"
    case.check("moves to another of one's own", "42501", "v5", f"UPDATE documents SET organization_id = {own}")
    case.check("moves a member to another", "42501", "u5", "UPDATE members SET organization_id = 6")
    case.check("changes", 400, "v5", "UPDATE documents SET body = 'x'")
    # The policies alone, where more columns are granted.
    case.owner.query("GRANT UPDATE ON documents, members TO authenticated")
    case.check("moves to another, by policy", "42501", "u5", "UPDATE documents SET organization_id = 6")
    case.check("moves to another of one's own, by policy", 400, "v5", f"UPDATE documents SET organization_id = {own}")
    case.check("moves a member to another, by policy", "42501", "u5", "UPDATE members SET organization_id = 6")
    case.owner.query("REVOKE UPDATE ON documents, members FROM authenticated")
    case.owner.query(
        "GRANT UPDATE (body) ON documents TO authenticated; GRANT UPDATE (role) ON members TO authenticated"
    )
    case.check("sees the members", ["t"], "v5", "SELECT count(*) > 4 FROM members")
    case.check(
        "an admin adds a member",
        ["100"],
        "u5",
        "INSERT INTO members VALUES (5, 'new')",
        "SELECT auth.jwt_session_init('" + tokens.token("new") + "')",
        "SELECT count(*) FROM documents",
    )
    case.check("an admin adds to another", "42501", "u5", "INSERT INTO members VALUES (6, 'new')")
    case.check("a member adds a member", "42501", "v5", "INSERT INTO members VALUES (5, 'new')")
    case.check("a member becomes an admin", 0, "v5", "UPDATE members SET role = 'admin' WHERE user_id = 'v5'")
    case.check("an admin removes a member", 1, "u6", "DELETE FROM members WHERE user_id = 'v5'")
    case.check(
        "removed at once",
        ["300"],
        "u6",
        "DELETE FROM members WHERE user_id = 'v5'",
        "SELECT auth.jwt_session_init('" + tokens.token("v5") + "')",
        "SELECT count(*) FROM documents",
    )


def shares(case):
    case.check_plan("u5")
    case.check("own", ["100"], "u5", "SELECT count(*) FROM pages")
    # Pages of v7: those whose id ends in 007. Every second of them may be written.
    case.check("shared", ["100"], "v7", "SELECT count(*) FROM pages")
    case.check("writes what is shared for that", 50, "v7", "UPDATE pages SET body = 'x'")
    case.check("deletes what is shared", 0, "v7", "DELETE FROM pages")
    case.check("takes what is shared", "42501", "v7", "UPDATE pages SET owner = 'v7'")
    case.check("a stranger", ["0"], "stranger", "SELECT count(*) FROM pages")
    case.check("adds", ["new"], "new", "INSERT INTO pages (body) VALUES ('new') RETURNING owner")
    case.check("adds for another", "42501", "new", "INSERT INTO pages (body, owner) VALUES ('new', 'u5')")
    # The id of another user's page, to share that page with oneself.
    same_id = "INSERT INTO pages (id, body) OVERRIDING SYSTEM VALUE VALUES (7, 'x')"
    case.check("adds with another's id", "42501", "new", same_id)
    case.owner.query("GRANT INSERT ON pages TO authenticated")
    case.check("adds with another's id, where the column is granted", "23505", "new", same_id)
    case.owner.query("REVOKE INSERT ON pages FROM authenticated; GRANT INSERT (owner, body) ON pages TO authenticated")
    own = "(SELECT min(id) FROM pages)"
    case.check(
        "shares",
        ["1"],
        "u5",
        f"INSERT INTO page_shares (page_id, user_id) VALUES ({own}, 'new')",
        "SELECT auth.jwt_session_init('" + tokens.token("new") + "')",
        "SELECT count(*) FROM pages",
    )
    case.check("shares another's page", "23503", "u5", "INSERT INTO page_shares (page_id, user_id) VALUES (7, 'u5')")
    case.check(
        "shares in another's name",
        "42501",
        "u5",
        "INSERT INTO page_shares (page_id, owner, user_id) VALUES (7, 'u7', 'u5')",
    )
    case.check("may write more than was shared", "42501", "v7", "UPDATE page_shares SET can_write = true")
    case.instead(
        "reads pages",
        "own_shares",
        "page_id IN (SELECT p.id FROM pages p WHERE p.owner = auth.user_id())",
        "42P17",
        lambda: case.as_user("u5", "TABLE page_shares"),
    )
    case.check("sees the shares of others", ["0"], "v7", "SELECT count(*) FROM page_shares WHERE user_id <> 'v7'")


def soft_delete(case):
    case.check_plan("u6")
    live = "SELECT count(*) FROM notices"
    (all_live,) = case.as_user("u6", live)
    case.checks.equal("soft_delete: own, none of them deleted", all_live, "100")
    case.check("of a user whose rows are all deleted", ["0"], "u5", live)
    case.check("deletes", 14, "u6", case.query)
    case.instead(
        "IS NULL alone",
        "own_live",
        "owner = auth.user_id() AND deleted_at IS NULL",
        "42501",
        lambda: case.as_user("u6", case.query),
    )
    case.check("changes", 100, "u6", "UPDATE notices SET body = 'x'")
    case.check("gives away", "42501", "u6", "UPDATE notices SET owner = 'u5'")
    case.check("brings back", 0, "u5", "UPDATE notices SET deleted_at = NULL")
    case.check("deletes for good", "42501", "u6", "DELETE FROM notices")
    case.check("adds", ["u6"], "u6", "INSERT INTO notices (body) VALUES ('new') RETURNING owner")
    # After the end of the transaction.
    case.user.execute("SELECT auth.jwt_session_init($1, false)", tokens.token("u6"))
    case.user.query(case.query)
    case.checks.equal("soft_delete: afterwards", case.user.value(live), "86")
    case.user.query("SELECT auth.jwt_session_init(NULL, false)")


def administrators(case):
    case.check_plan("u5")
    case.instead(
        "OR", "own", "owner = auth.user_id() OR auth.role() = 'admin'", (set(), {"orders"}), lambda: case.found("u5")
    )
    case.check("own", ["100"], "u5", case.query)
    case.check("all", [str(ROWS)], "boss", case.query, role="admin")
    case.check("another role", ["0"], "boss", case.query, role="Admin")
    case.check("anonymous", ["0"], None, case.query)
    case.check("adds for another", "42501", "u5", "INSERT INTO orders (item, owner) VALUES ('new', 'u6')")
    case.check(
        "an administrator adds for another",
        1,
        "boss",
        "INSERT INTO orders (item, owner) VALUES ('new', 'u6')",
        role="admin",
    )
    case.check("gives away", "42501", "u5", "UPDATE orders SET owner = 'u6'")
    case.check(
        "an administrator gives away", 100, "boss", "UPDATE orders SET owner = 'u6' WHERE owner = 'u5'", role="admin"
    )
    case.check("deletes", 100, "u5", "DELETE FROM orders")


def search(case):
    case.check_plan("x", tenant_id="u5")
    case.check("finds its own", ["1"], "x", "SELECT count(*) FROM articles WHERE title_key = 'title 5'", tenant_id="u5")
    # An index that begins with the tenant, on an expression that is not leakproof.
    case.owner.query("CREATE INDEX articles_by_lower ON articles (tenant_id, lower(title)); ANALYZE articles")
    lower = "SELECT id FROM articles WHERE lower(title) = 'title 5'"
    plan = "".join(case.as_user("x", f"EXPLAIN (COSTS OFF) {lower}", tenant_id="u5"))
    case.checks.true("search: lower() is a filter", "Filter: (lower(title) = 'title 5'::text)" in plan)
    leaking = ["index_not_leakproof", "index public.articles_by_lower"]
    found = case.owner.query("SELECT code, object FROM auth.lint() WHERE object ~ 'articles'")
    case.checks.equal("search: auth.lint", found, [leaking])
    case.owner.query("DROP INDEX articles_by_lower")
    words = "SELECT string_agg(DISTINCT tenant_id, ',') FROM search_articles('title 5')"
    case.check("by words", ["u5"], "x", words, tenant_id="u5")
    case.check("by words, without a tenant", [None], "x", words)
    case.check("by words, anonymous", [None], None, words)
    case.owner.query("VACUUM articles")  # moves what was inserted into the index
    plan = case.owner.query("EXPLAIN SELECT * FROM articles WHERE words @@ websearch_to_tsquery('simple', 'nowhere')")
    case.checks.true("search: what the function's index serves", "articles_by_word" in str(plan))
    changed = ("UPDATE articles SET title = 'NEW' WHERE title_key = 'title 5'", "TABLE search_articles('new')")
    case.check("changes", 1, "x", changed[0], tenant_id="u5")
    found = "SELECT count(*) FROM search_articles('new')"
    case.check("finds what was changed", ["1"], "x", changed[0], found, tenant_id="u5")
    # A temporary table of the caller's, where the function's search_path does not end in pg_temp.
    case.owner.query(
        "CREATE FUNCTION titles() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public"
        " AS 'SELECT count(*) FROM articles'"
    )
    temporary = ("CREATE TEMP TABLE articles (x int)", "GRANT ALL ON articles TO PUBLIC", "SELECT titles()")
    case.check("a temporary table takes its place", ["0"], "x", *temporary, tenant_id="u5")
    case.owner.query("ALTER FUNCTION titles() SET search_path = public, pg_temp")
    case.check("behind pg_temp it does not", [str(ROWS)], "x", *temporary, tenant_id="u5")
    case.owner.query("DROP FUNCTION titles()")


def partitions(case):
    case.check_plan("x", tenant_id="u5")
    case.check("rows", ["100"], "x", "SELECT count(*) FROM events", tenant_id="u5")
    case.check("adds", ["u5"], "x", "INSERT INTO events (body) VALUES ('new') RETURNING tenant_id", tenant_id="u5")
    case.check("a partition by its name", "42501", "x", "SELECT count(*) FROM events_even", tenant_id="u5")
    case.owner.query("GRANT SELECT ON events_even TO authenticated")
    case.check("which is granted", ["t"], "x", "SELECT count(*) > 100 FROM events_even", tenant_id="u5")
    found = case.owner.query("SELECT code FROM auth.lint() WHERE object ~ 'events'")
    case.checks.equal("partitions: auth.lint", found, [["partition_without_rls"]])
    case.owner.query("REVOKE SELECT ON events_even FROM authenticated")


def past_policies(checks, cluster, owner, user, db):
    """COPY and NOTIFY."""
    token = tokens.token("x", tenant_id="u5")
    user.query("BEGIN")
    user.execute("SELECT auth.jwt_session_init($1)", token)
    user.query("CREATE TEMP TABLE copied ON COMMIT DROP AS SELECT * FROM projects")
    checks.equal("COPY FROM", user.code("COPY projects (name) FROM stdin"), "0A000")
    user.query("ROLLBACK")
    sql = f"BEGIN; SELECT auth.jwt_session_init('{token}'); COPY projects (tenant_id) TO stdout; COMMIT;"
    lines = cluster.client("psql", "-XAtq", "-U", "authenticated", db, input=sql).split()
    checks.equal("COPY TO", (len(lines), set(lines)), (100, {"u5"}))
    listens = f"LISTEN projects;\n\\! psql -XAtq -U owner_role -c \"NOTIFY projects, 'of u6'\" {db}\nSELECT 1;\n"
    path = f"{shell('echo $PG_BIN')}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PGHOST": cluster.dir, "PGUSER": "authenticated"}
    heard = subprocess.run(["psql", "-X", db], env=environ, input=listens, check=True, text=True, capture_output=True)
    checks.true(f"NOTIFY: {heard.stdout}", '"projects" with payload "of u6"' in heard.stdout)


def nearest(checks, owner, user):
    owner.query(block("nearest", PAGE))
    owner.query(
        "INSERT INTO chunks (tenant_id, embedding) SELECT 'other', ARRAY[random(), random(), random()] FROM"
        " generate_series(1, 3000); INSERT INTO chunks (tenant_id, embedding) SELECT 'u5', ARRAY[9, 9, 9 + i]"
        " FROM generate_series(1, 20) i; ANALYZE chunks"
    )

    def found(*before):
        user.query("BEGIN; SET LOCAL enable_seqscan = off")
        user.execute("SELECT auth.jwt_session_init($1)", tokens.token("x", tenant_id="u5"))
        for statement in before:
            user.query(statement)
        rows = user.query(block("nearest_query", PAGE).replace("[1,2,3]", "[0,0,0]"))
        user.query("ROLLBACK")
        return len(rows)

    checks.equal("nearest: sorted by the tenant's index", found(), 10)
    owner.query("DROP INDEX chunks_by_tenant")
    checks.equal("nearest: rows of others fill the scan", found(), 0)
    checks.equal("nearest: the scan goes on", found(block("nearest_scan", PAGE)), 10)


def least_values(checks, owner, user):
    """The values that the page has for other types are the least ones, and an index serves them."""
    for least, kind in re.findall(r"`('[^`]+'::(\w+))`", TEXT):
        owner.query(f"""CREATE TABLE other (owner {kind} NOT NULL, UNIQUE (owner));
                        INSERT INTO other VALUES ({least});
                        ALTER TABLE other ENABLE ROW LEVEL SECURITY; GRANT SELECT ON other TO authenticated;
                        CREATE POLICY p ON other TO authenticated
                            USING (owner >= CASE WHEN auth.role() = 'admin' THEN {least} END)""")
        user.query("BEGIN; SET LOCAL enable_seqscan = off")
        user.execute("SELECT auth.jwt_session_init($1)", tokens.token("boss", role="admin"))
        checks.equal(f"{kind}: rows", user.value("SELECT count(*) FROM other"), "1")
        checks.true(
            f"{kind}: plan", any("other_owner_key" in line for (line,) in user.query("EXPLAIN SELECT * FROM other"))
        )
        user.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
        checks.equal(f"{kind}: rows of a user", user.value("SELECT count(*) FROM other"), "0")
        user.query("ROLLBACK")
        owner.query("DROP TABLE other")


CASES = (invitations, tenants, roles, permissions, members, shares, soft_delete, administrators, search, partitions)


def main():
    checks = Checks()
    cluster = SharedCluster()
    db = cluster.create_db("test_policies_to_copy")
    owner, user = cluster.session(db, "owner_role"), cluster.session(db)
    owner.query(tokens.setup(0))
    before = owner.query("SELECT code, object FROM auth.lint()")
    for case in CASES:
        case(Case(checks, owner, user, case.__name__))
    least_values(checks, owner, user)
    past_policies(checks, cluster, owner, user, db)
    if owner.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == "1":
        cluster.psql("-d", db, "-c", "CREATE EXTENSION vector")
        nearest(checks, owner, user)
    elif explained.version(owner) == 16:
        checks.skip("needs pgvector, which the wheel of Postgres 16 has")
    checks.equal(
        "auth.lint",
        [
            row
            for row in owner.query("SELECT code, object FROM auth.lint()")
            if row not in before and row[0] != "scope_not_stored"
        ],
        [],
    )
    # Checks that lint would say so.
    owner.query("DROP INDEX orders_by_owner")
    checks.equal(
        "auth.lint without an index",
        owner.query("SELECT code, object FROM auth.lint() WHERE object LIKE '%orders%'"),
        [["missing_index", "table public.orders"]],
    )

    checks.equal(
        "every block of the page",
        {name for name in BLOCKS if not name.endswith("_explain") and not name.startswith("nearest")},
        {case.__name__ + end for case in CASES for end in ("", "_query")},
    )
    checks.done(f"{len(CASES)} cases, as docs/policies.md has them")


main()
