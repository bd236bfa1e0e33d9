-- Bob sends odd tokens.
\i fixtures/hostile.sql

-- 1. parts missing, empty, or too many
SELECT t, refusal(t) FROM unnest(ARRAY['.', '..', '...', 'a', 'a.b', '.a.', 'a..b', 'a.b.c', 'a.b.c.d', 'null', '{}', '""']) t;
-- 2. a good token with other characters around it
SELECT refusal(:'bob'), refusal(:'bob' || ' '), refusal(E'\n' || :'bob'), refusal(:'bob' || '.'), refusal(:'bob' || '='),
       refusal('Bearer ' || :'bob'), refusal('"' || :'bob' || '"'), refusal(:'bob' || chr(8203)), refusal(chr(65279) || :'bob'),
       refusal(translate(:'bob', '-_', '+/')), refusal(upper(:'bob')), refusal(:'bob' || E'\r\n');
-- 3. headers that are not JSON objects, or with unexpected members
SELECT h, refusal(b64(h) || '.' || split_part(:'bob', '.', 2) || '.' || split_part(:'bob', '.', 3))
  FROM unnest(ARRAY['', '{', '[]', '"x"', '1', '{}', '{"alg":1}', '{"alg":null}', '{"alg":"nOnE"}', '{"alg":"EdDSA","alg":"none"}',
      '{"alg":"EdDSA","kid":["ed-1"]}', '{"alg":"EdDSA","kid":"ed-1","crit":["exp"]}', '{"alg":"EdDSA","kid":"ed-1","b64":false}',
      '{"alg":"EdDSA","kid":"../../ed-1"}', '{"alg":"EdDSA","kid":"'' OR true --"}', '{"alg":"EdDSA","kid":"%s%n"}', '{"alg":"EdDSA","typ":"x"}']) h;
-- 4. the same for payloads; none is accepted, because the signature does not match
SELECT p, refusal(split_part(:'bob', '.', 1) || '.' || b64(p) || '.' || split_part(:'bob', '.', 3))
  FROM unnest(ARRAY['', 'null', '[]', '{', '{}', '{"iss":1}', '{"iss":"https://auth.example.com","exp":1e999999999}',
      '{"iss":"https://auth.example.com","exp":-1}', '{"iss":"https://auth.example.com","n":1e-999999}',
      '{"iss":"https://auth.example.com","s":"\ud800"}', '{"iss":"https://auth.example.com","s":"\u0000"}', '{"sub":"a","sub":"b"}']) p;
-- 5. bytes that are not text
SELECT refusal(convert_from('\x00', 'UTF8'));
SELECT refusal(convert_from('\xff', 'UTF8'));
SELECT refusal(E'a\000b');
SELECT refusal(convert_from('\xff', 'LATIN1')), refusal(b64('\xff00fe'::bytea) || '.' || b64('\xff'::bytea) || '.AA');
SELECT refusal(repeat(chr(1114111), 3)), refusal(E'\x01.\x02.\x03'), refusal('<script>.%p%n.');
-- 6. all lengths, and a long one by SET
SELECT n, refusal(repeat('a', n)), refusal(repeat('.', n)), refusal(repeat('é', n))
  FROM unnest(ARRAY[1, 1000, 65535, 65536, 65537, 1048576, 16777216]) n;
SELECT refusal(split_part(:'bob', '.', 1) || '.' || b64('{"x":"' || repeat('x', 49000) || '"}') || '.AA'),
       refusal(b64('{"alg":"EdDSA","kid":"' || repeat('k', 45000) || '"}') || '.e30.AA');
SELECT repeat('ey.', 350000) AS huge \gset
BEGIN;
SET LOCAL pg_auth_jwt.token = :'huge';
SELECT auth.uid();
ROLLBACK;
:mine
-- 7. deep, wide and repetitive JSON
SELECT refusal(b64('{"alg":"EdDSA","x":' || repeat('[', 20000)) || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA","kid":"ed-1","x":' || repeat('[', 127) || repeat(']', 127) || '}') || '.e30.AA'),
       refusal(b64(repeat('{"a":', 9000)) || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA"' || repeat(',"a":1', 7000) || '}') || '.e30.AA'),
       refusal(b64('{"alg":"EdDSA","n":' || repeat('9', 40000) || '}') || '.e30.AA');
-- 8. 20,000 different tokens change nothing
SELECT DISTINCT substr(refusal(:'bob' || n), 1, 5) FROM generate_series(1, 20000) n ORDER BY 1;
:mine

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
