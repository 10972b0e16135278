# 021_readme.pl
#	  Run the examples of the documentation and compare what they print.
#
# A ``` block right after a ```sql block is the output of psql for it, without
# spaces at the ends of lines.  With README_PRINT in the environment the test
# prints the results, so that they can be copied into the documentation.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TwoClusters;

my $top = "$FindBin::RealBin/../..";
my $split = TwoClusters->new(extension => 0);
my ($host, $port) = ($split->store->host, $split->store->port);

# The examples of a page, in order: statements, and what they print or undef.
sub examples
{
	my $text = slurp_file("$top/$_[0]");
	my @examples;

	while ($text =~ /^```sql\n(.*?)^```\n(?:```\n(.*?)^```\n)?/msg)
	{
		push @examples, [ $1, $2 ];
	}
	return @examples;
}

# Run statements in the database and return what psql shows.
sub shown
{
	my $sql = shift;
	my ($stdout, $stderr) = ('', '');

	# a socket directory and port of our own
	$sql =~ s/OPTIONS \(dbname/OPTIONS (host '$host', port '$port', dbname/;
	IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $split->control->connstr('postgres') ],
		'<', \$sql, '>', \$stdout, '2>', \$stderr);
	unlike($stderr, qr/ERROR|FATAL|WARNING/, 'no error in: ' . ($sql =~ /^(.*)/)[0]);
	$stdout =~ s/ +$//mg;
	$stdout =~ s/\n+\z/\n/;
	return $stdout;
}

# Compare the examples of a page; how many print something.  All of README.md is
# one session's worth; of another page only what has its output beside it.
sub check_page
{
	my $page = shift;
	my $compared = 0;

	foreach my $example (examples($page))
	{
		my ($sql, $expected) = @$example;

		next unless defined $expected || $page eq 'README.md';
		my $got = shown($sql);

		next unless defined $expected;
		diag($got) if $ENV{README_PRINT};
		is($got, $expected, "what $page says of: " . ($sql =~ /^(.*)/)[0]);
		$compared++;
	}
	return $compared;
}

cmp_ok(check_page('README.md'), '>=', 4, 'README.md has examples with their output');

cmp_ok(check_page('docs/functions.md'), '>=', 1, 'docs/functions.md has one');

done_testing();
