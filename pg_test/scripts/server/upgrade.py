#!/usr/bin/env python3
"""pg_upgrade to the next major version that is installed with the extension: keys, issuers, grants
and policies are kept, and the same tokens verify. Skipped, and counted as skipped, where there is
none.

  scripts/setup pg16 && scripts/install .pg/pg16/bin/pg_config
  scripts/setup pg18 && scripts/install .pg/pg18/bin/pg_config
  PG=16 pg_test/run upgrade
"""

import os
import re

from lib import tokens
from lib.pg import Checks, Cluster, shell

# Minor releases of all majors come out together; these did.
TOGETHER = {14: 19, 15: 14, 16: 10, 17: 6, 18: 0}


def release(major):
    """The first of those releases that is installed with the extension, or None."""
    describe = 'if [ -x "$PG_BIN/pg_config" ]; then "$PG_BIN/pg_config" --pkglibdir --version; fi'
    described = shell(describe, env={**os.environ, "PG": str(major)})
    if described:
        library, version = described.split("\n")
        if os.path.exists(f"{library}/pg_auth_jwt.so"):
            return int(re.search(r"\.(\d+)", version)[1]) - TOGETHER[major]


def main():
    checks = Checks()
    old_major = int(shell("echo $PG"))
    new_major = next((major for major in sorted(TOGETHER) if major > old_major and release(major) is not None), None)
    if new_major is None:
        checks.skip_all(f"no Postgres newer than {old_major} is built here with the extension")
    if release(new_major) < release(old_major):
        # An older pg_upgrade may not know what a later release of an older major has changed.
        checks.skip_all(f"the Postgres {new_major} here was released before the Postgres {old_major}")

    with Cluster("upgrade_from") as old, Cluster("upgrade_to", bare=True, major=str(new_major)) as new:
        db = old.create_db("app")
        owner = old.session(db, "owner_role")
        owner.query(
            tokens.setup(0, 1)
            + tokens.follow(0)
            + """
            UPDATE auth.jwks SET expires_at = '2100-01-01' WHERE kid = 'k1';
            CREATE TABLE things AS SELECT 'u' || n AS owner FROM generate_series(1, 9) n;
            ALTER TABLE things ENABLE ROW LEVEL SECURITY;
            CREATE POLICY own ON things TO authenticated USING (owner = auth.user_id());
            GRANT SELECT ON things TO authenticated;
            GRANT EXECUTE ON FUNCTION auth.verify(text) TO authenticated"""
        )
        saved = owner.query("SELECT * FROM auth.jwks ORDER BY kid")
        owner.close()
        for cluster in (old, new):
            cluster.control("stop")
        if new_major >= 18 > old_major:
            # initdb enables checksums from 18 on; pg_upgrade requires the same in both clusters.
            new.as_pg("pg_checksums", "--disable", "-D", f"{new.dir}/data")
        new.as_pg(
            "pg_upgrade",
            "-b",
            shell("echo $PG_BIN"),
            "-B",
            shell("echo $PG_BIN", env=new.environ),
            "-d",
            f"{old.dir}/data",
            "-D",
            f"{new.dir}/data",
            "-U",
            "postgres",
            "-s",
            new.dir,
        )
        new.script("start")

        s = new.session(db)
        checks.equal("version", s.value("SHOW server_version_num")[:2], str(new_major))
        s.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
        checks.equal("policy", s.query("SELECT owner FROM things"), [["u1"]])
        checks.equal("grant", s.code("SELECT auth.verify('x')"), "28J01")
        checks.equal("not granted", s.code("SELECT * FROM auth.jwks"), "42501")
        owner = new.session(db, "owner_role")
        checks.equal("keys", owner.query("SELECT * FROM auth.jwks ORDER BY kid"), saved)
        checks.equal(
            "follows", owner.value(f"SELECT state FROM auth.key_status WHERE issuer = '{tokens.FOLLOWED}'"), "live"
        )
        following = new.session(db)
        checks.equal("followed", following.code("SELECT auth.jwt_session_init($1)", tokens.followed_token("u1")), None)
        owner.query("DELETE FROM followed_keys")
        checks.equal("deleted where it is followed", following.code("SELECT * FROM things"), "28J03")
        owner.query("DELETE FROM auth.jwks WHERE kid = 'k0'")
        checks.equal("withdrawn", s.code("SELECT * FROM things"), "28J03")
        checks.equal("the other key", s.code("SELECT auth.jwt_session_init($1)", tokens.token("u1", key=1)), None)
    checks.done(f"pg_upgrade from {old_major} to {new_major}")


main()
