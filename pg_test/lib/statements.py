"""Random statements under random policies, each run with claim functions evaluated once and with
those called for each row, which must give the same: rows and errors. scripts/random_plans.py runs
some of them in seconds, `make fuzz-plans` as many as the time allows, and the soak for minutes.

Each statement depends only on the seed and its number, so that one that fails can be run again."""

import random
import select
import time

from lib import tokens
from lib.pg import PgError

CLAIMS = {"tenant": "t1", "age": "7", "email": "u1@example.com", "role": "authenticated", "orgs": ["t1", "t2"]}
# The session's tokens: among them none, the same token again, and one with another tenant.
USERS = {
    "u1": {"tenant": "t1"},
    "u2": {"tenant": "t2"},
    "u3": {"tenant": "t1"},
    "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11": {"tenant": "t0"},
    None: {},
}
COLUMNS = ("id", "owner", "tenant", "n")
TABLES = ("a", "b", "p", "va", "vb")

SCHEMA = """
CREATE TABLE a (id int PRIMARY KEY, owner text DEFAULT auth.user_id(), tenant text, n int);
CREATE TABLE b (id int PRIMARY KEY, owner text, tenant text DEFAULT auth.session() ->> 'tenant', n int);
CREATE TABLE p (id int, owner text, tenant text, n int) PARTITION BY LIST (owner);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('u1');
CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('u2');
CREATE TABLE p3 PARTITION OF p DEFAULT;
CREATE TABLE members (team int, who text, PRIMARY KEY (who, team));
INSERT INTO a SELECT i, (ARRAY['u1', 'u2', 'u3', '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11'])[i % 4 + 1],
    't' || i % 3, i % 7 FROM generate_series(1, 80) i;
INSERT INTO b SELECT i, 'u' || i % 5, 't' || i % 2, i % 5 FROM generate_series(1, 200) i;
INSERT INTO p SELECT i, 'u' || i % 4, 't' || i % 3, i % 5 FROM generate_series(1, 80) i;
INSERT INTO members SELECT i % 7, 'u' || i % 4 FROM generate_series(1, 28) i ON CONFLICT DO NOTHING;
CREATE INDEX ON a (owner, n);
CREATE INDEX ON b (owner);
CREATE INDEX ON b (tenant, id);
CREATE INDEX ON p (n);
CREATE VIEW va AS SELECT * FROM a WHERE owner = auth.user_id() OR n < 3 WITH CHECK OPTION;
CREATE VIEW vb WITH (security_barrier) AS SELECT * FROM b WHERE (SELECT auth.session() ->> 'tenant' = tenant) OR n = 2;
CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE RETURN auth.user_id();
CREATE FUNCTION is_mine(who text) RETURNS boolean LANGUAGE sql STABLE RETURN who = auth.user_id();
CREATE FUNCTION teams(who text) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT team FROM members WHERE who = $1';
CREATE FUNCTION count_teams(who text) RETURNS bigint LANGUAGE plpgsql STABLE
    AS 'BEGIN RETURN (SELECT count(*) FROM members m WHERE m.who = $1); END';
ALTER TABLE a ENABLE ROW LEVEL SECURITY;
ALTER TABLE b ENABLE ROW LEVEL SECURITY;
ALTER TABLE p ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON a USING (true);
CREATE POLICY own ON b USING (true);
CREATE POLICY own ON p USING (true);
GRANT ALL ON ALL TABLES IN SCHEMA public TO authenticated;
ANALYZE a, b, p, members;
CREATE TABLE a_before AS TABLE a;
CREATE TABLE b_before AS TABLE b;
CREATE TABLE p_before AS TABLE p;
"""


class Statements:
    """A source of statements. Every alias has the same columns, so that each column may be used
    with each alias."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.aliases = 0

    def chance(self, share):
        return self.random.random() < share

    def one(self, *choices):
        """One of the choices; functions are called."""
        choice = self.random.choice(choices)
        return choice() if callable(choice) else choice

    def alias(self):
        self.aliases += 1
        return f"x{self.aliases}"

    # Claims, and expressions of them.

    def text(self):
        return self.one(
            "auth.user_id()",
            "auth.user_id()",
            "(auth.session() ->> 'sub')",
            "(auth.session() ->> 'tenant')",
            "lower(auth.user_id())",
            "auth.uid()::text",
            "coalesce(auth.email(), 'u2')",
            "me()",
            "(SELECT auth.user_id())",
            "(SELECT auth.session() ->> 'tenant')",
            "(SELECT upper(auth.user_id()))",
            "('u' || length(auth.user_id()))",
            "(auth.session() #>> '{orgs,0}')",
            "auth.role()",
            "CASE WHEN auth.session() ? 'age' THEN auth.session() ->> 'tenant' ELSE auth.user_id() END",
            "CASE auth.role() WHEN 'authenticated' THEN auth.user_id() ELSE 'none' END",
            "(auth.jwt() ->> 'email')",
            "(SELECT (SELECT auth.user_id()))",
            "GREATEST(auth.user_id(), 'u2')",
            "NULLIF(auth.user_id(), 'u3')",
            "(string_to_array(auth.session() ->> 'sub', ','))[1]",
            "format('%s', auth.user_id())",
        )

    def number(self):
        return self.one(
            "length(auth.user_id())",
            "(auth.session() ->> 'age')::int",
            "(SELECT (auth.session() ->> 'age')::int)",
            "(SELECT length(auth.user_id()))",
            "jsonb_array_length(auth.session() -> 'orgs')",
            "coalesce((auth.session() ->> 'none')::int, 3)",
            "count_teams(auth.user_id())",
            "CASE WHEN auth.uid() IS NULL THEN 2 ELSE 3 END",
        )

    def truth(self):
        """A condition on claims alone."""
        return self.one(
            "auth.user_id() = 'u1'",
            "auth.uid() IS NULL",
            "auth.session() ? 'age'",
            "auth.user_id() IS NOT NULL",
            "(SELECT auth.role() = 'authenticated')",
            'auth.session() @> \'{"tenant": "t1"}\'',
            "coalesce(auth.user_id() LIKE 'u%', false)",
            f"({self.text()} <> {self.text()})",
            f"({self.number()} > {self.number()})",
        )

    def raises(self):
        """Raises for most tokens, wherever it is evaluated. (Not a sub-select: Postgres evaluates
        those that depend on no row before it starts workers, reached or not, and whether it does
        may depend on the rest of the plan.)"""
        return self.one("(auth.session() ->> 'sub')::int", "(1 / (length(auth.user_id()) - length(auth.user_id())))")

    # Calls of rows.

    def column(self, alias):
        return f"{alias}.{self.one(*COLUMNS)}"

    def string(self, alias):
        return f"{alias}.{self.one('owner', 'tenant')}"

    def int(self, alias):
        return f"{alias}.{self.one('id', 'n')}"

    def condition(self, alias, depth=2):
        """A condition on a row of the alias."""
        text, number = self.text, self.number
        simple = (
            lambda: f"{self.string(alias)} = {text()}",
            lambda: f"{text()} = {self.string(alias)}",
            lambda: f"{self.string(alias)} <> {text()}",
            lambda: f"(SELECT {text()} = {self.string(alias)})",
            lambda: f"(SELECT {self.string(alias)} = {text()} AND {self.truth()})",
            lambda: f"(SELECT {number()} > {self.int(alias)})",
            lambda: f"{self.string(alias)} = ANY (ARRAY[{text()}, {text()}])",
            lambda: f"{self.string(alias)} IN ({text()}, 't2', {text()})",
            lambda: f"{self.string(alias)} IS DISTINCT FROM {text()}",
            lambda: f"{self.int(alias)} < {number()}",
            lambda: f"{self.int(alias)} % 5 = {number()}",
            lambda: f"({alias}.owner, {alias}.n) > ({text()}, {number()})",
            lambda: f"coalesce({self.string(alias)}, {text()}) = {text()}",
            lambda: f"is_mine({alias}.owner)",
            lambda: self.truth(),
            lambda: f"{self.string(alias)} BETWEEN {text()} AND {text()} || 'z'",
            lambda: f"{self.string(alias)} || {text()} <> {text()}",
            lambda: f"{self.string(alias)} = ANY (ARRAY(SELECT jsonb_array_elements_text(auth.session() -> 'orgs')))",
            lambda: f"{alias}.tenant = ANY (string_to_array(auth.session() ->> 'tenant', ',')::varchar[])",
            lambda: f"auth.session() -> 'orgs' ? {alias}.tenant",
            lambda: f"{alias}.n = {self.random.randrange(6)}",
            lambda: (
                f"CASE WHEN {alias}.n > 1000 THEN {self.raises()} = {alias}.id ELSE {self.string(alias)} = {text()} END"
            ),
            lambda: (
                f"CASE WHEN {alias}.n > 1000 THEN (SELECT {self.raises()} = {alias}.id) "
                f"ELSE {self.string(alias)} = {text()} END"
            ),
            lambda: f"({alias}.n > 1000 AND {alias}.id = CASE WHEN {alias}.n > 1000 THEN {self.raises()} END)",
            lambda: f"{self.string(alias)} LIKE {text()} || '%'",
            lambda: f"{alias}.n IN (SELECT teams({text()}))",
        )
        if depth <= 0 or self.chance(0.5):
            return self.one(*simple)

        def some():
            return self.condition(alias, depth - 1)

        return self.one(
            lambda: f"({some()} OR {some()})",
            lambda: f"({some()} AND {some()})",
            lambda: f"NOT ({some()})",
            lambda: f"({some()}) IS NOT TRUE",
            lambda: f"CASE WHEN {some()} THEN {some()} ELSE {some()} END",
            lambda: f"EXISTS ({self.inner(alias, depth - 1)})",
            lambda: f"NOT EXISTS ({self.inner(alias, depth - 1)})",
            lambda: f"{alias}.id IN ({self.inner(alias, depth - 1, 'id')})",
            lambda: f"{alias}.id NOT IN ({self.inner(alias, depth - 1, 'id')})",
            lambda: f"({some()} OR {alias}.id IN ({self.inner(alias, depth - 1, 'id', 0)}))",
            lambda: f"{self.string(alias)} = (SELECT max(s.owner) FROM ({self.inner(alias, depth - 1, 'owner')}) s)",
            lambda: f"{self.string(alias)} >= ALL ({self.inner(alias, depth - 1, 'owner')})",
            lambda: f"EXISTS (SELECT FROM members m WHERE m.team = {alias}.n AND m.who = {self.text()})",
        )

    def inner(self, outer, depth, column="id", correlated=0.6):
        """A sub-select, perhaps with a condition on the outer row."""
        alias = self.alias()
        where = [self.condition(alias, depth)]
        if self.chance(correlated):
            where.append(
                self.one(f"{alias}.id = {outer}.id", f"{alias}.n = {outer}.n", f"{alias}.owner = {outer}.owner")
            )
        return f"SELECT {alias}.{column} FROM {self.one(*TABLES)} {alias} WHERE {' AND '.join(where)}"

    def value(self, alias):
        """An expression to select from a row."""
        return self.one(
            lambda: self.column(alias),
            lambda: self.column(alias),
            self.text,
            self.number,
            lambda: f"({self.truth()})",
            lambda: f"{self.string(alias)} || {self.text()}",
            lambda: f"{self.int(alias)} + {self.number()}",
            lambda: f"CASE WHEN {self.condition(alias, 1)} THEN {self.text()} END",
            lambda: f"CASE WHEN {alias}.n > {self.one(1000, 1000, 3)} THEN {self.raises()} END",
            lambda: f"(SELECT max(s.id) FROM ({self.inner(alias, 1)}) s)",
            lambda: f"coalesce({self.string(alias)}, {self.text()})",
            lambda: f"row_to_json({alias})::text || {self.text()}",
            lambda: f"ROW({alias}.id, {self.text()})::text",
            lambda: f"({self.condition(alias, 0)})",
            lambda: f"EXISTS ({self.inner(alias, 1)})",
        )

    def relation(self, depth):
        """A relation to select from, with its alias."""
        alias = self.alias()
        if depth <= 0 or self.chance(0.6):
            return f"{self.one(*TABLES)} {alias}", alias
        source, inside = self.relation(depth - 1)
        columns = [
            f"{inside}.id",
            self.one(f"{inside}.owner", self.text()),
            f"{inside}.tenant",
            self.one(f"{inside}.n", f"{inside}.n", self.number()),
        ]
        named = ", ".join(f"{value} AS {name}" for value, name in zip(columns, COLUMNS))
        end = self.one(
            "", "", " OFFSET 0", f" ORDER BY {inside}.id, {', '.join(COLUMNS[1:])} LIMIT {self.random.randrange(1, 40)}"
        )
        query = f"SELECT {named} FROM {source} WHERE {self.condition(inside, 1)}{end}"
        if self.chance(0.25):
            source, other = self.relation(0)
            joined = self.one("UNION ALL", "UNION", "EXCEPT", "INTERSECT ALL")
            query = (
                f"({query}) {joined} SELECT {other}.id, {other}.owner, {other}.tenant, {other}.n "
                f"FROM {source} WHERE {self.condition(other, 1)}"
            )
        return f"({query}) {alias}", alias

    def joined(self, depth):
        """One or more relations, and their aliases."""
        source, alias = self.relation(depth)
        aliases = [alias]
        while self.chance(0.4) and len(aliases) < 3:
            source, alias = f"{source} ", self.one(*aliases)
            other, added = self.relation(depth - 1)
            on = self.one(
                f"{alias}.id = {added}.id",
                f"{alias}.id = {added}.id",
                f"{alias}.owner = {added}.owner AND {alias}.n = {added}.n",
            )
            kind = self.one("JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LATERAL")
            if kind == "LATERAL":
                inside = self.alias()
                other = (
                    f"LATERAL (SELECT {inside}.id, {self.one(f'{inside}.owner', self.text())} "
                    f"AS owner, {inside}.tenant, {inside}.n FROM {self.one(*TABLES)} {inside} "
                    f"WHERE {inside}.id = {alias}.id "
                    f"AND {self.condition(inside, 1)}{self.one('', ' OFFSET 0')}) {added}"
                )
                source += f"{self.one('JOIN', 'LEFT JOIN')} {other} ON {self.one('true', self.truth())}"
            else:
                if kind != "FULL JOIN":
                    on += self.one("", f" AND {self.condition(added, 0)}", f" AND {self.condition(alias, 0)}")
                source += f"{kind} {other} ON {on}"
            aliases.append(added)
        return source, aliases

    def query(self, depth=2):
        source, aliases = self.joined(depth)
        alias = self.one(*aliases)
        where = f"WHERE {self.condition(alias)}" + (
            f" AND {self.condition(self.one(*aliases))}" if self.chance(0.4) else ""
        )
        shape = self.random.randrange(12)
        if shape < 5:
            values = ", ".join(self.value(self.one(*aliases)) for _ in range(self.random.randrange(1, 4)))
            return f"SELECT {self.one('', '', 'DISTINCT ')}{values} FROM {source} {where}"
        if shape == 5:
            return (
                f"SELECT count(*), {self.one('max', 'min')}({self.text()}), "
                f"sum({self.number()}), string_agg(DISTINCT {alias}.owner || {self.text()}, "
                f"',') FILTER (WHERE {self.condition(alias, 1)}) FROM {source} {where}"
            )
        if shape == 6:
            keys = [
                self.value(alias) if self.chance(0.3) else self.column(alias),
                self.one(self.text(), f"({self.string(alias)} = {self.text()})"),
                f"{alias}.n",
            ]
            sets = self.one(
                f"ROLLUP ({keys[0]}, {keys[1]})",
                f"GROUPING SETS (({keys[1]}), ({keys[2]}), ())",
                f"CUBE ({keys[1]}, {keys[2]})",
                f"{keys[1]}, {keys[2]}",
                keys[1],
            )
            having = self.one("", "", f" HAVING count(*) > {self.number()}", f" HAVING {self.truth()}")
            return (
                f"SELECT {keys[1]}, count(*), max({alias}.id), {self.text()} "
                f"FROM {source} {where} GROUP BY {sets}{having}"
            )
        if shape == 7:
            window = self.one(
                f"PARTITION BY {alias}.owner = {self.text()}", f"PARTITION BY {self.text()}", f"PARTITION BY {alias}.n"
            )
            call = self.one(
                "row_number()",
                f"lag({alias}.owner, 1, {self.text()})",
                f"count(*) FILTER (WHERE {self.condition(alias, 0)})",
                f"nth_value({self.text()}, 2)",
            )
            return (
                f"SELECT {alias}.id, {call} OVER ({window} ORDER BY {alias}.id, {alias}::text) FROM {source} {where}"
                if len(aliases) == 1
                else f"SELECT {alias}.id FROM {source} {where}"
            )
        if shape == 8:
            cte = self.alias()
            materialized = self.one("", "MATERIALIZED", "MATERIALIZED", "NOT MATERIALIZED")
            inside = self.query(depth - 1) if depth > 1 else "SELECT auth.user_id()"
            again = self.one("", f" UNION ALL SELECT {cte}::text FROM {cte}")
            return f"WITH {cte} AS {materialized} ({inside}) SELECT {cte}::text FROM {cte} WHERE {self.truth()}{again}"
        if shape == 9:
            cte = self.alias()
            return (
                f"WITH RECURSIVE {cte} (id, owner, tenant, "
                f"n) AS (SELECT {alias}.id, {alias}.owner, {alias}.tenant, {alias}.n "
                f"FROM {source} {where} UNION SELECT x.id, {self.one('x.owner', self.text())}, x.tenant, x.n "
                f"FROM {cte} JOIN {self.one('a', 'b', 'p')} x ON x.id = {cte}.id + 7 "
                f"AND {self.condition('x', 1)}) SELECT * FROM {cte} WHERE {self.condition(cte, 1)}"
            )
        if shape == 10:
            return (
                f"SELECT {alias}.id, {alias}.owner, {alias}.tenant, {alias}.n FROM {source} {where} "
                f"ORDER BY {self.one('', f'{alias}.owner = {self.text()}, ')}1, 2, 3, "
                f"4 {self.one('', f'LIMIT {self.number()}', 'LIMIT 20', 'OFFSET 2 LIMIT 7')}"
            )
        return (
            f"SELECT {self.value(alias)}::text "
            f"FROM {source} {where} {self.one('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT')} "
            f"SELECT {self.text()}::text {self.one('', 'FROM b')}"
        )

    def change(self):
        """DML; its effects are compared afterwards."""
        table = self.one("a", "b", "p", "va", "vb")
        base = {"va": "a", "vb": "b"}.get(table, table)
        returning = self.one("", f" RETURNING t.id, {self.value('t')}", f" RETURNING t.*, {self.text()}")
        source, other = self.relation(1)
        join = (
            f"t.id = {other}.id" if "UNION" not in source and "SELECT" not in source else f"t.id = {other}.id AND false"
        )

        def update():
            return f"UPDATE SET n = {self.number()}, owner = {self.text()} WHERE {self.condition('t', 1)}"

        statement = self.one(
            lambda: (
                f"UPDATE {table} t "
                f"SET n = {self.one(self.number(), 't.n + 1')}{self.one('', f', tenant = {self.text()}')} "
                f"WHERE {self.condition('t')}{returning}"
            ),
            lambda: f"UPDATE {table} t SET owner = {self.text()} WHERE {self.condition('t')}{returning}",
            lambda: f"DELETE FROM {table} t WHERE {self.condition('t')}{returning}",
            lambda: (
                f"UPDATE {table} t SET n = {self.number()} FROM {source} "
                f"WHERE {join} AND {self.condition(other, 1)}{returning}"
            ),
            lambda: (
                f"DELETE FROM {table} t USING {source} WHERE {join} "
                f"AND {self.condition(other, 1)} AND {self.condition('t', 1)}"
            ),
            lambda: (
                f"INSERT INTO {table} AS t "
                f"SELECT {other}.id + "
                f"5000, {self.one(f'{other}.owner', self.text())}, {self.text()}, {self.number()} "
                f"FROM {source} WHERE {self.condition(other, 1)}{returning if 'UNION' not in source else ''}"
            ),
            lambda: (
                f"INSERT INTO {table} AS t "
                f"VALUES (6000, {self.text()}, {self.text()}, {self.number()}), "
                f"(6001, {self.text()}, 't1', 2){returning}"
            ),
            lambda: f"INSERT INTO {table} AS t VALUES (6000, {self.text()}, {self.text()}, {self.number()}){returning}",
            lambda: (
                f"INSERT INTO {self.one('a', 'b')} AS t "
                f"SELECT {other}.id, {self.text()}, {other}.tenant, {self.number()} "
                f"FROM {self.one('a', 'b', 'va')} {other} WHERE {self.condition(other, 1)} "
                f"ON CONFLICT (id) DO {self.one('NOTHING', update())}{returning}"
            ),
            lambda: (
                f"WITH d AS (DELETE FROM {base} t WHERE {self.condition('t')} RETURNING t.*) "
                f"SELECT d.*, {self.text()} FROM d WHERE {self.condition('d', 1)}"
            ),
            lambda: f"MERGE INTO {base} t USING (SELECT id, max(owner) AS owner, max(tenant) AS tenant, max(n) AS n "
            f"FROM b WHERE {self.condition('b', 1)} GROUP BY id) s ON t.id = s.id "
            f"WHEN MATCHED AND {self.condition('t', 1)} THEN UPDATE "
            f"SET n = {self.number()} WHEN MATCHED AND {self.condition('s', 1)} THEN DELETE "
            f"WHEN NOT MATCHED AND {self.condition('s', 1)} THEN INSERT (id, owner, tenant, n) "
            f"VALUES (s.id + 7000, {self.text()}, s.tenant, {self.number()})",
        )
        return [statement, f"TABLE {base}"]

    def locked(self):
        """A statement that rechecks rows that another transaction has changed. (Not rows of views:
        it depends on how views are written which of their conditions are below the locking, and so
        are checked before it.)"""
        table = self.one("a", "b", "p")
        order = self.one("", " ORDER BY t.id")
        return self.one(
            lambda: (
                f"UPDATE {table} t SET tenant = {self.one(self.text(), 't.tenant')} "
                f"WHERE {self.condition('t')} RETURNING t.*, {self.text()}"
            ),
            lambda: (
                f"UPDATE {table} t SET tenant = t.tenant FROM {self.one('a', 'b')} s WHERE s.id = t.id "
                f"AND {self.condition('t', 1)} AND {self.condition('s', 1)} RETURNING t.*"
            ),
            lambda: f"DELETE FROM {table} t WHERE {self.condition('t')} RETURNING t.*, {self.text()}",
            lambda: (
                f"SELECT t.*, {self.text()}, {self.value('t')} FROM {table} t "
                f"WHERE {self.condition('t')}{order} FOR UPDATE OF t"
            ),
        )

    def policy(self):
        return self.condition("t", self.one(0, 1, 2)).replace("t.", "")

    def settings(self):
        """Settings of the planner."""
        chosen = [
            f"SET enable_{name} = {self.one('on', 'on', 'off')}"
            for name in (
                "seqscan",
                "indexscan",
                "indexonlyscan",
                "bitmapscan",
                "hashjoin",
                "mergejoin",
                "nestloop",
                "hashagg",
                "sort",
                "material",
                "memoize",
                "parallel_hash",
                "partitionwise_join",
                "partitionwise_aggregate",
                "incremental_sort",
                "partition_pruning",
            )
        ]
        if self.chance(0.4):
            chosen.append(
                "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; "
                "SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;"
                f"SET parallel_leader_participation = {self.one('on', 'off')}"
            )
        if self.chance(0.8):  # makes these few rows as costly as many: for a few, mere calls stay calls
            chosen.append("SET cpu_tuple_cost = 1;")
        # Compiling takes a hundred times as long as such a statement.
        chosen.append("SET jit = on; SET jit_above_cost = 0" if self.chance(0.02) else "SET jit = off")
        chosen.append(f"SET work_mem = '{self.one('64kB', '4MB')}'")
        return "; ".join(["RESET ALL", *chosen])


class Pair:
    """Two sessions that differ only in pg_auth_jwt.evaluate_once."""

    def __init__(self, cluster, db, settings):
        self.sessions = []
        for once in ("on", "off"):
            session = cluster.session(db)
            session.query(f"{settings}; SET pg_auth_jwt.evaluate_once = {once}; SET statement_timeout = '20s'")
            self.sessions.append(session)

    def sign_in(self, user):
        token = tokens.token(user, **{**CLAIMS, **USERS[user]}) if user else None
        for session in self.sessions:
            session.execute("SELECT auth.jwt_session_init($1)", token)

    def outcomes(self, steps):
        """The results of the steps, in a transaction that is rolled back."""
        return [self.outcome(session, steps) for session in self.sessions]

    @staticmethod
    def outcome(session, steps):
        session.query("BEGIN")
        try:
            return [sorted(map(str, session.query(step))) for step in steps]
        except PgError as error:
            return f"{error.code} {error.fields['M']}"
        finally:
            session.query("ROLLBACK")

    def close(self):
        for session in self.sessions:
            session.close()


def outcome_after(other, session, statement):
    """Its result after the commit of another session's changes, for which it may have to wait."""
    other.query(
        "BEGIN; UPDATE a SET n = 100, owner = 'u1' WHERE id % 4 = 0; "
        "UPDATE a SET tenant = 't1', n = n + 1 WHERE id % 5 = 1;"
        "UPDATE b SET n = n + 1 WHERE id % 3 = 0; UPDATE b SET owner = 'u1' WHERE id % 7 = 0; "
        "UPDATE p SET n = 100, tenant = 't1' WHERE id % 4 = 0"
    )
    session.query("BEGIN")
    session.begin_query(statement)
    waits = f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {session.backend}"
    deadline = time.monotonic() + 10
    while (
        time.monotonic() < deadline
        and not select.select([session.socket], [], [], 0.002)[0]
        and other.value(waits) != "t"
    ):
        other.query("SELECT pg_stat_clear_snapshot()")
    other.query("COMMIT")
    try:
        return sorted(map(str, session.receive()))
    except PgError as error:
        return f"{error.code} {error.fields['M']}"
    finally:
        session.query("ROLLBACK")
        other.query("; ".join(f"TRUNCATE {name}; INSERT INTO {name} TABLE {name}_before" for name in "abp"))


def fuzz(cluster, db, checks, seed, seconds=None, count=None, first=0):
    """Runs statements for a time, or a number of them; returns how many ran, and how many of them
    raised."""
    owner = cluster.session(db, "owner_role")
    owner.query(tokens.setup(0) + SCHEMA)
    other = cluster.session(db, "owner_role")
    started, number, raised = time.monotonic(), first, 0
    pair = None
    while (time.monotonic() < started + seconds) if seconds else (number < first + count):
        if number % 25 == 0 or number == first:
            chooser = Statements(f"{seed}:{number - number % 25}:settings")
            while True:
                try:
                    for table in "abp":
                        owner.query(f"ALTER POLICY own ON {table} USING ({chooser.policy()})")
                    break
                except PgError:
                    continue  # recursion among the policies, or an invalid policy
            if pair:
                pair.close()
            settings = chooser.settings()
            pair = Pair(cluster, db, settings)
        source = Statements(f"{seed}:{number}")
        user = source.one(*USERS)
        pair.sign_in(user)
        what = f"{seed}:{number}, {user}"
        kind = source.random.randrange(20)
        if kind < 9:
            steps = [source.query()]
        elif kind < 14:
            steps = source.change()
        elif kind < 16:
            steps = [
                f"DECLARE c SCROLL CURSOR FOR SELECT * FROM ({source.query()}) q ORDER BY q::text",
                "FETCH 3 FROM c",
                "FETCH BACKWARD 2 FROM c",
                "FETCH LAST FROM c",
                "FETCH BACKWARD 3 FROM c",
                "MOVE FIRST FROM c",
                "FETCH ALL FROM c",
            ]
        elif kind < 18:
            steps = [
                f"SET LOCAL plan_cache_mode = {source.one('force_generic_plan', 'force_custom_plan', 'auto')}",
                f"PREPARE q AS {source.query()}",
                "EXECUTE q",
            ]
            for again in source.random.choices(list(USERS), k=2):
                token = tokens.token(again, **{**CLAIMS, **USERS[again]}) if again else ""
                steps += [f"SET LOCAL pg_auth_jwt.token = '{token}'", "EXECUTE q"]
            steps.append("DEALLOCATE q")
        elif kind == 18:
            steps = [f"EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) {source.query()}"]
        else:
            steps = [source.locked()]
        if kind == 19:
            found = [outcome_after(other, session, steps[0]) for session in pair.sessions]
        else:
            found = pair.outcomes(steps)
            for session in pair.sessions:
                session.query("DEALLOCATE ALL")
        if kind == 18:  # the plans differ, as they should
            found = [outcome if isinstance(outcome, str) else "explained" for outcome in found]
        checks.equal(f"{what}: {'; '.join(steps)}", *found)
        raised += isinstance(found[0], str) and found[0] != "explained"
        number += 1
    pair.close()
    owner.close()
    other.close()
    return number - first, raised
