-- mint: the kind of id that the root of a family gets, and flips of the mint kind

-- A flip takes effect a grace period after its timestamp.  Instead of waiting, the
-- test sets the timestamps back by a plain UPDATE, which every session has to notice
-- as well.
CREATE FUNCTION pass(t interval) RETURNS void LANGUAGE sql
	AS $$ UPDATE runops.mint_config SET flipped_at = flipped_at - t, effective_at = effective_at - t $$;
CREATE FUNCTION flags() RETURNS TABLE (org text, kind text, previous text, age interval, effective text) LANGUAGE sql
	AS $$ SELECT org, kind, previous, date_trunc('minute', clock_timestamp() - flipped_at), effective FROM runops.mint_kinds ORDER BY org NULLS FIRST $$;
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, org text, parent text);
SELECT runops.attach('run', 'id', '{parent}');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT verdict FROM runops.recheck('new');
SHOW runops.mint_enabled;
SHOW runops.mint_flip_grace;

-- nothing is set
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind(NULL), runops.mint_kind('');
SELECT * FROM flags();

-- the first flag of all flips from what held without it
SELECT runops.set_mint_kind('org_a', 'ksuid');
SELECT * FROM flags();
SELECT runops.mint_kind('org_a'), runops.mint_kind('org_b'), runops.mint_kind();
SELECT pass('89 s');
SELECT runops.mint_kind('org_a');
SELECT pass('1 s');
SELECT runops.mint_kind('org_a'), runops.mint_kind('org_b'), runops.mint_kind();
SELECT * FROM flags();

-- the boundary is the new kind's
SELECT x, runops._mint_kind_at('org_a', flipped_at + '90 s'::interval + x)
FROM runops.mint_kinds, unnest('{-1 us, 0, 1 us}'::interval[]) x WHERE org = 'org_a';

-- an organization's flag and stamp are its own, and so are the global ones
SELECT runops.set_mint_kind(NULL, 'runops');
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind('org_b');
SELECT pass('90 s');
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind('org_b');
SELECT runops.set_mint_kind('org_a', 'cuid');
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind('org_b');
SELECT pass('90 s');
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind('org_b');
SELECT * FROM flags();

-- the same kind again keeps the stamp, in the grace and after it
SELECT runops.set_mint_kind('org_a', 'ksuid');
SELECT pass('60 s');
SELECT runops.set_mint_kind('org_a', 'ksuid');
SELECT * FROM flags();
SELECT pass('60 s');
SELECT runops.set_mint_kind('org_a', 'ksuid');
SELECT * FROM flags();

-- a flip back within the grace: what is in effect stays, under a new stamp
SELECT runops.set_mint_kind('org_a', 'cuid');
SELECT pass('60 s');
SELECT runops.set_mint_kind('org_a', 'ksuid');
SELECT * FROM flags() WHERE org = 'org_a';
SELECT pass('60 s');
SELECT runops.mint_kind('org_a');
SELECT pass('60 s');
SELECT runops.mint_kind('org_a');
-- and one to a third kind
SELECT runops.set_mint_kind('org_a', 'cuid');
SELECT pass('60 s');
SELECT runops.set_mint_kind('org_a', 'runops');
SELECT * FROM flags() WHERE org = 'org_a';
SELECT pass('60 s');
SELECT runops.mint_kind('org_a');
SELECT pass('60 s');
SELECT runops.mint_kind('org_a');

-- the first flag of an organization starts from the global kind in effect
SELECT runops.set_mint_kind(NULL, 'ksuid');
SELECT runops.set_mint_kind('org_c', 'cuid');
SELECT runops.set_mint_kind('org_d', 'runops');
SELECT runops.set_mint_kind('org_e', 'ksuid');
SELECT * FROM flags();
SELECT pass('90 s');
SELECT runops.mint_kind(), runops.mint_kind('org_c'), runops.mint_kind('org_d'), runops.mint_kind('org_e');

-- to remove an entry is to flip to the global kind; removing none is nothing
SELECT runops.set_mint_kind('org_c', NULL);
SELECT runops.set_mint_kind('org_z', NULL);
SELECT * FROM flags() WHERE org IN ('org_c', 'org_z');
SELECT runops.mint_kind('org_c');
SELECT pass('60 s');
SELECT runops.set_mint_kind('org_c', NULL);
SELECT * FROM flags() WHERE org = 'org_c';
SELECT pass('60 s');
SELECT runops.mint_kind('org_c');
SELECT * FROM flags() WHERE org = 'org_c';
-- removed and set again within the grace
SELECT runops.set_mint_kind('org_d', NULL);
SELECT runops.set_mint_kind('org_d', 'cuid');
SELECT * FROM flags() WHERE org = 'org_d';
-- the global one
SELECT runops.set_mint_kind(NULL, NULL);
SELECT runops.mint_kind(), runops.mint_kind('org_c');
SELECT pass('90 s');
SELECT runops.mint_kind(), runops.mint_kind('org_c');
-- rows that say nothing any more go with the next change
SELECT count(*) FROM runops.mint_config WHERE kind IS NULL;
SELECT runops.set_mint_kind('org_f', 'cuid');
SELECT count(*) FROM runops.mint_config WHERE kind IS NULL;
SELECT * FROM flags();

-- too late to call off a flip, which not every session might learn of
SELECT runops.set_mint_kind('org_f', 'ksuid');
SELECT pass('85 s');
\set VERBOSITY sqlstate
SELECT runops.set_mint_kind('org_f', 'cuid');
SELECT runops.set_mint_kind('org_f', NULL);
SELECT runops.set_mint_kind('org_f', 'ksuid');
SELECT runops.set_mint_kind(NULL, 'ksuid');
SELECT pass('85 s');
SELECT runops.set_mint_kind('org_g', 'cuid');
\set VERBOSITY default
SELECT pass('90 s');

-- a session does not see its own flip before it is committed
BEGIN;
SELECT runops.set_mint_kind('org_g', 'cuid');
SELECT runops.mint_kind('org_g');
SELECT pass('1 h');
SELECT runops.mint_kind('org_g');
SAVEPOINT s;
SELECT runops.set_mint_kind('org_h', 'runops');
SELECT org, kind FROM runops.mint_kinds WHERE org > 'org_f' ORDER BY org;
ROLLBACK TO s;
SELECT org, kind FROM runops.mint_kinds WHERE org > 'org_f' ORDER BY org;
ROLLBACK;
SELECT runops.mint_kind('org_g');

-- what is rolled back is forgotten
BEGIN;
UPDATE runops.mint_config SET kind = 'runops', previous = NULL WHERE org IS NULL;
SELECT runops.mint_kind();
ROLLBACK;
SELECT runops.mint_kind();
BEGIN;
TRUNCATE runops.mint_config;
SELECT runops.mint_kind();
ROLLBACK;
SELECT runops.mint_kind();

-- a flip that was committed too late would take effect in the past
\set VERBOSITY terse
BEGIN;
SELECT runops.set_mint_kind('org_g', 'cuid');
PREPARE TRANSACTION 'flip';

-- names and privileges
SELECT runops.set_mint_kind('org_g', 'KSUID');
SELECT runops.set_mint_kind('org_g', '');
SELECT runops.set_mint_kind('org_g', 'shard:');
SELECT runops.set_mint_kind('org_g', 'shard:E');
SELECT runops.set_mint_kind('org_g', 'shard:ee');
SELECT runops.set_mint_kind('org_g', 'shard');
SELECT runops.set_mint_kind('org_g', 'legacy');
INSERT INTO runops.mint_config VALUES ('org_g', 'new');
BEGIN TRANSACTION READ ONLY;
SELECT runops.set_mint_kind('org_g', 'cuid');
ROLLBACK;
CREATE ROLE regress_runops_mint;
SET ROLE regress_runops_mint;
SELECT runops.set_mint_kind('org_g', 'cuid');
SELECT runops.mint_kind('org_a'), length(runops.mint_id('run', 'org_a'));
SELECT kind FROM runops.mint_kinds WHERE org = 'org_a';
SELECT * FROM runops.mint_config;
RESET ROLE;
GRANT EXECUTE ON FUNCTION runops.set_mint_kind TO regress_runops_mint;
SET ROLE regress_runops_mint;
SET search_path = '';
SELECT runops.set_mint_kind('Org "Ü"', 'runops');
RESET search_path;
RESET ROLE;
SELECT org, kind, previous FROM runops.mint_kinds WHERE org LIKE 'Org%';
\set VERBOSITY default

-- any failure to read a flag gives a cuid, and is not remembered
SELECT runops.mint_kind('org_a');
ALTER INDEX runops.mint_config_org_key RENAME TO elsewhere;
UPDATE runops.mint_config SET kind = kind;
SELECT runops.mint_kind('org_a'), runops.mint_kind();
SELECT length(runops.mint_id('run', 'org_a'));
ALTER INDEX runops.elsewhere RENAME TO mint_config_org_key;
SELECT runops.mint_kind('org_a'), runops.mint_kind();

-- a kind whose store is not configured, or not proved, is a cuid; nobody is asked
CREATE DATABASE runops_mint_store;
DO $$
BEGIN
	EXECUTE format('CREATE SERVER mint_srv FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_mint_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER mint_srv;
DELETE FROM runops.mint_config;
INSERT INTO runops.mint_config VALUES (NULL, 'shard:m');
SELECT runops.mint_kind(), runops._mint_kind_at(NULL, now());
INSERT INTO runops.mint_config VALUES ('o1', 'shard:m'), ('o2', 'shard:n'), ('o3', 'shard:n'), ('o4', 'cuid'), ('o5', 'ksuid');
SELECT severity, object, finding, hint FROM runops.doctor(detail => true) WHERE object ~ 'mint' ORDER BY object;
SELECT severity, count, finding FROM runops.doctor() WHERE object ~ 'mint';
DELETE FROM runops.mint_config WHERE org IS NOT NULL;
SELECT runops.add_store('m', 'mint_srv');
SELECT count(*) FROM runops._doctor_minting();
SELECT runops.mint_kind();
SELECT count(*) FROM pg_stat_activity WHERE datname = 'runops_mint_store';
SELECT verdict FROM runops.recheck('m');
SELECT runops.mint_kind(), runops.store_of(runops.mint_id('run'));
-- its server points elsewhere
ALTER SERVER mint_srv OPTIONS (SET dbname 'nowhere');
SELECT runops.mint_kind();
ALTER SERVER mint_srv OPTIONS (SET dbname 'runops_mint_store');
SELECT verdict FROM runops.recheck('m');
SELECT runops.mint_kind();
BEGIN;
SELECT runops.drop_store('m', force => true);
SELECT runops.mint_kind();
ROLLBACK;
SELECT runops.mint_kind();
SELECT runops.drop_store('m', force => true);
SELECT runops.mint_kind();
DROP SERVER mint_srv CASCADE;
SELECT runops.mint_kind();

-- no query once a flag is known: neither table nor index is read
DELETE FROM runops.mint_config;
INSERT INTO runops.mint_config VALUES (NULL, 'ksuid'), ('org_a', 'cuid');
SELECT runops.mint_kind(), runops.mint_kind('org_a'), runops.mint_kind('org_b');
SELECT count(*) FROM (SELECT pg_stat_force_next_flush()) f;
SELECT pg_stat_get_tuples_returned('runops.mint_config'::regclass) + pg_stat_get_numscans('runops.mint_config_org_key'::regclass)
	+ pg_stat_get_numscans('runops.store_config'::regclass) AS before \gset
SELECT count(*) FILTER (WHERE k = 'ksuid') AS ksuid, count(*) FILTER (WHERE k = 'cuid') AS cuid
FROM generate_series(1, 300) n, runops.mint_kind((ARRAY[NULL, 'org_a', 'org_b'])[n % 3 + 1]) k;
SELECT count(DISTINCT runops.mint_id('run', 'org_b')) FROM generate_series(1, 300);
SELECT count(*) FROM (SELECT pg_stat_force_next_flush()) f;
SELECT pg_stat_get_tuples_returned('runops.mint_config'::regclass) + pg_stat_get_numscans('runops.mint_config_org_key'::regclass)
	+ pg_stat_get_numscans('runops.store_config'::regclass) - :before AS scans;

-- more organizations than are remembered
INSERT INTO runops.mint_config SELECT 'many_' || n, CASE n % 2 WHEN 0 THEN 'runops' ELSE 'cuid' END FROM generate_series(1, 10500) n;
SELECT runops.mint_kind('many_' || n) AS kind, count(*) FROM generate_series(1, 10500) n GROUP BY 1 ORDER BY 1;
SELECT runops.mint_kind('many_1'), runops.mint_kind('many_10500');
INSERT INTO runops.mint_config VALUES (repeat('long', 100), 'runops');
SELECT runops.mint_kind(repeat('long', 100)), runops.mint_kind(repeat('long', 100000));

-- cutover: a canary, and everybody else
DELETE FROM runops.mint_config;
SELECT runops.set_mint_kind('canary', 'ksuid');
SELECT pass('90 s');
INSERT INTO run SELECT runops.mint_id('run', org => o), o FROM unnest('{canary,other}'::text[]) o, generate_series(1, 3);
INSERT INTO run SELECT runops.mint_id('run', org => org, parent => id), org, id FROM run;
SELECT org, parent IS NOT NULL AS child, tableoid::regclass AS leaf, length(id), runops.residency(id), count(*) FROM run GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2;
-- back: new roots are cuids, what is there stays, and its children follow it
SELECT runops.set_mint_kind('canary', 'cuid');
SELECT pass('90 s');
INSERT INTO run SELECT runops.mint_id('run', org => 'canary'), 'canary' FROM generate_series(1, 2);
INSERT INTO run SELECT runops.mint_id('run', org => 'canary', parent => id), 'canary', id FROM run WHERE org = 'canary' AND parent IS NULL AND length(id) = 27;
SELECT org, parent IS NOT NULL AS child, tableoid::regclass AS leaf, length(id), runops.residency(id), count(*) FROM run GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4;
SELECT * FROM runops.verify('run');
SELECT count(*) AS elsewhere FROM run WHERE runops.store_of(id) <> runops.store_of(coalesce(parent, id));

DELETE FROM runops.mint_config;
REVOKE EXECUTE ON FUNCTION runops.set_mint_kind FROM regress_runops_mint;
DROP ROLE regress_runops_mint;
SELECT runops.detach('run', force => true);
SELECT runops.remote_exec('new', 'DROP TABLE public.run');
DROP TABLE run;
DROP FUNCTION pass, flags;
DROP DATABASE runops_mint_store;
