-- Everyone may pass a token and read its claims. The owner of the extension may manage issuers and
-- keys, and let others do so, but owns none of the objects: they belong to the superuser as whom a
-- trusted extension's script runs. So neither the owner, nor a migration tool that runs as the
-- owner, can alter the key tables, add triggers to them or disable ours, or create anything in the
-- schema.

-- Has the one list of the rights of the owner, and of the roles that manage keys for the owner. It runs
-- with its caller's rights: a role without grant options cannot grant anything, even if it may call this.
CREATE FUNCTION auth.grant_to(role regrole, with_grant_option boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    tables CONSTANT pg_catalog.regclass[] := '{auth.issuers,auth.jwks,auth.endpoints,auth.withdrawn_keys,auth.revocations}';
    views CONSTANT pg_catalog.regclass[] := '{auth.key_status,auth.revocation_status,auth.session_status,auth.stats}';
    functions pg_catalog.regprocedure[] := ARRAY[
        'auth.init(jsonb, text, text[])', 'auth.follow(regclass, text, text[], interval, jsonb)', 'auth.unfollow(text)',
        'auth.follow_url(text, text, text[])', 'auth.refresh(text)',
        'auth.revoke(text, text, text, text, text, timestamptz, timestamptz, text)', 'auth.unrevoke(text, text, text, text, text)',
        'auth.revoke_issuer(text, timestamptz, timestamptz, text)', 'auth.unrevoke_issuer(text)',
        'auth.list_revocations()', 'auth.follow_sessions(regclass, text, text, jsonb)',
        'auth.unfollow_sessions(text)', 'auth.list_session_sources()', 'auth.list_keys()', 'auth.keys_changed()',
        'auth.verify(text)', 'auth.inspect(text)', 'auth.lint()', 'auth.explain_access(regclass, text, text, name)',
        'auth.list_stats()', 'auth.reset_stats()'];
    grantee pg_catalog.name;
    statement text;
BEGIN
    SELECT r.rolname INTO grantee FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) grant_to.role;
    IF grantee IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = 'role does not exist',
            DETAIL = 'Privileges on issuers and keys are for single roles, never for PUBLIC.';
    END IF;
    IF with_grant_option THEN
        functions := functions OPERATOR(pg_catalog.||)
            '{"auth.grant_to(regrole, boolean)",auth.revoke_from(regrole)}'::pg_catalog.regprocedure[];
    END IF;
    -- GRANT itself only warns where it grants a part.
    IF NOT (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(t.oid, p.name OPERATOR(pg_catalog.||) ' WITH GRANT OPTION'))
              FROM pg_catalog.unnest(tables) AS t (oid), pg_catalog.unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS p (name))
       OR NOT (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(v.oid, 'SELECT WITH GRANT OPTION'))
                 FROM pg_catalog.unnest(views) AS v (oid))
       OR NOT (SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(f.oid, 'EXECUTE WITH GRANT OPTION'))
                 FROM pg_catalog.unnest(functions) AS f (oid))
       OR NOT pg_catalog.has_schema_privilege('auth', 'USAGE WITH GRANT OPTION') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'permission denied to grant the management of keys',
            DETAIL = 'The role that grants it needs all of these privileges WITH GRANT OPTION, as the extension''s owner has them.';
    END IF;
    FOREACH statement IN ARRAY ARRAY[
        'USAGE ON SCHEMA auth',
        'SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(tables, ', '),
        'SELECT ON ' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(views, ', '),
        'EXECUTE ON FUNCTION ' OPERATOR(pg_catalog.||) pg_catalog.array_to_string(functions, ', ')]
    LOOP
        EXECUTE pg_catalog.format('GRANT %s TO %I%s', statement, grantee,
            CASE WHEN with_grant_option THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION auth.grant_to(regrole, boolean) IS
    'lets a role manage issuers and keys, and so become every user; with_grant_option: and let others, as the extension''s owner may';

-- Undoes auth.grant_to(), with its caller's rights too: takes from a role the privileges of these kinds on all objects
-- of the schema, by its ACLs, so that it needs no list of its own. As REVOKE itself does, it takes those that its
-- caller gave, or the objects' owner if its caller has the rights of that role. Unlike REVOKE, it says if some are left.
CREATE FUNCTION auth.revoke_from(role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
    AS $function$
DECLARE
    grantee pg_catalog.name;
    given record;
    is_revoked boolean := false;
    others pg_catalog.text[] := '{}';
    dependents text;
BEGIN
    SELECT r.rolname INTO grantee FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) revoke_from.role;
    IF grantee IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = 'role does not exist';
    END IF;
    FOR given IN
        SELECT o.object, pg_catalog.string_agg(a.privilege_type, ', ') AS privileges,
               pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantor)) AS grantor,
               a.grantor OPERATOR(pg_catalog.=) CASE WHEN pg_catalog.pg_has_role(o.owner, 'USAGE') THEN o.owner ELSE c.oid END AS is_ours
          FROM (SELECT 'SCHEMA auth', n.nspacl, n.nspowner
                  FROM pg_catalog.pg_namespace AS n
                 WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
                UNION ALL
                SELECT pg_catalog.format('TABLE %s', t.oid::pg_catalog.regclass), t.relacl, t.relowner
                  FROM pg_catalog.pg_class AS t
                 WHERE t.relnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
                UNION ALL
                SELECT pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure), p.proacl, p.proowner
                  FROM pg_catalog.pg_proc AS p
                 WHERE p.pronamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
               ) AS o (object, acl, owner)
         CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
          JOIN pg_catalog.pg_roles AS c ON c.rolname OPERATOR(pg_catalog.=) current_user
         WHERE a.grantee OPERATOR(pg_catalog.=) revoke_from.role
           AND a.privilege_type OPERATOR(pg_catalog.=) ANY ('{USAGE,SELECT,INSERT,UPDATE,DELETE,TRUNCATE,EXECUTE}'::text[])
         GROUP BY o.object, o.owner, a.grantor, c.oid
    LOOP
        IF given.is_ours THEN
            EXECUTE pg_catalog.format('REVOKE %s ON %s FROM %I', given.privileges, given.object, grantee);
            is_revoked := true;
        ELSIF NOT given.grantor OPERATOR(pg_catalog.=) ANY (others) THEN
            others := others OPERATOR(pg_catalog.||) given.grantor;
        END IF;
    END LOOP;
    IF others OPERATOR(pg_catalog.=) '{}' THEN
        RETURN;
    END IF;
    IF NOT is_revoked THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'permission denied to revoke the management of keys',
            DETAIL = pg_catalog.format('Role %I has it from %s.', grantee, pg_catalog.array_to_string(others, ' and ')),
            HINT = 'Call this as the role that granted it: a superuser uses SET ROLE.';
    END IF;
    RAISE WARNING USING
        ERRCODE = '01006', -- privilege_not_revoked
        MESSAGE = pg_catalog.format('role %I still has privileges on keys', grantee),
        DETAIL = pg_catalog.format('It has them from %s.', pg_catalog.array_to_string(others, ' and ')),
        HINT = 'Call this as the role that granted them: a superuser uses SET ROLE.';
EXCEPTION WHEN dependent_objects_still_exist THEN
    SELECT pg_catalog.string_agg(DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'
                                               ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, ', ')
      INTO dependents
      FROM (SELECT n.nspacl FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
            UNION ALL
            SELECT t.relacl FROM pg_catalog.pg_class AS t
             WHERE t.relnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
            UNION ALL
            SELECT p.proacl FROM pg_catalog.pg_proc AS p
             WHERE p.pronamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
           ) AS o (acl) CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
     WHERE a.grantor OPERATOR(pg_catalog.=) revoke_from.role;
    RAISE EXCEPTION USING
        ERRCODE = 'dependent_objects_still_exist',
        MESSAGE = pg_catalog.format('role %I has given privileges on keys to others', grantee),
        DETAIL = pg_catalog.format('They are for %s. Nothing was revoked.', dependents),
        HINT = pg_catalog.format('Revoke them first: SET ROLE %I, then auth.revoke_from() for each.', grantee);
END
$function$;
COMMENT ON FUNCTION auth.revoke_from(regrole) IS
    'takes from a role what auth.grant_to gave it; not what other roles than the caller gave, which it names';

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
        'auth.jwt_session_init(text, boolean)', 'auth.jwt_session_init(varchar)', 'auth.login(text)',
        'auth.session()', 'auth.jwt()', 'auth.user_id()',
        'auth.uid()', 'auth.role()', 'auth.email()', 'auth.organization()', 'auth.organization_id()',
        'auth.init()', 'auth.list_triggers()', 'auth.source_is_known(jsonb)',
        'auth.algorithms_are_known(text[])', 'auth.claim_path_is_valid(text)'];
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

SELECT auth.grant_to(e.extowner::pg_catalog.regrole, with_grant_option => true)
  FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_auth_jwt';
