-- The database that every test starts from.
CREATE ROLE owner_role LOGIN;
CREATE ROLE authenticated LOGIN;
GRANT authenticated TO owner_role;
CREATE DATABASE template_test OWNER owner_role;
\connect template_test owner_role
CREATE EXTENSION pg_auth_jwt;

-- The tokens of fixtures/jose.json for tests that are no psql scripts.
\set jose `cat fixtures/jose.json`
CREATE SCHEMA fixture;
CREATE TABLE fixture.jose AS SELECT :'jose'::jsonb AS doc;
CREATE FUNCTION fixture.token(name text) RETURNS text LANGUAGE sql STABLE
    RETURN (SELECT doc -> 'tokens' ->> name FROM fixture.jose);
