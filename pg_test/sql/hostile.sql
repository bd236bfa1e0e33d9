-- What a signed-in user tries who may run any SQL as "authenticated", with CREATE in schema public and
-- temporary tables. Bob wants Alice's rows, knows her user id and all public keys, and has no token
-- of hers. Each attempt shows its refusal, or that he still sees his own rows and no others.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
CREATE TABLE posts (id int PRIMARY KEY, user_id uuid DEFAULT auth.uid(), title text UNIQUE);
CREATE TABLE notes (owner text DEFAULT auth.user_id(), note text);
INSERT INTO posts VALUES (1, '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', 'secret of alice'), (2, '7e2c41d5-93b8-4c6a-8f7d-d4b25e90bb22', 'post of bob');
INSERT INTO notes SELECT user_id, title FROM posts;
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON posts TO authenticated USING (user_id = auth.uid());
CREATE POLICY own ON notes TO authenticated USING (owner = auth.user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON posts, notes TO authenticated;
GRANT CREATE ON SCHEMA public TO authenticated;
CREATE FUNCTION definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT current_user || '' for '' || auth.email()';
\c - authenticated
\i fixtures/jose.sql
-- The message where it is ours; the code where Postgres has worded it anew from version to version.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\pset tuples_only
\pset format unaligned
\set alice_id '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11'
\set mine 'SELECT title FROM posts UNION ALL SELECT note FROM notes;'
SELECT auth.jwt_session_init(:'bob');
:mine

---- Forging an identity
-- 1. claims in the settings that others read them from
SELECT set_config('request.jwt.claims', format('{"sub":"%s"}', :'alice_id'), false),
       set_config('request.jwt.claim.sub', :'alice_id', false), set_config('jwt.claims.sub', :'alice_id', false);
:mine
-- 2. settings of our own prefix that do not exist
SELECT set_config('pg_auth_jwt.user_id', :'alice_id', false);
SET pg_auth_jwt.claims = '{}';
-- 3. Alice's claims under Bob's signature
SELECT auth.jwt_session_init(split_part(:'bob', '.', 1) || '.' || split_part(:'alice', '.', 2) || '.' || split_part(:'bob', '.', 3));
-- 4. the same, straight into the setting; then nobody's rows are shown, not even his own
SELECT split_part(:'bob', '.', 1) || '.' || split_part(:'alice', '.', 2) || '.' || split_part(:'bob', '.', 3) AS mixture \gset
SET pg_auth_jwt.token = :'mixture';
:mine
SELECT auth.uid(), auth.session();
SELECT auth.jwt_session_init(:'bob');
-- 5. a token that is not signed at all
CREATE FUNCTION b64(bytea) RETURNS text LANGUAGE sql AS $$ SELECT translate(encode($1, 'base64'), E'+/=\n', '-_') $$;
CREATE FUNCTION b64(text) RETURNS text LANGUAGE sql AS $$ SELECT b64(convert_to($1, 'UTF8')) $$;
SELECT auth.jwt_session_init(b64('{"alg":"none"}') || '.' || split_part(:'alice', '.', 2) || '.');
SELECT auth.jwt_session_init(b64('{"alg":"none"}') || '.' || split_part(:'alice', '.', 2) || '.AA');
-- 6. signed with a public key as the secret of an HMAC
CREATE FUNCTION hs256(signed text, key bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    IF length(key) > 64 THEN key := sha256(key); END IF;
    FOR i IN 0 .. length(key) - 1 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
        outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
    END LOOP;
    RETURN signed || '.' || b64(sha256(outer_pad || sha256(inner_pad || signed::bytea)));
END $$;
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","kid":"ed-1"}') || '.' || split_part(:'alice', '.', 2), k))
  FROM (SELECT decode(translate('TBtcSsy_0jgUO5ubew9WbjoVb2cxC_zWIZgIzdNwNR4=', '-_', '+/'), 'base64')) AS public_key (k);
-- 7. with a key of his own in the header
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","jwk":{"kty":"oct","k":"c2VjcmV0"},"jku":"http://localhost/"}')
    || '.' || split_part(:'alice', '.', 2), 'secret'));
-- 8. real tokens of Alice that are no good
SELECT auth.jwt_session_init(:'expired');
SELECT auth.jwt_session_init(:'other_audience');
SELECT auth.jwt_session_init(:'removed_key');
-- 9. through connection options
\c "dbname=test_hostile user=authenticated options='-c pg_auth_jwt.token=eyJhbGciOiJub25lIn0.e30.'"
SELECT count(*) FROM posts;
\c "dbname=test_hostile user=authenticated options='-c request.jwt.claims={} -c pg_auth_jwt.scope=session -c pg_auth_jwt.cache_size=0'"
SELECT count(*) FROM posts;
SHOW pg_auth_jwt.cache_size;
\c "dbname=test_hostile user=authenticated options=''"
SELECT auth.jwt_session_init(:'bob');
-- 10. in a function's SET clause, and by its CREATE
CREATE FUNCTION as_alice() RETURNS SETOF text LANGUAGE sql SET pg_auth_jwt.token = 'eyJhbGciOiJub25lIn0.e30.' AS 'SELECT title FROM posts';
SELECT as_alice();
CREATE FUNCTION as_alice(int) RETURNS text LANGUAGE sql SET pg_auth_jwt.user_id = 'alice' AS 'SELECT 1';
-- 11. for all sessions of the role, of the database, of the server
ALTER DATABASE test_hostile SET pg_auth_jwt.token = 'x';
ALTER SYSTEM SET pg_auth_jwt.scope = 'session';
\set VERBOSITY sqlstate
ALTER ROLE ALL SET pg_auth_jwt.token = 'x';
\set VERBOSITY terse
ALTER ROLE authenticated SET pg_auth_jwt.scope = 'session';
ALTER ROLE authenticated SET pg_auth_jwt.audit_log = 'off';
-- 12. his own token for whoever else connects as the role
SELECT format('ALTER ROLE authenticated SET pg_auth_jwt.token = %L', :'bob') AS plant \gset
:plant;
\c "dbname=test_hostile user=authenticated options=''"
SELECT auth.email() IS NULL AS nobody;
ALTER ROLE authenticated RESET pg_auth_jwt.token;
\c "dbname=test_hostile user=authenticated options=''"
SELECT auth.jwt_session_init(:'bob');
-- 13. becoming somebody else
SET ROLE owner_role;
SET SESSION AUTHORIZATION postgres;
SET ROLE pg_read_all_data;
RESET SESSION AUTHORIZATION;
SET ROLE NONE;
:mine
-- 14. the savepoint of a refused token, and of one that was taken back
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

---- Putting something of his own in the way
-- 15. a schema, a table, a function of our names
CREATE SCHEMA auth;
CREATE TABLE auth.jwks ();
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
-- 16. functions first in the search path
CREATE FUNCTION public.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
CREATE FUNCTION pg_temp.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
SET search_path = pg_temp, public, pg_catalog;
:mine
-- 17. operators
CREATE FUNCTION public.yes(uuid, uuid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.yes);
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.yes);
SELECT 'a'::text = 'b'::text AS his_operator_is_used;
:mine
DROP OPERATOR public.= (uuid, uuid), public.= (text, text);
-- 18. types, casts and operator classes
CREATE DOMAIN pg_temp.uuid AS pg_catalog.text DEFAULT 'x';
CREATE DOMAIN public.jsonb AS pg_catalog.text;
:mine
SELECT auth.uid();
CREATE CAST (text AS pg_catalog.uuid) WITH FUNCTION public.uid() AS IMPLICIT;
CREATE OPERATOR CLASS uuids DEFAULT FOR TYPE pg_catalog.uuid USING btree AS OPERATOR 1 < ;
DROP DOMAIN pg_temp.uuid, public.jsonb;
-- 19. tables of keys in pg_temp and public, with a key whose secret he has
CREATE TEMP TABLE issuers AS SELECT '*'::text AS issuer, '{HS256}'::text[] AS algorithms, true AS enabled;
CREATE TEMP TABLE jwks AS SELECT '*'::text AS issuer, 'k'::text AS kid, '{"kty":"oct","k":"c2VjcmV0"}'::jsonb AS jwk;
CREATE TABLE public.jwks AS TABLE pg_temp.jwks;
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","kid":"k"}') || '.' || b64(format('{"sub":"%s","exp":4102444800}', :'alice_id')), 'secret'));
DROP TABLE pg_temp.issuers, pg_temp.jwks, public.jwks;
-- 20. a table of posts' name, which is his affair: the real one is as it was
CREATE TEMP TABLE posts (title text);
SELECT count(*) FROM posts;
DROP TABLE posts;
RESET search_path;
:mine
-- 21. views and functions on the way to the rows
CREATE VIEW all_posts AS SELECT * FROM posts;
CREATE VIEW all_posts_quick WITH (security_barrier = false) AS SELECT * FROM posts;
CREATE FUNCTION all_posts() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT title FROM posts';
SELECT title FROM all_posts UNION ALL SELECT title FROM all_posts_quick UNION ALL SELECT all_posts();
-- 22. a function of another user's, with that user's rights: still Bob
SELECT definer();
-- 23. children, likenesses, foreign keys and views of our tables
CREATE TABLE child () INHERITS (auth.jwks);
CREATE TABLE likeness (LIKE auth.jwks);
CREATE TABLE pointer (issuer text REFERENCES auth.issuers);
CREATE VIEW keys AS SELECT * FROM auth.jwks;
SELECT * FROM keys;
-- 24. columns, row types and statistics of our tables
SELECT jwk FROM auth.jwks;
SELECT (NULL::auth.jwks).jwk IS NULL;
SELECT count(*) FROM pg_stats WHERE schemaname = 'auth' OR tablename IN ('posts', 'notes');
SELECT stavalues1 FROM pg_statistic WHERE starelid = 'auth.jwks'::regclass;

---- Undoing the protection
-- 25. of the table
ALTER TABLE posts DISABLE ROW LEVEL SECURITY;
ALTER TABLE posts OWNER TO authenticated;
CREATE POLICY mine ON posts USING (true);
ALTER POLICY own ON posts USING (true);
DROP POLICY own ON posts;
CREATE RULE r AS ON SELECT TO posts DO INSTEAD SELECT 1;
CREATE TRIGGER t BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE INDEX ON posts (title);
TRUNCATE posts;
-- 26. of the session
SET row_security = off;
:mine
RESET row_security;
SET session_replication_role = replica;
-- 27. of the extension
ALTER EXTENSION pg_auth_jwt ADD FUNCTION public.uid();
ALTER EXTENSION pg_auth_jwt DROP FUNCTION auth.uid();
ALTER EXTENSION pg_auth_jwt UPDATE;
DROP EXTENSION pg_auth_jwt CASCADE;
ALTER FUNCTION auth.uid() SECURITY DEFINER;
ALTER FUNCTION auth.uid() SET search_path = public;
ALTER SCHEMA auth RENAME TO other;
DROP OWNED BY owner_role;
REASSIGN OWNED BY owner_role TO authenticated;
-- 28. of the privileges
GRANT ALL ON ALL TABLES IN SCHEMA auth TO authenticated;
GRANT EXECUTE ON FUNCTION auth.init(jsonb, text, text[]) TO authenticated;
\set VERBOSITY sqlstate
GRANT owner_role TO authenticated;
ALTER ROLE authenticated SUPERUSER;
ALTER ROLE authenticated BYPASSRLS;
\set VERBOSITY terse
-- All that this role may do with objects of ours:
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'auth'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'v', 'S')
   AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
UNION ALL
SELECT nspname FROM pg_namespace WHERE nspname = 'auth' AND has_schema_privilege(oid, 'CREATE')
ORDER BY 1;

---- Calling what is not meant to be called
-- 29. the library's functions under declarations of his own
CREATE FUNCTION mine(text) RETURNS text LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_uid';
CREATE FUNCTION mine(int8) RETURNS text LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_admit_key';
CREATE FUNCTION mine(int8) RETURNS text LANGUAGE internal AS 'textin';
LOAD '$libdir/pg_auth_jwt';
LOAD 'pg_auth_jwt';
-- 30. trigger functions
SELECT auth.admit_key();
SELECT auth.keys_changed();
CREATE TABLE table_of_his (issuer int, jwk int);
CREATE TRIGGER t BEFORE INSERT ON table_of_his FOR EACH ROW EXECUTE FUNCTION auth.admit_key();
-- 31. the wrong arguments
SELECT auth.jwt_session_init();
SELECT auth.jwt_session_init(1);
SELECT auth.jwt_session_init('\x00'::bytea);
SELECT auth.jwt_session_init(is_local => true);
SELECT auth.jwt_session_init(VARIADIC ARRAY[:'bob']);
SELECT auth.jwt_session_init('x', 'maybe');
SELECT auth.uid(1);
SELECT auth.jwt_session_init(:'bob', NULL);
:mine
-- 32. where a value is kept that was computed for somebody
CREATE TABLE kept (n int, u uuid GENERATED ALWAYS AS (auth.uid()) STORED);
CREATE TABLE kept (n int);
CREATE INDEX ON kept ((auth.uid()));
CREATE TABLE parts (u uuid) PARTITION BY HASH ((auth.uid()));
-- 33. places where a claim function is rarely called
SELECT count(*) FROM generate_series(1, 3) LIMIT (SELECT length(auth.user_id()));
SELECT auth.user_id() FROM generate_series(1, 2) GROUP BY auth.user_id() HAVING auth.user_id() IS NOT NULL ORDER BY auth.user_id();
SELECT string_agg(DISTINCT auth.email(), ',' ORDER BY auth.email()), row_number() OVER (PARTITION BY auth.uid()) FROM generate_series(1, 2);
VALUES (auth.email(), auth.role());
SELECT * FROM auth.email() AS e JOIN LATERAL auth.uid() AS u ON true;
CREATE TEMP TABLE t (id int CHECK (auth.uid() IS NOT NULL), who text DEFAULT auth.email());
INSERT INTO t VALUES (1) RETURNING who;
CALL auth.uid();

---- Odd tokens
CREATE FUNCTION refusal(token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE why text;
BEGIN
    PERFORM auth.jwt_session_init(token, true);
    RETURN 'ACCEPTED ' || auth.email();
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || why;
END $$;
-- 34. parts missing, empty, or too many
SELECT t, refusal(t) FROM unnest(ARRAY['.', '..', '...', 'a', 'a.b', '.a.', 'a..b', 'a.b.c', 'a.b.c.d', 'null', '{}', '""']) t;
-- 35. a good token with something around it
SELECT refusal(:'bob'), refusal(:'bob' || ' '), refusal(E'\n' || :'bob'), refusal(:'bob' || '.'), refusal(:'bob' || '='),
       refusal('Bearer ' || :'bob'), refusal('"' || :'bob' || '"'), refusal(:'bob' || chr(8203)), refusal(chr(65279) || :'bob'),
       refusal(translate(:'bob', '-_', '+/')), refusal(upper(:'bob')), refusal(:'bob' || E'\r\n');
-- 36. headers that are no JSON objects, or not what they should be
SELECT h, refusal(b64(h) || '.' || split_part(:'bob', '.', 2) || '.' || split_part(:'bob', '.', 3))
  FROM unnest(ARRAY['', '{', '[]', '"x"', '1', '{}', '{"alg":1}', '{"alg":null}', '{"alg":"nOnE"}', '{"alg":"EdDSA","alg":"none"}',
      '{"alg":"EdDSA","kid":["ed-1"]}', '{"alg":"EdDSA","kid":"ed-1","crit":["exp"]}', '{"alg":"EdDSA","kid":"ed-1","b64":false}',
      '{"alg":"EdDSA","kid":"../../ed-1"}', '{"alg":"EdDSA","kid":"'' OR true --"}', '{"alg":"EdDSA","kid":"%s%n"}', '{"alg":"EdDSA","typ":"x"}']) h;
-- 37. payloads likewise; none gets as far as its claims, for none is signed
SELECT p, refusal(split_part(:'bob', '.', 1) || '.' || b64(p) || '.' || split_part(:'bob', '.', 3))
  FROM unnest(ARRAY['', 'null', '[]', '{', '{}', '{"iss":1}', '{"iss":"https://auth.example.com","exp":1e999999999}',
      '{"iss":"https://auth.example.com","exp":-1}', '{"iss":"https://auth.example.com","n":1e-999999}',
      '{"iss":"https://auth.example.com","s":"\ud800"}', '{"iss":"https://auth.example.com","s":"\u0000"}', '{"sub":"a","sub":"b"}']) p;
-- 38. bytes that are no text
SELECT refusal(convert_from('\x00', 'UTF8'));
SELECT refusal(convert_from('\xff', 'UTF8'));
SELECT refusal(E'a\000b');
SELECT refusal(convert_from('\xff', 'LATIN1')), refusal(b64('\xff00fe'::bytea) || '.' || b64('\xff'::bytea) || '.AA');
SELECT refusal(repeat(chr(1114111), 3)), refusal(E'\x01.\x02.\x03'), refusal('<script>.%p%n.');
-- 39. of every length, and by the setting too
SELECT n, refusal(repeat('a', n)), refusal(repeat('.', n)), refusal(repeat('é', n))
  FROM unnest(ARRAY[1, 1000, 65535, 65536, 65537, 1048576, 16777216]) n;
SELECT refusal(split_part(:'bob', '.', 1) || '.' || b64('{"x":"' || repeat('x', 49000) || '"}') || '.AA'),
       refusal(b64('{"alg":"EdDSA","kid":"' || repeat('k', 45000) || '"}') || '.e30.AA');
SELECT repeat('ey.', 350000) AS huge \gset
BEGIN;
SET LOCAL pg_auth_jwt.token = :'huge';
SELECT auth.uid();
ROLLBACK;
:mine
-- 40. deep, wide and repetitive JSON
SELECT refusal(b64('{"alg":"EdDSA","x":' || repeat('[', 20000)) || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA","kid":"ed-1","x":' || repeat('[', 127) || repeat(']', 127) || '}') || '.e30.AA'),
       refusal(b64(repeat('{"a":', 9000)) || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA"' || repeat(',"a":1', 7000) || '}') || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA","n":' || repeat('9', 40000) || '}') || '.e30.AA');
-- 41. twenty thousand of them, each different, change nothing
SELECT DISTINCT substr(refusal(:'bob' || n), 1, 5) FROM generate_series(1, 20000) n ORDER BY 1;
:mine

---- In the middle of verifying, and out of resources
-- 42. cancelled while it verifies
SET statement_timeout = '100ms';
DO $$ BEGIN LOOP PERFORM refusal('eyJhbGciOiJFZERTQSIsImtpZCI6ImVkLTEifQ.e30.AA'); END LOOP; END $$;
RESET statement_timeout;
:mine
-- 43. with little memory, and more than there is
SET work_mem = '64kB';
SELECT count(*), min(auth.email()), max(auth.email()) FROM (SELECT auth.email(), md5(n::text) FROM generate_series(1, 100000) n ORDER BY 2) s;
RESET work_mem;
SET temp_file_limit = 0;
SELECT auth.jwt_session_init(repeat('x', 67108864) || :'bob');
SELECT auth.jwt_session_init(repeat(:'bob', 10000000));
:mine
-- 44. with no stack left
CREATE FUNCTION deep(n int) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM auth.email(); RETURN deep(n + 1); END';
SELECT deep(1);
SET max_stack_depth = '100kB';
:mine
SELECT auth.jwt_session_init(:'bob');
-- 45. in a thousand subtransactions
SELECT count(*) FROM generate_series(1, 1000) n WHERE refusal(:'alice_id') LIKE '28J01%';
:mine

---- Asking the errors, the plans and the clock of the executor
-- 46. a function that tells, cheap enough to be called first
CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN RAISE NOTICE ''told: %'', $1; RETURN true; END';
SELECT count(*) FROM posts WHERE tell(title);
SELECT count(*) FROM all_posts_quick WHERE tell(title);
SELECT count(*) FROM posts p JOIN notes n ON tell(p.title) AND tell(n.note);
DELETE FROM posts WHERE tell(title) AND false;
-- 47. an operator that tells
CREATE FUNCTION tell(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT tell($1)';
CREATE OPERATOR public.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = tell, RESTRICT = eqsel);
SELECT count(*) FROM posts WHERE title <<< 'x';
-- 48. errors that quote, and errors that answer yes or no
SELECT title::int FROM posts;
SELECT * FROM posts WHERE title::int = 1;
SELECT count(*) FROM posts WHERE 1 / (CASE WHEN title = 'secret of alice' THEN 0 ELSE 1 END) = 1;
SELECT count(*) FROM posts WHERE CASE WHEN title LIKE 'secret%' THEN tell(title) ELSE true END;
-- 49. plans: rows that the policy filtered are counted (as row-level security has it), not shown
CREATE FUNCTION explained(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, SETTINGS, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Removed|alice|eyJ|token' THEN RETURN NEXT trim(line); END IF;
    END LOOP;
END $$;
SET seq_page_cost = 0.5;
SELECT explained('SELECT * FROM notes');
SELECT explained('SELECT * FROM notes WHERE note LIKE ''secret%''');
RESET seq_page_cost;
-- 50. keys: that a value is taken is known, as row-level security has it; whose it is, is not
INSERT INTO posts (id, title) VALUES (1, 'new');
INSERT INTO posts (id, title) VALUES (3, 'secret of alice');
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET title = posts.title RETURNING *;
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id RETURNING *;
-- 51. writing in Alice's name, and taking what is hers
INSERT INTO posts VALUES (4, :'alice_id', 'as alice') RETURNING *;
UPDATE posts SET user_id = :'alice_id' WHERE id = 2;
UPDATE posts SET user_id = auth.uid() WHERE id = 1 RETURNING *;
DELETE FROM posts WHERE id = 1 RETURNING *;
WITH u AS (UPDATE notes SET owner = auth.user_id() RETURNING *) SELECT note FROM u;
\copy posts from /dev/null
-- 52. other ways to the rows
TABLE posts;
COPY posts (title) TO stdout;
SELECT title FROM ONLY posts TABLESAMPLE SYSTEM (100);
SELECT title FROM posts WHERE ctid = '(0,1)';
SELECT title FROM posts FOR UPDATE SKIP LOCKED;
SELECT (SELECT title FROM posts WHERE id = 1) IS NULL, EXISTS (SELECT FROM posts WHERE id = 1), (SELECT max(title) FROM posts);
SELECT title FROM posts a WHERE EXISTS (SELECT FROM posts b WHERE b.id < a.id);
LOCK TABLE posts;
\set VERBOSITY sqlstate
ANALYZE posts;
-- 53. the server's files and other databases
SELECT pg_read_file('postgresql.conf');
SELECT lo_import('/etc/passwd');
COPY kept FROM PROGRAM 'true';
COPY kept TO '/tmp/x';
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION tell();
CREATE PUBLICATION p FOR TABLE auth.jwks;
SELECT pg_create_logical_replication_slot('s', 'pgoutput');

---- Reading a token
-- 54. his own, where a connection is shared that may be somebody else's
SHOW pg_auth_jwt.token;
SELECT current_setting('pg_auth_jwt.token', true);
SELECT count(*) FROM pg_show_all_settings() WHERE name = 'pg_auth_jwt.token';
ALTER ROLE authenticated SET pg_auth_jwt.token FROM CURRENT;
ALTER ROLE authenticated RESET pg_auth_jwt.token;
CREATE FUNCTION keeps() RETURNS text LANGUAGE sql SET pg_auth_jwt.token FROM CURRENT AS 'SELECT auth.email()';
SELECT keeps();
SELECT explained('SELECT 1');
DO $$ BEGIN RAISE '%', current_setting('pg_auth_jwt.token'); END $$;
\set VERBOSITY terse
-- 55. what its error says of it
SET pg_auth_jwt.token = 'secret.part.s';
SELECT auth.uid();
SELECT auth.session();
SELECT auth.jwt_session_init(:'bob');

---- Surviving the end of an identity
-- 56. rows of a cursor WITH HOLD are those of its owner's time; what is read later is of later
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT title, auth.email() FROM posts;
DECLARE not_held CURSOR FOR SELECT title FROM posts;
COMMIT;
SELECT auth.jwt_session_init(NULL);
FETCH held;
FETCH not_held;
:mine
-- 57. statements, functions and views prepared as Bob
SELECT auth.jwt_session_init(:'bob');
PREPARE titles AS SELECT title FROM posts;
CREATE FUNCTION titles() RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT title FROM posts; END';
EXECUTE titles;
SELECT titles();
SELECT auth.jwt_session_init('');
EXECUTE titles;
SELECT titles();
SELECT count(*) FROM all_posts;
-- 58. a transaction prepared for later
SELECT auth.jwt_session_init(:'bob');
BEGIN;
SELECT auth.jwt_session_init(:'bob', true);
PREPARE TRANSACTION 'later';
-- 59. notifications and advisory locks carry nothing of ours
LISTEN auth;
NOTIFY jwks;
UNLISTEN *;
-- 60. large objects are the role's, not the user's
SELECT lo_from_bytea(4711, 'of bob') > 0;
SELECT auth.jwt_session_init(NULL);
SELECT convert_from(lo_get(4711), 'UTF8'), lo_unlink(4711);
-- 61. blocks that set, fail and go on
SELECT auth.jwt_session_init(:'bob');
DO $$
BEGIN
    BEGIN
        SET pg_auth_jwt.token = '';
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        RAISE NOTICE 'after the error: %', auth.email();
    END;
    BEGIN
        SET pg_auth_jwt.token = 'forged';
        PERFORM auth.uid();
    EXCEPTION WHEN SQLSTATE '28J01' THEN
        RAISE NOTICE 'after the refusal: %', auth.email();
    END;
END $$;
-- 62. an error inside a function with a SET clause
CREATE FUNCTION fails() RETURNS int LANGUAGE sql SET pg_auth_jwt.token = '' AS 'SELECT 1 / 0';
SELECT fails();
:mine
-- 63. two identities in one statement
SELECT auth.jwt_session_init(:'bob'), auth.email(), auth.jwt_session_init(NULL), auth.email();
SELECT auth.jwt_session_init(:'bob');
SELECT title, auth.jwt_session_init(NULL) FROM posts;
:mine

---- Preparing the ground for others on the same connection, where the role's tokens end with the transaction
\c - postgres
ALTER ROLE authenticated SET pg_auth_jwt.scope = 'transaction';
\c "dbname=test_hostile user=authenticated options=''"
-- 64. before the library is loaded, when the setting is a placeholder
SET pg_auth_jwt.scope = 'session';
BEGIN;
SELECT auth.jwt_session_init(:'bob');
SELECT auth.email();
COMMIT;
SELECT auth.email() IS NULL;
SHOW pg_auth_jwt.scope;
-- 65. and after
SET pg_auth_jwt.scope = 'session';
SET LOCAL pg_auth_jwt.scope = 'session';
SELECT set_config('pg_auth_jwt.scope', 'session', false);
RESET pg_auth_jwt.scope;
RESET ALL;
DISCARD ALL;
SHOW pg_auth_jwt.scope;
-- 66. what he may change: who passes nothing in a transaction block, or true, is safe from him
SET pg_auth_jwt.scope = 'auto';
BEGIN;
SELECT auth.jwt_session_init(:'bob');
COMMIT;
SELECT auth.email() IS NULL;
RESET pg_auth_jwt.scope;
-- 67. in a procedure that commits
CREATE PROCEDURE commits(token text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM auth.jwt_session_init(token);
    RAISE NOTICE 'before: %', auth.email();
    COMMIT;
    RAISE NOTICE 'after: %', auth.email();
END $$;
CALL commits(:'bob');
\c - postgres
ALTER ROLE authenticated RESET pg_auth_jwt.scope;

-- Nothing has changed for Alice.
\c - authenticated
\i fixtures/jose.sql
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
