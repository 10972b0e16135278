-- mint_ids: ids with the shape of the parent, and without a parent with the shape of
-- the mint kind

SELECT verdict FROM runops.recheck('new');
CREATE TABLE parents (name text, id text);
INSERT INTO parents VALUES
	('cuid', 'cmcjssmao6dfcc016e6d94f48'),
	('cuid run', 'run_cmcjssmao6dfcc016e6d94f48'),
	('ksuid', '37dGalnvVFpJFsmiFDGIwmudA4O'),
	('ksuid batch', 'batch_37dGalnvVFpJFsmiFDGIwmudA4O'),
	('runops', '06fiq7vkik0g40o40k30e209e1'),
	('runops run', 'run_06fiq7vkik0g40o40k30e20901'),
	('shard', '06fiq7vkik0g40o40k30e209q2'),
	('shard waitpoint', 'waitpoint_06fiq7vkik0g40o40k30e20972');
CREATE FUNCTION show(id text) RETURNS text LANGUAGE sql
	AS $$ SELECT concat_ws(' ', p.kind, p.store, p.region, p.shard, length(id)) FROM runops.parse_id(id) p $$;

-- the parent's kind exactly
SELECT name, runops.inherited_mint_kind(id) FROM parents;
SELECT runops.inherited_mint_kind(NULL) IS NULL AS strict;

-- no flag, no gate, no store, no entity has a say in what a child becomes
CREATE VIEW minted AS
SELECT p.name, count(DISTINCT m.id) AS ids, array_agg(DISTINCT show(m.id)) AS shape,
	array_agg(DISTINCT show(runops.mint_batch_id('org', p.id))) AS batch
FROM parents p,
	unnest('{run,batch,item,attempt,snapshot,waitpoint,edge,checkpoint,restore,dependency,queue,worker,bulk,error,session}'::text[]) e,
	LATERAL (SELECT runops.mint_id(e, 'org', p.id) AS id OFFSET 0) m
GROUP BY p.name ORDER BY p.name COLLATE "C";
SELECT * FROM minted;
INSERT INTO runops.mint_config VALUES (NULL, 'ksuid'), ('org', 'cuid');
SELECT * FROM minted;
UPDATE runops.mint_config SET kind = CASE kind WHEN 'cuid' THEN 'runops' ELSE 'cuid' END;
SELECT * FROM minted;

-- the region: one's own, or else the parent's; only run-ops ids have one
SELECT show(runops.mint_id('run', NULL, p.id, region)) AS id, p.name, region
FROM parents p, unnest('{NULL,us-west-2,q,nowhere}'::text[]) region WHERE p.name IN ('runops', 'runops run', 'ksuid', 'shard') ORDER BY p.name COLLATE "C", region;

-- without a parent only runs and batches follow the flags
SELECT e, show(runops.mint_id(e, 'org', region => 'us-east-1')), show(runops.mint_id(e))
FROM unnest('{run,batch,item,attempt,snapshot,waitpoint,edge,checkpoint,restore,dependency,queue,worker,bulk,error,session}'::text[]) e;
SELECT show(runops.mint_batch_id()), show(runops.mint_batch_id('org')), show(runops.mint_batch_id(org => 'org'));
UPDATE runops.mint_config SET kind = 'shard:q';
SELECT runops.mint_kind(), show(runops.mint_id('run'));
UPDATE runops.mint_config SET kind = 'ksuid';
SELECT runops.mint_kind(), show(runops.mint_id('run', region => 'e'));

-- items and children of a batch anchor on the batch, in both directions of a flip
DELETE FROM runops.mint_config;
CREATE FUNCTION flipped(before text, after text) RETURNS TABLE (what text, shape text) LANGUAGE plpgsql AS $$
DECLARE
	batch text;
BEGIN
	DELETE FROM runops.mint_config;
	INSERT INTO runops.mint_config VALUES ('org', before);
	batch := runops.mint_batch_id('org');
	UPDATE runops.mint_config SET kind = after;
	RETURN QUERY SELECT 'batch', show(batch) UNION ALL
		SELECT e, show(runops.mint_id(e, org => 'org', parent => batch)) FROM unnest('{run,item,batch}'::text[]) e UNION ALL
		SELECT 'child batch', show(runops.mint_batch_id('org', runops.to_friendly_id('batch', batch))) UNION ALL
		SELECT 'next batch', show(runops.mint_batch_id('org'));
END
$$;
SELECT * FROM flipped('cuid', 'ksuid');
SELECT * FROM flipped('ksuid', 'cuid');
SELECT * FROM flipped('runops', 'ksuid');
DELETE FROM runops.mint_config;

-- what is minted with its owner as the parent names its own store
SELECT runops.add_store('q', 'run_ops', remote_schema => 'q');
SELECT runops.remote_exec('new', 'CREATE SCHEMA q');
CREATE TABLE waitpoint (id text COLLATE "C" PRIMARY KEY, "completedByTaskRunId" text COLLATE "C");
CREATE TABLE attempt (id text COLLATE "C" PRIMARY KEY, "taskRunId" text COLLATE "C" NOT NULL);
SELECT runops.attach('waitpoint', 'COALESCE("completedByTaskRunId", id)', '{id}');
SELECT runops.attach('attempt', 'taskRunId', '{id}');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) FROM runops.provision('q') WHERE action = 'create';
INSERT INTO waitpoint SELECT runops.mint_id('waitpoint', parent => p.id), p.id FROM parents p WHERE p.name !~ ' waitpoint';
INSERT INTO attempt SELECT runops.mint_id('attempt', parent => "completedByTaskRunId"), "completedByTaskRunId" FROM waitpoint;
CREATE FUNCTION leaves(query text) RETURNS text LANGUAGE plpgsql SET runops.enable_shipping = off AS $$
DECLARE
	line text;
	found text[];
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		found := found || (regexp_match(line, 'on (\S+)'))[1];
	END LOOP;
	RETURN array_to_string(found, ', ');
END
$$;
SELECT show(id), tableoid::regclass, leaves(format('SELECT * FROM waitpoint WHERE id = %L', id)) FROM waitpoint ORDER BY 1, 2;
SELECT show(id), tableoid::regclass, leaves(format('SELECT * FROM attempt WHERE id = %L', id)) FROM attempt ORDER BY 1, 2;

-- errors, and NULLs
SELECT runops.inherited_mint_kind('run_tooShort');
\set VERBOSITY sqlstate
SELECT runops.inherited_mint_kind('run_tooShort');
SELECT runops.mint_id('token');
\set VERBOSITY terse
SELECT runops.inherited_mint_kind('');
SELECT runops.mint_id('run', 'org', 'run_123456789012345678901');
SELECT runops.mint_batch_id('org', '');
SELECT runops.mint_id('token');
SELECT runops.mint_id('Run');
SELECT runops.mint_id('run_');
SELECT runops.mint_id('');
SELECT runops.mint_id(NULL);
SELECT runops.mint_id('nothing', parent => 'odd');
SELECT length(runops.mint_id('run', NULL, NULL, NULL)), length(runops.mint_batch_id(NULL, NULL));

SELECT runops.detach('waitpoint', force => true), runops.detach('attempt', force => true);
SELECT runops.remote_exec('new', 'DROP TABLE public.waitpoint, public.attempt; DROP SCHEMA q CASCADE');
SELECT runops.drop_store('q', force => true);
DROP TABLE waitpoint, attempt;
DROP FUNCTION show CASCADE;
DROP FUNCTION flipped, leaves;
DROP TABLE parents;
