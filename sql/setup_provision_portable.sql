--
-- provision sends to a store no expression that runs somebody's code, or more
-- than computes, with the rights of whoever provisions
--
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA portable;
SET search_path = portable, public;
CREATE ROLE regress_portable;
GRANT USAGE, CREATE ON SCHEMA portable TO regress_portable;
SELECT runops.remote_exec('new', $$
	CREATE SCHEMA portable;
	-- as somebody might have made it there
	CREATE FUNCTION portable.own(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'$$);
SET ROLE regress_portable;
CREATE FUNCTION own(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE DOMAIN checked AS text CHECK (own(VALUE));
CREATE DOMAIN plain AS text CHECK (length(VALUE) < 100);
CREATE TABLE run (id text PRIMARY KEY, a text, b text, n int, t timestamptz DEFAULT now(), u uuid DEFAULT gen_random_uuid(),
	d int DEFAULT coalesce(lo_creat(-1)::int, 1), p plain,
	CONSTRAINT good CHECK (a ~ '^[a-z]*$' AND t < '2100-01-01'::timestamptz + interval '1 day'),
	CONSTRAINT calls_own CHECK (own(a)));
INSERT INTO run (id, n) VALUES ('c0000000000000000000port1', 1);
ALTER TABLE run ADD CONSTRAINT exports CHECK (lo_export(16384, '/tmp/x') > 0 OR true) NOT VALID;
ALTER TABLE run ADD CONSTRAINT reads CHECK (length(table_to_xml('pg_authid', true, false, '')::text) > 0) NOT VALID;
ALTER TABLE run ADD CONSTRAINT of_new_rows CHECK (n > 1) NOT VALID;
CREATE INDEX by_own ON run (own(a));
CREATE INDEX of_own ON run (a) WHERE own(b);
CREATE INDEX by_lower ON run (lower(a)) WHERE b IS NOT NULL;
CREATE TABLE generated (id text PRIMARY KEY, g bool GENERATED ALWAYS AS (own(id)) STORED);
CREATE TABLE typed (id text PRIMARY KEY, c checked);
RESET ROLE;
SELECT runops.attach(t, 'id') FROM unnest('{run,generated,typed}'::regclass[]) t;
SELECT object, action, detail FROM runops.provision('new', relation => 'run') WHERE object ~ 'portable' AND object !~ '^schema' ORDER BY action, object;
SELECT object, action, ddl, detail FROM runops.provision('new', true, relation => 'generated') WHERE object ~ '^table';
SELECT object, action, ddl, detail FROM runops.provision('new', true, relation => 'typed') WHERE object ~ '^type';
SELECT runops.remote_query('new', $$SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'portable.run'::regclass AND contype = 'c' ORDER BY 1$$);
SELECT runops.remote_query('new', $$SELECT a.attname, pg_get_expr(d.adbin, d.adrelid) AS "default" FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
	WHERE d.adrelid = 'portable.run'::regclass ORDER BY 1$$);
SELECT count(*) FROM runops.verify('run') WHERE detail ~ 'not validated';
SELECT runops.detach(t, force => true) FROM unnest('{run,generated,typed}'::regclass[]) t;
SELECT runops.remote_exec('new', 'DROP SCHEMA portable CASCADE');
RESET search_path;
DROP SCHEMA portable CASCADE;
DROP OWNED BY regress_portable;
DROP ROLE regress_portable;
