-- Bob tries to forge an identity.
\i fixtures/hostile.sql

-- 1. claims in the settings from which other software reads them
SELECT set_config('request.jwt.claims', format('{"sub":"%s"}', :'alice_id'), false),
       set_config('request.jwt.claim.sub', :'alice_id', false), set_config('jwt.claims.sub', :'alice_id', false);
:mine
-- 2. settings of our own prefix that do not exist
SELECT set_config('pg_auth_jwt.user_id', :'alice_id', false);
SET pg_auth_jwt.claims = '{}';
-- 3. Alice's claims under Bob's signature
SELECT auth.jwt_session_init(split_part(:'bob', '.', 1) || '.' || split_part(:'alice', '.', 2) || '.' || split_part(:'bob', '.', 3));
-- 4. the same by SET; until the next token, no rows are shown, not even his own
SELECT split_part(:'bob', '.', 1) || '.' || split_part(:'alice', '.', 2) || '.' || split_part(:'bob', '.', 3) AS mixture \gset
SET pg_auth_jwt.token = :'mixture';
:mine
SELECT auth.uid(), auth.session();
SELECT auth.jwt_session_init(:'bob');
-- 5. an unsigned token
SELECT auth.jwt_session_init(b64('{"alg":"none"}') || '.' || split_part(:'alice', '.', 2) || '.');
SELECT auth.jwt_session_init(b64('{"alg":"none"}') || '.' || split_part(:'alice', '.', 2) || '.AA');
-- 6. an HMAC with a public key as its secret
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","kid":"ed-1"}') || '.' || split_part(:'alice', '.', 2), k))
  FROM (SELECT decode(translate('TBtcSsy_0jgUO5ubew9WbjoVb2cxC_zWIZgIzdNwNR4=', '-_', '+/'), 'base64')) AS public_key (k);
-- 7. a key of his own in the header
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","jwk":{"kty":"oct","k":"c2VjcmV0"},"jku":"http://localhost/"}')
    || '.' || split_part(:'alice', '.', 2), 'secret'));
-- 8. tokens of Alice that are expired, for another audience, or of a removed key
SELECT auth.jwt_session_init(:'expired');
SELECT auth.jwt_session_init(:'other_audience');
SELECT auth.jwt_session_init(:'removed_key');
-- 9. the settings as connection options
\c "dbname=test_hostile_identity user=authenticated options='-c pg_auth_jwt.token=eyJhbGciOiJub25lIn0.e30.'"
SELECT count(*) FROM posts;
\c "dbname=test_hostile_identity user=authenticated options='-c request.jwt.claims={} -c pg_auth_jwt.scope=session -c pg_auth_jwt.cache_size=0'"
SELECT count(*) FROM posts;
SHOW pg_auth_jwt.cache_size;
\c "dbname=test_hostile_identity user=authenticated options=''"
SELECT auth.jwt_session_init(:'bob');
-- 10. the settings in a function's SET clause
CREATE FUNCTION as_alice() RETURNS SETOF text LANGUAGE sql SET pg_auth_jwt.token = 'eyJhbGciOiJub25lIn0.e30.' AS 'SELECT title FROM posts';
SELECT as_alice();
CREATE FUNCTION as_alice(int) RETURNS text LANGUAGE sql SET pg_auth_jwt.user_id = 'alice' AS 'SELECT 1';
-- 11. the settings for all sessions of a database, the server or a role
ALTER DATABASE test_hostile_identity SET pg_auth_jwt.token = 'x';
ALTER SYSTEM SET pg_auth_jwt.scope = 'session';
\set VERBOSITY sqlstate
ALTER ROLE ALL SET pg_auth_jwt.token = 'x';
\set VERBOSITY terse
ALTER ROLE authenticated SET pg_auth_jwt.scope = 'session';
ALTER ROLE authenticated SET pg_auth_jwt.audit_log = 'off';
-- 12. his own token, for everyone who connects as the role
SELECT format('ALTER ROLE authenticated SET pg_auth_jwt.token = %L', :'bob') AS plant \gset
:plant;
\c "dbname=test_hostile_identity user=authenticated options=''"
SELECT auth.email() IS NULL AS nobody;
ALTER ROLE authenticated RESET pg_auth_jwt.token;
\c "dbname=test_hostile_identity user=authenticated options=''"
SELECT auth.jwt_session_init(:'bob');
-- 13. another role
SET ROLE owner_role;
SET SESSION AUTHORIZATION postgres;
SET ROLE pg_read_all_data;
RESET SESSION AUTHORIZATION;
SET ROLE NONE;
:mine
-- 14. savepoints, after a refused token and after a cleared one
BEGIN;
SAVEPOINT a;
SELECT auth.jwt_session_init(:'expired', true);
ROLLBACK TO a;
:mine
SELECT auth.jwt_session_init(NULL, true);
ROLLBACK TO a;
RELEASE a;
:mine
ROLLBACK;
-- 15. a cursor that Alice left open on a shared connection: as himself, signed out, by a token that is none
BEGIN;
SELECT auth.jwt_session_init(:'alice', true);
DECLARE left_open CURSOR FOR SELECT title FROM posts;
MOVE 1 FROM left_open;
SELECT auth.jwt_session_init(:'bob', true);
FETCH ALL FROM left_open;
ROLLBACK;
BEGIN;
SELECT auth.jwt_session_init(:'alice', true);
DECLARE left_open CURSOR FOR SELECT title FROM posts;
MOVE 1 FROM left_open;
SELECT auth.jwt_session_init(NULL, true);
FETCH ALL FROM left_open;
ROLLBACK;
BEGIN;
SELECT auth.jwt_session_init(:'alice', true);
DECLARE left_open CURSOR FOR SELECT title FROM posts;
MOVE 1 FROM left_open;
SET LOCAL pg_auth_jwt.token = 'x';
FETCH ALL FROM left_open;
ROLLBACK;

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
