-- Bob creates objects that should be used in place of ours.
\i fixtures/hostile.sql

-- 1. a schema, a table and a function with our names
CREATE SCHEMA auth;
CREATE TABLE auth.jwks ();
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
-- 2. functions first in the search path
CREATE FUNCTION public.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
CREATE FUNCTION pg_temp.uid() RETURNS uuid LANGUAGE sql AS 'SELECT ''0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11''::uuid';
SET search_path = pg_temp, public, pg_catalog;
:mine
-- 3. operators
CREATE FUNCTION public.yes(uuid, uuid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.yes);
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.yes);
SELECT 'a'::text = 'b'::text AS his_operator_is_used;
:mine
DROP OPERATOR public.= (uuid, uuid), public.= (text, text);
-- 4. types, casts and operator classes
CREATE DOMAIN pg_temp.uuid AS pg_catalog.text DEFAULT 'x';
CREATE DOMAIN public.jsonb AS pg_catalog.text;
:mine
SELECT auth.uid();
CREATE CAST (text AS pg_catalog.uuid) WITH FUNCTION public.uid() AS IMPLICIT;
CREATE OPERATOR CLASS uuids DEFAULT FOR TYPE pg_catalog.uuid USING btree AS OPERATOR 1 < ;
DROP DOMAIN pg_temp.uuid, public.jsonb;
-- 5. tables of keys in pg_temp and public, with a key whose secret he has
CREATE TEMP TABLE issuers AS SELECT '*'::text AS issuer, '{HS256}'::text[] AS algorithms, true AS enabled;
CREATE TEMP TABLE jwks AS SELECT '*'::text AS issuer, 'k'::text AS kid, '{"kty":"oct","k":"c2VjcmV0"}'::jsonb AS jwk;
CREATE TABLE public.jwks AS TABLE pg_temp.jwks;
SELECT auth.jwt_session_init(hs256(b64('{"alg":"HS256","kid":"k"}') || '.' || b64(format('{"sub":"%s","exp":4102444800}', :'alice_id')), 'secret'));
DROP TABLE pg_temp.issuers, pg_temp.jwks, public.jwks;
-- 6. a temporary table that hides posts from him: the real one stays as it was
CREATE TEMP TABLE posts (title text);
SELECT count(*) FROM posts;
DROP TABLE posts;
RESET search_path;
:mine
-- 7. views and functions that read the rows
CREATE FUNCTION all_posts() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT title FROM posts';
SELECT title FROM all_posts UNION ALL SELECT title FROM all_posts_quick UNION ALL SELECT all_posts();
-- 8. a SECURITY DEFINER function: the role changes, the identity is still Bob's
SELECT definer();
-- 9. our tables: INHERITS, LIKE, foreign keys and views
CREATE TABLE child () INHERITS (auth.jwks);
CREATE TABLE likeness (LIKE auth.jwks);
CREATE TABLE pointer (issuer text REFERENCES auth.issuers);
CREATE VIEW keys AS SELECT * FROM auth.jwks;
SELECT * FROM keys;
-- 10. our tables: columns, row types and statistics
SELECT jwk FROM auth.jwks;
SELECT (NULL::auth.jwks).jwk IS NULL;
SELECT count(*) FROM pg_stats WHERE schemaname = 'auth' OR tablename IN ('posts', 'notes');
SELECT stavalues1 FROM pg_statistic WHERE starelid = 'auth.jwks'::regclass;

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
