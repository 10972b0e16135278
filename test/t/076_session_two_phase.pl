#
# 076_session_two_phase.pl
#	  Two-phase commit over two stores and this database: whatever breaks, and at
#	  whichever point, a transaction is committed everywhere or nowhere in the end,
#	  and nothing stays prepared or locked.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use Relay;
use PsqlSession;
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(
	relay => 1,
	conf => "restart_after_crash = on\nwal_level = replica\nmax_wal_senders = 2\nautovacuum = off\n",
	store_conf => "max_prepared_transactions = 20\nautovacuum = off\n",
	server_options => "two_phase 'true', connect_timeout '2'");
my ($control, $store) = ($split->control, $split->store);
my $n = 0;

# the second store is behind a relay of its own
my @relays = ($split->relay, Relay->start(to_host => $store->host, to_port => $store->port));
my @databases = ('run_ops', 'run_ops2');

$store->safe_psql('postgres', 'CREATE DATABASE run_ops2');
$split->sql(sprintf(q{CREATE SERVER run_ops2 FOREIGN DATA WRAPPER runops_fdw
		OPTIONS (host '%s', port '%s', dbname 'run_ops2', two_phase 'true', connect_timeout '2');
	CREATE USER MAPPING FOR CURRENT_USER SERVER run_ops2;
	SELECT runops.add_store('a', 'run_ops2')}, $relays[1]->host, $relays[1]->port));
$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, k text, n int);
CREATE TABLE note (id text);
SELECT runops.attach('run', 'id');
EOT
$split->sql(qq{SELECT runops.provision('$_')}) foreach ('new', 'a');
foreach my $database (@databases)
{
	# n = -1 waits for a lock that the test holds, -2 is refused, -3 and -4 do what
	# cannot be prepared: all at PREPARE TRANSACTION
	$store->safe_psql($database, <<'EOT');
CREATE FUNCTION at_prepare() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	CASE NEW.n
		WHEN -1 THEN PERFORM pg_advisory_xact_lock_shared(1);
		WHEN -2 THEN RAISE check_violation USING MESSAGE = 'refused at PREPARE';
		WHEN -3 THEN CREATE TEMP TABLE t (n int) ON COMMIT DROP;
		WHEN -4 THEN NOTIFY n;
		ELSE NULL;
	END CASE;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER at_prepare AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_prepare();
EOT
}

# Ids that nobody has used: of legacy, new and a.
sub ids
{
	$n++;
	return (sprintf('clegacy%018d', $n), map { sprintf('0123456789abcdefghij%04da%d', $n, $_) } (1, 2));
}

sub session { return $control->background_psql('postgres', on_error_stop => 0); }

# In which databases are the rows with these ids?
sub where_is
{
	my @ids = @_;
	my @in;
	my $list = join(', ', map { "'$_'" } @ids);

	push @in, 'here' if $split->sql("SELECT count(*) FROM ONLY runops_legacy.run WHERE id IN ($list)");
	push @in, 'new' if $store->safe_psql('run_ops', "SELECT count(*) FROM run WHERE id IN ($list)");
	push @in, 'a' if $store->safe_psql('run_ops2', "SELECT count(*) FROM run WHERE id IN ($list)");
	return join(' ', @in);
}

# Wait until the finisher has left nothing, and no lock.
sub settled
{
	my $what = shift;

	ok( $store->poll_query_until(
			'postgres',
			q{SELECT (SELECT count(*) FROM pg_prepared_xacts) + (SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND pid IS NULL) = 0}),
		"$what: nothing stays prepared");
	return;
}

# Is it everywhere or nowhere?
sub atomic
{
	my ($what, $committed, @ids) = @_;

	settled($what);
	is(where_is(@ids), $committed ? 'here new a' : '', "$what: " . ($committed ? 'committed' : 'rolled back') . ' everywhere');
	return;
}

sub write_all
{
	my ($session, $legacy, $new, $a, %n) = @_;

	return errors($session, sprintf("BEGIN; INSERT INTO run VALUES ('$legacy', 'k', 1), ('$new', 'k', %d), ('$a', 'k', %d)", $n{new} // 1, $n{a} // 1));
}

my $holder = $store->background_psql('run_ops');
my $holder2 = $store->background_psql('run_ops2');

sub hold { $_[0]->query_safe('SELECT pg_advisory_lock(1)'); return; }
sub let_go { $_[0]->query_safe('SELECT pg_advisory_unlock(1)'); return; }

# Wait until a store executes a command that waits for the lock.
sub store_waits
{
	$store->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%' AND wait_event_type = 'Lock' AND application_name LIKE 'runops/%'})
	  or die 'no PREPARE waits';
	return;
}

sub backend_ends
{
	my $pid = shift;

	$control->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die 'the backend does not end';
	return;
}

# Kill a backend, and wait until the server has restarted.
sub crash
{
	my $pid = shift;
	my $checkpointer = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'};
	my $before = $split->sql($checkpointer);

	kill 'KILL', $pid;
	$control->poll_query_until('postgres', "SELECT ($checkpointer) <> $before") or die 'the server did not come back';
	return;
}

# Let commits of the control plane wait for a standby that does not exist.
sub commits_wait
{
	my $first = session();
	my $pid = $first->query_safe('SELECT pg_backend_pid()');

	$control->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$control->reload;
	# the checkpointer switches this on
	$first->{stdin} .= q{SELECT 'INSERT INTO note VALUES (NULL)' FROM generate_series(1, 1000000) \gexec} . "\n";
	$first->{run}->pump_nb;
	$control->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid") or die 'no commit waits';
	$split->sql("SET synchronous_commit = local; SELECT pg_terminate_backend($pid, 60000)");
	eval { $first->quit };
	return;
}

# the option

{
	my (undef, $stderr) = $split->try(q{ALTER SERVER run_ops OPTIONS (SET two_phase 'maybe'); ALTER USER MAPPING FOR CURRENT_USER SERVER run_ops OPTIONS (ADD two_phase 'true')});

	like($stderr, qr/ERROR:  22023: invalid value for option "two_phase": "maybe"/, 'a wrong value of the option');
	like($stderr, qr/ERROR:  HV00D: invalid option "two_phase"/, 'only servers have it');
}

# without faults: the turns, the names, the decision

{
	my $session = session();
	my ($legacy, $new, $a) = ids();

	is(errors($session, "INSERT INTO run VALUES ('$new', 'k', 0), ('$a', 'k', 0), ('$legacy', 'k', 0)"), '', 'a statement over three databases');
	is(where_is($legacy, $new, $a), 'here new a', 'and all have it');
	$_->reset foreach @relays;
	is(errors($session, "UPDATE run SET n = n + 1 WHERE id IN ('$new', '$a')"), '', 'UPDATE in two stores');
	is(join(' ', map { $_->turns } @relays), '3 3', 'three turns: the statement, PREPARE TRANSACTION, COMMIT PREPARED');
	is(errors($session, "BEGIN; UPDATE run SET n = n + 1 WHERE id = '$new'; UPDATE run SET n = n + 1 WHERE id = '$a'; COMMIT"), '', 'the same in a transaction');
	is($session->query_safe("SELECT string_agg(n::text, ' ') FROM run WHERE id IN ('$new', '$a')"), '2 2', 'a session reads its own writes at once');

	# one store and nothing here needs one phase
	$_->reset foreach @relays;
	is(errors($session, "UPDATE run SET n = n + 1 WHERE id = '$new'"), '', 'UPDATE in one store');
	is($relays[0]->turns, 2, 'two turns');
	is(scalar(grep { /PREPARE/ } $relays[0]->statements), 0, 'nothing is prepared');
	# ... but one store and a table here need two
	is(errors($session, "BEGIN; UPDATE run SET n = n + 1 WHERE id = '$new'; INSERT INTO note VALUES ('x'); COMMIT"), '', 'one store and a table of this database');
	is(scalar(grep { /^(?:PREPARE TRANSACTION|COMMIT PREPARED)/ } $relays[0]->statements), 2, 'are committed by two phases');
	# a read-only store is not prepared
	$_->reset foreach @relays;
	is(errors($session, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM run WHERE id = '$a'; INSERT INTO note VALUES ('x'); UPDATE run SET n = n + 1 WHERE id = '$new'; COMMIT"), '', 'a store that is only read');
	is(scalar(grep { /PREPARE/ } $relays[1]->statements), 0, 'is not prepared');
	# row locks stay until the end, so they are prepared too
	is(errors($session, "BEGIN; SELECT FROM run WHERE id = '$a' FOR UPDATE; UPDATE run SET n = n + 1 WHERE id = '$new'; COMMIT"), '', 'row locks in one store, a row in another');

	foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
	{
		is(errors($session, "BEGIN ISOLATION LEVEL $level; UPDATE run SET n = n + 1 WHERE id = '$new'; SAVEPOINT s; UPDATE run SET n = n + 1 WHERE id = '$a'; RELEASE s; SAVEPOINT t; UPDATE run SET n = 99 WHERE id = '$legacy'; ROLLBACK TO t; COMMIT"), '', "$level, with savepoints");
	}
	is($session->query_safe("SELECT string_agg(n::text, ' ' ORDER BY id) FROM run WHERE id IN ('$new', '$a', '$legacy')"), '8 4 0', 'and all of that was done');
	is(errors($session, "SET runops.cross_store_writes = error; UPDATE run SET n = 0 WHERE id IN ('$new', '$a', '$legacy')"), '', 'no error of cross_store_writes');
	is(errors($session, "SET synchronous_commit = off; UPDATE run SET n = 0 WHERE id IN ('$new', '$a', '$legacy')"), '', 'with asynchronous commit');
	settled('without faults');
	is($split->sql(q{SELECT committed >= 18 AND left_prepared = 0 AND rolled_back = 0 FROM runops.two_phase_stats}), 't', 'the backends have committed everything');
	is($split->sql(q{SELECT count(*) >= 10 AND min(cardinality(gids)) = 1 AND max(cardinality(gids)) = 2 FROM runops.commit_decision}), 't', 'the decisions are kept for a while');
	$split->sql(q{UPDATE runops.commit_decision SET decided_at = decided_at - '1 day'::interval});
	is($split->sql(q{SELECT runops.finish_prepared()}), '0', 'nothing is to be finished');
	is($split->sql(q{SELECT count(*) FROM runops.commit_decision}), '0', 'old decisions are deleted');
	$session->quit;
}

# a connection breaks, or a store is silent

foreach my $command ('PREPARE TRANSACTION', 'COMMIT PREPARED')
{
	my $committed = $command eq 'COMMIT PREPARED';

	foreach my $r (0, 1)
	{
		foreach my $how ('cut before', 'cut after', 'frozen at')
		{
			my ($legacy, $new, $a) = ids();
			my $session = session();
			my $what = "$how $command of $databases[$r]";

			is(write_all($session, $legacy, $new, $a), '', "$what: writes");
			if ($how eq 'frozen at')
			{
				$relays[$r]->freeze_on("^$command");
			}
			else
			{
				$relays[$r]->drop_on("^$command", $how =~ s/cut //r);
			}
			my $errors = errors($session, 'COMMIT');

			if ($committed)
			{
				like($errors, qr/^[^\n]*WARNING:  the transaction is committed, but not yet visible in all stores\n/, "$what: a warning");
			}
			else
			{
				like($errors, qr/^[^\n]*ERROR:  /, "$what: an error");
			}
			if ($how eq 'frozen at')
			{
				is(errors($session, "INSERT INTO note VALUES ('y')"), '', "$what: the session goes on without the store");
				$relays[$r]->drop;
				$relays[$r]->thaw;
			}
			atomic($what, $committed, $legacy, $new, $a);
			is(errors($session, "UPDATE run SET n = 5 WHERE id IN ('$legacy', '$new', '$a')"), '', "$what: the session goes on");
			$session->quit;
		}
	}
}

# a store refuses, and the other one has prepared; with the faults at ROLLBACK PREPARED

foreach my $refusal ([ -2, qr/refused at PREPARE\n/ ], [ -3, qr/cannot PREPARE a transaction that has operated on temporary objects\n(?:.*\n)*HINT:  Set the option "two_phase"/ ],
	[ -4, qr/cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY\n(?:.*\n)*HINT:  Set the option "two_phase"/ ])
{
	foreach my $store ('new', 'a')
	{
		my ($legacy, $new, $a) = ids();
		my $session = session();

		is(write_all($session, $legacy, $new, $a, $store => $refusal->[0]), '', "$store refuses ($refusal->[0]): writes");
		like(errors($session, 'COMMIT'), qr/ERROR:  (?:.*: )?$refusal->[1]/, "$store refuses ($refusal->[0])");
		atomic("$store refuses ($refusal->[0])", 0, $legacy, $new, $a);
		$session->quit;
	}
}
foreach my $how ('cut before', 'cut after', 'frozen at')
{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	is(write_all($session, $legacy, $new, $a, a => -2), '', "$how ROLLBACK PREPARED: writes");
	if ($how eq 'frozen at')
	{
		$relays[0]->freeze_on('^ROLLBACK PREPARED');
	}
	else
	{
		$relays[0]->drop_on('^ROLLBACK PREPARED', $how =~ s/cut //r);
	}
	like(errors($session, 'COMMIT'), qr/ERROR:  refused at PREPARE\n/, "$how ROLLBACK PREPARED: the first error is raised");
	if ($how eq 'frozen at')
	{
		$relays[0]->drop;
		$relays[0]->thaw;
	}
	atomic("$how ROLLBACK PREPARED", 0, $legacy, $new, $a);
	$session->quit;
}

# a store that rolls back instead

{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	write_all($session, $legacy, $new, $a);
	$relays[1]->replace('PREPARE TRANSACTION', 'ROLLBACK;          ');
	like(errors($session, 'COMMIT'), qr/ERROR:  /, 'a store does not prepare');
	atomic('a store does not prepare', 0, $legacy, $new, $a);
	$session->quit;
}

# all prepared transactions of the store are taken

{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	foreach my $i (1 .. 19)
	{
		$store->safe_psql('postgres', "BEGIN; CREATE TABLE t$i (); PREPARE TRANSACTION 'p$i'");
	}
	write_all($session, $legacy, $new, $a);
	like(errors($session, 'COMMIT'), qr/ERROR:  maximum number of prepared transactions reached\n(?:.*\n)*HINT:  Raise "max_prepared_transactions"/, 'a store has no room');
	$store->safe_psql('postgres', "ROLLBACK PREPARED 'p$_'") foreach (1 .. 19);
	atomic('a store has no room', 0, $legacy, $new, $a);
	$session->quit;
}

# cancel, terminate, a crash of the backend, and an immediate stop of the server,
# while one store has prepared and the other is at it

foreach my $how ('cancel', 'terminate', 'crash', 'stop')
{
	my ($legacy, $new, $a) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	hold($holder2);
	write_all($session, $legacy, $new, $a, a => -1);
	send_commit($session);
	store_waits();
	is($store->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '1', "$how at PREPARE: one store has prepared");
	is($split->sql("SELECT string_agg(store || ' ' || decision, ', ') FROM runops.prepared_transactions"), 'new running', "$how at PREPARE: the view shows it");
	if ($how eq 'cancel' || $how eq 'terminate')
	{
		$split->sql("SELECT pg_${how}_backend($pid)");
	}
	elsif ($how eq 'crash')
	{
		crash($pid);
	}
	else
	{
		$control->stop('immediate');
		$control->start;
	}
	if ($how eq 'cancel')
	{
		like(commit_ends($session), qr/ERROR:  canceling statement due to user request/, "$how at PREPARE: the transaction fails");
		$session->quit;
	}
	else
	{
		backend_ends($pid);
		eval { $session->quit };
	}
	let_go($holder2);
	$store->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%' AND state = 'active' AND pid <> pg_backend_pid()}) or die 'PREPARE does not end';
	# it may have been prepared only now, and nobody knows
	$split->sql('SELECT runops.finish_prepared()') if $how eq 'crash' || $how eq 'stop';
	atomic("$how at PREPARE", 0, $legacy, $new, $a);
}

# between the local commit and COMMIT PREPARED: the commit waits for a standby
# that does not exist, and its record is on disk

foreach my $how ('cancel', 'terminate', 'crash', 'stop')
{
	my ($legacy, $new, $a) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	write_all($session, $legacy, $new, $a);
	commits_wait();
	send_commit($session);
	$control->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid") or die 'COMMIT does not wait';
	is($split->sql(q{SET synchronous_commit = local; SELECT string_agg(store || ' ' || decision, ', ' ORDER BY store) FROM runops.prepared_transactions}), 'a running, new running', "$how after the local commit record: nothing is decided yet");
	$control->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	if ($how eq 'cancel' || $how eq 'terminate')
	{
		$split->sql("SET synchronous_commit = local; SELECT pg_${how}_backend($pid)");
		$how eq 'cancel' ? like(commit_ends($session), qr/WARNING:  canceling wait for synchronous replication/, 'cancel after the local commit record: a warning') : backend_ends($pid);
		$control->reload;
	}
	elsif ($how eq 'crash')
	{
		crash($pid);
	}
	else
	{
		$control->stop('immediate');
		$control->start;
	}
	eval { $session->quit };
	atomic("$how after the local commit record", 1, $legacy, $new, $a);
}

# the local commit fails after the stores have prepared

{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	errors($session, 'BEGIN; CREATE TEMP TABLE pk (k int PRIMARY KEY) ON COMMIT DELETE ROWS; CREATE TEMP TABLE fk (k int REFERENCES pk)');
	errors($session, "INSERT INTO run VALUES ('$legacy', 'k', 1), ('$new', 'k', 1), ('$a', 'k', 1)");
	like(errors($session, 'COMMIT'), qr/ERROR:  unsupported ON COMMIT and foreign key combination/, 'the local commit fails');
	atomic('the local commit fails', 0, $legacy, $new, $a);
	$session->quit;
}

# cancel and terminate while a store is silent at COMMIT PREPARED

foreach my $how ('cancel', 'terminate')
{
	my ($legacy, $new, $a) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	write_all($session, $legacy, $new, $a);
	$relays[0]->freeze_on('^COMMIT PREPARED');
	send_commit($session);
	$store->poll_query_until('run_ops2', "SELECT count(*) = 1 FROM run WHERE id = '$a'") or die 'the other store has not committed';
	$split->sql("SELECT pg_${how}_backend($pid)");
	if ($how eq 'cancel')
	{
		unlike(commit_ends($session), qr/ERROR/, 'cancel at COMMIT PREPARED: the transaction is committed');
	}
	else
	{
		backend_ends($pid);
	}
	$relays[0]->drop;
	$relays[0]->thaw;
	eval { $session->quit };
	atomic("$how at COMMIT PREPARED", 1, $legacy, $new, $a);
}

# a crash of the store, with transactions that are prepared

foreach my $command ('PREPARE TRANSACTION', 'COMMIT PREPARED')
{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	write_all($session, $legacy, $new, $a);
	$relays[0]->freeze_on("^$command");
	send_commit($session);
	$store->poll_query_until('postgres', 'SELECT count(*) >= 1 FROM pg_prepared_xacts') or die 'nothing is prepared' if $command ne 'COMMIT PREPARED';
	$store->poll_query_until('run_ops2', "SELECT count(*) = 1 FROM run WHERE id = '$a'") or die 'the other store has not committed' if $command eq 'COMMIT PREPARED';
	$store->stop('immediate');
	$relays[0]->drop;
	$relays[0]->thaw;
	like(commit_ends($session), $command eq 'COMMIT PREPARED' ? qr/WARNING:  the transaction is committed, but/ : qr/ERROR:  /, "the store crashes at $command: the session is told");
	$control->poll_query_until('postgres', q{SELECT count(*) > 0 FROM runops.finisher_error}) or die 'the finisher has no error';
	like($split->sql(q{SELECT string_agg(DISTINCT last_error, '') FROM runops.prepared_transactions WHERE gid IS NULL}), qr/could not connect/, "the store crashes at $command: the view shows the error");
	$store->start;
	atomic("the store crashes at $command", $command eq 'COMMIT PREPARED', $legacy, $new, $a);
	ok($control->poll_query_until('postgres', q{SELECT count(*) = 0 FROM runops.finisher_error}), "the store crashes at $command: the error is gone");
	$session->quit;
	# they were connected to the store
	($holder, $holder2) = map { $store->background_psql($_) } @databases;
}

# a dump of this database has no decisions, and a copy does not finish what belongs to the original

{
	my ($legacy, $new, $a) = ids();
	my $gid = $store->safe_psql('run_ops', q{SELECT 'runops_00000000000000aa_5_700_0123456789abcdef_1_10'});

	$store->safe_psql('run_ops', "BEGIN; INSERT INTO run VALUES ('$new', 'k', 1); PREPARE TRANSACTION '$gid'");
	is($split->sql('SELECT runops.finish_prepared()'), '0', 'a transaction of another control plane is left alone');
	is($split->sql('SELECT store, decision FROM runops.prepared_transactions'), 'new|not ours', 'and the view says so');
	$store->safe_psql('run_ops', "ROLLBACK PREPARED '$gid'");
}

# a store is not dropped, and its table not detached, while something is prepared there

{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	$split->sql('DELETE FROM run');
	hold($holder);
	write_all($session, $legacy, $new, $a, new => -1);
	send_commit($session);
	store_waits();
	foreach my $sql (q{SELECT runops.drop_store('a')}, q{SELECT runops.detach('run')})
	{
		my (undef, $stderr) = $split->try($sql);

		like($stderr, qr/ERROR:  RO006: cannot .* while transactions are prepared in store "a"/, "refused: $sql");
	}
	let_go($holder);
	is(commit_ends($session), '', 'the transaction is committed');
	atomic('while something is prepared', 1, $legacy, $new, $a);
	$session->quit;
}

$holder->quit;
$holder2->quit;

# a store that can prepare nothing

{
	my ($legacy, $new, $a) = ids();
	my $session;

	$store->append_conf('postgresql.conf', 'max_prepared_transactions = 0');
	$store->restart;
	$session = session();
	write_all($session, $legacy, $new, $a);
	like(errors($session, 'COMMIT'), qr/ERROR:  prepared transactions are disabled\n(?:.*\n)*HINT:  Raise "max_prepared_transactions" of server "run_ops2?", or set/, 'prepared transactions are disabled');
	atomic('prepared transactions are disabled', 0, $legacy, $new, $a);
	like($split->sql(q{SELECT detail FROM runops.provision('new') WHERE object = 'server run_ops'}), qr/^"max_prepared_transactions" is 0 there/, 'provision says so');
	like($split->sql(q{SELECT severity || ' ' || finding FROM runops.doctor(detail => true) WHERE finding LIKE '%max_prepared_transactions%'}), qr/^error server run_ops has the option "two_phase", but "max_prepared_transactions" is 0 there/m, 'and so does the doctor');
	$session->quit;
}
done_testing();
