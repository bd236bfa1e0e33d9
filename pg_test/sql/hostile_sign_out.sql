-- Bob tries to keep an identity after its end.
\i fixtures/hostile.sql

-- 1. a cursor WITH HOLD keeps the rows of the identity that filled it; later reads use the later identity
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT title, auth.email() FROM posts;
DECLARE not_held CURSOR FOR SELECT title FROM posts;
COMMIT;
SELECT auth.jwt_session_init(NULL);
FETCH held;
FETCH not_held;
:mine
-- 2. statements, functions and views prepared as Bob
SELECT auth.jwt_session_init(:'bob');
PREPARE titles AS SELECT title FROM posts;
CREATE FUNCTION titles() RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT title FROM posts; END';
EXECUTE titles;
SELECT titles();
SELECT auth.jwt_session_init('');
EXECUTE titles;
SELECT titles();
SELECT count(*) FROM all_posts;
-- 3. a transaction prepared for later
SELECT auth.jwt_session_init(:'bob');
BEGIN;
SELECT auth.jwt_session_init(:'bob', true);
PREPARE TRANSACTION 'later';
-- 4. notifications and advisory locks carry nothing of ours
LISTEN auth;
NOTIFY jwks;
UNLISTEN *;
-- 5. large objects belong to the role, not to the user of the token
SELECT lo_from_bytea(4711, 'of bob') > 0;
SELECT auth.jwt_session_init(NULL);
SELECT convert_from(lo_get(4711), 'UTF8'), lo_unlink(4711);
-- 6. blocks that set the token, fail and continue
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
-- 7. an error inside a function with a SET clause
CREATE FUNCTION fails() RETURNS int LANGUAGE sql SET pg_auth_jwt.token = '' AS 'SELECT 1 / 0';
SELECT fails();
:mine
-- 8. two identities in one statement
SELECT auth.jwt_session_init(:'bob'), auth.email(), auth.jwt_session_init(NULL), auth.email();
SELECT auth.jwt_session_init(:'bob');
SELECT title, auth.jwt_session_init(NULL) FROM posts;
:mine

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
