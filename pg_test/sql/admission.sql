-- Breaks each rule on keys alone. auth.init and plain DML both refuse.
\i fixtures/jose.sql
CREATE FUNCTION base(wanted text) RETURNS jsonb LANGUAGE sql STABLE
    RETURN (SELECT k - '{kid,alg,use}'::text[] FROM fixture.jose, jsonb_array_elements(doc -> 'jwks' -> 'keys') k WHERE k ->> 'kty' = wanted);
CREATE FUNCTION why(jwk jsonb, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE reason text;
BEGIN
    IF how = 'init' THEN
        PERFORM auth.init(jsonb_build_object('keys', jsonb_build_array(jwk)), issuer => 'https://i.example');
    ELSE
        INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://i.example', jwk);
    END IF;
    DELETE FROM auth.jwks;
    RETURN 'admitted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || lower(rtrim(regexp_replace(reason, '^Key ("[^"]*"|number 1): ', ''), '.'));
END $$;
INSERT INTO auth.issuers (issuer) VALUES ('https://i.example');

CREATE TABLE keys (n int GENERATED ALWAYS AS IDENTITY, broken text, jwk jsonb);
INSERT INTO keys (broken, jwk) VALUES
    ('nothing, RSA', base('RSA')),
    ('nothing, EC', base('EC')),
    ('nothing, OKP', base('OKP')),
    ('use sig, key_ops verify', base('OKP') || '{"use":"sig","key_ops":["verify"]}'),
    ('kty unknown', base('RSA') || '{"kty":"LMS"}'),
    ('kty missing', base('RSA') - 'kty'),
    ('crv unknown', base('EC') || '{"crv":"secp256k1"}'),
    ('crv of another use', base('OKP') || '{"crv":"X25519"}'),
    ('member missing', base('EC') - 'y'),
    ('member of a wrong type', base('OKP') || '{"x":1}'),
    ('not base64url: padding', base('OKP') || jsonb_build_object('x', base('OKP') ->> 'x' || '=')),
    ('not base64url: alphabet', base('OKP') || jsonb_build_object('x', '+' || substr(base('OKP') ->> 'x', 2))),
    ('EC coordinate too short', base('EC') || '{"x":"AAAA"}'),
    ('EC point off its curve', base('EC') || jsonb_build_object('y', base('EC') ->> 'x')),
    ('Ed25519 too short', base('OKP') || '{"x":"AAAA"}'),
    ('Ed25519 of small order', base('OKP') || '{"x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}'),
    ('RSA modulus too short', base('RSA') || jsonb_build_object('n', substr(base('RSA') ->> 'n', 1, 171) || 'w')),
    ('RSA modulus too long', base('RSA') || jsonb_build_object('n', repeat(base('RSA') ->> 'n', 1) || repeat('w', 1200))),
    ('RSA exponent 1', base('RSA') || '{"e":"AQ"}'),
    ('RSA exponent even', base('RSA') || '{"e":"AQAC"}'),
    ('RSA exponent beyond 32 bits', base('RSA') || '{"e":"AQAAAAE"}'),
    ('use enc', base('OKP') || '{"use":"enc"}'),
    ('use no string', base('OKP') || '{"use":["sig"]}'),
    ('key_ops without verify', base('OKP') || '{"key_ops":["sign"]}'),
    ('key_ops empty', base('OKP') || '{"key_ops":[]}'),
    ('key_ops no array', base('OKP') || '{"key_ops":"verify"}'),
    ('kid no string', base('OKP') || '{"kid":1}'),
    ('alg unknown', base('OKP') || '{"alg":"none"}'),
    ('alg of another type', base('RSA') || '{"alg":"ES256"}'),
    ('alg of another curve', base('EC') || '{"alg":"ES384"}'),
    ('alg HMAC on a public key', base('RSA') || '{"alg":"HS256"}'),
    ('private RSA', base('RSA') || '{"d":"AQAB"}'),
    ('private RSA, factor', base('RSA') || '{"p":"AQAB"}'),
    ('private EC', base('EC') || '{"d":"AQAB"}'),
    ('private OKP', base('OKP') || '{"d":"AQAB"}'),
    ('secret without an HS algorithm', '{"kty":"oct","k":"lHgP46wzVGDqg-EFAXHEAidosX9JRwrQeoHBAqbcxBijVR0tN8vSeWDDCXGxYw-h0s9qd_HGT66YJ2tXqOX8Pw"}'),
    ('private half published: RFC 8037', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'),
    ('private half published: RFC 7515', '{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}');
\pset format unaligned
SELECT broken, why(jwk, 'init') AS reason, why(jwk, 'init') = why(jwk, 'dml') AS both FROM keys ORDER BY n;

-- Secrets, where the issuer names an HS algorithm: at least as long as the hash.
UPDATE auth.issuers SET algorithms = '{HS256}';
SELECT length, why(jsonb_build_object('kty', 'oct', 'k', translate(rtrim(encode(decode(repeat('ab', length), 'hex'), 'base64'), '='), E'+/\n', '-_')), how)
  FROM unnest('{31,32}'::int[]) length, unnest('{init,dml}'::text[]) how ORDER BY 1, how;
