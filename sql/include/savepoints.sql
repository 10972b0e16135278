-- what session_savepoints does with a table "run", and prints

DELETE FROM run;
INSERT INTO run SELECT 'c' || lpad(g::text, 24, '0'), g FROM generate_series(1, 50) g;
INSERT INTO run SELECT '0123456789abcdefghijk' || lpad(g::text, 3, '0') || 'a1', g + 1000 FROM generate_series(1, 250) g;
INSERT INTO run SELECT '0123456789abcdefghijk' || lpad(g::text, 3, '0') || 'a2', g + 2000 FROM generate_series(1, 250) g;
\set L c000000000000000000000001
\set N 0123456789abcdefghijk001a1
\set A 0123456789abcdefghijk001a2
\set show 'SELECT (SELECT string_agg(n::text, '' '' ORDER BY id COLLATE "C") FROM run WHERE id IN (:''L'', :''N'', :''A'')), count(*), sum(n) FROM run'

\qecho nested, with RELEASE and ROLLBACK TO at each level
BEGIN;
UPDATE run SET n = 1 WHERE id IN (:'L', :'N', :'A');
SAVEPOINT a;
UPDATE run SET n = n + 10 WHERE id = :'N';
SAVEPOINT b;
UPDATE run SET n = n + 100 WHERE id IN (:'L', :'A');
SAVEPOINT c;
DELETE FROM run WHERE id = :'N';
:show;
ROLLBACK TO c;
:show;
UPDATE run SET n = n + 1000 WHERE id = :'N';
RELEASE c;
:show;
SAVEPOINT c;
UPDATE run SET n = 0;
ROLLBACK TO b;
:show;
UPDATE run SET n = n + 100 WHERE id = :'A';
RELEASE b;
:show;
ROLLBACK TO a;
:show;
RELEASE a;
:show;
COMMIT;
:show;

\qecho names that are used twice
BEGIN;
SAVEPOINT a;
UPDATE run SET n = n + 1 WHERE id = :'N';
SAVEPOINT a;
UPDATE run SET n = n + 1 WHERE id = :'N';
SAVEPOINT a;
UPDATE run SET n = n + 1 WHERE id = :'N';
ROLLBACK TO a;
:show;
RELEASE a;
ROLLBACK TO a;
:show;
RELEASE a;
ROLLBACK TO a;
:show;
COMMIT;

\qecho a store is used first at a deep level, and outer levels are rolled back
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SAVEPOINT c;
UPDATE run SET n = n + 1 WHERE id = :'N';
RELEASE c;
RELEASE b;
:show;
ROLLBACK TO a;
:show;
SAVEPOINT b;
SAVEPOINT c;
UPDATE run SET n = n + 1 WHERE id = :'A';
ROLLBACK TO c;
UPDATE run SET n = n + 2 WHERE id = :'A';
RELEASE b;
:show;
COMMIT;
:show;

\qecho errors of a store, and of this database, within savepoints
BEGIN;
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 1);
SAVEPOINT a;
INSERT INTO run VALUES ('0123456789abcdefghijklmna1', 2);
\qecho :SQLSTATE
:show;
\qecho :SQLSTATE
ROLLBACK TO a;
:show;
UPDATE run SET n = 1 / (n - n) WHERE id = :'N';
\qecho :SQLSTATE
ROLLBACK TO a;
SELECT 1 / (n - n) FROM run WHERE id = :'A';
\qecho :SQLSTATE
ROLLBACK TO a;
UPDATE run SET n = 7 WHERE id = :'N';
SAVEPOINT b;
SELECT 1 / 0;
ROLLBACK TO b;
:show;
ROLLBACK TO a;
COMMIT;
:show;
BEGIN;
UPDATE run SET n = 8 WHERE id = :'A';
SAVEPOINT a;
INSERT INTO run VALUES (:'N', 1);
RELEASE a;
\qecho :SQLSTATE
COMMIT;
:show;

\qecho cursors that were declared outside: opened outside, opened inside
BEGIN;
DECLARE c1 CURSOR FOR SELECT n FROM run ORDER BY n;
DECLARE c2 CURSOR FOR SELECT n FROM run WHERE id > '0123456789abcdefghijk100' AND n > 0 ORDER BY n;
DECLARE c3 SCROLL CURSOR FOR SELECT n FROM run ORDER BY n DESC;
FETCH 3 FROM c1;
FETCH 3 FROM c3;
SAVEPOINT a;
UPDATE run SET n = -n;
FETCH 2 FROM c1;
FETCH 2 FROM c2;
FETCH BACKWARD 1 FROM c3;
MOVE FORWARD 180 IN c1;
ROLLBACK TO a;
FETCH 2 FROM c1;
FETCH 2 FROM c2;
FETCH 2 FROM c3;
SAVEPOINT b;
DELETE FROM run WHERE n > 2000;
FETCH 1 FROM c1;
RELEASE b;
MOVE FORWARD 100 IN c1;
FETCH 1 FROM c1;
MOVE ABSOLUTE 0 IN c3;
FETCH 1 FROM c3;
MOVE FORWARD ALL IN c2;
:show;
ROLLBACK;

\qecho cursors that were declared inside
BEGIN;
SAVEPOINT a;
DECLARE c1 CURSOR FOR SELECT n FROM run ORDER BY n;
FETCH 1 FROM c1;
RELEASE a;
FETCH 1 FROM c1;
MOVE FORWARD 200 IN c1;
SAVEPOINT b;
DECLARE c2 CURSOR FOR SELECT n FROM run ORDER BY n;
FETCH 1 FROM c2;
UPDATE run SET n = n + 1 WHERE id = :'N';
FETCH 1 FROM c2;
ROLLBACK TO b;
FETCH 1 FROM c1;
FETCH 1 FROM c2;
\qecho :SQLSTATE
ROLLBACK TO b;
FETCH 1 FROM c1;
COMMIT;

\qecho a cursor that locks rows
BEGIN;
DECLARE c1 CURSOR FOR SELECT n FROM run WHERE id > '0123456789abcdefghijk1' AND n < 2000 ORDER BY n FOR UPDATE;
FETCH 2 FROM c1;
SAVEPOINT a;
FETCH 2 FROM c1;
UPDATE run SET n = n + 0 WHERE id = :'N';
ROLLBACK TO a;
FETCH 2 FROM c1;
COMMIT;

\qecho a cursor that stays after COMMIT
BEGIN;
SAVEPOINT a;
DECLARE h CURSOR WITH HOLD FOR SELECT n FROM run ORDER BY n;
FETCH 1 FROM h;
RELEASE a;
UPDATE run SET n = n + 5 WHERE id = :'N';
COMMIT;
MOVE FORWARD 170 IN h;
FETCH 1 FROM h;
CLOSE h;

\qecho exception blocks
DO $$
DECLARE
	r record;
	caught int := 0;
BEGIN
	FOR i IN 1 .. 1000 LOOP
		BEGIN
			UPDATE run SET n = n + 1 WHERE id IN ('0123456789abcdefghijk001a1', '0123456789abcdefghijk001a2');
			IF i % 3 = 0 THEN
				INSERT INTO run VALUES ('0123456789abcdefghijk001a1', 1);
			ELSIF i % 3 = 1 THEN
				PERFORM 1 / (i - i);
			END IF;
		EXCEPTION WHEN unique_violation OR division_by_zero THEN
			caught := caught + 1;
		END;
	END LOOP;
	FOR r IN SELECT id, n FROM run ORDER BY n LOOP
		BEGIN
			UPDATE run SET n = n + 1 WHERE id = r.id;
			BEGIN
				UPDATE run SET n = n + 1 WHERE id = r.id;
				IF r.n % 2 = 0 THEN
					RAISE no_data_found;
				END IF;
			EXCEPTION WHEN no_data_found THEN
				caught := caught + 1;
			END;
			IF r.n % 5 = 0 THEN
				RAISE no_data_found;
			END IF;
		EXCEPTION WHEN no_data_found THEN
			caught := caught + 1;
		END;
	END LOOP;
	UPDATE run SET n = caught WHERE id = 'c000000000000000000000001';
END
$$;
:show;

\qecho functions with exception blocks in statements that read and write
CREATE FUNCTION pg_temp.careful(i int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM 1 / (i % 2);
	EXCEPTION WHEN division_by_zero THEN
		RETURN -1;
	END;
	RETURN i;
END
$$;
CREATE FUNCTION pg_temp.looking(key text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	v int;
BEGIN
	SELECT n INTO STRICT v FROM run WHERE id = key;
	RETURN v;
EXCEPTION WHEN no_data_found THEN
	RETURN NULL;
END
$$;
SELECT count(*), sum(pg_temp.careful(n)) FROM run;
SELECT count(*), sum(pg_temp.looking(id)) FROM run;
UPDATE run SET n = pg_temp.careful(n) WHERE n % 10 < 4;
:show;
UPDATE run SET n = n + pg_temp.looking(id) WHERE n % 10 = 5;
:show;

\qecho a procedure that commits, and chains
CREATE PROCEDURE pg_temp.steps() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6 LOOP
		UPDATE run SET n = n + 1 WHERE id IN ('0123456789abcdefghijk001a1', '0123456789abcdefghijk001a2');
		IF i % 3 = 0 THEN
			ROLLBACK;
		ELSIF i % 3 = 1 THEN
			COMMIT;
		ELSE
			COMMIT AND CHAIN;
		END IF;
	END LOOP;
END
$$;
CALL pg_temp.steps();
:show;
BEGIN;
UPDATE run SET n = n + 1 WHERE id = :'N';
COMMIT AND CHAIN;
UPDATE run SET n = n + 1 WHERE id = :'A';
ROLLBACK AND CHAIN;
UPDATE run SET n = n + 1 WHERE id = :'L';
COMMIT;
:show;

\qecho a level that is read only
BEGIN;
SAVEPOINT a;
SET TRANSACTION READ ONLY;
:show;
UPDATE run SET n = n + 1 WHERE id = :'N';
\qecho :SQLSTATE
ROLLBACK TO a;
SAVEPOINT b;
SET TRANSACTION READ ONLY;
:show;
RELEASE b;
UPDATE run SET n = n + 1 WHERE id = :'N';
COMMIT;
:show;
