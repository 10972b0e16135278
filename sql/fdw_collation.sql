-- fdw_collation: a store whose database has another default collation.  No statement returns
-- other rows, or in another order, than for a plain table; and what depends on the collation is
-- sent again as soon as the store is known to have the same one
SET client_min_messages = warning;
CREATE SCHEMA coll;
SET search_path = coll, public;
-- the collation of this database orders by bytes, that of the store does not
SELECT 'B' < 'a' AS by_bytes, encoding = pg_char_to_encoding('UTF8') AS utf8 FROM pg_database WHERE datname = current_database();
CREATE DATABASE coll_other TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und';
CREATE DATABASE coll_equal;
SELECT format('CREATE SERVER coll_server FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
	current_setting('unix_socket_directories'), current_setting('port'), 'coll_other') AS ddl \gset
:ddl;
CREATE USER MAPPING FOR CURRENT_USER SERVER coll_server;
SELECT runops.add_store('a', 'coll_server') \gset

CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
-- not deterministic only in the store
CREATE COLLATION kind (provider = icu, locale = 'und');
CREATE DOMAIN word AS text;
CREATE TYPE pair AS (k text, n int);
CREATE TYPE words AS RANGE (subtype = text);
CREATE TABLE note (id text PRIMARY KEY, name text, short varchar(20), fixed char(4), c text COLLATE "C", i text COLLATE "und-x-icu",
	word word, tags text[], pair pair, words words, doc jsonb, n int);
CREATE TABLE line (id text PRIMARY KEY, "noteId" text NOT NULL, name text, b text COLLATE blind, k text COLLATE kind);
SELECT runops.attach('note', 'id'), runops.attach('line', 'noteId') \gset
SELECT runops.remote_exec(s, $$CREATE SCHEMA coll; CREATE TYPE coll.words AS RANGE (subtype = text);
	CREATE COLLATION coll.kind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)$$) FROM unnest('{new,a}'::text[]) s;
SELECT store, verdict FROM runops.recheck() WHERE store IN ('new', 'a');
SELECT count(*) > 0 AS provisioned FROM runops.provision('a') \gset
SELECT count(*) > 0 AS provisioned FROM runops.provision('new') \gset
CREATE TABLE plain_note (LIKE note);
CREATE TABLE plain_line (LIKE line);
INSERT INTO plain_note
SELECT format('0123456789abcdefghijkl%sa2', lpad(k::text, 2, '0')), v, v, left(v, 4), v, v, v, ARRAY[v, 'x'], (v, k)::pair,
	words(v, v || 'zz'), jsonb_build_object('v', v), k
FROM unnest('{a,B,c,D,é,E,aa,AB,_x,-y,Z,"ab c","AB-c",zz,"É",ß}'::text[]) WITH ORDINALITY AS x (v, k);
INSERT INTO plain_note SELECT 'clegacy' || lpad(n::text, 18, '0'), name, short, fixed, c, i, word, tags, pair, words, doc, n + 100
FROM plain_note WHERE n < 5;
INSERT INTO plain_line SELECT 'line' || id, id, upper(name COLLATE "und-x-icu"), name, name FROM plain_note;
INSERT INTO note SELECT * FROM plain_note;
INSERT INTO line SELECT * FROM plain_line;
SELECT tableoid::regclass, count(*) FROM note GROUP BY 1 ORDER BY 1;

-- the rows of a query in which {} stands for routed or for plain tables
CREATE FUNCTION answer(query text, tables text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	result text := '';
BEGIN
	FOR r IN EXECUTE replace(query, '{}', tables) LOOP
		result := result || r || ' ';
	END LOOP;
	RETURN result;
END
$$;
CREATE FUNCTION same(query text) RETURNS TABLE (q text, difference text) LANGUAGE plpgsql AS $$
DECLARE
	plain text := answer(query, 'plain_');
	routing text;
BEGIN
	IF plain = '' THEN
		RAISE 'no rows: %', query;
	END IF;
	FOREACH routing IN ARRAY '{on,off}'::text[] LOOP
		PERFORM set_config('runops.enable_routing', routing, true);
		IF answer(query, '') <> plain THEN
			RETURN QUERY SELECT query, format('with enable_routing %s: %s plain: %s', routing, answer(query, ''), plain);
		END IF;
	END LOOP;
	PERFORM set_config('runops.enable_routing', 'on', true);
END
$$;
CREATE TABLE queries (q text);
INSERT INTO queries VALUES
	-- ranges
	('SELECT name FROM {}note WHERE n < 100 AND name < ''a'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name >= ''B'' AND name <= ''E'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name BETWEEN ''A'' AND ''a'' ORDER BY n'),
	('SELECT name FROM {}note WHERE (name, n) > (''a'', 1) ORDER BY n'),
	('SELECT short FROM {}note WHERE short > ''a'' ORDER BY n'),
	('SELECT fixed FROM {}note WHERE fixed > ''a'' ORDER BY n'),
	('SELECT word FROM {}note WHERE word > ''a'' ORDER BY n'),
	('SELECT tags FROM {}note WHERE tags > ''{a}'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name > ANY (''{a,b}'') ORDER BY n'),
	('SELECT name FROM {}note WHERE name > ALL (''{a,b}'') ORDER BY n'),
	('SELECT name FROM {}note WHERE CASE WHEN n > 3 THEN name ELSE short END < ''a'' ORDER BY n'),
	('SELECT name FROM {}note WHERE (name < ''a'') = (n < 8) ORDER BY n'),
	('SELECT name FROM {}note WHERE greatest(name, ''a'') = ''a'' ORDER BY n'),
	('SELECT name FROM {}note WHERE NOT name < ''a'' OR n = 1 ORDER BY n'),
	('SELECT pair FROM {}note WHERE pair < (''a'', 0)::pair ORDER BY n'),
	('SELECT words FROM {}note WHERE words && words(''a'', ''az'') ORDER BY n'),
	('SELECT words FROM {}note WHERE words < words(''a'', ''z'') ORDER BY n'),
	('SELECT words FROM {}note WHERE words @> ''Bz''::text ORDER BY n'),
	('SELECT doc FROM {}note WHERE doc < ''{"v": "a"}'' ORDER BY n'),
	('SELECT c FROM {}note WHERE c > ''a'' ORDER BY n'),
	('SELECT i FROM {}note WHERE i > ''a'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name ~<~ ''a'' ORDER BY n'),
	-- what depends on the classes of characters
	('SELECT name FROM {}note WHERE upper(name) = ''É'' OR n = 1 ORDER BY n'),
	('SELECT name FROM {}note WHERE name ILIKE ''É%'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name LIKE ''A%'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name ~ ''^[[:alpha:]]+$'' ORDER BY n'),
	('SELECT name FROM {}note WHERE name ~* ''é'' ORDER BY n'),
	('SELECT name FROM {}note WHERE initcap(name) = name ORDER BY n'),
	('SELECT lower(name), count(*) FROM {}note GROUP BY 1 ORDER BY 2 DESC, 1'),
	-- sorts
	('SELECT name FROM {}note ORDER BY name, n'),
	('SELECT name FROM {}note ORDER BY name DESC, n LIMIT 5'),
	('SELECT name FROM {}note WHERE n < 100 ORDER BY name LIMIT 3 OFFSET 2'),
	('SELECT short FROM {}note ORDER BY short, n LIMIT 7'),
	('SELECT fixed FROM {}note ORDER BY fixed, n LIMIT 7'),
	('SELECT word FROM {}note ORDER BY word, n LIMIT 7'),
	('SELECT tags FROM {}note ORDER BY tags, n LIMIT 7'),
	('SELECT pair FROM {}note ORDER BY pair, n LIMIT 7'),
	('SELECT words FROM {}note ORDER BY words, n LIMIT 7'),
	('SELECT doc FROM {}note ORDER BY doc, n LIMIT 7'),
	('SELECT c FROM {}note ORDER BY c, n LIMIT 7'),
	('SELECT i FROM {}note ORDER BY i, n LIMIT 7'),
	('SELECT name FROM {}note ORDER BY upper(name), n LIMIT 7'),
	('SELECT name FROM {}note ORDER BY name COLLATE "C", n LIMIT 7'),
	('SELECT name FROM {}note ORDER BY name COLLATE "und-x-icu", n LIMIT 7'),
	('SELECT name FROM {}note ORDER BY name USING ~<~, n LIMIT 7'),
	('SELECT DISTINCT name FROM {}note ORDER BY name LIMIT 4'),
	('SELECT DISTINCT ON (name) name, n FROM {}note ORDER BY name, n LIMIT 4'),
	('SELECT name, row_number() OVER (ORDER BY name, n) FROM {}note ORDER BY 2 LIMIT 6'),
	-- aggregates
	('SELECT min(name), max(name), max(short), min(fixed), max(word), max(tags) FROM {}note'),
	('SELECT min(c), max(i) FROM {}note'),
	('SELECT n % 2, max(name) FROM {}note GROUP BY 1 ORDER BY 1'),
	('SELECT n % 2, count(*) FROM {}note GROUP BY 1 HAVING max(name) > ''zz'' ORDER BY 1'),
	('SELECT string_agg(name, '','' ORDER BY name, n), array_agg(name ORDER BY name, n) FROM {}note'),
	('SELECT name, count(*) FROM {}note GROUP BY name ORDER BY name LIMIT 5'),
	('SELECT count(DISTINCT name), count(name) FILTER (WHERE name > ''a'') FROM {}note'),
	-- joins, sub-selects
	('SELECT a.name, l.name FROM {}note a JOIN {}line l ON l."noteId" = a.id WHERE a.name < ''a'' ORDER BY a.n'),
	('SELECT a.name, l.name FROM {}note a JOIN {}line l ON l."noteId" = a.id AND a.name > l.name ORDER BY a.n'),
	('SELECT a.name, l.name FROM {}note a LEFT JOIN {}line l ON l."noteId" = a.id AND l.name > ''a'' ORDER BY a.n'),
	('SELECT a.name, l.name FROM {}note a JOIN {}line l ON a.name = l.name ORDER BY a.name, a.n, l.id'),
	('SELECT a.name FROM {}note a FULL JOIN {}note b USING (name) WHERE a.n < 100 AND b.n < 100 ORDER BY name'),
	('SELECT max(l.name) FROM {}note a JOIN {}line l ON l."noteId" = a.id'),
	('SELECT a.name FROM {}note a JOIN {}line l ON l."noteId" = a.id ORDER BY a.name, a.n LIMIT 4'),
	('SELECT name FROM {}note WHERE name > (SELECT min(name) FROM {}line) ORDER BY n'),
	('SELECT name FROM {}note a WHERE EXISTS (SELECT FROM {}line l WHERE l."noteId" = a.id AND l.name < a.name) OR n = 1 ORDER BY n'),
	('SELECT b FROM {}line WHERE b = ''AB'' COLLATE blind ORDER BY id'),
	('SELECT b FROM {}line WHERE b <> ''AB'' COLLATE blind ORDER BY id'),
	('SELECT count(*) FROM {}line GROUP BY b ORDER BY 1'),
	('SELECT k FROM {}line WHERE k = ''É'' ORDER BY id'),
	('SELECT k FROM {}line WHERE k > ''AB'' ORDER BY id'),
	('SELECT k, count(*) FROM {}line GROUP BY k ORDER BY k'),
	('SELECT count(DISTINCT k), count(DISTINCT k COLLATE "C") FROM {}line'),
	('SELECT a.name, l.k FROM {}note a JOIN {}line l ON l.k = a.name COLLATE kind ORDER BY a.n, l.id'),
	('SELECT count(DISTINCT b) FROM {}line');
SELECT s.* FROM queries x, same(x.q) s;
-- the same for the merge joins that nothing else than a sort makes cheap
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT s.* FROM queries x, same(x.q) s WHERE x.q LIKE '%JOIN%';
RESET enable_hashjoin;
RESET enable_nestloop;
-- one store alone, whose name is known
SELECT s.* FROM queries x, same(replace(x.q, 'FROM {}note', 'FROM (SELECT * FROM {}note WHERE id ~ ''a2$'') AS note')) s
WHERE x.q NOT LIKE '%{}note a%' AND x.q LIKE '%note%';

-- with estimates of the store postgres_fdw offers more
ALTER SERVER coll_server OPTIONS (ADD use_remote_estimate 'true');
SELECT store, verdict FROM runops.recheck('a');
SELECT s.* FROM queries x, same(x.q) s;
ALTER SERVER coll_server OPTIONS (DROP use_remote_estimate);
SELECT store, verdict FROM runops.recheck('a');


-- pages are ordered by bytes, in the store as well
SELECT array_agg("row" ->> 'name') = (SELECT array_agg(name) FROM (SELECT name FROM plain_note ORDER BY name COLLATE "C", id COLLATE "C" LIMIT 9) x) AS same
FROM runops.read_page('note', '{}', 'name', 9, NULL, false);

-- generic plans, PL/pgSQL, cursors
PREPARE p (text) AS SELECT name FROM note WHERE name < $1 AND n < 100 ORDER BY name LIMIT 4;
SET plan_cache_mode = force_generic_plan;
EXECUTE p ('a');
RESET plan_cache_mode;
BEGIN;
DECLARE cur CURSOR FOR SELECT name FROM note WHERE n < 100 ORDER BY name;
FETCH 4 FROM cur;
CLOSE cur;
COMMIT;

-- changes: what a statement changes, and what it writes
BEGIN;
UPDATE note SET n = n + 1000 WHERE name < 'a' AND n < 100;
SELECT name FROM note WHERE n > 1000 ORDER BY n;
ROLLBACK;
BEGIN;
DELETE FROM note WHERE name > 'a' AND n < 100 RETURNING name;
ROLLBACK;
BEGIN;
UPDATE note SET name = upper(name) WHERE id = '0123456789abcdefghijkl05a2';
SELECT name FROM note WHERE id = '0123456789abcdefghijkl05a2';
ROLLBACK;

-- what is sent: no range and no sort of the default collation, but equality
\set ECHO none
CREATE FUNCTION sent(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		IF line LIKE '%Remote SQL:%' THEN
			RETURN NEXT regexp_replace(line, '.*Remote SQL: (SELECT .* FROM )?', '');
		END IF;
	END LOOP;
END
$$;
CREATE FUNCTION sent_all() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT s FROM unnest('{
		"SELECT name FROM runops_shard_a.note WHERE name < ''a''",
		"SELECT name FROM runops_shard_a.note WHERE name = ''a''",
		"SELECT name FROM runops_shard_a.note WHERE name <> ''a'' AND short IN (''a'', ''b'') AND fixed = ''a''",
		"SELECT name FROM runops_shard_a.note WHERE name LIKE ''A%'' AND length(name) = 2",
		"SELECT name FROM runops_shard_a.note WHERE name ~<~ ''a''",
		"SELECT name FROM runops_shard_a.note WHERE upper(name) = ''A''",
		"SELECT name FROM runops_shard_a.note WHERE n < 4 ORDER BY n LIMIT 3",
		"SELECT name FROM runops_shard_a.note ORDER BY name LIMIT 3",
		"SELECT c FROM runops_shard_a.note WHERE c < ''a'' ORDER BY c LIMIT 3",
		"SELECT i FROM runops_shard_a.note WHERE i < ''a'' ORDER BY i LIMIT 3",
		"SELECT name, count(*) FROM runops_shard_a.note GROUP BY name",
		"SELECT max(name) FROM runops_shard_a.note",
		"UPDATE runops_shard_a.note SET name = lower(name)",
		"UPDATE runops_shard_a.note SET n = 1 WHERE name < ''a''",
		"SELECT b FROM runops_shard_a.line WHERE b = ''a''",
		"SELECT k FROM runops_shard_a.line WHERE k = ''a''"}'::text[]) q, sent(q) s
$$;
\set ECHO all
SELECT * FROM sent_all();
SELECT sent($$SELECT name FROM runops_shard_a.note ORDER BY decode(replace(name, '\', '\\'), 'escape')$$);
-- doctor says what is kept here
SELECT severity, object, regexp_replace(finding, 'here \{.*', 'here ...') AS finding, hint FROM runops.doctor(detail => true) WHERE object LIKE '%collation%' ORDER BY 2, 3 \gx

-- and of indexes that were built with another version of the library
UPDATE pg_database SET datcollversion = 'old' WHERE datname = 'coll_other';
SELECT severity, object, regexp_replace(finding, '[0-9.]+', 'N') AS finding, hint FROM runops.doctor() WHERE finding LIKE 'version%' \gx
UPDATE pg_database SET datcollversion = pg_database_collation_actual_version(oid) WHERE datname = 'coll_other';

-- the same store with the collation of this database: everything is sent, by plans that exist as well
ALTER SERVER coll_server OPTIONS (SET dbname 'coll_equal');
PREPARE early AS SELECT name FROM runops_shard_a.note WHERE name < 'a';
SELECT sent('EXECUTE early') AS nothing_known;
SELECT runops.remote_exec('a', 'CREATE SCHEMA coll; CREATE TYPE coll.words AS RANGE (subtype = text)');
SELECT count(*) > 0 AS provisioned FROM runops.provision('a');
INSERT INTO note SELECT * FROM plain_note WHERE id ~ 'a2$';
INSERT INTO line SELECT * FROM plain_line WHERE "noteId" ~ 'a2$';
SELECT sent('EXECUTE early');
SELECT * FROM sent_all();
SELECT s.* FROM queries x, same(x.q) s;
SELECT severity, object, regexp_replace(finding, 'here \{.*', 'here ...') AS finding, hint FROM runops.doctor(detail => true) WHERE object LIKE '%collation%' ORDER BY 2, 3 \gx

-- the server reaches, under the same name, a database with another collation: a plan that was
-- made before is not used
PREPARE sorted (text) AS SELECT name FROM runops_shard_a.note WHERE name < $1 ORDER BY name;
SET plan_cache_mode = force_generic_plan;
EXECUTE sorted ('a');
SELECT sent('EXECUTE sorted (''a'')');
SELECT count(pg_terminate_backend(pid, 60000)) > 0 AS ended FROM pg_stat_activity WHERE datname IN ('coll_equal', 'coll_other');
ALTER DATABASE coll_equal RENAME TO coll_saved;
ALTER DATABASE coll_other RENAME TO coll_equal;
\set SHOW_CONTEXT never
EXECUTE sorted ('a');
EXECUTE sorted ('a');
SELECT sent('EXECUTE sorted (''a'')');
RESET plan_cache_mode;
SELECT s.* FROM queries x, same(x.q) s;


SELECT runops.detach(t, force => true) FROM unnest('{note,line}'::regclass[]) t;
SELECT runops.drop_store('a') \gset
DROP SERVER coll_server CASCADE;
DROP SCHEMA coll CASCADE;
\connect runops_store
DROP SCHEMA coll CASCADE;
\connect contrib_regression
SELECT count(pg_terminate_backend(pid, 60000)) >= 0 FROM pg_stat_activity WHERE datname IN ('coll_saved', 'coll_equal');
DROP DATABASE coll_saved;
DROP DATABASE coll_equal;
