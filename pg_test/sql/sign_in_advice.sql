-- Warnings that auth.jwt_session_init gives a connection once: that no policies apply to its role, and that a
-- token lasts for the session, which a transaction pooler gives to the next client.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
CREATE TABLE others (n int);
ALTER TABLE others ENABLE ROW LEVEL SECURITY;
CREATE TABLE "my posts" (owner text);
CREATE POLICY own ON "my posts" USING (owner = auth.user_id());
CREATE FUNCTION sign_in(token text) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT auth.jwt_session_init(token)';
\pset tuples_only
\pset format unaligned
\set local 'BEGIN; SELECT auth.jwt_session_init(:''alice''); COMMIT;'

-- The owner of a table with policies, where row-level security is on and not forced.
\c - owner_role
:local
ALTER TABLE "my posts" ENABLE ROW LEVEL SECURITY;
\c - owner_role
:local
-- Once for the connection, whatever it does.
:local
DISCARD ALL;
:local
SET ROLE authenticated;
:local
RESET ROLE;
:local
-- Not for a sign-out, nor for a token that is refused.
\c - owner_role
SELECT auth.jwt_session_init(NULL, true);
\set VERBOSITY sqlstate
SELECT auth.jwt_session_init('x');
:local
\set VERBOSITY default
-- Not as another role, whatever the function that signs in is owned by.
\c - owner_role
SET ROLE authenticated;
:local
\c - authenticated
BEGIN; SELECT sign_in(:'alice'); COMMIT;
-- A member of the owner has its rights.
\c - postgres
CREATE ROLE member_of_owner LOGIN IN ROLE owner_role;
\c - member_of_owner
:local
\c - owner_role
ALTER TABLE "my posts" FORCE ROW LEVEL SECURITY;
\c - owner_role
:local
-- Also the owner of a single table, behind many of others and of its own that are forced.
\c - postgres
CREATE ROLE late_owner LOGIN;
GRANT CREATE ON SCHEMA public TO late_owner;
DO $$ BEGIN
    FOR n IN 1..33 LOOP
        EXECUTE format('CREATE TABLE t%1$s (); CREATE POLICY own ON t%1$s', n);
        EXECUTE format('ALTER TABLE t%1$s ENABLE ROW LEVEL SECURITY', n);
    END LOOP;
END $$;
CREATE TABLE forced ();
ALTER TABLE forced OWNER TO late_owner, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON forced;
\c - late_owner
:local
CREATE TABLE late ();
CREATE POLICY own ON late;
:local
\c - late_owner
ALTER TABLE late ENABLE ROW LEVEL SECURITY;
:local
-- A catalog with many tables is not read as a whole, but by the first 32 tables with policies.
\c - postgres
DO $$ BEGIN FOR n IN 1..9 LOOP UPDATE pg_catalog.pg_class SET reltuples = reltuples; END LOOP; END $$;
SELECT pg_relation_size('pg_catalog.pg_class') > 32 * 8192;
\c - late_owner
:local
\c - postgres
ALTER TABLE t1 OWNER TO late_owner;
\c - late_owner
:local
\c - postgres
DO $$ BEGIN FOR n IN 1..33 LOOP EXECUTE 'DROP TABLE t' || n; END LOOP; END $$;
DROP OWNED BY late_owner;
DROP ROLE late_owner;

-- A superuser, and a role with BYPASSRLS; both also without any policy.
DROP POLICY own ON "my posts";
\c - postgres
:local
SET ROLE authenticated;
:local
\c - postgres
ALTER ROLE member_of_owner BYPASSRLS;
\c - member_of_owner
:local
\c - postgres
DROP ROLE member_of_owner;

-- For the session because nothing else is said, once for the connection.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
SELECT auth.jwt_session_init(:'bob');
DISCARD ALL;
SELECT auth.jwt_session_init(:'alice');
-- The client of pg_session_jwt has no other argument.
\c - authenticated
SELECT auth.jwt_session_init(jwt => :'alice');
-- Also where a function does it.
\c - authenticated
SELECT sign_in(:'alice');
-- Not in a block, where it is said, where a setting says it, nor for a sign-out.
\c - authenticated
:local
SELECT auth.jwt_session_init(:'alice', is_local => false);
SELECT auth.jwt_session_init(NULL);
SELECT auth.jwt_session_init('');
WITH i AS MATERIALIZED (SELECT auth.jwt_session_init(:'alice', is_local => true)) SELECT auth.email() FROM i;
SET pg_auth_jwt.scope = 'transaction';
WITH i AS MATERIALIZED (SELECT auth.jwt_session_init(:'alice')) SELECT auth.email() FROM i;
\c - postgres
SET pg_auth_jwt.scope = 'session';
SET ROLE authenticated;
SELECT auth.jwt_session_init(:'alice');
