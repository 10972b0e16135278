-- control_plane_cache: calls that the cache answers, and calls that read again
--
-- Each query counts its runs in a sequence: "reads" shows how many there were.
CREATE SCHEMA cache;
SET search_path = cache;
CREATE SEQUENCE counter MINVALUE 0 START 0;
CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql AS
	$$ SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM cache.counter $$;
CREATE TABLE environment (id text PRIMARY KEY, org text NOT NULL, parent text, paused bool NOT NULL DEFAULT false);
CREATE TABLE promotion (env text, label text, worker text);
INSERT INTO environment VALUES ('e1', 'o1', NULL), ('e2', 'o1', NULL), ('e3', 'o2', NULL), ('child', 'o1', 'e1');
INSERT INTO promotion VALUES ('e1', 'current', 'w1');
SELECT runops.add_resolver('env', 'SELECT e.*, nextval(''counter'') IS NULL AS c FROM environment e WHERE id = $1', 'id', 'org', '1 hour');
SELECT runops.add_resolver('auth', 'SELECT e.id, e.org, ARRAY[e.id, e.parent] AS envs, p.paused AS parent_paused, nextval(''counter'') IS NULL AS c
	FROM environment e LEFT JOIN environment p ON p.id = e.parent WHERE e.id = $1', 'envs', 'org', '1 hour');
SELECT runops.add_resolver('exists', 'SELECT id, nextval(''counter'') IS NULL AS c FROM environment WHERE id = $1', 'id', ttl => '1 hour');
SELECT runops.add_resolver('worker', 'SELECT env, worker, nextval(''counter'') IS NULL AS c FROM promotion WHERE env = $1 AND label = $2', 'env', ttl => '1 hour');
SELECT runops.add_resolver('brief', 'SELECT id, nextval(''counter'') IS NULL AS c FROM environment WHERE id = $1', 'id', ttl => '0');
CREATE VIEW counters AS SELECT slot, entries, hits, negative_hits, misses, evictions, invalidations FROM runops.resolvers;

-- a second call reads nothing, and slots are apart
SELECT runops.resolve('env', 'e1') - 'c' AS env, runops.resolve('env', 'e1') - 'c' AS again;
SELECT reads();
SELECT runops.resolve('auth', 'e1') - 'c' AS auth, runops.resolve('exists', 'e1') - 'c' AS "exists", reads();
SELECT runops.resolve('auth', 'e1') IS NOT NULL, runops.resolve('exists', 'e1') IS NOT NULL, reads();
-- a confirmed absence is a value
SELECT runops.resolve('env', 'gone') IS NULL AS gone, runops.resolve('env', 'gone') IS NULL AS gone, reads();
SELECT runops.resolve('worker', 'e3', 'current') IS NULL AS none, runops.resolve('worker', 'e3', 'current') IS NULL AS none, reads();
SELECT * FROM counters ORDER BY slot;
-- a long key is not kept
SELECT runops.resolve('env', repeat('x', 2000)) IS NULL AS none, runops.resolve('env', repeat('x', 2000)) IS NULL AS none;
SELECT entries FROM counters WHERE slot = 'env';
SELECT reads();
-- ttl 0 expires at once
SELECT runops.resolve('brief', 'e1') IS NOT NULL, runops.resolve('brief', 'e1') IS NOT NULL;
SELECT reads();

-- invalidate_environment: all slots of this environment, and no other's
SELECT count(runops.resolve(s, e)) FROM unnest('{env,auth,exists}'::text[]) s, unnest('{e1,e2,e3}'::text[]) e;
SELECT reads() AS before \gset
SELECT runops.invalidate_environment('e1');
SELECT count(runops.resolve(s, 'e2')) + count(runops.resolve(s, 'e3')) AS others FROM unnest('{env,auth,exists}'::text[]) s;
SELECT reads() - :before AS reads;
SELECT count(runops.resolve(s, 'e1')) FROM unnest('{env,auth,exists}'::text[]) s;
SELECT reads() - :before AS reads;
SELECT count(runops.resolve(s, 'e1')) FROM unnest('{env,auth,exists}'::text[]) s;
SELECT reads() - :before AS reads;
-- one that a value depends on besides its own
SELECT runops.resolve('auth', 'child') ->> 'parent_paused';
SELECT runops.invalidate_environment('e1');
SELECT reads() AS before \gset
SELECT runops.resolve('auth', 'child') ->> 'parent_paused';
SELECT reads() - :before AS reads;

-- invalidate_organization: its environments, not another's, and no absence
SELECT count(runops.resolve(s, e)) FROM unnest('{env,auth}'::text[]) s, unnest('{e1,e2,e3,gone}'::text[]) e;
SELECT reads() AS before \gset
SELECT runops.invalidate_organization('o1');
SELECT runops.resolve('env', 'e3') IS NOT NULL, runops.resolve('auth', 'e3') IS NOT NULL, runops.resolve('env', 'gone') IS NULL AS gone;
SELECT runops.resolve('exists', 'e1') IS NOT NULL AS untagged;
SELECT reads() - :before AS reads;
SELECT count(runops.resolve(s, e)) FROM unnest('{env,auth}'::text[]) s, unnest('{e1,e2}'::text[]) e;
SELECT reads() - :before AS reads;
SELECT count(runops.resolve(s, e)) FROM unnest('{env,auth}'::text[]) s, unnest('{e1,e2}'::text[]) e;
SELECT reads() - :before AS reads;
SELECT runops.invalidate_environment(NULL), runops.invalidate_organization(NULL);

-- without a watch a write is not seen; with an invalidation it is
UPDATE environment SET paused = true WHERE id = 'e1';
SELECT runops.resolve('env', 'e1') ->> 'paused' AS stale;
SELECT runops.invalidate_environment('e1');
SELECT runops.resolve('env', 'e1') ->> 'paused' AS fresh;

-- the own transaction: at once, for what it invalidates alone; nothing on abort
SELECT runops.resolve('env', 'e2') ->> 'paused' AS before;
BEGIN;
UPDATE environment SET paused = true WHERE id = 'e2';
SELECT runops.invalidate_environment('e2');
SELECT runops.resolve('env', 'e2') ->> 'paused' AS own;
SELECT reads() AS before \gset
SELECT runops.resolve('env', 'e2') IS NOT NULL, runops.resolve('env', 'e3') IS NOT NULL;
SELECT reads() - :before AS reads;
ROLLBACK;
SELECT reads() AS before \gset
SELECT runops.resolve('env', 'e2') ->> 'paused' AS after;
SELECT reads() - :before AS reads;
-- savepoints
BEGIN;
SAVEPOINT a;
SELECT runops.invalidate_environment('e2');
SAVEPOINT b;
SELECT runops.invalidate_environment('e3');
RELEASE b;
SELECT runops.resolve('env', 'e3') IS NOT NULL, reads() - :before AS reads;
ROLLBACK TO a;
SELECT runops.resolve('env', 'e2') IS NOT NULL, runops.resolve('env', 'e3') IS NOT NULL;
SELECT reads() - :before AS reads;
SAVEPOINT c;
SELECT runops.invalidate_environment('e3');
RELEASE c;
COMMIT;
SELECT runops.resolve('env', 'e2') IS NOT NULL, runops.resolve('env', 'e3') IS NOT NULL;
SELECT reads() - :before AS reads;
-- uncommitted rows are not kept, whether a watch tells of them or not
SELECT runops.add_resolver('plain', 'SELECT id, paused FROM environment WHERE id = $1', 'id', ttl => '1 hour');
BEGIN;
UPDATE environment SET paused = true WHERE id = 'e3';
SELECT runops.resolve('plain', 'e3') ->> 'paused' AS own;
ROLLBACK;
SELECT runops.resolve('plain', 'e3') ->> 'paused' AS after;
BEGIN;
ALTER TABLE environment ALTER paused TYPE text USING 'changed';
SELECT runops.resolve('plain', 'e3') ->> 'paused' AS own;
ROLLBACK;
SELECT runops.resolve('plain', 'e3') ->> 'paused' AS after;
-- nor those that a function of the user's may have seen
CREATE FUNCTION peek(text) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT paused FROM cache.environment WHERE id = $1 $$;
CREATE FUNCTION hidden(text) RETURNS bool LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT paused FROM cache.environment WHERE id = $1); END $$;
SELECT runops.add_resolver('hidden', 'SELECT cache.hidden($1) AS h, cache.peek($1) AS p', ttl => '1 hour');
BEGIN;
UPDATE environment SET paused = true WHERE id = 'e3';
SELECT runops.resolve('hidden', 'e3');
ROLLBACK;
SELECT runops.resolve('hidden', 'e3');
SELECT runops.resolve('hidden', 'e3');
SELECT hits, misses FROM counters WHERE slot = 'hidden';

-- watches
SELECT runops.watch('environment', 'id', 'org', '{env,auth}');
SELECT runops.watch('environment', 'parent', slots => '{auth}');
SELECT runops.watch('promotion', 'env');
SELECT * FROM runops.watches ORDER BY relation::text, environment_column;
SELECT count(runops.resolve(s, e)) FROM unnest('{env,auth,exists}'::text[]) s, unnest('{e1,e2,e3}'::text[]) e;
UPDATE environment SET paused = NOT paused WHERE id = 'e1';
SELECT reads() AS before \gset
SELECT runops.resolve('exists', 'e1') IS NOT NULL AS sibling, runops.resolve('env', 'e3') IS NOT NULL AS other;
SELECT reads() - :before AS reads;
SELECT runops.resolve('env', 'e1') ->> 'paused', runops.resolve('auth', 'child') ->> 'parent_paused';
-- a sibling in the organization stays, and what is tagged with the organization alone goes
SELECT runops.add_resolver('org', 'SELECT $1 AS org, count(*) AS n FROM environment WHERE org = $1', organization_column => 'org', ttl => '1 hour');
SELECT runops.watch('environment', 'id', 'org', '{org}');
SELECT runops.resolve('env', 'e2') ->> 'paused', runops.resolve('org', 'o1') ->> 'n';
SELECT reads() AS before \gset
INSERT INTO environment VALUES ('e5', 'o1');
SELECT runops.resolve('env', 'e2') ->> 'paused', runops.resolve('org', 'o1') ->> 'n';
SELECT reads() - :before AS reads;
-- to another organization: both
UPDATE environment SET org = 'o2' WHERE id = 'e2';
SELECT runops.resolve('env', 'e2') ->> 'org';
-- of the key
UPDATE environment SET id = 'e4' WHERE id = 'e2';
SELECT runops.resolve('env', 'e2') IS NULL AS gone, runops.resolve('env', 'e4') ->> 'id';
-- a confirmed absence
INSERT INTO environment VALUES ('gone', 'o1');
SELECT runops.resolve('env', 'gone') ->> 'id';
DELETE FROM environment WHERE id = 'gone';
SELECT runops.resolve('env', 'gone') IS NULL AS gone;
-- promotion
SELECT runops.resolve('worker', 'e1', 'current') ->> 'worker', runops.resolve('worker', 'e4', 'current') IS NULL AS none;
UPDATE promotion SET worker = 'w2' WHERE env = 'e1';
INSERT INTO promotion VALUES ('e4', 'current', 'w3');
SELECT runops.resolve('worker', 'e1', 'current') ->> 'worker', runops.resolve('worker', 'e4', 'current') ->> 'worker';
-- TRUNCATE, and its rollback
BEGIN;
TRUNCATE promotion;
SELECT runops.resolve('worker', 'e1', 'current') IS NULL AS gone;
ROLLBACK;
SELECT reads() AS before \gset
SELECT runops.resolve('worker', 'e1', 'current') ->> 'worker';
SELECT reads() - :before AS reads;
TRUNCATE promotion;
SELECT runops.resolve('worker', 'e1', 'current') IS NULL AS gone;
-- rows that name nobody may concern anybody
SELECT runops.resolve('worker', 'e1', 'current') IS NULL AS gone;
INSERT INTO promotion VALUES (NULL, 'current', 'w9');
SELECT misses AS before FROM counters WHERE slot = 'worker' \gset
SELECT runops.resolve('worker', 'e1', 'current') IS NULL AS gone;
SELECT misses - :before AS reads FROM counters WHERE slot = 'worker';
-- a column that is renamed under a watch
ALTER TABLE promotion RENAME env TO environment;
SELECT runops.drop_resolver('worker');
SELECT runops.add_resolver('worker', 'SELECT environment, worker FROM promotion WHERE environment = $1 AND label = $2', 'environment', ttl => '1 hour');
SELECT runops.resolve('worker', 'e1', 'current') IS NULL AS gone;
INSERT INTO promotion VALUES ('e1', 'current', 'w4');
SELECT runops.resolve('worker', 'e1', 'current') ->> 'worker';

-- writes that replication applies fire the triggers
SELECT runops.resolve('env', 'e1') ->> 'paused';
SET session_replication_role = replica;
UPDATE environment SET paused = NOT paused WHERE id = 'e1';
RESET session_replication_role;
SELECT runops.resolve('env', 'e1') ->> 'paused';

-- partitions, written directly and through the parent
CREATE TABLE parted (id text, org text) PARTITION BY LIST (id);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a');
SELECT runops.add_resolver('parted', 'SELECT * FROM parted WHERE id = $1', 'id', ttl => '1 hour');
SELECT runops.watch('parted', 'id', slots => '{parted}');
CREATE TABLE parted_b PARTITION OF parted FOR VALUES IN ('b');
SELECT runops.resolve('parted', 'a') IS NULL AS a, runops.resolve('parted', 'b') IS NULL AS b;
INSERT INTO parted VALUES ('a', 'o1');
INSERT INTO parted_b VALUES ('b', 'o1');
SELECT runops.resolve('parted', 'a') ->> 'org' AS a, runops.resolve('parted', 'b') ->> 'org' AS b;
TRUNCATE parted_b;
SELECT runops.resolve('parted', 'a') ->> 'org' AS a, runops.resolve('parted', 'b') IS NULL AS b;
BEGIN;
INSERT INTO parted_b VALUES ('b', 'o2');
SELECT runops.resolve('parted', 'b') ->> 'org' AS own;
ROLLBACK;
SELECT runops.resolve('parted', 'b') IS NULL AS b;
ALTER TABLE parted DETACH PARTITION parted_a;
SELECT runops.resolve('parted', 'a') IS NULL AS a;
SELECT relation, environment_column FROM runops.watches WHERE relation::text LIKE 'parted%';

-- DDL under a query: a view, a function, and what is none of its business
CREATE VIEW seen AS SELECT id, org FROM environment;
CREATE FUNCTION shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'one:' || $1 $$;
SELECT runops.add_resolver('seen', 'SELECT id, org, cache.shown(id) FROM seen WHERE id = $1', 'id', ttl => '1 hour');
SELECT runops.resolve('seen', 'e1');
CREATE OR REPLACE VIEW seen AS SELECT id, upper(org) AS org FROM environment;
SELECT runops.resolve('seen', 'e1');
CREATE OR REPLACE FUNCTION shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'two:' || $1 $$;
SELECT runops.resolve('seen', 'e1');
SELECT hits AS before FROM counters WHERE slot = 'seen' \gset
CREATE TEMP TABLE other (id int);
CREATE INDEX ON other (id);
DROP TABLE other;
CREATE TABLE other (id int);
SELECT runops.resolve('seen', 'e1');
SELECT hits - :before AS hits FROM counters WHERE slot = 'seen';
DROP TABLE other;
SELECT runops.resolve('seen', 'e1');
SELECT hits - :before AS hits FROM counters WHERE slot = 'seen';
DROP VIEW seen;
SELECT runops.resolve('seen', 'e1');

-- prepared transactions
SELECT runops.resolve('env', 'e1') ->> 'paused';
BEGIN;
UPDATE environment SET paused = NOT paused WHERE id = 'e1';
PREPARE TRANSACTION 'cache';
SELECT runops.resolve('env', 'e1') ->> 'paused';
COMMIT PREPARED 'cache';
SELECT runops.resolve('env', 'e1') ->> 'paused';
BEGIN;
UPDATE environment SET paused = NOT paused WHERE id = 'e1';
PREPARE TRANSACTION 'cache';
ROLLBACK PREPARED 'cache';
SELECT runops.resolve('env', 'e1') ->> 'paused';

-- isolation levels: what is read is the newest there is, and may be kept
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM environment;
SELECT runops.resolve('env', 'e3') ->> 'id', runops.resolve('env', 'e3') ->> 'id';
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT runops.resolve('plain', 'e4') ->> 'id', runops.resolve('plain', 'e4') ->> 'id';
COMMIT;

-- values too large are read each time
SELECT runops.add_resolver('large', 'SELECT repeat(md5($1), 20000) AS v, repeat(md5($1), 20000) AS w', ttl => '1 hour');
SELECT length(runops.resolve('large', 'x')::text), length(runops.resolve('large', 'x')::text);
SELECT entries, hits, misses FROM counters WHERE slot = 'large';

-- what a hit does not do: it runs no query and takes no lock
SELECT runops.resolve('env', 'e1') IS NOT NULL;
SELECT reads() AS before \gset
BEGIN;
SELECT runops.resolve('env', 'e1') IS NOT NULL;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid' AND relation <> 'pg_locks'::regclass;
COMMIT;
SELECT reads() - :before AS reads;
-- while a miss does
SELECT runops.invalidate_environment('e1');
BEGIN;
SELECT runops.resolve('env', 'e1') IS NOT NULL;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'environment'::regclass;
COMMIT;

-- counters
SELECT bytes > 0 AS bytes FROM runops.resolvers WHERE slot = 'env';
SELECT runops.reset_stats();
SELECT hits, negative_hits, misses, evictions, invalidations FROM counters WHERE slot = 'env';
SELECT runops.resolve('env', 'e1') IS NOT NULL, runops.resolve('env', 'gone') IS NULL;
SELECT runops.resolve('env', 'gone') IS NULL;
UPDATE environment SET paused = NOT paused WHERE id = 'e1';
SELECT runops.resolve('env', 'e1') IS NOT NULL;
SELECT hits, negative_hits, misses, evictions, invalidations FROM counters WHERE slot = 'env';

-- errors of watch
\set SHOW_CONTEXT never
SELECT runops.watch(NULL);
SELECT runops.watch('counters');
SELECT runops.watch('environment', 'nothing');
SELECT runops.watch('environment', 'id', 'org', '{env,nothing}');
SELECT runops.watch('environment', 'id', 'org', '{}');
SELECT runops.watch('environment', 'id', 'org', '{env,auth}');
CREATE TEMP TABLE passing (id text);
SELECT runops.watch('passing', 'id');
CREATE TRIGGER own BEFORE UPDATE ON environment FOR EACH ROW EXECUTE FUNCTION runops._watch('id', '');
UPDATE environment SET paused = paused;
DROP TRIGGER own ON environment;
-- by who owns the table and is no superuser, and by who does not
CREATE ROLE regress_owner;
GRANT USAGE ON SCHEMA cache TO regress_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runops TO regress_owner;
CREATE TABLE owned (id text PRIMARY KEY, v int);
INSERT INTO owned VALUES ('x', 1);
ALTER TABLE owned OWNER TO regress_owner;
SET ROLE regress_owner;
SELECT runops.add_resolver('owned', 'SELECT * FROM owned WHERE id = $1', 'id', ttl => '1 hour');
SELECT runops.watch('owned', 'id', slots => '{owned}');
SELECT runops.resolve('owned', 'x') ->> 'v';
UPDATE owned SET v = 2;
SELECT runops.resolve('owned', 'x') ->> 'v';
SELECT runops.watch('environment');
SELECT runops.unwatch('environment');
SELECT runops.unwatch('owned');
SELECT runops.drop_resolver('owned');
RESET ROLE;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
-- a watch of everything
SELECT runops.watch('environment');
SELECT relation, environment_column, organization_column, slots FROM runops.watches WHERE relation = 'environment'::regclass ORDER BY 2, 3;
SELECT runops.unwatch('environment');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'environment'::regclass;
SELECT runops.unwatch('environment');
SELECT runops.unwatch('environment', if_exists => true);
SELECT count(runops.drop_resolver(slot)) FROM (SELECT slot FROM runops.resolvers ORDER BY slot) s;
-- slots of resolvers that were never committed are taken back once their values have expired
DO $$
BEGIN
	FOR i IN 1..1100 LOOP
		BEGIN
			PERFORM runops.add_resolver('vain' || i, 'SELECT 1 AS one', ttl => '1 ms');
			PERFORM runops.resolve('vain' || i, VARIADIC '{}');
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
	PERFORM pg_sleep(1.1);
END
$$;
SELECT runops.add_resolver('late', 'SELECT 1 AS one', ttl => '1 hour');
SELECT count(runops.resolve('late', VARIADIC '{}')) FROM generate_series(1, 3);
SELECT entries, hits, misses FROM counters WHERE slot = 'late';

SELECT runops.drop_resolver('late');
SET client_min_messages = warning;
DROP SCHEMA cache CASCADE;
