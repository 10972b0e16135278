#!/bin/sh
# META.json is what PGXN accepts.
#
# Files: META.json
#
# On failure: see the PGXN Meta Spec, https://pgxn.org/spec/; a trailing comma is
# the usual reason that it does not parse.
exec perl -MJSON::PP -e '
	local $/;
	my $meta = eval { decode_json(<STDIN>) };
	if (!$meta)
	{
		print "META.json:1: $@";
		exit 1;
	}
	foreach my $key (qw(name version abstract maintainer license provides meta-spec))
	{
		print "META.json:1: \"$key\" is missing\n" unless defined $meta->{$key};
	}
	print "META.json:1: \"name\" is not runops\n" unless $meta->{name} eq "runops";
	my $semver = qr/^\d+\.\d+\.\d+(-[A-Za-z][-0-9A-Za-z]*)?$/;

	print "META.json:1: version is no semantic version\n" unless $meta->{version} =~ $semver;
	print "META.json:1: meta-spec.version is not 1.0.0\n"
	  unless ($meta->{"meta-spec"}{version} // "") eq "1.0.0";
	while (my ($name, $it) = each %{ $meta->{provides} })
	{
		print "META.json:1: provides.$name: version is no semantic version\n"
		  unless ($it->{version} // "") =~ $semver;
		foreach my $key (qw(file docfile))
		{
			next if $key eq "docfile" && !defined $it->{$key};
			print "META.json:1: provides.$name.$key: there is no such file\n"
			  unless defined $it->{$key} && (-e $it->{$key} || $it->{$key} =~ m{^sql/runops--[\d.]+\.sql$} && -d "sql/install");
		}
	}
	print "META.json:1: prereqs.runtime.requires.PostgreSQL is missing\n"
	  unless $meta->{prereqs}{runtime}{requires}{PostgreSQL};
	foreach my $tag (@{ $meta->{tags} // [] })
	{
		print "META.json:1: tag \"$tag\" is too long\n" if length $tag > 255;
	}
	' <"$1"
