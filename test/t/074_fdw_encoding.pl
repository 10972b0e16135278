#
# 074_fdw_encoding.pl
#	  A store whose database has another encoding and other classes of characters
#	  gives the rows that a plain table gives.  doctor() names what the store
#	  computes by itself when it writes a row.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('control');

$node->init(extra => [ '--locale=C.UTF-8', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'runops'
runops.split_enabled = on
runops.native_realtime_enabled = on
runops.database = ''
EOT
$node->start;
$node->safe_psql('postgres', $_) foreach (
	q{CREATE DATABASE store TEMPLATE template0 ENCODING 'LATIN2' LOCALE 'C'},
	q{CREATE DATABASE icu TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und'},
	'CREATE DATABASE equal',
	'CREATE EXTENSION runops CASCADE',
	(map { sprintf(q{CREATE SERVER %1$s FOREIGN DATA WRAPPER runops_fdw OPTIONS (host '%2$s', port '%3$s', dbname '%1$s');
		CREATE USER MAPPING FOR CURRENT_USER SERVER %1$s}, $_, $node->host, $node->port) } qw(store icu equal)),
	q{SELECT runops.add_store('new', 'store')}, q{SELECT runops.add_store('a', 'icu')}, q{SELECT runops.add_store('b', 'equal')},
	q{CREATE TABLE "Note" (id text PRIMARY KEY, name text CHECK (length(name) > 0), n int, words tsvector, doc jsonb, label name,
		upper text GENERATED ALWAYS AS (upper(name)) STORED, twice int GENERATED ALWAYS AS (2 * n) STORED,
		CONSTRAINT "Word" CHECK (name ~ '\w' OR n > 0), CONSTRAINT "C" CHECK (name COLLATE "C" > ' '))},
	q{SELECT runops.attach('"Note"', 'id')});
# unique indexes of the leaf, which provision creates in the store
$node->safe_psql('postgres', $_) foreach (
	q{CREATE UNIQUE INDEX "Lower" ON runops_legacy."Note" (lower(name), id)},
	q{CREATE INDEX plain ON runops_legacy."Note" (lower(name))},
	q{CREATE UNIQUE INDEX "Part" ON runops_legacy."Note" (n, id) WHERE name > 'a'},
	q{CREATE UNIQUE INDEX "Number" ON runops_legacy."Note" ((n + 1), id) WHERE name <> 'a'},
	q{SELECT runops.recheck()}, q{SELECT runops.provision(s) FROM unnest('{new,a,b}'::text[]) s});

$node->safe_psql('postgres', <<'EOT');
CREATE TABLE plain AS
SELECT format('0123456789abcdefghijkl%sc1', lpad(k::text, 2, '0')) AS id, v AS name, k::int AS n, to_tsvector('simple', v || ' x') AS words,
	jsonb_build_object('v', v) AS doc, v::name AS label
FROM unnest('{a,B,c,é,AB,zz,É,č,Č,ž,ab c}'::text[]) WITH ORDINALITY AS x (v, k);
INSERT INTO "Note" (id, name, n, words, doc, label) SELECT * FROM plain;
EOT

my @queries = (
	'name = chr(n + 229)', 'name = chr(n + 261)', 'chr(n + 229) = name OR n = 1', 'n IN (SELECT n FROM %s WHERE ascii(chr(n + 250)) > 255)',
	q{words > 'é:1 x:2'::tsvector}, q{tsvector_to_array(words) < '{é}'}, q{(tsvector_to_array(words))[2] = 'x'}, q{words @@ 'é'::tsquery},
	q{doc @> '{"v": "é"}'}, 'jsonb_hash(doc) % 2 = 0', 'jsonb_hash_extended(doc, 3) % 2 = 0',
	q{label > 'é'}, 'hashtext(name) % 2 = 0', 'octet_length(name) = 2', 'ascii(name) > 250', q{name ~ '^\w$'}, q{lower(name) = 'č'});
foreach my $routing (qw(on off))
{
	foreach my $query (
		(map { "SELECT name FROM %s WHERE $_ ORDER BY n" } @queries),
		(map { "SELECT name FROM %s ORDER BY $_, n LIMIT 6" } 'words', 'words DESC', 'strip(words)', 'label', 'doc', 'name', 'chr(n + 250)'),
		'SELECT count(DISTINCT words), count(DISTINCT label), sum(ascii(chr(n + 250))) FROM %s',
		'SELECT a.n, b.n FROM %s a JOIN %s b ON b.name = chr(a.n + 229) ORDER BY 1, 2',
		'SELECT words FROM %s GROUP BY words ORDER BY words')
	{
		my %rows;

		foreach my $table ('plain', '"Note"')
		{
			$node->psql('postgres', "SET enable_hashjoin = off; SET runops.enable_routing = $routing; " . $query =~ s/%s/$table/gr,
				stdout => \my $stdout, stderr => \my $stderr);
			$rows{$table} = $stdout . $stderr;
		}
		is($rows{'"Note"'}, $rows{plain}, "routing $routing: $query");
		isnt($rows{plain}, '', 'which has rows');
	}
}

# what a store computes by itself, if its default collation is another one
is($node->safe_psql('postgres', q{SELECT object FROM runops.doctor(detail => true) WHERE severity = 'warning' AND finding LIKE '%the store computes it%' AND object !~ '^store new' ORDER BY 1}),
	<<'EOT' =~ s/\n\z//r, 'doctor names what the store computes');
store a: column upper of table public."Note"
store a: constraint "Word" on table public."Note"
store a: unique index runops_legacy."Lower" of table public."Note"
store a: unique index runops_legacy."Part" of table public."Note"
EOT
is($node->safe_psql('postgres', q{INSERT INTO "Note" (id, name, n) VALUES ('0123456789abcdefghijklmna2', 'ß', 1), ('0123456789abcdefghijklmnb2', 'ß', 2) RETURNING upper}), "SS\nß",
	'because the value can be another one');

$node->stop;
done_testing();
