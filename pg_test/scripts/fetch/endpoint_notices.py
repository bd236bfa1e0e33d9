#!/usr/bin/env python3
"""Notices, and the fate of keys, while fetching is hindered: keys that are withdrawn by hand,
fetches that are due and do not begin, keys that become stale unfetched, triggers that are off; and
what the launcher finds without being told."""

import json
import re
import shutil

from lib import ed25519
from lib.endpoint import Answer, Endpoint, Held, keys
from lib.following import WHO, FetchingCluster, Issuer, folder, until
from lib.pg import Checks, shell

NOTHING_DUE = "next_attempt = now() + interval '5 min', unknown_key_after = now() + interval '5 min'"


def lint(session, pattern):
    """Levels and codes of the findings whose code or text matches."""
    return [
        tuple(row)
        for row in session.query(f"SELECT level, code FROM auth.lint() AS l WHERE l::text ~ '{pattern}' ORDER BY code")
    ]


def withdrawn_by_hand(checks, cluster, db, endpoint):
    """A row that is written into auth.withdrawn_keys ends the stored key at once."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "withdrawn", keys(1, 2, 3))
    issuer.outcome()
    user = cluster.session(db)
    checks.equal("before", [issuer.sign_in(user, 1), user.value(WHO)], [None, "u1"])
    ban = (
        "INSERT INTO auth.withdrawn_keys (issuer, thumbprint) "
        "SELECT issuer, thumbprint FROM auth.jwks WHERE kid = '{}' AND issuer = '{}'"
    )
    owner.query(ban.format("e1", issuer.name))
    checks.equal(
        "withdrawn", [user.code(WHO), issuer.sign_in(user, 1), issuer.kids()], ["28J03", "28J03", ["e2", "e3"]]
    )
    checks.equal(
        "also after a fetch",
        [issuer.outcome(), issuer.kids(), issuer.sign_in(user, 2)],
        ["unchanged", ["e2", "e3"], None],
    )
    thumbprint = owner.value(f"SELECT thumbprint FROM auth.jwks WHERE kid = 'e3' AND issuer = '{issuer.name}'")
    owner.query(
        "BEGIN; INSERT INTO auth.withdrawn_keys (issuer, thumbprint) "
        f"VALUES ('{issuer.name}', '{thumbprint}'); ROLLBACK"
    )
    checks.equal("taken back", issuer.sign_in(user, 3), None)
    # A key that is being stored while it is withdrawn.
    issuer.list(2)
    issuer.outcome()
    held = Held(keys(2, 3))
    issuer.script(held)
    issuer.change("unknown_key_after = NULL")
    before = issuer.seen()
    user.query("SET pg_auth_jwt.fetch_wait = 0")
    issuer.sign_in(user, 9)
    checks.true("the fetch has begun", endpoint.wait(issuer.path, before + 1))
    owner.query(f"BEGIN; INSERT INTO auth.withdrawn_keys (issuer, thumbprint) VALUES ('{issuer.name}', '{thumbprint}')")
    held.release()
    with cluster.session(db, "postgres") as root:
        until(
            lambda: root.value("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0" or not cluster.workers(),
            "the answer waits",
        )
    owner.query("COMMIT")
    until(lambda: not cluster.workers(), "the fetch has ended")
    checks.equal("withdrawn while it was being stored", issuer.kids(), ["e2"])
    # TRUNCATE and DELETE note what they delete, and no more.
    owner.query("DELETE FROM auth.withdrawn_keys; TRUNCATE auth.jwks")
    checks.equal(
        "truncated", owner.value(f"SELECT count(*) FROM auth.withdrawn_keys WHERE issuer = '{issuer.name}'"), "1"
    )
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def triggers_off(checks, cluster, db, _):
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    checks.equal("all is well", lint(owner, "trigger"), [])
    tables = {"key_withdrawn": "auth.jwks", "keys_withdrawn": "auth.jwks", "withdrawn_noted": "auth.withdrawn_keys"}
    for name, table in tables.items():
        for how in ("DISABLE TRIGGER", "ENABLE REPLICA TRIGGER"):
            if root.code(f"ALTER TABLE {table} {how} {name}"):
                checks.true(f"there is a trigger {name}", False)
                continue
            checks.equal(f"{name}: {how}", lint(owner, "trigger"), [("error", "trigger_disabled")])
            root.query(
                owner.value("SELECT fix FROM auth.lint() WHERE code = 'trigger_disabled'")
                or f"ALTER TABLE {table} ENABLE TRIGGER {name}"
            )
            checks.equal(f"{name}: enabled", lint(owner, "trigger"), [])


def not_begun(checks, cluster, db, endpoint):
    """A fetch that is due and does not begin: no token is verified, and there is no launcher."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "overdue", keys(1))
    issuer.outcome()
    issuer.change("next_attempt = now() - interval '1 min'")
    checks.equal("due for a minute", [issuer.status("detail"), lint(owner, "overdue")], [None, []])
    issuer.change("next_attempt = now() - interval '3 min'")
    checks.true(f"due for 3 minutes: {issuer.status('detail')}", "has not begun" in (issuer.status("detail") or ""))
    checks.equal("which lint says", lint(owner, "overdue"), [("info", "fetch_overdue")])
    with cluster.session(db) as user:
        checks.equal("a token is verified", issuer.sign_in(user, 1), None)
    until(lambda: issuer.status("detail") is None and not cluster.workers(), "then it begins, and ends")
    checks.equal("and lint says nothing", lint(owner, "overdue"), [])
    # Text of the endpoint, or of a key id, must not decide which finding is reported.
    issuer.change(
        "failures = 3, last_error = 'status 500: Nothing is fetched: haha', "
        f"note = 'Key id \"Nothing is fetched: haha\" twice.', {NOTHING_DUE}"
    )
    checks.equal("words of the endpoint", lint(owner, "haha"), [("warning", "fetch_failing")])
    cluster.allow()
    checks.equal("fetching is off", lint(owner, issuer.name), [("warning", "host_not_listed")])
    cluster.allow(endpoint.host)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def stale_unfetched(checks, cluster, db, endpoint):
    """The log says once when keys become stale, also where nothing is fetched."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "stale_unfetched", keys(1))
    issuer.outcome()
    cluster.allow()

    def lines(state):
        return len(re.findall(f'keys of issuer "{issuer.name}" at [^ ]+ are {state}', cluster.log()))

    with cluster.session(db) as user:
        checks.equal("live", [issuer.sign_in(user, 1), lines("stale"), lines("live")], [None, 0, 0])
        issuer.change(f"last_success = now() - interval '8 days', {NOTHING_DUE}")
        with cluster.session(db) as fresh:
            checks.equal(
                "stale", [issuer.sign_in(fresh, 1), issuer.sign_in(fresh, 1), lines("stale")], ["28J03", "28J03", 1]
            )
            issuer.change("last_success = now(), next_attempt = now() - interval '1 s'")
            until(lambda: issuer.sign_in(fresh, 1) is None, "live again")
            checks.equal("live again", [lines("live"), lines("stale")], [1, 1])
    cluster.allow(endpoint.host)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def hidden_hosts(checks, cluster, db, endpoint):
    """The hosts are known to superusers, and to those who may read all settings."""
    cluster.allow(endpoint.host, "internal.test.example")
    for name in ("authenticated", "owner_role"):
        with cluster.session(db, name) as user:
            user.code("SELECT auth.jwt_session_init('x')")
            checks.equal(f"SHOW as {name}", user.code("SHOW pg_auth_jwt.fetch_hosts"), "42501")
            checks.equal("current_setting()", user.code("SELECT current_setting('pg_auth_jwt.fetch_hosts')"), "42501")
            checks.equal("pg_settings", user.value("SELECT count(*) FROM pg_settings WHERE setting ~ 'internal'"), "0")
    with cluster.session(db, "owner_role") as owner:
        owner.query(
            "SELECT auth.follow_url('https://hidden.test.example', 'https://hidden.test.example/keys', '{app}')"
        )
        said = str(owner.notices())
        checks.true(f"the WARNING names the host: {said}", "hidden.test.example" in said and "internal" not in said)
        owner.query("SELECT auth.unfollow('https://hidden.test.example')")
    cluster.allow(endpoint.host)


def not_listed(checks, cluster, db, endpoint):
    """A token for keys that are not fetched is not told to come again in a few seconds."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "unlisted", keys(1))
    cluster.allow("other.test.example")
    for session in (cluster.session(db), cluster.session(db)):
        hint = issuer.error(session, 1).fields["H"]
        checks.true(f"the hint: {hint}", "not fetched on this server" in hint and "auth.key_status" in hint)
    cluster.allow(endpoint.host)
    # One that these sessions have started may still run, and the next one would not wait for it.
    until(lambda: not cluster.workers(), "no process fetches")
    with cluster.session(db) as session:
        session.query("SET pg_auth_jwt.fetch_wait = '20 s'")
        issuer.change("unknown_key_after = NULL, next_attempt = NULL")
        checks.equal("listed", issuer.sign_in(session, 1), None)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def fixes(checks, cluster, db, endpoint):
    """Each reason for which nothing is fetched has its code and its own fix, which keeps the hosts
    that are listed, and solves it."""
    owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
    issuer = Issuer(owner, endpoint, "fixed", keys(1))
    issuer.outcome()
    issuer.change(NOTHING_DUE)
    found = f"SELECT level, code, fix FROM auth.lint() WHERE object = 'issuer {issuer.name}'"
    shown = f"SELECT DISTINCT fix FROM auth.key_status WHERE issuer = '{issuer.name}'"

    def allow(*hosts):
        """With sessions that begin after it: to the others the server may not have told it yet."""
        nonlocal owner, root
        cluster.allow(*hosts)
        owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
        issuer.owner = owner

    def solved(what, hosts, problem, code):
        allow(*hosts)
        checks.equal(what, issuer.status("state, problem"), ["live", problem])
        ((level, given, fix),) = root.query(found)
        checks.equal(f"{what}: lint", [level, given], ["warning", code])
        checks.equal(f"{what}: the fix of key_status", root.value(shown), fix)
        for statement in fix.split(" -- ")[0].split("; "):
            root.query(statement)
        listed = " ".join((*hosts, endpoint.host))
        until(lambda: root.value("SHOW pg_auth_jwt.fetch_hosts") == listed, f"{what}: the list is {listed}")
        until(lambda: issuer.status("problem") is None, f"{what}: solved")
        checks.equal(f"{what}: lint says nothing", root.query(found), [])

    solved("no host", [], "hosts_empty", "host_not_listed")
    solved("other hosts", ["a.example.com", "*.b.example.com"], "host_not_listed", "host_not_listed")
    # The owner may not see the list. psql adds to it: \\gexec runs what the query returns.
    allow("hidden.example.com")
    fix = owner.query(found)[0][2]
    checks.true(f"the list stays hidden: {fix}", "hidden" not in fix and "\\gexec" in fix)
    for (statement,) in root.query(fix.split("; ", 1)[1].replace("\\gexec", "")):
        root.query(statement)
    until(
        lambda: root.value("SHOW pg_auth_jwt.fetch_hosts") == f"hidden.example.com {endpoint.host}",
        "psql adds the host",
    )
    # The host of the keys, which the discovery document names.
    issuer.change("jwks_uri = 'https://keys.example.com:8443/jwks'")
    owner.query(
        "UPDATE auth.issuers SET source = jsonb_set(source, '{kind}', '\"discovery\"')"
        f" WHERE issuer = '{issuer.name}'"
    )
    checks.equal("the host of jwks_uri", issuer.status("problem"), "host_not_listed")
    checks.true("is named", "keys.example.com:8443" in root.value(shown))
    owner.query(
        f"UPDATE auth.issuers SET source = jsonb_set(source, '{{kind}}', '\"url\"') WHERE issuer = '{issuer.name}'"
    )
    allow(endpoint.host)
    for url, problem in (
        ("https://169.254.169.254/jwks", "url_refused"),
        ("ftp://a.example.com/jwks", "url_refused"),
        ("https://10.1.2.3/jwks", "host_not_exact"),
    ):
        allow("*")
        owner.query(
            f"""UPDATE auth.issuers SET source = '{{"kind": "url", "url": "{url}"}}' WHERE issuer = '{issuer.name}'"""
        )
        checks.equal(url, issuer.status("problem"), problem)
        _, code, fix = owner.query(found)[0]
        wanted = "auth.follow_url" if problem == "url_refused" else "10.1.2.3"
        checks.equal(
            f"{url}: {fix}", [code, wanted in fix], [{"host_not_exact": "host_not_listed"}.get(problem, problem), True]
        )
    # A key that is none has a code of its own, and hides none of the source.
    owner.query(
        f"""UPDATE auth.issuers SET source = '{{"kind": "url", "url": "{issuer.url}"}}'
        WHERE issuer = '{issuer.name}'"""
    )
    allow()
    root.query(
        "ALTER TABLE auth.jwks DISABLE TRIGGER admit_key;"
        f"UPDATE auth.jwks SET jwk = '{{}}' WHERE issuer = '{issuer.name}';"
        "ALTER TABLE auth.jwks ENABLE ALWAYS TRIGGER admit_key"
    )
    checks.equal(
        "an odd key, and no host",
        owner.query(f"SELECT kid, problem FROM auth.key_status WHERE issuer = '{issuer.name}' ORDER BY kid"),
        [["e1", "key_member_missing"], [None, "hosts_empty"]],
    )
    cluster.allow(endpoint.host)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def keys_elsewhere(checks, cluster, db, endpoint):
    """The first fetch of an issuer whose document names keys at a host that is not listed: that is said, with the
    entry to be added, and no token is needed to find it out."""
    name, path = f"{endpoint.url}/elsewhere", "/elsewhere/.well-known/openid-configuration"
    elsewhere = f"127.0.0.1:{endpoint.port}"
    endpoint.script("/elsewhere_keys", keys(1))
    owner = cluster.session(db, "owner_role")
    owner.query(f"SELECT auth.follow_url('{name}', audience => '{{a}}')")

    def fetch(uri):
        """The outcome, and what is then said of it, also by auth.lint."""
        endpoint.script(path, Answer(json.dumps({"issuer": name, "jwks_uri": uri})))
        with cluster.session(db, "owner_role") as asking, cluster.session(db, "postgres") as root:
            outcome = asking.value(f"SELECT outcome FROM auth.refresh('{name}')")
            state, problem, detail, fix = root.query(
                f"SELECT state, problem, detail, fix FROM auth.key_status WHERE issuer = '{name}'"
            )[0]
            found = root.query(f"SELECT code, fix FROM auth.lint() WHERE object = 'issuer {name}'")
            return outcome, state, problem, detail, fix, found

    outcome, state, problem, detail, fix, found = fetch(f"https://{elsewhere}/elsewhere_keys")
    checks.equal("not fetched", [outcome, state, problem], ["failed", "missing", "host_not_listed"])
    checks.true(f"the host is named: {detail}", elsewhere in detail)
    checks.true(f"and the entry, beside those that are listed: {fix}", f"'{endpoint.host} {elsewhere}'" in fix)
    checks.equal("auth.lint has it", found, [["keys_not_fetched", fix]])
    _, state, problem, detail, fix, _ = fetch("https://169.254.169.254/keys")
    checks.equal("whatever is listed", [state, problem], ["missing", "url_refused"])
    cluster.allow(endpoint.host, elsewhere)
    outcome, state, problem, *_ = fetch(f"https://{elsewhere}/elsewhere_keys")
    checks.equal("listed", [outcome, state, problem], ["changed", "live", None])
    # While the keys count, it is said, too.
    cluster.allow(endpoint.host)
    outcome, state, problem, *_, fix, found = fetch(f"https://{elsewhere}/elsewhere_keys")
    checks.equal("no more listed", [outcome, state, problem], ["failed", "live", "host_not_listed"])
    checks.equal("no more listed: auth.lint", found, [["host_not_listed", fix]])
    owner.query(f"SELECT auth.unfollow('{name}')")


def without_fetch_library(checks, cluster, db, endpoint):
    """A copy of the library in a folder without pg_auth_jwt_fetch says so."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "alone", keys(1))
    with folder() as alone:
        shutil.copy(shell('"$PG_BIN/pg_config" --pkglibdir') + "/pg_auth_jwt.so", f"{alone}/pg_auth_jwt.so")
        with cluster.session(db, "postgres") as root:
            columns = root.value(
                "SELECT pg_get_function_result(oid) FROM pg_proc WHERE oid = 'auth.list_keys'::regproc"
            )
            root.query(
                f"CREATE FUNCTION alone() RETURNS {columns} LANGUAGE c"
                f" AS '{alone}/pg_auth_jwt', 'pg_auth_jwt_list_keys'"
            )
            problem, fix = root.query(f"SELECT problem, fix FROM alone() WHERE issuer = '{issuer.name}'")[0]
            checks.equal(f"it says so: {fix}", [problem, "pg_auth_jwt_fetch" in fix], ["library_missing", True])
            checks.true("the fix is no change of the hosts", "fetch_hosts" not in fix)
            root.query("DROP FUNCTION alone()")
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def hosts_from_before(checks, place):
    """A list that was written before the library was loaded, with an entry that cannot be read."""
    with FetchingCluster("endpoint_notices", place, **{"pg_auth_jwt.fetch_hosts": "https://a.example.com"}) as cluster:
        db = cluster.create_db("before")
        owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
        owner.query("SELECT auth.follow_url('https://a.example.com', 'https://a.example.com/jwks', '{a}')")
        read = "SELECT problem, fix FROM auth.key_status"
        problem, fix = root.query(read)[0]
        checks.equal(f"its fix is another one: {fix}", [problem, "corrected" in fix], ["hosts_unreadable", True])
        found = root.query(
            "SELECT code, fix FROM auth.lint() WHERE object ~ 'a.example' AND code <> 'audience_not_checked'"
        )
        checks.equal("lint has it", found, [["keys_not_fetched", fix]])
        owner.query(
            f"SELECT auth.init('{ed25519.jwks(1)}', 'https://b.example.com', '{{a}}');"
            "INSERT INTO auth.jwks (issuer, jwk, thumbprint)"
            " SELECT 'https://a.example.com', jwk, thumbprint FROM auth.jwks;"
            "UPDATE auth.endpoints SET last_success = now()"
        )
        found = root.query("SELECT code, fix FROM auth.lint() WHERE object ~ 'a.example'")
        checks.equal("and while keys count", found, [["hosts_unreadable", fix]])


def clock_was_ahead(checks, cluster, db, endpoint):
    """Keys that were fetched "in a year" do not count until then, where nothing is fetched that
    would correct it."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "ahead", keys(1))
    issuer.outcome()
    cluster.allow()
    ahead = f"last_success = now() + interval '1 year', {NOTHING_DUE}, answer_date = "
    for answered, code, state in (
        ("now() - interval '1 min'", None, "live"),
        ("now() - interval '8 days'", "28J03", "stale"),
        ("NULL", "28J03", "stale"),
        ("now() + interval '1 year'", "28J03", "stale"),
    ):
        issuer.change(ahead + answered)
        with cluster.session(db) as session:
            checks.equal(f"answered {answered}", [issuer.sign_in(session, 1), issuer.status()], [code, state])
    checks.true(f"key_status says why: {issuer.status('detail')}", "lies in the future" in issuer.status("detail"))
    issuer.change("last_success = now() + interval '10 min', answer_date = NULL")
    with cluster.session(db) as session:
        checks.equal("a clock that was set by minutes", issuer.sign_in(session, 1), None)
    issuer.change(ahead + "NULL")
    cluster.allow(endpoint.host)
    checks.equal("a fetch corrects it", [issuer.outcome(), issuer.status()], ["unchanged", "live"])
    owner.query("UPDATE auth.issuers SET max_stale = NULL")
    issuer.change(ahead + "NULL")
    with cluster.session(db) as session:
        checks.equal("without max_stale", issuer.sign_in(session, 1), None)
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def named_for_what_it_is(checks, cluster, db, endpoint):
    """An answer that is no JWKS is named for what it is, and no stored key is lost by it."""
    owner = cluster.session(db, "owner_role")
    issuer = Issuer(owner, endpoint, "named", keys(1))
    issuer.outcome()
    key = json.loads(ed25519.jwks(1))["keys"][0]
    discovery = json.dumps({"issuer": issuer.name, "jwks_uri": issuer.url, "token_endpoint": "https://x"})
    answers = {
        "<!DOCTYPE html><title>Sign in</title>": "web page",
        "\ufeff" + ed25519.jwks(1): "byte order mark",
        f"callback({ed25519.jwks(1)})": "script",
        json.dumps([key]): "bare array",
        json.dumps([{**key, "d": "AAAA"}]): "private key",
        json.dumps([{"kty": "oct", "k": "AAAA"}]): "shared secret",
        "-----BEGIN PUBLIC KEY-----": "PEM",
        "": "empty",
        discovery: "discovery document",
        "{}": "shared secret (HS256)",
        '{"keys": []}': "shared secret (HS256)",
        json.dumps({"keys": [{**key, "x": key["x"] + "="}]}): "padded",
        json.dumps({"keys": [{**key, "x": "+" + key["x"][1:]}]}): "ordinary base64",
    }
    for body, words in answers.items():
        issuer.script(Answer(body))
        outcome, detail = issuer.refresh()
        checks.equal(f"{body:.40}: {detail}", [outcome, words in detail, issuer.kids()], ["failed", True, ["e1"]])
    checks.true("the discovery document's URL is told", issuer.url in issuer.script(Answer(discovery)).refresh()[1])
    owner.query(f"SELECT auth.unfollow('{issuer.name}')")


def documents(checks, cluster, db, endpoint):
    """A discovery document by its URL, with a query and with a slash, and OAuth metadata: followed
    as such, also without a URL."""
    owner = cluster.session(db, "owner_role")
    endpoint.script("/documented", keys(1))
    name = "https://documented.test.example"
    document = Answer(json.dumps({"issuer": name, "jwks_uri": f"{endpoint.url}/documented"}))
    for path in (
        "/.well-known/openid-configuration?appid=1",
        "/.well-known/openid-configuration/",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/tenant",
        "/v2.0/.well-known/openid-configuration/?appid=1",
    ):
        owner.query(f"SELECT auth.follow_url('{name}', '{endpoint.script(path, document)}', '{{app}}')")
        checks.equal(path, owner.query(f"SELECT outcome, detail FROM auth.refresh('{name}')"), [["changed", None]])
        owner.query(f"SELECT auth.unfollow('{name}')")
    # Issuers without a document of OpenID's.
    own = endpoint.url
    endpoint.script(
        "/.well-known/oauth-authorization-server", Answer(json.dumps({"issuer": own, "jwks_uri": f"{own}/documented"}))
    )
    owner.query(f"SELECT auth.follow_url('{own}', audience => '{{app}}')")
    checks.equal(
        "without a URL", owner.query(f"SELECT outcome, detail FROM auth.refresh('{own}')"), [["changed", None]]
    )
    endpoint.script("/.well-known/oauth-authorization-server", Answer("", 404))
    outcome, detail = owner.query(f"SELECT outcome, detail FROM auth.refresh('{own}')")[0]
    checks.true(
        f"neither of them: {outcome}, {detail}",
        outcome == "failed" and "openid-configuration" in detail and "url =>" in detail,
    )
    owner.query(f"SELECT auth.unfollow('{own}')")


def launcher(checks, place):
    """It looks at each database again without being told, and leaves invalid ones alone."""
    settings = {"shared_preload_libraries": "pg_auth_jwt", "max_worker_processes": 8}
    with FetchingCluster("endpoint_notices", place, **settings) as cluster, Endpoint(cluster.authority) as endpoint:
        cluster.allow(endpoint.host)
        db = cluster.create_db("told")
        cluster.create_db("invalid")
        root = cluster.session("postgres", "postgres")
        version = int(root.value("SHOW server_version_num"))
        root.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'invalid'")
        owner = cluster.session(db, "owner_role")
        issuer = Issuer(owner, endpoint, "untold", keys(1), follow=False)
        owner.query(
            f"""INSERT INTO auth.issuers (issuer, audience, source)
                VALUES ('{issuer.name}', '{{app}}', '{{"kind": "url", "url": "{issuer.url}"}}')"""
        )
        root.query("SELECT pg_reload_conf()")
        checks.true("a source that was written by hand is fetched", endpoint.wait(issuer.path))
        until(lambda: issuer.kids() == ["e1"], "and stored")
        checks.true("an invalid database is left alone", version < 150004 or "invalid database" not in cluster.log())
        # Others take all processes.
        cluster.configure(max_worker_processes=2)
        root.close()
        owner.close()
        cluster.control("restart", "-m", "fast")
        owner = issuer.owner = cluster.session(db, "owner_role")
        issuer.script(Answer("", 500))
        issuer.change("next_attempt = now() - interval '3 min'")
        checks.equal("which lint says", lint(owner, "overdue"), [("warning", "fetch_overdue")])
        until(
            lambda: re.search(
                "LOG: +keys are not fetched, because all of max_worker_processes are taken", cluster.log()
            ),
            "the log says so",
        )
        checks.equal("no crash", cluster.crashes(), [])


checks = Checks()
with folder() as place:
    with FetchingCluster("endpoint_notices", place) as cluster, Endpoint(cluster.authority) as endpoint:
        cluster.allow(endpoint.host)
        parts = (
            withdrawn_by_hand,
            triggers_off,
            not_begun,
            stale_unfetched,
            hidden_hosts,
            not_listed,
            fixes,
            keys_elsewhere,
            without_fetch_library,
            clock_was_ahead,
            named_for_what_it_is,
            documents,
        )
        checks.run(parts, checks, cluster, cluster.create_db("test"), endpoint)
        checks.equal("no crash", cluster.crashes(), [])
    checks.run((hosts_from_before,), checks, f"{place}/before")
    checks.run((launcher,), checks, f"{place}/preloaded")
checks.done("where fetching is hindered, that is said")
