-- shipping_explain: explain() says which stores a statement needs, with how many turns, and why
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA ex;
SET search_path = ex;
CREATE TABLE "Task Run" (id text PRIMARY KEY, n int);
CREATE TABLE item (run text NOT NULL, no int, n int, PRIMARY KEY (run, no));
CREATE TABLE local (k int PRIMARY KEY, ref text);
SELECT runops.attach('"Task Run"', 'id'), runops.attach('item', 'run');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
INSERT INTO local SELECT g, '0123456789abcdefghijklmna1' FROM generate_series(1, 3) g;
INSERT INTO "Task Run" VALUES ('0123456789abcdefghijklmna1', 1), ('clegacy000000000000000001', 1);
\x on
-- one store
SELECT * FROM runops.explain($$SELECT n FROM "Task Run" WHERE id = '0123456789abcdefghijklmna1'$$);
SELECT * FROM runops.explain($$SELECT n FROM "Task Run" WHERE id = 'clegacy000000000000000001'$$);
SELECT * FROM runops.explain($$SELECT r.n FROM "Task Run" r JOIN item i ON i.run = r.id WHERE r.id = '0123456789abcdefghijklmna1'$$);
SELECT * FROM runops.explain($$INSERT INTO item VALUES ('0123456789abcdefghijklmna1', 1, 1) ON CONFLICT (run, no) DO UPDATE SET n = 1$$);
-- why not
SELECT * FROM runops.explain($$SELECT r.n FROM "Task Run" r JOIN item i ON i.run = r.id WHERE r.id = '0123456789abcdefghijklmna1' AND random() < 2$$);
SELECT * FROM runops.explain($$SELECT count(*) FROM "Task Run"$$);
SELECT * FROM runops.explain($$UPDATE "Task Run" SET n = 1 WHERE id = '0123456789abcdefghijklmna1' AND random() < 2$$);
SELECT * FROM runops.explain($$INSERT INTO item SELECT '0123456789abcdefghijklmna1', 2, 2 WHERE random() < 2$$);
SELECT * FROM runops.explain($$SELECT l.k, (SELECT r.n FROM "Task Run" r WHERE r.id = l.ref) FROM local l$$);
SELECT * FROM runops.explain($$INSERT INTO item VALUES ('0123456789abcdefghijklmna1', 1, 1), ('clegacy000000000000000001', 1, 1) ON CONFLICT (run, no) DO UPDATE SET n = 2$$);
SELECT * FROM runops.explain($$WITH unused AS (SELECT n FROM item WHERE run = '0123456789abcdefghijklmna1') SELECT n FROM "Task Run" WHERE id = '0123456789abcdefghijklmna1'$$);
-- a prepared statement
PREPARE p(text) AS SELECT n FROM "Task Run" WHERE id = $1;
SELECT * FROM runops.explain($$EXECUTE p('0123456789abcdefghijklmna1')$$);
\x off
-- without routing
SET runops.enable_routing = off;
SELECT relation, stores FROM runops.explain($$SELECT n FROM "Task Run"$$);
RESET runops.enable_routing;
-- nothing is executed, no table is routed, and what is no single statement
SELECT * FROM runops.explain('SELECT 1 / (k - k) FROM local');
SELECT * FROM runops.explain(NULL);
SELECT * FROM runops.explain('DELETE FROM "Task Run"; DELETE FROM local');
SELECT * FROM runops.explain('ANALYZE DELETE FROM "Task Run"');
SELECT * FROM runops.explain('SELECT nothing');
SELECT count(*) FROM "Task Run";
-- with the rights of the caller
CREATE ROLE regress_ex;
GRANT USAGE ON SCHEMA ex TO regress_ex;
SET ROLE regress_ex;
SELECT * FROM runops.explain('SELECT n FROM ex."Task Run"');
RESET ROLE;
GRANT SELECT ON "Task Run" TO regress_ex;
SET ROLE regress_ex;
SELECT relation, stores FROM runops.explain('SELECT n FROM ex."Task Run"');
RESET ROLE;
RESET search_path;
SELECT runops.detach('ex.item', true), runops.detach('ex."Task Run"', true);
DROP SCHEMA ex CASCADE;
DROP OWNED BY regress_ex;
DROP ROLE regress_ex;
