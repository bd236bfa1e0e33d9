#!/usr/bin/env python3
"""Hosts that the server can be made to call by an extension's owner who is no superuser, by a DNS
that lies, and by an endpoint: those that the superuser has listed, at addresses that suit a listing
of that kind, and nothing else. What is connected to is seen by lib/names.c."""

import json
import os
import re

from lib import ed25519
from lib.endpoint import Endpoint, Sink, keys
from lib.following import FetchingCluster, Issuer, folder, until
from lib.names import Names
from lib.pg import Checks, PgError

PUBLIC, PUBLIC6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
# Never, however they are listed.
NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "192.0.0.192",
    "2001:db8::1",
    "100::1",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "fec0::1",
]
# Only for a host that is listed by its very name.
PRIVATE = [
    "127.0.0.2",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "::127.0.0.1",
]


class Gate:
    def __init__(self, checks, cluster, db, endpoint, names):
        self.checks, self.cluster, self.endpoint, self.names = checks, cluster, endpoint, names
        self.db, self.owner, self.count = db, cluster.session(db, "owner_role"), 0
        endpoint.script("/jwks", keys(1))
        self.path = "/jwks"

    def call(self, url):
        """Follows this URL; what is connected to, and whether keys came of it."""
        self.count += 1
        issuer = f"https://gate{self.count}.test.example"
        self.names.clear()
        try:
            self.owner.execute("SELECT auth.follow_url($1, $2, '{app}')", issuer, url)
            outcome = self.owner.execute("SELECT outcome, coalesce(detail, '') FROM auth.refresh($1)", issuer)[0]
            keys = self.owner.value("SELECT count(*) FROM auth.jwks WHERE issuer = $1", issuer)
            self.owner.execute("SELECT auth.unfollow($1)", issuer)
        except PgError as error:
            self.checks.equal(f"{url}: how it is refused", error.code, "22023")
            outcome, keys = [error.code, error.fields["M"]], "0"
        self.checks.true(f"{url}: a message that is printable", outcome[1].isprintable() and len(outcome[1]) < 1000)
        return self.names.log("connect"), keys

    def warning(self, url, role="owner_role"):
        """The fields of the WARNING that following this URL gives, in a session of its own."""
        with self.cluster.session(self.db, role) as session:
            session.query("BEGIN")
            session.execute("SELECT auth.follow_url('https://warned.test.example', $1, '{app}')", url)
            return next((notice for notice in session.notices() if notice["C"] == "01000"), None)

    def script(self, text):
        """A file for psql."""
        path = f"{self.names.folder}/hint.sql"
        with open(path, "w") as file:
            file.write(text + "\n")
        os.chmod(path, 0o644)
        return path

    def refused(self, what, url):
        self.checks.equal(f"{what}: {url!r:.100}", self.call(url), ([], "0"))

    def accepted(self, what, url, *addresses):
        """Checks that these addresses were connected to, until one answered."""
        self.checks.equal(f"{what}: {url!r:.100}", self.call(url), (list(addresses), "1"))

    def named(self, *answers, name="issuer.test.example"):
        """A URL whose host has these answers."""
        self.names.set(name, *answers)
        return f"https://{name}{self.path}"


def off(gate):
    """The default: nothing is fetched."""
    gate.refused("off", gate.endpoint.url + "/jwks")
    for hosts in ("", " ", ","):
        gate.cluster.set(fetch_hosts=hosts)
        gate.refused(f"listed {hosts!r}", gate.endpoint.url + "/jwks")


def spellings(gate):
    """Spellings of an address or a host that some parser takes for another host than the others do."""
    port = gate.endpoint.port
    gate.cluster.allow("*", "localhost", "issuer.test.example", "127.0.0.1")
    gate.named("127.0.0.1")
    for url in (
        f"https://user@localhost:{port}/jwks",
        f"https://user:password@localhost:{port}/jwks",
        f"https://@localhost:{port}/jwks",
        f"https://issuer.test.example@localhost:{port}/jwks",
        f"https://localhost:{port}/jwks#x",
        f"https://localhost.:{port}/jwks",
        "https://issuer.test.example./jwks",
        f"https://localhost..:{port}/jwks",
        f"https://.localhost:{port}/jwks",
        f"http://localhost:{port}/jwks",
        f"http://127.0.0.1:{port}/jwks",
        "ftp://issuer.test.example/jwks",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "//issuer.test.example/jwks",
        "issuer.test.example/jwks",
        "https:issuer.test.example/jwks",
        "https:/issuer.test.example/jwks",
        "https:///issuer.test.example/jwks",
        "https://",
        "https:///jwks",
        "https://:443/jwks",
        "",
        " ",
        "javascript:alert(1)",
        "data:application/json,{}",
        "unix:/tmp/socket",
        "https+unix://x",
        "gopher://localhost:70/_x",
        "dict://localhost:11211/x",
        f" https://localhost:{port}/jwks",
        f"https://localhost:{port}/jwks ",
        f"https://local\thost:{port}/jwks",
        f"https://localhost:{port}/jw\nks",
        f"https://localhost:{port}/jwks HTTP/1.1\r\nX-Other: 1",
        f"https://localhost\\@issuer.test.example:{port}/jwks",
        f"https:\\\\localhost:{port}\\jwks",
        f"https://localhost%00.test.example:{port}/jwks",
        f"https://%6cocalhost:{port}/jwks",
        f"https://localhost%2f@issuer.test.example:{port}/jwks",
        "https://issuer.test.example:0/jwks",
        "https://issuer.test.example:65536/jwks",
        "https://issuer.test.example:99999999999999999999/jwks",
        "https://issuer.test.example:-1/jwks",
        "https://issuer.test.example:+443/jwks",
        "https://issuer.test.example:4 4 3/jwks",
        f"https://localhost:{port}\u00ad/jwks",
        f"https://[localhost]:{port}/jwks",
        f"https://[::1%25lo]:{port}/jwks",
        f"https://[::1]x:{port}/jwks",
        f"https://[127.0.0.1]:{port}/jwks",
        "https://" + "a" * 64 + ".test.example/",
        "https://" + "a." * 130 + "example/",
        "https://issuer.test.example/" + "a" * 100000,
        "https://a_b c.test.example/",
        "https://xn--/",
        "https://xn--a/",
        "https://-.test.example/",
        "https://*/jwks",
        "https://*.test.example/",
    ):
        gate.refused("spelling", url)
    # Metadata and loopback in every spelling of an address.
    for host in (
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "025177524776",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[FD00:EC2::254]",
        "\uff11\uff16\uff19.254.169.254",
        "169\u3002254\u3002169\u3002254",
        "\u2460\u2465\u2468.254.169.254",
        "0",
        "0.0.0.0",
        "[::]",
    ):
        gate.refused("never", f"https://{host}:{port}/jwks")
        gate.refused("never", f"https://{host}/jwks")
    gate.cluster.allow("*")
    for host in (
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "\uff11\uff12\uff17.0.0.1",
        "\u24db\u24de\u24d2al\u24d7ost",
        "10.0.0.1",
        "[fc00::1]",
    ):
        gate.refused("by *, loopback and private", f"https://{host}:{port}/jwks")


def listings(gate):
    """Hosts that each kind of entry lets through."""
    port = gate.endpoint.port
    gate.names.redirect(port)
    public = gate.named(PUBLIC)
    gate.cluster.allow("*")
    gate.accepted("*", public, PUBLIC)
    gate.cluster.allow("issuer.test.example")
    gate.accepted("its name", public, PUBLIC)
    gate.accepted("its name in capitals", public.replace("issuer.test", "ISSUER.Test"), PUBLIC)
    gate.accepted("its port", public.replace("example/", "example:443/"), PUBLIC)
    gate.refused("another name", gate.named(PUBLIC, name="other.test.example"))
    gate.refused("a longer name", gate.named(PUBLIC, name="a.issuer.test.example"))
    gate.refused("another end", gate.named(PUBLIC, name="issuer.test.example.evil.example"))
    gate.refused("another beginning", gate.named(PUBLIC, name="evilissuer.test.example"))
    gate.cluster.set(fetch_hosts="Issuer.TEST.example, other.test.example:8443")
    gate.accepted("capitals and a comma", public, PUBLIC)
    gate.refused("another port than the listed", gate.named(PUBLIC, name="other.test.example"))
    gate.cluster.allow("*.test.example")
    gate.accepted("*.test.example", public, PUBLIC)
    gate.accepted("*.test.example, deeper", gate.named(PUBLIC, name="a.issuer.test.example"), PUBLIC)
    gate.refused("*.test.example: not the domain", gate.named(PUBLIC, name="test.example"))
    gate.refused("*.test.example: not a longer label", gate.named(PUBLIC, name="atest.example"))
    gate.refused("*.test.example: not below another", gate.named(PUBLIC, name="a.test.example.evil.example"))
    for listed in ("*", "*.test.example"):
        gate.cluster.allow(listed)
        for address in NEVER + PRIVATE + ["127.0.0.1"]:
            gate.refused(f"by {listed}, {address}", gate.named(address))
    gate.cluster.allow("issuer.test.example")
    for address in NEVER:
        gate.refused(f"by its name, {address}", gate.named(address))
    for address in ("10.0.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.2", "fd12:3456::1"):
        gate.accepted(f"by its name, {address}", gate.named(address), address)
    gate.cluster.allow("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]")
    for host in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
        gate.refused("metadata, listed", f"https://{host}/jwks")
    gate.cluster.allow(f"127.0.0.1:{port}")
    gate.accepted("an address, listed", f"https://127.0.0.1:{port}/jwks", "127.0.0.1")
    with Endpoint() as plain:
        plain.script("/jwks", keys(1))
        gate.refused("plain HTTP", f"{plain.url}/jwks".replace("localhost", "127.0.0.1"))
        gate.cluster.set(fetch_hosts=f"http://127.0.0.1:{plain.port}")
        gate.accepted("plain HTTP, listed as such", f"http://127.0.0.1:{plain.port}/jwks", "127.0.0.1")
        gate.refused("plain HTTP by another name", f"http://localhost:{plain.port}/jwks")
        gate.refused("plain HTTP at another port", f"http://127.0.0.1:{port}/jwks")
        plain_http(gate, plain)
        gate.names.redirect(port)
    unreadable(gate)


def plain_http(gate, plain):
    """Without TLS, a host that is listed so is connected to in private networks alone, whatever its
    name leads to."""
    gate.names.redirect(plain.port)
    url = gate.named("10.0.0.1", name="keycloak").replace("https://keycloak", "http://keycloak:8080")
    for hosts in (
        "*",
        "*:8080",
        "keycloak",
        "keycloak:8080",
        "http://keycloak",
        "http://keycloak:8081",
        "http://other:8080",
    ):
        gate.cluster.set(fetch_hosts=hosts)
        gate.refused(f"plain HTTP by {hosts}", url)
    gate.cluster.set(fetch_hosts="http://keycloak:8080 *")
    for address in ("10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "127.0.0.2", "fd12:3456::1", "::1"):
        gate.accepted(f"plain HTTP, {address}", gate.named(address, name="keycloak") and url, address)
    for address in [*NEVER, PUBLIC, PUBLIC6, f"{PUBLIC} 169.254.169.254", f"::ffff:{PUBLIC}"]:
        gate.refused(f"plain HTTP, {address}", gate.named(address, name="keycloak") and url)
    gate.accepted(
        "plain HTTP, public addresses are left out",
        gate.named(f"{PUBLIC} {PUBLIC6} 10.0.0.1", name="keycloak") and url,
        "10.0.0.1",
    )
    gate.named("10.0.0.1", PUBLIC, name="keycloak")
    gate.accepted("plain HTTP, a public one the second time", url, "10.0.0.1")
    gate.refused("and now it is the second time", gate.named(PUBLIC, "10.0.0.1", name="keycloak") and url)
    for address in (PUBLIC, "169.254.169.254", "0.0.0.0", f"[{PUBLIC6}]", "[fd00:ec2::254]"):
        gate.refused("plain HTTP, by address", f"http://{address}:8080/jwks")


def unreadable(gate):
    """An entry that cannot be read is refused when it is set. Where it was not, it lists nothing,
    and the others go on."""
    public = gate.named(PUBLIC)
    gate.cluster.allow("issuer.test.example")
    wrong = (
        "https://issuer.test.example",
        "issuer.test.example/",
        "*issuer.test.example",
        "issuer.*.example",
        "issuer.test.example:x",
        "a@issuer.test.example",
        "**",
        "*.",
        ".test.example",
        "http://*",
        "http://*.test.example",
        f"http://{PUBLIC}",
        "http://169.254.169.254",
        "...",
        "x" * 17000,
    )
    with gate.cluster.session("postgres", "postgres") as root:
        root.query("LOAD 'pg_auth_jwt'")
        for entry in wrong:
            for hosts in (entry, f"issuer.test.example {entry}", f"{entry}, issuer.test.example"):
                try:
                    root.query(f"ALTER SYSTEM SET pg_auth_jwt.fetch_hosts = '{hosts}'")
                    gate.checks.true(f"{hosts:.100}: is refused", False)
                except PgError as error:
                    said = error.fields.get("D", "")
                    gate.checks.equal(
                        f"{hosts:.100}: how it is refused",
                        [error.code, "ist of hosts" in said, said.isascii()],
                        ["22023", True, True],
                    )
        root.query("SELECT pg_reload_conf()")
        gate.accepted("the list of before", public, PUBLIC)
        # Stored where the library was not loaded, or written into the file.
        root.query("ALTER SYSTEM RESET pg_auth_jwt.fetch_hosts")
    for entry in wrong[:-1]:
        stored = f"{entry} issuer.test.example"
        gate.cluster.configure(**{"pg_auth_jwt.fetch_hosts": stored})
        with gate.cluster.session("postgres", "postgres") as root:
            root.query("SELECT pg_reload_conf()")
            until(lambda: root.value("SHOW pg_auth_jwt.fetch_hosts") == stored, "the file is read")
        gate.owner.close()
        gate.owner = gate.cluster.session(gate.db, "owner_role")
        gate.accepted(f"beside {entry}", public, PUBLIC)
        for url in (
            gate.named("127.0.0.1", name="bad.test.example"),
            gate.named(PUBLIC, name="other.test.example"),
            f"http://{PUBLIC}/jwks",
        ):
            gate.refused(f"by {entry}", url)
    detail = gate.warning(gate.named(PUBLIC, name="other.test.example"))["D"]
    gate.checks.true(
        f"the WARNING names the entry: {detail}", "is not listed" in detail and '"..." in the list of hosts' in detail
    )


def hints(gate):
    """The HINT has the entry that the URL needs, and its statement keeps what is listed already."""
    port = gate.endpoint.port
    cases = {
        f"https://127.0.0.1:{port}/jwks": f"127.0.0.1:{port}",
        "https://new.test.example/jwks": "new.test.example",
        f"http://127.0.0.1:{port}/x": f"http://127.0.0.1:{port}",
        "http://keycloak:8080/x": "http://keycloak:8080",
        "http://localhost/x": "http://localhost:80",
        "https://[fd00::1]:8443/": "[fd00::1]:8443",
    }
    for url, entry in cases.items():
        for listed in ("", "issuer.test.example *.example.com:8443"):
            for role in ("owner_role", "postgres"):
                gate.cluster.set(fetch_hosts=listed)
                hint = gate.warning(url, role)["H"]
                statements = re.search(r"LOAD .*(pg_reload_conf\(\);|gexec)", hint)[0]
                gate.checks.equal(
                    f"{url}, {role}: who may not read the list is not told",
                    "issuer.test" in hint,
                    bool(listed) and role == "postgres",
                )
                gate.cluster.psql(
                    "-d", gate.db, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", gate.script(statements)
                )
                with gate.cluster.session("postgres", "postgres") as root:
                    root.query("LOAD 'pg_auth_jwt'")
                    wanted = f"{listed} {entry}".strip()
                    until(lambda: root.value("SHOW pg_auth_jwt.fetch_hosts") == wanted, f"the list is {wanted}")
                gate.checks.equal(f"{url}, {role}: no WARNING then", gate.warning(url), None)


def lies(gate):
    """Names that resolve to several addresses, or to others the second time."""
    gate.names.redirect(gate.endpoint.port)
    gate.cluster.allow("*")
    gate.accepted("forbidden ones are left out", gate.named(f"169.254.169.254 10.0.0.1 ::1 {PUBLIC} 127.0.0.1"), PUBLIC)
    gate.accepted("of the other family", gate.named(f"fe80::1 {PUBLIC6}"), PUBLIC6)
    gate.refused("all are forbidden", gate.named("169.254.169.254 10.0.0.1 ::1 fd00:ec2::254"))
    gate.accepted("another the second time", gate.named(PUBLIC, "169.254.169.254"), PUBLIC)
    gate.checks.equal("looked up once", gate.names.log("look-up"), ["issuer.test.example"])
    gate.refused("and now it is the second time", gate.named("169.254.169.254", PUBLIC))
    gate.refused("no address", gate.named(""))
    gate.refused("no such name", "https://missing.test.example/jwks")
    # At each fetch, not only when it was followed.
    gate.owner.query(f"SELECT auth.follow_url('https://rebound.test.example', '{gate.named(PUBLIC)}', '{{app}}')")
    refresh = "SELECT outcome FROM auth.refresh('https://rebound.test.example')"
    gate.checks.equal("followed, by a public address", gate.owner.value(refresh), "changed")
    gate.named("127.0.0.1")
    gate.names.clear()
    gate.checks.equal("which became another", [gate.owner.value(refresh), gate.names.log("connect")], ["failed", []])
    gate.named(PUBLIC)
    gate.cluster.set(fetch_hosts="")
    gate.names.clear()
    gate.owner.query("UPDATE auth.endpoints SET next_attempt = NULL, unknown_key_after = NULL")
    gate.checks.equal("not listed any more", gate.owner.value(refresh), "not_started")
    gate.checks.equal("and nothing is asked", [gate.names.log("look-up"), gate.names.log("connect")], [[], []])
    gate.checks.equal(
        "nor by a session that signs in",
        [
            gate.owner.code("SELECT auth.verify($1)", ed25519.token(9, "https://rebound.test.example", aud="app")),
            gate.names.log("look-up"),
            gate.names.log("connect"),
        ],
        ["28J03", [], []],
    )


def edited_rows(gate):
    """Rows that the extension's owner writes into the tables by hand."""
    port = gate.endpoint.port
    gate.cluster.allow(gate.endpoint.host)
    issuer = Issuer(gate.owner, gate.endpoint, "edited", keys(1))
    gate.checks.equal("before", issuer.outcome(), "changed")
    internal = gate.endpoint.script("/internal", keys(6)).replace("localhost", "127.0.0.1")
    urls = [
        internal,
        "https://169.254.169.254/",
        f"http://localhost:{port}/internal",
        "file:///etc/passwd",
        "",
        "https://\u0001",
    ]
    stored = [{"kind": kind, "url": url} for kind in ("url", "discovery") for url in urls]
    refused = [
        {"url": internal},
        {"discovery": internal},
        {"kind": "url", "url": 5},
        {"kind": "url", "url": None},
        {"kind": "url", "url": [internal]},
        {"kind": "url", "discovery": internal},
        {"kind": "url", "url": issuer.url, "schema": "auth", "table": "jwks"},
        {},
        [],
        "x",
        5,
        {"kind": "url", "url": issuer.url + "x" * 100000},
        {"kind": "url", "url": internal, "hosts": "*"},
        {"kind": "url", "url": issuer.url, "ca_file": "/etc/passwd"},
    ]
    for source in stored + refused:
        gate.names.clear()
        code = gate.owner.code(
            f"UPDATE auth.issuers SET source = $1::jsonb WHERE issuer = '{issuer.name}'", json.dumps(source)
        )
        gate.checks.equal(f"{source!r:.100}: stored or refused", code, None if source in stored else "23514")
        code = gate.owner.code(f"SELECT outcome FROM auth.refresh('{issuer.name}')")
        gate.checks.true(
            f"{source!r:.100}: refreshed or refused, {code}", code is None or code.startswith(("22", "55", "28"))
        )
        gate.checks.equal(f"{source!r:.100}: asked", gate.endpoint.seen("/internal"), 0)
        gate.checks.true(
            f"{source!r:.100}: connected to {gate.names.log('connect')}",
            set(gate.names.log("connect")) <= {"127.0.0.1"},
        )
        gate.checks.true(f"{source!r:.100}: no crash of key_status", gate.owner.code("TABLE auth.key_status") is None)
    gate.owner.code(f"UPDATE auth.issuers SET source = NULL WHERE issuer = '{issuer.name}'")
    issuer.follow()
    for change in (
        f"url = '{internal}'",
        f"jwks_uri = '{internal}'",
        f"url = '{internal}', jwks_uri = '{internal}'",
        "etag = E'x\\r\\nX-Injected: 1'",
        "etag = repeat('x', 1000000)",
        "etag = E'\\u00fc'",
    ):
        gate.owner.code(f"UPDATE auth.endpoints SET {change} WHERE issuer = '{issuer.name}'")
        issuer.outcome()
        gate.checks.equal(f"{change}: asked", gate.endpoint.seen("/internal"), 0)
        last = gate.endpoint.last(issuer.path)
        gate.checks.equal(f"{change}: injected", [line for line in last.lines if line.startswith("X-Injected")], [])
    gate.checks.equal("still fetched", issuer.outcome(), "unchanged")
    # The superuser's settings are not the owner's to change.
    for setting in ("fetch_hosts", "fetch_ca_file"):
        gate.checks.true(f"SET {setting}", gate.owner.code(f"SET pg_auth_jwt.{setting} = '*'") in ("55P02", "42501"))
        gate.checks.true(
            f"SET {setting} in a function",
            gate.owner.code(
                f"CREATE FUNCTION f() RETURNS void LANGUAGE sql SET pg_auth_jwt.{setting} = '*' AS ''; SELECT f()"
            )
            in ("55P02", "42501"),
        )
        gate.owner.code(
            f"ALTER DATABASE {gate.owner.value('SELECT current_database()')} SET pg_auth_jwt.{setting} = '*'"
        )
        # From a connection that has not loaded the library, where its settings are placeholders.
        with gate.cluster.session(gate.owner.value("SELECT current_database()"), "owner_role") as fresh:
            fresh.code(
                f"ALTER DATABASE {gate.owner.value('SELECT current_database()')} SET pg_auth_jwt.{setting} = '*'"
            )
            fresh.code(f"ALTER ROLE owner_role SET pg_auth_jwt.{setting} = '*'")
    with gate.cluster.session(gate.owner.value("SELECT current_database()"), "owner_role") as fresh:
        gate.owner = fresh
        gate.refused("with what the owner stored for the database", internal)
        fresh.query("SELECT auth.follow_url('https://stored.test.example', $$%s$$, '{app}')" % internal)
        gate.checks.equal(
            "and by a refresh that is due",
            [
                fresh.code("SELECT auth.verify($1)", ed25519.token(6, "https://stored.test.example", aud="app")),
                gate.endpoint.seen("/internal"),
            ],
            ["28J03", 0],
        )


checks = Checks()
with folder() as place, Sink() as proxy:
    names = Names(f"{place}/names")
    proxies = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), f"http://127.0.0.1:{proxy.port}"
    )
    authorities = {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/nonexistent"}
    with (
        FetchingCluster("endpoint_gate", place, environ={**names.environ, **proxies, **authorities}) as cluster,
        Endpoint(
            cluster.authority, names=("localhost", "127.0.0.1", "*.test.example", "a.issuer.test.example")
        ) as endpoint,
    ):
        gate = Gate(checks, cluster, cluster.create_db("test"), endpoint, names)
        checks.run((off, spellings, listings, lies, hints, edited_rows), gate)
        checks.equal("the proxies of the environment", proxy.connections, 0)
        checks.equal("no crash", cluster.crashes(), [])
checks.done("nothing is called but what the superuser has listed")
