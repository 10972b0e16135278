=pod

=head1 NAME

Coverage - how many lines of a tree were executed

=head1 DESCRIPTION

For test/run: after a build with C<COVERAGE=1> and a run of tests, C<report> asks
gcov about each file of src/.  Only modules of Debian's perl-base are used.

=cut

package Coverage;

use strict;
use warnings FATAL => 'all';

# A table of the modules, the files with the lowest share, and a last line for
# all of src.  Files that were never loaded count with all of their lines.
sub report
{
	my $tree = shift;
	my (%lines, %executed, @files);

	foreach my $notes (sort glob("$tree/src/*.gcno $tree/src/*/*.gcno"))
	{
		my $source = $notes =~ s{^\Q$tree\E/(.*)\.gcno$}{$1.c}r;
		my $said = `cd '$tree' && gcov -n '$notes' 2>/dev/null`;

		$said =~ /^File '\Q$source\E'\nLines executed: *([\d.]+)% of (\d+)/m or next;
		my ($percent, $lines) = ($1, $2);
		my $module = $source =~ m{^(src/\w+)/} ? $1 : 'src/*.c';
		foreach my $key ($module, 'all of src')
		{
			$lines{$key} += $lines;
			$executed{$key} += $percent * $lines / 100;
		}
		push @files, [ $percent, $lines, $source ];
	}
	return "gcov knows no file\n" unless @files;

	my @lowest = (sort { $a->[0] <=> $b->[0] || $a->[2] cmp $b->[2] } @files)[ 0 .. 9 ];
	my $text = "\nthe lowest:\n";
	$text .= sprintf("%-32s %5.1f %% of %5d lines\n", @$_[ 2, 0, 1 ]) foreach grep { defined } @lowest;
	$text .= "\nlines executed:\n";
	foreach my $key ((sort grep { $_ ne 'all of src' } keys %lines), 'all of src')
	{
		$text .= sprintf("%-32s %5.1f %% of %5d lines\n", $key, 100 * $executed{$key} / $lines{$key}, $lines{$key});
	}
	return $text;
}

1;
