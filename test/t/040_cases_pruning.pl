#
# 040_cases_pruning.pl
#	  Predicates that routers often interpret wrongly: the rows that they return,
#	  and the stores that they reach.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use CaseTable;

use Test::More;

my $rig = CaseTable->new;

$rig->sql(q{CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)});

# the boolean structure around the key
$rig->check(
	{
		why => 'a negated equality names no store',
		sql => q{SELECT id FROM run WHERE NOT (id = '{N}') ORDER BY n;},
		want => "{L}\n{A}"
	},
	{
		why => 'neither does one arm of an OR whose other arm is open',
		sql => q{SELECT id FROM run WHERE id = '{N}' OR env = 'e' ORDER BY n;},
		want => "{L}\n{N}\n{A}"
	},
	{
		why => 'a doubly negated equality may',
		sql => q{SELECT id FROM run WHERE NOT (id <> '{N}');},
		want => '{N}',
		stores => 'new'
	},
	{
		why => '<> ALL is a negation',
		sql => q{SELECT id FROM run WHERE id <> ALL (ARRAY['{N}']) ORDER BY n;},
		want => "{L}\n{A}"
	},
	{
		why => 'so is IS NOT TRUE',
		sql => q{SELECT id FROM run WHERE (id = '{N}') IS NOT TRUE ORDER BY n;},
		want => "{L}\n{A}"
	},
	{
		why => 'NOT goes through AND and OR by their laws',
		sql => q{SELECT id FROM run WHERE NOT (id = '{N}' AND n = 2) ORDER BY n;
			SELECT id FROM run WHERE NOT (id <> '{N}' OR n <> 2);
			SELECT id FROM run WHERE NOT (NOT (id = '{N}' OR id = '{L}')) ORDER BY n;},
		want => "{L}\n{A}\n{N}\n{L}\n{N}"
	},
	{
		why => 'clauses that contradict or repeat one another are all kept',
		sql => q{SELECT count(*) FROM run WHERE id = '{N}' AND id = '{L}';
			SELECT count(*) FROM run WHERE id = '{N}' AND env = 'other';
			SELECT count(*) FROM run WHERE id IN ('{N}', '{L}') AND id IN ('{L}', '{A}');
			SELECT count(*) FROM run WHERE id = '{N}' AND id LIKE 'c%';
			SELECT count(*) FROM run WHERE id = '{N}' AND id = '{N}';
			SELECT count(*) FROM run r JOIN run p ON p.id = r.parent_id WHERE r.id = '{N}' AND p.id = '{A}';},
		want => "0\n0\n1\n0\n1\n0"
	});

# NULL
$rig->check(
	{
		why => 'an id that is NULL reaches no store',
		sql => q{PREPARE q(text) AS SELECT id FROM run WHERE id = $1;
			EXECUTE q(NULL);
			SELECT id FROM run WHERE id = NULL;
			SELECT id FROM run WHERE id IN (NULL);
			SELECT id FROM run WHERE id = ANY (NULL::text[]);
			SELECT id FROM run WHERE id = ANY ('{}');
			PREPARE a(text[]) AS SELECT id FROM run WHERE id = ANY ($1);
			EXECUTE a(NULL);
			EXECUTE a('{}');
			EXECUTE a('{NULL}');
			SET plan_cache_mode = force_generic_plan;
			EXECUTE q(NULL);
			EXECUTE a(NULL);
			EXECUTE a('{}');
			EXECUTE a('{NULL}');},
		want => '',
		stores => ''
	},
	{
		why => 'a NULL beside an id does not hide it',
		sql => q{SELECT id FROM run WHERE id = ANY (ARRAY[NULL, '{N}']);
			SELECT id FROM run WHERE id IN (NULL, '{N}');
			PREPARE a(text[]) AS SELECT id FROM run WHERE id = ANY ($1);
			EXECUTE a(ARRAY[NULL, '{N}']);
			SET plan_cache_mode = force_generic_plan;
			EXECUTE a(ARRAY[NULL, '{N}']);},
		want => "{N}\n{N}\n{N}\n{N}",
		stores => 'new'
	},
	{
		why => 'tests for NULL and distinctness follow three-valued logic',
		sql => q{SELECT count(*) FROM run WHERE id IS NOT NULL;
			SELECT count(*) FROM run WHERE id IS NULL;
			SELECT id FROM run WHERE id IS NOT DISTINCT FROM '{N}';
			SELECT count(*) FROM run WHERE id IS DISTINCT FROM '{N}';
			SELECT count(*) FROM run WHERE (id = '{N}') IS UNKNOWN;
			SELECT count(*) FROM run WHERE (parent_id = '{N}') IS UNKNOWN;
			SELECT count(*) FROM run WHERE (id = '{N}') IS NOT FALSE;},
		want => "3\n0\n{N}\n2\n0\n1\n1"
	});

# values that are not constants
$rig->check(
	{
		why => 'a volatile condition beside the key is evaluated',
		sql => q{SELECT count(*) FROM run WHERE id = '{N}' AND random() < 0;
			SELECT count(*) FROM run WHERE id = '{L}' AND random() < 0;},
		want => "0\n0"
	},
	{
		why => 'a value computed for each outer row is asked for each',
		sql => q{CREATE TEMP TABLE pick (i int);
			INSERT INTO pick SELECT generate_series(1, 200);
			SELECT count(*), count(DISTINCT r.id) FROM pick p JOIN LATERAL (SELECT id FROM run WHERE id = (ARRAY['{L}', '{N}'])[1 + (p.i % 2)]) r ON true;},
		want => '200|2'
	},
	{
		why => 'a volatile value of the key is not computed twice',
		sql => q{SELECT count(*) <= 1 FROM (SELECT id FROM run WHERE id = CASE WHEN random() < 2 THEN '{N}' ELSE '{L}' END) s;
			SELECT count(*) FROM run WHERE id = (SELECT CASE WHEN random() < 2 THEN '{N}' ELSE '{L}' END);},
		want => "t\n1"
	},
	{
		why => 'a stable value is computed by each execution of one plan',
		sql => q{SET runops_test.id = '{N}';
			PREPARE q AS SELECT id FROM run WHERE id = current_setting('runops_test.id');
			EXECUTE q;
			SET runops_test.id = '{L}';
			EXECUTE q;
			SET plan_cache_mode = force_generic_plan;
			EXECUTE q;
			SET runops_test.id = '{A}';
			EXECUTE q;},
		want => "{N}\n{L}\n{L}\n{A}"
	},
	{
		why => 'a setting asked for by every outer row is no constant',
		sql => q{SET runops_test.id = '{N}';
			SELECT set_config('runops_test.id', v, false) = v, (SELECT id FROM run WHERE id = current_setting('runops_test.id') || left(v, 0)) FROM (VALUES ('{N}'), ('{L}')) x(v);},
		want => "t|{N}\nt|{L}"
	},
	{
		why => 'a function of the id is no equality on the id',
		sql => q{SELECT id FROM run WHERE lower(id) = '{N}';
			SELECT id FROM run WHERE id || '' = '{L}';
			SELECT id FROM run WHERE left(id, 26) = '{A}';},
		want => "{N}\n{L}\n{A}"
	});

# lists
$rig->check(
	{
		why => 'a list of legacy ids reaches no store',
		sql => q{SELECT id FROM run WHERE id IN ('{L}', '{M}');},
		want => '{L}',
		stores => ''
	},
	{
		why => 'a list is asked in the stores of its ids alone',
		sql => q{SELECT id FROM run WHERE id = ANY (ARRAY['{L}', '{N}']) ORDER BY n;},
		want => "{L}\n{N}",
		stores => 'new'
	},
	{
		why => 'so is one of 800 ids in a parameter',
		sql => q{PREPARE q(text[]) AS SELECT count(*) FROM run WHERE id = ANY ($1);
			SELECT array_agg('clegacy' || lpad(i::text, 18, '0'))::text[] || '{N}'::text AS ids FROM generate_series(1, 800) i \gset
			EXECUTE q(:'ids');
			SET plan_cache_mode = force_generic_plan;
			EXECUTE q(:'ids');
			EXECUTE q('{{L}}');},
		want => "2\n2\n1",
		stores => 'new'
	});

# collations: the upper-case constants are classified otherwise than the rows they equal
$rig->check(
	{
		why => 'equality under a nondeterministic collation names no store',
		sql => q{SELECT id FROM run WHERE id = upper('{N}') COLLATE ci;
			SELECT id FROM run WHERE id COLLATE ci IN (upper('{N}'), upper('{L}')) ORDER BY n;
			PREPARE q(text) AS SELECT id FROM run WHERE id = $1 COLLATE ci;
			EXECUTE q(upper('{A}'));
			SET plan_cache_mode = force_generic_plan;
			EXECUTE q(upper('{A}'));
			SELECT r.id FROM (VALUES (upper('{N}'))) v(k) JOIN run r ON r.id = v.k COLLATE ci;},
		want => "{N}\n{L}\n{N}\n{A}\n{A}\n{N}"
	},
	{
		why => 'bpchar, name and varchar compare as core says',
		sql => q{CREATE TEMP TABLE b (id char(30));
			INSERT INTO b VALUES ('{N}');
			SELECT runops.store_of(id), octet_length(id) FROM b;
			SELECT r.id FROM b JOIN run r ON r.id = b.id;
			SELECT id FROM run WHERE id = (SELECT id FROM b);
			SELECT id FROM run WHERE id = '{N}' || '  ';
			SELECT id FROM run WHERE id = '{N}'::char(40);
			SELECT id FROM run WHERE id = '{N}'::name;
			SELECT id FROM run WHERE id = '{N}'::varchar(40);},
		want => "new|30\n{N}\n{N}\n{N}\n{N}\n{N}"
	});

# outer joins
$rig->check(
	{
		why => 'the ON clause of an outer join does not filter the preserved side',
		sql => q{CREATE TEMP TABLE t1 (x int); INSERT INTO t1 VALUES (1);
			SELECT r.id, t1.x FROM run r LEFT JOIN t1 ON r.id = '{N}' ORDER BY r.n;
			SELECT r.id, t1.x FROM t1 RIGHT JOIN run r ON r.id = '{L}' ORDER BY r.n;
			SELECT count(*) FROM run a FULL JOIN run b ON a.id = b.parent_id AND b.id = '{N}';},
		want => "{L}|\n{N}|1\n{A}|\n{L}|1\n{N}|\n{A}|\n5"
	},
	{
		why => 'but it does the other side',
		sql => q{CREATE TEMP TABLE t1 (x int); INSERT INTO t1 VALUES (1);
			SELECT t1.x, r.id FROM t1 LEFT JOIN run r ON r.id = '{N}' AND r.env = 'nope';
			SELECT t1.x, r.id FROM t1 LEFT JOIN run r ON r.id = '{N}' AND r.env = 'e';},
		want => "1|\n1|{N}",
		stores => 'new'
	},
	{
		why => 'a WHERE clause on the nullable side counts only where it is strict',
		sql => q{CREATE TEMP TABLE t1 (x int); INSERT INTO t1 VALUES (1), (2);
			SELECT t1.x, r.id FROM t1 LEFT JOIN run r ON r.n = t1.x WHERE r.id = '{N}' OR r.id IS NULL ORDER BY 1;
			SELECT t1.x, r.id FROM t1 LEFT JOIN run r ON r.n = t1.x + 7 WHERE coalesce(r.id, '{N}') = '{N}' ORDER BY 1;
			SELECT count(*) FROM run r WHERE NOT EXISTS (SELECT FROM run c WHERE c.parent_id = r.id AND c.id = '{N}');
			SELECT count(*) FROM run r WHERE r.id NOT IN (SELECT parent_id FROM run c WHERE c.id = '{N}');},
		want => "2|{N}\n1|\n2|\n2\n2"
	},
	{
		why => 'an outer join whose key is fixed above is still outer',
		sql => q{SELECT a.id, b.id FROM run a LEFT JOIN run b ON b.id = a.parent_id WHERE a.id = '{L}';
			SELECT a.id, b.id FROM run a LEFT JOIN run b ON b.id = a.parent_id WHERE a.id = '{N}';},
		want => "{L}|\n{N}|{L}"
	});

# set operations, grouping, sub-selects
$rig->check(
	{
		why => 'the arms of a set operation are pruned one by one',
		sql => q{SELECT b.id FROM run a LEFT JOIN run b ON b.parent_id = a.id UNION SELECT id FROM run ORDER BY 1 NULLS LAST;
			SELECT id FROM run WHERE id = '{N}' UNION ALL SELECT id FROM run WHERE id = '{L}' ORDER BY 1;
			SELECT id FROM run EXCEPT SELECT id FROM run WHERE id = '{N}' ORDER BY 1;
			SELECT id FROM run INTERSECT SELECT id FROM run WHERE id IN ('{N}', '{L}') ORDER BY 1;
			SELECT count(*) FROM (SELECT id FROM run UNION ALL SELECT id FROM run) s WHERE id = '{A}';},
		want => "{N}\n{A}\n{L}\n\n{N}\n{L}\n{A}\n{L}\n{N}\n{L}\n2"
	},
	{
		why => 'values that only the executor knows, some behind a PlaceHolderVar',
		sql => q{SELECT v.k, r.id FROM (VALUES ('{N}'), ('{L}')) v(k) LEFT JOIN LATERAL (SELECT id, coalesce(n, 0) m FROM run WHERE id = v.k) r ON r.m >= 0 ORDER BY 1;
			SELECT id FROM run WHERE id = (SELECT max(id) FROM run WHERE env = 'e');
			SELECT p.id, (SELECT count(*) FROM run c WHERE c.parent_id = p.id) FROM run p ORDER BY p.n;
			SELECT x.id FROM (SELECT coalesce(a.id, 'none') k FROM (SELECT 1) o LEFT JOIN run a ON a.id = '{N}') s JOIN run x ON x.id = s.k;
			SELECT x.id FROM (SELECT coalesce(a.id, '{L}') k FROM (SELECT 1) o LEFT JOIN run a ON a.id = 'nope') s JOIN run x ON x.id = s.k;
			SELECT v.k, (SELECT r.n FROM run r WHERE r.id = coalesce(v.k, '{L}')) FROM (VALUES ('{A}'), (NULL)) v(k);},
		want => "{N}|{N}\n{L}|{L}\n{L}\n{L}|1\n{N}|1\n{A}|0\n{N}\n{L}\n{A}|3\n|1"
	},
	{
		why => 'a nested loop reaches only the stores of its outer values',
		sql => q{SELECT v.k, r.n FROM (VALUES ('{N}'), ('{L}')) v(k) LEFT JOIN LATERAL (SELECT n FROM run WHERE id = v.k OFFSET 0) r ON true ORDER BY 2;},
		want => "{L}|1\n{N}|2",
		stores => 'new'
	},
	{
		why => 'a scalar sub-select reaches only the store of its value',
		sql => q{SELECT n FROM run WHERE id = (SELECT '{N}' FROM pg_class LIMIT 1);},
		want => '2',
		stores => 'new'
	},
	{
		why => 'LIMIT and OFFSET cut the whole and not each store or side',
		sql => q{INSERT INTO run (id, n) SELECT 'cl' || lpad(i::text, 23, '0'), 10 + i FROM generate_series(1, 20) i;
			SELECT a.id FROM run a WHERE EXISTS (SELECT 1 FROM run b WHERE b.parent_id = a.id) ORDER BY a.id COLLATE "C" LIMIT 2;
			SELECT id FROM run WHERE n < 5 ORDER BY n DESC LIMIT 1 OFFSET 1;
			SELECT count(*) FROM (SELECT id FROM run LIMIT 4) s;
			SELECT count(*) FROM (SELECT id FROM run ORDER BY n FETCH FIRST 2 ROWS WITH TIES) s;},
		want => "{N}\n{L}\n{N}\n4\n2"
	},
	{
		why => 'a page of a list by time and id has every row once',
		sql => q{UPDATE run SET created_at = '2026-01-01';
			UPDATE run SET created_at = '2026-01-02' WHERE id = '{N}';
			SELECT id FROM run ORDER BY created_at DESC, id COLLATE "C" DESC LIMIT 2;
			SELECT id FROM run WHERE (created_at, id COLLATE "C") < ('2026-01-01', '{L}') ORDER BY created_at DESC, id COLLATE "C" DESC LIMIT 2;},
		want => "{N}\n{L}\n{A}"
	},
	{
		why => 'dates, and times of the session, are compared here and there alike',
		sql => q{UPDATE run SET created_at = '2026-01-01 23:30+00' WHERE id IN ('{N}', '{L}');
			SET timezone = 'Asia/Tokyo';
			SELECT id FROM run WHERE created_at::date = DATE '2026-01-02' ORDER BY n;
			SELECT id FROM run WHERE created_at < DATE '2026-01-02' ORDER BY n;
			SELECT id FROM run WHERE created_at > '2026-01-02 08:00' AND created_at < '2026-01-02 09:00' ORDER BY n;},
		want => "{L}\n{N}\n{L}\n{N}"
	},
	{
		why => 'a condition that is false above the scan stops a write',
		sql => q{DELETE FROM run WHERE EXISTS (SELECT 1 WHERE false);
			DELETE FROM run WHERE (SELECT count(*) FROM run WHERE id = 'nope') > 0;
			UPDATE run SET n = -1 WHERE id = '{N}' AND NOT EXISTS (SELECT 1 FROM run WHERE id = '{L}');
			UPDATE run SET n = -1 WHERE id = '{L}' AND false;
			DELETE FROM run WHERE id = '{N}' AND (SELECT false);
			DELETE FROM run USING (SELECT 1 LIMIT 0) s WHERE id = '{N}';
			SELECT count(*), min(n) FROM run;},
		want => '3|1'
	});

# prepared statements
my $eight = join "\n", map { "EXECUTE q('$_');" } ('{L}') x 5, '{N}', '{A}', '{L}';

$rig->check(
	{
		why => 'a plan made for one id finds the others',
		sql => "PREPARE q(text) AS SELECT n FROM run WHERE id = \$1;\n$eight\nSET plan_cache_mode = force_generic_plan;\n$eight",
		want => "1\n1\n1\n1\n1\n2\n3\n1\n1\n1\n1\n1\n1\n2\n3\n1"
	},
	{
		why => 'legacy ids reach no store however often',
		sql => "PREPARE q(text) AS SELECT n FROM run WHERE id = \$1;\n" . ("EXECUTE q('{L}');\n" x 8),
		want => join("\n", (1) x 8),
		stores => ''
	},
	{
		why => 'a generic plan reaches one store',
		sql => "SET plan_cache_mode = force_generic_plan;\nPREPARE q(text) AS SELECT n FROM run WHERE id = \$1;\nEXECUTE q('{N}');",
		want => '2',
		stores => 'new'
	},
	{
		why => 'so does one with a list',
		sql => "SET plan_cache_mode = force_generic_plan;\nPREPARE q(text, text) AS SELECT n FROM run WHERE id IN (\$1, \$2) ORDER BY n;\nEXECUTE q('{A}', '{L}');",
		want => "1\n3",
		stores => 'a'
	},
	{
		why => 'PL/pgSQL plans its statements the same way',
		sql => q{CREATE FUNCTION pg_temp.n_of(k text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT n FROM run WHERE id = k); END $$;
			SELECT sum(pg_temp.n_of(k)) FROM generate_series(1, 10), unnest(ARRAY['{L}', '{N}', '{A}']) k;},
		want => '60'
	});

# several keys of another column: every store is asked, with the condition
$rig->check(
	{
		why => 'a list of other values than ids is sent to every store',
		sql => q{SELECT id FROM run WHERE env = 'e' AND idem = ANY ((SELECT array_agg('k' || i) FROM generate_series(1, 500) i)::text[]) ORDER BY n;},
		want => "{L}\n{N}\n{A}",
		stores => 'a new'
	});
like(
	$rig->sql(q{EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE env = 'e' AND idem IN ('k1', 'k2', 'k3')}),
	qr/Remote SQL: SELECT id FROM public\.run WHERE \(\(env = 'e'\)\) AND \(\(idem = ANY \('\{k1,k2,k3\}'::text\[\]\)\)\)/,
	'and the store evaluates it');

# the shape of an id is exact
my @shapes = (
	[ '{K}', 'new' ], [ '0123456789abcdefghijklmn01', 'new' ], [ '0123456789abcdefghijklmwa1', 'legacy' ],
	[ '0123456789abcdefghijklmna3', 'legacy' ], [ '0123456789abcdefghijklmn-1', 'legacy' ],
	[ '{N} ', 'legacy' ], [ "{N}\n", 'legacy' ], [ 'run_{N}', 'new' ], [ 'run_{A}', 'a' ],
	[ '0123456789abcdefghijklmnÄ1', 'legacy' ], [ 'a' x 100000, 'legacy' ], [ '', 'legacy' ]);

foreach my $shape (@shapes)
{
	my ($id, $store) = map { CaseTable::with_ids($_) } @$shape;
	my $shown = length $id > 30 ? substr($id, 0, 5) . '...' : $id =~ s/\n/\\n/r;

	is($rig->sql("SELECT runops.store_of('$id')"), $store, "\"$shown\" belongs to $store");
}
$rig->check(
	{
		why => 'text that no id can be is looked for and not found',
		sql => q{SELECT id FROM run WHERE id = E'\U0001F600';
			SELECT id FROM run WHERE id = '';
			SELECT id FROM run WHERE id = repeat('a', 100000);
			SELECT id FROM run WHERE idem = E'bad\\\\u0000key';},
		want => ''
	});

# what is no routed table
my @plain = (
	q{SELECT * FROM plain WHERE id = '{N}'},
	q{UPDATE plain SET v = 3 WHERE id = '{L}'},
	q{DELETE FROM plain WHERE id IN ('{N}', '{L}')},
	q{SELECT * FROM plain p JOIN pg_class c ON c.relname = p.id LEFT JOIN part ON part.id = p.id WHERE p.v > 1},
	q{SELECT * FROM part WHERE id = '{N}'},
	q{INSERT INTO plain VALUES ('{N}', 1) ON CONFLICT ON CONSTRAINT plain_pk DO UPDATE SET v = 2});

$rig->sql(
	q{CREATE TABLE plain (id text CONSTRAINT plain_pk PRIMARY KEY, v int);
	CREATE TABLE part (id text) PARTITION BY HASH (id);
	CREATE TABLE part0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE part1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1)});
$rig->check(
	{
		why => 'upserts of other tables keep their ways',
		sql => q{INSERT INTO plain VALUES ('{N}', 1) ON CONFLICT ON CONSTRAINT plain_pk DO UPDATE SET v = 2;
			INSERT INTO plain VALUES ('{N}', 1) ON CONFLICT ON CONSTRAINT plain_pk DO UPDATE SET v = 2 RETURNING v;
			DELETE FROM plain;},
		want => '2'
	});
foreach my $sql (@plain)
{
	is($rig->output("EXPLAIN $sql", 1), $rig->output("EXPLAIN $sql", 0), "the plan of a plain table is the same: $sql");
}

$rig->node->stop;
done_testing();
