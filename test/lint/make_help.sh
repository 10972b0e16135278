#!/bin/sh
# "make help" names every target that somebody calls, and no other.
#
# Files: Makefile
#
# On failure: write a line "## target: what it does" above the rule, and add the
# target to .PHONY.
exec perl -e '
	my $text = do { local $/; <> };
	# these come from PGXS
	my %known = map { $_ => 1 } qw(all install uninstall installcheck clean);
	my %helped = map { $_ => 1 } ($text =~ /^## ([\w-]+): \S/mg);
	my @phony = map { split } ($text =~ /^\.PHONY: *((?:.*\\\n)*.*)/mg);

	print "Makefile:1: .PHONY names no target\n" unless @phony;
	foreach my $target (grep { $_ ne "\\" } @phony)
	{
		$known{$target} = 1;
		print "Makefile:1: there is no line \"## $target: ...\"\n" unless $helped{$target};
	}
	foreach my $target (sort keys %helped)
	{
		print "Makefile:1: \"## $target:\" describes no target of .PHONY\n" unless $known{$target};
	}
	' "$@"
