#!/usr/bin/env python3
"""A token that is bound to a key (RFC 9449, 8705, 7800) is refused: nobody proves here that its sender has that key.
Its issuer's row can accept it like a bearer token."""

from lib import tokens
from lib.pg import Checks, SharedCluster

CNF = {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
SIGN_IN = "SELECT auth.jwt_session_init($1, false)"
WHO = "SELECT auth.user_id()"

checks, cluster = Checks(), SharedCluster()
db = cluster.create_db("test_bound_tokens")
owner, root = cluster.session(db, "owner_role"), cluster.session(db, "postgres")
owner.query(tokens.setup(0))
owner.query(tokens.follow(1))
session = cluster.session(db)
bound = tokens.token("u1", cnf=CNF)


def treat(how, issuer=tokens.ISSUER):
    owner.query(f"UPDATE auth.issuers SET bound_tokens = '{how}' WHERE issuer = '{issuer}'")


def step(name, token):
    return owner.query(f"SELECT ok, detail FROM auth.inspect('{token}') WHERE step = '{name}'")[0]


for form in (CNF, {"x5t#S256": "x"}, {}, [], "", None, False):
    checks.equal(f"refused: {form}", session.code(SIGN_IN, tokens.token("u1", cnf=form)), "28J09")
checks.equal("no identity", session.value(WHO), None)
for claims in ({"act": {"cnf": CNF}}, {"CNF": CNF}, CNF):
    checks.equal(f"bears: {claims}", session.code(SIGN_IN, tokens.token("u2", **claims)), None)
error = session.error(SIGN_IN, bound)
checks.equal(
    "the words",
    (error.message, error.detail, error.hint),
    (
        "claim of the token is refused",
        'Token is bound to a key of its holder (claim "cnf"), and no proof of that key is checked here.',
        "Request a token without DPoP and without a client certificate, or have a gateway check the proof and set "
        '"bound_tokens" of the issuer\'s row in auth.issuers to "accept".',
    ),
)
checks.equal("inspect", step("cnf", bound)[0], "f")

# The rule is the issuer's own, and a change is known at the next statement, for verified tokens too.
treat("accept")
checks.equal("accepted", session.code(SIGN_IN, bound), None)
checks.equal("who", session.value(WHO), "u1")
checks.equal("inspect", step("cnf", bound)[0], "t")
followed = tokens.followed_token("u3", key=1, cnf=CNF)
checks.equal("another issuer", cluster.session(db).code(SIGN_IN, followed), "28J09")
treat("accept", tokens.FOLLOWED)
checks.equal("a followed table", cluster.session(db).code(SIGN_IN, followed), None)
treat("refuse")
checks.equal("refused again", session.code(WHO), "28J09")
treat("accept")
checks.equal("accepted again", session.value(WHO), "u1")

for value in ("'Accept'", "''", "'verify'"):
    checks.equal(f"23514 {value}", owner.code(f"UPDATE auth.issuers SET bound_tokens = {value}"), "23514")
checks.equal("23502", owner.code("UPDATE auth.issuers SET bound_tokens = NULL"), "23502")
# A table that was altered accepts nothing more.
for altered in (
    "DROP CONSTRAINT bound_tokens_known, ALTER bound_tokens TYPE text USING 'Accept'",
    "ALTER bound_tokens DROP NOT NULL, ALTER bound_tokens TYPE text USING NULL",
    "DROP CONSTRAINT bound_tokens_known, ALTER bound_tokens DROP DEFAULT, ALTER bound_tokens TYPE int USING 1",
    "DROP COLUMN bound_tokens",
):
    root.query(f"BEGIN; ALTER TABLE auth.issuers {altered}")
    checks.equal(altered, root.code("SELECT auth.verify($1)", bound), "28J09")
    root.query("ROLLBACK")
    root.query(f"BEGIN; ALTER TABLE auth.issuers {altered}")
    checks.equal(f"{altered}: a bearer", root.code("SELECT auth.verify($1)", tokens.token("u1")), None)
    root.query("ROLLBACK")

# A status list is not looked up, and auth.inspect() says so.
listed = tokens.token("u1", status={"status_list": {"idx": 7, "uri": "https://auth.example.com/status/1"}})
checks.equal("status", session.code(SIGN_IN, listed), None)
checks.equal("inspect", [step("status", listed)[0], step("status", listed)[1][:13]], ["t", "not looked up"])
checks.done("a bound token is refused until its issuer's row accepts it")
