-- fdw_explain_counters: EXPLAIN ANALYZE shows what each node has exchanged with its store
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA explained;
SET search_path = explained, public;
SET runops.enable_shipping = off;
CREATE TABLE run (id text PRIMARY KEY, n int);
CREATE TABLE item (id text PRIMARY KEY, run text NOT NULL, n int);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'run');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
INSERT INTO run SELECT '0ujtsYcgvSTl8PAuAdqWYSMnL' || lpad(g::text, 2, '0'), g FROM generate_series(1, 40) g;
INSERT INTO run VALUES ('ck00000000000000000000001', 0);
INSERT INTO item VALUES ('i1', '0ujtsYcgvSTl8PAuAdqWYSMnL01', 1), ('i2', '0ujtsYcgvSTl8PAuAdqWYSMnL01', 2);
ANALYZE run, item;

-- The lines about stores, and those of the nodes.  Bytes and times are masked; a
-- zero stays.
CREATE FUNCTION explain(options text, statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (BUFFERS OFF, %s) %s', options, statement) LOOP
		line := regexp_replace(line, '(sent|received)=[1-9]\d*', '\1=N', 'g');
		line := regexp_replace(line, 'wait=\d+\.\d{3}', 'wait=T');
		line := regexp_replace(line, '(Bytes.(?:Sent|Received)"?[>:] ?)[1-9]\d*', '\1N', 'g');
		line := regexp_replace(line, '(Time"?[>:] ?)\d+\.\d{3}', '\1T', 'g');
		-- newer versions print fractions of rows, and no parameter of an InitPlan
		line := regexp_replace(line, ' \(returns \$\d+\)', '');
		line := regexp_replace(line, '((?:rows=|Rows"?[>:] ?)\d+)\.\d\d\M', '\1');
		line := regexp_replace(line, 'InitPlan \w+', 'InitPlan');
		CONTINUE WHEN line ~ '^\s+(?:Storage|Disabled|Replaces): ';
		RETURN NEXT line;
	END LOOP;
END
$$;
CREATE FUNCTION shown(statement text) RETURNS SETOF text LANGUAGE sql AS
$$ SELECT explain('ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF', statement) $$;

-- reads: one turn, a join, a scan of several fetches, a rescan, a scan that is never executed
SELECT shown('SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''');
SELECT shown('SELECT r.n, i.n FROM run r JOIN item i ON i.run = r.id WHERE r.id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''');
SELECT shown('SELECT sum(n) FROM run WHERE id IN (''0ujtsYcgvSTl8PAuAdqWYSMnL01'', ''ck00000000000000000000001'')');
SELECT shown('SELECT FROM item WHERE false');
SELECT shown('SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01'' LIMIT 0');
SET plan_cache_mode = force_generic_plan;
PREPARE point AS SELECT n FROM run WHERE id = $1;
SELECT shown('EXECUTE point(''0ujtsYcgvSTl8PAuAdqWYSMnL02'')');
SELECT shown('EXECUTE point(''ck00000000000000000000001'')');
RESET plan_cache_mode;
-- a scan with a cursor, and one that is rewound or starts again for each outer row
SELECT shown('SELECT count(*) FROM ONLY runops_new.run WHERE n + 0 > 0');
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SELECT shown('SELECT count(*) FROM (VALUES (1), (2)) v (n) JOIN run r ON r.id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01'' AND r.n = v.n');
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;

-- writes: row by row, a batch, as a whole, with RETURNING, and a scan that a write opens
SELECT shown('INSERT INTO item VALUES (''i3'', ''0ujtsYcgvSTl8PAuAdqWYSMnL02'', 1)');
SELECT shown('INSERT INTO item VALUES (''i4'', ''0ujtsYcgvSTl8PAuAdqWYSMnL02'', 1), (''i5'', ''0ujtsYcgvSTl8PAuAdqWYSMnL03'', 1)');
SELECT shown('UPDATE item SET n = n + 1 WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL02''');
SELECT shown('UPDATE item SET n = n + 1 WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL02'' RETURNING n');
SELECT shown('DELETE FROM item WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL03''');
SELECT shown('WITH gone AS (DELETE FROM item WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL02'' RETURNING n)
	SELECT (SELECT count(*) FROM gone), (SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL02'')');

-- the time that was waited, if times are wanted
SELECT line FROM explain('ANALYZE, COSTS OFF, SUMMARY OFF', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') line WHERE line ~ 'Store';
SET runops.track_wait_timing = off;
SELECT line FROM explain('ANALYZE, COSTS OFF, SUMMARY OFF', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') line WHERE line ~ 'Store';
SELECT line FROM explain('ANALYZE, COSTS OFF, FORMAT json', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') e, unnest(string_to_array(e, E'\n')) line
	WHERE line ~ 'Store';
RESET runops.track_wait_timing;

-- the statement that is sent, and every format
SELECT explain('ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''');
SELECT explain('ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF', 'INSERT INTO item VALUES (''i6'', ''0ujtsYcgvSTl8PAuAdqWYSMnL02'', 1)');
SELECT explain('ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF', 'UPDATE item SET n = 5 WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL02''');
SELECT line FROM explain('ANALYZE, COSTS OFF, FORMAT json', 'UPDATE item SET n = 5 WHERE run = ''0ujtsYcgvSTl8PAuAdqWYSMnL02''') e, unnest(string_to_array(e, E'\n')) line
	WHERE line ~ 'Store';
SELECT line FROM explain('ANALYZE, COSTS OFF, TIMING OFF, FORMAT xml', 'INSERT INTO item VALUES (''i7'', ''0ujtsYcgvSTl8PAuAdqWYSMnL02'', 1)') e, unnest(string_to_array(e, E'\n')) line
	WHERE line ~ 'Store';
SELECT line FROM explain('ANALYZE, COSTS OFF, TIMING OFF, FORMAT yaml', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') e, unnest(string_to_array(e, E'\n')) line
	WHERE line ~ 'Store';
SELECT line FROM explain('COSTS OFF, VERBOSE, FORMAT yaml', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') e, unnest(string_to_array(e, E'\n')) line
	WHERE line !~ 'Disabled:';

-- the same numbers as in runops.stats, but for the COMMIT
SELECT runops.reset_stats();
CREATE TEMP TABLE shown AS SELECT e.line FROM explain('ANALYZE, COSTS OFF, TIMING OFF, FORMAT json', 'SELECT n FROM run WHERE id = ''0ujtsYcgvSTl8PAuAdqWYSMnL01''') e (line);
SELECT turns, bytes_sent > 20 AS sent, bytes_received > 20 AS received, wait_time > 0 AS waited
FROM runops.stats WHERE relation = 'run'::regclass AND store = 'new';

SELECT runops.detach('run', force => true);
SELECT runops.detach('item', force => true);
DROP SCHEMA explained CASCADE;
\connect runops_store
DROP SCHEMA explained CASCADE;
