=pod

=head1 NAME

ServerReports - what a server reports of itself that no test asks for

=head1 DESCRIPTION

For test/run: failed assertions, and with valgrind in front of the server's
program its reports.  Only modules of Debian's perl-base are used.

=cut

package ServerReports;

use strict;
use warnings FATAL => 'all';

use File::Path qw(make_path);

my %known_traps;

# Let valgrind run a server's program and write into a directory.  initdb is left
# out: it is none of our affairs, and slow.  A server then takes twenty times as
# long for everything, so that the timeouts in the environment grow.
sub put_valgrind_before
{
	my ($postgres, $logs, @suppressions) = @_;
	my @supp = map { "--suppressions=$_" } grep { -e } @suppressions;

	make_path($logs);
	chmod 0777, $logs;
	rename($postgres, "$postgres.bin") or die "could not rename $postgres: $!\n";
	open(my $f, '>', $postgres) or die "$postgres: $!\n";
	print $f <<"EOT";
#!/bin/sh
case \$1 in
-V | --version | --boot | --single | --check | --describe-config | -C)
	exec '$postgres.bin' "\$\@"
esac
exec valgrind --quiet --trace-children=yes --track-origins=yes --error-limit=no --leak-check=no \\
	--error-markers=REPORT,END --log-file='$logs/%p.log' @supp '$postgres.bin' "\$\@"
EOT
	close($f);
	chmod 0755, $postgres;
	$ENV{PGCTLTIMEOUT} = $ENV{PG_TEST_TIMEOUT_DEFAULT} = $ENV{PGISOLATIONTIMEOUT} = 1800;
}

# The assertions that failed, from the logs below a directory, with the
# backtrace; each is told once.
sub traps
{
	my $run = shift;
	my @found;

	foreach my $file (split /\n/, `find '$run' -name '*.log' -size +0 2>/dev/null`)
	{
		my $text = read_file($file);

		while ($text =~ /^(TRAP: .*PID: (\d+)\)\n(?:.*\[0x\w+\]\n)*)/mg)
		{
			my ($trap, $pid) = ($1, $2);

			# Core's own: without a postmaster, postgres_fdw's abort exits
			# while the backend exits.
			next if $text =~ /\[$pid\] .*unexpected postmaster exit/ || $known_traps{"$file $trap"}++;
			push @found, $trap;
		}
	}
	return @found;
}

# What valgrind has reported in a directory since the last call.  One place in
# the code can be reported thousands of times, so what differs in numbers alone
# is told once.
sub valgrind
{
	my $logs = shift;
	my %found;

	foreach my $file (glob("$logs/*.log"))
	{
		my $text = read_file($file) =~ s/^==\d+== ?//gmr;

		unlink $file;
		# a crash is reported without the marks
		while ($text =~ /^REPORT\n(.*?)^END\n|^(Process terminating with default action of signal (?:4|6|7|8|11)\b.*\n(?:.+\n)*)/gms)
		{
			my $report = $1 // $2;
			my $key = $report =~ s/0x[0-9A-F]+|\b\d+ bytes|\bsize \d+|\b\d+//gr;

			$found{$key} = [ $report, 0 ] unless $found{$key};
			$found{$key}[1]++;
		}
	}
	return map { "valgrind, $found{$_}[1] times:\n$found{$_}[0]" } sort keys %found;
}

# The text of a file, '' if it cannot be read.
sub read_file
{
	my $path = shift;

	open(my $f, '<', $path) or return '';
	local $/ = undef;
	return scalar(<$f>) // '';
}

1;
