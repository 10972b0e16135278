-- reads_run_for_event: a run with its environment, or which of the two is missing

\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/planner.sql'
\set schema read_run_for_event
\i :helpers
CREATE TABLE environment (id text PRIMARY KEY, slug text);
INSERT INTO environment VALUES ('e1', 'prod'), ('7', 'seven');
SELECT runops.add_resolver('environment', 'SELECT id, slug FROM read_run_for_event.environment WHERE id = $1');
SELECT runops.set_retention('run', '30 days');
UPDATE run SET env = NULL WHERE id = :'L2';
UPDATE run SET env = 'gone' WHERE id = :'K';

-- what is logged is shown here
SET client_min_messages = log;
SELECT outcome, run ->> 'id' AS run, environment FROM runops.read_run_for_event('run', :'L', 'env');
SELECT outcome, run ->> 'id' AS run, environment FROM runops.read_run_for_event('run', 'run_' || :'N', 'env');
SELECT outcome, run ->> 'id' AS run, environment FROM runops.read_run_for_event('run', :'K', 'env');
SELECT outcome, run ->> 'id' AS run, environment FROM runops.read_run_for_event('run', 'run_' || :'L2', 'env');
SELECT * FROM runops.read_run_for_event('run', '0123456789abcdefghijklmn91', 'env');
SELECT * FROM runops.read_run_for_event('run', '0ujtsYcgvSTl8PAuAdqWYSMnLO1', 'env');
SELECT * FROM runops.read_run_for_event('run', runops.gen_cuid(), 'env');
SELECT * FROM runops.read_run_for_event('run', 'ck8rc4pl00000000000000000', 'env');
SELECT * FROM runops.read_run_for_event('run', 'odder', 'env');
SELECT * FROM runops.read_run_for_event('run', NULL, 'env');
-- a column of another type
UPDATE run SET n = 7 WHERE id = :'L';
SELECT outcome, environment FROM runops.read_run_for_event('run', :'L', 'n');
-- the environment appears, and is gone
INSERT INTO environment VALUES ('gone', 'back');
SELECT runops.invalidate_environment('gone');
SELECT outcome, environment ->> 'slug' AS slug FROM runops.read_run_for_event('run', :'K', 'env');

-- mistakes
SELECT * FROM runops.read_run_for_event('run', :'L');
SELECT * FROM runops.read_run_for_event('run', :'L', 'nix');
SELECT * FROM runops.read_run_for_event('run', :'L', 'env', 'nix');
SELECT * FROM runops.read_run_for_event('run', :'L', NULL);
SELECT * FROM runops.read_run_for_event('run', :'L', 'env', NULL);
SELECT * FROM runops.read_run_for_event(NULL, :'L', 'env');
SELECT * FROM runops.read_run_for_event('environment', 'e1', 'slug');
SELECT * FROM runops.read_run_for_event('run', :'Z', 'env');
SET client_min_messages = warning;

-- rights: the run's, and the resolver's
\set SHOW_CONTEXT never
CREATE ROLE event_reader;
GRANT USAGE ON SCHEMA read_run_for_event TO event_reader;
SET ROLE event_reader;
SELECT outcome FROM runops.read_run_for_event('run', :'L', 'env');
RESET ROLE;
GRANT SELECT ON run TO event_reader;
SET ROLE event_reader;
SELECT outcome FROM runops.read_run_for_event('run', :'L', 'env');
RESET ROLE;
GRANT EXECUTE ON FUNCTION runops.resolve(text, text[]) TO event_reader;
SET ROLE event_reader;
SELECT outcome FROM runops.read_run_for_event('run', :'L', 'env');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION runops.resolve(text, text[]) FROM event_reader;
DROP OWNED BY event_reader;
DROP ROLE event_reader;

SELECT runops.drop_resolver('environment');
\set helpers_end :srcdir '/sql/include/planner_end.sql'
\i :helpers_end
