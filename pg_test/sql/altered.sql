-- A superuser may alter the key tables. The extension does not trust a table that differs from the
-- one that it created: each case below accepts no token, and reads no value as another type. Each
-- case is rolled back, and then the token is good again.
\c - postgres
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
\set VERBOSITY terse
CREATE FUNCTION verify(token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE why text;
BEGIN
    RETURN 'accepted: ' || (auth.verify(token) ->> 'email');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || why;
END $$;
SELECT verify(:'bob');

---- A column that is missing
SET client_min_messages = warning;
CREATE TABLE columns AS
    SELECT attrelid::regclass AS t, attname AS c, attnum AS n FROM pg_attribute
     WHERE attrelid IN ('auth.issuers'::regclass, 'auth.jwks'::regclass) AND attnum > 0;
CREATE FUNCTION without(t regclass, c name, token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
    EXECUTE format('ALTER TABLE %s DROP COLUMN %I CASCADE', t, c);
    RAISE EXCEPTION 'rollback' USING DETAIL = verify(token);
EXCEPTION WHEN raise_exception THEN
    GET STACKED DIAGNOSTICS result = PG_EXCEPTION_DETAIL;
    RETURN result;
END $$;
SELECT t, c, without(t, c, :'bob') FROM columns ORDER BY t, n;
RESET client_min_messages;
SELECT verify(:'bob');

---- An additional column, and columns in another order
BEGIN;
ALTER TABLE auth.issuers ADD COLUMN future int NOT NULL DEFAULT 1;
ALTER TABLE auth.jwks ADD COLUMN future text[] DEFAULT '{x}';
SELECT verify(:'bob');
ALTER TABLE auth.issuers RENAME COLUMN audience TO audience_before;
ALTER TABLE auth.issuers ADD COLUMN audience text[];
UPDATE auth.issuers SET audience = audience_before;
SELECT verify(:'bob');
UPDATE auth.issuers SET audience = '{other}';
SELECT verify(:'bob');
ROLLBACK;

---- A column of another type: its values must not be used as pointers
BEGIN;
ALTER TABLE auth.issuers DROP CONSTRAINT leeway_not_negative, ALTER leeway DROP DEFAULT, ALTER leeway TYPE bigint USING 4702394921427289928;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.issuers DROP CONSTRAINT max_age_positive, ALTER max_age TYPE bigint USING 4702394921427289928;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.issuers DROP CONSTRAINT audience_not_empty, ALTER audience TYPE bigint USING 4702394921427289928;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.issuers DROP CONSTRAINT token_types_named, ALTER token_types DROP DEFAULT, ALTER token_types TYPE int[] USING NULL;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.issuers ALTER enabled DROP DEFAULT, ALTER enabled TYPE int USING 1;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
DROP INDEX auth.jwks_kid_key;
ALTER TABLE auth.jwks ALTER jwk TYPE text;
SELECT verify(:'bob');
INSERT INTO auth.jwks (issuer, jwk) VALUES (:'issuer', '{}');
ROLLBACK;
BEGIN;
-- A key is not checked against algorithms that cannot be read, and the error says so.
ALTER TABLE auth.issuers DROP CONSTRAINT algorithms_known, ALTER algorithms TYPE int USING 1;
INSERT INTO auth.jwks (issuer, jwk) VALUES (:'issuer', '{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}');
ROLLBACK;
BEGIN;
ALTER TABLE auth.jwks ALTER expires_at TYPE date;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.jwks ALTER alg TYPE name;
SELECT verify(:'bob');
UPDATE auth.jwks SET created_at = now();
ROLLBACK;

---- Another object under the table's name
BEGIN;
ALTER TABLE auth.issuers RENAME TO hidden;
SELECT verify(:'bob');
CREATE VIEW auth.issuers AS TABLE auth.hidden;
SELECT verify(:'bob');
ALTER EXTENSION pg_auth_jwt ADD VIEW auth.issuers;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER TABLE auth.jwks RENAME TO hidden;
CREATE TABLE auth.jwks (LIKE auth.hidden) PARTITION BY LIST (issuer);
ALTER EXTENSION pg_auth_jwt ADD TABLE auth.jwks;
SELECT verify(:'bob');
ROLLBACK;
BEGIN;
ALTER SCHEMA auth RENAME TO hidden;
SELECT hidden.verify(:'bob');
ROLLBACK;
SELECT verify(:'bob');

---- The trigger on another table
CREATE TABLE elsewhere (issuer bigint, kid bigint, jwk bigint, alg bigint, thumbprint bigint, expires_at bigint);
CREATE TRIGGER a BEFORE INSERT ON elsewhere FOR EACH ROW EXECUTE FUNCTION auth.admit_key();
INSERT INTO elsewhere VALUES (4702394921427289928, 4702394921427289928, 4702394921427289928);
DROP TRIGGER a ON elsewhere;
CREATE TRIGGER a BEFORE INSERT ON elsewhere EXECUTE FUNCTION auth.admit_key();
INSERT INTO elsewhere VALUES (1, 1, 1);
