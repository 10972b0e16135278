-- session_large_values: a connection that has carried a large value is not kept, because libpq would keep the memory
CREATE TABLE large_value (id text PRIMARY KEY, v text);
SELECT runops.attach('large_value', 'id');
SELECT count(*) > 0 FROM runops.provision('new', relation => 'large_value');

-- How many sessions are in the store?  A session that was closed ends a little later.
CREATE FUNCTION store_sessions(expected int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		PERFORM pg_stat_clear_snapshot();
		SELECT count(*) INTO n FROM pg_stat_activity
			WHERE datname = 'runops_store' AND backend_type = 'client backend';
		EXIT WHEN n = expected;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN n;
END
$$;

INSERT INTO large_value VALUES ('0123456789abcdefghij0001a1', 'small');
SELECT store_sessions(1);
-- written
INSERT INTO large_value VALUES ('0123456789abcdefghij0002a1', repeat('x', 9000000));
SELECT store_sessions(0);
-- read
SELECT length(v) + (random() * 0)::int AS length FROM large_value WHERE id = '0123456789abcdefghij0002a1';
SELECT store_sessions(0);
SELECT v FROM large_value WHERE id = '0123456789abcdefghij0001a1';
SELECT store_sessions(1);
-- within a transaction the connection stays until its end
BEGIN;
SELECT length(v) + (random() * 0)::int AS length FROM large_value WHERE id = '0123456789abcdefghij0002a1';
UPDATE large_value SET v = 'changed' WHERE id = '0123456789abcdefghij0001a1';
SELECT store_sessions(1);
ROLLBACK;
SELECT store_sessions(0);
SELECT v FROM large_value WHERE id = '0123456789abcdefghij0001a1';

DELETE FROM large_value;
SELECT runops.detach('large_value');
DROP TABLE large_value;
DROP FUNCTION store_sessions(int);
