-- control_plane_resolver: registration, its errors, and restrictions on the query
CREATE SCHEMA "Res";
SET search_path = "Res";
CREATE TABLE environment (id text PRIMARY KEY, org text, slug text, at timestamptz);
INSERT INTO environment VALUES
	('e1', 'o1', 'prod', '2026-01-01 00:00+00'), ('e2', 'o1', 'dev', NULL), ('e3', 'o2', 'prod', NULL);

-- registration
SELECT runops.add_resolver('environment', 'SELECT id, org, slug, at FROM environment WHERE id = $1; ', 'id', 'org');
SELECT slot, query, environment_column, organization_column, ttl, registrant = current_user::regrole AS mine, keys
FROM runops.resolvers;
SELECT runops.add_resolver('environment', 'SELECT 1');
SELECT runops.add_resolver('two', 'SELECT slug FROM environment WHERE org = $1 AND id = coalesce($2, id) -- the end');
SELECT runops.add_resolver('none', 'SELECT 1 AS one', ttl => '1 hour');
SELECT runops.add_resolver('gap', 'SELECT id FROM environment WHERE id = $2');
SELECT slot, keys, ttl FROM runops.resolvers ORDER BY slot;

-- values
SELECT runops.resolve('environment', 'e1');
SELECT runops.resolve('environment', 'absent') IS NULL AS absent;
SELECT runops.resolve('environment', NULL) IS NULL AS absent;
SELECT runops.resolve('environment', VARIADIC ARRAY['e2']);
SELECT runops.resolve('none', VARIADIC '{}');
SELECT runops.resolve('two', 'o1', 'e2'), runops.resolve('two', 'o2', NULL);
SELECT runops.resolve('gap', NULL, 'e3');
-- the same for everybody: no setting of the session gets in
SET TimeZone = 'Asia/Tokyo';
SET search_path = pg_catalog;
SELECT runops.add_resolver('time', 'SELECT ''2026-01-01 00:00+00''::timestamptz AS at, ''1 day 2 hours''::interval::text AS i, 1.5::float8::text AS f');
SET IntervalStyle = 'sql_standard';
SET row_security = off;
SELECT runops.resolve('time', VARIADIC '{}');
SELECT runops.resolve('environment', 'e1') ->> 'at';
SHOW TimeZone;
RESET TimeZone;
RESET IntervalStyle;
RESET row_security;
SET search_path = "Res";

-- keys that look alike are different
SELECT runops.add_resolver('join', 'SELECT concat_ws(''|'', coalesce($1, ''NULL''), coalesce($2, ''NULL'')) AS keys');
SELECT runops.resolve('join', 'a', 'b'), runops.resolve('join', 'ab', ''), runops.resolve('join', '', 'ab'),
	runops.resolve('join', NULL, ''), runops.resolve('join', '', NULL), runops.resolve('join', 'NULL', '');
SELECT runops.resolve('join', 'a', 'b'), runops.resolve('join', 'ab', ''), runops.resolve('join', '', 'ab'),
	runops.resolve('join', NULL, ''), runops.resolve('join', '', NULL), runops.resolve('join', 'NULL', '');

-- errors of a call
SELECT runops.resolve('nowhere', 'e1');
SELECT runops.resolve(repeat('x', 100), 'e1');
SELECT runops.resolve(NULL, 'e1');
SELECT runops.resolve('environment', VARIADIC NULL);
SELECT runops.resolve('environment', 'e1', 'e2');
SELECT runops.resolve('environment', VARIADIC '{}');
SELECT runops.resolve('environment', VARIADIC '{{e1}}');
SELECT runops.resolve('two', 'o1', NULL);
SELECT runops.add_resolver('fails', 'SELECT 1/length($1) AS x');
SELECT runops.resolve('fails', '');
SELECT runops.resolve('fails', 'x');

-- errors of registration
SELECT runops.add_resolver(NULL, 'SELECT 1');
SELECT runops.add_resolver('x', NULL);
SELECT runops.add_resolver('', 'SELECT 1');
SELECT runops.add_resolver(repeat('x', 64), 'SELECT 1');
SELECT runops.add_resolver('x', '');
SELECT runops.add_resolver('x', 'SELECT 1; SELECT 2');
SELECT runops.add_resolver('x', 'DELETE FROM environment RETURNING id');
SELECT runops.add_resolver('x', 'SELECT 1 INTO gone');
SELECT runops.add_resolver('x', 'WITH d AS (DELETE FROM environment RETURNING id) SELECT * FROM d');
SELECT runops.add_resolver('x', 'SELECT id FROM environment WHERE id = $1 FOR UPDATE');
-- PostgreSQL 19 words the hint differently
\set VERBOSITY terse
SELECT runops.add_resolver('x', 'SELECT id FROM environment WHERE id = $1 AND $2 > 1');
\set VERBOSITY default
SELECT runops.add_resolver('x', 'SELECT id FROM nowhere WHERE id = $1');
SELECT runops.add_resolver('x', 'SELECT id FROM environment WHERE id = $1) AS a, (SELECT 1');
SELECT runops.add_resolver('x', 'SELECT id FROM environment WHERE id = $1', 'org');
SELECT runops.add_resolver('x', 'SELECT id, org AS id FROM environment WHERE id = $1', 'id');
SELECT runops.add_resolver('x', 'SELECT 1', ttl => '-1 second');
CREATE TEMP TABLE passing (id text);
SELECT runops.add_resolver('x', 'SELECT id FROM passing WHERE id = $1');
DROP TABLE passing;
SELECT count(*) FROM runops.resolvers WHERE slot = 'x';

-- a column of the name that the query has, and none at all
SELECT runops.add_resolver('odd', 'SELECT id AS "resolved row", org AS "Org""x" FROM environment WHERE id = $1', 'resolved row', 'Org"x');
SELECT runops.resolve('odd', 'e1');
SELECT runops.add_resolver('empty', 'SELECT FROM environment WHERE id = $1');
SELECT runops.resolve('empty', 'e1'), runops.resolve('empty', 'absent') IS NULL AS absent;

-- the rights of the registrant, not the caller's, and his policies
CREATE ROLE regress_registrant;
CREATE ROLE regress_caller;
GRANT USAGE ON SCHEMA runops, "Res" TO regress_registrant, regress_caller;
GRANT EXECUTE ON FUNCTION runops.add_resolver, runops.drop_resolver TO regress_registrant, regress_caller;
GRANT EXECUTE ON FUNCTION runops.resolve TO regress_caller;
GRANT SELECT ON environment TO regress_registrant, regress_caller;
ALTER TABLE environment ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON environment TO regress_registrant USING (org = 'o1');
CREATE POLICY q ON environment TO regress_caller USING (org = 'o2');
SET ROLE regress_registrant;
SELECT runops.add_resolver('theirs', 'SELECT id, current_user AS who FROM environment WHERE id = $1', 'id');
SELECT runops.resolve('theirs', 'e1');
SET ROLE regress_caller;
SELECT runops.resolve('theirs', 'e1'), runops.resolve('theirs', 'e3') IS NULL AS hidden;
SELECT runops.resolve('theirs', 'e1'), runops.resolve('theirs', 'e3') IS NULL AS hidden;
SELECT runops.drop_resolver('theirs');
SELECT runops.add_resolver('mine', 'SELECT id FROM environment WHERE id = $1', 'id');
SELECT runops.resolve('mine', 'e1') IS NULL AS hidden, runops.resolve('mine', 'e3');
SELECT runops.add_resolver('secret', 'SELECT rolpassword FROM pg_authid WHERE rolname = $1');
SELECT runops.resolve('secret', 'x');
DELETE FROM runops.resolver_config;
RESET ROLE;
-- the caller's own rights, setting and role are back after an error
SELECT current_user = session_user AS back;
-- a privilege that is taken away is gone at once
SELECT runops.resolve('theirs', 'e2');
REVOKE SELECT ON environment FROM regress_registrant;
SELECT runops.resolve('theirs', 'e2');
GRANT SELECT ON environment TO regress_registrant;
SELECT runops.resolve('theirs', 'e2');
-- and a policy that changes
ALTER POLICY p ON environment USING (org = 'o2');
SELECT runops.resolve('theirs', 'e2') IS NULL AS hidden;
-- or what the role may: nothing of a plan remains
ALTER ROLE regress_registrant BYPASSRLS;
SELECT runops.resolve('theirs', 'e2');
ALTER ROLE regress_registrant NOBYPASSRLS;
SELECT runops.resolve('theirs', 'e2') IS NULL AS hidden;
-- a query cannot become the caller
CREATE FUNCTION become() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET ROLE NONE; RETURN current_user; END $$;
SET ROLE regress_registrant;
SELECT runops.add_resolver('become', 'SELECT "Res".become()');
RESET ROLE;
SELECT runops.resolve('become', VARIADIC '{}');

-- the registrant is renamed, and goes
ALTER ROLE regress_registrant RENAME TO regress_renamed;
SELECT runops.resolve('theirs', 'e3');
SELECT registrant FROM runops.resolvers WHERE slot = 'theirs';
DROP OWNED BY regress_renamed;
DROP ROLE regress_renamed;
SELECT runops.resolve('theirs', 'e3');
SELECT runops.drop_resolver('theirs');
DROP OWNED BY regress_caller;
DROP ROLE regress_caller;

-- a resolver that asks another, and itself
SELECT runops.add_resolver('outer', 'SELECT runops.resolve(''none'', VARIADIC ''{}'') AS inner');
SELECT runops.resolve('outer', VARIADIC '{}');
SELECT runops.resolve('outer', VARIADIC '{}');
SELECT entries, hits FROM runops.resolvers WHERE slot = 'outer';
SELECT runops.add_resolver('down', 'SELECT CASE WHEN $1::int = 0 THEN ''[]'' ELSE runops.resolve(''down'', ($1::int - 1)::text) END AS v');
SELECT runops.resolve('down', '3');

-- a table that is gone is not found among the caller's temporary ones
CREATE TABLE lost (id text, v int);
SELECT runops.add_resolver('lost', 'SELECT v FROM lost WHERE id = $1');
DROP TABLE lost;
CREATE TEMP TABLE lost (id text, v int);
INSERT INTO pg_temp.lost VALUES ('e1', 666);
SELECT runops.resolve('lost', 'e1');
DROP TABLE pg_temp.lost;
CREATE TEMP VIEW lost AS SELECT 'e1'::text AS id, 666 AS v;
SELECT runops.resolve('lost', 'e1');
DROP VIEW pg_temp.lost;
SELECT runops.drop_resolver('lost');

-- what is written through one foreign table and not committed is not kept, read by whatever way
CREATE TABLE far (id text PRIMARY KEY, v int);
INSERT INTO far VALUES ('e1', 1);
DO $$
BEGIN
	EXECUTE format('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), current_database());
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER loop;
CREATE FOREIGN TABLE far1 (id text, v int) SERVER loop OPTIONS (schema_name 'Res', table_name 'far');
CREATE FOREIGN TABLE far2 (id text, v int) SERVER loop OPTIONS (schema_name 'Res', table_name 'far');
CREATE FUNCTION look(text) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT v FROM far1 WHERE id = $1); END $$;
SELECT runops.add_resolver('far', 'SELECT v FROM far2 WHERE id = $1');
SELECT runops.add_resolver('look', 'SELECT look($1) AS v');
BEGIN;
UPDATE far1 SET v = 2;
SELECT runops.resolve('far', 'e1'), runops.resolve('look', 'e1');
ROLLBACK;
SELECT runops.resolve('far', 'e1'), runops.resolve('look', 'e1');
BEGIN;
COPY far1 FROM stdin;
e2	2
\.
SELECT runops.resolve('far', 'e2'), runops.resolve('look', 'e2');
ROLLBACK;
SELECT runops.resolve('far', 'e2'), runops.resolve('look', 'e2');
SELECT runops.drop_resolver(s) FROM unnest('{far,look}'::text[]) s;
DROP SERVER loop CASCADE;

-- drop
SELECT runops.drop_resolver('nowhere');
SELECT runops.drop_resolver('nowhere', if_exists => true);
SELECT count(runops.drop_resolver(slot)) FROM (SELECT slot FROM runops.resolvers ORDER BY slot) s;
SELECT * FROM runops.resolvers;
SELECT runops.resolve('environment', 'e1');
-- the same name, another query
SELECT runops.add_resolver('environment', 'SELECT 1 AS one WHERE $1 = ''e1''');
SELECT runops.resolve('environment', 'e1');
SELECT runops.drop_resolver('environment');
DROP SCHEMA "Res" CASCADE;
