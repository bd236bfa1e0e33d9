-- Each refusal with its SQLSTATE, from jwt_session_init, from a claim function and from auth.verify alike.
\i fixtures/pyjwt.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');

-- Every algorithm of the library is accepted.
SELECT auth.verify(:'alice_rs256') ->> 'email', auth.verify(:'alice_rs384') ->> 'email',
       auth.verify(:'alice_rs512') ->> 'email', auth.verify(:'alice_ps256') ->> 'email',
       auth.verify(:'alice_ps384') ->> 'email', auth.verify(:'alice_ps512') ->> 'email',
       auth.verify(:'alice_es384') ->> 'email', auth.verify(:'alice_es512') ->> 'email',
       auth.verify(:'alice_eddsa') ->> 'email', auth.verify(:'bob') ->> 'email';

-- 28J01 malformed
SELECT auth.jwt_session_init('not a token');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.jwt_session_init('Bearer ' || :'bob');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.jwt_session_init(' ' || :'bob');
SELECT auth.jwt_session_init(split_part(:'bob', '.', 1) || '.' || split_part(:'bob', '.', 2) || '.');
SELECT auth.jwt_session_init(repeat('x', 70000));
SELECT auth.jwt_session_init('é.é.é');
-- 28J02 algorithm
UPDATE auth.issuers SET algorithms = '{ES256}';
SELECT auth.verify(:'alice_rs256');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET algorithms = NULL;
-- 28J03 key
SELECT auth.verify(:'other_issuer');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET enabled = false;
SELECT auth.verify(:'bob');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET enabled = true;
BEGIN;
DELETE FROM auth.jwks;
SELECT auth.verify(:'bob');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT auth.verify(:'bob') ->> 'email';
-- 28J04 signature
SELECT auth.verify(split_part(:'bob', '.', 1) || '.' || split_part(:'bob', '.', 2) || '.' || split_part(:'alice_rs256', '.', 3));
\echo :LAST_ERROR_SQLSTATE
-- 28J05 expired
SELECT auth.verify(:'expired');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET max_age = '1 s';
SELECT auth.verify(:'bob') IS NULL;
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET max_age = NULL;
-- 28J08 audience
SELECT auth.verify(:'other_audience');
\echo :LAST_ERROR_SQLSTATE
-- 28J09 another claim
UPDATE auth.issuers SET required_claims = '{exp,amr}';
SELECT auth.verify(:'bob');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET required_claims = '{exp}';
-- A date after the year 9999 is in milliseconds. Signed with a shared secret: {"alg":"HS256"}, 32 times the letter k.
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://hs.example', '{HS256}');
SELECT auth.init('{"kty":"oct","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}', 'https://hs.example', '{my-app}');
CREATE FUNCTION base64url(bytes bytea) RETURNS text LANGUAGE sql AS
    $$ SELECT rtrim(translate(encode(bytes, 'base64'), E'+/\n', '-_'), '=') $$;
CREATE FUNCTION hs256(claims text, header text DEFAULT '{"alg":"HS256"}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    key CONSTANT bytea := convert_to(repeat('k', 32), 'UTF8') || decode(repeat('00', 32), 'hex');
    inner_pad bytea := key;
    outer_pad bytea := key;
    signed CONSTANT text := base64url(convert_to(header, 'UTF8')) || '.' || base64url(convert_to(claims, 'UTF8'));
BEGIN
    FOR i IN 0..63 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
    END LOOP;
    RETURN signed || '.' || base64url(sha256(outer_pad || sha256(inner_pad || convert_to(signed, 'UTF8'))));
END $$;
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":253402300799}')) ->> 'exp';
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":253402300800}'));
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"iat":1767225600000}'));
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"nbf":1e300}'));
\echo :LAST_ERROR_SQLSTATE

-- One key under several names is one key: with kid and without, and withdrawn under all.
SELECT auth.init('{"keys":[{"kty":"oct","kid":"","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"},
    {"kty":"oct","kid":"abc","alg":"HS256","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}]}', 'https://hs.example');
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"n":1}')) ->> 'n' AS without,
       auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"n":2}', '{"alg":"HS256","kid":""}')) ->> 'n' AS empty,
       auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"n":3}', '{"alg":"HS256","kid":"abc"}')) ->> 'n' AS abc;
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800}', '{"alg":"HS256","kid":"other"}'));
DELETE FROM auth.jwks WHERE kid = 'abc';
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"n":2}', '{"alg":"HS256","kid":""}'));

-- 28J07 a key that states another issuer, as those of Microsoft Entra ID do, from each source.
SELECT auth.init('{"kty":"oct","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s","issuer":"https://{tenantid}.example"}', 'https://hs.example');
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"tid":"hs"}')) ->> 'tid';
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"tid":"other"}'));
\echo :LAST_ERROR_SQLSTATE
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800}'));
UPDATE auth.jwks SET jwk = jwk || '{"issuer": 7}' WHERE issuer = 'https://hs.example';
CREATE TABLE entra_keys (id text, public_key text);
INSERT INTO entra_keys SELECT 'k', jwk FROM auth.jwks WHERE issuer = 'https://hs.example';
SELECT auth.follow('entra_keys', 'https://hs.example', '{my-app}');
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"tid":"hs"}')) ->> 'tid';
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"tid":"other"}'));
UPDATE entra_keys SET public_key = public_key::jsonb || '{"issuer": null}';
SELECT auth.verify(hs256('{"iss":"https://hs.example","aud":"my-app","exp":4102444800,"tid":"hs"}'));
SELECT auth.unfollow('https://hs.example');

-- Advice names what helps with the issuer's own source: auth.init, a table, a URL; errors and auth.inspect in the same words.
SET client_min_messages = error;
INSERT INTO auth.issuers (issuer, audience) VALUES ('https://loaded.example', '{my-app}');
CREATE TABLE followed_keys (id text, public_key text, expires_at timestamptz);
SELECT auth.follow('followed_keys', 'https://followed.example', '{my-app}');
SELECT auth.follow_url('https://url.example', audience => '{my-app}');
RESET client_min_messages;
CREATE FUNCTION told(issuer text, header text) RETURNS TABLE (inspect text, hint text) LANGUAGE plpgsql AS $$
DECLARE token CONSTANT text := hs256(format('{"iss":"%s","aud":"my-app","exp":4102444800}', issuer), header);
BEGIN
    inspect := (SELECT detail FROM auth.inspect(token) WHERE NOT ok LIMIT 1);
    PERFORM auth.verify(token);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN NEXT;
END $$;
\x on
SELECT issuer, told.* FROM unnest('{loaded,followed,url,unknown}'::text[]) AS issuer,
       told(format('https://%s.example', issuer), '{"alg":"ES256","kid":"k"}');
SELECT issuer, told.* FROM unnest('{loaded,followed,url}'::text[]) AS issuer,
       told(format('https://%s.example', issuer), '{"alg":"HS256","kid":"k"}');
INSERT INTO followed_keys VALUES ('ended', '{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}', '2020-01-01');
SELECT told.* FROM told('https://followed.example', '{"alg":"ES256","kid":"ended"}');
\x off
-- Texts that are no token: the HINT says what they are, and shows nothing of them.
CREATE FUNCTION hint_of(token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    PERFORM auth.jwt_session_init(token);
    RETURN 'accepted';
EXCEPTION WHEN SQLSTATE '28J01' THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN hint;
END $$;
SELECT what, hint_of(token) AS hint FROM (VALUES
    ('Bearer', 'Bearer ' || :'bob'), ('quotes', '"' || :'bob' || '"'), ('line break', :'bob' || E'\n'),
    ('percent', replace(:'bob', '.', '%2E')), ('JSON', '{"access_token":"' || :'bob' || '"}'), ('undefined', 'undefined'), ('null', 'null'),
    ('opaque', 'gho_16C7e42F292c6912E7710c838347Ae178B4a'), ('cookie', 'n7yJkQ2b8wVx0cTzR4mLpA5sDfGhJkQe.Zm9vYmFyYmF6cXV4'),
    ('JWE', 'eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA'), ('no signature', split_part(:'bob', '.', 1) || '.' || split_part(:'bob', '.', 2)),
    ('padded', split_part(:'bob', '.', 1) || '=.' || split_part(:'bob', '.', 2) || '.' || split_part(:'bob', '.', 3))) AS v (what, token);

DELETE FROM auth.issuers WHERE issuer IN ('https://loaded.example', 'https://followed.example', 'https://url.example', 'https://hs.example');

-- A claim function raises what jwt_session_init raises, and goes on raising.
SET pg_auth_jwt.token = :'other_audience';
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
SELECT auth.session();
\echo :LAST_ERROR_SQLSTATE
RESET pg_auth_jwt.token;
SELECT auth.session() IS NULL AS anonymous;

-- A leeway makes up for a different clock, and for nothing else.
UPDATE auth.issuers SET leeway = '200 years';
SELECT auth.verify(:'expired') ->> 'email';
UPDATE auth.issuers SET leeway = '0 s';
SELECT auth.verify(:'expired') ->> 'email';
\echo :LAST_ERROR_SQLSTATE

-- The row for any issuer.
DELETE FROM auth.issuers;
SELECT auth.init(:'jwks');
SELECT auth.verify(:'other_issuer') ->> 'iss';
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer');
-- The row of the exact name has precedence over '*', also when it is disabled.
UPDATE auth.issuers SET enabled = false WHERE issuer = :'issuer';
SELECT auth.verify(:'alice');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET enabled = true;
SELECT auth.verify(:'alice') ->> 'email';
SELECT auth.verify(:'not_yet');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.verify(:'removed_key');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.verify(:'forged');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.verify(NULL) IS NULL;

-- Texts that are given for a JWKS and are none.
SELECT auth.init(to_jsonb(text '-----BEGIN PUBLIC KEY-----'), 'https://i.example');
SELECT auth.init(to_jsonb(text 'https://i.example/.well-known/jwks.json'), 'https://i.example');
SELECT auth.init(to_jsonb(text '<html>'), 'https://i.example');
SELECT auth.init(to_jsonb(text 'eyJhbGciOiJFZERTQSJ9.e30.AA'), 'https://i.example');
SELECT auth.init('{"issuer": "https://i.example", "jwks_uri": "https://i.example/jwks"}', 'https://i.example');
SELECT auth.init('{"error": "not found"}', 'https://i.example');

-- auth.inspect of a sub that is no uuid, and of one that is.
SELECT split_part(detail, 'unverified: ', 2) AS sub FROM auth.inspect('eyJhbGciOiJFZERTQSJ9.'
    || rtrim(translate(encode('{"iss":"https://auth.example.com","sub":"alice"}', 'base64'), E'+/\n', '-_'), '=') || '.AA') WHERE step = 'sub';
SELECT detail FROM auth.inspect(:'alice') WHERE step = 'sub';
