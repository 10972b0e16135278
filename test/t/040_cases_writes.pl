#
# 040_cases_writes.pl
#	  INSERT, UPDATE and DELETE over several stores: the stores of the rows, the
#	  results, and the statements that are refused.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use CaseTable;

use Test::More;

my $rig = CaseTable->new;

# the store of a row does not change
my @key_updates = (
	q{UPDATE run SET id = 'clegacymoved0000000000001' WHERE id = '{N}';},
	q{UPDATE run SET id = '0123456789abcdefghijklmmv1' WHERE id = '{L}';},
	q{UPDATE run SET id = '0123456789abcdefghijklmmv1' WHERE id = '{L}' AND runops.store_of(id) = 'legacy';},
	q{UPDATE run SET id = '0123456789abcdefghijklmna2' WHERE id = '{N}';},
	q{UPDATE run SET id = 'odd' WHERE id = '{N}';},
	q{UPDATE run r SET id = v.k FROM (VALUES ('{L}', '0123456789abcdefghijklmmv1')) v(o, k) WHERE r.id = v.o;},
	q{PREPARE q(text, text) AS UPDATE run SET id = $1 WHERE id = $2; SET plan_cache_mode = force_generic_plan; EXECUTE q('0123456789abcdefghijklmmv1', '{L}');},
	q{PREPARE q(text, text) AS UPDATE run SET id = $1 WHERE id = $2; SET plan_cache_mode = force_generic_plan; EXECUTE q('clegacymoved0000000000001', '{N}');},
	q{INSERT INTO run (id) VALUES ('{L}') ON CONFLICT (id) DO UPDATE SET id = '0123456789abcdefghijklmmv1';},
	q{UPDATE runops_new.run SET id = 'clegacymoved0000000000001' WHERE id = '{N}';});

foreach my $sql (@key_updates)
{
	my $refused = qr/^(?:RO003|0A000|23514)$/;

	foreach my $routing (1, 0)
	{
		my $mode = $routing ? 'on' : 'off';
		my $got = $rig->output($sql, $routing);

		like($got, $routing && $sql !~ /ON CONFLICT/ ? qr/^RO003$/ : $refused, "refused ($mode): $sql");
		is($rig->sql(q{SELECT string_agg(id, ' ' ORDER BY n) FROM run}), CaseTable::with_ids('{L} {N} {A}'), 'and nothing has moved');
	}
}
$rig->check(
	{
		why => 'a key may change within its store, and the row is found by the new one',
		sql => q{UPDATE run SET id = '0123456789abcdefghijklmmv1' WHERE id = '{N}';
			UPDATE run SET id = 'clegacymoved0000000000001' WHERE id = '{L}';
			SELECT tableoid::regclass FROM run WHERE id = '0123456789abcdefghijklmmv1';
			SELECT tableoid::regclass FROM run WHERE id = 'clegacymoved0000000000001';},
		want => "runops_new.run\nrunops_legacy.run"
	},
	{
		why => 'a trigger cannot move a row either',
		sql => q{CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := '{L}'; RETURN NEW; END $$;
			CREATE TRIGGER move BEFORE UPDATE ON run FOR EACH ROW EXECUTE FUNCTION move();
			UPDATE run SET n = 7 WHERE id = '{N}';
			SELECT n FROM run WHERE id = '{N}';
			DROP TRIGGER move ON run; DROP FUNCTION move;},
		want => "RO003\n2"
	},
	{
		why => 'MERGE into the table is refused, with either branch',
		sql => q{MERGE INTO run r USING (VALUES ('{N}', 8)) v(k, n) ON r.id = v.k WHEN MATCHED THEN UPDATE SET n = v.n;
			MERGE INTO run r USING (VALUES ('{L}', 8)) v(k, n) ON r.id = v.k WHEN MATCHED THEN UPDATE SET id = '{N}';
			SELECT sum(n) FROM run;},
		want => "0A000\n0A000\n6"
	});

# upserts
$rig->check(
	{
		why => 'DO NOTHING without a target works in every store',
		sql => q{INSERT INTO run (id, n) VALUES ('{N}', 9) ON CONFLICT DO NOTHING RETURNING id;
			INSERT INTO run (id, n) VALUES ('{L}', 9) ON CONFLICT DO NOTHING RETURNING id;
			INSERT INTO run (id, n) VALUES ('{A}', 9), ('{L}', 9), ('{N}', 9) ON CONFLICT DO NOTHING;
			SELECT sum(n) FROM run;},
		want => '6'
	},
	{
		why => 'with a target it works, and never ends in a duplicate key',
		sql => q{INSERT INTO run (id, n) VALUES ('{L}', 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING n;
			INSERT INTO run (id, n) VALUES ('{N}', 9) ON CONFLICT (id) DO NOTHING;
			INSERT INTO run (id, n) VALUES ('{N}', 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n;
			SELECT n FROM run WHERE id = '{N}';},
		want => "9\n9",
		off => "0A000\n0A000\n0A000\n2"
	},
	{
		why => 'rows after a duplicate are inserted',
		sql => q{INSERT INTO run (id) VALUES ('{N}'), ('0123456789abcdefghijklmdn1'), ('{L}'), ('clegdn0000000000000000001'), ('{A}'), ('0123456789abcdefghijklmka2') ON CONFLICT DO NOTHING RETURNING id;
			SELECT count(*) FROM run;},
		want => "0123456789abcdefghijklmdn1\nclegdn0000000000000000001\n0123456789abcdefghijklmka2\n6"
	},
	{
		why => 'system columns tell nothing wrong',
		sql => q{INSERT INTO run (id) VALUES ('0123456789abcdefghijklmvx1') RETURNING (xmax = 0);
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmvx1') RETURNING xmin;
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmvx1') RETURNING tableoid::regclass;
			INSERT INTO run (id) VALUES ('clegxmax00000000000000001') RETURNING tableoid::regclass, id;},
		want => "0A000\n0A000\nrunops_new.run\nrunops_legacy.run|clegxmax00000000000000001"
	},
	{
		why => 'xmax of a legacy upsert tells an insert from an update',
		sql => q{INSERT INTO run (id) VALUES ('clegxmax00000000000000001') ON CONFLICT (id) DO UPDATE SET n = 1 RETURNING xmax = 0;
			INSERT INTO run (id) VALUES ('clegxmax00000000000000001') ON CONFLICT (id) DO UPDATE SET n = 1 RETURNING xmax = 0;},
		want => "t\nf",
		off => "0A000\n0A000"
	});

# what comes back
my $generated = q{INSERT INTO run (id, n) VALUES ('0123456789abcdefghijklmgc1', 4), ('cleggc0000000000000000001', 4) RETURNING id, n2;
	UPDATE run SET n = 10 WHERE id = '{N}' RETURNING n2;
	UPDATE run SET n = 10 WHERE id = '{L}' RETURNING n2;
	UPDATE run SET n = 11 WHERE env = 'e' AND n = 10 RETURNING n2;
	SELECT n2 FROM run WHERE id IN ('{N}', '{L}', '{A}') ORDER BY 1;};

$rig->check(
	{
		why => 'RETURNING has the values as they are stored',
		sql => q{INSERT INTO run (id, env, n, meta) VALUES ('0123456789abcdefghijklmrt1', 'e', 7, '{"a":[1]}'), ('clegret000000000000000001', 'e', 8, '{}') RETURNING id, n, status, created_at IS NOT NULL, meta -> 'a';
			WITH u AS (UPDATE run SET n = n + 1 WHERE id IN ('{N}', '{L}') RETURNING id, n) SELECT * FROM u ORDER BY n;
			DELETE FROM run WHERE id = '{A}' RETURNING id, parent_id;},
		want => "0123456789abcdefghijklmrt1|7|PENDING|t|[1]\nclegret000000000000000001|8|PENDING|t|\n{L}|2\n{N}|3\n{A}|{N}"
	},
	{
		why => 'a modifying CTE of one store feeds an INSERT into another',
		sql => q{WITH u AS (UPDATE run SET n = 50 WHERE id = 'clegcte000000000000000001' RETURNING id) INSERT INTO run (id, n) SELECT 'clegcte000000000000000001', 1 WHERE NOT EXISTS (SELECT 1 FROM u) RETURNING n;
			WITH d AS (DELETE FROM run WHERE id = '{A}' RETURNING *), i AS (INSERT INTO run (id, n) SELECT '0123456789abcdefghijklmct1', n FROM d RETURNING id) SELECT (SELECT count(*) FROM d), (SELECT id FROM i);
			SELECT string_agg(id, ' ' ORDER BY n, id DESC) FROM run;},
		want => "1\n1|0123456789abcdefghijklmct1\nclegcte000000000000000001 {L} {N} 0123456789abcdefghijklmct1"
	},
	{
		why => 'INSERT ... SELECT sends each row to its store, from stores too',
		sql => q{INSERT INTO run (id, n) SELECT left(id, 23) || CASE WHEN id = '{L}' THEN 'xx' ELSE 'v' || right(id, 2) END, n + 10 FROM run;
			SELECT tableoid::regclass, n FROM run WHERE n > 10 ORDER BY n;},
		want => "runops_legacy.run|11\nrunops_new.run|12\nrunops_shard_a.run|13"
	},
	{
		why => 'COPY sends each row to its store',
		sql => "COPY run (id, n) FROM STDIN;\nclegcopy00000000000000001\t1\n0123456789abcdefghijklmcp1\t2\n0123456789abcdefghijklmca2\t3\n\\.\nSELECT tableoid::regclass, n FROM run WHERE env IS NULL ORDER BY n;",
		want => "runops_legacy.run|1\nrunops_new.run|2\nrunops_shard_a.run|3"
	},
	{
		why => 'an id of a store that nobody added goes nowhere',
		sql => q{INSERT INTO run (id) VALUES ('{Z}');
			INSERT INTO run (id) SELECT '{Z}' || left(id, 0) FROM run;
			SELECT count(*) FROM run;},
		want => "RO004\nRO004\n3"
	},
	{
		why => 'the store of an INSERT rolls back with its statement',
		sql => q{INSERT INTO run (id, n) VALUES ('0123456789abcdefghijklmrb1', 1), ('clegrb0000000000000000001', 1), ('{L}', 1);
			INSERT INTO run (id, n) VALUES ('clegrb0000000000000000001', 1), ('0123456789abcdefghijklmrb1', 1), ('{N}', 1);
			SELECT count(*) FROM run;},
		want => "23505\n23505\n3"
	});

# values of the control plane and of the rows
$rig->sql('CREATE SEQUENCE serial; GRANT USAGE ON SEQUENCE serial TO PUBLIC');
$rig->check(
	{
		why => 'one sequence serves all stores',
		sql => q{ALTER SEQUENCE serial RESTART; ALTER TABLE run ALTER n SET DEFAULT nextval('serial');
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklms11'), ('clegs00000000000000000001'), ('0123456789abcdefghijklmsa2');
			INSERT INTO run (id) SELECT 'clegs0000000000000000000' || g FROM generate_series(2, 3) g;
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklms21');
			SELECT count(DISTINCT n), max(n) FROM run WHERE env IS NULL;
			ALTER TABLE run ALTER n DROP DEFAULT;},
		want => '6|6'
	},
	{
		why => 'a volatile value differs from row to row, and now() does not',
		sql => q{UPDATE run SET meta = to_jsonb(random());
			SELECT count(DISTINCT meta) FROM run;
			UPDATE run s SET meta = to_jsonb(r.x) FROM (SELECT id, random() x FROM run) r WHERE r.id = s.id;
			SELECT count(DISTINCT meta) FROM run;
			UPDATE run SET created_at = now();
			SELECT count(DISTINCT created_at) FROM run;
			BEGIN; UPDATE run SET created_at = now(); SELECT count(*) FROM run WHERE created_at = now(); COMMIT;},
		want => "3\n3\n1\n3"
	},
	{
		why => 'a literal means the same whatever the settings of the session',
		sql => q{SET timezone = 'America/St_Johns'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard';
			INSERT INTO run (id, created_at) VALUES ('0123456789abcdefghijklmtz1', '03/04/2026 10:00'), ('clegtz0000000000000000001', '03/04/2026 10:00');
			INSERT INTO run (id, created_at) VALUES ('0123456789abcdefghijklmta2', '03/04/2026 10:00');
			SELECT count(DISTINCT created_at), min(created_at) = timestamptz '2026-04-03 10:00 America/St_Johns' FROM run WHERE env IS NULL;
			SELECT count(*) FROM run WHERE env IS NULL AND created_at < timestamptz '2027-01-01' - interval '1 day';
			SELECT created_at FROM run WHERE id = '0123456789abcdefghijklmtz1';},
		want => "1|t\n3\n03/04/2026 10:00:00 NDT"
	},
	{
		why => 'what no store can hold is the same error everywhere, and the session goes on',
		sql => q{INSERT INTO run (id, meta) VALUES ('0123456789abcdefghijklmnu1', '{"k":"a\\u0000b"}');
			INSERT INTO run (id, meta) VALUES ('clegnu0000000000000000001', '{"k":"a\\u0000b"}');
			INSERT INTO run (id, n) VALUES ('0123456789abcdefghijklmnu1', 3000000000);
			INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmnu1', E'\\xff');
			SELECT count(*) FROM run;},
		want => "22P05\n22P05\n22003\n22021\n3"
	});

# batches
$rig->sql(q{ALTER SERVER sv_new OPTIONS (ADD batch_size '50'); ALTER SERVER sv_a OPTIONS (ADD batch_size '50')});
$rig->check(
	{
		why => 'a BEFORE trigger sees the rows that its statement has inserted, batches or not',
		sql => q{CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := (SELECT count(*) FROM run); RETURN NEW; END $$;
			CREATE TRIGGER counted BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION counted();
			INSERT INTO run (id) VALUES ('0123456789abcdefghijklmb01'), ('0123456789abcdefghijklmb11'), ('clegb09000000000000000001'), ('0123456789abcdefghijklmb21');
			SELECT n FROM run WHERE env IS NULL ORDER BY n;
			DROP TRIGGER counted ON run; DROP FUNCTION counted;},
		want => "3\n4\n5\n6"
	},
	{
		why => 'duplicates in a batch skip no other row',
		sql => q{INSERT INTO run (id) VALUES ('{N}'), ('0123456789abcdefghijklmdn1'), ('{L}'), ('clegdn0000000000000000001'), ('{A}'), ('0123456789abcdefghijklmka2') ON CONFLICT DO NOTHING;
			SELECT count(*) FROM run;},
		want => '6'
	},
	{
		why => 'and a misplaced row in one is refused',
		sql => q{INSERT INTO runops_new.run (id) VALUES ('0123456789abcdefghijklmdn1'), ('{A}'), ('0123456789abcdefghijklmdn2');
			SELECT count(*) FROM run;},
		want => "RO003\n3"
	});
$rig->sql(q{ALTER SERVER sv_new OPTIONS (DROP batch_size); ALTER SERVER sv_a OPTIONS (DROP batch_size)});

# triggers of a store
$rig->store_sql(
	'new', q{CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
	BEGIN IF new.env = 'skip' THEN RETURN NULL; END IF; new.status := 'REMOTE'; RETURN new; END $$;
	CREATE TRIGGER changes BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION changes()});
$rig->check(
	{
		why => 'what a trigger of the store changes comes back, and what it suppresses does not',
		sql => q{INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmt11', 'x') RETURNING status;
			INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmt21', 'skip') RETURNING id;
			WITH i AS (INSERT INTO run (id, env) VALUES ('0123456789abcdefghijklmt21', 'skip') RETURNING id) SELECT count(*) FROM i;
			SELECT count(*) FROM run WHERE id = '0123456789abcdefghijklmt21';},
		want => "REMOTE\n0\n0"
	});
$rig->store_sql(
	'new', q{DROP TRIGGER changes ON run;
	CREATE TABLE audit (id text);
	CREATE FUNCTION audits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (new.id); RETURN new; END $$;
	CREATE TRIGGER audits AFTER INSERT ON run FOR EACH ROW EXECUTE FUNCTION audits()});
like($rig->sql(q{SELECT object, action, detail FROM runops.provision('new', dry_run => true) WHERE action = 'drift'}),
	qr/trigger audits.*search_path/s, 'provision names a trigger that will miss its search_path');
my ($stdout, $stderr);
$rig->node->psql('postgres', q{INSERT INTO run (id) VALUES ('0123456789abcdefghijklmtg1')}, stdout => \$stdout, stderr => \$stderr);
like($stderr, qr/relation "audit" does not exist.*store "new"/s, 'and its error names the store');
$rig->store_sql('new', 'DROP TRIGGER audits ON run');

# generated and identity columns
foreach my $store ('new', 'a')
{
	$rig->store_sql($store, 'ALTER TABLE run ADD COLUMN n2 int GENERATED ALWAYS AS (n * 2) STORED');
}
$rig->sql('ALTER TABLE run ADD COLUMN n2 int GENERATED ALWAYS AS (n * 2) STORED');
$rig->check(
	{
		why => 'a generated column follows what it is made of',
		sql => $generated,
		want => "0123456789abcdefghijklmgc1|8\ncleggc0000000000000000001|8\n20\n20\n22\n22\n6\n22\n22"
	});
$rig->store_sql('new', 'ALTER TABLE run ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY');
$rig->sql('ALTER TABLE run ADD COLUMN seq bigint');
like(
	join("\n", map { $rig->sql($_) } q{SELECT object, action, detail FROM runops.provision('new', dry_run => true) WHERE action = 'drift'},
		q{SELECT * FROM runops.verify('run')}),
	qr/column.*identity.*column.*identity/s, 'provision and verify name an identity that only the store has');
$rig->check(
	{
		why => 'which an INSERT by way of here would meet',
		sql => q{INSERT INTO run (id) VALUES ('0123456789abcdefghijklmsq1') RETURNING seq;
			INSERT INTO run (id) VALUES ('clegseq000000000000000001') RETURNING seq;},
		want => "428C9\n"
	});

$rig->node->stop;
done_testing();
