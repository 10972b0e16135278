#!/bin/sh
# Every error that a user can meet has a SQLSTATE, and reads like PostgreSQL's.
#
# Files: src/*.c sql/install/*.sql sql/upgrade/*
#
# On failure: add errcode() to the ereport, or ERRCODE to the RAISE; elog(ERROR)
# is for what cannot happen.  The message starts in lower case and has no full
# stop; detail and hint are sentences.
exec perl -e '
	foreach my $file (grep { /\.c$/ } @ARGV)
	{
		my $text = do { local (@ARGV, $/) = $file; <> };

		while ($text =~ /\bereport\s*\(\s*(ERROR|FATAL|PANIC|elevel)\s*,/g)
		{
			my $start = $-[0];
			my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);
			my $depth = 0;
			my $call = "";

			# to the parenthesis that closes it
			foreach my $token (substr($text, $start) =~ /"(?:[^"\\]|\\.)*"|[^"()]+|[()]/g)
			{
				$depth++ if $token eq "(";
				$depth-- if $token eq ")";
				$call .= $token;
				last if $token eq ")" && $depth == 0;
			}
			print "$file:$line: an error without errcode\n"
			  unless $call =~ /\berrcode(?:_for_\w+)?\s*\(/ || $call =~ /ThrowErrorData/;
			messages($file, $line, $call, "errmsg(?:_plural)?", "err(?:detail|hint)(?:_plural)?");
		}
	}
	foreach my $file (grep { /\.sql$/ } @ARGV)
	{
		my $text = do { local (@ARGV, $/) = $file; <> };

		while ($text =~ /\bRAISE\s+(EXCEPTION|WARNING|NOTICE)\b((?:[^;\x27]|\x27(?:[^\x27]|\x27\x27)*\x27)*);/g)
		{
			my ($level, $call, $start) = ($1, $2, $-[0]);
			my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);

			print "$file:$line: an error without ERRCODE\n"
			  if $level eq "EXCEPTION" && $call !~ /ERRCODE\s*=/;
			print "$file:$line: the message starts with a capital\n"
			  if $call =~ /MESSAGE\s*=\s*(?:pg_catalog\.)?(?:format\()?\x27[A-Z][a-z ]/;
			print "$file:$line: the message ends with a full stop\n"
			  if $call =~ /MESSAGE\s*=\s*\x27(?:[^\x27]|\x27\x27)*\.\x27\s*(?:,|$)/;
			print "$file:$line: detail or hint is no sentence with a full stop\n"
			  if $call =~ /(?:DETAIL|HINT)\s*=\s*\x27(?:[^\x27]|\x27\x27)*[^.?:)\x27]\x27\s*(?:,|$)/;
		}
	}

	# Check how the texts of an ereport read.
	sub messages
	{
		my ($file, $line, $call, $primary, $secondary) = @_;

		while ($call =~ /\b$primary\s*\(\s*("(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*)/g)
		{
			my $said = $1;

			print "$file:$line: the message starts with a capital: $said\n" if $said =~ /^"[A-Z][a-z ]/;
			print "$file:$line: the message ends with a full stop: $said\n" if $said =~ /\."$/;
		}
		while ($call =~ /\b$secondary\s*\(\s*("(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*)\s*[,)]/g)
		{
			my $said = $1;

			next if $said =~ /^"%s"$/;
			print "$file:$line: detail or hint is no sentence with a full stop: $said\n"
			  unless $said =~ /(?:[.?)]|: %s)"$/ && $said =~ /^"[^a-z]/;
		}
	}
	exit 0;' -- "$@"
