#!/bin/sh
# Every C file says what it is, and every function what it does.
#
# Files: src/*.c src/*.h test/fuzz/*.c test/ids/*.c
#
# On failure: the header has the shape of src/gate/gate.c: the file's name, then one
# sentence.  The comment of a function stands right before its return type and
# says what it returns, what it assumes and when it raises.
exec perl -e '
	my @files = @ARGV;

	foreach my $file (@files)
	{
		open(my $f, "<", $file) or die "$file: $!";
		my @lines = <$f>;
		my ($base) = $file =~ m{([^/]+)$};

		chomp @lines;
		print "$file:1: the header is not that of src/gate/gate.c\n"
		  unless $lines[0] =~ m{^/\*-{20,}$}
		  && $lines[1] eq " *"
		  && $lines[2] eq " * $base"
		  && $lines[3] =~ m{^ \*\t  [A-Z]};
		print "$file:1: the header has no copyright line\n"
		  unless grep { /^ \* Copyright \(c\) 20\d\d, The runops authors$/ } @lines[ 0 .. ($#lines < 80 ? $#lines : 80) ];
		next unless $file =~ /\.c$/;
		for (my $i = 1; $i < @lines; $i++)
		{
			# the name in the first column, its type on the line before
			next unless $lines[$i] =~ /^([a-z_]\w*)\(/ && $lines[ $i - 1 ] =~ /^[A-Za-z_][\w *]*$/;
			my ($name) = $lines[$i] =~ /^(\w+)/;
			my $j = $i;

			$j++ while $j < $#lines && $lines[$j] !~ /[;{]\s*$/;
			next unless $lines[$j] =~ /^\{/;
			my $k = $i - 2;

			$k-- while $k > 0 && $lines[$k] =~ /^(?:PG_FUNCTION_INFO_V1\(.*|pg_attribute\w*.*|pg_noinline|)$/;
			print "$file:", $i + 1, ": $name() has no comment\n"
			  unless $lines[$k] =~ m{\*/\s*$};
		}
	}
	exit 0;' -- "$@"
