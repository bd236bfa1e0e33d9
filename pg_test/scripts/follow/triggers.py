#!/usr/bin/env python3
"""A change to the key tables is known to open sessions because triggers announce it. Where one of
these is disabled, demoted (as `pg_restore --disable-triggers` leaves it) or missing, sessions still
find the change, and warn once what is wrong and how to repair it."""

from lib import ed25519, tokens
from lib.pg import Checks, SharedCluster

WHO = "SELECT auth.user_id()"
MESSAGE = "changes to the keys of pg_auth_jwt may go unnoticed"
RESTORED = """
    ALTER TABLE auth.issuers DISABLE TRIGGER ALL; ALTER TABLE auth.issuers ENABLE TRIGGER ALL;
    ALTER TABLE auth.jwks DISABLE TRIGGER ALL; ALTER TABLE auth.jwks ENABLE TRIGGER ALL"""
# Changes after which a trigger does not announce every change.
DEMOTIONS = {
    "restored without triggers": RESTORED,
    "on origin only": "ALTER TABLE auth.jwks ENABLE TRIGGER keys_changed",
    "on replica only": "ALTER TABLE auth.jwks ENABLE REPLICA TRIGGER keys_changed",
    "disabled": "ALTER TABLE auth.jwks DISABLE TRIGGER keys_changed",
    "dropped": "DROP TRIGGER keys_changed ON auth.jwks",
    "truncation disabled": "ALTER TABLE auth.jwks DISABLE TRIGGER keys_truncated",
    "another function": """
        CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        DROP TRIGGER keys_changed ON auth.jwks;
        CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON auth.jwks FOR EACH ROW
            EXECUTE FUNCTION nothing();
        ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_changed""",
    "with a condition": """
        DROP TRIGGER keys_changed ON auth.jwks;
        CREATE TRIGGER keys_changed AFTER UPDATE ON auth.jwks FOR EACH ROW WHEN (old.kid <> new.kid)
            EXECUTE FUNCTION auth.keys_changed();
        ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_changed""",
    "for fewer events": """
        DROP TRIGGER keys_changed ON auth.jwks;
        CREATE TRIGGER keys_changed AFTER INSERT OR DELETE ON auth.jwks FOR EACH ROW
            EXECUTE FUNCTION auth.keys_changed();
        ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_changed""",
    "for some columns": """
        DROP TRIGGER keys_changed ON auth.jwks;
        CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OF kid OR DELETE ON auth.jwks FOR EACH ROW
            EXECUTE FUNCTION auth.keys_changed();
        ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER keys_changed""",
}
NOT_GOOD = "SELECT trigger_name, state FROM auth.list_triggers() WHERE state <> 'good'"
# As pg_trigger has them, with who creates them anew.
CATALOG = """SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger
 WHERE tgrelid IN (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'pg_auth_jwt') AND NOT tgisinternal
     ORDER BY 1, 2"""
LINT = "SELECT code, object, fix FROM auth.lint() WHERE code LIKE 'trigger%'"
FETCHED = "https://fetched.test.example"
# As a logical replication worker does, so that only triggers that are ENABLE ALWAYS or REPLICA
# fire; and as other sessions do.
WITHDRAWALS = [
    f"BEGIN; SET LOCAL session_replication_role = {role}; {change}; COMMIT"
    for role in ("replica", "origin")
    for change in ("DELETE FROM auth.jwks", "UPDATE auth.jwks SET expires_at = '2020-01-01'", "TRUNCATE auth.jwks")
]


def withdrawn_keys_are_refused(checks, cluster, db, root):
    for name, demotion in DEMOTIONS.items():
        for withdrawal in WITHDRAWALS:
            root.query("TRUNCATE auth.issuers CASCADE; " + tokens.setup(0))
            reader, later = cluster.session(db), cluster.session(db)
            for session in (reader, later):
                session.query(f"SET pg_auth_jwt.token = '{tokens.token('u1')}'")
            checks.equal(f"{name}: before", reader.value(WHO), "u1")
            root.query(demotion)
            for session in (reader, later):
                checks.equal(f"{name}: good while the key is", session.value(WHO), "u1")
            root.query(withdrawal)
            for session in (reader, later):
                checks.equal(f"{name}: {withdrawal}", session.code(WHO), "28J03")
                session.close()
            root.query(
                "DROP EXTENSION pg_auth_jwt CASCADE; DROP FUNCTION IF EXISTS nothing; CREATE EXTENSION pg_auth_jwt"
            )


def the_warning_says_what_to_do(checks, cluster, db, root):
    root.query(tokens.setup(0))
    reader = cluster.session(db)
    reader.query(f"SET pg_auth_jwt.token = '{tokens.token('u1')}'")
    reader.query(WHO)
    checks.equal("nothing to say", reader.warnings(), [])
    root.query(RESTORED)
    for _ in range(3):
        reader.query(WHO)
    found = reader.warnings()
    checks.equal("one warning", [notice["M"] for notice in found], [MESSAGE])
    checks.equal(
        "its detail",
        found[0]["D"],
        "Triggers issuers_changed, issuers_truncated on auth.issuers are not ENABLE ALWAYS. "
        "Triggers admit_key, keys_changed, keys_truncated "
        "on auth.jwks are not ENABLE ALWAYS. Until this is repaired, "
        "this session reads its keys again in every statement.",
    )
    # The hint repairs it.
    root.query(found[0]["H"].removeprefix("Run: "))
    for _ in range(3):
        checks.equal("repaired", reader.value(WHO), "u1")
    checks.equal("no warning once repaired", reader.warnings(), [])
    checks.equal("all of them", root.query(NOT_GOOD), [])

    root.query("DROP TRIGGER keys_changed ON auth.jwks; ALTER TABLE auth.issuers DISABLE TRIGGER issuers_truncated")
    for _ in range(3):
        reader.query(WHO)
    found = reader.warnings()
    checks.equal("one warning of what is missing", [notice["M"] for notice in found], [MESSAGE])
    checks.equal(
        "its detail",
        found[0]["D"],
        "Trigger issuers_truncated on auth.issuers is not ENABLE ALWAYS. Trigger keys_changed on auth.jwks is missing. "
        "Until this is repaired, this session reads its keys again in every statement.",
    )
    root.query(found[0]["H"].removeprefix("Run: "))
    reader.query(WHO)
    checks.equal("repaired", reader.warnings(), [])
    root.query("ALTER TABLE auth.jwks DISABLE TRIGGER admit_key")
    reader.query(WHO)
    checks.equal("it is said again", [notice["M"] for notice in reader.warnings()], [MESSAGE])
    root.query("ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER admit_key")

    # A renamed trigger still works. Another trigger of the owner's is not checked.
    root.query(
        "ALTER TRIGGER keys_changed ON auth.jwks RENAME TO announces;"
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER other AFTER INSERT ON auth.jwks FOR EACH ROW EXECUTE FUNCTION nothing()"
    )
    reader.query(WHO)
    checks.equal("renamed", reader.warnings(), [])

    # An anonymous session does not read the tables, and so gets no warning.
    root.query("ALTER TABLE auth.jwks DISABLE TRIGGER admit_key")
    nobody = cluster.session(db)
    nobody.query(WHO)
    checks.equal("anonymous", nobody.warnings(), [])

    # Parallel workers leave the warning to their leader.
    reader.query("SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
    root.query(
        "CREATE TABLE many AS SELECT 'u1' AS owner FROM generate_series(1, 20000); GRANT SELECT ON many TO PUBLIC"
    )
    reader.warnings()
    checks.equal("in parallel", reader.value("SELECT count(*) FROM many WHERE owner = auth.user_id()"), "20000")
    checks.true("few warnings", len(reader.warnings()) <= 1)


def each_is_missed(checks, root):
    """One list has every trigger of the five tables; where one does not fire when it must, the
    list, lint and what they propose agree."""
    installed = root.query(CATALOG)
    listed = root.query(
        "SELECT table_name, trigger_name, CASE needs WHEN 'always' "
        "THEN 'A' ELSE 'O' END FROM auth.list_triggers() ORDER BY 1, 2"
    )
    checks.equal("the list is that of the install script", listed, [row[:3] for row in installed])
    checks.true("of five tables", len({row[0] for row in installed}) == 5)
    checks.equal("all is well", [root.query(NOT_GOOD), root.query(LINT)], [[], []])
    for table, name, enabled, _ in installed:
        code = "trigger_not_always" if enabled == "A" else "trigger_disabled"
        changes = {
            f"ALTER TABLE {table} DISABLE TRIGGER {name}": "disabled",
            f"ALTER TABLE {table} ENABLE REPLICA TRIGGER {name}": "replica_only",
            f"DROP TRIGGER {name} ON {table}": "missing",
            (
                f"DROP TRIGGER {name} ON {table}; "
                f"CREATE TRIGGER {name} AFTER INSERT ON {table} EXECUTE FUNCTION nothing()"
            ): "missing",
        }
        if enabled == "A":
            changes[f"ALTER TABLE {table} ENABLE TRIGGER {name}"] = "origin_only"
        for change, state in changes.items():
            root.query(change)
            checks.equal(f"{change}: listed", root.query(NOT_GOOD), [[name, state]])
            found = root.query(LINT)
            checks.equal(f"{change}: lint", [row[:2] for row in found], [[code, f"trigger {name} on {table}"]])
            for row in found:
                root.query(row[2])
            checks.equal(f"{change}: mended", root.query(CATALOG), installed)
    # As pg_restore --disable-triggers leaves them.
    for table in sorted({row[0] for row in installed}):
        root.query(f"ALTER TABLE {table} DISABLE TRIGGER ALL; ALTER TABLE {table} ENABLE TRIGGER ALL")
    checks.equal(
        "restored without triggers",
        sorted(root.query(NOT_GOOD)),
        sorted([row[1], "origin_only"] for row in installed if row[2] == "A"),
    )
    root.query("ALTER TABLE auth.endpoints ENABLE ALWAYS TRIGGER endpoints_changed")
    for row in root.query(LINT):
        root.query(row[2])
    checks.equal("mended", root.query(CATALOG), installed)


def leases_are_refused(checks, cluster, db, root):
    """As withdrawn_keys_are_refused, where the time of fetched keys is ended in auth.endpoints."""
    owner = cluster.session(db, "owner_role")
    owner.query(f"SELECT auth.follow_url('{FETCHED}', '{FETCHED}/jwks', '{{app}}'); {ed25519.fetched_row(FETCHED, 1)}")
    good = "UPDATE auth.endpoints SET last_success = now(), next_attempt = now() + '1 h'"
    ends = (
        "UPDATE auth.endpoints SET last_success = now() - interval '8 days'",
        "UPDATE auth.endpoints SET last_success = NULL",
        "DELETE FROM auth.endpoints",
        "TRUNCATE auth.endpoints",
    )
    names = [
        name
        for (name,) in root.query("SELECT trigger_name FROM auth.list_triggers() WHERE table_name = 'auth.endpoints'")
    ]
    checks.equal("they are three", len(names), 3)
    every = "".join(f"ALTER TABLE auth.endpoints {{}} TRIGGER {name};" for name in names)
    mend = every.replace("{}", "ENABLE ALWAYS")
    for how in ("ENABLE ALWAYS", "ENABLE", "ENABLE REPLICA", "DISABLE"):
        for end in ends:
            for role in ("replica", "origin"):
                owner.query(
                    "DELETE FROM auth.endpoints; "
                    f"INSERT INTO auth.endpoints (issuer, url) VALUES ('{FETCHED}', '{FETCHED}/jwks'); {good}"
                )
                sessions = [cluster.session(db) for _ in range(2)]
                for session in sessions:
                    session.query(f"SET pg_auth_jwt.token = '{ed25519.token(1, FETCHED, aud='app')}'")
                checks.equal(f"{how}: before", sessions[0].value(WHO), "u1")
                root.query(every.replace("{}", how))
                checks.equal(
                    f"{how}: good while the time lasts", [session.value(WHO) for session in sessions], ["u1", "u1"]
                )
                root.query(f"BEGIN; SET LOCAL session_replication_role = {role}; {end}; COMMIT")
                checks.equal(f"{how}: {end} as {role}", [session.code(WHO) for session in sessions], ["28J03", "28J03"])
                found = [session.warnings() for session in sessions]
                if how == "ENABLE ALWAYS":
                    checks.equal("nothing to say", found, [[], []])
                else:
                    for each in found:
                        checks.equal(
                            f"{how}: one warning",
                            [(notice["M"], "auth.endpoints are not ENABLE ALWAYS" in notice["D"]) for notice in each],
                            [(MESSAGE, True)],
                        )
                    for notice in found[0][:1]:
                        root.query(notice["H"].removeprefix("Run: "))
                    checks.equal(f"{how}: the hint mends it", root.query(NOT_GOOD), [])
                root.query(mend)
                for session in sessions:
                    session.close()
    owner.query(f"DELETE FROM auth.issuers WHERE issuer = '{FETCHED}'")
    owner.close()


cluster = SharedCluster()
db = cluster.create_db("test_triggers")
with cluster.session(db, "postgres") as root:
    root.query("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    checks = Checks()
    checks.run((each_is_missed,), checks, root)
    checks.run((leases_are_refused,), checks, cluster, db, root)
    root.query("DROP FUNCTION nothing")
    checks.run((withdrawn_keys_are_refused, the_warning_says_what_to_do), checks, cluster, db, root)
checks.done("keys are read in each statement where triggers do not announce their change")
