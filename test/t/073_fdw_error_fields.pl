#
# 073_fdw_error_fields.pl
#	  The fields and details of errors that a store raises at its COMMIT, where
#	  only the client sees them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;
my ($a, $b) = ('0123456789abcdefghijklmn01', '0123456789abcdefghijklmn11');

$split->sql(<<'EOT');
CREATE SCHEMA app;
CREATE TABLE app.run (id text PRIMARY KEY, n int, secret text);
CREATE TABLE app.item (id text PRIMARY KEY, run_id text NOT NULL CONSTRAINT item_run REFERENCES app.run DEFERRABLE INITIALLY DEFERRED);
SELECT runops.attach('app.run', 'id');
SELECT runops.attach('app.item', 'run_id');
EOT
$split->sql(q{SELECT runops.provision('new')});
$split->store_sql('ALTER TABLE app.run ADD CONSTRAINT run_secret UNIQUE (secret) DEFERRABLE INITIALLY DEFERRED');
$split->sql("INSERT INTO app.run VALUES ('$a', 1, 'S1'), ('$b', 2, 'S2'); INSERT INTO app.item VALUES ('i1', '$a')");
$split->sql(<<'EOT');
CREATE ROLE clerk;
GRANT USAGE ON SCHEMA app TO clerk;
GRANT SELECT (id, n), UPDATE, DELETE, INSERT ON app.run TO clerk;
DO $$ BEGIN EXECUTE format('CREATE USER MAPPING FOR clerk SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user); END $$;
EOT

# What a transaction of a role is told at its end, in one line.
sub told
{
	my ($role, $sql) = @_;
	my ($stdout, $stderr) = $split->try("\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\nSET ROLE $role;\nBEGIN;\n$sql;\n\\echo sent\nCOMMIT;\nSELECT 1/0;\n");

	is($stdout, 'sent', 'the statement itself is taken');
	$stderr =~ s{^LOCATION:.*\n?}{}mg;
	like($stderr, qr/division by zero\n*\z/, 'and the error of the next one has nothing of it');
	$stderr =~ s/^psql\S* //mg;
	$stderr =~ s/^ERROR:\s+22012.*\n*//m;
	return join(' ', split(/\s*\n\s*|\s\s+/, $stderr));
}

my $duplicate = 'ERROR: 23505: duplicate key value violates unique constraint "run_secret"';
my $fields = 'SCHEMA NAME: app TABLE NAME: run CONSTRAINT NAME: run_secret';
my $hidden = 'DETAIL: The values are not shown, because the role may not see all columns and rows.';

is(told('none', "UPDATE app.run SET secret = 'S2' WHERE id = '$a'"), "$duplicate DETAIL: Key (secret)=(S2) already exists. $fields",
	'a deferred constraint, to a role that sees all');
is(told('clerk', "UPDATE app.run SET secret = 'S2' WHERE id = '$a'"), "$duplicate $hidden $fields",
	'to one that does not see the column');
like(told('clerk', "DELETE FROM app.run WHERE id = '$a'"), qr/^ERROR: 23503: .* \Q$hidden\E SCHEMA NAME: app TABLE NAME: item CONSTRAINT NAME: item_run$/,
	'a foreign key of another table');
$split->sql('GRANT SELECT ON app.run TO clerk');
is(told('clerk', "UPDATE app.run SET secret = 'S2' WHERE id = '$a'"), "$duplicate DETAIL: Key (secret)=(S2) already exists. $fields",
	'to one that sees the table');
$split->sql('ALTER TABLE app.run ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON app.run USING (true)');
is(told('clerk', "UPDATE app.run SET secret = 'S2' WHERE id = '$a'"), "$duplicate $hidden $fields", 'to one that a policy applies to');

is($split->store_sql('SELECT string_agg(secret, $$,$$ ORDER BY n) FROM app.run'), 'S1,S2', 'nothing was changed');

done_testing();
