# If the library is not preloaded, the event trigger loads it: a session that has
# not called any function of the extension cannot drop objects that routed tables
# need.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use Test::More;

my $split = TwoClusters->new(preload => 0);

$split->sql(<<'EOT');
CREATE ROLE owner;
CREATE SCHEMA app AUTHORIZATION owner;
CREATE TABLE app.run (id text PRIMARY KEY);
INSERT INTO app.run VALUES ('c000000000000000000000001');
ALTER TABLE app.run OWNER TO owner;
SELECT runops.attach('app.run', 'id');
EOT

# each in a session of its own
foreach my $drop (
	'DROP EXTENSION runops CASCADE',
	'DROP EXTENSION postgres_fdw CASCADE',
	'DROP FUNCTION runops.store_of(text) CASCADE',
	'DROP FOREIGN DATA WRAPPER runops_fdw CASCADE',
	'DROP SERVER run_ops CASCADE',
	'DROP SCHEMA app CASCADE',
	'DROP TABLE app.run',
	'DROP TABLE app.run, runops_legacy.run CASCADE',
	'DROP OWNED BY owner CASCADE')
{
	my (undef, $stderr) = $split->try("$drop;");

	like($stderr, qr/ERROR:  RO006: cannot drop /, "$drop is refused");
}
is($split->sql('SELECT * FROM runops_legacy.run'), 'c000000000000000000000001', 'the row is there');

# nor is a statement that means the leaf done on the parent alone, or skipped
$split->sql('CREATE TABLE app.plain (id text); CREATE INDEX run_idx ON runops_legacy.run (id)');
foreach my $statement (
	'DROP INDEX IF EXISTS app.run_idx',
	'ALTER INDEX app.run_idx RENAME TO other',
	'ALTER TABLE app.run DROP CONSTRAINT IF EXISTS run_pkey',
	'ALTER TABLE app.run SET (fillfactor = 70)',
	'CREATE UNIQUE INDEX ON app.run (id)')
{
	my (undef, $stderr) = $split->try("$statement;");

	like($stderr, qr/ERROR:  55000: the statement means an object of the leaf/, "$statement names the leaf");
}
foreach my $statement (
	'DROP INDEX IF EXISTS app.missing',
	'DROP INDEX runops_legacy.run_idx',
	'ALTER TABLE app.run ALTER id SET STATISTICS 100',
	'CREATE INDEX plain_idx ON app.plain (id)')
{
	my (undef, $stderr) = $split->try("$statement;");

	unlike($stderr, qr/ERROR/, "$statement works");
}

# the store cannot be asked, so detach has to be forced
my (undef, $stderr) = $split->try(q{SELECT runops.detach('app.run');});

like($stderr, qr/ERROR:  RO002: /, 'detach does not take a closed gate for an empty store');
$split->sql(q{SELECT runops.detach('app.run', force => true)});
is($split->sql('SELECT * FROM app.run'), 'c000000000000000000000001', 'the row is there after detach');
(undef, $stderr) = $split->try('SET client_min_messages = warning; DROP EXTENSION runops CASCADE;');
is($stderr, '', 'with nothing routed, the extension can go');
is($split->sql('SELECT * FROM app.run'), 'c000000000000000000000001', 'and the row stays');

done_testing();
