# Kinds: the statements that test/fault_walk/run walks through.
package Kinds;

use strict;
use warnings FATAL => 'all';

# Ids of the rows that stand before each case: three in each store; and free ones.
sub id
{
	my ($store, $n) = @_;

	return $store eq 'legacy' ? sprintf('cfaultwalk%015d', $n) : sprintf('0123456789abcdefghij%04da%s', $n, $store eq 'new' ? 1 : 2);
}

my %id = map { my $s = $_; map { uc(substr($s, 0, 1)) . $_ => id($s, $_) } (1 .. 9) } qw(legacy new a);

# The tables, before attach.
our $schema = <<'EOT';
CREATE TABLE acct (id text PRIMARY KEY, k text, bal int NOT NULL, pad text);
CREATE TABLE item (id text PRIMARY KEY, acct text, n int);
CREATE TABLE big (id text PRIMARY KEY, n int, pad text);
CREATE TABLE note (id text, n int);
CREATE INDEX ON item (acct);
EOT

our $attach = <<'EOT';
SELECT runops.attach('acct', 'id');
SELECT runops.attach('item', 'id');
SELECT runops.attach('big', 'id');
SELECT runops.provision('new');
SELECT runops.provision('a');
SELECT runops.add_unique('acct', '{k}', name => 'acct_k');
SELECT runops.add_reference('item', 'acct', 'acct');
EOT

# The rows before each case.  big is only read.
our $fill = join(
	'; ',
	(map { "INSERT INTO acct VALUES ('$id{$_}', 'key $_', 100, repeat('x', 50))" } qw(L1 L2 L3 N1 N2 N3 A1 A2 A3)),
	(map { "INSERT INTO item VALUES ('$id{$_}', '$id{$_}', 1)" } qw(L1 N1 A1)),
	q{INSERT INTO note VALUES ('n', 1)});
our $fill_big = join('; ',
	map { "INSERT INTO big SELECT $_, i, repeat('y', i) FROM generate_series(1, 150) i" } (
		q{'cfaultwalk' || lpad(i::text, 15, '0')},
		(map { "'0123456789abcdefghij' || lpad(i::text, 4, '0') || 'a$_'" } (1, 2))));

# Put ids in the place of their names.
sub sql
{
	my $sql = shift;

	$sql =~ s/'([LNA][1-9])'/'$id{$1}'/g;
	return $sql;
}

# What is walked through.  steps: the statements at which a fault happens.
# before: what the session does before.  cold: it has not used the stores yet.
# file: rows of a file that the statements name as FILE.  or: statements that
# leave what the steps may leave too, if they succeed.  not: faults that are left
# out.
our @kinds = (
	{ name => 'point read', steps => [q{SELECT id, k, bal FROM acct WHERE id = 'N1'}] },
	{ name => 'prepared read', before => [q{PREPARE p (text) AS SELECT id, bal FROM acct WHERE id = $1}, q{EXECUTE p ('N1')}], steps => [q{EXECUTE p ('N2')}] },
	{ name => 'join', steps => [q{SELECT a.id, i.n FROM acct a JOIN item i ON i.acct = a.id WHERE a.id = 'N1'}] },
	{ name => 'several stores', steps => [q{SELECT id, bal FROM acct ORDER BY id}] },
	{ name => 'many rows', steps => [q{SELECT id, n, pad FROM big ORDER BY id}] },
	{ name => 'two reads of a store', steps => [q{SELECT (SELECT sum(n) FROM big), (SELECT count(*) FROM item WHERE random() >= 0), (SELECT max(bal) FROM acct)}] },
	{
		name => 'cursor',
		steps => [ 'BEGIN', 'DECLARE c CURSOR FOR SELECT id, pad FROM big ORDER BY id', 'FETCH 170 FROM c', 'FETCH ALL FROM c', 'COMMIT' ]
	},
	{ name => 'insert', steps => [q{INSERT INTO acct VALUES ('N4', 'key N4', 1)}] },
	{ name => 'update', steps => [q{UPDATE acct SET bal = bal + 1, k = 'other' WHERE id = 'N1'}] },
	{ name => 'delete', steps => [q{DELETE FROM acct WHERE id = 'N2'}] },
	{ name => 'update with a local condition', steps => [q{UPDATE acct SET pad = pad || 'z' WHERE id IN ('N1', 'A1', 'L1') AND random() >= 0}] },
	{
		name => 'insert of many rows',
		steps => [q{INSERT INTO acct SELECT CASE i % 3 WHEN 0 THEN 'cfaultwalk9' || lpad(i::text, 14, '0') ELSE '0123456789abcdefghij' || lpad((i + 100)::text, 4, '0') || 'a' || i % 3 END, 'many ' || i, i FROM generate_series(1, 60) i}]
	},
	{ name => 'returning', steps => [q{UPDATE acct SET bal = bal - 1 WHERE id IN ('N1', 'A1', 'L1') RETURNING id, bal}, q{SELECT 1}] },
	{ name => 'reference', steps => [q{INSERT INTO item VALUES ('N5', 'A2', 1), ('A5', 'N2', 2) RETURNING id}] },
	{
		name => 'savepoint',
		steps => [
			'BEGIN', q{INSERT INTO acct VALUES ('N4', 'key N4', 1)},
			'SAVEPOINT s', q{INSERT INTO acct VALUES ('N5', 'key N5', 1)},
			'ROLLBACK TO s', q{INSERT INTO acct VALUES ('N6', 'key N5', 1)},
			'RELEASE s', 'COMMIT' ]
	},
	{
		name => 'exception',
		steps => [q{DO $$ BEGIN INSERT INTO acct VALUES ('N4', 'key N4', 1); EXCEPTION WHEN OTHERS THEN INSERT INTO note VALUES ('caught', 1); END $$}],
		or => [q{INSERT INTO note VALUES ('caught', 1)}]
	},
	{
		name => 'transaction over two stores',
		steps => [
			'BEGIN', q{UPDATE acct SET bal = bal - 10 WHERE id = 'N1'},
			q{UPDATE acct SET bal = bal + 10 WHERE id = 'A1'}, q{INSERT INTO note VALUES ('moved', 10)}, 'COMMIT' ]
	},
	{
		name => 'commit',
		before => [ 'BEGIN', q{INSERT INTO acct VALUES ('N4', 'key N4', 1), ('A4', 'key A4', 1), ('L4', 'key L4', 1)} ],
		steps => ['COMMIT']
	},
	{
		name => 'rollback',
		before => [ 'BEGIN', q{INSERT INTO acct VALUES ('N4', 'key N4', 1), ('A4', 'key A4', 1), ('L4', 'key L4', 1)} ],
		steps => [ 'SAVEPOINT s', q{DELETE FROM acct WHERE id = 'N4'}, 'ROLLBACK TO s', 'ROLLBACK' ]
	},
	{ name => 'first read', cold => 1, steps => [q{SELECT id, bal FROM acct ORDER BY id}] },
	{ name => 'first write', cold => 1, steps => [q{UPDATE acct SET bal = bal + 1 WHERE id = 'N1'}] },
	{
		name => 'copy',
		file => join('', map { Kinds::sql("'$_'\tcopied $_\t5\tp\n") =~ s/'//gr } qw(N4 N5 A4 A5 L4)),
		steps => [q{COPY acct FROM 'FILE'}]
	},
	{
		name => 'select for update',
		steps => [
			'BEGIN', q{SELECT id, bal FROM acct WHERE id IN ('N1', 'A1') ORDER BY id FOR UPDATE},
			q{UPDATE acct SET bal = 0 WHERE id = 'N1'}, 'COMMIT' ]
	},
	{ name => 'skip locked', steps => [q{UPDATE acct SET bal = 7 WHERE id = (SELECT id FROM acct WHERE bal = 100 AND id LIKE '%a1' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)}] },
	# postgres_fdw executes it: it believes what a store sends, and waits up to a minute for one that is silent
	{ name => 'analyze', not => qr/^(?:garbage|duplicate|pause|partition)/, steps => ['ANALYZE runops_new.acct'] },
	{
		name => 'repeatable read',
		steps => [
			'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM acct', 'SELECT count(*) FROM item',
			q{UPDATE acct SET bal = 3 WHERE id = 'N3'}, 'COMMIT' ]
	},
	{
		name => 'serializable',
		steps => [ 'BEGIN ISOLATION LEVEL SERIALIZABLE', 'SELECT count(*) FROM acct', q{UPDATE acct SET bal = 3 WHERE id = 'L3'}, 'COMMIT' ]
	},
	{ name => 'write in a query', steps => [q{WITH d AS (DELETE FROM item WHERE id = 'N1' RETURNING acct) UPDATE acct SET bal = 4 WHERE id IN (SELECT acct FROM d) RETURNING id, bal}] },
);

$_->{steps} = [ map { sql($_) } @{ $_->{steps} } ], $_->{before} = [ map { sql($_) } @{ $_->{before} // [] } ],
  $_->{or} = [ map { sql($_) } @{ $_->{or} // [] } ]
  foreach @kinds;
$fill = sql($fill);

1;
