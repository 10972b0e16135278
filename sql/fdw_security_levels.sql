-- fdw_security_levels: a condition of the query that may leak what it sees is
-- evaluated after the policies and the barriers of views, as core does it, also
-- where the rows are in a store
--
-- The rows that nobody may see have secrets that begin with S, and the
-- conditions divide by zero for S.  The policies are dear, so that a database
-- that is sent both evaluates the condition first.

\set VERBOSITY terse
\connect runops_store
CREATE SCHEMA sl;
\connect contrib_regression
SET client_min_messages = warning;
CREATE SCHEMA sl;
SET search_path = sl;
SET runops.enable_shipping = off;
CREATE TABLE run (id text PRIMARY KEY, env text NOT NULL, n int, secret text);
CREATE INDEX ON run (env);
CREATE TABLE item (id text PRIMARY KEY, run_id text NOT NULL, n int);
CREATE INDEX ON item (run_id);
SELECT runops.attach('run', 'id');
SELECT runops.attach('item', 'run_id');
SELECT count(*) > 0 AS provisioned FROM runops.provision('new');
CREATE TABLE pick (id text, n int);

\set V '00000000000000000000000000V'
\set H '00000000000000000000000000H'
INSERT INTO run VALUES (:'V', 'e1', 1, 'Apple'), (:'H', 'e2', 2, 'Secret'),
	('cvisible00000000000000000', 'e1', 3, 'Ant'), ('chidden000000000000000000', 'e2', 4, 'Sun');
INSERT INTO item VALUES ('i1', :'V', 1), ('i2', :'H', 2);
INSERT INTO pick VALUES (:'V', 1), (:'H', 83);
ANALYZE run;
ANALYZE item;
ANALYZE pick;

CREATE ROLE regress_sl_owner;
CREATE ROLE regress_sl_user;
GRANT USAGE ON SCHEMA sl TO regress_sl_owner, regress_sl_user;
GRANT CREATE ON SCHEMA sl TO regress_sl_owner;
DO $$
BEGIN
	EXECUTE format('CREATE USER MAPPING FOR regress_sl_owner SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
	EXECUTE format('CREATE USER MAPPING FOR regress_sl_user SERVER run_ops OPTIONS (user %L, password_required ''false'')', current_user);
END
$$;
ALTER TABLE run OWNER TO regress_sl_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON run, item TO regress_sl_owner, regress_sl_user;
GRANT SELECT ON pick TO regress_sl_user, regress_sl_owner;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;

-- what a statement of a role returns or raises, with routing and without, by a
-- custom and a generic plan; nothing stays of it
CREATE FUNCTION tried(who name, statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	routing text;
	mode text;
	answer text;
	line text;
	lines text[];
	seen text[] := '{}';
BEGIN
	FOREACH routing IN ARRAY '{on,off}'::text[] LOOP
		FOREACH mode IN ARRAY '{force_custom_plan,force_generic_plan}'::text[] LOOP
			CONTINUE WHEN routing = 'off' AND mode = 'force_generic_plan';
			PERFORM set_config('runops.enable_routing', routing, true), set_config('plan_cache_mode', mode, true),
				set_config('role', who, true);
			EXECUTE 'PREPARE tried(int) AS ' || statement;
			BEGIN
				lines := '{}';
				FOR line IN EXECUTE 'EXECUTE tried(83)' LOOP
					lines := lines || line;
				END LOOP;
				SELECT string_agg(l, ' ' ORDER BY l COLLATE "C") INTO answer FROM unnest(lines) l;
				RAISE EXCEPTION USING errcode = 'SL000';
			EXCEPTION
				WHEN SQLSTATE 'SL000' THEN answer := COALESCE(answer, '');
				WHEN OTHERS THEN answer := sqlerrm;
			END;
			DEALLOCATE tried;
			PERFORM set_config('role', 'none', true);
			IF answer <> ALL (seen) THEN
				seen := seen || answer;
				RETURN NEXT answer;
			END IF;
		END LOOP;
	END LOOP;
END
$$;

-- the statements of the tests; %s is a condition that may leak
CREATE FUNCTION all_tried(who name, pattern text DEFAULT '') RETURNS TABLE (statement text, answer text) LANGUAGE plpgsql AS $$
DECLARE
	leak CONSTANT text := '1/(ascii(secret)-$1) > -5';
	cast_leak CONSTANT text := 'CASE WHEN n > 0 THEN secret::varchar(2)::text || '''' <> ''Se'' OR secret::int > 0 END';
	v CONSTANT text := '00000000000000000000000000V';
	h CONSTANT text := '00000000000000000000000000H';
BEGIN
	FOREACH statement IN ARRAY ARRAY[
		format('SELECT id FROM run WHERE id = %L AND %s', h, leak),
		format('SELECT id FROM run WHERE id IN (%L, %L) AND %s', v, h, leak),
		format('SELECT id FROM run WHERE %s AND n > 0', leak),
		format('SELECT id FROM run WHERE %s', cast_leak),
		format('SELECT id FROM run WHERE secret LIKE ''Se\''', leak),
		format('SELECT id FROM run WHERE %s ORDER BY id COLLATE "C" LIMIT 3', leak),
		format('SELECT id FROM run WHERE id = %L AND %s LIMIT 3', h, leak),
		format('SELECT count(*) FROM run WHERE id = %L AND %s', h, leak),
		format('SELECT count(*) FROM run WHERE %s', leak),
		format('SELECT max(n) FROM run WHERE id IN (%L, %L) GROUP BY env HAVING max(1/(ascii(secret)-$1)) > -5', v, h),
		format('SELECT id FROM run WHERE id IN (%L, %L) ORDER BY 1/(ascii(secret)-$1)', v, h),
		format('SELECT id FROM run WHERE id = %L ORDER BY 1/(ascii(secret)-$1) LIMIT 1', h),
		format('SELECT 1/(ascii(secret)-$1) FROM run WHERE id IN (%L, %L) GROUP BY 1', v, h),
		format('SELECT DISTINCT 1/(ascii(secret)-$1) FROM run WHERE id = %L', h),
		format('SELECT id FROM run WHERE id = %L AND %s FOR UPDATE', h, leak),
		format('SELECT i.id FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = %L AND %s', h, replace(leak, 'secret', 'r.secret')),
		format('SELECT i.id FROM run r JOIN item i ON i.run_id = r.id AND 1/(ascii(r.secret)-$1+i.n-i.n) > -5 WHERE r.id = %L AND i.run_id = %L', h, h),
		format('SELECT i.id FROM item i LEFT JOIN run r ON i.run_id = r.id AND 1/(ascii(r.secret)-$1+i.n-i.n) > -5 WHERE i.run_id = %L', h),
		format('SELECT i.id FROM item i WHERE i.run_id = %L AND EXISTS (SELECT FROM run r WHERE r.id = i.run_id AND 1/(ascii(r.secret)-$1+i.n-i.n) > -5)', h),
		'SELECT i.id FROM run r JOIN item i ON i.run_id = r.id AND 1/(ascii(r.secret)-$1+i.n-i.n) > -5',
		'SELECT p.id FROM pick p JOIN run r ON r.id = p.id AND 1/(ascii(r.secret)-p.n+$1-$1) > -5',
		'SELECT p.id FROM pick p LEFT JOIN run r ON r.id = p.id AND 1/(ascii(r.secret)-p.n+$1-$1) > -5',
		format('UPDATE run SET n = n + 1 WHERE id = %L AND %s RETURNING id', h, leak),
		format('UPDATE run SET n = n + 1 WHERE %s RETURNING id', leak),
		format('UPDATE run SET n = 1/(ascii(secret)-$1) WHERE id IN (%L, %L) RETURNING n', v, h),
		format('UPDATE run r SET n = p.n FROM pick p WHERE p.id = r.id AND 1/(ascii(r.secret)-p.n+$1-$1) > -5 RETURNING r.id', h),
		format('DELETE FROM run WHERE id = %L AND %s RETURNING id', h, leak),
		format('DELETE FROM run WHERE %s RETURNING id', leak),
		format('DELETE FROM run WHERE id = %L RETURNING 1/(ascii(secret)-$1)', h),
		format('DELETE FROM run r USING item i WHERE i.run_id = r.id AND r.id = %L AND 1/(ascii(r.secret)-$1+i.n-i.n) > -5 RETURNING r.id', h)]
	LOOP
		CONTINUE WHEN statement !~ pattern;
		FOR answer IN SELECT tried(who, statement) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
END
$$;

-- without a policy all of them raise
SELECT count(*), count(*) FILTER (WHERE answer ~ 'division by zero|invalid input|LIKE pattern') AS raised FROM all_tried('none');

-- a policy that is sent
CREATE POLICY mine ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
CREATE TABLE right_answer AS SELECT * FROM all_tried('regress_sl_user');
TABLE right_answer;

-- one that is not, and one that is dearer than any condition
SET sl.env = 'e1';
ALTER POLICY mine ON run USING (env || '' = current_setting('sl.env') AND lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;
CREATE FUNCTION my_env() RETURNS text STABLE COST 10000 LANGUAGE sql AS $$ SELECT current_setting('sl.env') $$;
ALTER POLICY mine ON run USING (env = my_env());
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;

-- two, which have two levels
ALTER POLICY mine ON run USING (n < 1000);
CREATE POLICY strict ON run AS RESTRICTIVE USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;
ALTER POLICY strict ON run USING (n < 1000);
ALTER POLICY mine ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
SELECT * FROM all_tried('regress_sl_user', 'ORDER|GROUP|JOIN|UPDATE') EXCEPT TABLE right_answer;
DROP POLICY strict ON run;
DROP POLICY mine ON run;

-- one for each command: to change a row one must see it
CREATE POLICY reads ON run FOR SELECT USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
CREATE POLICY updates ON run FOR UPDATE USING (n < 1000);
CREATE POLICY deletes ON run FOR DELETE USING (n < 2000);
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;
ALTER POLICY reads ON run USING (n < 3000);
ALTER POLICY updates ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
ALTER POLICY deletes ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');
SELECT * FROM all_tried('regress_sl_user', '^(UPDATE|DELETE)') EXCEPT TABLE right_answer;
ALTER POLICY reads ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');

-- the owner, and the owner under FORCE
SELECT count(*), count(*) FILTER (WHERE answer ~ 'division by zero|invalid input|LIKE pattern') AS raised FROM all_tried('regress_sl_owner');
ALTER TABLE run FORCE ROW LEVEL SECURITY;
SELECT * FROM all_tried('regress_sl_owner') EXCEPT TABLE right_answer;
ALTER TABLE run NO FORCE ROW LEVEL SECURITY;

-- with estimates of the store, which also offer sorted and parameterized paths
ALTER SERVER run_ops OPTIONS (ADD use_remote_estimate 'true');
SELECT * FROM all_tried('regress_sl_user', 'ORDER|GROUP|DISTINCT|JOIN|FROM pick') EXCEPT TABLE right_answer;
ALTER POLICY reads ON run USING (env = my_env());
SELECT * FROM all_tried('regress_sl_user', 'ORDER|GROUP|DISTINCT|JOIN|FROM pick') EXCEPT TABLE right_answer;
ALTER SERVER run_ops OPTIONS (DROP use_remote_estimate);
ALTER POLICY reads ON run USING (lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1');

-- by all kinds of joins
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT * FROM all_tried('regress_sl_user', 'JOIN|EXISTS|USING|FROM pick') EXCEPT TABLE right_answer;
SET enable_partitionwise_join = on;
SET enable_nestloop = off;
RESET enable_hashjoin;
SELECT * FROM all_tried('regress_sl_user', 'JOIN|EXISTS|USING|FROM pick') EXCEPT TABLE right_answer;
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT * FROM all_tried('regress_sl_user', 'JOIN|EXISTS|USING|FROM pick') EXCEPT TABLE right_answer;
RESET enable_hashjoin;
RESET enable_nestloop;
RESET enable_partitionwise_join;

-- a view with a security barrier over the table without policies, and one over
-- another
ALTER TABLE run DISABLE ROW LEVEL SECURITY;
CREATE SCHEMA sl_view;
GRANT USAGE ON SCHEMA sl_view TO regress_sl_user;
SET search_path = sl_view, sl;
CREATE VIEW run WITH (security_barrier) AS SELECT * FROM sl.run WHERE lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1';
GRANT SELECT, UPDATE, DELETE ON run TO regress_sl_user;
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;
CREATE VIEW inner_run WITH (security_barrier) AS SELECT * FROM sl.run WHERE n < 1000;
CREATE OR REPLACE VIEW run WITH (security_barrier) AS SELECT * FROM inner_run WHERE lower(upper(lower(upper(lower(upper(lower(upper(env)))))))) = 'e1';
SELECT * FROM all_tried('regress_sl_user') EXCEPT TABLE right_answer;
DROP SCHEMA sl_view CASCADE;
SET search_path = sl;
ALTER TABLE run ENABLE ROW LEVEL SECURITY;

-- what is sent: the policy, and what cannot leak; the rest is evaluated here,
-- after the policy, also if that stays here itself
SET ROLE regress_sl_user;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' AND n = 2 AND 1/(ascii(secret)-83) > 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' AND n = 2 ORDER BY n LIMIT 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM run WHERE id = :'H' AND n = 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT i.id FROM run r JOIN item i ON i.run_id = r.id WHERE r.id = :'H' AND i.run_id = :'H';
EXPLAIN (VERBOSE, COSTS OFF) SELECT i.id FROM run r JOIN item i ON i.run_id = r.id AND 1/(r.n-i.n) > 5 WHERE r.id = :'H' AND i.run_id = :'H';
EXPLAIN (VERBOSE, COSTS OFF) SELECT p.id FROM pick p JOIN run r ON 1/(r.n-p.n) > 5 WHERE r.n > 0;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM run WHERE id = :'H' AND n = 2;
EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM run WHERE id = :'H' AND 1/n > 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' ORDER BY 1/n;
RESET ROLE;
ALTER POLICY reads ON run USING (env = my_env());
SET ROLE regress_sl_user;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE 1/(ascii(secret)-83) > 5 AND id = :'H';
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' ORDER BY 1/n;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' ORDER BY n;
RESET ROLE;
-- without a policy everything is sent as ever
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM run WHERE id = :'H' AND 1/(ascii(secret)-83) > 5 ORDER BY 1/n;

RESET search_path;
SELECT runops.detach('sl.item', true), runops.detach('sl.run', true);
DROP SCHEMA sl CASCADE;
DROP OWNED BY regress_sl_owner, regress_sl_user;
DROP ROLE regress_sl_owner, regress_sl_user;
\connect runops_store
DROP SCHEMA sl CASCADE;
