# Scratch: the databases that the functions are called in, and what changes there meanwhile.
package Scratch;

use strict;
use warnings;

my $new_id = '0123456789abcdefghijklmna1';
my $legacy_id = 'clegacy000000000000000001';

# Two routed tables with everything that hangs on such a table, two that come and go, and other relations.
my $schema = <<"SQL";
CREATE ROLE o LOGIN;
CREATE ROLE u LOGIN;
GRANT CREATE ON SCHEMA public TO o;
CREATE TYPE composite AS (a int, b text);
CREATE TABLE env (id text PRIMARY KEY, n int);
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, n int, parent_id text, meta jsonb, created_at timestamptz DEFAULT now());
CREATE INDEX ON run (env);
CREATE TABLE attempt (id text PRIMARY KEY, run_id text, n int);
CREATE INDEX ON attempt (run_id);
CREATE TABLE s1 (id text PRIMARY KEY, env text, n int);
CREATE TABLE s2 (id text PRIMARY KEY, run_id text, n int);
CREATE VIEW run_v AS SELECT * FROM env;
CREATE MATERIALIZED VIEW run_mv AS SELECT * FROM env;
CREATE SEQUENCE run_seq;
CREATE TABLE part (id text, n int) PARTITION BY LIST (n);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE SCHEMA other_schema;
CREATE TABLE other_schema."odd ""name" (id text PRIMARY KEY);
CREATE FUNCTION scratch_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION scratch_function(int) RETURNS int LANGUAGE sql AS 'SELECT \$1';
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO o;
ALTER TABLE run OWNER TO o;
INSERT INTO env VALUES ('e1'), ('e2');
SQL

# What changes, again and again; an error is as good.
my @changes = (
	q{SELECT runops.attach('s1', 'id')}, q{SELECT runops.attach('s1', 'id')}, q{SELECT runops.detach('s1')},
	q{SELECT runops.attach('s2', 'run_id')}, q{SELECT runops.detach('s2')},
	q{SELECT runops.provision('new', relation => 's1')}, q{SELECT runops.provision('e')},
	q{DROP TABLE IF EXISTS s1}, q{CREATE TABLE s1 (id text PRIMARY KEY, env text, n int)},
	q{DROP TABLE IF EXISTS s2 CASCADE}, q{CREATE TABLE s2 (id text PRIMARY KEY, run_id text, n int)},
	q{ALTER TABLE s1 ADD COLUMN x int}, q{ALTER TABLE s1 DROP COLUMN x}, q{ALTER TABLE s1 RENAME COLUMN n TO m}, q{ALTER TABLE s1 RENAME COLUMN m TO n},
	q{ALTER TABLE run ADD COLUMN y int}, q{ALTER TABLE run DROP COLUMN y}, q{ALTER TABLE env RENAME TO env2}, q{ALTER TABLE env2 RENAME TO env},
	q{DROP FUNCTION IF EXISTS scratch_function(int)}, q{CREATE OR REPLACE FUNCTION scratch_function(int) RETURNS int LANGUAGE sql AS 'SELECT $1'},
	q{SELECT runops.drop_store('e', force => true)}, q{SELECT runops.add_store('e', 'srv_e')}, q{SELECT runops.recheck()},
	q{SELECT runops.add_cascade('env', 'run', 'env')}, q{SELECT runops.drop_cascade('env', 'run', 'env')},
	q{SELECT runops.add_unique('run', 'run_n', '{env,n}')}, q{SELECT runops.drop_unique('run_n')},
	q{SELECT runops.add_reference('attempt_run', 'attempt', 'run_id', 'run')}, q{SELECT runops.drop_reference('attempt_run')},
	q{SELECT runops.attach('run', 'id')}, q{SELECT runops.attach('attempt', 'id')}, q{SELECT runops.add_store('new', 'srv_new')}, q{SELECT runops.provision('new')},
	qq{INSERT INTO run (id, env, n) VALUES ('$new_id', 'e1', 1), ('$legacy_id', 'e1', 2) ON CONFLICT DO NOTHING}, q{DELETE FROM run}, q{DELETE FROM env WHERE id = 'e1'},
	q{INSERT INTO env VALUES ('e1') ON CONFLICT DO NOTHING},
	q{ALTER SERVER srv_e OPTIONS (SET dbname 'nowhere')}, q{ALTER SERVER srv_e OPTIONS (SET dbname 'store_e')},
	q{CREATE TABLE IF NOT EXISTS part_2 PARTITION OF part FOR VALUES IN (2)}, q{DROP TABLE IF EXISTS part_2},
	q{ALTER TABLE run OWNER TO o}, q{ALTER TABLE run OWNER TO postgres}, q{REFRESH MATERIALIZED VIEW run_mv}, q{ANALYZE run, s1});

# Make the databases.
sub build
{
	my ($rig) = @_;
	my $system = $rig->connect('postgres');

	$system->do("CREATE DATABASE $_") foreach qw(control store_new store_e);
	$system->close;
	my $session = $rig->connect('control');

	$session->do('CREATE EXTENSION runops CASCADE');
	$session->do($schema);
	foreach my $store (qw(new e))
	{
		$session->do("CREATE SERVER srv_$store FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '$rig->{dir}', port '$rig->{port}', dbname 'store_$store')");
		$session->do("CREATE USER MAPPING FOR PUBLIC SERVER srv_$store OPTIONS (user 'postgres', password_required 'false')");
		$session->do("GRANT USAGE ON FOREIGN SERVER srv_$store TO o");
		$session->do("SELECT runops.add_store('$store', 'srv_$store')");
	}
	foreach my $sql (q{SELECT runops.attach('run', 'id')}, q{SELECT runops.attach('attempt', 'id')}, q{SELECT runops.provision('new')},
		q{SELECT runops.provision('e')}, qq{INSERT INTO run (id, env, n) VALUES ('$new_id', 'e1', 1), ('$legacy_id', 'e1', 2)},
		qq{INSERT INTO attempt VALUES ('$new_id', '$new_id', 1)})
	{
		$session->do($sql);
	}
	$session->close;
	return;
}

# A statement that changes something.
sub change { return $changes[ rand @changes ]; }

1;
