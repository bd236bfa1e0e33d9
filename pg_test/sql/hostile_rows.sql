-- Bob tries to learn about rows that are not his from errors, plans, unique keys and files.
\i fixtures/hostile.sql

-- 1. a function that shows its argument, with a cost so low that the planner would call it first
CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN RAISE NOTICE ''told: %'', $1; RETURN true; END';
SELECT count(*) FROM posts WHERE tell(title);
SELECT count(*) FROM all_posts_quick WHERE tell(title);
SELECT count(*) FROM posts p JOIN notes n ON tell(p.title) AND tell(n.note);
DELETE FROM posts WHERE tell(title) AND false;
-- 2. an operator that does the same
CREATE FUNCTION tell(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT tell($1)';
CREATE OPERATOR public.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = tell, RESTRICT = eqsel);
SELECT count(*) FROM posts WHERE title <<< 'x';
-- 3. errors that quote a value, or whose absence tells about it
SELECT title::int FROM posts;
SELECT * FROM posts WHERE title::int = 1;
SELECT count(*) FROM posts WHERE 1 / (CASE WHEN title = 'secret of alice' THEN 0 ELSE 1 END) = 1;
SELECT count(*) FROM posts WHERE CASE WHEN title LIKE 'secret%' THEN tell(title) ELSE true END;
-- 4. plans: rows that the policy filtered are counted, as for any policy, and not shown
SET seq_page_cost = 0.5;
SELECT explained('SELECT * FROM notes');
SELECT explained('SELECT * FROM notes WHERE note LIKE ''secret%''');
RESET seq_page_cost;
-- 5. unique keys: that a value exists is visible, as for any policy; whose it is, is not
INSERT INTO posts (id, title) VALUES (1, 'new');
INSERT INTO posts (id, title) VALUES (3, 'secret of alice');
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET title = posts.title RETURNING *;
INSERT INTO posts (id, title) VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id RETURNING *;
-- 6. writing in Alice's name, and taking what is hers
INSERT INTO posts VALUES (4, :'alice_id', 'as alice') RETURNING *;
UPDATE posts SET user_id = :'alice_id' WHERE id = 2;
UPDATE posts SET user_id = auth.uid() WHERE id = 1 RETURNING *;
DELETE FROM posts WHERE id = 1 RETURNING *;
WITH u AS (UPDATE notes SET owner = auth.user_id() RETURNING *) SELECT note FROM u;
\copy posts from /dev/null
-- 7. other ways to the rows
TABLE posts;
COPY posts (title) TO stdout;
SELECT title FROM ONLY posts TABLESAMPLE SYSTEM (100);
SELECT title FROM posts WHERE ctid = '(0,1)';
SELECT title FROM posts FOR UPDATE SKIP LOCKED;
SELECT (SELECT title FROM posts WHERE id = 1) IS NULL, EXISTS (SELECT FROM posts WHERE id = 1), (SELECT max(title) FROM posts);
SELECT title FROM posts a WHERE EXISTS (SELECT FROM posts b WHERE b.id < a.id);
LOCK TABLE posts;
\set VERBOSITY sqlstate
ANALYZE posts;
-- 8. the server's files and other databases
CREATE TABLE kept (n int);
SELECT pg_read_file('postgresql.conf');
SELECT lo_import('/etc/passwd');
COPY kept FROM PROGRAM 'true';
COPY kept TO '/tmp/x';
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION tell();
CREATE PUBLICATION p FOR TABLE auth.jwks;
SELECT pg_create_logical_replication_slot('s', 'pgoutput');

-- Nothing has changed for Alice.
\c - authenticated
SELECT auth.jwt_session_init(:'alice');
:mine
SELECT auth.jwt_session_init(:'bob');
:mine
