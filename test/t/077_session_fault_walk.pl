#
# 077_session_fault_walk.pl
#	  A part of the fault walk: what breaks at a message between the control plane
#	  and a store leaves nothing half done that the client was not told of.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use Test::More;

my $walk = "$FindBin::RealBin/../fault_walk/run";

# Run the walk with these options; it must find nothing.
sub walk
{
	my ($name, @options) = @_;
	my $output = '';

	IPC::Run::run([ $^X, $walk, @options ], '>', \$output, '2>&1');
	my ($passed, $failed) = $output =~ /^(\d+) passed, (\d+) failed$/m;

	ok($passed && !$failed, "$name: " . ($passed // 'no') . ' cases') or diag($output);
	return;
}

# the answer to COMMIT that libpq cannot read
walk('COMMIT and garbage', '--only', '^commit$', '--faults', 'garbage_type,garbage_body,duplicate');

# a write, step by step, and something of all kinds of statements
walk('a write', '--only', '^insert$', '--every', '6', '--slow-every', '20');
walk('all statements', '--every', '149', '--slow-every', '20', '--seed', '5');

done_testing();
