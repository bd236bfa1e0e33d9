-- The conformance and attack cases of the verifier, end to end: auth.init, then jwt_session_init.
\set ECHO none
\set cases `cat ../crates/jwt_verify/tests/vectors/cases.json`
CREATE TABLE raw AS SELECT c FROM json_array_elements(:'cases'::json) c;
\set ECHO all
-- Postgres does not accept a text with U+0000, so such a token cannot be sent.
DELETE FROM raw WHERE c::text ~ '"token": *"[^"]*\\u0000' RETURNING substring(c::text FROM '"name": *"([^"]*)"') AS name;
CREATE TABLE cases AS
    SELECT c ->> 'name' AS name, c ->> 'group' AS grp, c -> 'jwks' AS jwks, c ->> 'jwks_text' AS jwks_text,
           c ->> 'token' AS token, c ->> 'expect' AS expect, c -> 'opts' AS opts, c -> 'claims' AS claims,
           coalesce((c ->> 'sym')::boolean, false) AS sym, c ->> 'now' AS now
      FROM raw;

CREATE FUNCTION outcome(c cases) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    algs CONSTANT text[] := '{RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA}';
    for_issuer text := coalesce(c.opts ->> 'iss', '*');
    claim record;
BEGIN
    DELETE FROM auth.issuers;
    INSERT INTO auth.issuers (issuer, audience, algorithms, required_claims, leeway, token_types)
    VALUES (for_issuer,
            CASE WHEN c.opts ->> 'aud' IS NOT NULL THEN ARRAY[c.opts ->> 'aud'] END,
            CASE WHEN c.opts -> 'algs' IS NOT NULL
                 THEN ARRAY(SELECT json_array_elements_text(c.opts -> 'algs'))
                 ELSE algs || CASE WHEN c.sym THEN '{HS256,HS384,HS512}' ELSE '{}' END::text[] END,
            '{}', make_interval(secs => coalesce((c.opts ->> 'leeway')::float8, 0)),
            CASE WHEN c.opts ->> 'typ' IS NOT NULL THEN ARRAY[c.opts ->> 'typ'] END);
    PERFORM auth.init(coalesce(c.jwks_text, c.jwks::text)::jsonb, issuer => for_issuer);
    PERFORM auth.jwt_session_init(c.token, is_local => true);
    FOR claim IN SELECT * FROM json_each_text(coalesce(c.claims, '{}')) LOOP
        IF auth.session() ->> claim.key IS DISTINCT FROM claim.value THEN
            RETURN 'claim ' || claim.key || ' is ' || (auth.session() ->> claim.key);
        END IF;
    END LOOP;
    RETURN 'accept';
EXCEPTION
    -- The expected refusal: one of our codes, or an error because Postgres does not support such
    -- JSON.
    WHEN SQLSTATE '28J01' OR SQLSTATE '28J02' OR SQLSTATE '28J03' OR SQLSTATE '28J04' OR SQLSTATE '28J05'
      OR SQLSTATE '28J06' OR SQLSTATE '28J07' OR SQLSTATE '28J08' OR SQLSTATE '28J09' OR SQLSTATE '28J13'
      OR invalid_parameter_value OR invalid_text_representation OR untranslatable_character
    THEN RETURN 'reject';
END $$;

SET client_min_messages = error;
-- Cases with another time run in the verifier's tests: SQL has only the current time.
SELECT grp, count(*) AS cases,
       count(*) FILTER (WHERE got = expect OR expect = 'either' AND got IN ('accept', 'reject')) AS passed
  FROM (SELECT grp, expect, outcome(c) AS got FROM cases c WHERE now IS NULL) o
 GROUP BY grp ORDER BY grp;
SELECT name, expect, outcome(c) AS got FROM cases c
 WHERE now IS NULL AND expect <> 'either' AND outcome(c) <> expect;
