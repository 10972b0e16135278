
=pod

=head1 NAME

PsqlSession - errors and COMMITs of a session of background_psql

=head1 SYNOPSIS

  use PsqlSession;

  my $session = $node->background_psql('postgres', on_error_stop => 0);

  is(errors($session, 'SELECT 1/0'), '...');
  send_commit($session);
  is(commit_ends($session), '');

=head1 FUNCTIONS

=over

=item errors($session, $sql)

Run SQL; the errors, warnings and notices.

=item send_commit($session)

Send COMMIT without waiting for it.

=item commit_ends($session)

Wait for the end of that COMMIT; its errors and warnings.

=back

=cut

package PsqlSession;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);

our @EXPORT = qw(errors send_commit commit_ends);

sub errors
{
	my ($session, $sql) = @_;

	$session->{stderr} = '';
	$session->query($sql);
	my $errors = $session->{stderr} =~ s/background_psql: QUERY_SEPARATOR \d+:?\n?//gr;

	$session->{stderr} = '';
	return $errors;
}

sub send_commit
{
	my $session = shift;

	$session->{stderr} = '';
	$session->{stdin} .= "COMMIT;\n\\echo done\n";
	$session->{run}->pump_nb;
	return;
}

sub commit_ends
{
	my $session = shift;

	$session->{run}->pump until $session->{stdout} =~ /done\n/;
	$session->{stdout} = '';
	my $errors = $session->{stderr};
	$session->{stderr} = '';
	return $errors;
}

1;
