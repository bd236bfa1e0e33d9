-- Keys and all else that belongs to an issuer go with its row, or get its new name. No foreign
-- key does it: a parallel restore loads the tables in any order.
\set QUIET on
SELECT '{"kty":"OKP","crv":"Ed25519","x":"9wNuXCqeWjcVsErMJHEZcDK7AwJfyYjPHabGJ4vvDhg"}' AS a,
       '{"kty":"OKP","crv":"Ed25519","x":"bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI"}' AS b \gset
CREATE VIEW belongings AS
    SELECT 'key' AS what, issuer, left(thumbprint, 6) AS thumbprint FROM auth.jwks
    UNION ALL SELECT 'endpoint', issuer, NULL FROM auth.endpoints
    UNION ALL SELECT 'withdrawn', issuer, left(thumbprint, 6) FROM auth.withdrawn_keys;
\set show 'SELECT * FROM belongings ORDER BY 1, 2, 3;'
INSERT INTO auth.issuers (issuer) VALUES ('https://one'), ('https://two'), ('https://three');
INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://one', :'a'), ('https://two', :'b');
INSERT INTO auth.endpoints (issuer, url) VALUES ('https://one', 'https://one/jwks'), ('https://two', 'https://two/jwks');
INSERT INTO auth.withdrawn_keys (issuer, thumbprint) VALUES ('https://one', 'gone 1'), ('https://two', 'gone 2');
\set QUIET off
:show

-- A new name. Another change of the row leaves the rest alone.
UPDATE auth.issuers SET leeway = '1 s';
UPDATE auth.issuers SET issuer = 'https://uno' WHERE issuer = 'https://one';
:show
-- To the former name of another, in one statement: each keeps its own.
UPDATE auth.issuers SET issuer = CASE issuer WHEN 'https://two' THEN 'https://dos' ELSE 'https://two' END
 WHERE issuer IN ('https://two', 'https://uno');
:show
-- Left over under the new name: what is withdrawn stays so, and no key is taken over.
BEGIN;
INSERT INTO auth.jwks (issuer, jwk, thumbprint) SELECT 'https://tres', jwk, thumbprint FROM auth.jwks WHERE issuer = 'https://two';
INSERT INTO auth.withdrawn_keys (issuer, thumbprint) VALUES ('https://tres', 'gone 2'), ('https://tres', 'gone 3');
UPDATE auth.issuers SET issuer = 'https://tres' WHERE issuer = 'https://dos';
:show
ROLLBACK;

-- By a role that may write this table alone.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON auth.issuers TO authenticated;
BEGIN;
SET LOCAL ROLE authenticated;
DELETE FROM auth.issuers WHERE issuer = 'https://dos';
RESET ROLE;
:show
ROLLBACK;
BEGIN;
SET LOCAL ROLE authenticated;
TRUNCATE auth.issuers;
RESET ROLE;
:show
ROLLBACK;

-- A mistyped issuer.
INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://dos/', :'a');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.jwks SET issuer = 'https://dos/' WHERE issuer = 'https://dos';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO auth.withdrawn_keys (issuer, thumbprint) VALUES ('https://dos/', 'gone 4');
-- In a message, one that would begin a line of its own.
BEGIN;
INSERT INTO auth.withdrawn_keys (issuer, thumbprint) VALUES (E'https://dos\nLOG:  "forged"', 'gone 4');
ROLLBACK;
-- As a dump has it: no warning.
INSERT INTO auth.withdrawn_keys VALUES ('https://dos/', 'gone 5', '2026-01-01');
:show
