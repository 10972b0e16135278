#!/bin/sh
# The version is the same wherever it stands.
#
# Files: runops.control META.json CHANGELOG.md sql/install/00-guard.sql
#
# On failure: runops.control says which version this is; write the same one
# where the message says.  META.json has it as three numbers, PGXN's form.
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" runops.control)
[ -n "$version" ] || echo "runops.control:1: no default_version"

head -n 1 sql/install/00-guard.sql | grep -qxF "/* runops $version */" ||
	echo "sql/install/00-guard.sql:1: is not \"/* runops $version */\""

grep -qE "^## (\[Unreleased\] - )?$version(\$| )" CHANGELOG.md ||
	echo "CHANGELOG.md:1: has no section \"## $version\""
first=$(sed -n 's/^## *\(\[Unreleased\] - \)\{0,1\}//p' CHANGELOG.md | head -n 1)
[ "${first%% *}" = "$version" ] ||
	echo "CHANGELOG.md:1: the first section is \"$first\", not $version"

# both the distribution and the extension that it provides
perl -MJSON::PP -e '
	my ($want) = @ARGV;
	local $/;
	my $meta = decode_json(<STDIN>);
	my %have = (version => $meta->{version},
		"provides.runops.version" => $meta->{provides}{runops}{version});
	foreach (sort keys %have)
	{
		print "META.json:1: $_ is ", $have{$_} // "missing", ", not $want\n"
		  unless ($have{$_} // "") eq $want;
	}' "$version.0" <META.json
