-- Bob cancels a verification, and runs out of memory and stack.
\i fixtures/hostile.sql

-- 1. cancelled during verification
SET statement_timeout = '100ms';
DO $$ BEGIN LOOP PERFORM refusal('eyJhbGciOiJFZERTQSIsImtpZCI6ImVkLTEifQ.e30.AA'); END LOOP; END $$;
RESET statement_timeout;
:mine
-- 2. with little memory, and with arguments larger than Postgres allows
SET work_mem = '64kB';
SELECT count(*), min(auth.email()), max(auth.email()) FROM (SELECT auth.email(), md5(n::text) FROM generate_series(1, 100000) n ORDER BY 2) s;
RESET work_mem;
SET temp_file_limit = 0;
SELECT auth.jwt_session_init(repeat('x', 67108864) || :'bob');
SELECT auth.jwt_session_init(repeat(:'bob', 10000000));
:mine
-- 3. with no stack left
CREATE FUNCTION deep(n int) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM auth.email(); RETURN deep(n + 1); END';
SELECT deep(1);
SET max_stack_depth = '100kB';
:mine
SELECT auth.jwt_session_init(:'bob');
-- 4. in a thousand subtransactions
SELECT count(*) FROM generate_series(1, 1000) n WHERE refusal(:'alice_id') LIKE '28J01%';
:mine

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
