#!/usr/bin/perl
#
# module_order.pl
#	  Compare the sources with the table of modules in docs/design.md.
#
# usage: test/lint/module_order.pl [--graph] FILE ...
#
# It prints, as "file:line: what":
#
# - files that the table lacks, or names in vain;
# - includes of a header that is not the includer's own, nor in base/, nor the
#   interface of a module that the table lets it call;
# - declarations of functions in a .c file, which would get around that;
# - uses of a function that a header of another module declares, if the table
#   does not allow the call;
# - circles of calls among files.
#
# A file calls another one if it names a function that is defined there and
# declared in a header.  With --graph these calls are printed instead, a line
# each.

use strict;
use warnings FATAL => 'all';

my $graph = @ARGV && $ARGV[0] eq '--graph' ? shift : undef;
my @files = grep { m{^src/.*\.[ch]$} } @ARGV;
my (%module_of, %may, @order);
my (%text, %line, %declared, %defined, %calls);
my $wrong = 0;

read_table();
check_files();
read_files();
check_includes();
find_calls();
if ($graph)
{
	foreach my $file (sort keys %calls)
	{
		print map { "$file -> $_: @{[ sort keys %{ $calls{$file}{$_} } ]}\n" } sort keys %{ $calls{$file} };
	}
	exit 0;
}
check_calls();
check_circles();
exit($wrong ? 1 : 0);

# Say what is wrong.
sub wrong
{
	print "$_[0]\n";
	$wrong = 1;
	return;
}

# Read the table: the files of each module, and the modules that it may call.
sub read_table
{
	my $design = 'docs/design.md';

	open(my $f, '<', $design) or die "$design: $!\n";
	while (my $row = <$f>)
	{
		my ($module, $files, $may) = $row =~ /^\| `(\w+)\/` \|[^|]*\|([^|]*)\|([^|]*)\|$/ or next;
		my $dir = $module eq 'src' ? 'src' : "src/$module";

		push @order, $module;
		$module_of{"$dir/$_"} = $module foreach $files =~ /`([\w.]+)`/g;
		$may =~ s/\ball\b/@order/;
		$may{$module} = { map { $_ => 1 } $may =~ /\w+/g };
		foreach my $called (keys %{ $may{$module} })
		{
			wrong("$design:$.: $module may not call $called, which does not come before it")
			  unless grep { $_ eq $called } @order;
		}
	}
	die "$design has no table of modules\n" unless @order > 1;
	return;
}

# Every file is in the table, and every file of the table is there.
sub check_files
{
	my %there = map { $_ => 1 } @files;

	die "there are no sources\n" unless @files;
	foreach my $file (@files)
	{
		wrong("$file:1: is not in the table of docs/design.md") unless $module_of{$file};
	}
	foreach my $file (sort keys %module_of)
	{
		wrong("docs/design.md:1: there is no $file") unless $there{$file};
	}
	return;
}

# Read the sources without comments and strings; collect what headers declare
# and where it is defined.
sub read_files
{
	foreach my $file (@files)
	{
		my $text = do { local (@ARGV, $/) = $file; <> };

		$text =~ s{/\*.*?\*/}{ $& =~ tr/\n//cdr }gse;
		$text{$file} = $text;
		# names in strings are no calls
		$text =~ s{^(?!\s*#\s*include)(.*)$}{ $1 =~ s/"(?:[^"\\]|\\.)*"/""/gr }gme;
		$line{$file} = $text;
		if ($file =~ /\.h$/)
		{
			$declared{$1} = $file while $text =~ /^extern\b[^;{]*?\b(\w+)\s*(?:\(|;|\[)/gm;
		}
	}
	foreach my $file (grep { /\.c$/ } @files)
	{
		while ($text{$file} =~ /^(\w+)\(|^(?!static\b|extern\b)[A-Za-z_][\w \t*]*?\b(\w+)(?:\[\w*\])*(?:\s*=|;)/gm)
		{
			my $name = $1 // $2;

			$defined{$name} = $file if $declared{$name};
		}
	}
	return;
}

# May a file of one module use the header of another?
sub allowed
{
	my ($from, $header) = @_;
	my $to = $module_of{$header} // return 0;

	return 1 if $from eq $to || $to eq 'base';
	return $may{$from}{$to} && $header eq "src/$to/$to.h";
}

# Look at what each file includes and declares.
sub check_includes
{
	foreach my $file (@files)
	{
		my $from = $module_of{$file} // next;
		my $n = 0;

		foreach my $line (split /\n/, $text{$file})
		{
			$n++;
			if ($line =~ /^\s*#\s*include\s+"([^"]+)"/)
			{
				my $header = "src/$1";

				next unless -e $header && $1 !~ m{^postgres\.h$};
				wrong("$file:$n: $from/ may not include $1")
				  unless allowed($from, $header);
			}
			wrong("$file:$n: declares a function that belongs into a header")
			  if $file =~ /\.c$/ && $line =~ /^extern\b.*\(/ && $line !~ /PGDLLEXPORT/;
		}
	}
	return;
}

# Which file uses which function of which other file?
sub find_calls
{
	foreach my $file (@files)
	{
		my $text = $line{$file};

		next unless $file =~ /\.c$/;
		while ($text =~ /\b([A-Za-z_]\w*)\b/g)
		{
			my $to = $defined{$1};

			$calls{$file}{$to}{$1} = 1 if defined $to && $to ne $file;
		}
	}
	wrong('src/: no file calls another') unless %calls;
	return;
}

# Calls go to modules that the table names.
sub check_calls
{
	foreach my $file (sort keys %calls)
	{
		foreach my $to (sort keys %{ $calls{$file} })
		{
			my ($from, $there) = ($module_of{$file} // next, $module_of{$to} // next);

			next if $from eq $there || $may{$from}{$there};
			wrong("$file:1: $from/ may not call $_ of $to") foreach sort keys %{ $calls{$file}{$to} };
		}
	}
	return;
}

# No file calls itself by way of others: Tarjan's algorithm.
sub check_circles
{
	my (%index, %low, %on_stack, @stack);
	my $visit;
	my $n = 0;

	$visit = sub {
		my $file = shift;

		$index{$file} = $low{$file} = $n++;
		push @stack, $file;
		$on_stack{$file} = 1;
		foreach my $to (sort keys %{ $calls{$file} // {} })
		{
			if (!defined $index{$to})
			{
				$visit->($to);
				$low{$file} = $low{$to} if $low{$to} < $low{$file};
			}
			elsif ($on_stack{$to} && $index{$to} < $low{$file})
			{
				$low{$file} = $index{$to};
			}
		}
		return if $low{$file} != $index{$file};
		my @circle;

		do
		{
			push @circle, pop @stack;
			delete $on_stack{ $circle[-1] };
		} while ($circle[-1] ne $file);
		wrong("$file:1: a circle of calls: @{[ sort @circle ]}") if @circle > 1;
		return;
	};
	foreach my $file (sort keys %calls)
	{
		$visit->($file) unless defined $index{$file};
	}
	return;
}
