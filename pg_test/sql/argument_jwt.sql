-- auth.jwt_session_init(jwt => ...), as callers of pg_session_jwt write it. The second function of the
-- name makes no call ambiguous, and does the same.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
\c - authenticated
\i fixtures/jose.sql
\set who 'SELECT auth.email() AS who'

-- By name, in and outside of a transaction block.
BEGIN;
SELECT auth.jwt_session_init(jwt => :'alice');
:who;
COMMIT;
:who;
SELECT auth.jwt_session_init(jwt => :'alice');
:who;
SELECT auth.jwt_session_init(jwt => NULL);
:who;

-- By place, as each type of string that a driver sends: unknown, text, varchar.
SELECT auth.jwt_session_init(:'alice');
:who;
SELECT auth.jwt_session_init(NULL);
SELECT auth.jwt_session_init(:'alice'::text);
:who;
SELECT auth.jwt_session_init(''::text);
SELECT auth.jwt_session_init(:'alice'::varchar);
:who;
SELECT auth.jwt_session_init(NULL::varchar);
:who;
SELECT auth.jwt_session_init(token => :'alice');
:who;
SELECT auth.jwt_session_init(NULL::text);
SELECT auth.jwt_session_init(:'alice'::varchar, false);
:who;
SELECT auth.jwt_session_init(is_local => NULL, token => '');
:who;

-- Prepared, with and without the types of the parameters.
PREPARE untyped AS SELECT auth.jwt_session_init($1);
PREPARE named AS SELECT auth.jwt_session_init(jwt => $1);
PREPARE with_varchar (varchar) AS SELECT auth.jwt_session_init($1);
PREPARE with_varchar_local (varchar) AS SELECT auth.jwt_session_init($1, true);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
BEGIN;
EXECUTE untyped(:'alice');
:who;
ROLLBACK;
BEGIN;
EXECUTE named(:'alice');
:who;
ROLLBACK;
BEGIN;
EXECUTE with_varchar(:'alice');
:who;
ROLLBACK;
BEGIN;
EXECUTE with_varchar_local(:'alice');
:who;
ROLLBACK;
:who;

-- The same checks, the same setting, the same WARNING.
\set VERBOSITY terse
SELECT auth.jwt_session_init(jwt => :'expired');
SELECT auth.jwt_session_init('x'::varchar);
SELECT auth.jwt_session_init(jwt => repeat('x', 70000));
SET pg_auth_jwt.scope = 'transaction';
SELECT auth.jwt_session_init(jwt => :'alice');
:who;

-- Not strict, as pg_session_jwt's is: NULL ends the session's identity.
SET pg_auth_jwt.scope = 'auto';
BEGIN;
SELECT auth.jwt_session_init(jwt => :'alice');
SELECT auth.jwt_session_init(jwt => NULL);
:who;
COMMIT;

-- Without an argument, or with both names, there is none.
\set VERBOSITY sqlstate
SELECT auth.jwt_session_init();
SELECT auth.jwt_session_init(jwt => 'a', token => 'b');
SELECT auth.jwt_session_init(jwt => 'a', is_local => true);
