# A store that asks for a password: with a wrong password, without one, and with
# the right one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;

$split->store_sql(<<'EOT');
CREATE ROLE app LOGIN PASSWORD 'right';
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 2);
GRANT ALL ON run TO app;
EOT
my $hba = $split->store->data_dir . '/pg_hba.conf';
my $trusting = slurp_file($hba);

unlink $hba;
append_to_file($hba, "local all app scram-sha-256\n$trusting");
$split->store->reload;

$split->sql(<<'EOT');
CREATE TABLE run (id text PRIMARY KEY, n int);
INSERT INTO run VALUES ('c000000000000000000000001', 1);
SELECT runops.attach('run', 'id');
CREATE ROLE app;
GRANT ALL ON run TO app;
CREATE USER MAPPING FOR app SERVER run_ops OPTIONS (user 'app', password 'wrong');
EOT

# a proof stands: what follows is about connections, not about the gate
is($split->sql('SELECT verdict FROM runops.recheck()'), 'distinct', 'the store is proved');

my ($stdout, $stderr) = $split->try(<<'EOT');
SET ROLE app;
BEGIN;
INSERT INTO run VALUES ('c000000000000000000000002', 2);
SAVEPOINT s;
INSERT INTO run VALUES ('c000000000000000000000003', 3), ('0123456789abcdefghijklmnb1', 4);
ROLLBACK TO s;
SELECT 'usable', count(*) FROM run WHERE id LIKE 'c%' AND runops.store_of(id) = 'legacy' AND id = 'c000000000000000000000002';
COMMIT;
SELECT count(*) FROM run;
RESET ROLE;
SELECT id FROM runops_legacy.run ORDER BY id;
EOT
like($stderr, qr/ERROR:  08001: could not connect to server "run_ops"/, 'a wrong password: SQLSTATE');
like($stderr, qr/DETAIL:  .*password authentication failed for user "app"/, 'the detail is the store\'s');
like($stderr, qr/HINT:  Check .* the options of server "run_ops" and of the user mapping\./, 'the hint');
like($stderr, qr/CONTEXT:  table "run" in store "new"/, 'the store is named');
unlike($stderr . $stdout, qr/wrong/, 'the password is not shown');
like($stdout, qr/c000000000000000000000001\nc000000000000000000000002$/, 'nothing is half done');

$split->sql(q{ALTER USER MAPPING FOR app SERVER run_ops OPTIONS (DROP password)});
($stdout, $stderr) = $split->try('SET ROLE app; SELECT count(*) FROM run;');
like($stderr, qr/ERROR:  2F003: password .*required.*HINT:  Give the user mapping a password/s, 'no password');

$split->sql(q{ALTER USER MAPPING FOR app SERVER run_ops OPTIONS (ADD password 'right')});
is($split->sql('SET ROLE app; SELECT count(*) FROM run'), 3, 'the right password');
# a password that the store does not ask for proves nothing
unlink $hba;
append_to_file($hba, $trusting);
$split->store->reload;
($stdout, $stderr) = $split->try('SET ROLE app; SELECT count(*) FROM run;');
like($stderr, qr/ERROR:  2F003: password .*required/, 'a password that is not asked for');

done_testing();
