-- CREATE EXTENSION gives the same privileges whatever ALTER DEFAULT PRIVILEGES says: a trusted
-- extension's script runs as the superuser, whose default privileges apply to all that it creates.
\c - postgres
-- Everything that is granted on our objects, except to their owner. A NULL list is the default.
CREATE VIEW granted AS
SELECT pg_describe_object('pg_namespace'::regclass, oid, 0) AS object, acl.*
  FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl
 WHERE nspname = 'auth' AND grantee <> nspowner
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, oid, 0), acl.*
  FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) AS acl
 WHERE relnamespace = to_regnamespace('auth') AND grantee <> relowner
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, attrelid, attnum), acl.*
  FROM pg_attribute, aclexplode(attacl) AS acl
 WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('auth'))
UNION ALL
SELECT pg_describe_object('pg_proc'::regclass, oid, 0), acl.*
  FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
 WHERE pronamespace = to_regnamespace('auth') AND grantee <> proowner
UNION ALL
SELECT pg_describe_object('pg_type'::regclass, oid, 0), acl.*
  FROM pg_type, aclexplode(typacl) AS acl
 WHERE typnamespace = to_regnamespace('auth') AND grantee <> typowner;
CREATE TABLE by_design AS TABLE granted;
GRANT SELECT ON granted, by_design TO PUBLIC;

-- The complete list of grants without any default privileges.
SELECT object, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
       string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ', ' ORDER BY privilege_type) AS privileges
  FROM granted GROUP BY 1, 2 ORDER BY 1, 2;

-- Each kind of default privileges alone: CREATE EXTENSION by the database's owner leaves the same
-- grants with and without them.
CREATE ROLE "it's ""one""" NOLOGIN;
CREATE FUNCTION differences() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s %s %s', CASE WHEN d.added THEN 'added:' ELSE 'missing:' END, d.object,
                  d.privilege_type, CASE WHEN d.grantee = 0 THEN 'PUBLIC' ELSE d.grantee::regrole::text END)
      FROM (SELECT true, * FROM (TABLE granted EXCEPT TABLE by_design) AS added
            UNION ALL
            SELECT false, * FROM (TABLE by_design EXCEPT TABLE granted) AS missing) AS d (added)
     ORDER BY 1 $$;
CREATE PROCEDURE install_with(what text) LANGUAGE plpgsql AS $$
DECLARE difference text;
BEGIN
    EXECUTE 'ALTER DEFAULT PRIVILEGES ' || what;
    SET ROLE owner_role;
    DROP EXTENSION pg_auth_jwt;
    CREATE EXTENSION pg_auth_jwt;
    RESET ROLE;
    FOR difference IN SELECT differences() LOOP
        RAISE NOTICE '%', difference;
    END LOOP;
    ROLLBACK;
END $$;
CALL install_with('GRANT ALL ON TABLES TO authenticated');
CALL install_with('GRANT SELECT ON TABLES TO authenticated WITH GRANT OPTION');
CALL install_with('GRANT INSERT, UPDATE, DELETE ON TABLES TO PUBLIC');
CALL install_with('GRANT ALL ON TABLES TO authenticated, owner_role, "it''s ""one""" WITH GRANT OPTION');
CALL install_with('REVOKE ALL ON TABLES FROM postgres');
CALL install_with('GRANT ALL ON FUNCTIONS TO authenticated');
CALL install_with('GRANT ALL ON ROUTINES TO authenticated, owner_role, "it''s ""one""" WITH GRANT OPTION');
CALL install_with('REVOKE ALL ON FUNCTIONS FROM PUBLIC');
CALL install_with('REVOKE ALL ON FUNCTIONS FROM PUBLIC, postgres');
CALL install_with('GRANT ALL ON SCHEMAS TO authenticated');
CALL install_with('GRANT ALL ON SCHEMAS TO PUBLIC');
CALL install_with('GRANT CREATE ON SCHEMAS TO owner_role, "it''s ""one""" WITH GRANT OPTION');
CALL install_with('GRANT ALL ON SEQUENCES TO authenticated WITH GRANT OPTION');
CALL install_with('GRANT ALL ON TYPES TO authenticated WITH GRANT OPTION');
CALL install_with('REVOKE ALL ON TYPES FROM PUBLIC');
CALL install_with('FOR ROLE owner_role GRANT ALL ON TABLES TO authenticated');
CALL install_with('FOR ROLE owner_role GRANT ALL ON FUNCTIONS TO PUBLIC');
CALL install_with('FOR ROLE owner_role REVOKE ALL ON FUNCTIONS FROM PUBLIC');
CALL install_with('IN SCHEMA public GRANT ALL ON TABLES TO authenticated');
CALL install_with('IN SCHEMA pg_catalog GRANT ALL ON TABLES TO PUBLIC');

-- All together, and not rolled back.
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO authenticated WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO authenticated, "it's ""one""" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO authenticated, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE owner_role GRANT ALL ON TABLES TO PUBLIC;
\c - owner_role
DROP EXTENSION pg_auth_jwt;
CREATE EXTENSION pg_auth_jwt;
SELECT differences();
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
-- No role can then add a key, read a secret, or create a function beside ours.
\c - authenticated
\i fixtures/jose.sql
INSERT INTO auth.issuers (issuer) VALUES ('mine');
INSERT INTO auth.jwks (issuer, jwk) VALUES ('https://auth.example.com', '{"kty":"OKP","crv":"Ed25519","x":"bPCrYRrU9-L5nSHD1FR2r6qboUSWUYfpAfCL8hE59DI"}');
\echo :LAST_ERROR_SQLSTATE
UPDATE auth.issuers SET audience = NULL;
SELECT jwk FROM auth.jwks;
TRUNCATE auth.jwks;
CREATE TRIGGER t BEFORE INSERT ON auth.jwks FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT auth.init('{}');
SELECT auth.verify('x');
CREATE FUNCTION auth.uid(int) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
-- The functions for everyone work.
SELECT auth.jwt_session_init(:'alice');
SELECT auth.email();

-- If a superuser installs it, the grants are the same, except that there is no owner to grant to.
\c - postgres
DROP EXTENSION pg_auth_jwt;
CREATE EXTENSION pg_auth_jwt;
SELECT object, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
       string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ', ' ORDER BY privilege_type) AS privileges
  FROM granted GROUP BY 1, 2 ORDER BY 1, 2;
DROP OWNED BY "it's ""one""";
DROP ROLE "it's ""one""";
