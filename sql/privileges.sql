-- Everyone may pass a token and read its claims. The owner of the extension may manage issuers and
-- keys, and let others do so, but owns none of the objects: they belong to the superuser as whom a
-- trusted extension's script runs. So neither the owner, nor a migration tool that runs as the
-- owner, can alter the key tables, add triggers to them or disable ours, or create anything in the
-- schema.

-- First, all privileges of everyone except the objects' owner are revoked: EXECUTE, which PUBLIC
-- has on a new function, and whatever ALTER DEFAULT PRIVILEGES grants, to any role. Default
-- privileges of the superuser as whom a trusted extension's script runs apply to the objects that
-- it creates; a default grant on tables would let its grantee insert a key and impersonate anyone.
--
-- Functions for everyone keep the privileges that they were created with, which are NULL in the
-- catalog. An explicit list with the same privileges would be evaluated each time that a statement
-- is about to call the function. It is only corrected if default privileges have already made a list.
DO $$
DECLARE
    everyones CONSTANT pg_catalog.regprocedure[] := ARRAY[
        'auth.jwt_session_init(text, boolean)', 'auth.jwt_session_init(varchar)', 'auth.session()', 'auth.jwt()', 'auth.user_id()',
        'auth.uid()', 'auth.role()', 'auth.email()', 'auth.organization()', 'auth.organization_id()',
        'auth.init()', 'auth.list_triggers()', 'auth.source_is_known(jsonb)'];
    granted record;
    f pg_catalog.regprocedure;
BEGIN
    FOR granted IN
        SELECT DISTINCT o.object, a.grantee
          FROM (SELECT 'SCHEMA auth', n.nspacl, n.nspowner, false
                  FROM pg_catalog.pg_namespace AS n
                 WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
                UNION ALL
                -- Sequences too. Rowtypes and indexes get no default privileges.
                SELECT pg_catalog.format('TABLE %s', c.oid::pg_catalog.regclass), c.relacl, c.relowner, false
                  FROM pg_catalog.pg_class AS c
                 WHERE c.relnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
                UNION ALL
                SELECT pg_catalog.format('ROUTINE %s', p.oid::pg_catalog.regprocedure),
                       COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner)), p.proowner,
                       p.oid OPERATOR(pg_catalog.=) ANY (everyones)
                  FROM pg_catalog.pg_proc AS p
                 WHERE p.pronamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
               ) AS o (object, acl, owner, for_public),
               pg_catalog.aclexplode(o.acl) AS a
         WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner
           AND NOT (a.grantee OPERATOR(pg_catalog.=) 0 AND o.for_public)
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', granted.object,
            CASE WHEN granted.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'
                 ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END);
    END LOOP;

    FOREACH f IN ARRAY everyones LOOP
        IF NOT pg_catalog.has_function_privilege('public', f, 'EXECUTE') THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f);
        END IF;
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA auth TO PUBLIC;

GRANT USAGE ON SCHEMA auth TO @extowner@ WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON auth.issuers, auth.jwks, auth.endpoints, auth.withdrawn_keys
    TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION
    auth.init(jsonb, text, text[]), auth.follow(regclass, text, text[], interval, jsonb), auth.unfollow(text),
    auth.follow_url(text, text, text[]), auth.refresh(text),
    auth.list_keys(), auth.keys_changed(), auth.verify(text), auth.inspect(text), auth.lint(),
    auth.explain_access(regclass, text, text, name), auth.list_stats(), auth.reset_stats()
    TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON auth.key_status, auth.stats TO @extowner@ WITH GRANT OPTION;
