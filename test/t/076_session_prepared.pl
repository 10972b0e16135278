#
# 076_session_prepared.pl
#	  Prepared statements in a store: when one is made, how an option turns them
#	  off, and what happens if the store has changed or forgotten one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(conf => "runops.database = ''\n");
my ($n, $n2) = ('0123456789abcdefghijklmn01', '0123456789abcdefghijklmn11');

$split->sql(<<"EOT");
CREATE TABLE run (id text PRIMARY KEY, note text, n int);
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
INSERT INTO run VALUES ('$n', 'a', 1), ('$n2', NULL, 2);
EOT

my $session = $split->control->background_psql('postgres', on_error_stop => 0);

# How the store has executed the statements on its table meanwhile: "named" or
# "unnamed" for each, in order.
sub executed
{
	my ($sql) = @_;
	my $log = $split->store->logfile;
	my $offset = -s $log;

	$session->query($sql);
	return join(' ', map { /execute runops_/ ? 'named' : 'unnamed' }
		grep { /LOG:  execute (?:runops_\d+|<unnamed>): .*(?:public\.run\b|"run")/ } split /\n/, slurp_file($log, $offset));
}

# Run SQL in the session; returns rows and errors, with the SQLSTATE.
sub run
{
	my ($sql) = @_;

	$session->{stderr} = '';
	my $out = $session->query($sql);

	return join("\n", grep { $_ ne '' } $out, $session->{stderr} =~ /ERROR:  (?:[0-9A-Z]{5}: )?[^\n]*/g);
}

sub server
{
	my ($options) = @_;

	$split->sql("ALTER SERVER run_ops OPTIONS ($options)");
	return;
}

$session->query('\set VERBOSITY verbose');

# a statement is prepared at its second use on a connection

my $read = "SELECT note FROM run WHERE id = '$n'";

is(executed($read), 'unnamed', 'the first use of a text');
is(executed($read), 'named', 'the second');
is(executed($read), 'named', 'the third');
is(executed("SELECT n FROM run WHERE id = '$n'"), 'unnamed', 'another text');
is(executed("UPDATE run SET n = n + 1 WHERE id = '$n2'"), 'unnamed', 'a write');
is(executed("UPDATE run SET n = n + 1 WHERE id = '$n2'"), 'named', 'again');
is(executed("SELECT n FROM run WHERE id = '$n'"), 'named', 'the other text again');

# texts that are used once put no other one out of the cache
executed(join('; ', map { "SELECT n + $_ FROM run WHERE id = '$n' AND n <> $_" } 1000 .. 1300));
is(executed($read), 'named', 'after 300 other texts');

# the option

server("ADD prepared_statements 'off'");
is(executed($read) . ' ' . executed($read) . ' ' . executed($read), 'unnamed unnamed unnamed', 'with prepared_statements off');
is(run($read), 'a', 'the row is there');
$split->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD prepared_statements 'on')");
is(executed($read) . ' ' . executed($read), 'unnamed named', 'the user mapping overrides the server');
$split->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (SET prepared_statements 'off')");
server("SET prepared_statements 'on'");
is(executed($read) . ' ' . executed($read), 'unnamed unnamed', 'in both directions');
$split->sql("ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (DROP prepared_statements)");
server('DROP prepared_statements');

# DDL in the store changes the result of a prepared statement

my $number = "SELECT n FROM run WHERE id = '$n'";
my $both = "SELECT a.n, b.note FROM run a, (SELECT id, note FROM run WHERE id = '$n' LIMIT 1) b WHERE a.id = '$n'";

sub alter
{
	my ($type) = @_;

	$split->store_sql("ALTER TABLE run ALTER COLUMN n TYPE $type");
	return;
}

foreach my $statement ($number, "UPDATE run SET note = note WHERE id = '$n' RETURNING n")
{
	my $rows = run($statement);

	like($rows, qr/^1\b/, "before DDL: $statement");
	run($statement);
	like(executed($statement), qr/named/, 'it is prepared');
	alter('bigint');
	is(run($statement), $rows, 'after ALTER TABLE in the store');
	is(run($statement), $rows, 'and again');
	alter('int');
	is(run("BEGIN;\n$statement;\nCOMMIT;"), $rows, 'as the first statement of a transaction');
	alter('bigint');
	is(run("BEGIN ISOLATION LEVEL REPEATABLE READ;\n$statement;\nCOMMIT;"), $rows, 'and of one under REPEATABLE READ');
	alter('int');
	run($statement);
}

# the second of two queries of one snapshot cannot be repeated alone; the statement fails once, if it is not sent as a whole
run('SET runops.enable_shipping = off');
run($both) foreach 1 .. 3;
alter('bigint');
like(run($both), qr/0A000: cached plan must not change result type/, 'two queries of one snapshot');
is(run($both), '1|a', 'the next time');
run('RESET runops.enable_shipping');
is(run($number), '1', 'and what else was prepared');
alter('int');

# a transaction that has written there fails, and a later one does not
run($number) foreach 1 .. 3;
$session->query("BEGIN;\nUPDATE run SET note = 'b' WHERE id = '$n2';\nROLLBACK;");
alter('bigint');
like(run("BEGIN;\nUPDATE run SET note = 'b' WHERE id = '$n2';\n$number;"), qr/0A000: cached plan must not change result type/, 'in a transaction that has written');
run('ROLLBACK;');
is(run($number), '1', 'the next transaction');
is(run("SELECT note FROM run WHERE id = '$n2'"), '', 'nothing was written');
alter('int');

# the type of a parameter was dropped and made again

my $mood = "CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE run ALTER note TYPE mood USING note::mood";
my $no_mood = 'ALTER TABLE run ALTER note TYPE text; DROP TYPE mood';

$split->store_sql($mood);
run("INSERT INTO run VALUES ('0123456789abcdefghijklm${_}11', 'a', 1)") foreach qw(r s t);
$split->store_sql("$no_mood; $mood");
is(run("INSERT INTO run VALUES ('0123456789abcdefghijklmu11', 'b', 1) RETURNING note"), 'b', 'after DROP TYPE in the store');
is(run("INSERT INTO run VALUES ('0123456789abcdefghijklmv11', 'b', 1)"), '', 'another INSERT');
is($split->store_sql("SELECT string_agg(note::text, '' ORDER BY id) FROM run WHERE id ~ '[r-v]11\$'"), 'aaabb', 'all rows are there');
$split->store_sql("$no_mood; DELETE FROM run WHERE id ~ '[r-v]11\$'");

# the store forgets the statements, or has others of these names

$split->store_sql(<<'EOT');
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.note = 'forget' THEN
		EXECUTE 'DEALLOCATE ALL';
	ELSIF new.note = 'occupy' THEN
		EXECUTE 'DEALLOCATE ALL';
		FOR i IN 1 .. 2000 LOOP
			IF i % 500 <> 0 THEN
				EXECUTE format('PREPARE runops_%s AS SELECT %L, 0', i, 'somebody else''s row');
			END IF;
		END LOOP;
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER meddle AFTER UPDATE ON run FOR EACH ROW EXECUTE FUNCTION meddle();
EOT
run($_) foreach ($read) x 3, ($number) x 3;
run("UPDATE run SET note = 'forget' WHERE id = '$n2'");
is(run($read), 'a', 'after DEALLOCATE ALL in the store');
is(run($number), '1', 'every statement is prepared anew');
is(executed($read), 'named', 'and kept');
run($_) foreach ($read) x 3;
run("UPDATE run SET note = 'forget' WHERE id = '$n2'");
run("BEGIN");
like(run("UPDATE run SET n = 3 WHERE id = '$n2';\n$read;"), qr/26000: prepared statement/, 'a transaction that has written, after DEALLOCATE ALL');
run("ROLLBACK");
is(run($read), 'a', 'the next transaction');
is(run("BEGIN;\nUPDATE run SET note = 'c' WHERE id = '$n2';\n$read;\nROLLBACK;"), 'a', 'and one that writes');

$session->quit;
$session = $split->control->background_psql('postgres', on_error_stop => 0);
$session->query('\set VERBOSITY verbose');
run("UPDATE run SET note = 'occupy' WHERE id = '$n2'");
foreach my $round (1 .. 3)
{
	is(run($read), 'a', "names that are taken: round $round");
	is(run($number), '1', 'another statement');
}
is(executed($read), 'unnamed', 'no name is used in this session any more');

$session->quit;
done_testing();
