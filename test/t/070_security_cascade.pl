#
# 070_security_cascade.pl
#	  The cleanup of cascades runs what a child's owner has written with the
#	  rights of that owner, and reaches a store with the owner's mapping.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../lib";
use TwoClusters;

use PostgreSQL::Test::Utils;
use Test::More;

my $split = TwoClusters->new;
my $store_hba = $split->store->data_dir . '/pg_hba.conf';
my $trusting = slurp_file($store_hba);

# a store that asks for passwords, except its superuser's
$split->store_sql(q{CREATE ROLE appr LOGIN PASSWORD 'p'; CREATE ROLE other LOGIN});
unlink $store_hba;
append_to_file($store_hba, "local all appr scram-sha-256\n$trusting");
$split->store->reload;

# an owner of a table with no other right
$split->sql(<<'EOT');
CREATE ROLE o LOGIN;
GRANT CREATE ON SCHEMA public TO o;
CREATE USER MAPPING FOR PUBLIC SERVER run_ops OPTIONS (user 'appr', password 'p');
CREATE TABLE env (id text PRIMARY KEY);
CREATE TABLE seen (kind text, who name);
GRANT INSERT ON seen TO o;
CREATE TABLE run (id text PRIMARY KEY, env text, n int);
CREATE TABLE tag (id int PRIMARY KEY, env text, n int);
CREATE INDEX ON run (env);
CREATE INDEX ON tag (env);
ALTER TABLE run OWNER TO o;
ALTER TABLE tag OWNER TO o;
SELECT runops.attach('run', 'id');
SELECT runops.provision('new');
SELECT runops.add_cascade('env', 'run', 'env');
SELECT runops.add_cascade('env', 'tag', 'env', 'set null');
EOT
$split->store_sql('GRANT SELECT, INSERT, UPDATE, DELETE ON run TO appr');

# Delete an environment with a row in each store, and wait for the cleanup.
sub clean_up
{
	my $env = shift;

	$split->sql(<<"EOT");
SET runops.cross_store_writes = allow;
INSERT INTO env VALUES ('$env');
INSERT INTO run VALUES ('c00000000000000000000000' || right('$env', 1), '$env', 1), (lpad(right('$env', 1), 24, '0') || '01', '$env', 2);
INSERT INTO tag VALUES (1, '$env', 1) ON CONFLICT (id) DO UPDATE SET env = excluded.env;
TRUNCATE seen;
DELETE FROM env WHERE id = '$env';
EOT
	return $split->control->poll_query_until('postgres', 'SELECT count(*) = 0 FROM runops.progress');
}

# What has run as whom.
sub seen
{
	return $split->sql(q{SELECT kind, string_agg(DISTINCT who, ' ') FROM seen GROUP BY 1 ORDER BY 1});
}

$split->sql(<<'EOT');
SET ROLE o;
CREATE FUNCTION note(text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES ($1, current_user);
	RETURN 1;
END $$;
CREATE FUNCTION f(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM public.note($1); RETURN true; END $$;
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.note(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END $$;
RESET ROLE;
CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$;
SET ROLE o;
CREATE DOMAIN d AS text CHECK (f('domain' || coalesce(left(VALUE, 0), '')));
ALTER TABLE run ALTER env TYPE d;
ALTER TABLE tag ALTER env TYPE d;
CREATE TRIGGER act_when BEFORE DELETE ON run FOR EACH ROW WHEN (f('when' || (old.n > 1)::text)) EXECUTE FUNCTION harmless();
CREATE TRIGGER act BEFORE UPDATE ON tag FOR EACH ROW EXECUTE FUNCTION act('trigger of a plain table');
CREATE CONSTRAINT TRIGGER act_late AFTER UPDATE ON tag DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION act('deferred trigger');
ALTER TABLE tag ADD CHECK (f('check'));
ALTER TABLE tag ADD g bool GENERATED ALWAYS AS (f('generated')) STORED;
CREATE INDEX ON tag ((f('index' || left(n::text, 0))));
CREATE INDEX ON tag (n) WHERE f('predicate' || left(id::text, 0));
EOT

ok(clean_up('e1'), 'the cleanup ends');
is($split->sql('SELECT count(*) FROM run'), 0, 'and has reached both stores');
is(seen(), <<'EOT' =~ s/\n\z//r, 'the owner\'s code runs as the owner');
check|o
deferred trigger|o
domain|o
generated|o
index|o
predicate|o
trigger of a plain table|o
whenfalse|o
whentrue|o
EOT

$split->sql(q{SET ROLE o;
	CREATE TRIGGER act BEFORE DELETE ON run FOR EACH ROW EXECUTE FUNCTION act('row trigger')});
ok(clean_up('e4'), 'the cleanup ends where a trigger is the owner\'s');
like(seen(), qr/^row trigger\|o$/m, 'which runs as the owner');
unlike(seen(), qr/\|(?!o$)/m, 'like all the rest');

# code that changes the session changes nothing of the next step, and cannot take other rights
$split->sql(<<'EOT');
SET ROLE o;
CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', 'public, pg_catalog', false), set_config('application_name', 'taken', false);
	BEGIN
		EXECUTE 'RESET ROLE';
	EXCEPTION WHEN OTHERS THEN
		PERFORM public.note('cannot reset the role: ' || SQLSTATE);
	END;
	PERFORM public.note('settings');
	RETURN coalesce(NEW, OLD);
END $$;
DROP TRIGGER act ON tag;
CREATE TRIGGER act BEFORE UPDATE ON tag FOR EACH ROW WHEN (current_setting('application_name') = 'taken' AND f('a setting stays' || left(old.id::text, 0))) EXECUTE FUNCTION act('x');
EOT
ok(clean_up('e2'), 'the cleanup ends where settings are changed');
like(seen(), qr/^cannot reset the role: 42501\|o\n(?:.*\n)*settings\|o\n/m, 'the code has run');
unlike(seen(), qr/a setting stays/, 'settings are put back after each step');

# A store is reached with the mapping of the child's owner.
$split->sql(q{DROP TRIGGER act ON run; DROP TRIGGER act_when ON run});
$split->store_sql('REVOKE DELETE ON run FROM appr');
$split->sql(<<'EOT');
INSERT INTO env VALUES ('e3');
INSERT INTO run VALUES ('000000000000000000000003' || '01', 'e3');
DELETE FROM env;
EOT
ok($split->control->poll_query_until('postgres', q{SELECT phase = 'set aside' FROM runops.progress}),
	'what the owner may not do in the store, the cleanup does not');
is($split->sql(q{SELECT sqlstate FROM runops.cascade_failure}), '42501', 'and says why');
is($split->store_sql(q{SELECT count(*) FROM run}), 1, 'the row stays');
$split->store_sql('GRANT DELETE ON run TO appr');
is($split->sql('SELECT runops.cleanup(); SELECT count(*) FROM run'), "1\n0", 'once he may, it goes');

# a trigger that calls the cleanup, or does not end, holds up nobody else
$split->sql(<<'EOT');
GRANT USAGE ON SCHEMA runops TO o;
GRANT EXECUTE ON FUNCTION runops.cleanup TO o;
DELETE FROM tag;
DROP TRIGGER act ON tag;
DROP TRIGGER act_late ON tag;
INSERT INTO env VALUES ('e5');
INSERT INTO tag VALUES (5, 'e5', 1);
SET ROLE o;
CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM runops.cleanup(); RETURN NEW; END $$;
CREATE TRIGGER act BEFORE UPDATE ON tag FOR EACH ROW EXECUTE FUNCTION act();
RESET ROLE;
DELETE FROM env WHERE id = 'e5';
EOT
ok($split->control->poll_query_until('postgres', q{SELECT phase = 'set aside' FROM runops.progress}), 'a trigger that calls the cleanup fails');
is($split->sql(q{SELECT sqlstate || ' ' || message FROM runops.cascade_failure}),
	'55006 a cleanup is already running in this session: A trigger of a child, or another function that the cleanup runs, has called it.',
	'because one is running');
$split->sql(<<'EOT');
DROP TRIGGER act ON tag;
SELECT runops.cleanup();
CREATE TABLE env2 (id text PRIMARY KEY);
CREATE TABLE note2 (id int PRIMARY KEY, env text);
CREATE INDEX ON note2 (env);
SELECT runops.add_cascade('env2', 'note2', 'env');
INSERT INTO env2 VALUES ('f');
INSERT INTO note2 VALUES (1, 'f');
INSERT INTO env VALUES ('e6');
INSERT INTO tag VALUES (6, 'e6', 1);
SET ROLE o;
CREATE OR REPLACE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
CREATE TRIGGER act BEFORE UPDATE ON tag FOR EACH ROW EXECUTE FUNCTION act();
RESET ROLE;
DELETE FROM env WHERE id = 'e6';
EOT
ok($split->control->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'}), 'the worker runs a trigger that sleeps');
$split->sql(q{DELETE FROM env2});
ok($split->control->poll_query_until('postgres', q{SELECT count(*) = 0 FROM note2}), 'another child is cleaned up');

done_testing();
