-- Bob calls functions in ways in which they are not meant to be called.
\i fixtures/hostile.sql

-- 1. the library's functions, declared by himself
CREATE FUNCTION mine(text) RETURNS text LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_uid';
CREATE FUNCTION mine(int8) RETURNS text LANGUAGE c AS '$libdir/pg_auth_jwt', 'pg_auth_jwt_admit_key';
CREATE FUNCTION mine(int8) RETURNS text LANGUAGE internal AS 'textin';
LOAD '$libdir/pg_auth_jwt';
LOAD 'pg_auth_jwt';
-- 2. trigger functions
SELECT auth.admit_key();
SELECT auth.keys_changed();
CREATE TABLE table_of_his (issuer int, jwk int);
CREATE TRIGGER t BEFORE INSERT ON table_of_his FOR EACH ROW EXECUTE FUNCTION auth.admit_key();
-- 3. the wrong arguments
SELECT auth.jwt_session_init();
SELECT auth.jwt_session_init(1);
SELECT auth.jwt_session_init('\x00'::bytea);
SELECT auth.jwt_session_init(is_local => true);
SELECT auth.jwt_session_init(VARIADIC ARRAY[:'bob']);
SELECT auth.jwt_session_init('x', 'maybe');
SELECT auth.uid(1);
SELECT auth.jwt_session_init(:'bob', NULL);
:mine
-- 4. claim functions in generated columns, indexes and partition keys, which would store an identity
CREATE TABLE kept (n int, u uuid GENERATED ALWAYS AS (auth.uid()) STORED);
CREATE TABLE kept (n int);
-- Since 19 with a position.
\set VERBOSITY sqlstate
CREATE INDEX ON kept ((auth.uid()));
\set VERBOSITY terse
CREATE TABLE parts (u uuid) PARTITION BY HASH ((auth.uid()));
-- 5. claim functions in unusual places
SELECT count(*) FROM generate_series(1, 3) LIMIT (SELECT length(auth.user_id()));
SELECT auth.user_id() FROM generate_series(1, 2) GROUP BY auth.user_id() HAVING auth.user_id() IS NOT NULL ORDER BY auth.user_id();
SELECT string_agg(DISTINCT auth.email(), ',' ORDER BY auth.email()), row_number() OVER (PARTITION BY auth.uid()) FROM generate_series(1, 2);
VALUES (auth.email(), auth.role());
SELECT * FROM auth.email() AS e JOIN LATERAL auth.uid() AS u ON true;
CREATE TEMP TABLE t (id int CHECK (auth.uid() IS NOT NULL), who text DEFAULT auth.email());
INSERT INTO t VALUES (1) RETURNING who;
CALL auth.uid();

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
