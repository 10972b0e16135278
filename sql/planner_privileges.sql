-- planner_privileges: a plan may replace a routed table by other relations, but the
-- grants, row security and security barriers of the routed table apply

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema planner_privileges
\i :helpers
CREATE ROLE planner_reader;
CREATE ROLE planner_writer;
CREATE ROLE planner_owner;
GRANT USAGE ON SCHEMA planner_privileges TO planner_reader, planner_writer, planner_owner;
GRANT CREATE ON SCHEMA planner_privileges TO planner_owner;
-- the store's rights are the mapping's; what is tested here is the local side
DO $$
BEGIN
	EXECUTE pg_catalog.format('CREATE USER MAPPING FOR PUBLIC SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE pg_catalog.format('CREATE USER MAPPING FOR PUBLIC SERVER planner_privileges_a OPTIONS (user %L, password_required ''false'')', current_user);
END
$$;

-- nothing is granted: refused, whichever leaf and whichever plan
SET ROLE planner_reader;
SELECT id FROM run WHERE id = :'L';
SELECT id FROM run WHERE id = :'N';
SELECT id FROM run WHERE id IN (:'N', :'L');
SELECT id FROM run WHERE id = :'N' AND id = :'L';
SELECT (SELECT n FROM run r WHERE r.id = v.k) FROM (VALUES (:'N')) v(k);
UPDATE run SET n = 1 WHERE id = :'L';
DELETE FROM run WHERE id = :'N';
INSERT INTO run VALUES (:'L', 'x') ON CONFLICT (id) DO UPDATE SET n = 0;
SELECT id FROM runops_legacy.run WHERE id = :'L';
RESET ROLE;

-- column privileges
GRANT SELECT (id, n), UPDATE (n), INSERT (id, "friendlyId", n) ON run TO planner_writer;
SET ROLE planner_writer;
SELECT id, n FROM run WHERE id = :'L';
SELECT id, n FROM run WHERE id = :'N';
SELECT env FROM run WHERE id = :'L';
SELECT env FROM run WHERE id = :'N';
SELECT * FROM run WHERE id = :'L';
SELECT run FROM run WHERE id = :'N';
SELECT count(*) FROM run WHERE id = :'L' AND env = 'e1';
SELECT id FROM run WHERE "friendlyId" = 'run_' || :'L';
UPDATE run SET n = n + 10 WHERE id = :'L' RETURNING n;
UPDATE run SET n = n + 10 WHERE id = :'N' RETURNING n;
UPDATE run SET env = 'x' WHERE id = :'L';
UPDATE run SET env = 'x' WHERE id = :'N';
UPDATE run SET n = 1 WHERE id = :'L' RETURNING env;
DELETE FROM run WHERE id = :'L';
SELECT id FROM run WHERE id = :'L' FOR UPDATE;
INSERT INTO run (id, "friendlyId", n) VALUES ('cpriv00000000000000000001', 'p1', 1) RETURNING id;
INSERT INTO run (id, "friendlyId", n) VALUES ('cpriv00000000000000000001', 'p1', 1) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING n;
INSERT INTO run (id, "friendlyId", n) VALUES ('cpriv00000000000000000001', 'p1', 1) ON CONFLICT (id) DO UPDATE SET env = 'x';
INSERT INTO run (id, "friendlyId", env) VALUES ('cpriv00000000000000000002', 'p2', 'e');
INSERT INTO run (id, "friendlyId", n) VALUES ('0123456789abcdefghijklmpv1', 'p3', 1);
INSERT INTO run (id, "friendlyId", env) VALUES ('0123456789abcdefghijklmpw1', 'p4', 'e');
RESET ROLE;
PREPARE priv(text) AS SELECT env FROM run WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE priv(:'L');
SET ROLE planner_writer;
EXECUTE priv(:'L');
EXECUTE priv(:'N');
RESET ROLE;
RESET plan_cache_mode;

-- a view asks with its owner's rights
CREATE VIEW v AS SELECT id, env, n FROM run;
ALTER VIEW v OWNER TO planner_owner;
GRANT SELECT, UPDATE ON v TO planner_reader;
SET ROLE planner_reader;
SELECT * FROM v WHERE id = :'L';
SELECT * FROM v WHERE id = :'N';
RESET ROLE;
GRANT SELECT, UPDATE (n) ON run TO planner_owner;
SET ROLE planner_reader;
SELECT * FROM v WHERE id = :'L';
SELECT * FROM v WHERE id = :'N';
UPDATE v SET n = n + 1 WHERE id = :'L' RETURNING n;
UPDATE v SET n = n + 1 WHERE id = :'N' RETURNING n;
UPDATE v SET env = 'x' WHERE id = :'L';
RESET ROLE;

-- row security: USING and WITH CHECK, in every store
GRANT SELECT, INSERT, UPDATE, DELETE ON run TO planner_reader;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON run FOR ALL TO planner_reader USING (env = 'e1') WITH CHECK (env = 'e1' AND n < 1000);
SET ROLE planner_reader;
SELECT id FROM run ORDER BY id COLLATE "C";
SELECT id FROM run WHERE id = :'L';
SELECT id FROM run WHERE id = :'L2';
SELECT id FROM run WHERE id = :'N';
SELECT id FROM run WHERE id = :'K';
SELECT id FROM run WHERE id IN (:'L', :'L2', :'N', :'K') ORDER BY id COLLATE "C";
SELECT run FROM run WHERE id = :'L';
UPDATE run SET n = n + 1 WHERE id = :'L2';
UPDATE run SET n = n + 1 WHERE id = :'K';
UPDATE run SET n = n + 1 WHERE id = :'N' RETURNING id;
UPDATE run SET n = 2000 WHERE id = :'L';
UPDATE run SET n = 2000 WHERE id = :'N';
UPDATE run SET env = 'theirs' WHERE id = :'N';
INSERT INTO run VALUES ('crls000000000000000000001', 'r1', 'e1', 1) RETURNING id;
INSERT INTO run VALUES ('crls000000000000000000002', 'r2', 'e2', 1);
INSERT INTO run VALUES ('0123456789abcdefghijklmrl1', 'r3', 'e1', 1) RETURNING id;
INSERT INTO run VALUES ('0123456789abcdefghijklmrm1', 'r4', 'e2', 1);
INSERT INTO run VALUES ('crls000000000000000000003', 'r5', 'e1', 1), ('0123456789abcdefghijklmrn1', 'r6', 'e2', 1);
INSERT INTO run VALUES (:'L', 'r7', 'e1', 1) ON CONFLICT (id) DO UPDATE SET n = 2000;
INSERT INTO run VALUES (:'L', 'r7', 'e1', 1) ON CONFLICT (id) DO UPDATE SET n = 20 RETURNING n;
INSERT INTO run VALUES (:'L2', 'r7', 'e1', 1) ON CONFLICT (id) DO UPDATE SET n = 20;
DELETE FROM run WHERE id = :'L2';
DELETE FROM run WHERE id = :'K';
SELECT n FROM run r WHERE id = :'N' AND EXISTS (SELECT FROM run x WHERE x.id = r.id AND x.n > 0);
RESET ROLE;
SELECT id, env, n FROM run WHERE id IN (:'L', :'L2', :'N', :'K') ORDER BY id COLLATE "C";

-- a policy that asks another routed table, whose facts are the row's
CREATE POLICY busy ON run AS RESTRICTIVE FOR SELECT TO planner_reader USING (EXISTS (SELECT FROM attempt a WHERE a."runId" = run.id));
GRANT SELECT ON attempt TO planner_reader;
SET ROLE planner_reader;
SELECT id FROM run ORDER BY id COLLATE "C";
SELECT id FROM run WHERE id = :'N';
SELECT id FROM run WHERE id = 'crls000000000000000000001';
RESET ROLE;
DROP POLICY busy ON run;

-- a check of the new row is not read with what WHERE said of the old one
CREATE TABLE note (k int, ref text);
INSERT INTO note VALUES (1, :'L');
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY known ON note TO planner_reader USING (true) WITH CHECK (EXISTS (SELECT FROM run r WHERE r.id = note.ref));
GRANT SELECT, UPDATE ON note TO planner_reader;
SET ROLE planner_reader;
UPDATE note SET ref = :'N' WHERE ref = :'L';
UPDATE note SET ref = '0123456789abcdefghijklmxx1' WHERE ref = :'N';
SELECT * FROM note;
RESET ROLE;

-- a cached plan follows the role and its policies
CREATE POLICY writer ON run FOR SELECT TO planner_writer USING (env = 'e2');
PREPARE who(text) AS SELECT count(id) FROM run WHERE id = $1;
SET plan_cache_mode = force_generic_plan;
SET ROLE planner_reader;
EXECUTE who(:'L');
EXECUTE who(:'L2');
SET ROLE planner_writer;
EXECUTE who(:'L');
EXECUTE who(:'L2');
EXECUTE who(:'K');
RESET ROLE;
RESET plan_cache_mode;
SET ROLE planner_reader;
EXECUTE who(:'N');
SET ROLE planner_writer;
EXECUTE who(:'N');
RESET ROLE;
ALTER TABLE run DISABLE ROW LEVEL SECURITY;

-- a security barrier hides its rows from a function that tells
CREATE FUNCTION leak(text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'leak %', $1; RETURN true; END $$;
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, env, n FROM run WHERE env = 'e2';
GRANT SELECT ON barrier TO planner_reader;
SET ROLE planner_reader;
SELECT id FROM barrier WHERE leak(id) ORDER BY n;
SELECT id FROM barrier WHERE id = :'L' AND leak(id);
SELECT id FROM barrier WHERE id = :'N' AND leak(id);
SELECT id FROM barrier WHERE id = :'K' AND leak(id);
SELECT id FROM barrier WHERE leak(id) AND id IN (:'L2', :'N');
RESET ROLE;
EXPLAIN (COSTS OFF) SELECT id FROM barrier WHERE id = :'L' AND leak(id);

-- a view with CHECK OPTION
CREATE VIEW checked AS SELECT id, "friendlyId", env, n FROM run WHERE n < 50 WITH CHECK OPTION;
UPDATE checked SET n = 60 WHERE id = :'L';
UPDATE checked SET n = 60 WHERE id = :'N';
INSERT INTO checked VALUES ('cchk000000000000000000001', 'c1', 'e', 60);
INSERT INTO checked VALUES ('0123456789abcdefghijklmck1', 'c2', 'e', 60);

DROP VIEW v, barrier, checked;
DROP TABLE note;
DROP USER MAPPING FOR PUBLIC SERVER run_ops;
\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
\connect contrib_regression
DROP ROLE planner_reader, planner_writer, planner_owner;
