#
# 040_cases_transactions.pl
#	  Locks, cursors, savepoints, roles and broken connections in sessions that
#	  use stores.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use CaseTable;

use Test::More;

my $rig = CaseTable->new;
my $node = $rig->node;
my %id = %CaseTable::id;

# Begin a session, in the control plane or in the database of a store.
sub session
{
	return $node->background_psql(shift // 'postgres', on_error_stop => 0);
}

# Run a statement that fails in a session; the error.
sub error
{
	my ($session, $sql) = @_;

	$session->query($sql);
	my $error = $session->{stderr};
	$session->{stderr} = '';
	return $error;
}

# Close the connections of a store.
sub cut
{
	my $database = shift;

	return $node->safe_psql('postgres', "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = '$database'");
}

# one session

my $backward = q{BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM run ORDER BY id COLLATE "C"; FETCH 2 FROM c; COMMIT;
	FETCH BACKWARD 1 FROM c; FETCH ALL FROM c; MOVE ABSOLUTE 0 FROM c; FETCH ALL FROM c; CLOSE c;};

$rig->check(
	{
		why => 'a held cursor goes back and forth over all stores',
		sql => $backward,
		want => "{N}\n{A}\n{N}\n{A}\n{L}\n{N}\n{A}\n{L}"
	},
	{
		why => 'a scrolling one within its transaction too, and again after the stores were read otherwise',
		sql => q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT n FROM run ORDER BY n; FETCH 2 FROM c; SELECT count(*) FROM run WHERE id = '{N}';
			FETCH ALL FROM c; FETCH BACKWARD ALL FROM c; FETCH ALL FROM c; COMMIT;},
		want => "1\n2\n1\n3\n3\n2\n1\n1\n2\n3"
	},
	{
		why => 'WHERE CURRENT OF is refused, of rows of any store',
		sql => q{BEGIN; DECLARE c CURSOR FOR SELECT id FROM run WHERE id = '{L}' FOR UPDATE; FETCH 1 FROM c; UPDATE run SET n = 5 WHERE CURRENT OF c; ROLLBACK;
			BEGIN; DECLARE c CURSOR FOR SELECT id FROM run WHERE id = '{N}' FOR UPDATE; FETCH 1 FROM c; DELETE FROM run WHERE CURRENT OF c; ROLLBACK;},
		want => "{L}\n0A000\n{N}\n0A000"
	},
	{
		why => 'a savepoint undoes what was written in a store',
		sql => q{BEGIN; SAVEPOINT s; INSERT INTO run (id) VALUES ('0123456789abcdefghijklmsp1'); ROLLBACK TO s;
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmsp1'); COMMIT;
			SELECT count(*) FROM run WHERE id = '0123456789abcdefghijklmsp1';
			DO $$ BEGIN FOR i IN 1..5 LOOP BEGIN INSERT INTO run (id) VALUES ('{N}'); EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$;
			BEGIN; UPDATE run SET n = 20 WHERE id = '{N}'; SAVEPOINT s; UPDATE run SET n = 30 WHERE id IN ('{N}', '{L}'); ROLLBACK TO s; RELEASE s; COMMIT;
			SELECT n FROM run WHERE env = 'e' ORDER BY n;
			SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%';},
		want => "1\n1\n3\n20\n0"
	},
	{
		why => 'a transaction that writes to legacy alone can be prepared',
		sql => q{BEGIN; SELECT count(*) FROM run WHERE id = '{L}'; UPDATE run SET n = 4 WHERE id = '{L}'; PREPARE TRANSACTION 'legacy'; COMMIT PREPARED 'legacy';
			BEGIN; SELECT count(*) FROM run WHERE id = '{N}'; PREPARE TRANSACTION 'new'; COMMIT PREPARED 'new';
			BEGIN; UPDATE run SET n = n WHERE id = '{N}'; PREPARE TRANSACTION 'new';
			SELECT count(*) FROM pg_prepared_xacts;},
		want => "1\n1\n0A000\n0",
		# without the hooks every statement visits every store
		off => "1\n0A000\n42704\n1\n0A000\n0"
	},
	{
		why => 'a row lock within a sub-select is taken',
		sql => q{BEGIN; SELECT * FROM (SELECT id FROM run FOR UPDATE) s WHERE id = '{L}';
			SELECT count(*) > 0 FROM pg_locks WHERE relation = 'runops_legacy.run'::regclass AND mode = 'RowShareLock'; COMMIT;
			BEGIN; SELECT * FROM (SELECT id FROM run WHERE id = '{N}' FOR UPDATE) s; COMMIT;},
		want => "{L}\nt\n{N}"
	},
	{
		why => 'rows of both sides written in one transaction are read in it',
		sql => q{BEGIN; INSERT INTO run (id) VALUES ('clegfk0000000000000000001');
			INSERT INTO run (id, parent_id) SELECT '0123456789abcdefghijklmfk1', id FROM run WHERE id = 'clegfk0000000000000000001';
			SELECT count(*) FROM run; COMMIT;
			SELECT count(*) FROM run WHERE parent_id = 'clegfk0000000000000000001';},
		want => "5\n1"
	},
	{
		why => 'an error in the middle of a scan leaves the session usable',
		sql => q{SELECT id, 1 / (n - 2) FROM run WHERE n IS NOT NULL ORDER BY n;
			SELECT count(*) FROM run;
			BEGIN; DECLARE c CURSOR FOR SELECT 1 / (n - 3) FROM run; FETCH ALL FROM c; ROLLBACK;
			SELECT count(*) FROM run;},
		want => "22012\n3\n22012\n3"
	},
	{
		why => 'a statement inside a function reads what its transaction wrote',
		sql => q{CREATE FUNCTION pg_temp.f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO run (id) VALUES ('0123456789abcdefghijklmfn1'); RETURN (SELECT count(*) FROM run); END $$;
			SELECT pg_temp.f();},
		want => '4'
	});

# Row locks reach the store.
like(
	$rig->sql(q{EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM (SELECT id FROM run FOR UPDATE) s WHERE id = '{N}'}),
	qr/Remote SQL: .* FOR UPDATE$/m,
	'a locking clause in a sub-select is sent');

# two sessions: a row that the store's own session has locked

my $holder = session('st_new');

$holder->query_safe("BEGIN; SELECT 1 FROM run WHERE id = '$id{N}' FOR UPDATE");
$rig->check(
	{
		why => 'SKIP LOCKED and NOWAIT do what they say in a store',
		sql => q{SET statement_timeout = '100s';
			SELECT id FROM run WHERE env = 'e' ORDER BY n FOR UPDATE SKIP LOCKED;
			SELECT id FROM run WHERE id = '{N}' FOR UPDATE NOWAIT;
			SELECT id FROM run WHERE id = '{N}' FOR SHARE SKIP LOCKED;},
		want => "{L}\n{A}\n55P03"
	});
$holder->query_safe('COMMIT; BEGIN; LOCK TABLE run IN ACCESS EXCLUSIVE MODE');
$rig->check(
	{
		why => 'a statement that waits for a store can be timed out, others go on',
		sql => q{SET statement_timeout = '500ms'; SELECT count(*) FROM run;
			SET statement_timeout = '5s'; SELECT n FROM run WHERE id = '{L}'; SELECT n FROM run WHERE id = '{A}'; SET statement_timeout = '500ms';
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmto1'); SELECT count(*) FROM runops.verify('run') WHERE finding <> 'unreachable';},
		want => "57014\n1\n3\n57014\n57014",
		off => "57014\n57014\n57014\n57014\n57014",
		keep => 1
	});
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'st_new' AND wait_event_type = 'Lock'})
  or die 'a query of the store was not cancelled';
$holder->query_safe('COMMIT');
$holder->quit;

# a row changed by somebody else since the transaction's first look at the store

foreach my $which (qw(N L))
{
	my $session = session();

	$session->query_safe("BEGIN; SELECT n FROM run WHERE id = '$id{$which}'");
	$rig->sql("UPDATE run SET n = n + 1 WHERE id = '{$which}'");
	is(error($session, "UPDATE run SET n = n + 10 WHERE id = '$id{$which}'; COMMIT"), '', "an UPDATE after somebody else's, id $which");
	$session->quit;
}
$rig->seed;

# roles: a second connection would not see what the first has written

$rig->sql(
	q{CREATE ROLE other SUPERUSER;
	CREATE USER MAPPING FOR other SERVER sv_new;
	CREATE USER MAPPING FOR other SERVER sv_a;
	CREATE FUNCTION seen(k text) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM run WHERE id = k';
	ALTER FUNCTION seen OWNER TO other;
	CREATE VIEW other_run AS SELECT * FROM run;
	ALTER VIEW other_run OWNER TO other});
my $write = q{BEGIN; INSERT INTO run (id) VALUES ('0123456789abcdefghijklmro1');};

$rig->check(
	{
		why => 'rows written as one role are not silently missed as another',
		sql => qq{$write SET LOCAL ROLE other; SELECT count(*) FROM run WHERE id = '0123456789abcdefghijklmro1'; ROLLBACK;
			$write SELECT seen('0123456789abcdefghijklmro1'); ROLLBACK;
			$write SELECT count(*) FROM other_run WHERE id = '0123456789abcdefghijklmro1'; ROLLBACK;
			$write UPDATE other_run SET n = 1 WHERE id = '{N}'; ROLLBACK;
			$write INSERT INTO other_run (id) VALUES ('0123456789abcdefghijklmrp1'); ROLLBACK;
			BEGIN; DELETE FROM run WHERE id = '{N}'; SELECT count(*) FROM other_run WHERE id = '{N}'; ROLLBACK;
			BEGIN; UPDATE run SET n = n + 1 WHERE env = 'e'; SELECT sum(n) FROM other_run; ROLLBACK;},
		want => "0A000\n0A000\n0A000\n0A000\n0A000\n0A000\n0A000"
	},
	{
		why => 'what was only read, or written elsewhere, can be read as another role',
		sql => qq{BEGIN; SELECT n FROM run WHERE id = '{N}'; SET LOCAL ROLE other; SELECT n FROM run WHERE id = '{N}'; COMMIT;
			$write SELECT n FROM other_run WHERE id = '{L}'; SELECT n FROM other_run WHERE id = '{A}'; COMMIT;
			SELECT seen('0123456789abcdefghijklmro1');
			BEGIN; SAVEPOINT s; INSERT INTO run (id) VALUES ('0123456789abcdefghijklmrq1'); ROLLBACK TO s; SELECT n FROM other_run WHERE id = '{A}'; COMMIT;},
		want => "2\n2\n1\n3\n1\n3",
		# without the hooks every statement visits every store
		off => "2\n2\n0A000\n25P02\n0\n3"
	},
	{
		why => 'rows locked as one role are not waited for as another',
		sql => q{BEGIN; SELECT n FROM run WHERE id = '{N}' FOR UPDATE; UPDATE other_run SET n = 1 WHERE id = '{N}'; ROLLBACK;},
		want => "2\n0A000"
	});
$rig->sql(
	q{DROP USER MAPPING FOR other SERVER sv_new; DROP USER MAPPING FOR CURRENT_USER SERVER sv_new;
	CREATE USER MAPPING FOR PUBLIC SERVER sv_new});
$rig->check(
	{
		why => 'roles that share a mapping share the transaction in the store',
		sql => qq{$write SELECT seen('0123456789abcdefghijklmro1'); SELECT count(*) FROM other_run WHERE id = '0123456789abcdefghijklmro1'; ROLLBACK;},
		want => "1\n1"
	});
$rig->sql(
	q{DROP USER MAPPING FOR PUBLIC SERVER sv_new; CREATE USER MAPPING FOR CURRENT_USER SERVER sv_new;
	DROP VIEW other_run; DROP FUNCTION seen});

# connections that broke, and options that changed

my $session = session();

is($session->query_safe('SELECT count(*) FROM run'), '3', 'a session with a connection to each store');
like(error($session, 'SELECT 1 / (n - 2) FROM run'), qr/division by zero/, 'an error while a store sends rows');
cut($_) foreach ('st_new', 'st_a');
is($session->query_safe('SELECT count(*) FROM run'), '3', 'connections that broke meanwhile are made again');
$session->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM run WHERE id = '$id{N}'");
cut('st_new');
like(error($session, "SELECT n FROM run WHERE id = '$id{N}'"), qr/connection/, 'one that breaks within a transaction is an error');
$session->query('ROLLBACK');
is($session->query_safe("SELECT n FROM run WHERE id = '$id{N}'"), '2', 'but not in the next one');
$rig->sql(q{ALTER SERVER sv_new OPTIONS (SET dbname 'nowhere')});
like(error($session, "SELECT n FROM run WHERE id = '$id{N}'"), qr/database "nowhere" does not exist/, 'changed options of a server are used at once');
is($session->query_safe("SELECT n FROM run WHERE id = '$id{L}'"), '1', 'and matter to no other store');
$rig->sql(q{ALTER SERVER sv_new OPTIONS (SET dbname 'st_new')});
is($session->query_safe("SELECT n FROM run WHERE id = '$id{N}'"), '2', 'back again');
$session->quit;

# a store that is down

$node->safe_psql('postgres', 'ALTER DATABASE st_a ALLOW_CONNECTIONS false');
cut('st_a');
$rig->check(
	{
		why => 'what does not need the store that is down goes on',
		sql => q{SELECT n FROM run WHERE id = '{L}'; SELECT n FROM run WHERE id = '{N}';
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmok1'), ('clegok0000000000000000001');
			PREPARE q(text) AS SELECT n FROM run WHERE id = $1; EXECUTE q('{N}');
			SET plan_cache_mode = force_generic_plan; EXECUTE q('{N}'); EXECUTE q('{L}');
			SELECT n FROM run WHERE id = ANY (ARRAY['{L}', '{N}']) ORDER BY n;
			UPDATE run SET n = 7 WHERE id = '{N}' RETURNING n; DELETE FROM run WHERE id = '0123456789abcdefghijklmok1' RETURNING 1;
			SELECT r.n FROM (VALUES ('{N}'), ('{L}')) v(k) JOIN run r ON r.id = v.k ORDER BY 1;
			SELECT n FROM run WHERE id = (SELECT '{N}' OFFSET 0);
			DELETE FROM run WHERE id = 'clegok0000000000000000001'; UPDATE run SET n = 2 WHERE id = '{N}';},
		want => "1\n2\n2\n2\n1\n1\n2\n7\n1\n1\n7\n7",
		# without the hooks every statement but an INSERT visits every store
		off => join("\n", ('08001') x 12),
		keep => 1
	},
	{
		why => 'what does is an error and not the other rows',
		sql => q{SELECT count(*) FROM run; SELECT n FROM run WHERE id = '{A}'; SELECT id FROM run WHERE env = 'e' LIMIT 3;},
		want => "08001\n08001\n08001"
	});
is($rig->reached(sub { $rig->sql("EXPLAIN $_") foreach ('SELECT * FROM run', q{UPDATE run SET n = 1}, q{DELETE FROM run WHERE id = '{A}'}) }),
	'', 'EXPLAIN connects to no store');
$node->safe_psql('postgres', 'ALTER DATABASE st_a ALLOW_CONNECTIONS true');

# legacy needs neither the mapping nor the password that a store asks for

$rig->sql(
	q{CREATE ROLE app LOGIN; GRANT ALL ON run TO app;
	CREATE ROLE nomapping LOGIN; GRANT ALL ON run TO nomapping;
	CREATE USER MAPPING FOR app SERVER sv_new OPTIONS (user 'postgres')});
$rig->check(
	{
		why => 'a role without a mapping, or with one that lacks its password, has its legacy rows',
		sql => q{SET ROLE nomapping; SELECT n FROM run WHERE id = '{L}'; SELECT n FROM run WHERE id = '{N}';
			UPDATE run SET n = 1 WHERE id = '{L}' RETURNING n; INSERT INTO run (id) VALUES ('{M}') RETURNING id;
			SELECT n FROM run WHERE id IN ('{L}', '{M}') ORDER BY n; SELECT count(*) FROM run;
			SET ROLE app; SELECT n FROM run WHERE id = '{L}'; SELECT n FROM run WHERE id = '{N}';},
		want => "1\n42704\n1\n{M}\n1\n\n42704\n1\n2F003",
		off => "42704\n42704\n42704\n{M}\n42704\n42704\n42704\n42704"
	});

$node->stop;
done_testing();
