-- As a superuser, once: who connects, and what each may do.
--
--   app_owner       the migrations: owns the database, the extension and the notes
--   better_auth     Better Auth: owns the schema better_auth, and sees nothing else
--   authenticated   the API, for every user: owns nothing, and sees what the policies let through
--
-- Here they need no password, because the server's socket is in a folder that is closed to other
-- users. Elsewhere, give each a password of its own.
CREATE ROLE app_owner LOGIN;
CREATE ROLE better_auth LOGIN;
CREATE ROLE authenticated LOGIN;

CREATE DATABASE notes OWNER app_owner;
REVOKE ALL ON DATABASE notes FROM PUBLIC;
GRANT CONNECT ON DATABASE notes TO better_auth, authenticated;

-- PgBouncer refuses such settings from clients, so they belong to the role.
ALTER ROLE better_auth IN DATABASE notes SET search_path = better_auth;
ALTER ROLE authenticated IN DATABASE notes SET statement_timeout = '10s';
ALTER ROLE authenticated IN DATABASE notes SET idle_in_transaction_session_timeout = '10s';
-- Loaded when the connection starts, not by its first request.
ALTER ROLE authenticated IN DATABASE notes SET session_preload_libraries = 'pg_auth_jwt';
-- A query without a token is an error (28J11), never an empty result: the API has no other queries.
ALTER ROLE authenticated IN DATABASE notes SET pg_auth_jwt.require_token = on;

\connect notes postgres
-- A token ends with its transaction, even if the application forgets BEGIN.
ALTER DATABASE notes SET pg_auth_jwt.scope = 'transaction';
-- Not the schema auth: that one is the extension's.
CREATE SCHEMA better_auth AUTHORIZATION better_auth;
GRANT USAGE ON SCHEMA better_auth TO app_owner;

\connect - app_owner
CREATE EXTENSION pg_auth_jwt;
