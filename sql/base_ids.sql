-- base_ids: the functions on ids, tested against their documentation

-- store_of: the result has every representation that a text may have
SELECT id, runops.store_of(id), runops.id_kind(id), runops.residency(id)
FROM (VALUES
	('cmwvd073w001a6x7dhwkgnbsa'),
	('run_cmwvd073w001a6x7dhwkgnbsa'),
	('3MZjN3qzejvqzTY6xJuHILZ3nrA'),
	('batch_06h100lcvhna2pev6hlpp5f1e1'),
	('run_06h100lcvi78c4aa9f6b1qk9q2'),
	('06h100lcvi78c4aa9f6b1qk902')) v(id);
SELECT s, length(s), octet_length(s), s = convert_from(s::bytea, 'UTF8') AS same, s || '!' AS appended,
	md5(s) = md5(convert_from(s::bytea, 'UTF8')) AS same_hash
FROM (VALUES (runops.store_of('cmwvd073w001a6x7dhwkgnbsa')),
	(runops.store_of('3MZjN3qzejvqzTY6xJuHILZ3nrA')),
	(runops.store_of('06h100lcvi78c4aa9f6b1qk9q2'))) v(s);

-- all 36 shards, and none of the other characters
SELECT string_agg(runops.store_of('06h100lcvi78c4aa9f6b1qk9' || c || '2'), '' ORDER BY c COLLATE "C")
FROM regexp_split_to_table('0123456789abcdefghijklmnopqrstuvwxyz', '') c;
SELECT count(*) AS others,
	count(*) FILTER (WHERE runops.is_classifiable('06h100lcvi78c4aa9f6b1qk9' || chr(n) || '2')) AS classifiable
FROM generate_series(1, 1000) n
WHERE chr(n) !~ '[0-9a-z]' COLLATE "C";

-- nothing but the shape counts
SELECT runops.store_of(''), runops.store_of('_'), runops.store_of('run_'), runops.store_of(NULL);
SELECT runops.is_classifiable(''), runops.is_classifiable('_'), runops.is_classifiable(NULL);

-- an alias names the store of the key, or none
SELECT alias, key, runops.same_store(alias, key)
FROM unnest(ARRAY['run_c000000000000000000000001', 'c000000000000000000000001', 'run_0ujtsYcgvSTl8PAuAdqWYSMnLOv', '0123456789abcdefghijklmne2', 'odd', NULL]) alias,
	unnest(ARRAY['c000000000000000000000001', '0ujtsYcgvSTl8PAuAdqWYSMnLOv', '0123456789abcdefghijklmne2', '0123456789abcdefghijklmnf2', 'odd', NULL]) key;
SELECT runops.id_kind('run_x'), runops.try_residency('run_x'), runops.id_kind(NULL), runops.residency(NULL);

-- a body of another alphabet is none, by whichever length it fits
SELECT n AS chars, o AS octets, runops.is_classifiable(repeat('a', n - 1) || c)
FROM (VALUES (24, 25, 'é'), (25, 26, 'é'), (25, 27, '€'), (26, 27, 'é'), (27, 28, 'é'), (27, 30, '𝄞')) v(n, o, c)
WHERE octet_length(repeat('a', n - 1) || c) = o;
SELECT runops.store_of('ééé_' || repeat('k', 27)), runops.store_of('_' || repeat('k', 27)), runops.store_of('a_b_' || repeat('k', 27));
-- each place of a body, each octet
SELECT l AS length, count(*) FILTER (WHERE ok) AS classifiable, count(*) AS tried
FROM unnest(ARRAY[25, 26, 27]) l, generate_series(1, l) place, generate_series(1, 255) n,
	LATERAL (SELECT overlay(repeat('1', l) PLACING chr(n) FROM place FOR 1)) i(id),
	runops.is_classifiable(id) ok
GROUP BY l ORDER BY l;

-- long and toasted values, and columns of other types
CREATE TABLE ids_long (id text, v varchar(40), c char(40));
ALTER TABLE ids_long ALTER id SET STORAGE EXTERNAL;
INSERT INTO ids_long VALUES (repeat('x', 100000) || '_' || repeat('k', 27), repeat('k', 27), repeat('k', 27)),
	(repeat('k', 100027), NULL, '');
SELECT length(id), runops.store_of(id), runops.store_of(v), runops.store_of(c) FROM ids_long;
SELECT p.kind, length(p.prefix), length(p.body), p.store FROM ids_long, runops.parse_id(id) p;
DROP TABLE ids_long;

-- errors
DO $$
DECLARE
	call text;
	message text;
	detail text;
	hint text;
BEGIN
	FOREACH call IN ARRAY ARRAY[
		$q$runops.residency('')$q$,
		$q$runops.residency('run_tooshort')$q$,
		$q$runops.residency('run_é€𝄞')$q$,
		$q$runops.residency(E'cmwvd073w001a6x7dhwkgnbsa\r\n')$q$,
		$q$runops.to_friendly_id('', 'x')$q$,
		$q$runops.to_friendly_id('run', '')$q$,
		$q$runops.from_friendly_id('')$q$,
		$q$runops.from_friendly_id('run')$q$,
		$q$runops.from_friendly_id('_x')$q$,
		$q$runops.from_friendly_id('run_')$q$,
		$q$runops.from_friendly_id('_')$q$,
		$q$runops.from_friendly_id('a_b_c')$q$,
		$q$runops.from_friendly_id('run__c')$q$,
		$q$runops.from_friendly_id('run_x', 'batch')$q$,
		$q$runops.from_friendly_id('run_x', '')$q$,
		$q$runops.from_friendly_id('run_x', 'ru')$q$,
		$q$runops.gen_ksuid('12345678901234567')$q$,
		$q$runops.gen_shard_id(NULL)$q$,
		$q$runops.gen_shard_id('')$q$,
		$q$runops.gen_shard_id('new')$q$,
		$q$runops.gen_shard_id('E')$q$,
		$q$runops.gen_shard_id('é')$q$]
	LOOP
		BEGIN
			EXECUTE 'SELECT ' || call;
			RAISE EXCEPTION '% did not fail', call;
		EXCEPTION WHEN SQLSTATE 'RO001' OR invalid_parameter_value THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE INFO '%: % %', call, sqlstate, message USING DETAIL = detail, HINT = hint;
		END;
	END LOOP;
END
$$;
-- a long id is not quoted whole, its length is told all the same
DO $$
BEGIN
	PERFORM runops.residency(repeat('€', 100000));
EXCEPTION WHEN SQLSTATE 'RO001' THEN
	RAISE INFO '% octets, ending %', octet_length(sqlerrm), right(sqlerrm, 24);
END
$$;

-- parse_id
SELECT p.* FROM unnest(ARRAY['', '_', 'run_', 'x', '_cmwvd073w001a6x7dhwkgnbsa', 'a_b_c', 'run_éé']) id, runops.parse_id(id) p;
SELECT p.* FROM unnest(ARRAY['cmwvd073w001a6x7dhwkgnbsa', 'run_06h100lcvhna2pev6hlpp5f1e1',
	'batch_06h100lcvi78c4aa9f6b1qk9q2', 'run_0ujtsYcgvSTl8PAuAdqWYSMnLOv']) id, runops.parse_id(id) p;
SELECT runops.parse_id(NULL);
-- the ends of each time range
SET timezone = 'UTC';
SELECT id, p.minted_at, p.payload
FROM unnest(ARRAY['c00000000000000000000000a', 'czzzzzzzz0000000000000000', 'cAzzzzzzz0000000000000000', 'czzzzzzzZ0000000000000000',
	repeat('0', 24) || 'e1', repeat('v', 24) || 'e1', repeat('0', 24) || 'e2', repeat('v', 24) || 'e2',
	repeat('0', 27), 'aWgEPTl1tmebfsQzFP4bxwgy80V', 'aWgEPTl1tmebfsQzFP4bxwgy80W', repeat('z', 27)]) id, runops.parse_id(id) p;
RESET timezone;

-- friendly ids
SELECT runops.to_friendly_id('run', 'x'), runops.to_friendly_id('run', 'run_x'), runops.to_friendly_id('run', 'runner'),
	runops.to_friendly_id('run', 'batch_x'), runops.to_friendly_id('é', 'é_x'), runops.to_friendly_id(NULL, 'x'), runops.to_friendly_id('run', NULL);
SELECT runops.from_friendly_id('run_x'), runops.from_friendly_id('run_x', 'run'), runops.from_friendly_id('é_é', 'é'),
	runops.from_friendly_id(NULL), runops.from_friendly_id(NULL, 'run');

-- generators: the shape
SELECT f, count(*) AS ids, count(DISTINCT id) AS different, bool_and(runops.id_kind(id) = f) AS kind, bool_and(id ~ re) AS shape,
	bool_and(runops.from_friendly_id(runops.to_friendly_id('run', id), 'run') = id) AS friendly
FROM (
	SELECT 'cuid', runops.gen_cuid(), '^c[0-9a-z]{24}$' FROM generate_series(1, 2000)
	UNION ALL
	SELECT 'ksuid', runops.gen_ksuid(), '^[0-9A-Za-z]{27}$' FROM generate_series(1, 2000)
	UNION ALL
	SELECT 'ksuid', runops.gen_ksuid(NULL), '^[0-9A-Za-z]{27}$' FROM generate_series(1, 2000)
	UNION ALL
	SELECT 'runops', runops.gen_run_ops_id(), '^[0-9a-v]{24}01$' FROM generate_series(1, 2000)
	UNION ALL
	SELECT 'shard', runops.gen_shard_id('e'), '^[0-9a-v]{24}e2$' FROM generate_series(1, 2000)) g(f, id, re)
GROUP BY f ORDER BY f;
SELECT coalesce(r, 'NULL') AS region, right(runops.gen_run_ops_id(r), 2)
FROM unnest(ARRAY['us-east-1', 'us-west-2', 'eu-central-1', 'mars-north-1', 'US-EAST-1', 'x', '7', 'E', 'é', '', 'us', NULL]) r;
SELECT bool_and(runops.store_of(runops.gen_shard_id(c)) = c) AS shards
FROM regexp_split_to_table('0123456789abcdefghijklmnopqrstuvwxyz', '') c;

-- the time is the clock's, not the transaction's
DO $$
DECLARE
	before timestamptz;
	id text;
BEGIN
	PERFORM pg_sleep(0.02);
	FOREACH id IN ARRAY ARRAY['cuid()', 'run_ops_id()', $q$shard_id('e')$q$, 'ksuid()', $q$ksuid('x')$q$]
	LOOP
		before := clock_timestamp();
		EXECUTE 'SELECT runops.gen_' || id INTO id;
		IF (runops.parse_id(id)).minted_at NOT BETWEEN
			date_trunc(CASE runops.id_kind(id) WHEN 'ksuid' THEN 'second' ELSE 'milliseconds' END, before)
			AND clock_timestamp()
		THEN
			RAISE EXCEPTION '% was minted at %, not between % and %', id,
				(runops.parse_id(id)).minted_at, before, clock_timestamp();
		END IF;
	END LOOP;
END
$$;

-- ids of one backend ascend, within a tick too
SELECT f, count(*), bool_and(id > before)
FROM (
	SELECT f, id COLLATE "C" AS id, lag(id COLLATE "C") OVER (PARTITION BY f ORDER BY n) AS before
	FROM (
		SELECT 'cuid', n, runops.gen_cuid() FROM generate_series(1, 20000) n
		UNION ALL
		SELECT 'ksuid', n, runops.gen_ksuid() FROM generate_series(1, 20000) n
		UNION ALL
		SELECT 'runops', n, CASE n % 2 WHEN 0 THEN runops.gen_run_ops_id('e') ELSE runops.gen_shard_id('a') END FROM generate_series(1, 20000) n) g(f, n, id)
	OFFSET 0) o
WHERE before IS NOT NULL
GROUP BY f ORDER BY f;

-- a payload given leads, and what is missing is random
SELECT p, octet_length(p), (runops.parse_id(runops.gen_ksuid(p))).payload = p AS whole,
	substr((runops.parse_id(runops.gen_ksuid(p))).payload, 1, octet_length(p)) = p AS leads
FROM unnest(ARRAY['', '\x00', 'abc', '123456789012345', '1234567890123456', '\xffffffffffffffffffffffffffffffff']::bytea[]) p;
SELECT count(DISTINCT runops.gen_ksuid('abc')) FROM generate_series(1, 100);

-- ids of parallel workers differ; ask for the processes to know that there were any
CREATE FUNCTION ids_pid() RETURNS int LANGUAGE internal PARALLEL SAFE AS 'pg_backend_pid';
CREATE TABLE ids_parallel AS SELECT n FROM generate_series(1, 20000) n;
ALTER TABLE ids_parallel SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT runops.gen_cuid(), runops.gen_ksuid(), runops.gen_run_ops_id(), runops.gen_shard_id('e') FROM ids_parallel;
SELECT count(*), count(DISTINCT c) AS c, count(DISTINCT k) AS k, count(DISTINCT r) AS r, count(DISTINCT s) AS s,
	count(DISTINCT left(r, 24)) + count(DISTINCT left(s, 24)) AS cores, count(DISTINCT pid) > 0 AND NOT bool_or(pid = pg_backend_pid()) AS by_workers
FROM (
	SELECT runops.gen_cuid() AS c, runops.gen_ksuid() AS k, runops.gen_run_ops_id() AS r, runops.gen_shard_id('e') AS s, ids_pid() AS pid
	FROM ids_parallel OFFSET 0) g;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET parallel_leader_participation;
DROP TABLE ids_parallel;
DROP FUNCTION ids_pid();

-- usable where the planner wants it: index, generated column, partition key, CHECK
CREATE TABLE ids_use (id text CHECK (runops.is_classifiable(id)), store text GENERATED ALWAYS AS (runops.store_of(id)) STORED);
CREATE INDEX ON ids_use (runops.store_of(id));
INSERT INTO ids_use SELECT runops.gen_shard_id('q') UNION ALL SELECT runops.gen_cuid() UNION ALL SELECT runops.gen_ksuid();
INSERT INTO ids_use VALUES ('run_1');
SELECT store, count(*) FROM ids_use GROUP BY store ORDER BY store;
SET enable_seqscan = off;
SELECT runops.store_of(id) FROM ids_use WHERE runops.store_of(id) > 'm' ORDER BY runops.store_of(id);
RESET enable_seqscan;
DROP TABLE ids_use;
CREATE TABLE ids_part (id text) PARTITION BY LIST (runops.store_of(id));
CREATE TABLE ids_part_legacy PARTITION OF ids_part FOR VALUES IN ('legacy', NULL);
CREATE TABLE ids_part_new PARTITION OF ids_part FOR VALUES IN ('new');
INSERT INTO ids_part VALUES (NULL), ('run_1'), (runops.gen_cuid()), (runops.gen_ksuid()), (runops.gen_run_ops_id());
SELECT tableoid::regclass, count(*) FROM ids_part GROUP BY 1 ORDER BY 1;
DROP TABLE ids_part;

-- anybody may use them, from any search_path
CREATE ROLE regress_runops_ids;
SET ROLE regress_runops_ids;
SET search_path = '';
SELECT runops.store_of(runops.gen_ksuid()), runops.residency(runops.gen_cuid()), (runops.parse_id(runops.gen_shard_id('e'))).shard;
RESET search_path;
RESET ROLE;
DROP ROLE regress_runops_ids;

-- volatility and the like, as the documentation says
SELECT p.oid::regprocedure AS function, provolatile, proisstrict, proparallel, proleakproof
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'runops'
WHERE proname IN ('store_of', 'is_classifiable', 'same_store', 'id_kind', 'residency', 'try_residency', 'parse_id',
	'to_friendly_id', 'from_friendly_id', 'gen_cuid', 'gen_ksuid', 'gen_run_ops_id', 'gen_shard_id')
ORDER BY p.oid::regprocedure::text COLLATE "C";
