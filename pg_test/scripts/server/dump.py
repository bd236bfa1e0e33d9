#!/usr/bin/env python3
"""pg_restore brings back what pg_dump saved of a database, in another cluster: issuers, keys,
grants and policies, so that the same tokens verify there. It cannot bring back the privileges of an
owner who does not run the restore; the grants of docs/security.md do."""

import json
import subprocess

from lib import tokens
from lib.pg import HERE, Checks, Cluster

with open(f"{HERE}/fixtures/jose.json") as file:
    JOSE = json.load(file)
ALICE = JOSE["tokens"]["alice"]
SUB = "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"

SCHEMA = f"""
SELECT auth.init('{json.dumps(JOSE["jwks"])}', issuer => '{JOSE["issuer"]}', audience => '{{my-app}}');
UPDATE auth.issuers SET leeway = '7 s', max_age = '100 years', required_claims = '{{exp,sub}}', token_types = NULL
 WHERE issuer = '{JOSE["issuer"]}';
UPDATE auth.jwks SET expires_at = '2100-01-01', created_at = '2026-01-01' WHERE kid = 'es-1';
INSERT INTO auth.issuers (issuer, enabled) VALUES ('https://gone.example.com', false);
INSERT INTO auth.jwks (issuer, kid, jwk, alg) VALUES ('https://gone.example.com', 'row-id',
    '{{"kty":"OKP","crv":"Ed25519","x":"9wNuXCqeWjcVsErMJHEZcDK7AwJfyYjPHabGJ4vvDhg"}}', 'EdDSA');

CREATE TABLE posts (user_id uuid DEFAULT auth.uid(), title text, CHECK (auth.role() IS DISTINCT FROM 'nobody'));
INSERT INTO posts VALUES ('{SUB}', 'hers'), (gen_random_uuid(), 'not hers');
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (user_id = auth.uid());
CREATE VIEW my_claims AS SELECT auth.session() AS claims;
CREATE FUNCTION whoami() RETURNS text LANGUAGE sql STABLE RETURN auth.email();
GRANT SELECT, INSERT ON posts TO authenticated;
GRANT SELECT ON my_claims TO authenticated;
"""

# More than the privileges of everyone.
GRANTS = """
GRANT EXECUTE ON FUNCTION auth.verify(text) TO authenticated;
GRANT SELECT ON auth.issuers TO auditor;
"""

ISSUERS = "SELECT * FROM auth.issuers ORDER BY 1"
KEYS = "SELECT * FROM auth.jwks ORDER BY issuer, thumbprint"


FOLLOWS = f"SELECT DISTINCT state FROM auth.key_status WHERE issuer = '{tokens.FOLLOWED}'"


OWNER_GRANTS = subprocess.run(
    [f"{HERE}/doc_sql", "docs/security.md", "new_owner"], check=True, text=True, stdout=subprocess.PIPE
).stdout


def look(check, cluster, db, saved, by_superuser):
    s = cluster.session(db)
    check("token", s.code("SELECT auth.jwt_session_init($1)", ALICE), None)
    check("oct token", s.value("SELECT auth.verify($1) ->> 'sub'", tokens.token("u1")), "u1")
    check("policy", s.query("SELECT user_id, title FROM posts"), [[SUB, "hers"]])
    check("default", s.value("INSERT INTO posts (title) VALUES ('new') RETURNING user_id"), SUB)
    check("check of the policy", s.code("INSERT INTO posts VALUES (gen_random_uuid())"), "42501")
    check("view", s.value("SELECT claims ->> 'email' FROM my_claims"), "alice@acme.example")
    check("function", s.value("SELECT whoami()"), "alice@acme.example")
    check("grant", s.code("SELECT auth.verify('x')"), "28J01")
    if by_superuser:  # Only a superuser may revoke what everyone may do.
        check("revoke", s.code("SELECT auth.organization()"), "42501")
    check("not granted", s.code("SELECT * FROM auth.jwks"), "42501")
    check("grant of a table", cluster.session(db, "auditor").code(ISSUERS), None)
    followed = cluster.session(db)
    check("followed", followed.code("SELECT auth.jwt_session_init($1)", tokens.followed_token("u1")), None)
    o = cluster.session(db, "owner_role")
    check("follows", o.value(FOLLOWS), "live")
    o.query("DELETE FROM followed_keys")
    check("deleted where it is followed", followed.code("SELECT auth.user_id()"), "28J03")
    check("issuers", o.query(ISSUERS), saved[ISSUERS])
    check("keys", o.query(KEYS), saved[KEYS])
    check("admission", o.code("INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://gone.example.com', '{}')"), "22023")
    o.query("DELETE FROM auth.jwks WHERE kid = 'es-1'")
    check("withdrawn", s.code("SELECT * FROM posts"), "28J03")


def hand_over(check, cluster, db, jwks):
    """The extension goes to another role, and its privileges too."""
    heir, s = cluster.session(db, "heir"), cluster.session(db)
    init = f"SELECT auth.init('{jwks}', issuer => '{JOSE['issuer']}')"
    cluster.psql("-c", "REASSIGN OWNED BY owner_role TO heir", db)
    check("not yet", heir.code(init), "42501")
    cluster.psql("-c", OWNER_GRANTS.replace("new_owner", "heir"), "-c", "DROP OWNED BY owner_role", db)
    check("of the former owner", cluster.session(db, "owner_role").code(KEYS), "42501")
    check("what they granted", s.code("SELECT auth.verify('x')"), "42501")
    check("new owner", heir.value(init), "3")
    check("their grant", heir.code("GRANT EXECUTE ON FUNCTION auth.verify(text) TO authenticated"), None)
    check("as granted", s.code("SELECT auth.verify('x')"), "28J01")
    check(
        "policy",
        s.code("SELECT auth.jwt_session_init($1)", ALICE) or s.query("SELECT title FROM posts WHERE title = 'hers'"),
        [["hers"]],
    )
    check("drop", heir.code("BEGIN; DROP EXTENSION pg_auth_jwt CASCADE; ROLLBACK"), None)


def main():
    checks = Checks()
    with Cluster("dump_from") as source, Cluster("dump_to", bare=True) as target:
        db = source.create_db("app")
        source.psql("-c", "CREATE ROLE auditor LOGIN; GRANT USAGE ON SCHEMA auth TO auditor", db)
        # Fewer privileges: only the superuser, who owns the function, can revoke this.
        source.psql("-c", "REVOKE EXECUTE ON FUNCTION auth.organization() FROM PUBLIC", db)
        owner = source.session(db, "owner_role")
        owner.query(tokens.setup(0) + tokens.follow(0) + SCHEMA + GRANTS)
        saved = {query: owner.query(query) for query in (ISSUERS, KEYS)}

        # By the server's user, in its folder.
        custom, plain, roles = (f"{target.dir}/{name}" for name in ("app.dump", "app.sql", "roles.sql"))
        source.as_pg("pg_dump", "-h", source.dir, "-U", "owner_role", "-Fc", "-f", custom, db)
        source.as_pg("pg_dump", "-h", source.dir, "-U", "postgres", "-f", plain, db)
        source.as_pg("pg_dumpall", "-h", source.dir, "-U", "postgres", "--roles-only", "-f", roles)
        target.client(
            "psql", "-Xq", "-f", roles, "postgres", stderr=subprocess.DEVNULL
        )  # Has the role postgres already.

        def restored(what, restore, by_superuser=False):
            target.psql("-c", f"CREATE DATABASE {what} OWNER owner_role", "postgres")
            restore(what)
            look(lambda check, *of: checks.equal(f"{what}: {check}", *of), target, what, saved, by_superuser)

        def custom_by_owner(to):
            target.client("pg_restore", "-U", "owner_role", "--exit-on-error", "-d", to, custom)

        def in_parallel(to):
            target.client("pg_restore", "--role=owner_role", "-j2", "-d", to, custom)

        def into_owners(to):
            target.session(to, "owner_role").query("CREATE EXTENSION pg_auth_jwt")
            target.psql("-f", plain, to)

        def by_superuser(to):
            # The extension is the superuser's. What its former owner had granted is refused, and
            # nothing else; they have no privileges until they are given theirs.
            printed = target.client("psql", "-Xq", "-f", plain, to, stderr=subprocess.STDOUT)
            errors = sorted(line.split("ERROR:  ")[1] for line in printed.splitlines() if "ERROR:" in line)
            checks.equal(
                "refused to a superuser",
                errors,
                ["permission denied for function verify", "permission denied for table issuers"],
            )
            owner = target.session(to, "owner_role")
            for sql in (KEYS, f"SELECT auth.init('{json.dumps(JOSE['jwks'])}')", "DELETE FROM auth.issuers"):
                checks.equal(f"by_superuser: {sql:.20}", owner.code(sql), "42501")
            checks.equal(
                "by_superuser: token", target.session(to).code("SELECT auth.jwt_session_init($1)", ALICE), None
            )
            target.psql("-c", OWNER_GRANTS.replace("new_owner", "owner_role"), to)
            owner.query(GRANTS)

        restored("by_owner", custom_by_owner)
        restored("in_parallel", in_parallel)
        restored("into_owners", into_owners, by_superuser=True)
        restored("by_superuser", by_superuser, by_superuser=True)
        target.psql("-c", "CREATE ROLE heir LOGIN", "postgres")
        hand_over(
            lambda check, *of: checks.equal(f"handed over: {check}", *of),
            target,
            "into_owners",
            json.dumps(JOSE["jwks"]),
        )
    checks.done("dumps restored in four ways, and the extension handed over")


main()
