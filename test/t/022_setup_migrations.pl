# 022_setup_migrations.pl
#	  Migrate the schema of a routed table in the order of docs/migrations.md.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TwoClusters;

my $split = TwoClusters->new;
my $new = '3Ma1w188A7G064ka8gcVFGZRvRB';
my $old = 'cmcjssmao6dfcc016e6d94f48';

$split->sql(<<"EOT");
CREATE TYPE status AS ENUM ('PENDING', 'DONE');
CREATE TABLE run (id text PRIMARY KEY, env text, status status NOT NULL DEFAULT 'PENDING');
INSERT INTO run VALUES ('$old', 'prod');
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
INSERT INTO run VALUES ('$new', 'prod');
EOT

# Every kind of read and write of rows of both stores works now.
sub works
{
	my $name = shift;
	my ($stdout, $stderr) = $split->try(<<"EOT");
SELECT count(*) FROM (SELECT * FROM run OFFSET 0) r;
SELECT id FROM run WHERE id = '$new';
BEGIN;
UPDATE run SET env = env || '2' WHERE id IN ('$new', '$old');
DELETE FROM run WHERE id = '$new' RETURNING *;
INSERT INTO run (id, env) VALUES ('$new', 'x') RETURNING *;
ROLLBACK;
EOT

	return is($stderr, '', $name);
}

# Nothing differs between the two sides.
sub same
{
	my $name = shift;

	is($split->sql(q{SELECT object, detail FROM runops.provision('new') WHERE action <> 'exists'}), '', "provision: $name");
	return is($split->sql('SELECT * FROM runops.verify()'), '', "verify: $name");
}

# Steps in their order, each here or in the store; between them all must work.
sub migrate
{
	my ($name, @steps) = @_;
	my $n = 0;

	foreach my $step (@steps)
	{
		my ($where, $sql) = @$step;
		my $stderr = '';

		if ($where eq 'store')
		{
			$split->store_sql($sql);
		}
		else
		{
			(undef, $stderr) = $split->try("SET client_min_messages = warning;\n$sql");
		}
		is($stderr, '', "$name, step " . ++$n);
		works("statements after step $n of: $name");
	}
	return same($name);
}

works('statements before');
same('before');

migrate('add a column',
	[ store => 'ALTER TABLE public.run ADD COLUMN region text' ],
	[ here => 'ALTER TABLE run ADD COLUMN region text' ]);
migrate('add a column by provision',
	[ here => q{BEGIN; ALTER TABLE run ADD COLUMN n integer NOT NULL DEFAULT 1; SELECT runops.provision('new'); COMMIT} ]);
migrate('add an enum value',
	[ store => q{ALTER TYPE public.status ADD VALUE 'FAILED'} ],
	[ here => q{ALTER TYPE status ADD VALUE 'FAILED'} ]);
is($split->sql("UPDATE run SET status = 'FAILED' WHERE id = '$new' RETURNING status"), 'FAILED', 'the value can be used');
migrate('drop a column',
	[ here => 'ALTER TABLE run DROP COLUMN region' ],
	[ store => 'ALTER TABLE public.run DROP COLUMN region' ]);
migrate('add a CHECK and NOT NULL',
	[ store => 'ALTER TABLE public.run ADD CONSTRAINT run_n CHECK (n > 0) NOT VALID' ],
	[ store => 'ALTER TABLE public.run VALIDATE CONSTRAINT run_n; ALTER TABLE public.run ALTER COLUMN env SET NOT NULL' ],
	[ here => 'ALTER TABLE run ADD CONSTRAINT run_n CHECK (n > 0), ALTER COLUMN env SET NOT NULL' ]);
migrate('drop them',
	[ here => 'ALTER TABLE run DROP CONSTRAINT run_n, ALTER COLUMN env DROP NOT NULL' ],
	[ store => 'ALTER TABLE public.run DROP CONSTRAINT run_n, ALTER COLUMN env DROP NOT NULL' ]);
migrate('add an index',
	[ here => q{CREATE INDEX run_env_idx ON run (env)} ],
	[ here => q{SELECT runops.provision('new')} ]);
migrate('add an index concurrently',
	[ here => q{CREATE INDEX CONCURRENTLY run_n_idx ON runops_legacy.run (n)} ],
	[ store => q{CREATE INDEX CONCURRENTLY run_n_idx ON public.run (n)} ]);
migrate('add a unique index',
	[ here => q{CREATE UNIQUE INDEX run_env_n_key ON runops_legacy.run (env, n)} ],
	[ store => q{CREATE UNIQUE INDEX run_env_n_key ON public.run (env, n)} ]);
migrate('a new table',
	[ here => q{CREATE TABLE attempt (id text PRIMARY KEY, "runId" text NOT NULL REFERENCES runops_legacy.run ON DELETE CASCADE)} ],
	[ here => q{SELECT runops.attach('attempt', 'runId')} ],
	[ here => q{SELECT runops.provision('new')} ]);
$split->sql("INSERT INTO attempt VALUES ('1', '$new'), ('2', '$old')");
$split->sql("DELETE FROM run WHERE id IN ('$new', '$old')");
is($split->sql('SELECT count(*) FROM attempt'), '0', 'its foreign key holds in both databases');

# The other order is what the page warns of.
$split->sql("INSERT INTO run (id) VALUES ('$new'), ('$old')");
my ($stdout, $stderr) = $split->try("ALTER TABLE run ADD COLUMN region text;\nSELECT * FROM run WHERE id = '$new'");

like($stderr, qr/NOTICE:.*"run" was changed in this database only/, 'ALTER TABLE says that it reached one side');
like($stderr, qr/ERROR:  42703: column run\.region does not exist/, 'and reads of the store fail until the other has it');
is($split->sql(q{SELECT object, action FROM runops.provision('new') WHERE action <> 'exists'}),
	'column public.run.region|create', 'provision adds it');
works('statements after provision');

done_testing();
