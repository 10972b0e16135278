#
# 071_remote_fake_store.pl
#	  A store that lies or breaks: each kind of wrong answer to each statement that
#	  the extension sends of its own is an error with a SQLSTATE, or a finding; the
#	  session goes on, a cancel ends every wait, and no process is killed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use FakeStore;
use PgWire;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# what takes longer hangs
my $patience = $PostgreSQL::Test::Utils::timeout_default;

my $control = PostgreSQL::Test::Cluster->new('control');
my $fake = FakeStore->start;
my $other = FakeStore->start(dbname => 'other', sysid => undef);
my $reader = FakeStore->start(recovery => 1);
my $new_id = '0123456789abcdefghijklmna1';
my $legacy_id = 'clegacy000000000000000001';

my $standby;

END { local $?; $_->stop foreach grep { defined } $fake, $other, $reader, $standby; }

$control->init;
$control->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.database = ''
# the fake store knows the statements for a leaf
runops.enable_shipping = off
EOT
$control->start;

my ($session, $canceler);

# A session, and another one where it was lost.
sub session
{
	return $session if $session && !$session->dead;
	$session = PgWire->new(host => $control->host, port => $control->port, user => scalar getpwuid($>), dbname => 'postgres');
	$session->do('SET client_min_messages = error');
	$session->{pid} = $session->do('SELECT pg_backend_pid()')->[0][0];
	return $session;
}

# Run SQL; the SQLSTATE or 'ok', and what it said.
#
# Where a store is given, a statement that it does not end is canceled, once the store has been asked what the expression
# matches.  Nothing else would end it.
sub run
{
	my ($sql, $store, $on) = @_;
	my (@results, $canceled);

	local $SIG{ALRM} = sub { die "no answer\n" };
	alarm $patience;
	eval {
		session->send($sql);
		while ($store && !$canceled && !session->has_answer(0.1))
		{
			next unless grep { /$on/s } $store->statements;
			last if session->has_answer(0.2);
			$canceler //= PgWire->new(host => $control->host, port => $control->port, user => scalar getpwuid($>), dbname => 'postgres');
			$canceler->do('SELECT pg_cancel_backend(' . session->{pid} . ')');
			$canceled = 1;
		}
		@results = session->receive;
	};
	alarm 0;
	if ($@)
	{
		$session = undef;
		return ('hang', $@);
	}
	my ($error) = map { $_->{error} } grep { $_->{error} } @results;

	return ($error->{C}, join('|', map { $_ // '' } @{$error}{qw(M D H)})) if $error;
	return ('ok', join("\n", map { join('|', map { $_ // '' } @$_) } @{ $results[-1]{rows} // [] }));
}

# Has a store got such a statement?  What nobody waits for may still be on its way.
sub was_asked
{
	my ($store, $on) = @_;

	for (my $end = time + $patience; time < $end; sleep(0.05))
	{
		return 1 if grep { /$on/s } $store->statements;
	}
	return 0;
}

sub do_sql { return session->do($_[0]); }

# A server for a fake store.
sub server
{
	my ($name, $to) = @_;

	return sprintf(q{CREATE SERVER %1$s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%2$s', port '%3$s', dbname '%4$s', connect_timeout '3600', sslmode 'prefer');
		CREATE USER MAPPING FOR CURRENT_USER SERVER %1$s OPTIONS (user 'nobody')}, $name, $to->host, $to->port, $to->dbname);
}

$control->safe_psql('postgres', $_) foreach ('CREATE EXTENSION runops CASCADE', server('fake', $fake), server('other', $other),
	server('reader', $reader), q{SELECT runops.add_store('new', 'fake', reader => 'reader')}, q{SELECT runops.add_store('a', 'other')},
	'CREATE TABLE run (id text PRIMARY KEY, n int, parent_id text); CREATE INDEX ON run (parent_id); CREATE TABLE parent (id text PRIMARY KEY)',
	q{SELECT runops.attach('run', 'id')}, "INSERT INTO run VALUES ('$legacy_id', 1)");
my $facts = $control->safe_psql('postgres', <<'EOT');
DO $$
DECLARE r jsonb;
BEGIN
	EXECUTE format('SELECT jsonb_build_object(''facts'', jsonb_build_object(''database'', (%s), ''tables'', jsonb_build_object(), ''types'', jsonb_build_object(),
		''collations'', jsonb_build_object(), ''version'', 150000, ''schemas'', ''["public"]''::jsonb, ''extensions'', ''[]''::jsonb, ''functions'', ''[]''::jsonb,
		''privileges'', ''[]''::jsonb))', runops._database_facts_sql()) INTO r;
	CREATE TABLE facts AS SELECT r::text;
END $$;
TABLE facts;
EOT
$fake->answer_with("'privileges'", $facts);
my $state_json = '{"state": {"recovery": false, "read_only": false, "port": "1", "pooled": false, "role": "nobody", "settings": {},
	"connections": 1000, "triggers": {}, "rules": [], "unlogged": [], "unanalyzed": []}}';

$fake->answer_with('AS state', $state_json);
$_->answer_with('indexed', '{"indexed": true}') foreach $fake, $other;
$fake->answer_with('AS one', '{"one": 1}');

# a standby of this database, which serves reads of legacy
$standby = FakeStore->start(recovery => 1, dbname => 'postgres', sysid => $control->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'));
$control->safe_psql('postgres', $_) foreach (server('standby', $standby), q{SELECT runops.add_store('legacy', NULL, reader => 'standby')});
$standby->answer_with('runops_legacy', qq({"id": "$legacy_id", "n": 7, "parent_id": null}));
is((run("SELECT source FROM runops.read_through('run', '$legacy_id')"))[1], 'legacy-replica', 'the reader of legacy serves a read');
is((run(q{SELECT verdict FROM runops.recheck('new')}))[1], "distinct\ndistinct", 'a fake store that behaves is a store');
is((run(q{SELECT runops.remote_query('new', 'SELECT 1 AS one')}))[1], '{"one": 1}', 'and answers');
is((run(q{SELECT count(*) FROM run}))[1], '1', 'its table is empty');
is((run(q{SELECT count(*) > 0 FROM runops.provision('new')}))[1], 't', 'provision works there');

my $update = "UPDATE run SET n = 1 WHERE id = '$new_id'";
my $query = q{SELECT runops.remote_query('new', 'SELECT 1 AS one')};
my $read = "SELECT source FROM runops.read_through('run', '$legacy_id')";
my $recheck_other = q{SELECT verdict, reason FROM runops.recheck('a')};

# What the extension asks of its own: the statement, what of it is answered in another way, and by which store.
#   all      in every mode, not only in the usual ones
#   finding  the answer may be a finding and not an error
#   fine     modes in which the answer is good enough
#   lax      the SQL is a user's, so any answer of PostgreSQL will do
#   reset    the answer is about the gate, or of postgres_fdw's connection: begin anew for each mode
my @asks = (
	{ name => 'the identity, by recheck', sql => q{SELECT verdict, reason FROM runops.recheck('new')}, on => 'pg_is_in_recovery', finding => 1, all => 1, reset => 1 },
	{ name => 'the identity, before a statement', sql => $update, on => 'pg_is_in_recovery', client => 'runops/', reset => 1 },
	{ name => 'the identity of a reader', sql => "SELECT n FROM run WHERE id = '$new_id'", on => 'pg_is_in_recovery', store => $reader, client => 'runops/', reset => 1 },
	{ name => 'the lock, of two stores that tell no identifier', sql => $recheck_other, on => '^SELECT pg_catalog.pg_try_advisory_xact_lock', store => $other, finding => 1, reset => 1 },
	{ name => 'the transaction of that lock', sql => $recheck_other, on => '^BEGIN$', store => $other, finding => 1, reset => 1 },
	{ name => 'the end of that transaction', sql => $recheck_other, on => '^ROLLBACK$', store => $other, finding => 1, reset => 1 },
	{ name => 'the identity of the other store', sql => $recheck_other, on => 'pg_is_in_recovery', finding => 1, reset => 1 },
	{ name => 'the identity of the reader of legacy', sql => $read, on => 'pg_is_in_recovery', store => $standby, reset => 1 },
	{ name => 'a row of the reader of legacy', sql => $read, on => '^SELECT pg_catalog\.to_jsonb', store => $standby, fine => ['manyrows'] },
	{ name => 'the settings', sql => $query, on => '^BEGIN;SET' },
	{ name => 'a query', sql => $query, on => '^SELECT pg_catalog\.to_jsonb', all => 1, fine => [qw(manyrows hugenumber)] },
	{ name => 'the end of a query', sql => $query, on => '^COMMIT' },
	{ name => 'a setting that may fail', sql => q{SELECT runops.remote_exec('new', 'VACUUM')}, on => '^SET client_connection', ignored => 1, fine => ['norowset'] },
	{ name => 'the settings of a command', sql => q{SELECT runops.remote_exec('new', 'VACUUM')}, on => '^SET search_path', fine => ['norowset'] },
	{ name => 'a command', sql => q{SELECT runops.remote_exec('new', 'VACUUM')}, on => '^VACUUM', all => 1, lax => 1 },
	{ name => 'a command of a transaction', sql => q{SELECT runops.remote_transaction('new', '{CREATE TABLE x ()}')}, on => '^CREATE TABLE x', lax => 1 },
	{ name => 'the end of a transaction', sql => q{SELECT runops.remote_transaction('new', '{CREATE TABLE x ()}')}, on => '^COMMIT' },
	{ name => 'provision: what is there', sql => q{SELECT * FROM runops.provision('new')}, on => "'privileges'" },
	{ name => 'provision: a command', sql => q{SELECT * FROM runops.provision('new')}, on => '^CREATE TABLE', lax => 1 },
	{ name => 'verify', sql => q{SELECT * FROM runops.verify()}, on => "'privileges'", finding => 1 },
	{ name => 'verify: rows', sql => q{SELECT * FROM runops.verify()}, on => 'AS key', finding => 1 },
	{ name => 'doctor', sql => q{SELECT * FROM runops.doctor()}, on => 'AS state', finding => 1 },
	{ name => 'a cascade: the index', sql => q{BEGIN; SELECT runops.add_cascade('parent', 'run', 'parent_id'); ROLLBACK}, on => 'indexed', fine => ['manyrows'] });

# The modes that each ask is tried with.
my @usual = qw(badencoding copyin copyout endless_results endless_rows garbage hugevalue manycolumns manyrows nocolumns nofields nomessage noresult
	norows norowset nulls silent truncated);

my %usual = map { $_ => 1 } @usual;

# Those that only the answers to users' statements are checked for.
my %of_statements = map { $_ => 1 } qw(aborted earlyready hugecount idle intransaction manycount negativecount nocount othertag rollbacktag);

# Modes in which there is a good answer after all, and those that may be the answer to SQL of a user.
my %harmless = map { $_ => 1 } qw(badready earlyready manyready twice norows unknowntype);
my %answers = map { $_ => 1 } qw(nocolumns fewcolumns manycolumns manyrows nulls empty_values garbage hugenumber hugevalue badencoding
	norowset emptytag emptyquery endless_rows);
my %errors = map { $_ => 1 } grep { /state|message|fields|fatal/ } FakeStore->modes;

# Let the connections be as at first, and the gate.
sub begin_anew
{
	my ($what) = @_;

	$session = undef if $what;
	do_sql('ROLLBACK');
	do_sql('SELECT runops.recheck()') if $what && $what eq 'gate';
	return;
}

# What has to hold after any answer.
sub goes_on
{
	my ($result) = @_;

	is((run("ROLLBACK; SELECT n FROM run WHERE id = '$legacy_id'"))[0], 'ok', "$result: the session goes on");
	return;
}

# Run one ask in one mode.
sub ask
{
	my ($ask, $mode) = @_;
	my $hangs = FakeStore->hangs($mode);
	my $store = $ask->{store} // $fake;

	begin_anew($ask->{reset} && 'gate');
	$store->misbehave($mode, on => $ask->{on}, client => $ask->{client});

	my $result = "$ask->{name}, $mode";
	my ($state, $said) = run($ask->{sql}, $hangs ? $store : undef, $ask->{on});
	my $asked = grep { /$ask->{on}/s } $store->statements;

	$store->behave;
	goes_on($result);
	ok($asked, "$result: was asked");
	if ($hangs)
	{
		like($state, $ask->{finding} ? qr{^(?:57014|ok)$} : qr{^(?:57014|08006|08P01|0A000)$}, "$result: ends") or diag($said);
	}
	else
	{
		unlike($state, qr/^(?:XX000|57014|57P02|hang)$/, "$result: no internal error and no hang") or diag("$state $said");
		isnt($state, 'ok', "$result: is an error") or diag($said)
		  unless $ask->{finding} || $harmless{$mode} || ($ask->{lax} && $answers{$mode}) || ($ask->{ignored} && $errors{$mode}) || grep { $_ eq $mode } @{ $ask->{fine} // [] };
		isnt($said =~ s/\|.*//sr, '', "$result: has a message") unless $state eq 'ok';
	}
	diag(sprintf("%-40s %-22s %s %s", $ask->{name}, $mode, $state, substr($said =~ s/\n/ /gr, 0, 150))) if $ENV{FAKE_SHOW};
	return;
}

my $log_start = -s $control->logfile;

foreach my $ask (@asks)
{
	foreach my $mode ($ask->{all} || $ENV{FAKE_ALL} ? grep { !$of_statements{$_} } FakeStore->modes : @usual)
	{
		next if $ENV{FAKE_ONLY} && "$ask->{name}, $mode" !~ /$ENV{FAKE_ONLY}/;
		ask($ask, $mode);
	}
}

# What is said exactly.
foreach my $case (
	[ 'nomessage', '22012', qr/^server "fake" reported an error without a message\|/ ],
	[ 'nostate', '08P01', qr/^no state\|/ ],
	[ 'shortstate', '08P01', qr/^short state\|/ ],
	[ 'goodstate', '08P01', qr/^a state that is no error\|/ ],
	[ 'badmessage', '22012', qr/^bad \?\(\?\? %s%n\|\?\(\?\?\|\?\(\?\?$/ ],
	[ 'longmessage', '22012', qr/^x{8192}\|/ ],
	[ 'nocolumns', '08P01', qr/^server "fake" does not answer like PostgreSQL\|It gave rows of 0 columns, and 1 were asked for\.\|Check which program/ ],
	[ 'copyout', '08P01', qr/\|It wants to transfer data by COPY\.\|/ ],
	[ 'nulls', '08P01', qr/\|The value in column 1 is null\.\|/ ],
	[ 'badencoding', '22021', qr/^server "fake" sent an invalid byte sequence for encoding "UTF8"\|/ ],
	[ 'garbage', '22P02', qr/^invalid input syntax for type json/ ],
	[ 'norowset', '08P01', qr/\|It gave no rows for a query\.\|/ ])
{
	my ($mode, $want, $message) = @$case;

	begin_anew;
	$fake->misbehave($mode, on => '^SELECT pg_catalog\.to_jsonb');
	my ($state, $said) = run($query);
	$fake->behave;
	is($state, $want, "$mode: SQLSTATE");
	like($said, $message, "$mode: message");
}

# Answers that are JSON, but not what was asked for.
my @odd = ('{"facts": null}', '{"facts": 1}', '{"facts": []}', '{"facts": {}}', '{"other": {}}', '{}',
	'{"facts": {"version": "x", "tables": [1, 2], "types": 5, "schemas": {"a": 1}, "functions": "x", "privileges": 7, "extensions": 3, "collations": [], "database": 1}}',
	'[]', '1', 'null', '"facts"', '{"state": null}', '{"state": 3}', '{"state": {"settings": [1], "rules": 3, "unanalyzed": {}, "triggers": 1, "connections": "x"}}',
	'{"indexed": 7}', '{"indexed": null}');

foreach my $json ($ENV{FAKE_ONLY} ? () : @odd)
{
	foreach my $case ([ 'provision', q{SELECT * FROM runops.provision('new')}, "'privileges'", qr/facts|^[^s]*$/ ],
		[ 'verify', 'SELECT * FROM runops.verify()', "'privileges'", qr/facts/ ],
		[ 'doctor', 'SELECT * FROM runops.doctor()', 'AS state', qr/state|^[^f]*$/ ],
		[ 'a cascade', q{BEGIN; SELECT runops.add_cascade('parent', 'run', 'parent_id'); ROLLBACK}, 'indexed', qr/indexed|^..?$/ ])
	{
		my ($name, $sql, $on, $fits) = @$case;

		next unless $json =~ $fits;
		begin_anew;
		$fake->answer_with($on, $json);
		my ($state, $said) = run($sql);
		$fake->answer_with($on, { "'privileges'" => $facts, 'AS state' => $state_json, indexed => '{"indexed": true}' }->{$on});
		goes_on("$name, $json");
		unlike($state, qr/^(?:XX|57014|57P02|hang)/, "$name, $json: no internal error") or diag($said);
		$state eq 'ok' ? like($said, qr/does not answer like PostgreSQL|It gave no object|Member/, "$name, $json: is a finding") :
		  pass("$name, $json: is an error");
		diag("$name, $json: $state $said") if $ENV{FAKE_SHOW};
	}
}

# Before there is a session.
do_sql("ALTER SERVER fake OPTIONS (SET connect_timeout '2')");
foreach my $mode ($ENV{FAKE_ONLY} ? () : FakeStore->startup_modes)
{
	foreach my $case ([ 'recheck', q{SELECT verdict, reason FROM runops.recheck('new')} ], [ 'a statement', $update ], [ 'a query', $query ])
	{
		my ($name, $sql) = @$case;

		# until connect_timeout
		next if $mode =~ /silent|only|endless|longauth|ssl_yes/ && $name ne 'a statement' && !$ENV{FAKE_ALL};
		begin_anew('gate');
		$fake->misbehave($mode);
		my ($state, $said) = run($sql);
		$fake->behave;
		goes_on("$name, $mode");
		$name eq 'recheck' ? like($said, qr/^unknown\|\S/, "$name, $mode: a verdict") :
		  like($state, qr/^08/, "$name, $mode: SQLSTATE") || diag($said);
		diag("$name, $mode: $state $said") if $ENV{FAKE_SHOW};
	}
}
foreach my $mode ($ENV{FAKE_ONLY} ? () : FakeStore->greetings)
{
	begin_anew('gate');
	$fake->misbehave($mode);
	is((run(q{SELECT verdict FROM runops.recheck('new')}))[1], "distinct\ndistinct", "$mode: a store");
	is((run($query))[0], 'ok', "$mode: answers");
	my ($state, $said) = run($update);
	$fake->behave;
	goes_on("a statement, $mode");
}

do_sql("ALTER SERVER fake OPTIONS (SET connect_timeout '3600')");
begin_anew('gate');

# A cancel ends every wait, also where the other end does not take the cancel request.
foreach my $case (
	[ 'a query', $query, '^SELECT pg_catalog\.to_jsonb', 'silent' ], [ 'a query', $query, '^SELECT pg_catalog\.to_jsonb', 'endless_rows' ], [ 'a query', $query, '^SELECT pg_catalog\.to_jsonb', 'endless_parameters' ],
	[ 'a command', q{SELECT runops.remote_exec('new', 'VACUUM')}, 'VACUUM', 'endless_results' ],
	[ 'a large command', q{SELECT runops.remote_exec('new', 'VACUUM ' || repeat('x', 50000000))}, '^SET search', 'deaf' ],
	[ 'a statement of a user', 'UPDATE run SET n = 1', '^UPDATE', 'silent' ],
	[ 'a statement of a user', 'UPDATE run SET n = 1', '^UPDATE', 'half' ],
	[ 'a statement of a user', 'UPDATE run SET n = 1', '^UPDATE', 'cancel_hangs' ],
	[ 'rows of a user', 'SELECT count(*) FROM run', '^FETCH', 'endless_parameters' ],
	[ 'rows of a user', 'SELECT count(*) FROM run', '^FETCH', 'endless_notices' ])
{
	my ($name, $sql, $on, $mode) = @$case;
	my $store = $sql =~ /count/ ? $reader : $fake;

	begin_anew('connections');
	run($sql =~ /run/ && $sql !~ /runops/ ? $sql : 'SELECT 1');

	$store->misbehave($mode, on => $on);
	my ($state, $said) = run($sql, $store, $on);

	$store->behave;
	is($state, '57014', "$name, $mode: is canceled") or diag($said);
	goes_on("$name, $mode");
}

# The statements of users, as the engine sends them: the statement, and which of its parts is answered in another way.
#   fill     the number of rows in each table
#   nth, at  see FakeStore
#   fine     modes in which PostgreSQL might give this answer, or which cannot be told from a good one
#   ignored  an error ends the connection, and nobody is told
#   slow     all modes that hang, and not only one
my $by_row = "UPDATE run SET n = (random() * 5)::int WHERE id = '$new_id'";
my $pages = "SET enable_material = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
  . 'SELECT count(*) FROM run r RIGHT JOIN generate_series(1, 2) g ON r.n > g - random()';
# no leaf of a routed table can be truncated
do_sql("CREATE FOREIGN TABLE plain_run (id text) SERVER fake OPTIONS (schema_name 'public', table_name 'run')");
my @any_rows = qw(manyrows norows nulls);
my @any_count = qw(manycount);
# What comes behind the answer "COMMIT" does not matter: the store has committed.
my @behind = qw(aborted intransaction noready);

my @statements = (
	{ name => 'the start', sql => $update, on => '^START TRANSACTION', slow => 1 },
	{ name => 'the limit for locks', sql => $update, on => '^SET LOCAL lock_timeout', fine => ['norowset'] },
	{ name => 'the preparation', sql => "$update; $update", on => '^UPDATE', nth => 2, at => 'P', fine => ['othertag'] },
	{ name => 'the binding', sql => $update, on => '^UPDATE', at => 'B', fine => [qw(noresult othertag)] },
	{ name => 'the description', sql => $update, on => '^UPDATE', at => 'D', fine => [qw(noresult othertag)] },
	{ name => 'the number of the transaction', sql => $update, on => 'pg_current_xact_id_if_assigned', fine => [qw(nulls nocolumns manycolumns manyrows fewcolumns garbage badencoding hugevalue hugenumber empty_values)] },
	{ name => 'the synchronization', sql => $update, on => '^UPDATE', at => 'S', fine => ['othertag'] },
	{ name => 'an UPDATE', sql => $update, on => '^UPDATE', fine => \@any_count, slow => 1 },
	{ name => 'an UPDATE that returns', sql => "UPDATE run SET n = n + 1 WHERE id = '$new_id' RETURNING n", on => '^UPDATE', fine => \@any_rows, slow => 1 },
	{ name => 'a DELETE', sql => "DELETE FROM run WHERE id = '$new_id'", on => '^DELETE', fine => \@any_count },
	{ name => 'an UPDATE of one row', sql => $by_row, on => '^UPDATE', fill => 1 },
	{ name => 'an UPDATE of one row that returns', sql => "$by_row RETURNING n", on => '^UPDATE', fill => 1, fine => [qw(norows nulls)] },
	{ name => 'a DELETE of one row', sql => "DELETE FROM run WHERE id = '$new_id' AND random() < 2", on => '^DELETE', fill => 1 },
	{ name => 'an INSERT', sql => "INSERT INTO run VALUES ('$new_id')", on => '^INSERT' },
	{ name => 'an INSERT that returns', sql => "INSERT INTO run VALUES ('$new_id') RETURNING n", on => '^INSERT', fine => [qw(norows nulls)] },
	{ name => 'an INSERT of many rows', sql => "INSERT INTO run SELECT '$new_id' FROM generate_series(1, 3)", on => '^INSERT' },
	{ name => 'TRUNCATE', sql => "TRUNCATE plain_run", on => '^TRUNCATE' },
	{ name => 'a query of few rows', sql => "SELECT n FROM run WHERE id = '$new_id'", on => '^SELECT n', store => $reader, fill => 1, fine => \@any_rows, slow => 1 },
	{ name => 'a query in a transaction', sql => "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM run WHERE id = '$new_id'; COMMIT", on => '^SELECT n', fill => 1, fine => \@any_rows },
	{ name => 'the start of a transaction that reads', sql => 'SELECT count(*) FROM run', on => '^START', store => $reader },
	{ name => 'a cursor', sql => 'SELECT count(*) FROM run', on => '^DECLARE', store => $reader },
	{ name => 'rows', sql => 'SELECT count(n) FROM run', on => '^FETCH', store => $reader, fill => 1, fine => \@any_rows, slow => 1 },
	{ name => 'the end of a transaction that reads', sql => 'SELECT count(*) FROM run', on => '^COMMIT', store => $reader, ignored => 1 },
	{ name => 'more rows', sql => 'SELECT count(n) FROM run', on => '^FETCH', nth => 2, store => $reader, fill => 5, fine => \@any_rows },
	{ name => 'the way back', sql => $pages, on => '^MOVE', store => $reader, fill => 5, fine => \@any_count },
	{ name => 'the end of a cursor', sql => "BEGIN; $update; SELECT n FROM run WHERE id = '$new_id' AND random() < 2; $update; COMMIT", on => '^CLOSE' },
	{ name => 'rows that are locked', sql => "SELECT n FROM run WHERE id = '$new_id' FOR UPDATE", on => '^FETCH', fill => 1, fine => \@any_rows },
	{ name => 'a savepoint', sql => "BEGIN; $update; SAVEPOINT a; $update; COMMIT", on => '^SAVEPOINT' },
	{ name => 'a savepoint that ends', sql => "BEGIN; $update; SAVEPOINT a; $update; RELEASE a; $update; COMMIT", on => '^RELEASE' },
	{ name => 'a savepoint rolled back', sql => "BEGIN; $update; SAVEPOINT a; $update; ROLLBACK TO a; $update; COMMIT", on => '^ROLLBACK TO', slow => 1, fine => ['rollbacktag'] },
	{ name => 'the end of a savepoint rolled back', sql => "BEGIN; $update; SAVEPOINT a; $update; ROLLBACK TO a; $update; COMMIT", on => '^RELEASE' },
	{ name => 'the deferred constraints', sql => "BEGIN; $update; UPDATE run SET n = 1; COMMIT", on => '^SET CONSTRAINTS', fine => ['norowset'] },
	{ name => 'the end', sql => $update, on => '^COMMIT', slow => 1, fine => \@behind },
	{ name => 'the end in two stores', sql => "BEGIN; $update; UPDATE run SET n = 1; COMMIT", on => '^COMMIT', fine => \@behind },
	{ name => 'the rollback', sql => "BEGIN; $update; ROLLBACK", on => '^ROLLBACK', ignored => 1, slow => 1 },
	{ name => 'an old statement', sql => 'DO $$BEGIN FOR i IN 1 .. 205 LOOP EXECUTE format($q$UPDATE run SET n = %s WHERE id = %L$q$, i, ' . "'$new_id'); END LOOP; END\$\$", on => '^DEALLOCATE', only => [qw(nomessage othertag)] });

# The modes of the messages that are no statements, and those that hang there.
my @message_modes = qw(close copyout copyout_ends earlyready garbage halfclose half negativelength nomessage noresult norowset othertag silent truncated twice
	unknowntype wronglength);
my %message_hangs = map { $_ => 1 } qw(half silent noresult norowset nomessage othertag garbage);

# The engine reads no more after an answer of these, which it does not expect.
my %breaks = map { $_ => 1 } qw(copyboth copyout copy_in_the_middle endless_results endless_result_sets longcommand);

# These are tried with some of the statements only.
my %rare = map { $_ => 1 } qw(badmessage columns_past_the_end copy_in_the_middle copyboth copyin copyout_ends emptyquery endless_result_sets
	goodstate halfclose hugevalue idle longcommand longmessage negativelength nofields nostate oddstate row_of_other_length rows_and_error
	shortstate unknowntype unterminated);

do_sql(q{ALTER SERVER fake OPTIONS (ADD fetch_size '2')});
foreach my $case (@statements)
{
	my $store = $case->{store} // $fake;
	my @modes = $case->{only} ? @{ $case->{only} } : $case->{at} ? @message_modes :
	  grep { !FakeStore->hangs($_) || $breaks{$_} || $ENV{FAKE_ALL} || $_ eq 'silent' || ($case->{slow} && /^(?:noready|half|endless_(?:rows|notices)|longlength)$/) } FakeStore->modes;

	@modes = grep { !$rare{$_} } @modes unless $case->{slow} || $ENV{FAKE_ALL};
	@modes = grep { $usual{$_} || $of_statements{$_} } @modes unless $case->{slow} || $case->{only} || $case->{at} || $ENV{FAKE_ALL};

	# what is no other answer here
	@modes = grep { !/count$/ } @modes unless $case->{on} =~ /INSERT|UPDATE|DELETE|FETCH|SELECT/;
	my $state_then = $case->{sql} =~ /^SELECT n FROM(?!.*FOR UPDATE)/ || $case->{on} =~ /COMMIT|ROLLBACK(?! TO)/ ? 'idle' : 'intransaction';
	@modes = grep { $_ ne $state_then } @modes;
	@modes = grep { "$case->{name}, $_" =~ /$ENV{FAKE_ONLY}/ } @modes if $ENV{FAKE_ONLY};
	next unless @modes;
	$_->fill($case->{fill} // 0) foreach $fake, $other, $reader;
	begin_anew('gate');
	do_sql('SET runops.cross_store_writes = allow');
	my ($good, $gives) = run($case->{sql});

	is($good, 'ok', "$case->{name}: works") or diag($gives);
	foreach my $mode (@modes)
	{
		my $hangs = $case->{at} ? $message_hangs{$mode} : FakeStore->hangs($mode);
		my $result = "$case->{name}, $mode";

		# a statement is prepared once
		begin_anew('connections') if ($case->{at} // '') eq 'P';
		do_sql("SET runops.commit_timeout = '500ms'; SET runops.cross_store_writes = allow");
		$store->misbehave($mode, map { $_ => $case->{$_} } qw(on at nth));
		my ($state, $said) = run($case->{sql}, $hangs || $case->{at} ? $store : undef, $case->{on});
		my $asked = was_asked($store, $case->{on});

		$store->behave;
		ok($asked, "$result: was asked");
		unlike($state, qr/^(?:XX000|57P02|hang)$/, "$result: no internal error, no crash and no hang") or diag("$state $said");
		isnt($state, '57014', "$result: ends by itself") or diag($said) unless $hangs;
		isnt($state, 'ok', "$result: is an error") or diag($said) unless $case->{ignored} || $harmless{$mode} || grep { $_ eq $mode } @{ $case->{fine} // [] };
		isnt($said =~ s/\|.*//sr, '', "$result: has a message") unless $state eq 'ok';
		goes_on($result);

		# what was sent too much may come with the next answer
		run($_) foreach $mode =~ /ready|twice/ ? ($case->{sql}, 'ROLLBACK') : ();
		is(join('|', run($case->{sql})), "ok|$gives", "$result: works again");
		diag(sprintf("%-40s %-22s %s %s", $case->{name}, $mode, $state, substr($said =~ s/\n/ /gr, 0, 150))) if $ENV{FAKE_SHOW};
	}
}
do_sql('ALTER SERVER fake OPTIONS (DROP fetch_size)');
$_->fill(0) foreach $fake, $other, $reader;

# A cleanup of cascades: what it sets up, its rows, and how it counts them.
begin_anew('connections');
do_sql(q{SELECT runops.add_cascade('parent', 'run', 'parent_id')});
foreach my $on ('^SET LOCAL lock_timeout', '^DECLARE', '^FETCH', 'pg_catalog.count')
{
	foreach my $mode ($ENV{FAKE_ALL} ? FakeStore->modes : @usual)
	{
		my $hangs = FakeStore->hangs($mode);

		next if $ENV{FAKE_ONLY} && "a cleanup, $on, $mode" !~ /$ENV{FAKE_ONLY}/;
		begin_anew('connections');
		do_sql(q{DELETE FROM runops.cascade_part; DELETE FROM runops.cascade_queue; DELETE FROM runops.cascade_failure});
		do_sql(q{INSERT INTO parent VALUES ('p1'), ('p2'); DELETE FROM parent});
		$fake->misbehave($mode, on => $on);
		my ($state, $said) = run('SELECT runops.cleanup(10)', $hangs ? $fake : undef, $on);
		$fake->behave;
		unlike($state, qr/^(?:57P02|hang)/, "a cleanup, $on, $mode: neither crash nor hang") or diag("$state $said");
		goes_on("a cleanup, $on, $mode");
		diag(sprintf("%-40s %-22s %s %s", "a cleanup, $on", $mode, $state, substr($said =~ s/\n/ /gr, 0, 150))) if $ENV{FAKE_SHOW};
	}
}

my $log = slurp_file($control->logfile, $log_start);

unlike($log, qr/terminated by signal|PANIC:|TRAP:/, 'no process was killed');
done_testing();
