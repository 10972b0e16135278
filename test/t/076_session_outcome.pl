#
# 076_session_outcome.pl
#	  What became of a COMMIT whose answer did not come: how it is found out, when
#	  it cannot be, and what is kept of it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use PsqlSession;
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new(
	relay => 1,
	# nothing of a transaction that has not committed reaches the disk by itself
	store_conf => "wal_writer_delay = 10s\nwal_level = replica\nmax_wal_senders = 2\nautovacuum = off\nrestart_after_crash = on\n");
my ($control, $store, $relay) = ($split->control, $split->store, $split->relay);
my $n = 0;

$split->create_server('run_ops2', 'run_ops2');
$split->sql(<<'EOT');
SELECT runops.add_store('a', 'run_ops2');
CREATE TABLE run (id text PRIMARY KEY, n int);
CREATE TABLE note (id text);
SELECT runops.attach('run', 'id');
EOT
$split->sql(qq{SELECT runops.provision('$_')}) foreach ('new', 'a');
$store->safe_psql($_, <<'EOT') foreach ('run_ops', 'run_ops2');
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.n = -1 THEN
		PERFORM pg_advisory_xact_lock_shared(1);
	END IF;
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON run DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
EOT

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
	push @in, 'note' if $split->sql("SELECT count(*) FROM note WHERE id IN ($list)");
	push @in, 'new' if $store->safe_psql('run_ops', "SELECT count(*) FROM run WHERE id IN ($list)");
	push @in, 'a' if $store->safe_psql('run_ops2', "SELECT count(*) FROM run WHERE id IN ($list)");
	return join(' ', @in);
}

# Wait until the backend of a session hangs in COMMIT, as the relay is frozen.
sub hangs
{
	my $pid = shift;

	$control->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' AND query = 'COMMIT;' FROM pg_stat_activity WHERE pid = $pid") or die 'COMMIT does not wait';
	return;
}

# Wait for what a view shows of the transactions that have failed.
sub shows
{
	my ($expected, $what) = @_;
	my $sql = q{SELECT string_agg(server || ' ' || outcome, ', ' ORDER BY server) FROM runops.commit_failures};

	$control->poll_query_until('postgres', $sql, $expected);
	is($split->sql($sql), $expected, $what);
	return;
}

sub forget_all { $split->sql('SELECT runops.forget_commit(id) FROM (SELECT DISTINCT id FROM runops.commit_failures) f'); return; }

# Let numbers of transactions be used up to that one, and tell what became of it there.
sub use_up
{
	my $xid = shift;

	$store->safe_psql('run_ops', 'CREATE TABLE IF NOT EXISTS burnt (n int)');
	$store->safe_psql('run_ops', 'INSERT INTO burnt VALUES (1)') while $store->safe_psql('run_ops', 'SELECT pg_snapshot_xmax(pg_current_snapshot())') <= $xid;
	return $store->safe_psql('run_ops', "SELECT pg_xact_status('$xid')");
}

my $unknown = qr/ERROR:  it is not known whether server "run_ops" has committed\n/;
my $lost = qr/ERROR:  connection to server "run_ops" was lost in COMMIT\nDETAIL:  The server was asked again: it has rolled back the transaction\.\nHINT:  Repeat the transaction/;

# the store crashes before COMMIT arrives, and comes back: the number was never written, or is in the WAL as one that has not committed
{
	my ($legacy, $new) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)");
	$relay->freeze_on('^COMMIT');
	send_commit($session);
	hangs($pid);
	$store->stop('immediate');
	$store->start;
	$relay->thaw;
	like(commit_ends($session), $lost, 'a crash before COMMIT: the store has not committed, whatever its incarnation is');
	is(where_is($legacy, $new), '', 'a crash before COMMIT: nothing is committed');
	is(errors($session, "INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)"), '', 'a crash before COMMIT: the transaction can be repeated');
	is($split->sql('SELECT count(*) FROM runops.commit_failures'), '0', 'nothing is kept of a transaction that is rolled back everywhere');
	$session->quit;
}

# the number is given out again after the crash, and commits
foreach my $option ('', 'token')
{
	my $reused = 0;

	if ($option)
	{
		$split->sql(q{ALTER SERVER run_ops OPTIONS (ADD commit_token 'true'); SELECT runops.provision('new')});
		is($store->safe_psql('run_ops', q{SELECT relrowsecurity FROM pg_class WHERE oid = 'runops_commit.token'::regclass}), 't', 'provision makes the table for tokens');
	}
	for (my $try = 0; $try < 5 && !$reused; $try++)
	{
		my ($legacy, $new) = ids();
		my $session = session();
		my $pid = $session->query_safe('SELECT pg_backend_pid()');

		# only the number itself is lost with the crash
		$store->safe_psql('run_ops', 'CHECKPOINT');
		errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)");
		my $xid = $store->safe_psql('run_ops', q{SELECT backend_xid FROM pg_stat_activity WHERE application_name LIKE 'runops/%' AND backend_xid IS NOT NULL});

		$relay->freeze_on('^COMMIT');
		send_commit($session);
		hangs($pid);
		$store->stop('immediate');
		$store->start;
		$reused = use_up($xid) eq 'committed';
		$relay->thaw;
		my $errors = commit_ends($session);

		is(where_is($legacy, $new), '', "a number that is used again, $option: nothing is committed");
		if ($reused && $option eq '')
		{
			like($errors, $unknown, 'a number that is used again: "committed" is not believed');
			shows('run_ops unknown', 'and it stays unknown');
			$control->poll_query_until('postgres', 'SELECT count(*) = 1 FROM runops.commit_failures WHERE asked_at IS NOT NULL') or die 'it is not asked again';
			like($split->sql('SELECT message FROM runops.commit_failures'), qr/proves nothing/, 'when it is asked again');
			is($split->sql('SELECT runops.resolve_commits()'), '1', 'also by a function');
			like($split->sql(q{SELECT severity || ' ' || finding || ' ' || hint FROM runops.doctor() WHERE object LIKE 'transaction %'}),
				qr/^error is rolled back in this database and perhaps committed in server run_ops The store is asked again.* look for the rows in public\.run\. Then use runops\.forget_commit\(\d+\)\.$/, 'doctor tells of it');
			is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'commits'}), 'unknown', 'and status');
			forget_all();
			is($split->sql('SELECT count(*) FROM runops.commit_failures'), '0', 'until it is forgotten');
		}
		elsif ($reused)
		{
			like($errors, $lost, 'a number that is used again: the missing token says that the store has not committed');
		}
		$session->quit;
	}
	ok($reused, "the number was used again, $option");
}

# the store has committed and is restarted before it can be asked: only the token tells
foreach my $option ('', 'token')
{
	my ($legacy, $new) = ids();
	my $session = session();

	$split->sql(q{ALTER SERVER run_ops OPTIONS (} . ($option ? 'ADD' : 'DROP') . ' commit_token' . ($option ? q{ 'true')} : ')'));
	errors($session, "SET runops.commit_timeout = '60s'; BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)");
	$relay->drop_on('^COMMIT', 'after');
	# new connections hear nothing
	$relay->freeze_on('pg_current_xact_id\(\)');
	send_commit($session);
	$store->poll_query_until('run_ops', "SELECT count(*) = 1 FROM run WHERE id = '$new'") or die 'the store has not committed';
	$store->restart('immediate');
	$relay->thaw;
	my $errors = commit_ends($session);

	if ($option eq '')
	{
		like($errors, $unknown, 'a restart after COMMIT: it is not known');
		is(where_is($legacy, $new), 'new', 'a restart after COMMIT: the half');
		shows('run_ops unknown', 'a restart after COMMIT: it stays unknown');
		forget_all();
	}
	else
	{
		is($errors, '', 'a restart after COMMIT, token: it is known that the store has committed');
		is(where_is($legacy, $new), 'here new', 'a restart after COMMIT, token: everything is committed');
	}
	$session->quit;
}

# tokens: a row for each connection, savepoints, and other roles
{
	my ($session, @new) = (session());

	$store->safe_psql('run_ops', 'DELETE FROM runops_commit.token');
	foreach my $sql ("INSERT INTO run VALUES ('ID', 1)", "BEGIN; SAVEPOINT s; INSERT INTO run VALUES ('ID', 1); ROLLBACK TO s; INSERT INTO run VALUES ('ID', 1); COMMIT",
		"BEGIN; SAVEPOINT s; INSERT INTO run VALUES ('ID', 1); RELEASE s; COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO run VALUES ('ID', 1); COMMIT")
	{
		my $before = $store->safe_psql('run_ops', 'SELECT coalesce(max(token), 0) FROM runops_commit.token');
		my $id = (ids())[1];

		is(errors($session, $sql =~ s/ID/$id/gr), '', "a token: $sql");
		is($store->safe_psql('run_ops', "SELECT count(*), max(token) > $before FROM runops_commit.token"), '1|t', 'it is new, in the row of the connection');
	}
	$store->safe_psql('run_ops', q{INSERT INTO runops_commit.token VALUES (1, 1, current_user, now() - '8 days'::interval); CREATE ROLE other});
	is($store->safe_psql('run_ops', 'SET ROLE other; SELECT count(*) FROM runops_commit.token'), '0', 'another role does not see them');
	$session->quit;
	$session = session();
	is(errors($session, "INSERT INTO run VALUES ('" . (ids())[1] . "', 1)"), '', 'another connection');
	is($store->safe_psql('run_ops', q{SELECT count(*) FROM runops_commit.token WHERE written_at < now() - '7 days'::interval}), '0', 'removes old ones');
	$session->quit;
	$split->sql('ALTER SERVER run_ops OPTIONS (DROP commit_token)');
}

# a process that waits for a standby is not terminated; it commits later, which is found out
{
	my ($legacy, $new) = ids();
	my $session = session();

	errors($session, "SET runops.commit_timeout = '8s'; BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)");
	$store->append_conf('postgresql.conf', q{synchronous_standby_names = 'nobody'});
	$store->reload;
	# the server makes commits wait a little later
	for (my ($tries, $waits) = (0, 0); !$waits; $tries++)
	{
		die 'no commit waits for a standby' if $tries == 100;
		$store->psql('run_ops', 'INSERT INTO burnt VALUES (1)', timeout => 2, timed_out => \$waits);
	}
	like(errors($session, 'COMMIT'), $unknown, 'a COMMIT that waits for a standby: it is not known');
	is($store->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'runops/%'}), '1', 'and it still waits');
	$store->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
	$store->reload;
	shows('run_ops committed', 'it is found out when the standby has been given up');
	is(where_is($legacy, $new), 'new', 'a COMMIT that waits for a standby: the half');
	isnt($split->sql('SELECT known_at FROM runops.commit_failures'), '', 'and since when that is known');
	is($split->sql(q{SELECT state FROM runops.status() WHERE item = 'commits'}), 'committed', 'status shows the half');
	like($split->sql(q{SELECT finding || ' ' || hint FROM runops.doctor() WHERE object LIKE 'transaction %'}),
		qr/^is rolled back in this database and committed in server run_ops Complete or undo what it has written to public\.run\. Then use/, 'and doctor');
	forget_all();
	$session->quit;
}

# the role may not terminate the process, or see what it does
{
	my ($legacy, $new) = ids();
	my $session = session();
	my $holder = $store->background_psql('run_ops');

	$store->safe_psql('run_ops', q{CREATE ROLE app LOGIN PASSWORD 'x'; CREATE ROLE blind; GRANT blind TO app; GRANT SELECT, INSERT ON run TO app, blind});
	$split->sql(q{CREATE ROLE app; GRANT USAGE ON FOREIGN SERVER run_ops TO app; GRANT ALL ON run, note TO app;
		CREATE USER MAPPING FOR app SERVER run_ops OPTIONS (user 'app', password 'x', password_required 'false')});
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	is(errors($session, "SET ROLE app; SET runops.commit_timeout = '8s'; BEGIN; INSERT INTO run VALUES ('$new', -1)"), '', 'a role without rights: writes');
	$store->safe_psql('run_ops', 'ALTER ROLE app IN DATABASE run_ops SET role = blind; ALTER ROLE app NOINHERIT');
	like(errors($session, 'COMMIT'), $unknown, 'a role without rights: it is not known');
	is($store->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event_type = 'Lock'}), '1', 'and the store still commits');
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	shows('run_ops committed', 'it is found out later');
	is($split->sql('SELECT role FROM runops.commit_failures'), 'app', 'by the same role');
	is(where_is($new), 'new', 'a role without rights: the half');
	forget_all();
	$store->safe_psql('run_ops', 'ALTER ROLE app IN DATABASE run_ops RESET role');
	$holder->quit;
	$session->quit;
}

# cancel and terminate while the store is asked come too late
foreach my $how (qw(cancel terminate))
{
	my ($legacy, $new) = ids();
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1)");
	$relay->drop_on('^COMMIT', 'after');
	$relay->round_trip(3000);
	send_commit($session);
	$store->poll_query_until('run_ops', "SELECT count(*) = 1 FROM run WHERE id = '$new'") or die 'the store has not committed';
	is($split->sql("SELECT pg_${how}_backend($pid)"), 't', "$how while the store is asked");
	if ($how eq 'cancel')
	{
		is(commit_ends($session), '', "$how while the store is asked: COMMIT succeeds");
		$session->quit;
	}
	else
	{
		$control->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die 'the backend does not end';
		eval { $session->quit };
	}
	$relay->round_trip(0);
	is(where_is($legacy, $new), 'here new', "$how while the store is asked: everything is committed");
}

# two stores: a known half is kept, and so is one that this database leaves
{
	my ($legacy, $new, $a) = ids();
	my $session = session();

	errors($session, "BEGIN; INSERT INTO run VALUES ('$legacy', 1), ('$new', 1), ('$a', 1)");
	$relay->drop_on('^COMMIT', 'before');
	my ($cut) = errors($session, 'COMMIT') =~ /only a part of the transaction is committed\nDETAIL:  .*rolled back in server "(\w+)"/;

	shows($cut eq 'run_ops' ? 'run_ops rolled back, run_ops2 committed' : 'run_ops committed, run_ops2 rolled back', 'RO008: what each store has done');
	is($split->sql(q{SELECT DISTINCT tables FROM runops.commit_failures}), '{public.run}', 'and the tables');
	forget_all();

	# either store may have kept its row
	(undef, $new) = ids();
	errors($session, "BEGIN; CREATE TEMP TABLE pk (k int PRIMARY KEY) ON COMMIT DELETE ROWS; CREATE TEMP TABLE fk (k int REFERENCES pk); INSERT INTO run VALUES ('$new', 2)");
	like(errors($session, 'COMMIT'), qr/unsupported ON COMMIT/, 'this database fails after the store has committed');
	shows('run_ops committed', 'which is kept too');

	# it survives a clean restart, and a crash once it is in the table
	$control->poll_query_until('postgres', 'SELECT count(*) = 1 FROM runops.commit_failure') or die 'no worker has come';
	eval { $session->quit };
	$control->stop('immediate');
	$control->start;
	shows('run_ops committed', 'a crash of this server does not lose it');
	my ($out, $err) = $split->try('SELECT runops.forget_commit(1)');

	like($err, qr/ERROR:  42704: there is no failed commit 1/, 'forget_commit of another number');
	$split->sql(q{UPDATE runops.commit_failure SET known_at = now() - '8 days'::interval; SELECT runops.resolve_commits()});
	is($split->sql('SELECT count(*) FROM runops.commit_failures'), '1', 'a half stays, however old it is');
	$split->sql(q{UPDATE runops.commit_failure SET outcome = 'rolled back'; SELECT runops.resolve_commits()});
	is($split->sql('SELECT count(*) FROM runops.commit_failures'), '0', 'but not what is known to be rolled back everywhere');
	$split->sql(q{INSERT INTO runops.commit_failure (id, server, role, failed_at, outcome, tables, pid, run) VALUES (1, 'gone', 'postgres', now(), 'unknown', '{}', 1, '')});
	is($split->sql('SELECT runops.resolve_commits()'), '1', 'the server is gone: it stays unknown');
	like($split->sql('SELECT message FROM runops.commit_failures'), qr/^There is no user mapping for server "gone" and role "postgres" any more\.$/, 'and why');
	forget_all();
}

done_testing();
