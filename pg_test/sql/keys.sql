-- auth.init and plain DML: what they store, and in which form.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
SELECT issuer, audience, algorithms, required_claims, extract(epoch FROM leeway)::int AS leeway, max_age, token_types, enabled FROM auth.issuers;
SELECT kid, alg, thumbprint, expires_at FROM auth.jwks ORDER BY kid;
-- They are stored in the order of the set, so that dumps of the same set are the same.
SELECT string_agg(kid, ' ' ORDER BY ctid) = (SELECT string_agg(k ->> 'kid', ' ' ORDER BY n)
         FROM jsonb_array_elements(:'jwks'::jsonb -> 'keys') WITH ORDINALITY AS e(k, n)) AS in_order
  FROM auth.jwks;

-- Unchanged input writes nothing, not even a transaction id; a null audience keeps what is stored.
BEGIN;
SELECT auth.init(:'jwks', issuer => :'issuer');
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS wrote_nothing;
COMMIT;
SELECT audience FROM auth.issuers;

-- A rotation: keys that are no longer in the set are withdrawn. Keys that stay keep created_at and
-- expires_at.
UPDATE auth.jwks SET created_at = '2026-01-01', expires_at = '2100-01-01' WHERE kid IN ('ed-1', 'es-1');
SELECT auth.init(jsonb_build_object('keys', (
           SELECT jsonb_agg(CASE k ->> 'kid' WHEN 'es-1' THEN k - 'alg' ELSE k END)
             FROM jsonb_array_elements(:'jwks'::jsonb -> 'keys') k WHERE k ->> 'kid' <> 'rsa-1')),
       issuer => :'issuer', audience => '{other-app}');
SELECT kid, alg, created_at = '2026-01-01' AS kept, expires_at IS NOT NULL AS expires FROM auth.jwks ORDER BY kid;
SELECT audience FROM auth.issuers;
-- Keys that have expired are not trusted.
UPDATE auth.jwks SET expires_at = now() WHERE kid = 'ed-1';
SELECT auth.init((SELECT jsonb_build_object('keys', jsonb_agg(jwk)) FROM auth.jwks), issuer => :'issuer');

-- Two keys exchange their kids: no intermediate state causes a conflict.
DELETE FROM auth.issuers;
\set a '{"kty":"OKP","crv":"Ed25519","x":"9wNuXCqeWjcVsErMJHEZcDK7AwJfyYjPHabGJ4vvDhg"}'
\set b '{"kty":"OKP","crv":"Ed25519","x":"TBtcSsy_0jgUO5ubew9WbjoVb2cxC_zWIZgIzdNwNR4"}'
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb || '{"kid":"1"}', :'b'::jsonb || '{"kid":"2"}')));
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb || '{"kid":"2"}', :'b'::jsonb || '{"kid":"1"}')));
SELECT kid, jwk ->> 'x' FROM auth.jwks ORDER BY kid;

-- One JWK is a set of one. Without kid, alg or use (as Better Auth stores them) it is a key too.
SELECT auth.init(:'a', issuer => 'https://better-auth.example.com');
INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('https://better-auth.example.com', 'row-id', :'b')
    RETURNING kid, alg, thumbprint;
-- The owner may pin an algorithm, if the key takes it.
UPDATE auth.jwks SET alg = 'EdDSA' WHERE kid = 'row-id' RETURNING alg;
UPDATE auth.jwks SET alg = 'RS256' WHERE kid = 'row-id';
-- Another JWK in the same row brings its own kid and alg; the thumbprint is updated too.
UPDATE auth.jwks SET jwk = :'b'::jsonb || '{"kid":"own","alg":"Ed25519"}' WHERE kid = 'row-id'
    RETURNING kid, alg, thumbprint;
UPDATE auth.jwks SET thumbprint = 'x', kid = 'other' WHERE kid = 'own';
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.jwks SET thumbprint = 'x' WHERE kid = 'own' RETURNING thumbprint;

-- Keys that cannot be used are named and skipped.
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(
    :'a'::jsonb, '{"kty":"wat","kid":"odd"}'::jsonb, '{"kty":"EC","crv":"secp256k1"}'::jsonb,
    :'b'::jsonb || '{"use":"enc"}')));

-- Refused, and nothing changed.
SELECT auth.init('{"keys":[{"kty":"wat"}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.init('{"keys":[]}');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.init('[]');
SELECT auth.init('{}');
SELECT auth.init('null');
SELECT auth.init(NULL);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT auth.init(:'a', issuer => NULL);
SELECT auth.init(:'a', issuer => '');
SELECT auth.init(:'a', issuer => 'https://new.example.com', audience => '{}');
SELECT auth.init(:'a', issuer => 'https://new.example.com', audience => '{NULL}');
\set VERBOSITY default
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb, :'b'::jsonb || '{"d":"AA"}')));
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT auth.init(:'a');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) FROM auth.jwks WHERE issuer = '*';
SELECT count(*) FROM auth.issuers WHERE issuer = 'https://new.example.com';

-- Plain DML and COPY apply the same rules.
INSERT INTO auth.jwks (issuer, jwk) VALUES ('*', '{"kty":"OKP","crv":"Ed25519","x":"AAAA"}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('*', 'mine', :'b'::jsonb || '{"kid":"its"}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO auth.jwks (issuer, jwk) VALUES ('nobody', :'a');
\set VERBOSITY terse
INSERT INTO auth.jwks (issuer, jwk) VALUES ('*', NULL);
\set VERBOSITY default
INSERT INTO auth.jwks (issuer, jwk) VALUES ('*', :'b'::jsonb || '{"kid":"twice"}');
INSERT INTO auth.jwks (issuer, jwk) VALUES
    ('*', '{"kty":"OKP","crv":"Ed25519","kid":"twice","x":"ebVWLo_mVPlAeLES6KmLp5AfhTrmlb7X4OORC60ElmQ"}');
\echo :LAST_ERROR_SQLSTATE
-- One statement with two such keys is refused too.
INSERT INTO auth.jwks (issuer, jwk) VALUES
    ('*', '{"kty":"OKP","crv":"Ed25519","kid":"pair","x":"ebVWLo_mVPlAeLES6KmLp5AfhTrmlb7X4OORC60ElmQ"}'),
    ('*', '{"kty":"OKP","crv":"Ed25519","kid":"pair","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}');
\echo :LAST_ERROR_SQLSTATE
COPY auth.jwks (issuer, jwk) FROM stdin;
*	{"kty":"RSA","n":"AQAB","e":"AQAB"}
\.
\echo :LAST_ERROR_SQLSTATE

-- One key under several names counts under each, from a set or by SQL, and for a token without kid.
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb || '{"kid":""}', :'a'::jsonb || '{"kid":"abc"}',
    :'a'::jsonb || '{"kid":"abc","alg":"EdDSA"}', :'a'::jsonb, :'b'::jsonb || '{"kid":"b"}')), issuer => 'https://names.example');
SELECT kid, alg, name, left(thumbprint, 6) AS key FROM auth.jwks WHERE issuer = 'https://names.example' ORDER BY name COLLATE "C", key;
INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('https://names.example', 'by hand', :'a') RETURNING name;
INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('https://names.example', 'by hand', :'a');
INSERT INTO auth.jwks (issuer, kid, jwk) VALUES ('https://names.example', 'abc', :'b');
-- The row that an UPDATE changes is the only one that it may contradict.
UPDATE auth.jwks SET jwk = :'b'::jsonb || '{"kid":"by hand"}' WHERE kid = 'by hand' RETURNING name;
INSERT INTO auth.jwks (issuer, kid, jwk, alg) VALUES ('https://names.example', 'by hand', :'b', 'EdDSA') RETURNING name;
UPDATE auth.jwks SET jwk = :'a'::jsonb || '{"kid":"by hand"}' WHERE name = ':by hand';
-- The same set again writes nothing; a name that is gone goes, and the key stays, until the time that was set by hand.
BEGIN;
SELECT auth.init((SELECT jsonb_build_object('keys', jsonb_agg(jwk)) FROM auth.jwks WHERE issuer = 'https://names.example'), issuer => 'https://names.example');
SELECT pg_current_xact_id_if_assigned() IS NULL AS wrote_nothing;
COMMIT;
UPDATE auth.jwks SET expires_at = '2100-01-01' WHERE issuer = 'https://names.example' AND kid = 'abc';
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb || '{"kid":"abc"}', :'a'::jsonb || '{"kid":"new"}', :'b')), issuer => 'https://names.example');
SELECT kid, alg, expires_at IS NOT NULL AS ends FROM auth.jwks WHERE issuer = 'https://names.example' ORDER BY kid;
-- Deleted under one name, it is withdrawn under all.
DELETE FROM auth.jwks WHERE kid = 'new';
SELECT kid, name FROM auth.jwks WHERE issuer = 'https://names.example';
-- Two rows exchange their keys in one statement, which withdraws none.
SELECT auth.init(jsonb_build_object('keys', jsonb_build_array(:'a'::jsonb || '{"kid":"1"}', :'b'::jsonb || '{"kid":"2"}')), issuer => 'https://names.example');
UPDATE auth.jwks SET kid = NULL, jwk = CASE WHEN kid = '1' THEN :'b'::jsonb ELSE :'a'::jsonb END WHERE issuer = 'https://names.example';
SELECT count(*) FROM auth.jwks WHERE issuer = 'https://names.example';
DELETE FROM auth.issuers WHERE issuer = 'https://names.example';

-- Secrets only for an issuer that names an HS algorithm.
\set secret '{"kty":"oct","k":"lHgP46wzVGDqg-EFAXHEAidosX9JRwrQeoHBAqbcxBijVR0tN8vSeWDDCXGxYw-h0s9qd_HGT66YJ2tXqOX8Pw"}'
SELECT auth.init(:'secret', issuer => 'https://hs.example.com');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO auth.issuers (issuer) VALUES ('https://hs.example.com');
INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://hs.example.com', :'secret');
-- The statement that the hint proposes.
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://hs.example.com', '{HS256}') ON CONFLICT (issuer) DO UPDATE SET algorithms = excluded.algorithms;
SELECT auth.init(:'secret', issuer => 'https://hs.example.com');
\set VERBOSITY terse
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://odd.example.com', '{none}');
-- The library says which are known: each of them, as it writes them, and no other.
SELECT algorithms, auth.algorithms_are_known(algorithms) FROM (VALUES
    ('{RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,Ed25519,HS256,HS384,HS512}'::text[]),
    ('{RS256,XX256}'), ('{es256}'), ('{"ES256 "}'), ('{{ES256},{none}}'), ('{""}')) AS v (algorithms);
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://odd.example.com', '{}');
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://odd.example.com', '{ES256,NULL}');
INSERT INTO auth.issuers (issuer, leeway) VALUES ('https://odd.example.com', '-1 s');
INSERT INTO auth.issuers (issuer, max_age) VALUES ('https://odd.example.com', '0');

-- Deleting or renaming an issuer does the same to its keys.
DELETE FROM auth.issuers WHERE issuer = 'https://hs.example.com';
UPDATE auth.issuers SET issuer = 'https://renamed.example.com' WHERE issuer = '*';
SELECT issuer, count(*) FROM auth.jwks GROUP BY 1 ORDER BY 1;
