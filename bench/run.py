#!/usr/bin/env python3
"""Measures what the extension costs, each thing beside what it is compared with, in one run: rounds
that alternate between the two, and their medians. Writes docs/performance.md and
docs/performance.svg.

  bench/run.py [PART ...]    parts: scans indexes skew transactions crowd connections instructions keys
                             followed revocation sizes memory logins verifier

Without parts it runs all of them; `instructions` only where valgrind is. With parts it replaces
their tables, each with its date and commit, and leaves the others as they are. The extension must
be installed (scripts/install). `PG_SESSION_JWT=LIBRARY bench/run.py connections` measures
pg_session_jwt too, from its library for the same Postgres. `logins` is for Postgres 18 and later:
`PG=18 bench/run.py logins`."""

import contextlib
import datetime
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import plot
from instructions import Counting
from lib import ed25519, login_load, minted, oauth_client, tokens
from lib import skew as skewed
from lib.pg import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

ROWS = 1_000_000
ROUNDS = 9
ALICE = "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"
CLAIMS = json.dumps({"sub": ALICE, "role": "authenticated", "email": "alice@acme.example", "tenant_id": "acme"})

# Supabase's, to the letter.
SUPABASE_UID = """
CREATE SCHEMA supabase;
CREATE FUNCTION supabase.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
  select
  coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
GRANT USAGE ON SCHEMA supabase TO PUBLIC;
"""


# Names of policies in the drawing, if not their expressions.
DRAWN_AS = {
    "auth.user_id(), called for each row": "owner = auth.user_id(), with evaluate_once = off",
    "a C function that returns a text it has, called for each row": "owner = a C function that returns a text it has",
    "current_setting('request.jwt.claims')::json ->> 'sub'": "PostgREST: owner = current_setting(…)::json ->> 'sub'",
    "Supabase's SQL auth.uid()": "Supabase: uid = auth.uid()",
    "(select Supabase's SQL auth.uid())": "Supabase: uid = (select auth.uid())",
}


class Results:
    """Rows of the table: what, against what, the ratio, and the goal if there is one; and the
    figures that are drawn."""

    def __init__(self):
        self.sections = {}
        self.figures = {}
        self.part = None

    def section(self, title, columns, about=""):
        """`about` is what the title is too short for."""
        print(f"\n{title}")
        self.sections.setdefault(self.part, []).append((title, about, columns, []))

    def row(self, *cells):
        self.sections[self.part][-1][-1].append(cells)
        print("   " + "  ".join(str(cell) for cell in cells))


class Rounds:
    """Calls measure(name) for each name in turn, in this number of rounds; the first round is a
    warm-up."""

    def __init__(self, measure, names, rounds=ROUNDS):
        self.found = {name: [] for name in names}
        for turn in range(rounds + 1):
            for name in names:
                value = measure(name)
                if turn:
                    self.found[name].append(value)

    def __getitem__(self, name):
        """The median."""
        return statistics.median(self.found[name])

    def ratio(self, name, base):
        """The median of the rounds' ratios: each is of two that were measured one after the
        other."""
        return statistics.median(value / other for value, other in zip(self.found[name], self.found[base]))

    def difference(self, name, base):
        """The median of the rounds' differences."""
        return statistics.median(value - other for value, other in zip(self.found[name], self.found[base]))


def scans(cluster, db, results):
    """A scan of 1M rows under a policy, parallelism off, as the policy's role."""
    owner = cluster.session(db, "owner_role")
    owner.query(f"""
        CREATE TABLE big (id int, owner text, uid uuid);
        INSERT INTO big SELECT i, u, u::uuid FROM generate_series(1, {ROWS}) i,
            LATERAL (SELECT CASE i % 10 WHEN 0 THEN '{ALICE}' ELSE md5((i % 1000)::text)::uuid::text END) AS o(u);
        ALTER TABLE big ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON big TO authenticated USING (false);
        GRANT SELECT ON big TO authenticated;""")
    owner.query(SUPABASE_UID)
    create_bare_function(cluster, db)
    owner.query("VACUUM ANALYZE big")
    reader = cluster.session(db)
    reader.query("SET max_parallel_workers_per_gather = 0; SET jit = off")
    reader.execute("SELECT auth.jwt_session_init($1)", tokens.token(ALICE))
    reader.execute(
        "SELECT set_config('request.jwt.claims', $1, false), set_config('app.user', $2, false)", CLAIMS, ALICE
    )

    policies = {
        "constant": f"owner = '{ALICE}'",
        "auth.user_id()": "owner = auth.user_id()",
        "auth.session() ->> 'sub'": "owner = (auth.session() ->> 'sub')",
        "lower(auth.user_id())": "owner = lower(auth.user_id())",
        "auth.uid()::text": "owner = auth.uid()::text",
        "(select auth.user_id() = owner), as Drizzle writes it": "(SELECT auth.user_id() = owner)",
        "(select auth.session() ->> 'sub' = owner)": "(SELECT auth.session() ->> 'sub' = owner)",
        "auth.user_id(), called for each row": "owner = auth.user_id()",
        "a C function that returns a text it has, called for each row": "owner = bare_user_id()",
        "current_setting('app.user')": "owner = current_setting('app.user')",
        "current_setting('request.jwt.claims')::json ->> 'sub'": (
            "owner = (current_setting('request.jwt.claims')::json ->> 'sub')"
        ),
        "constant uuid": f"uid = '{ALICE}'",
        "auth.uid()": "uid = auth.uid()",
        "(select auth.uid())": "uid = (SELECT auth.uid())",
        "Supabase's SQL auth.uid()": "uid = supabase.uid()",
        "(select Supabase's SQL auth.uid())": "uid = (SELECT supabase.uid())",
    }

    def measure(name):
        owner.query(f"ALTER POLICY own ON big USING ({policies[name]})")
        reader.query(f"SET pg_auth_jwt.evaluate_once = {'off' if 'for each row' in name else 'on'}")
        plan = json.loads(reader.value("EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) SELECT count(*) FROM big"))
        assert plan[0]["Plan"]["Plans"][-1]["Actual Rows"] == ROWS // 10, name
        return plan[0]["Execution Time"]

    ms = Rounds(measure, list(policies))
    against = {name: "constant uuid" for name in policies if policies[name].startswith("uid")}
    goals = {
        name: 1.1 for name in policies if "auth." in name and "Supabase" not in name and "for each row" not in name
    }
    results.section(
        f"A scan of {ROWS:,} rows under the policy `USING (owner = …)`", ("policy", "against", "ratio", "goal", "ms")
    )
    for name in policies:
        base = against.get(name, "constant")
        ratio = "" if "constant" in name else f"{ms.ratio(name, base):.2f}×"
        goal = f"≤ {goals[name]}×" if name in goals else ""
        results.row(f"`{name}`", f"`{base}`" if ratio else "", ratio, goal, f"{ms[name]:.0f}")
    results.section(
        "Policy decisions per second and core",
        ("policy", "million rows judged per second"),
        "The same scans in the unit that authorization servers publish: one backend, one core.",
    )
    for name in ("constant", "auth.user_id()", "auth.session() ->> 'sub'", "auth.user_id(), called for each row"):
        results.row(f"`{name}`", f"{ROWS / ms[name] / 1e3:.0f}")
    drawn = {
        "ours": [name for name in goals if "for each row" not in name] + ["auth.user_id(), called for each row"],
        "each row": ["a C function that returns a text it has, called for each row"],
        "setting": [name for name in policies if "current_setting" in name or "Supabase" in name],
    }
    results.figures["scans"] = [
        (
            DRAWN_AS.get(name, policies[name].replace("SELECT", "select")),
            ms.ratio(name, against.get(name, "constant")),
            kind,
        )
        for kind, names in drawn.items()
        for name in names
    ]
    call = (
        ms.difference(
            "auth.user_id(), called for each row", "a C function that returns a text it has, called for each row"
        )
        * 1e6
        / ROWS
    )
    results.section(
        "A call for each row, against one of a C function that returns a text it has", ("more for each call", "goal")
    )
    results.row(f"{call:+.0f} ns", "≤ 40 ns")
    owner.close()
    reader.close()


def indexes(cluster, db, results):
    """Policies as Drizzle and Neon write them, on a table with an index on the column."""
    owner = cluster.session(db, "owner_role")
    owner.query("""
        CREATE TABLE indexed (id int, owner text, tenant_id text);
        INSERT INTO indexed SELECT i, 'u' || i % 1000, 't' || i % 1000 FROM generate_series(1, 300000) i;
        CREATE INDEX ON indexed (owner);
        CREATE INDEX ON indexed (tenant_id);
        ALTER TABLE indexed ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON indexed TO authenticated USING (false);
        GRANT SELECT ON indexed TO authenticated;""")
    owner.query("VACUUM ANALYZE indexed")
    reader = cluster.session(db)
    reader.query("SET max_parallel_workers_per_gather = 0; SET jit = off")
    reader.execute("SELECT auth.jwt_session_init($1)", tokens.token("u5", tenant_id="t5"))
    policies = {
        "constant = owner": "'u5' = owner",
        "(select auth.user_id() = owner)": "(SELECT auth.user_id() = owner)",
        "(select auth.user_id()) = owner": "(SELECT auth.user_id()) = owner",
        "constant = tenant_id": "'t5' = tenant_id",
        "(select auth.session() ->> 'tenant_id' = tenant_id)": "(SELECT auth.session() ->> 'tenant_id' = tenant_id)",
        "(select lower(auth.session() ->> 'tenant_id')) = tenant_id": (
            "(SELECT lower(auth.session() ->> 'tenant_id')) = tenant_id"
        ),
        "(select auth.user_id() = owner), evaluate_once off": "(SELECT auth.user_id() = owner)",
    }

    def measure(name):
        owner.query(f"ALTER POLICY own ON indexed USING ({policies[name]})")
        reader.query(f"SET pg_auth_jwt.evaluate_once = {'off' if name.endswith('off') else 'on'}")
        taken = []
        for _ in range(10):
            plan = json.loads(reader.value("EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) SELECT count(*) FROM indexed"))
            taken.append(plan[0]["Execution Time"])
        return statistics.median(taken)

    ms = Rounds(measure, list(policies))
    results.section(
        "300,000 rows with an index on the policy's column, of which the user owns 300",
        ("policy", "against", "ratio", "goal", "ms"),
    )
    for name in policies:
        base = "constant = tenant_id" if "tenant" in name else "constant = owner"
        goal = "" if name.endswith("off") else "≤ 1.1×"
        results.row(
            f"`{name}`",
            *((f"`{base}`", f"{ms.ratio(name, base):.2f}×", goal) if name != base else ("", "", "")),
            f"{ms[name]:.3f}",
        )
    owner.close()
    reader.close()


def create_bare_function(cluster, db):
    includes = cluster.client("pg_config", "--includedir-server").strip()
    library = f"{cluster.dir}/bare.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{includes}", f"{HERE}/bare.c", "-o", library], check=True)
    os.chmod(library, 0o755)
    root = cluster.session(db, "postgres")
    root.query(f"CREATE OR REPLACE FUNCTION bare_user_id() RETURNS text LANGUAGE c STABLE PARALLEL SAFE AS '{library}'")
    root.close()


def skew(cluster, db, results):
    """One user who owns nine tenths of a table, and one who owns as much as most."""
    owner = skewed.make(cluster, db)
    results.section(
        f"{skewed.ROWS:,} rows, most of them one user's",
        ("statement", "as", "ratio", "goal", "ms", "ms, off", "pages", "pages, off", "plan", "plan, off"),
        f"`heavy` owns {skewed.USERS['heavy']:,} rows of `docs`, "
        f"and a thousand others {skewed.USERS['u5']} each. `auth.user_id()` "
        "against the same with `evaluate_once` off, that is Postgres's own plan.",
    )
    for statement in (skewed.ALL, skewed.SOME, skewed.JOINED, skewed.PAGE, skewed.INDEX):
        if statement == skewed.INDEX:
            owner.query(statement)
            statement, note = skewed.PAGE, " with an index on `(owner, id)`"
        else:
            note = ""
        for user in ("heavy", "u5"):
            sessions = {once: skewed.session(cluster, db, user, once) for once in ("on", "off")}
            runs = {}

            def measure(once):
                runs[once] = skewed.Run(sessions[once], statement)
                return runs[once].ms

            # Times of microseconds vary by more than they differ, so these have more rounds.
            measure("on")
            rounds = ROUNDS if measure("on") >= 1 else 40 * ROUNDS
            ms = Rounds(measure, list(sessions), rounds)
            results.row(
                f"`{statement}`{note}",
                f"`{user}`",
                f"{ms.ratio('on', 'off'):.2f}×",
                "≤ 1.05×",
                *(f"{ms[once]:.3f}" for once in sessions),
                *(f"{runs[once].pages:,}" for once in sessions),
                *(runs[once].nodes[0] for once in sessions),
            )
            for session in sessions.values():
                session.close()
    owner.close()


def pgbench(cluster, db, script, clients=1, seconds=3, variables=(), user="authenticated", name="bench", more=()):
    """The output of pgbench."""
    path = f"{cluster.dir}/{name}.pgb"
    with open(path, "w") as file:
        file.write(script)
    os.chmod(path, 0o644)
    out = cluster.client(
        "pgbench",
        "-n",
        "-U",
        user,
        "-M",
        "prepared",
        "-c",
        str(clients),
        "-j",
        "1",
        "-T",
        str(seconds),
        *(f"-D{name}={value}" for name, value in variables),
        *more,
        "-f",
        path,
        db,
        stderr=subprocess.DEVNULL,
    )
    return out


def tps(out):
    return float(re.search(r"tps = ([0-9.]+)", out)[1])


TRANSACTIONS = {
    "jwt_session_init": "SELECT auth.jwt_session_init({token}, true)",
    "set_config": "SELECT set_config('request.jwt.claims', {claims}, true)",
}
ROW = "SELECT title FROM posts WHERE id = {id}"


def create_posts(cluster, db):
    owner = cluster.session(db, "owner_role")
    owner.query(f"""
        CREATE TABLE IF NOT EXISTS posts (id int PRIMARY KEY, owner text, title text);
        INSERT INTO posts SELECT i, '{ALICE}', 'title ' || i FROM generate_series(1, 1000) i ON CONFLICT DO NOTHING;
        GRANT SELECT ON posts TO authenticated""")
    owner.query("VACUUM ANALYZE posts")
    owner.close()


def transactions(cluster, db, results):
    """The pooled transaction with a token seen before, and with set_config in its place."""
    create_posts(cluster, db)
    # A connection of a pooler has already loaded the library.
    root = cluster.session(db, "postgres")
    root.query("""CREATE ROLE pooled LOGIN IN ROLE authenticated;
                  ALTER ROLE pooled SET session_preload_libraries = 'pg_auth_jwt'""")
    root.close()
    names = {"token": ":token", "claims": ":claims", "id": ":id"}
    scripts = {
        name: ("\\set id random(1, 1000)\n" + ";\n".join(("BEGIN", call, ROW, "COMMIT")) + ";\n").format(**names)
        for name, call in TRANSACTIONS.items()
    }
    users = {"jwt_session_init": "pooled", "set_config": "authenticated"}
    variables = (("token", tokens.token(ALICE)), ("claims", CLAIMS))
    results.section(
        "The pooled transaction",
        ("connections of each", "rate", "goal", "per second", "set_config per second"),
        "`BEGIN; SELECT auth.jwt_session_init($1, true); SELECT …; "
        "COMMIT` with a token seen before, against the same with "
        "`set_config('request.jwt.claims', $1, true)`, both at the same time, each on so many connections.",
    )
    across = (1, 2, 4, 8, 16)
    curves = {name: [] for name in scripts}
    for clients in across:
        ratios, rates = [], {name: [] for name in scripts}
        for turn in range(41):
            # Alternating within the same seconds, so that other load on the machine affects both.
            order = list(scripts) if turn % 2 else list(reversed(scripts))
            with ThreadPoolExecutor() as pool:
                runs = {
                    name: pool.submit(
                        pgbench, cluster, db, scripts[name], clients, 1, variables, user=users[name], name=name
                    )
                    for name in order
                }
            measured = {name: tps(run.result()) for name, run in runs.items()}
            ratios.append(measured["jwt_session_init"] / measured["set_config"])
            for name in scripts:
                rates[name].append(measured[name])
        for name in scripts:
            curves[name].append(statistics.median(rates[name]))
        results.row(
            clients, f"{statistics.median(ratios):.2f}×", "≥ 0.97×", *(f"{curves[name][-1]:,.0f}" for name in scripts)
        )
    results.figures["transactions"] = {"across": across, **curves}


# The client's own message has the token, or the claims. pgbench cannot choose one of 10,000 texts, so they come from a
# table, by its index, on both sides.
CROWD_TRANSACTIONS = {
    "jwt_session_init": "SELECT auth.jwt_session_init(token, true) FROM tokens WHERE id = :id",
    "set_config": "SELECT set_config('request.jwt.claims', claims, true) FROM tokens WHERE id = :id",
}
CROWD_POLICIES = {
    "jwt_session_init": "owner = auth.user_id()",
    "set_config": "owner = (SELECT current_setting('request.jwt.claims', true)::json ->> 'sub')",
}


def crowd(_cluster, _db, results):
    """The pooled transaction with many users, whose tokens each backend sees now and then."""
    results.section(
        "The pooled transaction with many users",
        ("algorithm", "users", "signature_cache", "connections of each", "rate", "goal", "per second", "known"),
        "`BEGIN; SELECT auth.jwt_session_init(…, true); SELECT … LIMIT 10; COMMIT`, each time for a user chosen at "
        "random, whose rows a policy lets through by an index; against the same with "
        "`set_config('request.jwt.claims', …, "
        "true)` and PostgREST's policy, both at the same time. The server loads the library. "
        "*known*: part of the verifications whose signature another session had checked.",
    )
    for size in ("0", "1MB"):
        settings = {"shared_preload_libraries": "pg_auth_jwt", "pg_auth_jwt.signature_cache": size}
        with Cluster(
            "bench_crowd", shared_buffers="512MB", autovacuum="off", max_connections=300, **settings
        ) as cluster:
            for alg in ("EdDSA", "ES256", "RS256"):
                crowd_of(cluster, alg, size, results)
            if size != "0":
                percentiles(cluster, "crowd_eddsa", results)


def crowd_of(cluster, alg, size, results):
    most = 100_000 if alg == "EdDSA" else 10_000
    db = cluster.create_db(f"crowd_{alg.lower()}")
    jwks, lines = minted.mint(alg, most)
    owner = cluster.session(db, "owner_role")
    owner.execute("SELECT auth.init($1, issuer => $2)", jwks, minted.ISSUER)
    owner.query("CREATE TABLE tokens (id int, claims text, token text)")
    owner.copy("COPY tokens FROM STDIN", lines)
    owner.query("""
        ALTER TABLE tokens ADD PRIMARY KEY (id);
        CREATE TABLE notes (owner text, title text);
        INSERT INTO notes SELECT claims::json ->> 'sub', 'title ' || i FROM tokens, generate_series(1, 10) i;
        CREATE INDEX ON notes (owner);
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY;""")
    root = cluster.session(db, "postgres")
    for name, policy in CROWD_POLICIES.items():
        if root.value(f"SELECT count(*) FROM pg_roles WHERE rolname = 'crowd_{name}'") == "0":
            root.query(f"CREATE ROLE crowd_{name} LOGIN")
        owner.query(f"CREATE POLICY {name} ON notes TO crowd_{name} USING ({policy})")
        owner.query(f"GRANT SELECT ON tokens, notes TO crowd_{name}")
    root.query("VACUUM ANALYZE tokens")
    root.query("VACUUM ANALYZE notes")
    for users, clients in CROWDS[size] + ([(most, 8)] if most > 10_000 and size != "0" else []):
        scripts = {
            name: f"\\set id random(1, {users})\nBEGIN;\n{call};\nSELECT title FROM notes LIMIT 10;\nCOMMIT;\n"
            for name, call in CROWD_TRANSACTIONS.items()
        }

        def measure(seconds, order):
            """Alternating within the same seconds, so that other load on the machine affects both."""
            with ThreadPoolExecutor() as pool:
                runs = {
                    name: pool.submit(
                        pgbench,
                        cluster,
                        db,
                        scripts[name],
                        clients,
                        seconds,
                        user=f"crowd_{name}",
                        name=f"crowd_{name}",
                    )
                    for name in order
                }
            return {name: tps(run.result()) for name, run in runs.items()}

        names = list(scripts)
        # So many seconds fill the memory.
        measure(2 + users // 5_000, names)
        before = verified(owner)
        rounds = [measure(2, names if turn % 2 else names[::-1]) for turn in range(ROUNDS)]
        accepted, known = (now - then for now, then in zip(verified(owner), before))
        results.row(
            alg,
            f"{users:,}",
            size,
            clients,
            f"{statistics.median(one['jwt_session_init'] / one['set_config'] for one in rounds):.2f}×",
            "≥ 0.9×" if size != "0" and users <= 10_000 else "",
            f"{statistics.median(one['jwt_session_init'] for one in rounds):,.0f}",
            f"{100 * known / accepted:.0f} %" if accepted else "",
        )
    for session in (root, owner):
        session.close()


def percentiles(cluster, db, results, rate=400, seconds=20):
    """Of transactions that come at a steady rate, half of what the slower side can do, or less."""
    results.section(
        "The latency of that transaction at a given rate",
        ("how", "per second", "p50, ms", "p99, ms"),
        "10,000 users, EdDSA, 8 connections of each, both at the same time; from the moment at which a transaction was "
        "due to its end.",
    )
    with ThreadPoolExecutor() as pool:
        runs = {
            name: pool.submit(
                pgbench,
                cluster,
                db,
                f"\\set id random(1, 10000)\nBEGIN;\n{call};\nSELECT title FROM notes LIMIT 10;\nCOMMIT;\n",
                8,
                seconds,
                user=f"crowd_{name}",
                name=f"crowd_{name}",
                more=["-R", str(rate), "-l", "--log-prefix", f"{cluster.dir}/log_{name}"],
            )
            for name, call in CROWD_TRANSACTIONS.items()
        }
        for run in runs.values():
            run.result()
    for name in runs:
        took = []
        for path in glob.glob(f"{cluster.dir}/log_{name}.*"):
            with open(path) as file:
                took += [int(line.split()[2]) / 1e3 for line in file]
        cuts = statistics.quantiles(took, n=100)
        results.row(f"`{name}`", f"{len(took) / seconds:,.0f}", f"{cuts[49]:.2f}", f"{cuts[98]:.2f}")


# Numbers of users and of connections, by the size of the memory.
CROWDS = {"1MB": [(1, 8), (10_000, 8), (10_000, 32), (10_000, 64)], "0": [(10_000, 8)]}


def verified(session):
    """Number of tokens that the server's sessions have verified, and of those whose signature was known."""
    count = (
        "SELECT coalesce(sum(count), 0) FROM auth.stats WHERE scope = 'server' AND issuer IS NOT NULL AND event = '%s'"
    )
    return [int(session.value(count % event)) for event in ("accepted", "signature_cache_hit")]


def instructions(cluster, db, results):
    """Instructions, because timing is unreliable on a busy machine."""
    if not Counting.is_possible():
        print("\nno valgrind here: no instructions are counted")
        return
    create_posts(cluster, db)
    given = {"token": tokens.token(ALICE), "claims": CLAIMS}

    def transaction(call, times):
        """As a client that has prepared its statements."""
        statements = ["BEGIN", call.format(token="$1", claims="$1"), ROW.format(id="$1"), "COMMIT"]
        argument = given["token" if "token" in call else "claims"]

        def use(session):
            session.send(*(session.parse(sql, f"s{n}") for n, sql in enumerate(statements)), session.SYNC)
            session.receive()
            for turn in range(times):
                for n, params in enumerate(((), (argument,), (turn % 1000 + 1,), ())):
                    session.send(session.bind(params, f"s{n}"), session.run(), session.SYNC)
                    session.receive()

        return use

    def planned(once, times):
        """Without a claim function, and planned each time."""

        def use(session):
            session.query(f"SELECT auth.user_id(); SET pg_auth_jwt.evaluate_once = {once}")
            for turn in range(times):
                session.query(ROW.format(id=turn % 1000 + 1))

        return use

    with Counting(cluster) as counting:
        # The first connection makes files for those that come.
        counting.of(db, lambda session: session.query("SELECT 1"))
        each = {
            name: (counting.of(db, transaction(call, 1500)) - counting.of(db, transaction(call, 500))) / 1000
            for name, call in TRANSACTIONS.items()
        }
        plain = {
            once: (counting.of(db, planned(once, 1500)) - counting.of(db, planned(once, 500))) / 1000
            for once in ("on", "off")
        }
        first = {
            sql: counting.of(db, lambda session: session.execute(sql, *params))
            for sql, params in (
                ("SELECT 1", ()),
                ("SELECT auth.user_id()", ()),
                ("SELECT auth.jwt_session_init($1)", (given["token"],)),
            )
        }
    results.section(
        "The backend's instructions (callgrind)",
        ("what", "against", "ratio", "instructions", "more"),
        "Of a transaction, of a statement without claim functions, and of a new connection's first statement.",
    )
    ours, theirs = each.values()
    results.row("`jwt_session_init`", "`set_config`", f"{ours / theirs:.3f}×", f"{ours:,.0f}", f"{ours - theirs:+,.0f}")
    results.row(
        f"`{ROW.format(id='…')}`, planned each time",
        "`evaluate_once` off",
        f"{plain['on'] / plain['off']:.3f}×",
        f"{plain['on']:,.0f}",
        f"{plain['on'] - plain['off']:+,.0f}",
    )
    for sql, count in list(first.items())[1:]:
        results.row(f"`{sql}`", "`SELECT 1`", "", "", f"{count - first['SELECT 1']:+,}")
    known, other = of_other_users()
    results.row(
        "`jwt_session_init`, another user's token whose signature the server knows",
        "a token that the backend has seen",
        "",
        f"{other:,.0f}",
        f"{other - known:+,.0f}",
    )


def of_other_users(users=400):
    """Instructions of `jwt_session_init` with a token that the backend has seen, and with those of users whose tokens
    another session has verified."""
    jwks, lines = minted.mint("EdDSA", users)
    given = [line.rstrip("\n").split("\t")[2] for line in lines]
    with Cluster("bench_others", shared_preload_libraries="pg_auth_jwt") as cluster:
        db = cluster.create_db("bench_others")
        with cluster.session(db, "owner_role") as owner:
            owner.execute("SELECT auth.init($1, issuer => $2)", jwks, minted.ISSUER)

        def use(given):
            def use(session):
                session.send(session.parse("SELECT auth.jwt_session_init($1)", "s"), session.SYNC)
                session.receive()
                for token in given:
                    session.send(session.bind((token,), "s"), session.run(), session.SYNC)
                    session.receive()

            return use

        with Counting(cluster) as counting:
            counting.of(db, use(given))
            least = counting.of(db, use(given[:1]))
            sets = ([given[0]] * users, given)
            return [(counting.of(db, use(each)) - least) / (users - 1) for each in sets]


def create_peer(cluster, library, arguments):
    """A database with pg_session_jwt's functions. Returns the statements of a new connection, and its options."""
    root = cluster.session(cluster.create_db("peer"), "postgres")
    returns = {"init()": "void", "jwt_session_init(text)": "void", "user_id()": "text"}
    root.query("CREATE SCHEMA peer; GRANT USAGE ON SCHEMA peer TO PUBLIC")
    for function, type_ in returns.items():
        symbol = function.split("(")[0] + "_wrapper"
        root.query(f"CREATE FUNCTION peer.{function} RETURNS {type_} STRICT LANGUAGE c AS '{library}', '{symbol}'")
    root.close()
    init = "SELECT peer.jwt_session_init($1)"
    # Its tokens need numbers: a jti that grows, and whole seconds.
    arguments[init] = [ed25519.token(1, "https://peer.test.example", sub=ALICE, jti=1, exp=int(time.time()) + 3600)]
    jwk = json.dumps(ed25519.key(1).jwk())
    return ["SELECT peer.init()", init, "SELECT peer.user_id()"], {"pg_session_jwt.jwk": jwk}


def connections(cluster, db, results):
    """A new connection and its first statements, until they are answered; by a server that loads
    the library at its first use, and by one that has loaded it."""
    create_bare_function(cluster, db)
    nothing, bare, who, init = (
        "SELECT 1",
        "SELECT bare_user_id()",
        "SELECT auth.user_id()",
        "SELECT auth.jwt_session_init($1)",
    )
    put, get = "SELECT set_config('request.jwt.claims', $1, false)", "SELECT current_setting('request.jwt.claims')"
    at_first_use = {
        nothing: [nothing],
        f"`{bare}`, a C function": [bare],
        f"`{put}`, then `{get}`": [put, get],
        f"`{who}`": [who],
        f"`{init}`": [init],
        f"`{init}`, then `{who}`": [init, who],
    }
    arguments = {init: [tokens.token(ALICE)], put: [CLAIMS]}
    # An extension for the same purpose, which the environment has the library of: a key for each connection.
    peer = os.environ.get("PG_SESSION_JWT")
    if peer:
        peer_statements, peer_options = create_peer(cluster, peer, arguments)
    with Cluster(
        "bench_preloaded", shared_buffers="512MB", autovacuum="off", shared_preload_libraries="pg_auth_jwt"
    ) as preloaded:
        preloaded.create_db(db)
        preloaded.session(db, "owner_role").query(tokens.setup())
        note = ", `shared_preload_libraries`"
        parts = {name: (cluster, statements) for name, statements in at_first_use.items()}
        parts |= {
            f"`{nothing}`{note}": (preloaded, [nothing]),
            f"`{init}`, then `{who}`{note}": (preloaded, [init, who]),
        }
        if peer:
            parts["`init`, `jwt_session_init`, `user_id` of pg_session_jwt"] = (cluster, peer_statements)

        def milliseconds(name):
            server, statements = parts[name]
            of_peer = peer and statements is peer_statements
            began = time.perf_counter()
            session = server.session("peer", **peer_options) if of_peer else server.session(db)
            for sql in statements:
                session.execute(sql, *arguments.get(sql, ()))
            took = time.perf_counter() - began
            with open(f"/proc/{session.backend}/schedstat") as file:
                cpu[name].append(int(file.read().split()[0]) / 1e6)
            session.close()
            return took * 1e3

        cpu = {name: [] for name in parts}
        ms = Rounds(milliseconds, list(parts), 400)
    results.section(
        "A new connection and its first statements",
        ("statements", "against `SELECT 1`", "more", "goal", "ms in all", "more of the backend's CPU time"),
        "Time until they are answered, and the backend's own time.",
    )
    for name in parts:
        against = (
            ("", "")
            if name == nothing
            else (f"{ms.ratio(name, nothing):.2f}×", f"{ms.difference(name, nothing):+.2f} ms")
        )
        own = statistics.median(value - other for value, other in zip(cpu[name], cpu[nothing]))
        results.row(
            name if name.startswith("`") else f"`{name}`",
            *against,
            "≤ 0.5 ms" if who in name and init in name else "",
            f"{ms[name]:.2f}",
            "" if name == nothing else f"{own:+.2f} ms",
        )
    drawn = {
        "without": {
            nothing: nothing,
            "SELECT a C function that returns a text it has": f"`{bare}`, a C function",
            "SELECT set_config(…); SELECT current_setting(…)": f"`{put}`, then `{get}`",
        },
        "at first use": {who: f"`{who}`", f"{init}; {who}": f"`{init}`, then `{who}`"},
        "with the server": {nothing: f"`{nothing}`{note}", f"{init}; {who}": f"`{init}`, then `{who}`{note}"},
    }
    results.figures["connections"] = {
        kind: [(name, ms[part]) for name, part in names.items()] for kind, names in drawn.items()
    }


def verifications(session, token, count, cache_size=0):
    """Microseconds of one."""
    session.query(f"SET pg_auth_jwt.cache_size = {cache_size}")
    session.query(f"SELECT auth.verify('{token}')")
    return float(
        session.value(f"""
        WITH t AS MATERIALIZED (SELECT clock_timestamp() AS began),
             v AS MATERIALIZED (SELECT count(auth.verify(CASE WHEN i > 0 AND began IS NOT NULL THEN '{token}' END))
                                  FROM t, generate_series(1, {count}) i)
        SELECT extract(epoch FROM clock_timestamp() - began) * 1e6 / {count} FROM v, t""")
    )


def keys(cluster, _db, results):
    """Many keys and issuers, each number of them in a database of its own: what they cost a
    verification, and a connection."""
    token = tokens.token(ALICE)
    sizes = (1, 1), (100, 1), (10_000, 1), (10_000, 1_000)
    name = lambda which: f"keys_{which[0]}_{which[1]}"
    for count, issuers in sizes:
        with contextlib.closing(cluster.session(cluster.create_db(name((count, issuers))), "postgres")) as session:
            session.query(tokens.setup(0))
            session.query(f"""
                INSERT INTO auth.issuers (issuer, algorithms) SELECT 'https://issuer' || i, '{{HS256}}'
                    FROM generate_series(1, {issuers} - 1) i;
                INSERT INTO auth.jwks (issuer, kid, jwk)
                    SELECT CASE i % {issuers} WHEN 0 THEN '{tokens.ISSUER}'
                        ELSE 'https://issuer' || i % {issuers} END, 'other' || i,
                           jsonb_build_object('kty', 'oct', 'k',
                               translate(rtrim(encode(sha256(i::text::bytea), 'base64'), '='), '+/', '-_'))
                      FROM generate_series(1, {count} - 1) i""")
            session.query("VACUUM ANALYZE auth.issuers, auth.jwks")

    def verify(which):
        # By a new backend each time: a backend stays on its core, and cores differ.
        with contextlib.closing(cluster.session(name(which), "postgres")) as session:
            return verifications(session, token, 4_000)

    us = Rounds(verify, sizes, 45)
    results.section(
        "Lookup among keys and issuers (HS256, cache off)", ("keys", "issuers", "ratio", "goal", "µs a verification")
    )
    for which in sizes:
        results.row(
            f"{which[0]:,}",
            f"{which[1]:,}",
            f"{us.ratio(which, sizes[0]):.2f}×",
            "≤ 1.1×" if which[0] > 1 else "",
            f"{us[which]:.1f}",
        )

    change = f"UPDATE auth.issuers SET leeway = leeway WHERE issuer = '{tokens.ISSUER}'"
    in_words = {which: (f"{which[0]:,}", f"{which[1]:,}") for which in sizes}
    connections_among_keys(
        cluster,
        results,
        "What keys and issuers cost a connection (HS256), against one key",
        ("keys", "issuers"),
        in_words,
        name,
        dict.fromkeys(sizes, token),
        dict.fromkeys(sizes, change),
    )


def followed(cluster, _db, results):
    """Keys in a table that is followed, each number of them in a database of its own, against one
    key in auth.jwks and one in a followed table."""
    stored, sizes = "auth.jwks", (1, 100, 10_000, 100_000)
    name = lambda which: f"followed_{which}".replace("auth.", "")
    for which in (stored, *sizes):
        with contextlib.closing(cluster.session(cluster.create_db(name(which)), "owner_role")) as session:
            if which == stored:
                session.query(tokens.setup(0))
                continue
            # Room on each page, so that the update's new version of the row is not elsewhere.
            session.query(tokens.follow(0) + "ALTER TABLE followed_keys SET (fillfactor = 50)")
            session.query(f"""
                INSERT INTO followed_keys SELECT 'other' || i, jsonb_build_object('kty', 'oct', 'k',
                    translate(rtrim(encode(
                    sha256(i::text::bytea), 'base64'), '='), '+/', '-_')), 'private'
                        FROM generate_series(1, {which} - 1) i""")
            session.query("VACUUM ANALYZE followed_keys")
    all_of_them = (stored, *sizes)
    token = {which: tokens.token(ALICE) if which == stored else tokens.followed_token(ALICE) for which in all_of_them}
    change = {
        which: f"UPDATE auth.issuers SET leeway = leeway WHERE issuer = '{tokens.ISSUER}'"
        if which == stored
        else "UPDATE followed_keys SET id = id WHERE id = 'k0'"
        for which in all_of_them
    }
    in_words = {which: ("`auth.jwks`", "1") if which == stored else ("followed", f"{which:,}") for which in all_of_them}
    connections_among_keys(
        cluster,
        results,
        "What keys in a followed table cost a connection (HS256), against one key in it",
        ("table", "keys"),
        in_words,
        name,
        token,
        change,
        one=1,
    )


def connections_among_keys(cluster, results, title, columns, in_words, name, token, change, one=None):
    """The cost of a connection by the contents of its tables, for each database. `in_words` has the cells of
    each for the columns, `one` is what the others are held against: the first, if not given."""
    sizes = list(in_words)
    one = sizes[0] if one is None else one
    admins = {which: cluster.session(name(which), "postgres") for which in sizes}

    def timed(session, call, *params):
        began = time.perf_counter()
        session.execute(call, *params)
        return (time.perf_counter() - began) * 1e3

    def private(session):
        with open(f"/proc/{session.backend}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

    def connect(which):
        """KiB and ms that a new connection's first token takes."""
        with contextlib.closing(cluster.session(name(which))) as session:
            session.query("SELECT auth.user_id()")
            before = private(session)
            took = timed(session, "SELECT auth.jwt_session_init($1)", token[which])
            connect.memory.setdefault(which, []).append(private(session) - before)
            return took

    def first_use(which):
        """ms of the first use after a change, by a session that knows the token."""
        admins[which].query(change[which])
        return timed(sessions[which], "SELECT auth.user_id()")

    connect.memory = {}
    sessions = {which: cluster.session(name(which)) for which in sizes}
    for which, session in sessions.items():
        session.execute("SELECT auth.jwt_session_init($1)", token[which])
        session.query("SELECT auth.user_id()")
    new, use = Rounds(connect, sizes, 60), Rounds(first_use, sizes, 100)

    def crowd(which, size=200):
        """ms, and ms of CPU, until so many sessions have all used their token after a change."""
        with contextlib.ExitStack() as stack:
            all_of_them = [stack.enter_context(contextlib.closing(cluster.session(name(which)))) for _ in range(size)]
            for session in all_of_them:
                session.execute("SELECT auth.jwt_session_init($1)", token[which])

            def cpu():
                total = 0
                for session in all_of_them:
                    with open(f"/proc/{session.backend}/schedstat") as file:
                        total += int(file.read().split()[0])
                return total / 1e9

            def turn():
                before, began = cpu(), time.perf_counter()
                for session in all_of_them:
                    session.begin_query("SELECT auth.user_id()")
                for session in all_of_them:
                    session.receive()
                return time.perf_counter() - began, cpu() - before

            turn()
            found = []
            for _ in range(5):
                admins[which].query(change[which])
                found.append(turn())
            wall, busy = ([value * 1e3 for value in column] for column in zip(*found))
            crowd.busy.setdefault(which, []).append(statistics.median(busy))
            return statistics.median(wall)

    crowd.busy = {}
    together = Rounds(crowd, sizes)
    busy = lambda which: statistics.median(crowd.busy[which][1:])
    results.section(
        title,
        (
            *columns,
            "ratios",
            "goal",
            "first token, KiB",
            "ms",
            "first use after a change, ms",
            "200 connections, ms",
            "ms of CPU",
        ),
        "Private memory and time of a new connection's first token; "
        "the first use of a known token after a change; the same "
        "by 200 connections at once, and their CPU.",
    )
    kib = {which: statistics.median(values[1:]) for which, values in connect.memory.items()}
    for which in sizes:
        ratios = (
            kib[which] / kib[one],
            new.ratio(which, one),
            use.ratio(which, one),
            together.ratio(which, one),
            busy(which) / busy(one),
        )
        results.row(
            *in_words[which],
            "" if which == one else ", ".join(f"{ratio:.2f}×" for ratio in ratios),
            "" if which == one else "≤ 1.2×",
            f"{kib[which]:.0f}",
            f"{new[which]:.2f}",
            f"{use[which]:.2f}",
            f"{together[which]:.0f}",
            f"{busy(which):.0f}",
        )
    for session in (*sessions.values(), *admins.values()):
        session.close()


REVOKED = "https://revoked.test.example"


def revocation(cluster, _db, results):
    """Rows of auth.revocations, each number of them in a database of its own, and revocations beside readers."""
    rows = (0, 10, 100_000)
    name = lambda count: f"revoked_{count}"
    token = ed25519.token(1, REVOKED, sub=ALICE, aud="app", sid="mine", jti="mine", iat=int(time.time()))
    with contextlib.closing(cluster.session("postgres", "postgres")) as root:
        root.query("""CREATE ROLE of_revocation LOGIN IN ROLE authenticated;
                      ALTER ROLE of_revocation SET session_preload_libraries = 'pg_auth_jwt'""")
    for count in rows:
        db = cluster.create_db(name(count))
        create_posts(cluster, db)
        with contextlib.closing(cluster.session(db, "postgres")) as session:
            session.query(f"""
                SELECT auth.init('{ed25519.jwks(1)}', '{REVOKED}', '{{app}}');
                INSERT INTO auth.revocations (issuer, kind, value, issued_before, expires_at)
                    SELECT '{REVOKED}', (ARRAY['jti', 'sub', 'sid'])[1 + i % 3], 'other' || i, 'infinity', '2100-01-01'
                      FROM generate_series(1, {count}) i;
                CREATE TABLE others (LIKE auth.revocations INCLUDING ALL)""")
            session.query("VACUUM ANALYZE auth.revocations")

    def verify(count):
        with contextlib.closing(cluster.session(name(count), "postgres")) as session:
            return verifications(session, token, 2_000)

    us = Rounds(verify, rows, 25)
    results.section(
        "A verification among revocations (EdDSA, cache off)", ("revocations", "ratio", "against 10", "goal", "µs")
    )
    for count in rows:
        against = f"{us.ratio(count, 10):.2f}×" if count > 10 else ""
        goal = "≤ 1.2× of 10" if count > 10 else ""
        results.row(f"{count:,}", f"{us.ratio(count, 0):.2f}×", against, goal, f"{us[count]:.1f}")

    script = "\\set id random(1, 1000)\nBEGIN;\nSELECT auth.jwt_session_init(:token, true);\n" + ROW.format(id=":id")
    script += ";\nCOMMIT;\n"
    columns = "issuer, kind, value, issued_before, expires_at"
    values = f"'{REVOKED}', 'jti', :i || 'x', 'infinity', '2100-01-01'"
    writers = {
        "inserts into another table": f"INSERT INTO others ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING",
        "revocations": f"SELECT auth.revoke('{REVOKED}', jti => :i || 'x', expires_at => '2100-01-01')",
    }

    def both(one, other, clients):
        """The rates of two cases, measured at the same time."""
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(
                    pgbench,
                    cluster,
                    name(count),
                    script,
                    clients,
                    2,
                    (("token", token),),
                    "of_revocation",
                    f"read{place}",
                )
                for place, (count, _) in enumerate((one, other))
            ]
            for place, (count, writer) in enumerate((one, other)):
                if writer:
                    text = f"\\set i random(1, 1000000000)\n{writers[writer]};\n"
                    more = ("-R", "100")
                    pool.submit(pgbench, cluster, name(count), text, 1, 2, (), "postgres", f"write{place}", more=more)
            return [tps(run.result()) for run in runs]

    results.section(
        "The pooled transaction among revocations, with a token seen before",
        ("revocations", "beside it, 100 a second", "connections", "rate", "goal"),
        "Against a database without revocations, or with as many inserts into another table; both at the same time.",
    )
    for count, writer in ((10, None), (100_000, None), (0, "revocations"), (100_000, "revocations")):
        for clients in (1, 8):
            base = (0, None) if not writer else (10, "inserts into another table")
            ratios = []
            for turn in range(15):
                pair = [(count, writer), base]
                rates = both(*(pair if turn % 2 else reversed(pair)), clients)
                mine, others = rates if turn % 2 else reversed(rates)
                ratios.append(mine / others)
            results.row(f"{count:,}", writer or "", clients, f"{statistics.median(ratios):.2f}×", "≥ 0.95×")
    followed_sessions(cluster, results, token)


def followed_sessions(cluster, results, token):
    """What each statement of a user costs more if the issuer's sessions are followed."""
    sizes = (None, 10, 100_000)
    name = lambda count: f"sessions_{count}"
    for count in sizes:
        with contextlib.closing(cluster.session(cluster.create_db(name(count)), "owner_role")) as session:
            session.query(f"SELECT auth.init('{ed25519.jwks(1)}', '{REVOKED}', '{{app}}')")
            if count:
                session.query(f"""
                    CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL);
                    INSERT INTO session SELECT CASE i WHEN 1 THEN 'mine' ELSE md5(i::text) END, '2100-01-01'
                        FROM generate_series(1, {count}) i;
                    SELECT auth.follow_sessions('session', '{REVOKED}')""")
                session.query("VACUUM ANALYZE session")

    def statement(count, times=3_000):
        """Microseconds of one, of so many that are sent at once."""
        with contextlib.closing(cluster.session(name(count))) as session:
            session.query(f"SET pg_auth_jwt.token = '{token}'")
            session.query("SELECT auth.user_id()")
            session.send(session.parse("SELECT auth.user_id()", "who"), session.SYNC)
            session.receive()
            one = (session.bind(name="who"), session.run(), session.SYNC)
            began = time.perf_counter()
            for _ in range(times // 100):
                session.send(*one * 100)
                for _ in range(100):
                    session.receive()
            return (time.perf_counter() - began) * 1e6 / times

    us = Rounds(statement, sizes, 25)
    results.section("A statement that asks for the user, with followed sessions", ("sessions", "µs more", "goal", "µs"))
    for count in sizes:
        more = f"{us.difference(count, None):.1f}" if count else ""
        results.row(f"{count:,}" if count else "not followed", more, "≤ 5" if count else "", f"{us[count]:.1f}")


def sizes(cluster, db, results):
    """The length of the token."""
    admin = cluster.session(db, "postgres")
    results.section("The token's length (HS256)", ("bytes", "µs, first verification", "µs, seen before"))
    lengths, curve = [], []
    for padding in (0, 500, 2_000, 5_000, 11_000, 24_300):
        token = tokens.token(ALICE, padding="x" * padding)
        first = statistics.median(verifications(admin, token, 2_000) for _ in range(5))
        seen = statistics.median(verifications(admin, token, 20_000, 256) for _ in range(5))
        results.row(f"{len(token):,}", f"{first:.1f}", f"{seen:.1f}")
        lengths.append(len(token))
        curve.append((first, seen))
    results.figures["sizes"] = {
        "across": lengths,
        "first": [first for first, _ in curve],
        "seen": [seen for _, seen in curve],
    }
    admin.close()


def memory(cluster, db, results):
    """Ten million calls in one backend."""
    session = cluster.session(db)
    session.execute("SELECT auth.jwt_session_init($1)", tokens.token(ALICE))
    session.query("SET pg_auth_jwt.evaluate_once = off")

    def resident():
        with open(f"/proc/{session.backend}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+)", status.read())[1])

    def call(times):
        for _ in range(times):
            session.query("SELECT count(auth.user_id()) FROM generate_series(1, 1000000)")

    call(2)
    before = resident()
    call(10)
    results.section("Ten million calls of `auth.user_id()` in one backend", ("memory before", "after"))
    results.row(f"{before:,} KiB", f"{resident():,} KiB")
    session.close()


# Claims that the lines of pg_hba.conf and the issuers' rows ask for.
LOGIN_CLAIMS = {"aud": oauth_client.AUDIENCE, "scope": oauth_client.SCOPE}


def logins(_cluster, _db, results):
    """A connection by a token beside one by a password, and honest logins beside a storm of junk."""
    if not oauth_client.has_login():
        print("logins: needs Postgres 18 or later")
        return
    usual = {"log_connections": "off", "max_connections": "200"}
    with (
        oauth_client.LoginCluster("bench_logins", **usual) as cluster,
        oauth_client.LoginCluster("bench_logins_2", **usual, shared_preload_libraries="pg_auth_jwt") as preloaded,
    ):
        login_times(cluster, preloaded, results)
        logins_beside_junk(preloaded, results)


def take_logins(cluster):
    """A database whose roles are open without a password, by a password, and by tokens of two issuers."""
    db = cluster.create_db("bench")
    roles = ("trusted LOGIN", "by_password LOGIN PASSWORD 'secret'", "other LOGIN")
    cluster.root.query(";".join(f"CREATE ROLE {role}" for role in roles))
    audience = f"{{{oauth_client.AUDIENCE}}}"
    cluster.keys.execute("SELECT auth.init($1, $2, $3)", ed25519.jwks(1), minted.ISSUER, audience)
    lines = [
        f"local {db} trusted trust",
        f"local {db} by_password scram-sha-256",
        oauth_client.line(db, "authenticated", more="map=all"),
        oauth_client.line(db, "other", minted.ISSUER, more="map=all"),
    ]
    cluster.configure(lines, "all /^.*$ authenticated\nall /^.*$ other\n")
    return db


def login_times(cluster, preloaded, results):
    db, _ = take_logins(cluster), take_logins(preloaded)
    password, hs256 = login_load.Password("secret"), oauth_client.token("u1")
    eddsa = ed25519.token(1, minted.ISSUER, **LOGIN_CLAIMS)
    base, note = "a password (`scram-sha-256`)", ", `shared_preload_libraries`"
    ways = {
        "no password (`trust`)": lambda: cluster.session(db, "trusted"),
        base: lambda: login_load.PasswordSession(db, "by_password", host=cluster.dir, password=password),
        "a token, HS256": lambda: cluster.login(db, "authenticated", hs256),
        "a token, EdDSA": lambda: cluster.login(db, "other", eddsa),
        f"a token, EdDSA{note}": lambda: preloaded.login(db, "other", eddsa),
    }

    def milliseconds(way):
        began = time.perf_counter()
        session = ways[way]()
        session.query("SELECT 1")
        took = time.perf_counter() - began
        session.close()
        return took * 1e3

    ms = Rounds(milliseconds, list(ways), 200)
    version = cluster.root.value("SHOW server_version").split()[0]
    results.section(
        "A login by token beside one by a password",
        ("login by", "ms until `SELECT 1` is answered", "a second, one after the other", "against a password"),
        f"Postgres {version}, over a Unix socket. The client knows the password's keys already, whose derivation takes "
        "it longer than the rest.",
    )
    for way in ways:
        ratio = "" if way == base else f"{ms.ratio(way, base):.1f}×"
        results.row(way, f"{ms[way]:.2f}", f"{1e3 / ms[way]:,.0f}", ratio)


def logins_beside_junk(cluster, results, seconds=15):
    good = [oauth_client.token(f"u{n}") for n in range(10)]
    bad = [good[0][:-6] + "AAAAAA", oauth_client.token("u1", -1), oauth_client.token(header={"kid": "k9"}), "x"]
    results.section(
        "Ten users who log in again and again, beside junk",
        ("junk tokens a second, tried", "refused", "honest logins a second", "p50, ms", "p99, ms", "failed"),
        "A quarter each: a forged signature, an unknown key, an expired token, nonsense. Both, and the server, on one "
        "machine; `shared_preload_libraries`.",
    )
    for rate in (0, 100, 1000):
        with contextlib.ExitStack() as stack:
            junk = None
            if rate:
                junk = stack.enter_context(login_load.Junk(cluster, "bench", "authenticated", bad, rate))
            honest = stack.enter_context(login_load.Honest(cluster, "bench", "authenticated", good))
            time.sleep(seconds)
        assert not junk or not junk.accepted
        results.row(
            rate or "none",
            f"{junk.sent / junk.seconds:,.0f}" if junk else "",
            f"{len(honest.took) / honest.seconds:,.0f}",
            f"{honest.percentile(50):.0f}",
            f"{honest.percentile(99):.0f}",
            len(honest.failures),
        )


def verifier(_cluster, _db, results):
    """The verifier crate alone."""
    run = subprocess.run(
        ["cargo", "bench", "-q", "-p", "jwt_verify", "--bench", "verify", "--", "--ratios"],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    results.section(
        "The first verification of a token, against the bare signature check of the same library",
        ("algorithm", "ratio", "goal", "µs", "µs, bare"),
    )
    for line in run.stdout.splitlines():
        alg, ratio, whole, bare = line.split()
        results.row(alg, f"{float(ratio):.2f}×", "≤ 1.2×", f"{int(whole) / 1e3:.1f}", f"{int(bare) / 1e3:.1f}")


PARTS = (
    scans,
    indexes,
    skew,
    transactions,
    crowd,
    connections,
    instructions,
    keys,
    followed,
    revocation,
    sizes,
    memory,
    logins,
    verifier,
)


def commit():
    """The commit that is measured."""

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE)

    is_changed = git("diff", "--quiet", "HEAD", "--", "src", "crates", "sql").returncode != 0
    return git("rev-parse", "--short", "HEAD").stdout.strip() + (" with changes" if is_changed else "")


def write(results):
    """Puts the tables of the parts that were run in the place of those that are there."""
    path = f"{ROOT}/docs/performance.md"
    with open(path) as file:
        text = file.read()
    begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->"
    head, rest = text.split(begin)
    former, rest = rest.split(end)
    parts = dict(re.findall(r"<!-- part: (\w+) -->\n(.*?)(?=<!-- part: |\Z)", former, re.S))
    for part, sections in results.sections.items():
        lines = ["", f"Measured on {datetime.date.today()} at {commit()}."]
        for title, about, columns, rows in sections:
            lines += [
                "",
                f"### {title}",
                "",
                *([textwrap.fill(about, 120, break_on_hyphens=False), ""] if about else []),
            ]
            lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
        parts[part] = "\n".join(lines) + "\n\n"
    tables = "".join(
        f"<!-- part: {part.__name__} -->\n{parts[part.__name__]}" for part in PARTS if part.__name__ in parts
    )
    with open(path, "w") as file:
        file.write(f"{head}{begin}\n{tables}{end}{rest}")


def main():
    wanted = sys.argv[1:] or [part.__name__ for part in PARTS]
    if unknown := set(wanted) - {part.__name__ for part in PARTS}:
        sys.exit(f"no part {', '.join(unknown)}\n{__doc__}")
    results = Results()
    with Cluster("bench", shared_buffers="512MB", autovacuum="off", max_connections=300) as cluster:
        db = cluster.create_db("bench")
        cluster.session(db, "owner_role").query(tokens.setup())
        for part in PARTS:
            if part.__name__ in wanted:
                results.part = part.__name__
                part(cluster, db, results)
    write(results)
    plot.keep_and_draw(results.figures)


main()
