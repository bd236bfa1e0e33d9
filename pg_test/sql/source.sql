-- Shapes of auth.issuers.source: those that auth.follow() and auth.follow_url() write are stored, and
-- the library reads all of them, so SQL may go by the kind. Others are refused, and cost nothing.
INSERT INTO auth.issuers (issuer, audience) VALUES ('https://i.example', '{a}');
CREATE FUNCTION written(source jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth.issuers AS i SET source = written.source;
    RETURN (SELECT problem FROM auth.key_status);
EXCEPTION WHEN check_violation THEN
    RETURN SQLSTATE;
END $$;

-- All of these are read: no source_unreadable.
SELECT left(source::text, 110) AS source, written(source)
  FROM (VALUES
    ('{"kind": "url", "url": "https://i.example/jwks"}'::jsonb),
    ('{"kind": "discovery", "url": "https://i.example/.well-known/openid-configuration"}'),
    ('{"kind": "url", "url": ""}'),
    (jsonb_build_object('kind', 'url', 'url', repeat('x', 2048))),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "owner_id": "1/2", "grace": 9999999999999999999, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 1, "columns": {"kid": "a", "public_key": "b", "expires_at": null, "alg": null, "revoked_at": "r", "created_at": "c"}}'),
    (jsonb_build_object('kind', 'table', 'schema', repeat('"', 63), 'table', repeat('"', 63), 'owner', repeat('"', 63), 'grace', 0,
                        'columns', (SELECT jsonb_object_agg(m, repeat(E'\x01', 63)) FROM unnest('{kid,public_key,expires_at,alg,revoked_at,created_at}'::text[]) AS m)))
  ) AS v (source);

-- None of these is stored.
SELECT left(source::text, 110) AS source, written(source)
  FROM (VALUES
    ('null'::jsonb), ('5'), ('"url"'), ('[]'), ('["kind", "url"]'), ('{}'), ('{"kind": null}'), ('{"kind": ["url"]}'), ('{"kind": "url"}'),
    ('{"url": "https://i.example"}'), ('{"discovery": "https://i.example"}'), ('{"kind": "URL", "url": "https://i.example"}'),
    ('{"kind": "url", "url": null}'), ('{"kind": "url", "url": 5}'), ('{"kind": "url", "url": ["https://i.example"]}'),
    ('{"kind": "url", "url": "https://i.example", "comment": "staging"}'), ('{"kind": "url", "discovery": "https://i.example"}'),
    (jsonb_build_object('kind', 'url', 'url', repeat('x', 2049))),
    ('{"kind": "table"}'), ('{"kind": "table", "url": "https://i.example"}'),
    ('{"schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0}'),
    ('{"kind": "table", "schema": "s", "table": "t", "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": 1, "table": "t", "owner": "o", "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "owner_id": 1, "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "owner_id": null, "grace": 0, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": -1, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 1.5, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 1e40, "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": "1", "columns": {}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": []}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {"kid": 1}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {"kid": ["a"]}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {"kid": {"a": "b"}}}'),
    ('{"kind": "table", "schema": "s", "table": "t", "owner": "o", "grace": 0, "columns": {"private_key": "p"}}'),
    (jsonb_build_object('kind', 'table', 'schema', repeat('x', 9000), 'table', 't', 'owner', 'o', 'grace', 0, 'columns', '{}'::jsonb))
  ) AS v (source);
DELETE FROM auth.issuers;
