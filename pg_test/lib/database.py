"""A database of a test's own, and sessions of those who use it."""

from . import tokens

WHO = "SELECT auth.user_id()"
AUDIENCE = "https://app.example.com"
# An issuer must name HS256 to have shared secrets, which tests sign with.
ISSUER = f"INSERT INTO auth.issuers (issuer, algorithms, leeway) VALUES ('{tokens.ISSUER}', '{{HS256}}', '0 s')"
FOLLOW = f"SELECT auth.follow('%s', '{tokens.ISSUER}', '{{{AUDIENCE}}}')"


class Database:
    """`root` is a superuser's session, `owner` one of the owner of the database and of the extension. The statements
    are run by the owner."""

    def __init__(self, cluster, name, *statements):
        self.cluster, self.name = cluster, cluster.create_db(f"test_{name}")
        self.root, self.owner = self.session("postgres"), self.session("owner_role")
        for statement in statements:
            self.owner.query(statement)

    def session(self, user="authenticated", **options):
        return self.cluster.session(self.name, user, **options)

    def signed_in(self, user="authenticated", sub="u1", **claims):
        """A session with a token as tokens.token makes it, for AUDIENCE."""
        session = self.session(user)
        session.query(f"SET pg_auth_jwt.token = '{tokens.token(sub, **{'aud': AUDIENCE, **claims})}'")
        return session
