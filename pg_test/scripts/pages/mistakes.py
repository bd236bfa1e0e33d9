#!/usr/bin/env python3
"""The mistakes of people who are new to row-level security, each made on the set-up that the README
describes: an error, a warning, auth.lint, auth.inspect or auth.explain_access names it, and
docs/troubleshooting.md leads there from what is seen. The set-up as it is, is named by none."""

import json
import os
import re
import subprocess
import tempfile
import time

from lib import tokens
from lib.pg import HERE, ROOT, Checks, Cluster

INIT = "SELECT auth.jwt_session_init($1)"
NOTES = "SELECT body FROM notes ORDER BY 1"
ISSUER = "https://auth.example.com"
ALICE = "0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11"


def doc_sql(file, name):
    return subprocess.run([f"{HERE}/doc_sql", file, name], check=True, text=True, stdout=subprocess.PIPE).stdout


def troubleshooting():
    """Its sections, by their headings."""
    with open(f"{ROOT}/docs/troubleshooting.md") as file:
        return {part.split("\n", 1)[0]: part for part in re.split("^## ", file.read(), flags=re.M)[1:]}


# Queries that say what is wrong in the application's own session.
WHO = doc_sql("docs/troubleshooting.md", "no_rows")
LEFT_BEHIND = doc_sql("docs/troubleshooting.md", "left_behind")
WHOSE = doc_sql("docs/troubleshooting.md", "all_rows")


# Findings that are not about the mistake: the README has no pooler yet, the server may lack fixes.
OF_MISTAKES = "WHERE code NOT IN ('scope_not_stored', 'server_outdated')"


class App:
    """A database with the README's set-up, two users' rows in it, and sessions of its owner and of
    the application."""

    def __init__(self, cluster, db):
        self.cluster, self.db = cluster, db
        self.owner, self.user = cluster.session(db, "owner_role"), cluster.session(db)

    @staticmethod
    def set_up(cluster, db):
        cluster.create_db(db)
        owner = cluster.session(db, "owner_role")
        owner.query(doc_sql("README.md", "guard_text") + doc_sql("docs/concepts.md", "guard_uuid"))
        jwks = owner.value("SELECT doc -> 'jwks' FROM fixture.jose")
        owner.query(f"SELECT auth.init('{jwks}', issuer => '{ISSUER}', audience => '{{my-app}}')")
        owner.query(
            f"INSERT INTO notes (owner, body) VALUES ('{ALICE}', 'of alice'), ('somebody', 'of somebody');"
            f"INSERT INTO posts (user_id, title) VALUES ('{ALICE}', 'of alice'), (gen_random_uuid(), 'of somebody')"
        )
        notices = owner.notices()
        owner.close()
        return notices

    def token(self, name="alice"):
        return self.owner.value("SELECT fixture.token($1)", name)

    def minted(self, sub=ALICE, seconds=3600, **claims):
        """A token with these claims, of an issuer whose key is a shared secret."""
        if self.owner.value("SELECT NOT EXISTS (SELECT FROM auth.issuers WHERE issuer = $1)", tokens.ISSUER) == "t":
            self.owner.query(
                f"INSERT INTO auth.issuers (issuer, algorithms) VALUES ('{tokens.ISSUER}', '{{HS256}}');"
                f"SELECT auth.init('{tokens.jwks(0)}', '{tokens.ISSUER}', '{{my-app}}')"
            )
        claims = {name: value for name, value in {"aud": "my-app", **claims}.items() if value is not None}
        return tokens.token(sub, seconds, **claims)

    # The output of each of these, in one text.

    def lint(self):
        return "\n".join(
            " ".join(row)
            for row in self.owner.query(f"SELECT level, code, object, detail, fix FROM auth.lint() {OF_MISTAKES}")
        )

    def inspect(self, token):
        rows = self.owner.execute("SELECT step, ok, detail FROM auth.inspect($1)", token)
        return "\n".join(" ".join(row) for row in rows)

    def explain(self, table, token, command="SELECT", role="authenticated"):
        rows = self.owner.execute(
            f"SELECT subject, applies, claims, rows, detail FROM auth.explain_access('{table}', $1, $2, $3)",
            token,
            command,
            role,
        )
        return "\n".join(" ".join(str(value) for value in row) for row in rows)


def refusal(session, sql, *params):
    """The error's code, message, DETAIL and HINT."""
    error = session.error(sql, *params)
    return shown(error.fields, "CMDH") if error else "no error"


def notices(session):
    """Those since the last call, in one text."""
    return " ".join(shown(fields, "SMDH") for fields in session.notices())


def shown(fields, letters):
    return " / ".join(fields[letter] for letter in letters if letter in fields)


MISTAKES = []


def mistake(name, section):
    """A function that makes the mistake and yields, for each statement that names it: which one it
    is, what it says, and a pattern for that. The section is of docs/troubleshooting.md."""
    return lambda make: MISTAKES.append((name, section, make))


NO_ROWS, ALL_ROWS = "Why do I get no rows?", "Why do I get all rows?"
REFUSED = "A token is refused (28J01 to 28J09)"
ACCEPTED = "A token is accepted that should be refused"
AUDIENCE = "audience of the token is refused (28J08)"
JSON = "invalid input syntax for type json, in auth.init"


@mistake("another audience", AUDIENCE)
def another_audience(app):
    token = app.token("other_audience")
    yield "error", refusal(app.user, INIT, token), '28J08 .* "another-app" .*auth.inspect'
    yield "auth.inspect", app.inspect(token), 'aud f .*"another-app".*"my-app"'


@mistake("no audience in the token", AUDIENCE)
def no_audience_in_token(app):
    token = app.minted(aud=None)
    yield "error", refusal(app.user, INIT, token), '28J08 .* no claim "aud"'
    yield "auth.inspect", app.inspect(token), 'aud f .*"my-app"'


@mistake("keys loaded without an audience", ACCEPTED)
def audience_not_checked(app):
    app.owner.query("UPDATE auth.issuers SET audience = NULL")
    app.owner.query(f"SELECT auth.init(doc -> 'jwks', '{ISSUER}') FROM fixture.jose")
    yield "notice", notices(app.owner), "NOTICE .* is not checked"
    yield "auth.lint", app.lint(), f"audience_not_checked issuer {ISSUER}"
    yield "auth.inspect", app.inspect(app.token("other_audience")), "aud t .*not checked"


@mistake("an audience that is no array", 'malformed array literal: "my-app"')
def audience_no_array(app):
    yield (
        "error",
        refusal(app.owner, f"SELECT auth.init('{{}}', '{ISSUER}', 'my-app')"),
        '22P02 .*malformed array literal: "my-app"',
    )


@mistake("a slash at the end of the issuer", "issuer of the token is not known (28J13)")
def slash(app):
    token = app.minted(iss=f"{ISSUER}/")
    yield "error", refusal(app.user, INIT, token), f'28J13 .* "{ISSUER}/" is not known.*to the letter'
    yield "auth.inspect", app.inspect(token), "issuer f .*the two differ by a slash at the end"


@mistake("text around the token", REFUSED)
def text_around_token(app):
    token = app.token()
    for text, what in [
        (f'"{token}"', "in quotes"),
        (f"Bearer {token}", '"Bearer" belongs'),
        (f"{token}\n", "line break"),
    ]:
        yield "error", refusal(app.user, INIT, text), f"28J01 .*{what}"
        yield "auth.inspect", app.inspect(text), what


@mistake("the text of a value that is not there", REFUSED)
def placeholder(app):
    for text in ["undefined", "null"]:
        says = "1 part, not 3.*the variable that should hold the token was empty"
        yield "error", refusal(app.user, INIT, text), f"28J01 .*{says}"
        yield "auth.inspect", app.inspect(text), says


@mistake("a session cookie", REFUSED)
def cookie(app):
    text = "n7yJkQ2b8wVx0cTzR4mLpA5sDfGhJkQe.Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"
    yield "error", refusal(app.user, INIT, text), "28J01 .*2 parts, not 3.*signed session cookies"
    yield "auth.inspect", app.inspect(text), "signed session cookies"


@mistake("an id that is a number", REFUSED)
def numeric_subject(app):
    token = app.minted(sub=42)
    yield (
        "error",
        refusal(app.user, INIT, token),
        '28J09 .*"sub" must be a string, but is a number.*[sS]ign it as text, as in "sub": "42"',
    )
    yield "auth.inspect", app.inspect(token), 'sub f .*sign it as text, as in "sub": "42"'


@mistake("no header, and so an empty token", NO_ROWS)
def empty_token(app):
    for text in ["", None]:
        app.user.execute("BEGIN")
        app.user.execute(INIT, text)
        yield "application's", str(app.user.query(WHO)), "'f', None, None"
        app.user.execute("COMMIT")
        yield "auth.explain_access", app.explain("notes", text), "token f None None There is none"
    app.user.query("SET pg_auth_jwt.require_token = on")
    yield "require_token", refusal(app.user, NOTES), "28J11 .*auth.jwt_session_init"


@mistake("another document than the JWKS", JSON)
def no_jwks(app):
    for text, says in {
        "<!DOCTYPE html>": '22P02 .*Token "<" is invalid',
        "https://auth.example.com/jwks": '22P02 .*Token "https" is invalid',
        "-----BEGIN PUBLIC KEY-----": '22P02 .*Token "-" is invalid',
        "": "22P02 .*The input string ended unexpectedly",
        json.dumps("-----BEGIN PUBLIC KEY-----\n"): "22023 .*createPublicKey",
        json.dumps("https://auth.example.com/jwks"): "22023 .*Nothing is fetched",
        '{"message": "not found"}': '22023 .*neither a member "keys" nor "kty"',
        '{"issuer": "x", "jwks_uri": "https://x"}': "22023 .*jwks_uri",
    }.items():
        yield "error", refusal(app.owner, f"SELECT auth.init('{text}', '{ISSUER}')"), says


@mistake("a JWKS that cannot be fetched, by cron", JSON)
def cron(app):
    # The script of docs/fetching.md, with something in curl's place.
    good = app.owner.value("SELECT doc -> 'jwks' FROM fixture.jose")
    script = doc_sql("docs/fetching.md", "load_script")
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/curl", "w", opener=lambda name, flags: os.open(name, flags, 0o755)) as file:
            file.write('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf %s "$ANSWER" >"$2"\nexit "$STATUS"\n')
        for answer, status, says in [
            (good, 0, "^0$"),
            ("", 22, "^22"),
            ("<!DOCTYPE html>", 0, '^3 .*Token "<" is invalid'),
        ]:
            environ = {
                **os.environ,
                "PATH": f"{folder}:{os.environ['PATH']}",
                "ANSWER": answer,
                "STATUS": str(status),
                "PGHOST": app.cluster.dir,
                "PGUSER": "owner_role",
                "PGDATABASE": app.db,
            }
            run = subprocess.run(["sh", "-c", script], env=environ, check=False, text=True, capture_output=True)
            yield "exit status", " ".join([str(run.returncode), *run.stderr.split()]), says


@mistake("private keys", JSON)
def private_keys(app):
    private = "(SELECT jsonb_set(doc -> 'jwks', '{keys,0,d}', '\"AAAA\"') FROM fixture.jose)"
    yield (
        "error",
        refusal(app.owner, f"SELECT auth.init({private}, '{ISSUER}')"),
        "22023 .*private key.*nothing was stored",
    )


@mistake("the clock of the issuer is ahead", REFUSED)
def clock_ahead(app):
    small, large = (app.minted(iat=time.time() + seconds) for seconds in (30, 90))
    yield "nothing", refusal(app.user, INIT, small), "^no error$"
    yield "error", refusal(app.user, INIT, large), "28J06 .*Compare the clock"
    yield "auth.inspect", app.inspect(large), "iat f .* ahead, and the leeway is 1 min"


@mistake("times in milliseconds", REFUSED)
def milliseconds(app):
    for claim in ["exp", "nbf", "iat"]:
        token = app.minted(**{claim: int((time.time() - 86400) * 1000)})
        yield "error", refusal(app.user, INIT, token), f'28J09 .*"{claim}" .*after the year 9999.*not in milliseconds'
        yield "auth.inspect", app.inspect(token), f"{claim} f .*after the year 9999.*not in milliseconds"


@mistake("a token for the session, behind a transaction pooler", "A request sees the rows of another user")
def for_the_session(app):
    # One connection, which two clients get in turn.
    app.user.execute("BEGIN")
    app.user.execute(INIT, app.token())
    app.user.execute("COMMIT")
    yield "by default", str(app.user.query(NOTES)), r"^\[\]$"
    app.user.execute(INIT, app.token())
    yield "the next client", str(app.user.query(NOTES)), "of alice"
    yield "first statement of a request", str(app.user.query(LEFT_BEHIND)), f"'t', '{ALICE}'"
    scope = "SELECT object FROM auth.lint() WHERE code = 'scope_not_stored'"
    yield "auth.lint", str(app.owner.query(scope)), "role authenticated"
    app.owner.query(doc_sql("docs/troubleshooting.md", "scope").replace("DATABASE app", f"DATABASE {app.db}"))
    yield "auth.lint", str(app.owner.query(scope)), r"^\[\]$"
    app.user = app.cluster.session(app.db)
    app.user.execute(INIT, app.token())
    yield (
        "notice",
        notices(app.user),
        "WARNING .*pg_auth_jwt.scope = transaction can only be used in transaction blocks",
    )
    yield "the next client", str(app.user.query(NOTES)), r"^\[\]$"


@mistake("BEGIN is forgotten", NO_ROWS)
def no_begin(app):
    app.user.execute("SELECT auth.jwt_session_init($1, is_local => true)", app.token())
    yield "notice", notices(app.user), "WARNING .*is_local => true can only be used in transaction blocks"
    yield "application's", str(app.user.query(WHO)), "'f', None, None"
    app.user.query("SET pg_auth_jwt.require_token = on")
    yield "require_token", refusal(app.user, NOTES), "28J11 .*BEGIN"


@mistake("row-level security is not enabled", ALL_ROWS)
def not_enabled(app):
    app.owner.query("ALTER TABLE posts DISABLE ROW LEVEL SECURITY")
    yield "auth.lint", app.lint(), "rls_disabled table public.posts"
    yield (
        "auth.explain_access",
        app.explain("posts", None),
        "row-level security f .*ALTER TABLE public.posts ENABLE ROW LEVEL SECURITY",
    )
    yield "application's", str(app.user.query(WHOSE)), "'f', 'authenticated', 'owner_role', 'f'"


@mistake("a policy without TO", ALL_ROWS)
def without_to(app):
    app.owner.query("DROP POLICY own_rows ON notes; CREATE POLICY own_rows ON notes USING (owner = auth.user_id())")
    yield "nothing, as it does no harm", app.lint() + str(app.user.query(NOTES)), r"^\[\]$"
    yield "auth.explain_access", app.explain("notes", app.token()), "policy own_rows t .* 1 "


@mistake("connecting as the table's owner, or a superuser", ALL_ROWS)
def as_owner(app):
    for role, why in {"owner_role": "owns the table", "postgres": "is a superuser"}.items():
        yield "auth.explain_access", app.explain("posts", None, role=role), f"row-level security f .*{why}"
        session = app.cluster.session(app.db, role)
        yield "application's", str(session.query(WHOSE)), f"'f', '{role}', 'owner_role', 't'"
        session.close()


@mistake("a view with the rights of its owner", ALL_ROWS)
def view(app):
    app.owner.query("CREATE VIEW all_notes AS SELECT * FROM notes; GRANT SELECT ON all_notes TO authenticated")
    yield "auth.lint", app.lint(), "view_bypasses_rls view public.all_notes .*security_invoker = true"


@mistake("a missing GRANT", "permission denied for table, or sequence (42501)")
def missing_grant(app):
    app.owner.query(
        "REVOKE ALL ON notes FROM authenticated; CREATE TABLE counted (id serial, owner text DEFAULT auth.user_id());"
        "ALTER TABLE counted ENABLE ROW LEVEL SECURITY; GRANT INSERT ON counted TO authenticated;"
        "CREATE POLICY own_rows ON counted TO authenticated USING (owner = auth.user_id())"
    )
    yield "error", refusal(app.user, NOTES), "42501 .*permission denied for table notes"
    yield "auth.explain_access", app.explain("notes", app.token()), "privilege f .*no SELECT on public.notes"
    yield (
        "error",
        refusal(app.user, "INSERT INTO counted DEFAULT VALUES"),
        "42501 .*permission denied for sequence counted_id_seq",
    )


@mistake("no policy", NO_ROWS)
def no_policy(app):
    app.owner.query("DROP POLICY own_rows ON posts")
    yield "auth.lint", app.lint(), "no_policy table public.posts"
    yield "auth.explain_access", app.explain("posts", app.token()), "None: no permissive policy applies"


@mistake("a policy without an expression, as drizzle-kit push makes it", NO_ROWS)
def no_expression(app):
    app.owner.query("DROP POLICY own_rows ON notes; CREATE POLICY own_rows ON notes TO authenticated")
    yield (
        "auth.explain_access",
        app.explain("notes", app.token()),
        "policy own_rows t None 0 It has no USING, so it lets nothing pass",
    )
    yield "auth.lint", app.lint(), "policy_without_expression policy own_rows on public.notes"
    yield (
        "error",
        refusal(app.user, "INSERT INTO notes (body) VALUES ('x')"),
        "42501 .*new row violates row-level security",
    )


@mistake("a misspelt claim", NO_ROWS)
def misspelt_claim(app):
    app.owner.query("ALTER POLICY own_rows ON notes USING (owner = (auth.session() ->> 'userId'))")
    yield (
        "auth.explain_access",
        app.explain("notes", app.minted(user_id=ALICE)),
        "The token has no claim userId, but one that is named user_id",
    )
    yield "auth.explain_access", app.explain("notes", app.minted(user="x")), r"has no claim userId\."
    token = tokens.token(ALICE, aud="my-app", userId=None)
    yield "auth.explain_access", app.explain("notes", token), "claim userId is null"


@mistake("no index on the compared column", "Queries are slow")
def no_index(app):
    app.owner.query(
        "DROP INDEX notes_owner_idx; INSERT INTO notes (owner) SELECT 'u' || n FROM generate_series(1, 12000) n;"
        "ANALYZE notes"
    )
    yield (
        "auth.lint",
        app.lint(),
        r"missing_index table public.notes .*CREATE INDEX CONCURRENTLY ON public.notes \(owner\)",
    )


@mistake("auth.uid() of ids that are no uuids", NO_ROWS)
def no_uuid(app):
    token = app.minted(sub="ESW3bwvwElmiHgj4FNwobJR385MYiQDO")
    yield "auth.inspect", app.inspect(token), r"sub t .*no uuid, so auth\.uid\(\) is NULL"
    for command in ["SELECT", "INSERT"]:
        yield (
            "auth.explain_access",
            app.explain("posts", token, command),
            r'policy own_rows t \{"auth\.uid\(\)": null\} \w+ auth\.uid\(\) is NULL, because sub is no uuid',
        )
    app.user.execute("BEGIN")
    app.user.execute(INIT, token)
    yield "application's", str(app.user.query(WHO)), "'t', 'ESW3bwvwElmiHgj4FNwobJR385MYiQDO', None"
    yield (
        "error",
        refusal(app.user, "INSERT INTO posts (title) VALUES ('x')"),
        "42501 .*new row violates row-level security",
    )


@mistake("set_config in place of auth.jwt_session_init", None)
def set_config(app):
    # Before the library is loaded, and with it: the token is verified where it is used.
    for _ in range(2):
        app.user.execute("BEGIN")
        app.user.execute("SELECT set_config('pg_auth_jwt.token', $1, true)", app.token())
        yield "nothing, as it works", str(app.user.query(NOTES)), "of alice"
        app.user.execute("COMMIT")
        yield "nothing, as it is gone", str(app.user.query(NOTES)), r"^\[\]$"
    app.user.execute("BEGIN")
    app.user.execute("SELECT set_config('pg_auth_jwt.token', $1, true)", app.token("forged"))
    yield "error", refusal(app.user, NOTES), "28J04 "


@mistake("managing keys as the application's role", "permission denied for function init")
def as_application(app):
    for call in ["init('{}')", "inspect('x')"]:
        yield "error", refusal(app.user, f"SELECT auth.{call}"), "42501 .*permission denied for function"


@mistake("a token that expires in the transaction", REFUSED)
def expires(app):
    token = app.minted(seconds=2)
    app.owner.query("UPDATE auth.issuers SET leeway = '0 s'")
    app.user.execute("BEGIN")
    app.user.execute(INIT, token)
    app.user.query(NOTES)
    app.user.query("SELECT pg_sleep(2)")
    yield "error", refusal(app.user, NOTES), "28J05 .*Get a new token"
    yield "auth.inspect", app.inspect(token), "exp f .*get a new token"


@mistake("RUST_BACKTRACE in the server's environment", None)
def backtrace(app):
    app.owner.query("BEGIN; LOCK TABLE auth.jwks")
    app.user.query("SET lock_timeout = '50ms'")
    yield "error", refusal(app.user, INIT, app.token()), "^55P03 / canceling statement due to lock timeout$"


def right_setup(checks, app):
    """Nothing says a word."""
    token = app.token()
    checks.equal("right: auth.lint", app.lint(), "")
    checks.equal(
        "right: auth.inspect", [line for line in app.inspect(token).split("\n") if not re.match(r"\w+ t ", line)], []
    )
    checks.equal("right: no remark", re.findall("not checked|milliseconds|no uuid", app.inspect(token)), [])
    for table in ["notes", "posts"]:
        text = app.explain(table, token)
        checks.equal(f"right: {table}: nothing missing", re.findall("^.* f .*$", text, re.M), [])
        checks.true(f"right: {table}: {text}", "SELECT as authenticated None None 1 Of 2 rows." in text)
    app.user.execute("BEGIN")
    app.user.execute(INIT, token)
    checks.equal("right: rows", app.user.query(NOTES), [["of alice"]])
    app.user.query("INSERT INTO notes (body) VALUES ('new'); INSERT INTO posts (title) VALUES ('new')")
    checks.equal("right: more rows", app.user.query(NOTES), [["new"], ["of alice"]])
    app.user.execute("COMMIT")
    checks.equal("right: none without a token", app.user.query(NOTES), [])
    checks.equal("right: notices", notices(app.user) + notices(app.owner), "")


def main():
    checks, sections = Checks(), troubleshooting()
    with Cluster("mistakes") as cluster:
        # scripts/cluster removes the variable.
        cluster.environ = {**cluster.environ, "RUST_BACKTRACE": "1"}
        cluster.control("restart")
        checks.equal("right: notices of the set-up", App.set_up(cluster, "right"), [])
        for n, (name, section, make) in enumerate([("", None, None), *MISTAKES]):
            db = f"mistake_{n}"
            cluster.client("createdb", "-T", "right", "-O", "owner_role", db)
            app = App(cluster, db)
            if not make:
                right_setup(checks, app)
                continue
            statements, messages = set(), set()
            for statement, said, wanted in make(app):
                checks.equal(f"{name}: {statement}", wanted if re.search(wanted, said, re.M) else said, wanted)
                statements.add(statement)
                if statement == "error":
                    messages.add(" ".join(said.split(" / ")[1].split()[:3]))
            if section:
                leads = sections.get(section, "")
                by_statement = [one for one in statements - {"error", "notice", "nothing"} if one in leads]
                missing = [] if by_statement else [message for message in messages if message not in leads]
                checks.true(
                    f"{name}: troubleshooting.md, {section!r}, names one of {statements}", by_statement or messages
                )
                checks.equal(f"{name}: troubleshooting.md, {section!r}, has the messages", missing, [])
    checks.done(f"{len(MISTAKES)} mistakes of newcomers are named, and the README's set-up by nothing")


main()
