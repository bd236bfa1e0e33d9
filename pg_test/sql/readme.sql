-- The README's statements, unchanged.
\set load_keys `./doc_sql docs/fetching.md load_keys`
\set guard_text `./doc_sql README.md guard_text`
\set guard_uuid `./doc_sql docs/concepts.md guard_uuid`
\set no_rows `./doc_sql docs/troubleshooting.md no_rows`
\set all_rows `./doc_sql docs/troubleshooting.md all_rows`
\set follow `./doc_sql README.md issuers | sed -n '/auth.follow(/p'`
\set scope `./doc_sql docs/troubleshooting.md scope | sed 's/DATABASE app /DATABASE :"DBNAME" /'`
:load_keys
SELECT issuer, kid, alg FROM auth.jwks;
:guard_text
:guard_uuid
:all_rows
ALTER TABLE posts FORCE ROW LEVEL SECURITY;
:all_rows

-- A table as Better Auth makes it.
CREATE TABLE jwks (id text PRIMARY KEY, "publicKey" text NOT NULL, "privateKey" text NOT NULL,
    "createdAt" timestamptz NOT NULL, "expiresAt" timestamptz);
:follow
SELECT issuer, source, state FROM auth.key_status WHERE source <> 'auth.jwks';

-- With keys whose tokens are at hand.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
INSERT INTO notes (owner, body) VALUES ('0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', 'of alice'), ('somebody', 'of somebody');
:scope
\c - authenticated
\i fixtures/jose.sql
SHOW pg_auth_jwt.scope;
:no_rows
BEGIN;
SELECT auth.jwt_session_init(:'alice');
SELECT * FROM notes;
:no_rows
COMMIT;
SELECT * FROM notes;
