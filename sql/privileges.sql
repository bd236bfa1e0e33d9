-- Who may what. Everyone: hand over a token and read its claims. The owner of the extension: the
-- rest. A trusted extension's script runs as the bootstrap superuser, so what the owner is to manage
-- is given to him by name.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA auth FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA auth FROM PUBLIC;

GRANT USAGE ON SCHEMA auth TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    auth.jwt_session_init(text, boolean),
    auth.session(), auth.jwt(), auth.user_id(), auth.uid(), auth.role(), auth.email(),
    auth.organization(), auth.organization_id()
    TO PUBLIC;

ALTER SCHEMA auth OWNER TO @extowner@;
ALTER TABLE auth.issuers OWNER TO @extowner@;
ALTER TABLE auth.jwks OWNER TO @extowner@;
ALTER FUNCTION auth.init(jsonb, text, text[]) OWNER TO @extowner@;
ALTER FUNCTION auth.verify(text) OWNER TO @extowner@;
ALTER FUNCTION auth.inspect(text) OWNER TO @extowner@;
