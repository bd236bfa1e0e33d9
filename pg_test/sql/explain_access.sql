-- auth.explain_access: why no rows, why all rows; changes nothing, and runs policies with the
-- rights of the role.
\i fixtures/jose.sql
SELECT auth.init(:'jwks', issuer => :'issuer', audience => '{my-app}');
\pset format unaligned
\pset null '(null)'
CREATE TABLE posts (id int GENERATED ALWAYS AS IDENTITY, gone int, owner text, "Tenant" text, published boolean);
ALTER TABLE posts DROP COLUMN gone;
INSERT INTO posts (owner, "Tenant", published)
    SELECT CASE n % 4 WHEN 0 THEN '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11' ELSE 'somebody' END, CASE n % 8 WHEN 0 THEN 'globex' ELSE 'acme' END, n % 100 = 0
      FROM generate_series(1, 2500) n;
CREATE TABLE memberships (team text, member text);
INSERT INTO memberships VALUES ('acme', '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11');

-- Nothing is set up yet.
SELECT * FROM auth.explain_access('posts', :'alice');
GRANT SELECT, UPDATE ON posts TO authenticated;
SELECT * FROM auth.explain_access('posts', :'alice');
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
SELECT * FROM auth.explain_access('posts', :'alice');

-- Policies of all kinds.
CREATE POLICY own ON posts TO authenticated USING (owner = auth.user_id());
CREATE POLICY published ON posts FOR SELECT USING (published);
CREATE POLICY tenant ON posts AS RESTRICTIVE USING ("Tenant" = auth.session() ->> 'tenant_id');
CREATE POLICY for_others ON posts TO owner_role USING (true);
CREATE POLICY writing ON posts FOR INSERT TO authenticated WITH CHECK (owner = (SELECT auth.user_id()));
SELECT * FROM auth.explain_access('posts', :'alice');
SELECT subject, applies, kind, expression, rows, detail FROM auth.explain_access('posts', :'alice', 'insert');
SELECT subject, applies, kind, rows, detail FROM auth.explain_access('posts', :'alice', 'UPDATE');
SELECT subject, applies, kind, rows, detail FROM auth.explain_access('posts', :'alice', 'DELETE');
-- The rows that it counts are those that the role gets.
\c - authenticated
\i fixtures/jose.sql
BEGIN;
SELECT auth.jwt_session_init(:'alice');
SELECT count(*) FROM posts;
UPDATE posts SET published = published;
ROLLBACK;
\c - owner_role
\i fixtures/jose.sql

-- Without a token, and with one that is not good.
SELECT subject, applies, claims, rows, detail FROM auth.explain_access('posts', NULL);
SELECT subject, applies, rows FROM auth.explain_access('posts', '');
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'expired');
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', 'undefined');
SET pg_auth_jwt.require_token = on;
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', NULL);
RESET pg_auth_jwt.require_token;

-- The session is left as it was: its token, its role, what policies write, and the path.
SELECT auth.jwt_session_init(:'bob');
SELECT rows FROM auth.explain_access('posts', :'alice') WHERE subject = 'SELECT as authenticated';
SELECT auth.email(), current_user, current_setting('search_path') AS search_path;
SELECT auth.jwt_session_init(NULL);
CREATE TABLE seen (who text);
GRANT SELECT, INSERT ON seen TO authenticated;
CREATE FUNCTION note() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (current_user); RETURN true; END $$;
CREATE POLICY noted ON posts AS RESTRICTIVE USING (note());
SELECT subject, rows FROM auth.explain_access('posts', :'alice') WHERE rows IS NOT NULL;
SELECT count(*) AS written FROM seen;
DROP POLICY noted ON posts;

-- Policies that look elsewhere, with the rights of the role: a table of their own name, a
-- sub-select with the table's name, functions that need the caller's search_path, the whole row.
CREATE FUNCTION is_member(team text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN RETURN EXISTS (SELECT FROM memberships AS m WHERE m.team = is_member.team AND m.member = auth.user_id()); END $$;
CREATE FUNCTION is_published(p posts) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT p.published $$;
CREATE POLICY member ON posts TO authenticated USING (is_member("Tenant") AND is_published(posts));
CREATE POLICY same ON posts TO authenticated USING (EXISTS (SELECT FROM memberships AS posts_1 WHERE posts_1.team = posts."Tenant" AND posts_1.member = auth.user_id()));
\set SHOW_CONTEXT never
SELECT subject, expression, rows FROM auth.explain_access('posts', :'alice') WHERE subject ~ 'member|same';
GRANT SELECT ON memberships TO authenticated;
SELECT subject, expression, claims, rows FROM auth.explain_access('posts', :'alice') WHERE subject ~ 'member|same|SELECT';
DROP POLICY member ON posts; DROP POLICY same ON posts;

-- Roles to whom no policy applies, and callers who cannot count.
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'alice', role => 'owner_role');
ALTER TABLE posts FORCE ROW LEVEL SECURITY;
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'alice', role => 'owner_role');
\c - postgres
\i fixtures/jose.sql
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'alice');
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'alice', role => 'postgres');
ALTER TABLE posts NO FORCE ROW LEVEL SECURITY;
CREATE ROLE explain_other;
GRANT SELECT ON posts TO explain_other;
\c - owner_role
\i fixtures/jose.sql
SELECT subject, applies, rows, detail FROM auth.explain_access('posts', :'alice', role => 'explain_other');
-- No lock is left on a table of which the caller may know nothing else.
BEGIN;
SELECT count(*) > 0 AS explained FROM auth.explain_access('posts', NULL, role => 'explain_other');
SELECT count(*) AS locks FROM pg_locks WHERE relation = 'posts'::regclass;
COMMIT;

-- A superuser asks about a table whose owner set a trap: policies run as the role, and find no way
-- back.
CREATE TABLE trapped (who text, session_role text);
GRANT SELECT ON trapped TO authenticated;
ALTER TABLE trapped ENABLE ROW LEVEL SECURITY;
INSERT INTO trapped VALUES ('x');
CREATE FUNCTION trap(how text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'as %', current_user;
    EXECUTE how;
    RAISE NOTICE 'then as %', current_user;
    RETURN true;
END $$;
\c - postgres
\i fixtures/jose.sql
\set SHOW_CONTEXT never
CREATE POLICY trap ON trapped USING (trap('RESET ROLE'));
SELECT rows FROM auth.explain_access('trapped', :'alice');
ALTER POLICY trap ON trapped USING (trap('SET ROLE postgres'));
SELECT rows FROM auth.explain_access('trapped', :'alice');
ALTER POLICY trap ON trapped USING (trap('SET SESSION AUTHORIZATION postgres'));
SELECT rows FROM auth.explain_access('trapped', :'alice');
ALTER POLICY trap ON trapped USING (trap('CREATE TEMP TABLE left_behind ()'));
SELECT rows FROM auth.explain_access('trapped', :'alice');
ALTER POLICY trap ON trapped USING (trap('GRANT pg_read_server_files TO authenticated'));
\set VERBOSITY sqlstate
SELECT rows FROM auth.explain_access('trapped', :'alice');
\set VERBOSITY default
-- An error of a policy is caught or not as any other, and the session goes on as who it was.
DO $$ BEGIN PERFORM auth.explain_access('trapped', NULL); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'caught as %', current_user; END $$;
SELECT current_user, auth.user_id();
DROP OWNED BY explain_other;
DROP ROLE explain_other;
\c - owner_role
\i fixtures/jose.sql

-- The planner calls functions in the expressions of an index: as the owner, too, and with a search_path
-- that the caller does not choose. No policy applies to the owner then, FORCE ROW LEVEL SECURITY or not.
CREATE FUNCTION planned() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RAISE NOTICE 'index as %, search_path %', current_user, current_setting('search_path'); RETURN true; END $$;
SET client_min_messages = warning;
CREATE TABLE indexed (id int, owner text);
INSERT INTO indexed VALUES (1, 'x');
CREATE INDEX ON indexed ((planned() AND id > 0));
GRANT SELECT ON indexed TO authenticated;
ALTER TABLE indexed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON indexed USING (id = 1);
RESET client_min_messages;
\c - postgres
\set SHOW_CONTEXT never
SELECT subject, rows, detail FROM auth.explain_access('indexed', NULL) WHERE rows IS NOT NULL;
-- Nor does what the owner of a partition wrote run as the owner of the whole.
CREATE TABLE parted (id int) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE TABLE parted_1_1 PARTITION OF parted_1 FOR VALUES IN (1);
ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parted USING (id = 1);
GRANT SELECT ON parted TO authenticated;
SELECT subject, rows, detail FROM auth.explain_access('parted', NULL) WHERE subject ~ 'SELECT';
ALTER TABLE parted_1_1 OWNER TO owner_role;
SET ROLE owner_role;
-- From Postgres 17 on with another search_path, which is not what this is about.
SET client_min_messages = warning;
CREATE INDEX ON parted_1_1 ((planned() AND id > 0));
RESET client_min_messages;
RESET ROLE;
SELECT subject, rows, detail FROM auth.explain_access('parted', NULL) WHERE subject ~ 'SELECT';
DROP TABLE parted;
REVOKE SELECT ON indexed FROM owner_role;
REVOKE authenticated FROM owner_role;
SELECT subject, rows, detail FROM auth.explain_access('indexed', NULL) WHERE subject ~ 'SELECT';
GRANT authenticated TO owner_role;
\c - owner_role
\i fixtures/jose.sql

-- A policy finds no cursor from which it could read the rows that it is asked about, or which it
-- could close.
CREATE TABLE secrets (id int, owner text);
INSERT INTO secrets SELECT n, 'secret' FROM generate_series(1, 40) n;
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON secrets TO authenticated;
CREATE FUNCTION take_cursors(how text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    c refcursor;
    taken text;
BEGIN
    -- Names that Postgres gives, and those that pg_cursors shows.
    FOR c IN SELECT format('<unnamed portal %s>', n) FROM generate_series(1, 50) n UNION ALL SELECT name FROM pg_cursors WHERE name <> '' LOOP
        BEGIN
            IF how = 'read' THEN FETCH c INTO taken; ELSE CLOSE c; END IF;
            IF taken ~ 'secret' THEN RAISE NOTICE 'taken: %', taken; END IF;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    RETURN false;
END $$;
CREATE POLICY taken ON secrets USING (take_cursors('read'));
SELECT subject, rows, detail FROM auth.explain_access('secrets', NULL) WHERE rows IS NOT NULL;
ALTER POLICY taken ON secrets USING (take_cursors('close'));
SELECT subject, rows, detail FROM auth.explain_access('secrets', NULL) WHERE rows IS NOT NULL;
-- A column with the name of the row.
CREATE TABLE named (pg_auth_jwt_row bigint, named int);
INSERT INTO named VALUES (42, 1), (-1, 2);
ALTER TABLE named ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON named TO authenticated;
CREATE POLICY own ON named USING (pg_auth_jwt_row = 42 AND named = 1);
SELECT subject, expression, rows, detail FROM auth.explain_access('named', NULL) WHERE rows IS NOT NULL;
-- A temporary table is not taken for one of the same name, nor that for it.
CREATE TEMP TABLE named (id int);
ALTER TABLE named ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON named USING (id = 1);
GRANT SELECT ON named TO authenticated;
SET search_path = public, pg_temp;
SELECT subject, rows, detail FROM auth.explain_access('pg_temp.named', NULL) WHERE subject ~ 'SELECT';
SELECT subject, rows, detail FROM auth.explain_access('named', NULL) WHERE subject ~ 'SELECT';
RESET search_path;

-- Many rows, and large ones: counting stops and says so.
CREATE TABLE many AS SELECT n, 'somebody' AS owner FROM generate_series(1, 101100) n;
ALTER TABLE many ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON many TO authenticated USING (n % 2 = 0 OR owner = auth.user_id());
GRANT SELECT ON many TO authenticated;
-- A slow machine counts in smaller steps, and so to another number.
SELECT subject, rows BETWEEN 1 AND 50500 AS counted, regexp_replace(detail, '\d+', 'N') AS detail
  FROM auth.explain_access('many', :'alice') WHERE rows IS NOT NULL;
DROP TABLE many;
-- Partitions, tables without rows, rows without columns.
CREATE TABLE events (owner text, at date) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events VALUES ('0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', '2026-02-02'), ('x', '2026-02-02');
ALTER TABLE events ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON events TO authenticated USING (owner = auth.user_id());
GRANT SELECT ON events TO authenticated;
SELECT subject, rows, detail FROM auth.explain_access('events', :'alice') WHERE rows IS NOT NULL;
TRUNCATE events;
SELECT subject, rows, detail FROM auth.explain_access('events', :'alice') WHERE rows IS NOT NULL;

-- It works where nothing may be written.
BEGIN READ ONLY;
SELECT subject, rows, detail FROM auth.explain_access('posts', :'alice') WHERE rows IS NOT NULL;
COMMIT;

-- Arguments that it refuses.
\set VERBOSITY sqlstate
SELECT * FROM auth.explain_access('posts', NULL, 'TRUNCATE');
SELECT * FROM auth.explain_access('posts', NULL, role => 'no_such_role');
SELECT * FROM auth.explain_access('pg_views', NULL);
SELECT * FROM auth.explain_access(1, NULL);
SELECT * FROM auth.explain_access(NULL, NULL);
SELECT * FROM auth.explain_access('posts', NULL, NULL);
SELECT * FROM auth.explain_access('posts', NULL, role => NULL);
\c - authenticated
SELECT * FROM auth.explain_access('posts', NULL);

-- A permissive policy without an expression lets nothing pass, a restrictive one restricts nothing.
\c - owner_role
\i fixtures/jose.sql
CREATE TABLE drafts (id int, owner text, team text);
INSERT INTO drafts VALUES (1, '0b9d8c3e-6f0a-4f5e-9a51-3a1f6d0c7a11', 'a'), (2, 'x', 'b');
ALTER TABLE drafts ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON drafts TO authenticated;
\set explain 'SELECT subject, applies, expression, claims, rows, detail FROM auth.explain_access(''drafts'', :''alice'', :''command'') WHERE subject !~ ''privilege|row-level|token'';'
CREATE POLICY without ON drafts TO authenticated;
\set command SELECT
:explain
\set command INSERT
:explain
DROP POLICY without ON drafts;
CREATE POLICY only_new ON drafts TO authenticated WITH CHECK (owner = auth.user_id());
CREATE POLICY no_limit ON drafts AS RESTRICTIVE;
\set command SELECT
:explain
\set command INSERT
:explain
-- A command that no policy is for, or only its rows cannot be read.
DROP POLICY only_new ON drafts; DROP POLICY no_limit ON drafts;
CREATE POLICY changes ON drafts FOR UPDATE TO authenticated USING (true);
\set command DELETE
:explain
\set command UPDATE
:explain
DROP POLICY changes ON drafts;

-- Why a claim is NULL: a misspelt name, a member, a type, a NULL; and what is no path of the claims.
CREATE POLICY a ON drafts TO authenticated USING (team = auth.session() ->> 'tenantId');
CREATE POLICY b ON drafts TO authenticated USING (team = ((( SELECT auth.jwt()) -> 'app_metadata') ->> 'role'));
CREATE POLICY c ON drafts TO authenticated USING (team = auth.session() #>> '{address,city}' OR team = (auth.session())['missing'] ->> 0);
CREATE POLICY d ON drafts TO authenticated USING (owner = auth.role() OR team = (auth.organization_id())::text);
CREATE POLICY e ON drafts TO authenticated USING (to_jsonb(auth.session()) ->> 'nothing' = team OR auth.session() ? 'nothing');
CREATE POLICY f ON drafts TO authenticated USING (team = auth.session() ->> 'it''s' OR team = (auth.session() -> 'tenant_id') ->> 'x');
\set command SELECT
:explain
-- Without a token nothing is said of claims.
SELECT subject, detail FROM auth.explain_access('drafts', NULL) WHERE subject ~ 'policy' AND detail IS NOT NULL;
DROP POLICY a ON drafts; DROP POLICY b ON drafts; DROP POLICY c ON drafts;
DROP POLICY d ON drafts; DROP POLICY e ON drafts; DROP POLICY f ON drafts;

-- A policy that is one call says so, and which of them a new row must pass.
CREATE FUNCTION of_team(team text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT team = 'a' AND auth.user_id() IS NOT NULL $$;
CREATE POLICY a ON drafts TO authenticated USING (of_team(team));
CREATE POLICY b ON drafts TO authenticated USING (( SELECT of_team(drafts.team))) WITH CHECK (owner = auth.user_id());
CREATE POLICY c ON drafts TO authenticated USING (NOT of_team(team) AND id > 5);
CREATE POLICY d ON drafts AS RESTRICTIVE USING (starts_with(team, '')) WITH CHECK (of_team('a'));
CREATE POLICY f ON drafts AS RESTRICTIVE FOR INSERT WITH CHECK (id > 0);
\set command SELECT
:explain
\set command INSERT
:explain
\set command UPDATE
:explain
