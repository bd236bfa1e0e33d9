#!/usr/bin/env python3
"""One query, one identity: an attacker who holds several genuine tokens cannot combine their
claims, nor those of one token with the answers that no token, or a bad one, gets.

V makes Mallory a member of the tenant victimco, M an admin of a tenant of his own. Neither token
alone shows a file of victimco's ceo. Each attack changes the token while a query runs; each must
end in 28J12, or in an error that no exception handler of a policy can turn into an answer. The
legitimate ways of working as several users in turn must still work.
"""

import threading

from lib import tokens
from lib.pg import Checks, PgError, SharedCluster

V = tokens.token("mallory", tenant_id="victimco", role="member")
M = tokens.token("mallory", tenant_id="malloryco", role="admin")
LOW = tokens.token("mallory", tenant_id="victimco", clearance="low")
# Tokens that are refused: one that has run out, one that is none.
EXPIRED = tokens.token("mallory", seconds=-60, tenant_id="victimco")
GARBAGE = "garbage"

ONCE = "pg_auth_jwt.evaluate_once"

SCHEMA = """
GRANT CREATE ON SCHEMA public TO authenticated;
CREATE TABLE files (id int PRIMARY KEY, tenant text, owner text, body text);
INSERT INTO files VALUES (1, 'malloryco', 'mallory', 'his own'), (2, 'victimco', 'mallory', 'his own');
INSERT INTO files SELECT i, 'victimco', 'ceo', 'secret ' || i FROM generate_series(3, 1000) i;
CREATE INDEX ON files (tenant);
ALTER TABLE files ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON files AS RESTRICTIVE TO authenticated USING (tenant = auth.session() ->> 'tenant_id');
CREATE POLICY own_or_admin ON files TO authenticated USING (owner = auth.user_id() OR auth.role() = 'admin');

CREATE TABLE memos (id int PRIMARY KEY, tenant text, secret boolean);
INSERT INTO memos SELECT i, 'victimco', i > 1 FROM generate_series(1, 500) i;
ALTER TABLE memos ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON memos TO authenticated USING (tenant = auth.session() ->> 'tenant_id'
    AND (NOT secret OR (auth.session() ->> 'clearance') IS DISTINCT FROM 'low'));

-- Policies that read the claims in helper functions only, some once for the query, some for each row.
CREATE SCHEMA helper;
GRANT USAGE ON SCHEMA helper TO PUBLIC;
CREATE FUNCTION helper.tenant() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
    SET search_path = pg_catalog AS 'BEGIN RETURN auth.session() ->> ''tenant_id''; END';
CREATE FUNCTION helper.is_admin() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
    AS 'SELECT auth.role() = ''admin''';
CREATE FUNCTION helper.uid() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN auth.user_id(); END';
CREATE TABLE helped (LIKE files INCLUDING ALL);
INSERT INTO helped SELECT * FROM files;
ALTER TABLE helped ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON helped AS RESTRICTIVE TO authenticated USING (tenant = (SELECT helper.tenant()));
CREATE POLICY own_or_admin ON helped TO authenticated USING (owner = helper.uid() OR (SELECT helper.is_admin()));

-- Objects that reach the guarded table through something else.
CREATE VIEW seen WITH (security_barrier) AS SELECT * FROM helped;
ALTER VIEW seen OWNER TO authenticated;
-- A view over a table without row security, which filters by itself.
CREATE TABLE unguarded AS SELECT * FROM files;
CREATE VIEW filtered WITH (security_barrier) AS SELECT * FROM unguarded
    WHERE tenant = (SELECT helper.tenant()) AND (owner = helper.uid() OR (SELECT helper.is_admin()));
GRANT SELECT ON filtered TO authenticated;
CREATE FUNCTION inlined() RETURNS SETOF helped LANGUAGE sql STABLE AS 'SELECT * FROM helped';

-- Helper functions that return rows run their queries to the end, and so in parallel workers.
CREATE FUNCTION helper.tenants() RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER
    AS 'BEGIN RETURN QUERY SELECT auth.session() ->> ''tenant_id''; END';
CREATE FUNCTION helper.roles_in(tenant text) RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER
    AS 'BEGIN RETURN QUERY SELECT auth.role(); END';
CREATE TABLE shared (LIKE files INCLUDING ALL);
INSERT INTO shared SELECT * FROM files;
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON shared AS RESTRICTIVE TO authenticated USING (tenant IN (SELECT helper.tenants()));
CREATE POLICY admins ON shared TO authenticated USING ('admin' IN (SELECT helper.roles_in(tenant)));

-- A helper function that turns each error into NULL.
CREATE FUNCTION helper.clearance() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    AS 'BEGIN RETURN auth.session() ->> ''clearance''; EXCEPTION WHEN OTHERS THEN RETURN NULL; END';
CREATE TABLE notes (id int PRIMARY KEY, tenant text, secret boolean);
INSERT INTO notes SELECT * FROM memos;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON notes TO authenticated USING (tenant = (SELECT helper.tenant())
    AND (NOT secret OR helper.clearance() IS DISTINCT FROM 'low'));

-- One that turns even the cancelling of a query into NULL, as PL/Python's "except Exception" does.
CREATE FUNCTION helper.any_clearance() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS
    'BEGIN RETURN auth.session() ->> ''clearance''; EXCEPTION WHEN OTHERS OR query_canceled THEN RETURN NULL; END';
CREATE TABLE letters (id int PRIMARY KEY, tenant text, secret boolean);
INSERT INTO letters SELECT * FROM memos;
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON letters TO authenticated USING (tenant = (SELECT helper.tenant())
    AND (NOT secret OR helper.any_clearance() IS DISTINCT FROM 'low'));
-- No condition but the one with the handler.
CREATE TABLE drafts (id int PRIMARY KEY, tenant text, secret boolean);
INSERT INTO drafts SELECT * FROM memos;
ALTER TABLE drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON drafts TO authenticated USING (helper.clearance() IS DISTINCT FROM 'low');

-- Functions and rules that read a table without row security and grants, for their caller, by helper functions.
CREATE TABLE kept AS SELECT * FROM files;
ALTER TABLE kept ADD PRIMARY KEY (id);
CREATE FUNCTION of_definer() RETURNS SETOF kept LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT * FROM kept
    WHERE tenant = (SELECT helper.tenant()) AND (owner = helper.uid() OR (SELECT helper.is_admin()))';
CREATE FUNCTION cursor_of_definer() RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE c refcursor := 'left_open'; BEGIN
    OPEN c FOR SELECT owner FROM kept WHERE tenant = (SELECT helper.tenant())
        AND (owner = helper.uid() OR helper.is_admin());
    RETURN c; END $$;
CREATE TABLE requests (id int, body text);
CREATE RULE write AS ON INSERT TO requests DO INSTEAD UPDATE kept SET body = new.body
    WHERE kept.id = new.id AND tenant = (SELECT helper.tenant()) AND (owner = helper.uid() OR helper.is_admin())
    RETURNING kept.id, kept.body;
-- A rule that lets only some rows pass to the table that it is on.
CREATE TABLE inbox (id int, tenant text, owner text);
CREATE RULE refuse AS ON INSERT TO inbox
    WHERE (tenant = (SELECT helper.tenant()) AND (owner = helper.uid() OR helper.is_admin())) IS NOT TRUE
        DO INSTEAD NOTHING;
GRANT INSERT, SELECT ON requests, inbox TO authenticated;

-- An inheritance parent without rows: only the children are read, under the parent's policies.
CREATE TABLE logged (LIKE files, CHECK (id < 0) NO INHERIT);
CREATE TABLE logged_1 (PRIMARY KEY (id)) INHERITS (logged);
INSERT INTO logged_1 SELECT * FROM files;
ALTER TABLE logged ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON logged AS RESTRICTIVE TO authenticated USING (tenant = (SELECT helper.tenant()));
CREATE POLICY own_or_admin ON logged TO authenticated USING (owner = helper.uid() OR (SELECT helper.is_admin()));

-- Partitions are pruned when a cursor is declared.
CREATE TABLE parts (tenant text, owner text) PARTITION BY LIST (tenant);
CREATE TABLE parts_v PARTITION OF parts FOR VALUES IN ('victimco');
CREATE TABLE parts_m PARTITION OF parts FOR VALUES IN ('malloryco');
INSERT INTO parts SELECT t, 'ceo' FROM unnest('{victimco,malloryco}'::text[]) t, generate_series(1, 3);
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON parts TO authenticated
    USING (tenant = (auth.session() ->> 'tenant_id') AND auth.role() = 'admin');

-- A table without row security, whose users filter by a claim themselves.
CREATE TABLE plain (id int PRIMARY KEY, owner text, tenant text);
INSERT INTO plain VALUES (1, 'mallory', 'victimco'), (2, 'mallory', 'victimco');
GRANT SELECT, UPDATE ON files, memos, helped, shared, logged, notes, letters, drafts, parts, plain TO authenticated;
ANALYZE;
"""

# Mallory's own functions. switch() changes the token in the middle of a query.
MALLORYS = f"""
CREATE FUNCTION switch(anything int DEFAULT 0) RETURNS boolean LANGUAGE plpgsql COST 100000
    AS $$ BEGIN PERFORM auth.jwt_session_init('{M}'); RETURN true; END $$;
CREATE FUNCTION switch_by_set(anything int) RETURNS boolean LANGUAGE plpgsql
    AS $$ BEGIN SET pg_auth_jwt.token = '{M}'; RETURN true; END $$;
CREATE FUNCTION peek(anything int) RETURNS text LANGUAGE plpgsql SET pg_auth_jwt.token = '{M}'
    AS $$ BEGIN RETURN auth.role(); END $$;
CREATE FUNCTION peek_in_parallel(anything int) RETURNS text LANGUAGE plpgsql PARALLEL SAFE SET pg_auth_jwt.token = '{M}'
    AS $$ BEGIN RETURN auth.role(); END $$;
CREATE TABLE loot (id int, owner text);
CREATE FUNCTION loot_trigger() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM auth.jwt_session_init('{M}'); RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON loot FOR EACH ROW EXECUTE FUNCTION loot_trigger();
"""

# Settings that the attacker may change, so that the plan reads the guarded table row by row.
PLAN = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;"


def sign_in(token):
    return f"SELECT auth.jwt_session_init('{token}', false)"


def cursor(s, table="files"):
    """Without any function of Mallory's."""
    s.query(f"{PLAN} BEGIN; {sign_in(V)}; DECLARE c CURSOR FOR SELECT owner FROM {table} ORDER BY id; FETCH 1 FROM c")
    s.query(sign_in(M))
    return s.query("FETCH ALL FROM c")


def cursor_with_hold(s):
    s.query(
        f"{PLAN} BEGIN; {sign_in(V)}; DECLARE c CURSOR WITH HOLD FOR "
        "SELECT owner FROM files ORDER BY id; FETCH 1 FROM c"
    )
    s.query(sign_in(M))
    s.query("COMMIT")
    return s.query("FETCH ALL FROM c")


def portal_in_pieces(s):
    s.query(PLAN + sign_in(V))
    s.send(
        s.parse("BEGIN"),
        s.bind(),
        s.run(),
        s.parse("SELECT owner FROM files ORDER BY id", name="q"),
        s.bind(name="q", portal="p"),
        s.run(1, "p"),
        s.parse(sign_in(M)),
        s.bind(),
        s.run(),
        s.run(0, "p"),
        s.SYNC,
    )
    return s.receive()


def target_list(s):
    s.query(PLAN + sign_in(V))
    return s.query(f"SELECT owner, auth.jwt_session_init('{M}') FROM files WHERE id > 0 ORDER BY id")


def target_list_of_subquery(s):
    s.query(PLAN + sign_in(V))
    return s.query(
        f"SELECT owner FROM (SELECT owner, auth.jwt_session_init('{M}') IS NULL AS x FROM files"
        " WHERE id > 0 ORDER BY id OFFSET 0) AS s WHERE x IS NOT NULL"
    )


def returning(s):
    s.query(PLAN + sign_in(V))
    return s.query(f"UPDATE files SET body = 'pwned' WHERE id > 0 RETURNING owner, auth.jwt_session_init('{M}')")


def sign_out(s):
    """One token is enough where a policy tests the absence of a claim."""
    s.query(PLAN + sign_in(LOW))
    return s.query(
        "SELECT CASE WHEN secret THEN 'ceo' END, auth.jwt_session_init(NULL) FROM memos WHERE id > 0 ORDER BY id"
    )


def index_key(s):
    """The key is evaluated once, the filter for each row."""
    s.query(PLAN + sign_in(V))
    return s.query(f"SELECT owner, auth.jwt_session_init('{M}') FROM files ORDER BY tenant")


def where_clause(s):
    s.query(sign_in(V))
    return s.query("SELECT owner FROM files WHERE switch(id)")


def assigned_by_set(s):
    s.query(sign_in(V))
    return s.query("SELECT owner FROM files WHERE switch_by_set(id)")


def set_clause(s):
    """Mallory's function reads M's role inside of a query that belongs to V."""
    s.query(sign_in(V))
    return s.query("SELECT owner, peek(id) FROM files")


def set_clause_first(s):
    s.query(sign_in(V))
    return s.query("SELECT owner FROM (SELECT peek(1) AS role OFFSET 0) AS p, files WHERE role IS NOT NULL")


def trigger(s):
    s.query(sign_in(V))
    return s.query("INSERT INTO loot SELECT id, owner FROM files RETURNING owner")


def helper_functions(s):
    s.query(sign_in(V))
    return s.query("SELECT owner, switch(id) FROM helped")


def helper_functions_by_cursor(s):
    return cursor(s, "helped")


def helper_functions_in_view(s):
    s.query(sign_in(V))
    return s.query("SELECT owner, switch(id) FROM seen")


def helper_functions_in_view_without_row_security(s):
    s.query(sign_in(V))
    return s.query("SELECT owner, switch(id) FROM filtered")


def helper_functions_in_inlined_function(s):
    s.query(sign_in(V))
    return s.query("SELECT owner, switch(id) FROM inlined()")


def helper_functions_in_exists(s):
    s.query(sign_in(V))
    return s.query(
        "SELECT (SELECT owner FROM helped h WHERE h.id = n.id AND switch(h.id)) FROM generate_series(2, 9) AS n (id)"
    )


def helper_functions_in_cte(s):
    s.query(sign_in(V))
    return s.query("WITH c AS MATERIALIZED (SELECT owner FROM helped WHERE switch(id)) SELECT * FROM c")


def helper_functions_in_writing_cte(s):
    """A part that the main query does not read runs when the executor finishes."""
    s.query(sign_in(V))
    return s.query("WITH c AS (UPDATE helped SET body = '' WHERE switch(id) RETURNING owner) SELECT 'ceo'")


def helper_functions_in_workers(s):
    """A worker does not know the query that its leader is running."""
    s.query(
        f"{PLAN} SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET {ONCE} = off;"
    )
    setting = "force_parallel_mode" if int(s.value("SHOW server_version_num")) < 160000 else "debug_parallel_query"
    s.query(
        f"SET {setting} = on; BEGIN; {sign_in(V)}; DECLARE c CURSOR FOR"
        " SELECT h.owner FROM generate_series(1, 9) AS n (id) LEFT JOIN shared AS h USING (id); FETCH 3 FROM c"
    )
    s.query(sign_in(M))
    return s.query("FETCH ALL FROM c")


def helper_functions_of_inheritance_parent(s):
    s.query(sign_in(V))
    return s.query("SELECT owner, switch(id) FROM logged WHERE id > 0")


def inside_plpgsql(s):
    s.query(sign_in(V))
    s.query("DO $$ DECLARE n int; BEGIN SELECT count(switch(id)) INTO n FROM helped; END $$")
    return [["ceo"]]


def partitions_pruned(s):
    # Evaluated once, the claims are first needed at the first FETCH.
    s.query(f"SET {ONCE} = off; BEGIN; {sign_in(V)}; DECLARE c CURSOR FOR SELECT owner FROM parts")
    s.query(sign_in(M))
    return s.query("FETCH ALL FROM c")


def query_without_row_security(s):
    """A claim in the query's own expressions counts there too."""
    s.query(sign_in(V))
    return s.query("SELECT auth.role() FROM plain WHERE owner = auth.user_id() AND switch(id)")


def two_claims_of_a_target_list(s):
    s.query(sign_in(V))
    return s.query(f"SELECT auth.session() ->> 'tenant_id', auth.jwt_session_init('{M}'), auth.role()")


def caught_error(s):
    """An error that is caught would be an answer."""
    s.query(sign_in(V))
    s.query(
        "CREATE OR REPLACE FUNCTION caught(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM switch(); "
        "RETURN auth.role(); EXCEPTION WHEN SQLSTATE '28J12' THEN RETURN 'caught'; END $$"
    )
    s.query(
        "CREATE OR REPLACE FUNCTION stays_switched(int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM caught(0); "
        "PERFORM switch(); RETURN ''; END $$"
    )
    return s.query("SELECT owner, stays_switched(id) FROM helped")


def swallowed_error(s):
    """The policy's own helper function would catch the error, and treat Mallory as a user without a
    clearance."""
    s.query(PLAN + sign_in(LOW))
    return s.query(
        f"SELECT CASE WHEN secret THEN 'ceo' END, auth.jwt_session_init('{M}') FROM notes WHERE id > 0 ORDER BY id"
    )


def definers_function(s):
    """A function in SQL that its query runs step by step, and whose query names nothing guarded."""
    s.query(sign_in(V))
    return s.query(f"SELECT of_definer(), auth.jwt_session_init('{M}')")


def definers_function_in_subquery(s):
    s.query(sign_in(V))
    return s.query("SELECT r FROM (SELECT of_definer() AS r OFFSET 0) AS s WHERE switch((r).id)")


def definers_cursor(s):
    """The function has ended, but its query goes on with the rights of its owner."""
    s.query(f"BEGIN; {sign_in(V)}; SELECT cursor_of_definer(); FETCH 1 FROM left_open")
    s.query(sign_in(M))
    return s.query("FETCH ALL FROM left_open")


def cursor_rewound(s):
    """Rewinding evaluates keys of indexes again, and no row is read in that statement."""
    s.query(
        f"SET enable_seqscan = off; BEGIN; {sign_in(M)}; DECLARE c SCROLL CURSOR FOR SELECT owner FROM files"
        " WHERE tenant IS NOT NULL; FETCH 1 FROM c"
    )
    s.query(sign_in(V) + "; MOVE ABSOLUTE 0 FROM c")
    s.query(sign_in(M))
    return s.query("FETCH ALL FROM c")


def rules_action(s):
    s.query("SET enable_hashjoin = off; SET enable_mergejoin = off;" + sign_in(V))
    return s.query(
        "INSERT INTO requests SELECT g, 'pwned' FROM generate_series(1, 600) AS g"
        f" RETURNING id, auth.jwt_session_init('{M}')"
    )


def rules_condition(s):
    """It filters what the statement itself writes."""
    s.query(sign_in(V))
    return s.query(
        "INSERT INTO inbox SELECT g, 'victimco', CASE WHEN g = 1 THEN 'mallory' WHEN switch(g) THEN 'ceo' END"
        " FROM generate_series(1, 3) AS g"
    )


ATTACKS = [
    cursor,
    cursor_with_hold,
    portal_in_pieces,
    target_list,
    target_list_of_subquery,
    returning,
    sign_out,
    index_key,
    where_clause,
    assigned_by_set,
    set_clause,
    set_clause_first,
    trigger,
    helper_functions,
    helper_functions_by_cursor,
    helper_functions_in_view,
    helper_functions_in_view_without_row_security,
    helper_functions_in_inlined_function,
    helper_functions_in_exists,
    helper_functions_in_cte,
    helper_functions_in_writing_cte,
    helper_functions_in_workers,
    helper_functions_of_inheritance_parent,
    inside_plpgsql,
    partitions_pruned,
    query_without_row_security,
    two_claims_of_a_target_list,
    caught_error,
    swallowed_error,
    definers_function,
    definers_function_in_subquery,
    definers_cursor,
    cursor_rewound,
    rules_action,
    rules_condition,
]
# Their error passes WHEN OTHERS.
UNCATCHABLE = [caught_error, swallowed_error]


def outcome(attack, *args):
    """The SQLSTATE, or the rows."""
    try:
        return attack(*args)
    except PgError as error:
        return error.code


def attacks(cluster, db, checks):
    for once in "on", "off":
        for attack in ATTACKS:
            s = cluster.session(db)
            # Loads the library, so that each attack finds its hooks.
            s.query(f"SELECT auth.user_id(); SET {ONCE} = {once}")
            checks.equal(
                f"{attack.__name__}, {ONCE} = {once}", outcome(attack, s), "57014" if attack in UNCATCHABLE else "28J12"
            )
            s.close()


# A token that goes bad is another identity, whether it is replaced or runs out.
OTHERS = {"another token": M, "no token": "", "garbage": GARBAGE, "an expired token": EXPIRED}
# Tables whose policies turn an error into an answer, and what ends the query: the error itself,
# or, where a policy has caught even that, the end of the query.
HANDLERS = {"notes": "57014", "letters": "28J12"}
REFUSED = {GARBAGE: "28J01", EXPIRED: "28J05"}


def set_token(token):
    return f"set_config('pg_auth_jwt.token', '{token}', true)"


def error_of(s, sql):
    """The error of a statement that must have one."""
    try:
        s.query(sql)
    except PgError as error:
        return error
    return PgError({"C": "none", "M": "", "D": ""})


def token_that_goes_bad_in_a_query(cluster, db, checks):
    """A handler of exceptions in a policy does not help: no row of the ceo is shown or written."""
    owner = cluster.session(db, "owner_role")
    for once in "on", "off":
        for table, code in HANDLERS.items():
            for name, token in OTHERS.items():
                what = f"{name} in a query on {table}, {ONCE} = {once}"
                s = cluster.session(db)
                s.query(f"SELECT auth.user_id(); SET {ONCE} = {once}; {PLAN}" + sign_in(LOW))
                error = error_of(
                    s,
                    f"SELECT CASE WHEN secret THEN 'ceo' END, {set_token(token)} FROM {table} WHERE id > 0 ORDER BY id",
                )
                checks.equal(f"SELECT, {what}", error.code, code)
                # The error of letters comes from the end of the query, which no longer knows why.
                if token in REFUSED and table == "notes":
                    checks.true(f"DETAIL names the refusal, {what}", REFUSED[token] in error.fields["D"])
                checks.equal(f"rows that reach the client, {what}", [row for row in error.rows if row[0]], [])
                error = error_of(s, f"UPDATE {table} SET secret = false WHERE id > 0 RETURNING {set_token(token)}")
                checks.equal(f"UPDATE, {what}", error.code, code)
                checks.equal(
                    f"rows written, {what}", owner.value(f"SELECT count(*) FROM {table} WHERE NOT secret"), "1"
                )
                # The rows of an aggregate go to no client.
                checks.equal(
                    f"aggregate, {what}",
                    outcome(
                        s.query, f"SELECT string_agg(secret::text || {set_token(token)}, '') FROM {table} WHERE id > 0"
                    ),
                    code,
                )
                # PL/pgSQL gets them once the query has ended.
                checks.equal(
                    f"in PL/pgSQL, {what}",
                    outcome(
                        s.query,
                        "DO $$ DECLARE r record; "
                        f"BEGIN FOR r IN SELECT secret, {set_token(token)} FROM {table} WHERE id > 0"
                        " ORDER BY id LOOP IF r.secret THEN RAISE 'read'; END IF; END LOOP; END $$",
                    ),
                    "28J12",
                )
                s.close()


def good_token_after_a_bad_one(cluster, db, checks):
    """A query that a handler let begin with a bad token does not go on with a good one."""
    for once in "on", "off":
        for token in GARBAGE, EXPIRED:
            for table in "letters", "notes":
                s = cluster.session(db)
                s.query(f"SELECT auth.user_id(); SET {ONCE} = {once}; SET pg_auth_jwt.token = '{token}'")
                checks.equal(
                    f"{table} by a good token after a bad one, {ONCE} = {once}",
                    outcome(
                        s.query, f"SELECT (SELECT count(*) FROM drafts), {set_token(V)}, (SELECT count(*) FROM {table})"
                    ),
                    "28J12",
                )
                s.close()


def bad_token_alone(cluster, db, checks):
    """Its own SQLSTATE, by which applications go, whatever the policy calls."""
    for token, code in REFUSED.items():
        for once in "on", "off":
            for table in "files", "memos", "helped", "seen", "notes", "letters", "of_definer()":
                s = cluster.session(db)
                s.query(f"SET {ONCE} = {once}; SET pg_auth_jwt.token = '{token}'")
                for turn in "first", "second":
                    checks.equal(
                        f"{table} by a bad token alone, {turn} time", outcome(s.query, f"SELECT * FROM {table}"), code
                    )
                s.close()


def cursor_left_open(cluster, db, checks):
    """It can be closed and not read, whatever its plan evaluates once, by whoever comes next."""
    cases = {
        "table": "SELECT owner FROM files",
        "helpers": "SELECT owner FROM helped",
        "view": "SELECT owner FROM seen",
        "view that filters": "SELECT owner FROM filtered",
        "handlers": "SELECT id FROM notes",
        "caught all": "SELECT id FROM letters",
        "own expressions": "SELECT auth.role() FROM generate_series(1, 9)",
    }
    for once in "on", "off":
        for name, query in cases.items():
            for next_user, token in OTHERS.items():
                what = f"{name}, next is {next_user}, {ONCE} = {once}"
                s = cluster.session(db)
                s.query(f"SELECT auth.user_id(); SET {ONCE} = {once}")
                begin = f"BEGIN; SELECT {set_token(V)};"
                for read in "FETCH ALL FROM c", "MOVE 1 FROM c", "FETCH RELATIVE 0 FROM c":
                    s.query(f"{begin} DECLARE c CURSOR FOR {query}; FETCH 1 FROM c; SELECT {set_token(token)}")
                    checks.equal(f"{read}, {what}", outcome(s.query, read), "28J12")
                    s.query("ROLLBACK")
                s.query(begin)
                s.send(s.parse(query), s.bind(portal="p"), s.run(rows=1, portal="p"), s.SYNC)
                s.receive()
                s.query(f"SELECT {set_token(token)}")
                s.send(s.run(portal="p"), s.SYNC)
                checks.equal(f"portal, {what}", outcome(s.receive), "28J12")
                s.query("ROLLBACK")
                s.query(f"{begin} DECLARE c CURSOR FOR {query}; FETCH 1 FROM c; SELECT {set_token(token)}")
                checks.equal(f"CLOSE, {what}", s.query("CLOSE c; COMMIT"), [])
                s.query(f"{begin} DECLARE c CURSOR WITH HOLD FOR {query}; FETCH 1 FROM c; SELECT {set_token(token)}")
                # Postgres may evaluate claims again before it runs the query to its end.
                checks.true(f"COMMIT of WITH HOLD, {what}", outcome(s.query, "COMMIT") in ("28J12", REFUSED.get(token)))
                s.close()


def cursor_whose_token_goes_bad(cluster, db, checks):
    """The same token at each FETCH, but the key of its signature is withdrawn meanwhile."""
    owner = cluster.session(db, "owner_role")
    token = tokens.token("mallory", key=1, tenant_id="victimco", clearance="low")
    for once in "on", "off":
        for table in "files", "helped", *HANDLERS:
            owner.query(f"SELECT auth.init('{tokens.jwks(*range(tokens.KEYS))}', issuer => '{tokens.ISSUER}')")
            s = cluster.session(db)
            s.query(
                f"SELECT auth.user_id(); SET {ONCE} = {once}; {PLAN} BEGIN; SELECT {set_token(token)};"
                f"DECLARE c CURSOR FOR SELECT id FROM {table} ORDER BY id; FETCH 1 FROM c"
            )
            owner.query("DELETE FROM auth.jwks WHERE kid = 'k1'")
            checks.equal(
                f"{table} once the token's key is withdrawn, {ONCE} = {once}",
                outcome(s.query, "FETCH ALL FROM c"),
                "28J03",
            )
            s.close()


def first_use_of_a_connection(cluster, db, checks):
    """The library is loaded by a policy's helper function, in a query that began before that."""
    for attack in (
        "SELECT owner, switch(id) FROM helped",
        "SELECT owner FROM seen WHERE switch(id)",
        "UPDATE helped SET body = '' WHERE switch(id)",
        "DO $$ DECLARE n int; BEGIN SELECT count(switch(id)) INTO n FROM helped; END $$",
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT switch(id) FROM helped LOOP NULL; END LOOP; END $$",
    ):
        s = cluster.session(db)
        s.query(f"SET pg_auth_jwt.token = '{V}'")
        checks.equal(f"first use: {attack}", outcome(s.query, attack), "28J12")
        s.close()


def row_that_another_session_changes(cluster, db, checks):
    """EvalPlanQual evaluates a policy again, under the token of that time."""
    owner = cluster.session(db, "owner_role")
    for table, condition in ("files", "true"), ("helped", "true"), ("plain", "owner = auth.user_id()"):
        s = cluster.session(db)
        # A claim that is evaluated once is not evaluated again here.
        s.query(f"SELECT auth.user_id(); SET {ONCE} = off;" + sign_in(V))
        owner.query(f"BEGIN; UPDATE {table} SET tenant = 'malloryco', owner = 'mallory' WHERE id = 2")
        done = []
        worker = threading.Thread(
            target=lambda: done.append(
                outcome(
                    s.query,
                    f"UPDATE {table} SET tenant = tenant WHERE id = 2 AND {condition} AND switch(id) RETURNING id",
                )
            )
        )
        worker.start()
        while worker.is_alive() and not int(owner.value("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            worker.join(0.01)
        owner.query("COMMIT")
        worker.join()
        checks.equal(f"a changed row of {table}", done, ["28J12"])
        owner.query(f"UPDATE {table} SET tenant = 'victimco' WHERE id = 2")
        s.close()


PARALLEL = (
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
    "SET max_parallel_workers_per_gather = 2;"
)


def parallel_workers(cluster, db, checks):
    for leader in "on", "off":
        s = cluster.session(db)
        s.query(PARALLEL + f"SET parallel_leader_participation = {leader};" + sign_in(V))
        plan = "\n".join(row[0] for row in s.query("EXPLAIN SELECT count(*) FROM helped WHERE length(body) > 0"))
        checks.true(f"a parallel plan, leader {leader}", "Gather" in plan)
        checks.equal(
            "workers agree with their leader", s.query("SELECT count(*) FROM helped WHERE length(body) > 0"), [["1"]]
        )
        checks.equal(
            "a worker's function under another token",
            outcome(s.query, "SELECT count(*) FROM helped WHERE peek_in_parallel(id) = 'admin'"),
            "28J12",
        )
        s.close()


def legitimate(cluster, db, checks):
    owner = cluster.session(db, "owner_role")
    owner.query("SELECT auth.user_id()")
    owner.query(f"""
        CREATE TABLE given (name text, token text);
        INSERT INTO given VALUES ('V', '{V}'), ('M', '{M}');
        GRANT SELECT ON given TO authenticated;
        CREATE FUNCTION rows_of(token text) RETURNS bigint LANGUAGE plpgsql AS $$
            DECLARE n bigint; BEGIN PERFORM auth.jwt_session_init(token); SELECT sum(id) INTO n FROM files;
                RETURN n; END $$;
        CREATE FUNCTION rows_of_in_sql(token text) RETURNS bigint LANGUAGE sql AS $$
            SELECT auth.jwt_session_init(token); SELECT sum(id) FROM helped $$;
        CREATE FUNCTION two_users() RETURNS text LANGUAGE plpgsql AS $$
            DECLARE a text; b text; BEGIN
                PERFORM auth.jwt_session_init('{V}'); a := auth.role();
                PERFORM auth.jwt_session_init('{M}'); b := auth.role();
                RETURN concat_ws(',', a, b, rows_of('{V}'), rows_of('{M}')); END $$;
        CREATE FUNCTION who() RETURNS text LANGUAGE sql SET pg_auth_jwt.token = '{M}' RETURN auth.role();
        CREATE FUNCTION recovers() RETURNS text LANGUAGE plpgsql AS $$
            DECLARE code text; BEGIN
                PERFORM auth.jwt_session_init('{V}');
                BEGIN PERFORM owner, switch(id) FROM files; EXCEPTION WHEN OTHERS THEN code := SQLSTATE; END;
                RETURN concat_ws(',', code, auth.role(), rows_of('{M}'), auth.role()); END $$;
    """)
    cases = {
        "a function that signs in as two users in turn": ("SELECT two_users()", "member,admin,2,1"),
        "the same inside of a query": ("SELECT two_users() FROM given LIMIT 1", "member,admin,2,1"),
        "the same inside of DO": (
            "DO $$ BEGIN IF two_users() <> 'member,admin,2,1' THEN RAISE 'other rows'; END IF; END $$",
            None,
        ),
        "a function called for each token": (
            "SELECT string_agg(rows_of(token)::text, ',' ORDER BY name DESC) FROM given",
            "2,1",
        ),
        "a function in SQL called for each token": (
            "SELECT string_agg(rows_of_in_sql(token)::text, ',' ORDER BY name DESC) FROM given",
            "2,1",
        ),
        "signing in and reading in one statement": (
            f"WITH i AS MATERIALIZED (SELECT auth.jwt_session_init('{V}')) SELECT sum(id) FROM i, files",
            "2",
        ),
        "a function with its own token": ("SELECT who()", "admin"),
        "a caught error": ("SELECT recovers()", "28J12,member,1,admin"),
    }
    for name, (sql, wanted) in cases.items():
        for library in "loaded", "not loaded":
            s = cluster.session(db)
            if library == "loaded":
                s.query("SELECT auth.user_id()")
            checks.equal(f"{name}, library {library}", outcome(s.value, sql), wanted)
            s.close()
    s = cluster.session(db)
    fetch = "FETCH 1 FROM c"
    s.query(f"BEGIN; {sign_in(V)}; DECLARE c CURSOR FOR SELECT owner FROM helped; {fetch}")
    s.query(sign_in(M))
    checks.equal("another user while a cursor is open", s.value("SELECT sum(id) FROM helped"), "1")
    s.query(sign_in(V))
    checks.equal("a cursor whose user is back", s.query("FETCH ALL FROM c"), [])
    s.close()


checks = Checks()
cluster = SharedCluster()
db = cluster.create_db("test_one_identity")
owner = cluster.session(db, "owner_role")
owner.query(SCHEMA + tokens.setup())
s = cluster.session(db)
# A function's SET clause takes the library's setting, not a placeholder.
s.query("SELECT auth.user_id()")
s.query(MALLORYS)
for name, token, rows in ("V", V, [["2"]]), ("M", M, [["1"]]):
    s.query(sign_in(token))
    for table in "files", "helped", "seen", "inlined()", "of_definer()":
        checks.equal(f"{table} that {name} alone shows", s.query(f"SELECT id FROM {table}"), rows)
parts = (
    attacks,
    token_that_goes_bad_in_a_query,
    good_token_after_a_bad_one,
    bad_token_alone,
    cursor_left_open,
    cursor_whose_token_goes_bad,
    first_use_of_a_connection,
    parallel_workers,
    legitimate,
    # Last, because it moves rows to the end of their tables, where the attacks would find them last.
    row_that_another_session_changes,
)
checks.run(parts, cluster, db, checks)
checks.done(f"{len(ATTACKS)} attacks with two tokens refused, each with claims evaluated once and not")
