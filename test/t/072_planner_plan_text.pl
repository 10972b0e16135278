#
# 072_planner_plan_text.pl
#	  Every plan goes through its text form, and statements give the same rows,
#	  reach the same store, and connect as the same user.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TwoClusters;

my %dir;
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

foreach my $what (qw(includedir-server includedir))
{
	chomp($dir{$what} = `'$pg_config' --$what`);
}
my ($cc) = grep { -x } map { ("$_/cc", "$_/gcc", "$_/clang") } split /:/, $ENV{PATH};

plan skip_all => 'there is no C compiler' unless defined $cc;
plan skip_all => 'there are no headers of the server' unless -e "$dir{'includedir-server'}/postgres.h";

my $module = PostgreSQL::Test::Utils::tempdir() . '/plan_text.so';

system_or_bail($cc, '-O1', '-fPIC', '-shared', "-I$dir{'includedir-server'}", "-I$dir{includedir}",
	'-D_GNU_SOURCE', '-o', $module, "$FindBin::RealBin/../plan_text/plan_text.c");

my $split = TwoClusters->new;
my ($control, $store) = ($split->control, $split->store);
my ($new, $new2) = map { "0123456789abcdefghijklmn${_}1" } qw(a b);
my ($old, $old2) = map { 'c' . '0' x 23 . $_ } 1 .. 2;

# The store notes by which user a row was written last.
$split->sql(<<"EOT");
CREATE TABLE run (id text COLLATE "C" PRIMARY KEY, "friendlyId" text COLLATE "C", n int CHECK (n >= 0), writer text);
CREATE TABLE item (run text COLLATE "C" NOT NULL, v int);
SELECT runops.attach('run', 'id', '{friendlyId}');
SELECT runops.attach('item', 'run');
SELECT runops.provision('new');
CREATE ROLE keeper;
CREATE ROLE visitor;
ALTER SERVER run_ops OPTIONS (ADD keep_connections 'off');
CREATE USER MAPPING FOR keeper SERVER run_ops OPTIONS (user 'keeper', password_required 'false');
CREATE USER MAPPING FOR visitor SERVER run_ops OPTIONS (user 'visitor', password_required 'false');
GRANT ALL ON run, item TO keeper;
CREATE VIEW runs AS SELECT * FROM run;
ALTER VIEW runs OWNER TO keeper;
GRANT ALL ON runs TO visitor;
EOT
$split->store_sql(<<'EOT');
CREATE ROLE keeper LOGIN;
CREATE ROLE visitor LOGIN;
GRANT ALL ON run, item TO keeper, visitor;
CREATE FUNCTION written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.writer := session_user; RETURN NEW; END $$;
CREATE TRIGGER written BEFORE INSERT OR UPDATE ON run FOR EACH ROW EXECUTE FUNCTION written();
EOT

# Each statement is run with each of these.
my @ids = ($old, $new, $old2, $new2, 'odd', undef);
my $all = join(', ', map { defined $_ ? "'$_'" : 'NULL' } @ids);
my $rows = "SELECT id, n, writer FROM run ORDER BY id";
my @statements = (
	[ 'SELECT n FROM run WHERE id = $1', 'text' ],
	[ 'SELECT n FROM run WHERE "friendlyId" = $1', 'text', q{'run_' || %s} ],
	[ 'SELECT id FROM run WHERE id = ANY ($1) ORDER BY id', 'text[]', "ARRAY[%s, '$new', '$old']" ],
	[ 'SELECT r.n, i.v FROM run r JOIN item i ON i.run = r.id WHERE r.id = $1 ORDER BY 2', 'text' ],
	[ 'SELECT count(*) FROM run WHERE id = $1', 'text' ],
	[ 'SELECT n FROM run WHERE id = $1 FOR UPDATE', 'text' ],
	[ 'UPDATE run SET n = n + 1 WHERE id = $1 RETURNING n', 'text' ],
	[ 'UPDATE run SET n = n + 1 WHERE id = $1 AND random() >= 0 RETURNING n', 'text' ],
	[ 'UPDATE runs SET n = n + 1 WHERE id = $1 RETURNING n', 'text' ],
	[ 'UPDATE runs SET n = n + 1 WHERE id = $1 AND random() >= 0 RETURNING n', 'text' ],
	[ 'DELETE FROM item WHERE run = $1 RETURNING v', 'text' ],
	[ 'INSERT INTO item VALUES ($1, 7) RETURNING run', 'text' ],
	[ 'INSERT INTO runs (id, n) VALUES ($1 || \'x\', 1)', 'text' ],
	[ 'WITH w AS (DELETE FROM run WHERE id = $1 RETURNING id, n) SELECT * FROM w', 'text' ]);

# What all statements print, in every kind of plan, and what they leave behind.
sub battery
{
	my $output = '';

	foreach my $mode (qw(force_custom_plan force_generic_plan auto))
	{
		$split->sql("DELETE FROM item; DELETE FROM run");
		$split->sql("INSERT INTO run (id, \"friendlyId\", n) SELECT i, 'run_' || i, 1 FROM unnest(ARRAY['$old', '$new', '$old2', '$new2']) i");
		$split->sql("INSERT INTO item SELECT i, g FROM unnest(ARRAY['$old', '$new']) i, generate_series(1, 2) g");
		foreach my $user ('', 'SET ROLE keeper;', 'SET ROLE visitor;')
		{
			my $sql = "SET plan_cache_mode = $mode; $user\n";
			my $n = 0;

			foreach my $statement (@statements)
			{
				my ($text, $types, $argument) = @$statement;

				$n++;
				$sql .= "PREPARE s$n ($types) AS $text;\n";
				foreach my $id (@ids)
				{
					my $value = defined $id ? "'$id'" : 'NULL';

					$sql .= "BEGIN; EXECUTE s$n (" . sprintf($argument // '%s', $value) . "); $rows; ROLLBACK;\n";
				}
			}
			my ($stdout, $stderr) = $split->try($sql);

			# the values of defaults and positions differ from run to run
			$stderr =~ s/^psql:<stdin>:\d+: //gm;
			$output .= "== $mode $user\n$stdout\n$stderr\n";
		}
	}
	return $output;
}

my $expected = battery();

like($expected, qr/\Q$new\E\|2\|keeper/, 'the owner of the view writes, whoever uses it');
unlike($expected, qr/plan does not say|unrecognized node/, 'no plan is at fault');

$control->append_conf('postgresql.conf', "shared_preload_libraries = 'runops,$module'");
$control->restart;
is(battery(), $expected, 'each plan read back from its text does the same');

SKIP:
{
	skip 'not a server with assertions that can do it by itself', 1
	  unless $control->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'debug_assertions' AND setting = 'on'}) eq '1'
	  && $control->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'debug_write_read_parse_plan_trees'}) eq '1';
	$control->append_conf('postgresql.conf', "shared_preload_libraries = 'runops'\ndebug_write_read_parse_plan_trees = on");
	$control->restart;
	is(battery(), $expected, 'and so does what the server itself does');
}
unlike(slurp_file($control->logfile), qr/terminated by signal|TRAP/, 'no crash');

done_testing();
