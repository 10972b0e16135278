#
# 040_cases_drift.pl
#	  Stores whose types, columns, indexes or collation differ from the control
#	  plane: which functions report the differences, and which statements still work.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use CaseTable;

use Test::More;

my $rig = CaseTable->new;
my $node = $rig->node;

# What provision and verify say of a table, as lines.
sub findings
{
	return join "\n",
	  $rig->sql(q{SELECT 'provision', object, action, detail FROM runops.provision('new', dry_run => true) WHERE action <> 'exists'}),
	  $rig->sql(q{SELECT 'verify', store, finding, detail FROM runops.verify('run')});
}

# The message, detail, hint and context of an error.
sub error
{
	my ($stdout, $stderr);

	$node->psql('postgres', CaseTable::with_ids(shift), stdout => \$stdout, stderr => \$stderr);
	return $stderr;
}

unlike(findings(), qr/\S*(?:create|drift|column|type|index)/, 'nothing differs at first');

# statements that a store might read otherwise
$rig->check(
	{
		why => 'a constant to order by is no column number of the store',
		sql => q{SELECT 1 AS k, id FROM run WHERE id = '{N}' UNION ALL SELECT 2, id FROM run WHERE id = '{L}' ORDER BY k, id;
			SELECT 'x' AS k, env FROM run WHERE id = '{N}' ORDER BY k;
			SELECT 3 AS k, n FROM run WHERE env = 'e' ORDER BY k, n LIMIT 2;},
		want => "1|{N}\n2|{L}\nx|e\n3|1\n3|2"
	},
	{
		why => 'ids that are sorted by their bytes are so over all stores',
		sql => q{INSERT INTO run (id) VALUES ('{K}'), ('2STcKMQ7MGgoDxpX9A5WuaJlx8V'), ('2SmasRGkif9qETAHwssB4GGYwdic0');
			SELECT id FROM run WHERE id LIKE '2S%' ORDER BY id COLLATE "C" DESC LIMIT 2;
			SELECT count(*) FROM run WHERE id LIKE '2S%' AND id COLLATE "C" > '2STcKMQ7MGgoDxpX9A5WuaJlx8V';},
		want => "2SmasRGkif9qETAHwssB4GGYwdic0\n{K}\n2"
	},
	{
		why => 'numbers, times and documents of a store read as those of here',
		sql => q{UPDATE run SET meta = '{"b": [1, 2.50, null], "a": "é"}', created_at = '2026-02-03 04:05:06.789+00', n = 7;
			SELECT count(DISTINCT (meta::text, created_at::text, (n::float8 / 3)::text)) FROM run;
			SELECT count(DISTINCT md5(row(meta, created_at, n, status)::text)) FROM run;},
		want => "1\n1"
	});

# prepared statements over DDL
$rig->check(
	{
		why => 'a plan for all columns is refused after one was added, one for some goes on',
		sql => q{PREPARE q AS SELECT * FROM run WHERE id = '{L}'; PREPARE s(text) AS SELECT n FROM run WHERE id = $1;
			EXECUTE s('{L}'); EXECUTE s('{N}');
			ALTER TABLE run ADD COLUMN extra2 int;
			EXECUTE q;
			EXECUTE s('{L}'); EXECUTE s('{N}');
			ALTER TABLE run DROP COLUMN extra2;
			EXECUTE s('{L}'); EXECUTE s('{A}');},
		want => "1\n2\n0A000\n1\n2\n1\n3"
	});

# a column that only the control plane has
$rig->sql('ALTER TABLE run ADD COLUMN extra int');
like(findings(), qr/provision\|column public\.run\.extra\|create\|.*\nverify\|a\|column\|.*extra.*\nverify\|new\|column\|.*extra/s, 'a column that the stores lack');
$rig->check(
	{
		why => 'what needs no such column goes on',
		sql => q{SELECT id, extra FROM run WHERE id = '{L}'; SELECT count(*) FROM run; SELECT n FROM run WHERE id = '{N}';
			SELECT * FROM run WHERE id = '{N}'; INSERT INTO run (id) VALUES ('0123456789abcdefghijklmdr1'); UPDATE run SET n = 2 WHERE id = '{N}';
			UPDATE run SET extra = 1 WHERE id = '{N}';},
		want => "{L}|\n3\n2\n42703\n42703\n42703",
		off => "42703\n3\n2\n42703\n42703\n42703"
	});
like(error(q{SELECT * FROM run WHERE id = '{N}'}), qr/column run\.extra .*does not exist in store "new", or has different columns there.*runops\.provision.*table "run" in store "new"/s, 'the error says where');
$rig->sql(q{SELECT runops.provision('new'), runops.provision('a')});

# an index that only the control plane has
$rig->sql('CREATE INDEX run_list ON run (env, created_at DESC, id DESC)');
like(findings(), qr/provision\|index run_list .*\|create.*verify\|a\|index\|.*run_list.*verify\|new\|index\|.*run_list/s, 'an index that the stores lack');
$rig->sql(q{SELECT runops.provision('new'), runops.provision('a')});
unlike(findings(), qr/run_list/, 'provision makes it');

# a type that was widened there
$rig->store_sql('new', 'ALTER TABLE run ALTER n TYPE bigint; UPDATE run SET n = 5000000000');
like(findings(), qr/provision\|.*\bn\b.*drift.*bigint.*verify\|new\|type\|.*\bn\b.*bigint/s, 'a column of another type');
$rig->check(
	{
		why => 'its values fail where they are read',
		sql => q{SELECT sum(n) FROM run; SELECT id FROM run WHERE id = '{N}'; SELECT n FROM run WHERE id = '{L}';},
		want => "22003\n{N}\n1"
	});
like(error(q{SELECT n FROM run WHERE id = '{N}'}), qr/out of range for type integer.*runops\.verify.*column "n" of the result.*store "new"/s, 'with column, table and store');
$rig->store_sql('new', 'UPDATE run SET n = 2; ALTER TABLE run ALTER n TYPE int');

# an enum value that only the store has
$rig->sql(q{CREATE TYPE st AS ENUM ('PENDING', 'DONE'); ALTER TABLE run ADD COLUMN st st; SELECT runops.provision('new'), runops.provision('a')});
$rig->store_sql('new', q{ALTER TYPE st ADD VALUE 'PAUSED'});
$rig->store_sql('new', q{UPDATE run SET st = 'PAUSED'});
like(findings(), qr/provision\|label 'PAUSED' of type public\.st\|drift.*verify\|new\|type\|.*PAUSED/s, 'an enum value that is not known here');
$rig->check(
	{
		why => 'rows that have it fail where it is read',
		sql => q{SELECT id FROM run WHERE st = 'DONE'; SELECT st FROM run WHERE id = '{N}'; SELECT st FROM run WHERE id = '{L}';},
		want => "22P02\n22P02\n"
	});
like(error(q{SELECT st FROM run WHERE id = '{N}'}), qr/invalid input value for enum.*column "st" of the result.*store "new"/s, 'with column, table and store');
$rig->sql(q{ALTER TABLE run DROP COLUMN st});
$rig->store_sql($_, 'ALTER TABLE run DROP COLUMN st') foreach ('new', 'a');

# a store that sorts otherwise
$node->safe_psql('postgres', q{CREATE DATABASE st_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'});
$rig->sql(q{ALTER SERVER sv_new OPTIONS (SET dbname 'st_icu')});
like(
	$rig->sql(q{SELECT object, action, detail FROM runops.provision('new') WHERE action = 'drift'}),
	qr/database of the store\|drift\|default collation differs/, 'provision names the collation of the store');
like($rig->sql(q{SELECT store, finding, detail FROM runops.verify('run')}), qr/new\|collation\|/, 'so does verify');

$node->stop;
done_testing();
