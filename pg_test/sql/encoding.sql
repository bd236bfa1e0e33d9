-- Databases with other encodings: what they can store behaves as in UTF8, the rest is refused.
\set ECHO none
\set cases `cat ../crates/jwt_verify/tests/vectors/cases.json`
CREATE TABLE raw AS SELECT c FROM json_array_elements(:'cases'::json) c WHERE c::text ~ '"name": *"claims-(unicode|unicode-escapes|jti)"';
SELECT max(c ->> 'token') FILTER (WHERE c ->> 'name' = 'claims-unicode') AS unicode,
       max(c ->> 'token') FILTER (WHERE c ->> 'name' = 'claims-unicode-escapes') AS escapes,
       max(c ->> 'token') FILTER (WHERE c ->> 'name' = 'claims-jti') AS ascii,
       jsonb_build_object('keys', jsonb_agg(DISTINCT k)) AS jwks
  FROM raw, jsonb_array_elements((c -> 'jwks' -> 'keys')::jsonb) k \gset
\set ECHO all
\c - postgres
CREATE DATABASE test_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE test_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
\c test_latin1
SET client_min_messages = error;
CREATE EXTENSION pg_auth_jwt;
SELECT auth.init(:'jwks') > 0 AS loaded;
UPDATE auth.issuers SET required_claims = '{}';
SELECT auth.verify(:'ascii') ->> 'jti' IS NOT NULL AS ok;
SELECT auth.verify(:'unicode');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.verify(:'escapes');
\echo :LAST_ERROR_SQLSTATE
-- Names that are not ASCII can be read.
SET client_encoding = 'UTF8';
INSERT INTO auth.issuers (issuer, audience) VALUES ('https://zoë.example', '{Zoë}');
SELECT auth.verify(:'ascii') ->> 'jti' IS NOT NULL AS ok;
-- So can names of columns that the owner has added.
ALTER TABLE auth.issuers ADD COLUMN "größe" int;
ALTER TABLE auth.jwks ADD COLUMN "größe" int;
UPDATE auth.jwks SET created_at = created_at;
SELECT auth.verify(:'ascii') ->> 'jti' IS NOT NULL AS ok;
-- They match nothing: neither each other, nor the text that a message shows in their place.
INSERT INTO auth.issuers (issuer) VALUES ('é'), ('è');
SELECT step, ok, detail FROM auth.inspect('eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJcdWZmZmQifQ.AA') WHERE step = 'issuer';
\c test_ascii
SET client_min_messages = error;
CREATE EXTENSION pg_auth_jwt;
SELECT auth.init(:'jwks') > 0 AS loaded;
UPDATE auth.issuers SET required_claims = '{}';
SELECT auth.verify(:'ascii') ->> 'jti' IS NOT NULL AS ok;
SELECT auth.verify(:'unicode') ->> 'name' IS NOT NULL AS ok;
SELECT auth.verify(:'escapes');
\echo :LAST_ERROR_SQLSTATE
\c postgres
DROP DATABASE test_latin1;
DROP DATABASE test_ascii;
