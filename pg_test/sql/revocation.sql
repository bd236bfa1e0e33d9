-- Revoked tokens: who is refused, by which claim, and until when.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
-- Signed with a shared secret: {"alg":"HS256"}, 32 times the letter k.
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://hs.example', '{HS256}'), ('https://other.example', '{HS256}');
SELECT auth.init('{"kty":"oct","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}', i, '{my-app}')
  FROM unnest('{https://hs.example,https://other.example}'::text[]) AS i;
CREATE FUNCTION base64url(bytes bytea) RETURNS text LANGUAGE sql AS
    $$ SELECT rtrim(translate(encode(bytes, 'base64'), E'+/\n', '-_'), '=') $$;
CREATE FUNCTION hs256(claims jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    key CONSTANT bytea := convert_to(repeat('k', 32), 'UTF8') || decode(repeat('00', 32), 'hex');
    inner_pad bytea := key;
    outer_pad bytea := key;
    claims CONSTANT jsonb := '{"iss":"https://hs.example","aud":"my-app","exp":4102444800}' || claims;
    signed CONSTANT text := base64url('{"alg":"HS256"}') || '.' || base64url(convert_to(claims::text, 'UTF8'));
BEGIN
    FOR i IN 0..63 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
    END LOOP;
    RETURN signed || '.' || base64url(sha256(outer_pad || sha256(inner_pad || convert_to(signed, 'UTF8'))));
END $$;
-- 'good', or the SQLSTATE and the DETAIL without its times.
CREATE FUNCTION verdict(claims jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM auth.verify(hs256(claims));
    RETURN 'good';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || regexp_replace(detail, '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? UTC', 'TIME', 'g');
END $$;
CREATE FUNCTION at(length interval) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT jsonb_build_object('iat', floor(extract(epoch FROM clock_timestamp() + length))) $$;

-- Each claim, and not the same value of another claim, or of another issuer.
SELECT auth.revoke('https://hs.example', jti => 'one');
SELECT auth.revoke('https://hs.example', sub => 'two');
SELECT auth.revoke('https://hs.example', sid => 'three');
SELECT verdict(c) FROM unnest('{"{\"jti\":\"one\"}","{\"sub\":\"two\",\"iat\":1}","{\"sid\":\"three\"}","{\"session_id\":\"three\"}",
    "{\"sid\":\"x\",\"session_id\":\"three\"}"}'::jsonb[]) AS c;
SELECT verdict(c) FROM unnest('{"{\"jti\":\"two\"}","{\"sub\":\"three\"}","{\"sid\":\"one\"}","{\"jti\":\"One\"}","{\"jti\":\"one \"}",
    "{\"iss\":\"https://other.example\",\"jti\":\"one\"}","{}"}'::jsonb[]) AS c;
-- A claim that is a number has the name that it is written with, also if no float and no integer of 64 bits has its digits.
SELECT auth.revoke('https://hs.example', jti => '42'), auth.revoke('https://hs.example', sid => '-7');
SELECT verdict('{"jti":42}'), verdict('{"sid":-7}'), verdict('{"jti":42.5}');
SELECT auth.revoke('https://hs.example', jti => '42.50'), auth.revoke('https://hs.example', jti => '340282366920938463463374607431768211455');
SELECT verdict('{"jti":42.50}'), verdict('{"jti":42.5}'), verdict('{"jti":"42.50"}'),
       verdict('{"jti":340282366920938463463374607431768211455}'), verdict('{"jti":340282366920938463463374607431768211454}');
SELECT auth.unrevoke('https://hs.example', jti => '42.50'), auth.unrevoke('https://hs.example', jti => '340282366920938463463374607431768211455');
SELECT auth.unrevoke('https://hs.example', jti => 'one'), auth.unrevoke('https://hs.example', sub => 'two'), auth.unrevoke('https://hs.example', sid => 'three');
SELECT verdict('{"jti":"one"}'), verdict('{"sub":"two"}'), verdict('{"sid":"three"}');
SELECT auth.unrevoke('https://hs.example', jti => 'one'), auth.unrevoke_issuer('https://unknown.example'), auth.unrevoke_issuer('https://hs.example');
SELECT auth.unrevoke('https://hs.example', jti => '42'), auth.unrevoke('https://hs.example', sid => '-7');

-- One token, by its signed part: it needs no jti. The token itself is stored nowhere.
SELECT auth.revoke('https://hs.example', token => hs256('{"sub":"a"}'));
SELECT verdict('{"sub":"a"}'), verdict('{"sub":"b"}');
SELECT kind, value = encode(sha256(convert_to(regexp_replace(hs256('{"sub":"a"}'), '\.[^.]*$', ''), 'UTF8')), 'hex') AS digest,
       issued_before, expires_at FROM auth.revocations;
-- ECDSA: the second signature of the same token, (r, n - s), is as good as the first.
CREATE FUNCTION twin(token text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n CONSTANT bytea := '\xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
    encoded text := translate(split_part(token, '.', 3), '-_', '+/');
    signature bytea := decode(encoded || repeat('=', (4 - length(encoded) % 4) % 4), 'base64');
    digit int;
    borrow int := 0;
BEGIN
    FOR i IN REVERSE 31..0 LOOP
        digit := get_byte(n, i) - get_byte(signature, 32 + i) - borrow;
        borrow := (digit < 0)::int;
        signature := set_byte(signature, 32 + i, digit + 256 * borrow);
    END LOOP;
    RETURN regexp_replace(token, '\.[^.]*$', '') || '.' || base64url(signature);
END $$;
SELECT auth.verify(:'alice') ->> 'email', auth.verify(twin(:'alice')) ->> 'email', twin(:'alice') = :'alice' AS same;
SELECT auth.revoke(:'issuer', token => :'alice');
SELECT auth.verify(:'alice');
SELECT auth.verify(twin(:'alice'));
\echo :LAST_ERROR_SQLSTATE
SELECT auth.unrevoke(:'issuer', token => twin(:'alice'));
SELECT auth.verify(:'alice') ->> 'email';

-- All tokens of the issuer; * stands for every issuer.
SELECT auth.revoke_issuer('https://hs.example');
SELECT verdict('{"sub":"x","iat":1}'), verdict('{"iss":"https://other.example","sub":"x","iat":1}');
SELECT auth.unrevoke_issuer('https://hs.example');
SELECT auth.revoke('*', sub => 'x');
SELECT verdict('{"sub":"x","iat":1}'), verdict('{"iss":"https://other.example","sub":"x","iat":1}'), verdict('{"sub":"y","iat":1}');
SELECT auth.unrevoke('*', sub => 'x');

-- Tokens issued before the time, the leeway of a clock that is ahead included; not those of later.
SELECT auth.revoke('https://hs.example', sub => 'u');
SELECT verdict('{"sub":"u"}' || at('-1 h'));
SELECT verdict('{"sub":"u"}' || at('50 s'));
SELECT verdict('{"sub":"u"}') AS without_iat;
SELECT auth.revoke('https://hs.example', sub => 'v', issued_before => now() - interval '10 min');
SELECT verdict('{"sub":"v"}' || at('-11 min')) ~ '28J10', verdict('{"sub":"v"}' || at('-9.5 min')) ~ '28J10', verdict('{"sub":"v"}' || at('-8 min'));
-- In a transaction that has begun earlier, up to the call and not up to the transaction's start.
BEGIN;
SELECT pg_sleep(0.01);
SELECT auth.revoke('https://hs.example', sub => 'w');
SELECT issued_before > now() AS after_its_start FROM auth.revocations WHERE value = 'w';
ROLLBACK;
-- Fractions, and numbers that no clock has.
SELECT auth.revoke('https://hs.example', sub => 'f', issued_before => '2026-01-01 00:00:00.5 UTC');
SELECT left(i::text, 14) AS iat, verdict(jsonb_build_object('sub', 'f', 'iat', i)) ~ '28J10' AS revoked
  FROM unnest('{1767225600,1767225660,1767225660.25,1767225660.75,1767225661,-1,-1e300,0.5}'::numeric[]) AS i;
-- No row hides another, in whatever order they come.
SELECT auth.revoke('https://hs.example', sub => 'n', issued_before => '2026-02-01', expires_at => '2100-01-01');
SELECT auth.revoke('https://hs.example', sub => 'n', issued_before => '2026-01-01');
SELECT auth.revoke('https://hs.example', sub => 'n', issued_before => '2026-01-01', expires_at => '2026-01-02');
SELECT issued_before, expires_at FROM auth.revocations WHERE value = 'n' ORDER BY 1;
SELECT verdict('{"sub":"n","iat":1767225000}') ~ '28J10' AS january, verdict('{"sub":"n","iat":1769000000}') ~ '28J10' AS february,
       verdict('{"sub":"n","iat":1772000000}') AS later;
-- One that covers the others takes their place.
SELECT auth.revoke('https://hs.example', sub => 'n', issued_before => 'infinity');
SELECT issued_before, expires_at FROM auth.revocations WHERE value = 'n';
SELECT verdict('{"sub":"n","iat":1772000000}');

-- A row counts until its tokens have expired, the leeway included.
INSERT INTO auth.revocations (issuer, kind, value, expires_at)
VALUES ('https://hs.example', 'sid', 'ended', now() - interval '61 s'), ('https://hs.example', 'sid', 'ends', now() - interval '30 s'),
       ('https://hs.example', 'sid', 'for ever', 'infinity');
SELECT value, state, verdict(jsonb_build_object('sid', value)) ~ '28J10' AS revoked FROM auth.revocation_status WHERE kind = 'sid' ORDER BY 1;
-- A revocation never ends before the token that it is for, nor before max_age says that its tokens do.
SELECT auth.revoke('https://hs.example', token => hs256('{"sub":"e"}'), expires_at => now() + interval '1 min');
SELECT expires_at FROM auth.revocations WHERE kind = 'token' AND revoked_at > now() - interval '1 min' ORDER BY revoked_at DESC LIMIT 1;
UPDATE auth.issuers SET max_age = '1 h' WHERE issuer = 'https://hs.example';
SELECT auth.revoke('https://hs.example', sub => 'm', issued_before => '2100-01-01 12:00:00'),
       auth.revoke('https://hs.example', sub => 'k', issued_before => '2100-01-01 12:00:00', expires_at => '2100-01-01 12:10:00'),
       auth.revoke('https://hs.example', sub => 'l', issued_before => '2100-01-01 12:00:00', expires_at => '2100-01-01 18:00:00'),
       auth.revoke('https://hs.example', sub => 'banned', issued_before => 'infinity');
SELECT value, expires_at FROM auth.revocations WHERE value IN ('m', 'k', 'l', 'banned') ORDER BY 1;
UPDATE auth.issuers SET max_age = NULL WHERE issuer = 'https://hs.example';
-- One that has ended before it begins is warned of; not of a token that has expired by itself, nor during the leeway.
SELECT auth.revoke('https://hs.example', sid => 'past', expires_at => '2020-01-01 12:00:00 UTC');
SELECT auth.revoke_issuer('*', expires_at => '2020-01-01 12:00:00 UTC'), auth.revoke('https://hs.example', sub => 'past', expires_at => '-infinity');
SELECT auth.revoke('https://hs.example', sid => 'past', expires_at => now() - interval '30 s'),
       auth.revoke_issuer('*', expires_at => now() - interval '30 s'),
       auth.revoke('https://hs.example', token => hs256('{"exp":1577880000}'), expires_at => '2020-01-01 12:00:00 UTC');

-- Rows that have run out are deleted by the next call, a hundred at a time, after another day.
DELETE FROM auth.revocations;
INSERT INTO auth.revocations (issuer, kind, value, expires_at)
SELECT 'https://hs.example', 'jti', n, now() - interval '2 days' FROM generate_series(1, 250) AS n
UNION ALL
SELECT 'https://gone.example', 'jti', n, now() - interval '1 h' FROM generate_series(1, 5) AS n;
SELECT auth.revoke('https://hs.example', jti => 'next');
SELECT issuer, count(*) FROM auth.revocations GROUP BY 1 ORDER BY 1;
SELECT auth.revoke('https://hs.example', jti => 'next'), auth.revoke('https://hs.example', jti => 'next');
SELECT issuer, count(*) FROM auth.revocations GROUP BY 1 ORDER BY 1;
-- In a transaction with an old snapshot nothing else is touched.
INSERT INTO auth.revocations (issuer, kind, value, expires_at) VALUES ('https://hs.example', 'jti', 'old', now() - interval '2 days');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT auth.revoke('https://hs.example', jti => 'next');
COMMIT;
SELECT count(*) FROM auth.revocations WHERE value = 'old';
DELETE FROM auth.revocations;

-- With more rows than a few pages, by the index.
INSERT INTO auth.revocations (issuer, kind, value, issued_before)
SELECT 'https://hs.example', (ARRAY['jti', 'sub', 'sid'])[1 + n % 3], 'v' || n, 'infinity' FROM generate_series(1, 3000) AS n;
SELECT verdict('{"jti":"v999"}'), verdict('{"jti":"v1000"}'), verdict('{"sub":"v1000"}'), verdict('{"sub":"v3001"}'), verdict('{"session_id":"v2"}');
DELETE FROM auth.revocations;

-- The session's token: cached, in an open transaction, and by each function that reads it.
SELECT auth.jwt_session_init(hs256('{"sub":"me","sid":"s1"}'));
SELECT auth.user_id();
SELECT auth.revoke('https://hs.example', sid => 's1', reason => 'stolen laptop');
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
SELECT auth.jwt();
SELECT auth.jwt_session_init(hs256('{"sub":"me","sid":"s1"}'));
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM auth.inspect(hs256('{"sub":"me","sid":"s1"}')) WHERE step = 'revoked';
SELECT * FROM auth.inspect(hs256('{"sub":"me","sid":"s2","jti":"j"}')) WHERE step = 'revoked';
SELECT auth.unrevoke('https://hs.example', sid => 's1');
SELECT auth.user_id();
-- A revocation costs other tokens a verdict, and no signature.
CREATE VIEW work AS SELECT sum(count) AS count FROM auth.stats WHERE scope = 'backend' AND event IN ('accepted', 'keys_reread');
SELECT count AS before FROM work \gset
SELECT auth.revoke('https://hs.example', jti => 'of another'), auth.unrevoke('https://hs.example', jti => 'of another');
SELECT auth.user_id();
SELECT count - :before AS verified_again FROM work;
-- A revocation that is rolled back, in whole or in part, revokes nothing.
BEGIN;
SELECT auth.revoke('https://hs.example', sid => 's1');
SAVEPOINT s;
SELECT auth.user_id();
ROLLBACK TO s;
ROLLBACK;
SELECT auth.user_id();
BEGIN;
SAVEPOINT s;
SELECT auth.revoke('https://hs.example', sid => 's1');
ROLLBACK TO s;
SELECT auth.user_id();
COMMIT;
-- So does one whose end is rolled back.
SELECT auth.revoke('https://hs.example', sid => 's1');
BEGIN;
SELECT auth.unrevoke('https://hs.example', sid => 's1');
SELECT auth.user_id();
ROLLBACK;
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
TRUNCATE auth.revocations;
SELECT auth.user_id();
SELECT event, sqlstate, count > 0 AS counted FROM auth.stats WHERE scope = 'backend' AND issuer = 'https://hs.example' AND sqlstate = '28J10';
SELECT auth.jwt_session_init(NULL);

-- Refused: what selects nothing, or too much.
SELECT auth.revoke('https://hs.example', sub => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT auth.revoke('https://hs.example', jti => NULL, sub => NULL, sid => NULL, token => NULL);
SELECT auth.revoke('https://hs.example'), auth.unrevoke('https://hs.example');
SELECT auth.revoke(NULL, sub => 'a');
SELECT auth.revoke_issuer(NULL);
-- A user may have any name, also one that stands for all tokens elsewhere.
SELECT auth.revoke('https://hs.example', sub => '*', issued_before => 'infinity');
SELECT kind, value FROM auth.revocations;
SELECT verdict('{"sub":"*"}'), verdict('{"sub":"anyone"}');
SELECT auth.unrevoke('https://hs.example', sub => '*');
SELECT auth.revoke('https://hs.example', sub => '');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.revoke('https://hs.example', sub => 'a', jti => 'b');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.revoke('https://hs.example/', sub => 'a');
\echo :LAST_ERROR_SQLSTATE
SELECT auth.revoke('https://hs.example', sub => repeat('x', 2000));
SELECT auth.revoke('https://hs.example', token => 'eyJub3QiOiJhIHRva2VuIn0');
SELECT auth.revoke('https://other.example', token => hs256('{"sub":"a"}'));
SELECT auth.unrevoke('https://hs.example', sub => NULL);
-- A NULL beside a claim that is given selects nothing.
SELECT auth.revoke('https://hs.example', NULL, 'a', NULL, NULL);
SELECT kind, value FROM auth.revocations;
BEGIN READ ONLY;
SELECT auth.revoke('https://hs.example', sub => 'a');
ROLLBACK;
\set VERBOSITY terse
INSERT INTO auth.revocations (issuer, kind, value) VALUES ('https://hs.example', 'token', hs256('{}'));
INSERT INTO auth.revocations (issuer, kind, value) VALUES ('https://hs.example', 'iss', 'x');
INSERT INTO auth.revocations (issuer, kind) VALUES ('https://hs.example', 'sub');
INSERT INTO auth.revocations (issuer, kind, value) VALUES ('https://hs.example', 'issuer', 'x');

\set VERBOSITY default

-- An issuer that is deleted, and added again, or renamed, has the revocations of its tokens.
DELETE FROM auth.issuers WHERE issuer = 'https://hs.example';
SELECT issuer, kind, value, state FROM auth.revocation_status;
INSERT INTO auth.issuers (issuer, algorithms) VALUES ('https://hs.example', '{HS256}');
SELECT auth.init('{"kty":"oct","k":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}', 'https://hs.example', '{my-app}');
SELECT verdict('{"sub":"a","iat":1}') ~ '28J10';
DELETE FROM auth.issuers WHERE issuer = 'https://other.example';
UPDATE auth.issuers SET issuer = 'https://other.example' WHERE issuer = 'https://hs.example';
SELECT verdict('{"iss":"https://other.example","sub":"a","iat":1}') ~ '28J10';

-- EXECUTE alone is enough to revoke, for a support desk that may not add a key. Others may not even look.
\c - postgres
BEGIN;
CREATE ROLE support;
GRANT EXECUTE ON FUNCTION auth.revoke(text, text, text, text, text, timestamptz, timestamptz, text) TO support;
SET LOCAL ROLE support;
SELECT auth.revoke('https://other.example', sub => 'b', reason => 'asked by phone');
SAVEPOINT s;
SELECT count(*) FROM auth.revocations;
ROLLBACK TO s;
SELECT auth.unrevoke('https://other.example', sub => 'b');
ROLLBACK TO s;
RESET ROLE;
SELECT kind, value, reason, issued_before = revoked_at AS at_once FROM auth.revocations WHERE value = 'b';
ROLLBACK;
SET ROLE authenticated;
SELECT auth.revoke('https://other.example', sub => 'c');
SELECT count(*) FROM auth.revocation_status;
INSERT INTO auth.revocations (issuer, kind, value) VALUES ('https://other.example', 'sub', 'c');
DELETE FROM auth.revocations;
RESET ROLE;

-- Also where nothing is cached.
SET pg_auth_jwt.cache_size = 0;
SELECT auth.jwt_session_init(hs256('{"iss":"https://other.example","sub":"me","sid":"s1"}'), false);
SELECT auth.revoke('https://other.example', sid => 's1');
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
RESET pg_auth_jwt.cache_size;
SELECT auth.unrevoke('https://other.example', sid => 's1');
SELECT auth.user_id();

-- A table that cannot be read refuses every token. Changes that are not announced are looked for in every statement.
ALTER TABLE auth.revocations RENAME COLUMN value TO other;
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM auth.inspect(hs256('{"iss":"https://other.example"}')) WHERE step = 'revoked';
ALTER TABLE auth.revocations RENAME COLUMN other TO value;
SELECT auth.user_id();
ALTER TABLE auth.revocations RENAME TO others;
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE auth.others RENAME TO revocations;
SELECT auth.user_id();
ALTER TABLE auth.revocations DISABLE TRIGGER revocations_changed;
SELECT auth.user_id();
INSERT INTO auth.revocations (issuer, kind, value, issued_before) VALUES ('https://other.example', 'sid', 's1', 'infinity');
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
SELECT level, code, object, detail, fix FROM auth.lint() WHERE object ~ 'revocations';
ALTER TABLE auth.revocations ENABLE ALWAYS TRIGGER revocations_changed;
DELETE FROM auth.revocations;
SELECT auth.user_id();
-- A table that was written anew announces changes under another name.
CLUSTER auth.revocations USING revocations_pkey;
SELECT auth.user_id();
SELECT auth.revoke('https://other.example', sid => 's1');
SELECT auth.user_id();
\echo :LAST_ERROR_SQLSTATE
