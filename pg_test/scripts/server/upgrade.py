#!/usr/bin/env python3
"""pg_upgrade, and pg_dump, from an earlier major version to the tested one: keys, issuers, grants and
policies are kept, and the same tokens verify. From the earliest one that is installed with the
extension and was not released later; skipped, and counted as skipped, where there is none.

  scripts/setup pg15 && scripts/install .pg/pg15/bin/pg_config
  PG=17 pg_test/run upgrade
"""

import glob
import os
import re

from lib import tokens
from lib.pg import Checks, Cluster, shell

# Minor releases of all majors come out together; these did.
TOGETHER = {15: 20, 16: 16, 17: 12, 18: 7, 19: 0}


def release(major):
    """The number of the release that is installed with the extension, or None. Betas come before 0."""
    describe = 'if [ -x "$PG_BIN/pg_config" ]; then "$PG_BIN/pg_config" --sharedir --version; fi'
    described = shell(describe, env={**os.environ, "PG": str(major)})
    if described:
        folder, version = described.split("\n")
        # The file that scripts/install puts there last.
        if glob.glob(f"{folder}/extension/pg_auth_jwt--*.sql"):
            minor = re.search(r" \d+\.(\d+)", version)
            return (int(minor[1]) if minor else -1) - TOGETHER[major]


def prepare(old, db):
    """Fills the database; returns its keys."""
    with old.session(db, "owner_role") as owner:
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
        return owner.query("SELECT * FROM auth.jwks ORDER BY kid")


def upgrade(old, new):
    for cluster in (old, new):
        cluster.control("stop")
    with open(f"{new.dir}/data/PG_VERSION") as to, open(f"{old.dir}/data/PG_VERSION") as from_:
        if int(to.read()) >= 18 > int(from_.read()):
            # initdb enables checksums from 18 on; pg_upgrade requires the same in both clusters.
            new.as_pg("pg_checksums", "--disable", "-D", f"{new.dir}/data")
    places = ("-d", f"{old.dir}/data", "-D", f"{new.dir}/data")
    programs = ("-b", shell("echo $PG_BIN", env=old.environ), "-B", shell("echo $PG_BIN", env=new.environ))
    new.as_pg("pg_upgrade", *programs, *places, "-U", "postgres", "-s", new.dir)
    new.script("start")


def look(checks, new, db, saved):
    check = lambda what, got, wanted: checks.equal(f"{db}: {what}", got, wanted)
    s = new.session(db)
    s.execute("SELECT auth.jwt_session_init($1)", tokens.token("u1"))
    check("policy", s.query("SELECT owner FROM things"), [["u1"]])
    check("grant", s.code("SELECT auth.verify('x')"), "28J01")
    check("not granted", s.code("SELECT * FROM auth.jwks"), "42501")
    owner = new.session(db, "owner_role")
    check("keys", owner.query("SELECT * FROM auth.jwks ORDER BY kid"), saved)
    check("follows", owner.value(f"SELECT state FROM auth.key_status WHERE issuer = '{tokens.FOLLOWED}'"), "live")
    following = new.session(db)
    check("followed", following.code("SELECT auth.jwt_session_init($1)", tokens.followed_token("u1")), None)
    owner.query("DELETE FROM followed_keys")
    check("deleted where it is followed", following.code("SELECT * FROM things"), "28J03")
    owner.query("DELETE FROM auth.jwks WHERE kid = 'k0'")
    check("withdrawn", s.code("SELECT * FROM things"), "28J03")
    check("the other key", s.code("SELECT auth.jwt_session_init($1)", tokens.token("u1", key=1)), None)


def main():
    checks = Checks()
    major = int(shell("echo $PG"))
    # An older pg_upgrade or pg_dump may not know what a later release of an earlier major has changed.
    releases = {earlier: release(earlier) for earlier in TOGETHER if earlier < major}
    suitable = [n for n, number in releases.items() if number is not None and number <= release(major)]
    if not suitable:
        checks.skip_all(f"no earlier Postgres is built here with the extension that is not newer than this {major}")

    with Cluster("upgrade_from", major=str(suitable[0])) as old, Cluster("upgrade_to", bare=True) as new:
        db = old.create_db("app")
        saved = prepare(old, db)
        dump = new.client("pg_dump", "-h", old.dir, db)
        upgrade(old, new)
        with new.session(db) as s:
            checks.equal("version", s.value("SHOW server_version_num")[:2], str(major))
        new.client("createdb", "-T", "template0", "-O", "owner_role", "dumped")
        new.client("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-U", "owner_role", "dumped", input=dump)
        look(checks, new, db, saved)
        look(checks, new, "dumped", saved)
    checks.done(f"pg_upgrade and pg_dump from {suitable[0]} to {major}")


main()
