# 024_demo.pl
#	  The demo runs to its end, prints the expected results, and leaves no files or
#	  processes.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my ($pkglibdir) = run_command([ $ENV{PG_CONFIG} // 'pg_config', '--pkglibdir' ]);

plan skip_all => "the demo would install into $pkglibdir" unless -w $pkglibdir;

my $top = "$FindBin::RealBin/../..";
my ($output, $error) = ('', '');
my $ok = IPC::Run::run([ "$top/test/demo/run" ], '<', \undef, '>', \$output, '2>', \$error);

ok($ok, 'the demo succeeds') || diag("$output\n$error");
is($error, '', 'and has nothing to complain about');

my @steps = $output =~ /^(\d+)\. /mg;

is("@steps", join(' ', 1 .. 12), 'all steps');
is(() = $output =~ /^ +ERROR:/mg, 2, 'two errors, those of the last step');
like($output, qr/Index Scan using "TaskRun_pkey"/, 'the plan of a legacy read');
like($output, qr/Sent to Store: new\n +Remote SQL: SELECT "r"\."status",/, 'the plan of a join in the store');
like($output, qr/\| LEGACY\n.*\| NEW\n.*\| LEGACY\n/, 'a page merged over both');
like($output, qr/ legacy \| 39999\n +new +\| +500\n/, 'what is where');

my ($dir) = $output =~ m{host '(/[^']+/runops-demo\.\w+)'};

ok(defined $dir && !-e $dir, 'its directory is gone');

done_testing();
