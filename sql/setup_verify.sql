-- setup_verify: rows in the wrong store, rows in several, and every kind of drift
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA "Verify";
SET search_path = "Verify", public;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE run (id text PRIMARY KEY, "friendlyId" text, n int CHECK (n > 0), m mood, c text COLLATE "C");
CREATE INDEX run_n ON run (n);
CREATE TABLE attempt (id varchar(40) PRIMARY KEY, "runId" text NOT NULL);
CREATE TABLE pair (a text, b int, "runId" text NOT NULL, PRIMARY KEY (b, a));
CREATE TABLE bare ("runId" text NOT NULL);
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.attach('attempt', 'runId');
SELECT runops.attach('pair', 'runId');
SELECT runops.attach('bare', 'runId');
DO $$
BEGIN
	EXECUTE format('CREATE SERVER verify_shard FOREIGN DATA WRAPPER runops_fdw OPTIONS (host %L, port %L, dbname %L)',
		current_setting('unix_socket_directories'), current_setting('port'), 'runops_store');
END
$$;
CREATE USER MAPPING FOR CURRENT_USER SERVER verify_shard;
SELECT runops.add_store('e', 'verify_shard', remote_schema => 'Verify E');

-- nothing is there yet
SELECT * FROM runops.verify();
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT count(*) FROM runops.provision('e') WHERE action = 'create';
SELECT * FROM runops.verify();

-- rows where they belong
INSERT INTO run VALUES ('ck00000000000000000000001'), ('odd'), ('0ujtsYcgvSTl8PAuAdqWYSMnLOv'), ('0123456789abcdefghijklmne2');
INSERT INTO attempt VALUES ('a1', 'ck00000000000000000000001'), ('a2', '0ujtsYcgvSTl8PAuAdqWYSMnLOv'), ('a3', '0123456789abcdefghijklmne2');
INSERT INTO pair VALUES ('x, y', 1, 'ck00000000000000000000001'), ('x', 2, '0ujtsYcgvSTl8PAuAdqWYSMnLOv');
INSERT INTO bare VALUES ('ck00000000000000000000001'), ('0ujtsYcgvSTl8PAuAdqWYSMnLOv');
SELECT * FROM runops.verify();

-- rows in a store that is not theirs, some of them copies
SELECT runops.remote_exec('e', $$
ALTER TABLE "Verify E".run DROP CONSTRAINT runops_store;
ALTER TABLE "Verify E".bare DROP CONSTRAINT runops_store, ALTER "runId" DROP NOT NULL;
INSERT INTO "Verify E".run VALUES ('ck00000000000000000000001'), ('0ujtsYcgvSTl8PAuAdqWYSMnLOv'), ('0ujtsYcgvSTl8PAuAdqWYSMnLxx'), ('other'),
	('0123456789abcdefghijklmnf2'), ('run_0123456789abcdefghijklmne2');
INSERT INTO "Verify E".bare VALUES (NULL), ('ck00000000000000000000001');
INSERT INTO "Verify E".attempt VALUES ('a1', '0123456789abcdefghijklmne2'), ('a2', '0123456789abcdefghijklmne2');
INSERT INTO "Verify E".pair VALUES ('x, y', 1, '0123456789abcdefghijklmne2'), ('x, y', 2, '0123456789abcdefghijklmne2')$$);
SELECT * FROM runops.verify();
SELECT finding, count(*) FROM runops.verify('run', max_rows => 2) GROUP BY finding ORDER BY finding;
SELECT finding, count(*) FROM runops.verify('run', max_rows => 0) GROUP BY finding ORDER BY finding;
SELECT runops.remote_exec('e', $$
DELETE FROM "Verify E".run WHERE id !~ 'e2$';
TRUNCATE "Verify E".bare, "Verify E".pair;
ALTER TABLE "Verify E".bare ALTER "runId" SET NOT NULL;
DELETE FROM "Verify E".attempt WHERE id <> 'a3'$$);
SELECT count(*) FROM runops.provision('e') WHERE action = 'create';
SELECT * FROM runops.verify();

-- the same in the legacy leaf, whose bound has to be out of the way for that
UPDATE pg_class SET relispartition = false WHERE oid = 'runops_legacy.run'::regclass;
INSERT INTO runops_legacy.run VALUES ('0123456789abcdefghijklmne2'), ('0ujtsYcgvSTl8PAuAdqWYSMnLyy');
UPDATE pg_class SET relispartition = true WHERE oid = 'runops_legacy.run'::regclass;
SELECT * FROM runops.verify();
DELETE FROM runops_legacy.run WHERE runops.store_of(id) <> 'legacy';
SELECT * FROM runops.verify();

-- an alias that is not checked any more
SELECT pg_get_constraintdef(oid) AS alias FROM pg_constraint
WHERE conrelid = 'run'::regclass AND conname = 'runops_alias_friendlyId' \gset
ALTER TABLE run DROP CONSTRAINT "runops_alias_friendlyId";
SELECT * FROM runops.verify();
ALTER TABLE runops_legacy.run ADD CONSTRAINT "runops_alias_friendlyId" :alias NOT VALID;
SELECT * FROM runops.verify();
ALTER TABLE runops_legacy.run VALIDATE CONSTRAINT "runops_alias_friendlyId";
ALTER TABLE run ADD CONSTRAINT "runops_alias_friendlyId" :alias;
SELECT * FROM runops.verify();

-- drift of each kind, named by its finding
CREATE ROLE regress_verify;
GRANT SELECT ON attempt TO regress_verify;
CREATE USER MAPPING FOR regress_verify SERVER run_ops OPTIONS (user 'regress_verify', password 'x');
SELECT runops.remote_exec('new', $$
ALTER TABLE "Verify".run ADD extra int, ALTER n TYPE bigint, ALTER c TYPE text COLLATE "POSIX", DROP CONSTRAINT run_n_check;
ALTER TYPE "Verify".mood ADD VALUE 'mixed';
DROP INDEX "Verify".run_n;
GRANT USAGE ON SCHEMA "Verify" TO regress_verify$$);
SELECT * FROM runops.verify();
SELECT * FROM runops.verify('bare');
DROP USER MAPPING FOR regress_verify SERVER run_ops;
ALTER TYPE mood ADD VALUE 'mixed';
SELECT runops.remote_exec('new', 'ALTER TABLE "Verify".run DROP extra, ALTER n TYPE int, ALTER c TYPE text COLLATE "C"');
SELECT object FROM runops.provision('new') WHERE action <> 'exists';
SELECT object FROM runops.provision('e') WHERE action <> 'exists';
SELECT * FROM runops.verify();

-- a column of the key is gone there, a table is: what can be asked still is
SELECT runops.remote_exec('new', 'ALTER TABLE "Verify".bare RENAME "runId" TO lost; DROP TABLE "Verify".pair');
SELECT * FROM runops.verify();
SELECT runops.remote_exec('new', 'ALTER TABLE "Verify".bare RENAME lost TO "runId"');
SELECT count(*) FROM runops.provision('new') WHERE action = 'create';
SELECT * FROM runops.verify();

-- a store that cannot be asked is a finding
INSERT INTO runops_legacy.attempt VALUES ('a3', 'ck00000000000000000000001');
ALTER SERVER run_ops OPTIONS (SET host '/nonexistent', SET port '1');
SELECT relation, store, finding, id, belongs_to, replace(detail, E'\t', ' ') AS detail FROM runops.verify('attempt');
DO $$ BEGIN EXECUTE format('ALTER SERVER run_ops OPTIONS (SET host %L, SET port %L)', current_setting('unix_socket_directories'), current_setting('port')); END $$;
DELETE FROM runops_legacy.attempt WHERE id = 'a3';
ALTER USER MAPPING FOR CURRENT_USER SERVER verify_shard OPTIONS (ADD user 'regress_verify');
SELECT runops.remote_exec('new', 'ALTER ROLE regress_verify LOGIN');
SELECT * FROM runops.verify('attempt');
ALTER USER MAPPING FOR CURRENT_USER SERVER verify_shard OPTIONS (DROP user);

-- bad arguments
SELECT * FROM runops.verify('pg_class');
SELECT * FROM runops.verify(max_rows => -1);
SELECT * FROM runops.verify(max_rows => NULL);
SET ROLE regress_verify;
SELECT * FROM runops.verify();
RESET ROLE;

SELECT runops.drop_store('e', force => true);
DROP USER MAPPING FOR CURRENT_USER SERVER verify_shard;
DROP SERVER verify_shard;
SELECT runops.detach(t::regclass, force => true) FROM unnest('{bare,pair,attempt,run}'::text[]) WITH ORDINALITY AS u (t, o) ORDER BY o;
SELECT runops.remote_exec('new', 'DROP SCHEMA "Verify" CASCADE; DROP SCHEMA "Verify E" CASCADE');
DROP SCHEMA "Verify" CASCADE;
DROP OWNED BY regress_verify;
DROP ROLE regress_verify;
