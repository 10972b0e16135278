#
# 074_session_commit.pl
#	  The end of a transaction that has used stores: whatever breaks at COMMIT, it
#	  is committed here only if it is committed in the stores, and each way in which
#	  a store can be committed without the others has an error of its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use PsqlSession;
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(relay => 1, conf => "runops.database = ''\nmax_prepared_transactions = 5\nrestart_after_crash = on\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $n = 0;

$split->create_server('run_ops2', 'run_ops2');
$split->sql(<<'EOT');
SELECT runops.add_store('a', 'run_ops2');
CREATE TABLE run (id text PRIMARY KEY, k text, n int);
CREATE TABLE note (id text);
CREATE TABLE skew (k int PRIMARY KEY, n int);
SELECT runops.attach('run', 'id');
EOT
$split->sql(qq{SELECT runops.provision('$_')}) foreach ('new', 'a');
$split->sql(q{SELECT runops.add_unique('run', '{k}')});
foreach my $database ('run_ops', 'run_ops2')
{
	# n = -1 waits at COMMIT for a lock that the test holds; n = -2 is refused at COMMIT
	$store->safe_psql($database, <<'EOT');
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.n = -1 THEN
		PERFORM pg_advisory_xact_lock_shared(1);
	ELSIF NEW.n = -2 THEN
		RAISE check_violation USING MESSAGE = 'refused at commit';
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
EOT
}

# Ids that nobody has used: of legacy, new and a.
sub ids
{
	$n++;
	return (sprintf('clegacy%018d', $n), map { sprintf('0123456789abcdefghij%04da%d', $n, $_) } (1, 2));
}

sub session
{
	return $control->background_psql('postgres', on_error_stop => 0);
}

# In which databases are the rows with these ids?
sub where_is
{
	my @ids = @_;
	my @in;
	my $list = join(', ', map { "'$_'" } @ids);

	push @in, 'here' if $split->sql("SELECT count(*) FROM ONLY runops_legacy.run WHERE id IN ($list)");
	push @in, 'note' if $split->sql("SELECT count(*) FROM note WHERE id IN ($list)");
	push @in, 'new' if $store->safe_psql('run_ops', "SELECT count(*) FROM run WHERE id IN ($list)");
	push @in, 'a' if $store->safe_psql('run_ops2', "SELECT count(*) FROM run WHERE id IN ($list)");
	return join(' ', @in);
}

# The session and the split go on.
sub goes_on
{
	my ($session, $what) = @_;
	my ($legacy, $new) = ids();

	is(errors($session, "INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', 1)"), '', "$what: the session goes on");
	is(where_is($legacy, $new), 'here new', "$what: and writes to both");
	return;
}

# Send a COMMIT that will wait in a store, and return once it does.
sub commit_waits
{
	my $session = shift;

	send_commit($session);
	$store->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event_type = 'Lock' AND application_name LIKE 'runops/%'})
	  or die 'no COMMIT waits';
	return;
}

my $holder = $store->background_psql('run_ops');

sub hold { $holder->query_safe('SELECT pg_advisory_lock(1)'); return; }
sub let_go { $holder->query_safe('SELECT pg_advisory_unlock(1)'); return; }

my $unknown = qr/ERROR:  it is not known whether server "run_ops" has committed\nDETAIL:  It was told to commit, its answer did not come, and it could not be asked\.  The transaction is rolled back in this database\.\nHINT:  Look for the rows/;

# the store was asked, on another connection
my $lost = qr/ERROR:  connection to server "run_ops" was lost in COMMIT\nDETAIL:  The server was asked again: it has rolled back the transaction\.\nHINT:  Repeat the transaction/;

# the connection is cut as COMMIT is on its way, before it arrives and after; with
# a legacy row, a row of a plain table, and an entry of a unique key
foreach my $what (qw(legacy note entry))
{
	foreach my $when (qw(before after))
	{
		my ($legacy, $new) = ids();
		my $session = session();
		my $first =
		    $what eq 'legacy' ? "INSERT INTO run VALUES ('$legacy', NULL, 1);"
		  : $what eq 'note' ? "INSERT INTO note VALUES ('$legacy');"
		  : '';

		is(errors($session, "BEGIN; $first INSERT INTO run VALUES ('$new', 'key $what $when', 1)"), '', "$what, cut $when COMMIT: writes");
		$relay->drop_on('^COMMIT', $when);
		if ($when eq 'before')
		{
			like(errors($session, 'COMMIT'), $lost, "$what, cut $when COMMIT: the store has rolled back");
			is(where_is($legacy, $new), '', "$what, cut $when COMMIT: nothing is committed");
			is(errors($session, "INSERT INTO run VALUES ('$legacy', 'key $what $when', 1)"), '', "$what, cut $when COMMIT: no entry stays here");
		}
		else
		{
			my $here = { legacy => 'here new', note => 'note new', entry => 'new' }->{$what};

			is(errors($session, 'COMMIT'), '', "$what, cut $when COMMIT: the store has committed");
			is(where_is($legacy, $new), $here, "$what, cut $when COMMIT: everything is committed");
			like(errors($session, "INSERT INTO run VALUES ('c$new', 'key $what $when', 1)"), qr/ERROR:  /, "$what, cut $when COMMIT: the entry stays here");
		}
		goes_on($session, "$what, cut $when COMMIT");
		$session->quit;
	}
}

# the answer to COMMIT does not come
{
	my ($legacy, $new) = ids();
	my $session = session();

	errors($session, "SET runops.commit_timeout = '1s'; BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', 1)");
	$relay->freeze_on('^COMMIT');
	like(errors($session, 'COMMIT'), $unknown, 'frozen: runops.commit_timeout ends the wait');
	is(errors($session, "INSERT INTO note VALUES ('$legacy')"), '', 'frozen: the session goes on without the store');
	$relay->thaw;
	$relay->drop;
	is(where_is($legacy) =~ /here/, '', 'frozen: nothing is committed here but what followed');
	goes_on($session, 'frozen');
	$session->quit;
}

# a store that takes longer to commit: its process is ended, and has not committed
{
	my ($legacy, $new) = ids();
	my $session = session();

	hold();
	errors($session, "SET runops.commit_timeout = '8s'; BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', -1)");
	commit_waits($session);
	like(commit_ends($session), $lost, 'slow: runops.commit_timeout ends the wait');
	is($store->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event_type = 'Lock'}), '0', 'slow: the store does not commit any more');
	goes_on($session, 'slow');
	let_go();
	is(where_is($legacy, $new), '', 'slow: nothing is committed');
	$session->quit;
}

# cancel and terminate, while COMMIT is under way in the store: they come too late
foreach my $how (qw(cancel terminate))
{
	foreach my $row ("INSERT INTO run VALUES ('L', 'key L', 1)", q{INSERT INTO note VALUES ('L')})
	{
		my ($legacy, $new) = ids();
		my $session = session();
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		my $here = $row =~ /note/ ? 'note' : 'here';

		hold();
		errors($session, 'BEGIN; ' . ($row =~ s/\bL\b/$legacy/gr) . "; INSERT INTO run VALUES ('$new', 'key $new', -1)");
		commit_waits($session);
		is($split->sql("SELECT pg_${how}_backend($pid)"), 't', "$how, $here: while the store commits");
		let_go();
		if ($how eq 'cancel')
		{
			is(commit_ends($session), '', "$how, $here: COMMIT succeeds");
			goes_on($session, "$how, $here");
			$session->quit;
		}
		else
		{
			$control->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die 'the backend does not end';
			eval { $session->quit };
		}
		is(where_is($legacy, $new), "$here new", "$how, $here: the row is in both");
	}
}

# ... and before it: nothing is committed
foreach my $how (qw(cancel terminate))
{
	my ($legacy, $new, $a) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	# with two stores the deferred triggers are executed before any store commits
	hold();
	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', -1), ('$a', '$a', 1)");
	$session->{stdin} .= "COMMIT;\n\\echo done\n";
	$session->{run}->pump_nb;
	$store->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'SET CONSTRAINTS%' AND wait_event_type = 'Lock'}) or die 'nothing waits';
	$split->sql("SELECT pg_${how}_backend($pid)");
	if ($how eq 'cancel')
	{
		like(commit_ends($session), qr/ERROR:  canceling statement due to user request/, "$how while the stores prepare: the transaction fails");
		let_go();
		goes_on($session, "$how while the stores prepare");
		$session->quit;
	}
	else
	{
		$control->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die 'the backend does not end';
		let_go();
		eval { $session->quit };
	}
	is(where_is($legacy, $new, $a), '', "$how while the stores prepare: nothing is committed");
}

# a deferred constraint refuses: the only store, and one of two
{
	my $session = session();
	my ($legacy, $new, $a) = ids();

	like(errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', -2); COMMIT"), qr/ERROR:  refused at commit\n/, 'one store refuses');
	is(where_is($legacy, $new), '', 'one store refuses: nothing is committed');
	foreach my $refuser ($new, $a)
	{
		$relay->reset;
		like(errors($session, "BEGIN; INSERT INTO run SELECT i, i, CASE i WHEN '$refuser' THEN -2 ELSE 1 END FROM unnest('{$legacy,$new,$a}'::text[]) i; COMMIT"),
			qr/ERROR:  refused at commit\n/, 'one of two stores refuses');
		is(where_is($legacy, $new, $a), '', 'one of two stores refuses: nothing is committed');
		is(scalar(grep { /^COMMIT/ } $relay->statements), 0, 'one of two stores refuses: none is told to commit');
	}
	is(errors($session, "BEGIN; INSERT INTO run SELECT i, i, 1 FROM unnest('{$legacy,$new,$a}'::text[]) i; COMMIT"), '', 'and without it');
	is(where_is($legacy, $new, $a), 'here new a', 'all commit');
	goes_on($session, 'refused');
	$session->quit;
}

# one of two connections is gone before COMMIT, or breaks with it
{
	my $session = session();
	my ($legacy, $new, $a) = ids();
	my $write = "BEGIN; INSERT INTO run SELECT i, i, 1 FROM unnest('{$legacy,$new,$a}'::text[]) i";

	foreach my $database ('run_ops', 'run_ops2')
	{
		errors($session, $write);
		$store->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '$database' AND application_name LIKE 'runops/%'");
		like(errors($session, 'COMMIT'), qr/ERROR:  connection to server "$database" was lost in this transaction\nDETAIL:  .*\nHINT:  Repeat the transaction/, "$database lost before COMMIT");
		is(where_is($legacy, $new, $a), '', "$database lost before COMMIT: nothing is committed");
	}
	foreach my $when (qw(before after))
	{
		($legacy, $new, $a) = ids();
		errors($session, "BEGIN; INSERT INTO run SELECT i, i, 1 FROM unnest('{$legacy,$new,$a}'::text[]) i");
		$relay->drop_on('^COMMIT', $when);
		my $errors = errors($session, '\\set VERBOSITY verbose' . "\nCOMMIT;\n" . '\\set VERBOSITY default');

		if ($when eq 'after')
		{
			is($errors, '', 'one of two cut after COMMIT: no error');
			is(where_is($legacy, $new, $a), 'here new a', 'one of two cut after COMMIT: everything is committed');
			next;
		}
		like($errors, qr/ERROR:  RO008: only a part of the transaction is committed\nDETAIL:  It is committed in server "run_ops2?", and rolled back in server "run_ops2?" and in this database: connection to server "run_ops2?" was lost in COMMIT\n/,
			'one of two cut before COMMIT: the error says where it is committed');
		my ($cut) = $errors =~ /rolled back in server "(\w+)"/;

		is(where_is($legacy, $new, $a), $cut eq 'run_ops' ? 'a' : 'new', 'one of two cut before COMMIT: and that is so');
	}
	goes_on($session, 'one of two cut');
	$session->quit;
}

# a connection that was lost earlier
{
	my $session = session();
	my ($legacy, $new) = ids();

	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', 1); SAVEPOINT s");
	$relay->drop;
	like(errors($session, "SELECT count(*) FROM run WHERE id = '$new'"), qr/ERROR:  /, 'lost earlier: a statement notices');
	errors($session, 'ROLLBACK TO s');
	like(errors($session, "SELECT count(*) FROM run WHERE id = '$new'"), qr/ERROR:  connection to store "new" was lost in this transaction/, 'lost earlier: the store cannot be used again');
	errors($session, 'ROLLBACK TO s');
	is($session->query_safe("SELECT n FROM run WHERE id = '$legacy'"), '1', 'lost earlier: legacy rows can be read');
	like(errors($session, 'COMMIT'), qr/ERROR:  connection to server "run_ops" was lost in this transaction/, 'lost earlier: COMMIT is refused');
	is(where_is($legacy, $new), '', 'lost earlier: nothing is committed');

	# all that the transaction had done there is rolled back with the savepoint
	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1); SAVEPOINT s; INSERT INTO run VALUES ('$new', '$new', 1)");
	$relay->drop;
	like(errors($session, "SELECT count(*) FROM run WHERE id = '$new'"), qr/ERROR:  /, 'lost within a savepoint: a statement notices');
	is(errors($session, "ROLLBACK TO s; INSERT INTO run VALUES ('$new', '$new', 1); COMMIT"), '', 'lost within a savepoint: the transaction goes on after its rollback');
	is(where_is($legacy, $new), 'here new', 'lost within a savepoint: both are committed');

	# a connection that was only read
	is(errors($session, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM run; INSERT INTO note VALUES ('$legacy')"), '', 'only read');
	$relay->drop;
	is(errors($session, 'COMMIT'), '', 'lost after it was only read: COMMIT succeeds');
	errors($session, 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM run');
	$relay->drop;
	like(errors($session, 'COMMIT'), qr/ERROR:  /, 'but not under SERIALIZABLE: the store has not checked the reads');
	goes_on($session, 'lost earlier');
	$session->quit;
}

# the stores do not answer ROLLBACK, nor a new client
{
	my $session = session();
	my ($legacy, $new, $a) = ids();

	$split->sql("ALTER SERVER $_ OPTIONS (ADD connect_timeout '2')") foreach ('run_ops', 'run_ops2');
	foreach my $rollback ('ROLLBACK', 'ROLLBACK TO s; ROLLBACK')
	{
		is(errors($session, "BEGIN; INSERT INTO run VALUES ('$new', '$new', 1); SAVEPOINT s; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$a', '$a', 1)"), '', "frozen in $rollback: writes");
		$relay->freeze;
		my $start = time;

		is(errors($session, $rollback), '', "frozen in $rollback: it succeeds");
		cmp_ok(time - $start, '<', 25, "frozen in $rollback: servers that take no new client are not waited for until the limit");
		is($session->query_safe('SELECT count(*) FROM note') =~ /^\d+$/, 1, "frozen in $rollback: the session goes on without the stores");
		$relay->thaw;
		goes_on($session, "frozen in $rollback");
		is(where_is($legacy, $new, $a), '', "frozen in $rollback: nothing is committed");
	}
	$split->sql("ALTER SERVER $_ OPTIONS (DROP connect_timeout)") foreach ('run_ops', 'run_ops2');
	$session->quit;
}

# a store that rolls back instead
{
	my $session = session();
	my ($legacy, $new) = ids();

	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', 1)");
	$relay->replace('COMMIT TRANSACTION', 'ROLLBACK WORK     ');
	like(errors($session, '\set VERBOSITY verbose' . "\nCOMMIT;\n" . '\set VERBOSITY default'),
		qr/ERROR:  40000: server "run_ops" has rolled back the transaction instead of committing it\n/, 'a store answers COMMIT by ROLLBACK');
	is(where_is($legacy, $new), '', 'a store answers COMMIT by ROLLBACK: nothing is committed');
	goes_on($session, 'a store answers COMMIT by ROLLBACK');
	$session->quit;
}

# serialization failures at COMMIT: here, in a store that was read, in the only
# store that was written to, and in one of two
{
	my ($legacy, $new, $a) = ids();
	my ($session, $other) = (session(), session());

	errors($session, 'INSERT INTO skew VALUES (1, 0), (2, 0)');
	errors($session, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT n FROM skew WHERE k = 1; INSERT INTO run VALUES ('$new', '$new', 1)");
	errors($other, 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT n FROM skew WHERE k = 2');
	errors($session, 'UPDATE skew SET n = 1 WHERE k = 2');
	errors($other, 'UPDATE skew SET n = 1 WHERE k = 1; COMMIT');
	$relay->reset;
	like(errors($session, 'COMMIT'), qr/ERROR:  could not serialize access/, 'a serialization failure here');
	is(scalar(grep { /^COMMIT/ } $relay->statements), 0, 'no store is told to commit');
	is(where_is($new), '', 'nothing is committed');
	$other->quit;

	# write skew in the store "a", whose other side is a session of that store
	foreach my $case ([ 'the only store', '' ], [ 'one of two stores', "INSERT INTO run VALUES ('$new', '$new', 1);" ])
	{
		my ($what, $more) = @$case;
		my ($a1, $a2) = ((ids())[2], (ids())[2]);

		$other = $store->background_psql('run_ops2', on_error_stop => 0);
		errors($session, "INSERT INTO run VALUES ('$a1', '$a1', 0), ('$a2', '$a2', 0)");
		errors($session, "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO note VALUES ('$legacy'); $more SELECT n FROM run WHERE id = '$a1'");
		errors($other, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT n FROM run WHERE id = '$a2'");
		is(errors($session, "UPDATE run SET n = 1 WHERE id = '$a2'"), '', "a serialization failure in $what");
		is(errors($other, "UPDATE run SET n = 1 WHERE id = '$a1'; COMMIT"), '', 'the other transaction is first');
		my $errors = errors($session, '\set VERBOSITY verbose' . "\nCOMMIT;\n" . '\set VERBOSITY default');

		if ($more)
		{
			like($errors, qr/ERROR:  RO008: only a part of the transaction is committed\nDETAIL:  It is committed in server "run_ops", and rolled back in server "run_ops2" and in this database: could not serialize access[^\n]*\nHINT:  Do not repeat/,
				"$what: no error after which the transaction would be repeated");
			is(where_is($legacy, $new), 'new', "$what: what is committed");
		}
		else
		{
			like($errors, qr/ERROR:  40001: could not serialize access/, "$what: the error is the store's");
			is(where_is($legacy), '', "$what: nothing is committed");
		}
		$other->quit;
	}
	goes_on($session, 'serialization failures');
	$session->quit;
}

# PREPARE TRANSACTION
{
	my $session = session();
	my ($legacy, $new) = ids();

	errors($session, "INSERT INTO run VALUES ('$new', '$new', 1)");
	foreach my $level ('READ COMMITTED', 'REPEATABLE READ')
	{
		is(errors($session, "BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM run, generate_series(1, 3) WHERE n > random() - 5; INSERT INTO note VALUES ('$legacy'); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'"),
			'', "PREPARE TRANSACTION after stores were read: $level");
		is(where_is($legacy), 'note', 'and it is committed');
		$split->sql("DELETE FROM note WHERE id = '$legacy'");
	}
	foreach my $case ([ 'a write', "UPDATE run SET n = 2 WHERE id = '$new'" ], [ 'a row lock', "SELECT FROM run WHERE id = '$new' FOR UPDATE" ])
	{
		like(errors($session, "BEGIN; $case->[1]; PREPARE TRANSACTION 'p'"), qr/ERROR:  cannot PREPARE a transaction that has used a store/, "PREPARE TRANSACTION after $case->[0]");
	}
	like(errors($session, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM run; PREPARE TRANSACTION 'p'"),
		qr/ERROR:  cannot PREPARE a transaction that has used a store/, 'PREPARE TRANSACTION under SERIALIZABLE');
	is($split->sql('SELECT count(*) FROM pg_prepared_xacts'), '0', 'nothing is prepared');
	is($split->sql("SELECT n FROM run WHERE id = '$new'"), '1', 'nothing is changed');
	goes_on($session, 'PREPARE TRANSACTION');
	$session->quit;
}

# this database fails after the stores have committed
{
	my $session = session();
	my ($legacy, $new) = ids();

	like(errors($session, "BEGIN; CREATE TEMP TABLE pk (k int PRIMARY KEY) ON COMMIT DELETE ROWS; CREATE TEMP TABLE fk (k int REFERENCES pk);
			INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', 1); COMMIT"),
		qr/ERROR:  unsupported ON COMMIT and foreign key combination/, 'the local commit fails');
	is(where_is($legacy, $new), 'new', 'the local commit fails: what is committed');
	like(errors($session, "SET statement_timeout = '100ms'; SELECT pg_sleep(3600)"), qr/ERROR:  canceling statement due to statement timeout/, 'the local commit fails: the session obeys cancel again');
	errors($session, 'RESET statement_timeout');
	goes_on($session, 'the local commit fails');
	$session->quit;
}

# this server crashes while a store commits
{
	my ($legacy, $new) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $checkpointer = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'};
	my $before = $split->sql($checkpointer);

	hold();
	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', -1)");
	commit_waits($session);
	kill 'KILL', $pid;
	$control->poll_query_until('postgres', "SELECT ($checkpointer) <> $before") or die 'the server did not come back';
	eval { $session->quit };
	let_go();
	$store->poll_query_until('run_ops', "SELECT count(*) = 1 FROM run WHERE id = '$new'") or die 'the store has not committed';
	is(where_is($legacy, $new), 'new', 'a crash while the store commits: what is committed');
	$session = session();
	goes_on($session, 'a crash while the store commits');
	$session->quit;
}

# a fast shutdown while a store hangs in COMMIT: runops.commit_timeout ends the wait
{
	my ($legacy, $new) = ids();
	my $session = session();

	hold();
	errors($session, "SET runops.commit_timeout = '8s'; BEGIN; INSERT INTO run VALUES ('$legacy', '$legacy', 1), ('$new', '$new', -1)");
	commit_waits($session);
	$control->stop('fast');
	pass('a fast shutdown ends while a store commits');
	eval { $session->quit };
	let_go();
	$control->start;
	$store->poll_query_until('run_ops', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND xact_start IS NOT NULL}) or die 'the store does not end the transaction';
	is(where_is($legacy, $new), '', 'the store was asked, and has not committed');
}

$holder->quit;
done_testing();
