#!/bin/sh
# Every function of the install script says how it behaves, and finds what it
# names wherever it is called.
#
# Files: sql/install/*.sql sql/upgrade/*
#
# On failure: write VOLATILE, STABLE or IMMUTABLE and PARALLEL SAFE, RESTRICTED or
# UNSAFE on the function; PL/pgSQL takes SET search_path = pg_catalog, pg_temp
# (or, in a procedure that commits, which may not have one, and in explain(),
# whose statement has the names of its caller, only qualified names).  Never CREATE OR REPLACE or IF NOT EXISTS: somebody else may have made
# the object before.
exec perl -e '
	my @files = grep { /\.sql$/ } @ARGV;

	foreach my $file (@files)
	{
		my $text = do { local (@ARGV, $/) = $file; <> };

		$text =~ s{/\*.*?\*/}{ $& =~ tr/\n//cdr }gse;
		$text =~ s{--[^\n]*}{}g;
		while ($text =~ /^CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\s+([^\s(]+)(.*?);\s*$/gms)
		{
			my ($replace, $kind, $name, $rest, $start) = ($1, $2, $3, $4, $-[0]);
			my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);
			my ($tag) = $rest =~ /\bAS\s+(\$\w*\$)/;
			my $attributes = $rest;

			print "$file:$line: $name: CREATE OR REPLACE\n" if $replace;
			print "$file:$line: $name: is not in the schema runops\n"
			  unless $name =~ /^(?:runops|\@extschema\@)\./;
			# without the body; what stands after it still counts
			if (defined $tag)
			{
				my $body = index($text, $tag, $start);
				my $end = index($text, $tag, $body + length $tag);
				my $stop = index($text, ";", $end);

				$attributes = substr($text, $start, $body - $start) . substr($text, $end, $stop - $end);
				pos($text) = $stop;
			}
			elsif ($rest =~ /^(.*?)\b(?:BEGIN\s+ATOMIC|RETURN\b)/s && $rest !~ /MODULE_PATHNAME/)
			{
				$attributes = $1;
			}
			my ($language) = $attributes =~ /LANGUAGE\s+(\w+)/i;

			print "$file:$line: $name: no LANGUAGE\n" unless $language;
			if ($kind eq "FUNCTION")
			{
				print "$file:$line: $name: no volatility\n" unless $attributes =~ /\b(?:VOLATILE|STABLE|IMMUTABLE)\b/;
				print "$file:$line: $name: no PARALLEL\n" unless $attributes =~ /\bPARALLEL\s+(?:SAFE|RESTRICTED|UNSAFE)\b/;
				print "$file:$line: $name: no SET search_path\n"
				  if lc($language // "") eq "plpgsql" && $name ne "runops.explain"
				  && $attributes !~ /SET\s+search_path\s*(?:=|TO)\s*pg_catalog,\s*pg_temp/;
			}
		}
		while ($text =~ /\bCREATE\s+(?:TABLE|VIEW|TYPE|SCHEMA|EXTENSION|SEQUENCE)\s+IF\s+NOT\s+EXISTS/g)
		{
			# text that a function executes is its own affair
			my $before = substr($text, 0, $-[0]);

			print "$file:", 1 + ($before =~ tr/\n//), ": IF NOT EXISTS\n"
			  if (() = $before =~ /\$\$/g) % 2 == 0;
		}
	}
	exit 0;' -- "$@"
