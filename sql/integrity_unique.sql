--
-- integrity_unique: keys that are unique over all stores of a routed table.  Races
-- of two sessions are tested in the specs integrity-unique-*.
--
\set VERBOSITY verbose
\set SHOW_CONTEXT never
\set legacy1 'c00000000000000000000uni1'
\set legacy2 'c00000000000000000000uni2'
\set legacy3 'c00000000000000000000uni3'
\set new1 '0123456789abcdefghijklmu11'
\set new2 '0123456789abcdefghijklmu21'
\set new3 '0123456789abcdefghijklmu31'
CREATE SCHEMA uni;
SET search_path = uni, public;
SET client_min_messages = warning;

-- Messages without the line of the source that raised them.
CREATE FUNCTION try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	con text;
	tab text;
	nsp text;
	hint text;
BEGIN
	EXECUTE query;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
		con = CONSTRAINT_NAME, tab = TABLE_NAME, nsp = SCHEMA_NAME;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''),
					 CASE WHEN con <> '' THEN format('constraint %s of %s.%s', con, nsp, tab) END);
END
$$;

-- the legacy leaf has other attribute numbers than the table, and no unique index on the key
CREATE TABLE "Run" (gone int, id text PRIMARY KEY, env varchar(20) NOT NULL, "idemKey" text, status text NOT NULL DEFAULT 'PENDING', n int);
ALTER TABLE "Run" DROP COLUMN gone;
INSERT INTO "Run" VALUES (:'legacy1', 'e', 'k1');
SELECT runops.attach('"Run"', 'id');
SELECT count(*) FROM runops.provision('new', relation => '"Run"') WHERE action = 'create';
INSERT INTO "Run" VALUES (:'new1', 'e', 'k2');

-- rows of every store are checked and entered
INSERT INTO "Run" VALUES (:'new2', 'e', 'k1');
SELECT try($$SELECT runops.add_unique('"Run"', '{env,idemKey}')$$);
SELECT count(*) FROM runops.unique_keys WHERE relation = '"Run"'::regclass;
DELETE FROM "Run" WHERE id = :'new2';
SELECT runops.add_unique('"Run"', '{env,idemKey}');
SELECT * FROM runops.unique_keys WHERE relation = '"Run"'::regclass;
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k2;

-- INSERT, into either store
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k1')$$);
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni2', 'e', 'k2')$$);
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k2')$$);
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni2', 'e', 'k1')$$);
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k3'), ('c00000000000000000000uni2', 'e', 'k3')$$);
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k3'), ('0123456789abcdefghijklmu31', 'e', 'k3')$$);
SELECT try($$INSERT INTO "Run" SELECT '0123456789abcdefghijklmu' || i || '1', 'e', 'k' || (9 - i) FROM generate_series(2, 8) i$$);
SELECT try($$INSERT INTO runops_new."Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k1')$$);
SELECT try($$INSERT INTO runops_legacy."Run" VALUES ('c00000000000000000000uni2', 'e', 'k2')$$);
-- nothing is left of these
SELECT id, "idemKey" FROM "Run" ORDER BY id;
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k2;
-- NULLs are distinct, and so are other environments
INSERT INTO "Run" VALUES (:'new2', 'e', NULL), (:'legacy2', 'e', NULL), (:'new3', 'f', 'k1'), (:'legacy3', 'f', 'k2');
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k1, k2;

-- UPDATE
SELECT try($$UPDATE "Run" SET "idemKey" = 'k1' WHERE id = '0123456789abcdefghijklmu21'$$);
SELECT try($$UPDATE "Run" SET "idemKey" = 'k2' WHERE id = 'c00000000000000000000uni2'$$);
SELECT try($$UPDATE "Run" SET env = 'e' WHERE id = '0123456789abcdefghijklmu31'$$);
UPDATE "Run" SET "idemKey" = 'k3' WHERE id = :'new2';
UPDATE "Run" SET "idemKey" = 'k4' WHERE id = :'legacy2';
UPDATE "Run" SET "idemKey" = NULL WHERE id IN (:'new3', :'legacy3');
UPDATE "Run" SET status = 'DONE', "idemKey" = "idemKey" || '' WHERE env = 'e' RETURNING id, "idemKey", status;
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k1, k2;
-- as with an index, it is the order of the rows that decides, and what is free again can be taken
SELECT try($$UPDATE "Run" SET "idemKey" = 'k2' WHERE id = '0123456789abcdefghijklmu21'$$);
UPDATE "Run" SET "idemKey" = 'k9' WHERE id = :'new1';
UPDATE "Run" SET "idemKey" = 'k2' WHERE id = :'new2';
UPDATE "Run" SET "idemKey" = 'k3' WHERE id = :'legacy1';
-- what is set by a trigger counts, too
CREATE FUNCTION set_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW."idemKey" := 'k2'; RETURN NEW; END $$;
CREATE TRIGGER set_key BEFORE UPDATE OF n ON runops_legacy."Run" FOR EACH ROW EXECUTE FUNCTION set_key();
SELECT try($$UPDATE "Run" SET n = 1 WHERE id = 'c00000000000000000000uni1'$$);
DROP TRIGGER set_key ON runops_legacy."Run";
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k1, k2;

-- an UPDATE of something else goes to the store as a whole, one of the key does not
EXPLAIN (VERBOSE, COSTS OFF) UPDATE "Run" SET status = 'x' WHERE id = :'new1';
EXPLAIN (VERBOSE, COSTS OFF) UPDATE "Run" SET "idemKey" = 'x' WHERE id = :'new1';

-- DELETE frees the key
DELETE FROM "Run" WHERE id IN (:'new1', :'legacy1');
INSERT INTO "Run" VALUES (:'new1', 'e', 'k3'), (:'legacy1', 'e', 'k9');
DELETE FROM "Run" WHERE "idemKey" = 'k3' RETURNING id;
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k1, k2;

-- ON CONFLICT is about conflicts within the store
INSERT INTO "Run" VALUES (:'legacy1', 'e', 'k5') ON CONFLICT (id) DO UPDATE SET "idemKey" = excluded."idemKey";
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni1', 'e', 'k2') ON CONFLICT (id) DO UPDATE SET "idemKey" = excluded."idemKey"$$);
INSERT INTO "Run" VALUES (:'legacy1', 'e', 'k6') ON CONFLICT DO NOTHING;
INSERT INTO "Run" VALUES (:'new2', 'e', 'k6') ON CONFLICT DO NOTHING;
INSERT INTO "Run" VALUES (:'new1', 'e', 'k2') ON CONFLICT DO NOTHING RETURNING id;
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu11', 'e', 'k5') ON CONFLICT DO NOTHING$$);
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni8', 'e', 'k2') ON CONFLICT (id) DO NOTHING$$);
INSERT INTO "Run" VALUES (:'new1', 'e', 'k6') ON CONFLICT DO NOTHING RETURNING id;
TABLE runops_unique."Run_env_idemKey_key" ORDER BY k1, k2;

-- several rows in one INSERT to the store
ALTER FOREIGN TABLE runops_new."Run" OPTIONS (ADD batch_size '10');
INSERT INTO "Run" SELECT '0123456789abcdefghijklmv' || i || '1', 'batch', 'k' || i FROM generate_series(1, 5) i;
SELECT try($$INSERT INTO "Run" SELECT '0123456789abcdefghijklmk' || i || '1', 'batch', 'k' || i + 4 FROM generate_series(1, 5) i$$);
INSERT INTO "Run" SELECT '0123456789abcdefghijklmk' || i || '1', 'batch', 'k' || i + 4 FROM generate_series(1, 5) i ON CONFLICT DO NOTHING;
SELECT count(*), min(k2), max(k2) FROM runops_unique."Run_env_idemKey_key" WHERE k1 = 'batch';
ALTER FOREIGN TABLE runops_new."Run" OPTIONS (DROP batch_size);

-- COPY
\set VERBOSITY sqlstate
COPY "Run" (id, env, "idemKey") FROM stdin;
c00000000000000000000uni4	copy	k1
0123456789abcdefghijklml11	copy	k2
\.
COPY "Run" (id, env, "idemKey") FROM stdin;
c00000000000000000000uni5	copy	k3
0123456789abcdefghijklml21	copy	k1
\.
COPY "Run" (id, env, "idemKey") FROM stdin;
0123456789abcdefghijklml21	copy	k3
c00000000000000000000uni5	copy	k2
\.
\set VERBOSITY verbose
SELECT k2, store FROM runops_unique."Run_env_idemKey_key" WHERE k1 = 'copy' ORDER BY 1;

-- savepoints, and one transaction that does it all
BEGIN;
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmm11', 'tx', 'k1');
SAVEPOINT s;
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmm11';
INSERT INTO "Run" VALUES ('c00000000000000000000uni6', 'tx', 'k1');
ROLLBACK TO s;
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni6', 'tx', 'k1')$$);
UPDATE "Run" SET "idemKey" = 'k2' WHERE id = '0123456789abcdefghijklmm11';
INSERT INTO "Run" VALUES ('c00000000000000000000uni6', 'tx', 'k1');
UPDATE "Run" SET "idemKey" = 'k3' WHERE id = 'c00000000000000000000uni6';
UPDATE "Run" SET "idemKey" = 'k1' WHERE id = '0123456789abcdefghijklmm11';
DELETE FROM "Run" WHERE id = 'c00000000000000000000uni6';
INSERT INTO "Run" VALUES ('c00000000000000000000uni6', 'tx', 'k3');
COMMIT;
SELECT k2, store FROM runops_unique."Run_env_idemKey_key" WHERE k1 = 'tx' ORDER BY 1;
DO $$
BEGIN
	FOR i IN 1..5 LOOP
		BEGIN
			INSERT INTO "Run" VALUES ('c0000000000000000000uni6' || i, 'tx', 'k1');
		EXCEPTION WHEN unique_violation THEN NULL;
		END;
		BEGIN
			INSERT INTO "Run" VALUES ('0123456789abcdefghijklmn' || i || '1', 'tx', 'k3');
		EXCEPTION WHEN unique_violation THEN NULL;
		END;
	END LOOP;
END
$$;
SELECT count(*) FROM "Run" WHERE env = 'tx';
-- data-modifying WITH, prepared statements, and no routing
WITH gone AS (DELETE FROM "Run" WHERE env = 'tx' RETURNING id, "idemKey") SELECT * FROM gone ORDER BY id;
PREPARE ins AS INSERT INTO "Run" (id, env, "idemKey") VALUES ($1, 'prep', $2);
DO $$
BEGIN
	FOR i IN 1..7 LOOP
		EXECUTE format('EXECUTE ins (%L, %L)', '0123456789abcdefghijklp' || i || '01', 'k' || i);
	END LOOP;
END
$$;
SELECT try($$EXECUTE ins ('c0000000000000000000uni71', 'k7')$$);
PREPARE upd AS UPDATE "Run" SET "idemKey" = $2 WHERE id = $1;
EXECUTE upd ('0123456789abcdefghijklp101', 'k8');
SET runops.enable_routing = off;
SELECT try($$EXECUTE ins ('c0000000000000000000uni71', 'k8')$$);
EXECUTE upd ('0123456789abcdefghijklp101', 'k9');
SELECT try($$INSERT INTO "Run" VALUES ('c0000000000000000000uni71', 'prep', 'k9')$$);
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklp201';
RESET runops.enable_routing;
SELECT k2, store FROM runops_unique."Run_env_idemKey_key" WHERE k1 = 'prep' ORDER BY 1;
SELECT * FROM runops.check_unique('"Run"');

-- TRUNCATE of the legacy leaf
TRUNCATE runops_legacy."Run";
SELECT DISTINCT store FROM runops_unique."Run_env_idemKey_key";
SELECT * FROM runops.check_unique('"Run"');
DELETE FROM "Run";
SELECT count(*) FROM runops_unique."Run_env_idemKey_key";

-- a renamed column; the plan that was made before is made anew
ALTER TABLE "Run" RENAME "idemKey" TO "theKey";
SELECT runops.remote_exec('new', 'ALTER TABLE uni."Run" RENAME "idemKey" TO "theKey"');
SELECT columns FROM runops.unique_keys WHERE relation = '"Run"'::regclass;
INSERT INTO "Run" VALUES (:'legacy1', 'e', 'k1');
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu21', 'e', 'k1')$$);
SELECT runops.rebuild_unique('"Run"', 'Run_env_idemKey_key');
ALTER TABLE "Run" RENAME "theKey" TO "idemKey";
SELECT runops.remote_exec('new', 'ALTER TABLE uni."Run" RENAME "theKey" TO "idemKey"');

-- a second key, with a predicate and an expression in it
SELECT runops.add_unique('"Run"', '{n}', $$status <> 'FAILED' AND lower(env) = 'p'$$, 'once');
SELECT name, columns, predicate FROM runops.unique_keys WHERE relation = '"Run"'::regclass ORDER BY name;
INSERT INTO "Run" VALUES (:'new1', 'P', NULL, 'RUN', 1), (:'legacy2', 'P', NULL, 'FAILED', 1), (:'new2', 'q', NULL, 'RUN', 1);
SELECT try($$UPDATE "Run" SET status = 'RUN' WHERE id = 'c00000000000000000000uni2'$$);
SELECT try($$UPDATE "Run" SET env = 'p' WHERE id = '0123456789abcdefghijklmu21'$$);
UPDATE "Run" SET status = 'FAILED' WHERE id = :'new1';
UPDATE "Run" SET status = 'RUN' WHERE id = :'legacy2';
SELECT try($$UPDATE "Run" SET status = 'RUN' WHERE id = '0123456789abcdefghijklmu11'$$);
TABLE runops_unique.once;
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu31', 'p', 'k1', 'RUN', 2)$$);
SELECT * FROM runops.check_unique('"Run"');
SELECT runops.drop_unique('"Run"', 'once');
SELECT to_regclass('runops_unique.once');
SELECT tgname, tgenabled, pg_get_triggerdef(oid) LIKE '%IS DISTINCT FROM%' AS has_condition
FROM pg_trigger WHERE tgrelid = 'runops_legacy."Run"'::regclass ORDER BY tgname;

-- what is numbers in one row and not in the next: UPDATE as core does it
UPDATE "Run" SET n = NULL;
SELECT runops.add_unique('"Run"', '{n}', name => 'numbers');
UPDATE "Run" SET n = 1 WHERE id = :'new1';
UPDATE "Run" SET n = 2 WHERE id = :'legacy1';
SELECT try($$UPDATE "Run" SET n = n + 1 WHERE id = '0123456789abcdefghijklmu11'$$);
UPDATE "Run" SET n = n + 1 WHERE id = :'legacy1';
UPDATE "Run" SET n = n + 1 WHERE id = :'new1';
TABLE runops_unique.numbers ORDER BY 1;

-- what is wrong is found: a row without its entry, and an entry without its row
SELECT runops.remote_exec('new', $$INSERT INTO uni."Run" VALUES ('0123456789abcdefghijklmu41', 'direct', 'k1', 'RUN', 3)$$);
SELECT runops.remote_exec('new', $$UPDATE uni."Run" SET n = 7 WHERE id = '0123456789abcdefghijklmu11'$$);
SELECT * FROM runops.check_unique('"Run"') ORDER BY name, finding, key;
SELECT count(*) FROM runops.check_unique('"Run"', 1);
-- the row of another store does not lose its entry to one that has none
DELETE FROM "Run" WHERE id = '0123456789abcdefghijklmu41';
TABLE runops_unique.numbers ORDER BY 1;
SELECT runops.rebuild_unique('"Run"', 'numbers');
SELECT * FROM runops.check_unique('"Run"');
TABLE runops_unique.numbers ORDER BY 1;
SELECT runops.remote_exec('new', $$UPDATE uni."Run" SET n = 3 WHERE id = '0123456789abcdefghijklmu11'$$);
SELECT * FROM runops.check_unique() ORDER BY finding;
SELECT try($$SELECT runops.rebuild_unique('"Run"', 'numbers')$$);
UPDATE "Run" SET n = 1 WHERE id = :'new1';

-- who may not see a row is not told its key
CREATE ROLE runops_writer;
GRANT USAGE ON SCHEMA uni TO runops_writer;
GRANT INSERT ON "Run" TO runops_writer;
CREATE USER MAPPING FOR runops_writer SERVER run_ops OPTIONS (user 'postgres', password_required 'false');
SET ROLE runops_writer;
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni5', 'x', NULL, 'RUN', 3)$$);
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu61', 'x', NULL, 'RUN', 3)$$);
SELECT try($$SELECT count(*) FROM runops_unique.numbers$$);
RESET ROLE;
GRANT SELECT (n) ON "Run" TO runops_writer;
SET ROLE runops_writer;
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu61', 'x', NULL, 'RUN', 3)$$);
INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu61', 'x', 'w', 'RUN', 61), ('c0000000000000000000uni61', 'x', 'v', 'RUN', 62);
RESET ROLE;
ALTER TABLE "Run" ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON "Run" USING (true);
SET ROLE runops_writer;
SELECT try($$INSERT INTO "Run" VALUES ('0123456789abcdefghijklmu71', 'x', NULL, 'RUN', 3)$$);
RESET ROLE;
DROP USER MAPPING FOR runops_writer SERVER run_ops;
DROP OWNED BY runops_writer;
DROP ROLE runops_writer;
ALTER TABLE "Run" DISABLE ROW LEVEL SECURITY;
DROP POLICY p ON "Run";

-- replication's rows count as well
SET session_replication_role = replica;
SELECT try($$INSERT INTO "Run" VALUES ('c00000000000000000000uni5', 'x', NULL, 'RUN', 3)$$);
RESET session_replication_role;

-- detach drops the keys, and says nothing of our triggers when the table is attached again
SELECT runops.detach('"Run"', force => true);
SELECT count(*) FROM runops.unique_keys;
SELECT to_regnamespace('runops_unique');
\d "Run"
SET client_min_messages = notice;
SELECT runops.attach('"Run"', 'id');
SELECT runops.detach('"Run"', force => true);
SET client_min_messages = warning;

SELECT runops.remote_exec('new', 'DROP SCHEMA uni CASCADE');
DROP SCHEMA uni CASCADE;
