#!/usr/bin/env python3
"""Measures what the extension costs, each thing beside what it is compared with, in one run: rounds
that alternate between the two, and their medians. Writes docs/performance.md and docs/performance.svg.

  bench/run.py [PART ...]    parts: scans transactions connections keys sizes memory verifier

Without parts it runs all of them. The extension must be installed (scripts/install)."""

import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, f"{ROOT}/pg_test")
sys.dont_write_bytecode = True

import tokens  # noqa: E402
from pg import Cluster  # noqa: E402

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


class Results:
    """Rows of the table: what, against what, the ratio, and the goal if there is one."""

    def __init__(self):
        self.sections = []

    def section(self, title, columns):
        print(f"\n{title}")
        self.sections.append((title, columns, []))

    def row(self, *cells):
        self.sections[-1][2].append(cells)
        print("   " + "  ".join(str(cell) for cell in cells))


def medians(measure, names, rounds=ROUNDS):
    """measure(name) for each name in turn, so many rounds; the first round is a warm-up."""
    found = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names:
            value = measure(name)
            if turn:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


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
    owner.query("VACUUM ANALYZE big")
    reader = cluster.session(db)
    reader.query("SET max_parallel_workers_per_gather = 0; SET jit = off")
    reader.execute("SELECT auth.jwt_session_init($1)", tokens.token(ALICE))
    reader.execute("SELECT set_config('request.jwt.claims', $1, false), set_config('app.user', $2, false)", CLAIMS, ALICE)

    policies = {
        "constant": f"owner = '{ALICE}'",
        "auth.user_id()": "owner = auth.user_id()",
        "auth.user_id(), not hoisted": "owner = auth.user_id()",
        "(auth.session() ->> 'sub')": "owner = (auth.session() ->> 'sub')",
        "current_setting('app.user')": "owner = current_setting('app.user')",
        "current_setting('request.jwt.claims')::json ->> 'sub'": "owner = (current_setting('request.jwt.claims')::json ->> 'sub')",
        "constant uuid": f"uid = '{ALICE}'",
        "auth.uid()": "uid = auth.uid()",
        "Supabase's SQL auth.uid()": "uid = supabase.uid()",
        "(select constant = owner)": f"(SELECT '{ALICE}' = owner)",
        "(select auth.user_id() = owner)": "(SELECT auth.user_id() = owner)",
    }

    def measure(name):
        owner.query(f"ALTER POLICY own ON big USING ({policies[name]})")
        reader.query(f"SET pg_auth_jwt.hoist_readers = {'off' if 'not hoisted' in name else 'on'}")
        plan = json.loads(reader.value("EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) SELECT count(*) FROM big"))
        assert plan[0]["Plan"]["Plans"][-1]["Actual Rows"] == ROWS // 10, name
        return plan[0]["Execution Time"]

    ms = medians(measure, list(policies))
    against = {"auth.uid()": "constant uuid", "Supabase's SQL auth.uid()": "constant uuid",
               "(select auth.user_id() = owner)": "(select constant = owner)"}
    goals = {"auth.user_id()": 1.1, "auth.uid()": 1.1, "(select auth.user_id() = owner)": 1.5}
    results.section(f"A scan of {ROWS:,} rows under the policy `USING (owner = …)`",
                    ("policy", "against", "ratio", "goal", "ms"))
    for name in policies:
        base = against.get(name, "constant")
        ratio = "" if name.startswith("constant") or "constant" in name else f"{ms[name] / ms[base]:.2f}×"
        goal = f"≤ {goals[name]}×" if name in goals else ""
        results.row(f"`{name}`", f"`{base}`" if ratio else "", ratio, goal, f"{ms[name]:.0f}")
    owner.close()
    reader.close()


def pgbench(cluster, db, script, clients=1, seconds=3, variables=(), extra=()):
    """Transactions per second."""
    path = f"{cluster.dir}/bench.pgb"
    with open(path, "w") as file:
        file.write(script)
    os.chmod(path, 0o644)
    out = cluster.client("pgbench", "-n", "-U", "authenticated", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)),
                         "-T", str(seconds), *(f"-D{name}={value}" for name, value in variables), "-f", path, *extra, db,
                         stderr=subprocess.DEVNULL)
    return out


def tps(out):
    return float(re.search(r"tps = ([0-9.]+)", out)[1])


def transactions(cluster, db, results):
    """The pooled transaction with a token seen before, and with set_config in its place."""
    owner = cluster.session(db, "owner_role")
    owner.query(f"""
        CREATE TABLE posts (id int PRIMARY KEY, owner text, title text);
        INSERT INTO posts SELECT i, '{ALICE}', 'title ' || i FROM generate_series(1, 1000) i;
        GRANT SELECT ON posts TO authenticated;""")
    owner.query("VACUUM ANALYZE posts")
    owner.close()
    select = "\\set id random(1, 1000)\n"
    scripts = {
        "jwt_session_init": select + "BEGIN;\nSELECT auth.jwt_session_init(:token, true);\nSELECT title FROM posts WHERE id = :id;\nCOMMIT;\n",
        "set_config": select + "BEGIN;\nSELECT set_config('request.jwt.claims', :claims, true);\nSELECT title FROM posts WHERE id = :id;\nCOMMIT;\n",
    }
    variables = (("token", tokens.token(ALICE)), ("claims", CLAIMS))
    results.section("The pooled transaction `BEGIN; SELECT auth.jwt_session_init($1, true); SELECT …; COMMIT` with a token seen before, "
                    "against the same with `set_config('request.jwt.claims', $1, true)`",
                    ("connections", "rate", "goal", "per second", "set_config per second"))
    for clients in (1, 8, 32):
        rates = medians(lambda name: tps(pgbench(cluster, db, scripts[name], clients, 2, variables)), list(scripts), 5)
        results.row(clients, f"{rates['jwt_session_init'] / rates['set_config']:.2f}×", "≥ 0.97×",
                    f"{rates['jwt_session_init']:,.0f}", f"{rates['set_config']:,.0f}")


def connections(cluster, db, results):
    """A new connection's first statement."""
    token = tokens.token(ALICE)
    scripts = {
        "SELECT 1": "SELECT 1;\n",
        "SELECT auth.user_id()": "SELECT auth.user_id();\n",
        "SELECT auth.jwt_session_init($1)": "SELECT auth.jwt_session_init(:token);\n",
    }

    def milliseconds(name):
        out = pgbench(cluster, db, scripts[name], 1, 2, (("token", token),), ("-C",))
        return float(re.search(r"latency average = ([0-9.]+)", out)[1])

    ms = medians(milliseconds, list(scripts), 5)
    results.section("A new connection and its first statement", ("statement", "more than `SELECT 1`", "goal", "ms in all"))
    for name in scripts:
        more = "" if name == "SELECT 1" else f"{ms[name] - ms['SELECT 1']:+.2f} ms"
        results.row(f"`{name}`", more, "≤ 1 ms" if more else "", f"{ms[name]:.2f}")


def verifications(session, token, count):
    """Microseconds of one, without the cache."""
    session.query("SET pg_auth_jwt.cache_size = 0")
    session.query(f"SELECT auth.verify('{token}')")
    return float(session.value(f"""
        WITH t AS MATERIALIZED (SELECT clock_timestamp() AS began),
             v AS MATERIALIZED (SELECT count(auth.verify(CASE WHEN i > 0 AND began IS NOT NULL THEN '{token}' END))
                                  FROM t, generate_series(1, {count}) i)
        SELECT extract(epoch FROM clock_timestamp() - began) * 1e6 / {count} FROM v, t"""))


def keys(cluster, db, results):
    """Verification among many keys and issuers, and what reading them takes."""
    admin = cluster.session(db, "postgres")
    token = tokens.token(ALICE)
    results.section("Lookup among keys and issuers (HS256, cache off; reading: the first use after a change)",
                    ("keys", "issuers", "ratio", "goal", "µs a verification", "ms to read them"))
    base = None
    for count, issuers in ((1, 1), (100, 1), (10_000, 1), (1, 1_000)):
        admin.query("DELETE FROM auth.issuers")
        admin.query(tokens.setup(0))
        admin.query(f"""
            INSERT INTO auth.issuers (issuer) SELECT 'https://issuer' || i FROM generate_series(2, {issuers}) i;
            INSERT INTO auth.jwks (issuer, kid, jwk)
                SELECT '{tokens.ISSUER}', 'other' || i, jsonb_build_object('kty', 'oct', 'k',
                       translate(rtrim(encode(sha256(i::text::bytea), 'base64'), '='), '+/', '-_'))
                  FROM generate_series(2, {count}) i;""")
        admin.query("SELECT auth.verify('%s')" % token)
        us = statistics.median(verifications(admin, token, 20_000) for _ in range(5))
        base = base or us
        reads = []
        for _ in range(5):
            admin.query("UPDATE auth.issuers SET leeway = leeway WHERE issuer = '%s'" % tokens.ISSUER)
            reads.append(float(admin.value(f"""
                WITH t AS MATERIALIZED (SELECT clock_timestamp() AS began),
                     v AS MATERIALIZED (SELECT auth.verify(CASE WHEN began IS NOT NULL THEN '{token}' END) FROM t)
                SELECT extract(epoch FROM clock_timestamp() - began) * 1e3 FROM v, t""")))
        results.row(f"{count:,}", f"{issuers:,}", f"{us / base:.2f}×", "≤ 1.1×" if count > 1 else "", f"{us:.1f}",
                    f"{statistics.median(reads):.1f}")
    admin.query("DELETE FROM auth.issuers")
    admin.query(tokens.setup())
    admin.close()


def sizes(cluster, db, results):
    """The length of the token."""
    admin = cluster.session(db, "postgres")
    results.section("The token's length (HS256)", ("bytes", "µs, first verification", "µs, seen before"))
    for padding in (0, 2_000, 8_000, 20_000):
        token = tokens.token(ALICE, padding="x" * padding)
        first = statistics.median(verifications(admin, token, 2_000) for _ in range(5))
        script = "SELECT auth.jwt_session_init(:token);\n"
        without = "SELECT octet_length(:token);\n"
        seen = medians(lambda s: 1e6 / tps(pgbench(cluster, db, s, 1, 1, (("token", token),))), [script, without], 5)
        results.row(f"{len(token):,}", f"{first:.1f}", f"{seen[script] - seen[without]:.1f} more than passing it")
    admin.close()


def memory(cluster, db, results):
    """Ten million calls in one backend."""
    session = cluster.session(db)
    session.execute("SELECT auth.jwt_session_init($1)", tokens.token(ALICE))
    session.query("SET pg_auth_jwt.hoist_readers = off")

    def resident():
        with open(f"/proc/{session.backend}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def call(millions):
        session.query(f"SELECT count(auth.user_id()) FROM generate_series(1, {millions * 1_000_000})")

    call(2)
    before = resident()
    for _ in range(10):
        call(1)
    results.section("Ten million calls of `auth.user_id()` in one backend", ("resident before", "after"))
    results.row(f"{before:,} KiB", f"{resident():,} KiB")
    session.close()


def verifier(_cluster, _db, results):
    """The verifier crate alone, by criterion."""
    subprocess.run(["cargo", "bench", "-p", "jwt_verify", "--bench", "verify"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def nanoseconds(*path):
        with open(os.path.join(ROOT, "target/criterion", *path, "new/estimates.json")) as file:
            return json.load(file)["median"]["point_estimate"]

    results.section("The first verification of a token, against the bare signature check of the same library",
                    ("algorithm", "ratio", "goal", "µs", "µs, bare"))
    for alg in ("RS256", "PS256", "ES256", "ES384", "EdDSA"):
        whole, bare = nanoseconds(alg, "verify"), nanoseconds(alg, "bare")
        results.row(alg, f"{whole / bare:.2f}×", "≤ 1.2×", f"{whole / 1e3:.1f}", f"{bare / 1e3:.1f}")


PARTS = (scans, transactions, connections, keys, sizes, memory, verifier)


def write(results):
    lines = []
    for title, columns, rows in results.sections:
        lines += [f"### {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]
    path = f"{ROOT}/docs/performance.md"
    with open(path) as file:
        text = file.read()
    begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->"
    head, rest = text.split(begin)
    with open(path, "w") as file:
        file.write(head + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def plot(results):
    """The scans as bars: how many times what a constant costs."""
    bars = []
    for _, _, rows in results.sections[:1]:
        for name, _, ratio, _, _ in rows:
            if ratio:
                bars.append((name.strip("`"), float(ratio.rstrip("×"))))
    width, left, step = 760, 330, 26
    scale = (width - left - 70) / max(value for _, value in bars)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(bars) * step + 44}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="20" font-weight="bold">A scan of 1M rows under a policy: times what a constant costs</text>']
    for index, (name, value) in enumerate(bars):
        y = 34 + index * step
        colour = "#2a6fb0" if "auth.u" in name and "Supabase" not in name or "auth.session" in name else "#b8bec6"
        escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        svg += [f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escaped}</text>',
                f'<rect x="{left}" y="{y}" width="{max(value * scale, 1):.1f}" height="18" fill="{colour}"/>',
                f'<text x="{left + value * scale + 6:.1f}" y="{y + 14}">{value:.2f}×</text>']
    with open(f"{ROOT}/docs/performance.svg", "w") as file:
        file.write("\n".join(svg + ["</svg>\n"]))


def main():
    wanted = sys.argv[1:] or [part.__name__ for part in PARTS]
    results = Results()
    with Cluster("bench", shared_buffers="512MB", autovacuum="off") as cluster:
        db = cluster.create_db("bench")
        cluster.session(db, "owner_role").query(tokens.setup())
        for part in PARTS:
            if part.__name__ in wanted:
                part(cluster, db, results)
    if not sys.argv[1:]:
        write(results)
        plot(results)


main()
