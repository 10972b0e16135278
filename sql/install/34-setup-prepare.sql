/*
 * Prepare: proves before attach that the rows of a big table belong to store
 * legacy.  Otherwise attach scans the table while all other sessions wait.
 */

/*
 * Take the next step towards a table that attach need not scan.  The step adds
 * the next CHECK, which holds only for new rows, or validates it for old rows,
 * which does not block readers and writers.  Returns false when nothing is left
 * to do.
 */
CREATE FUNCTION runops._prepare_step(relation regclass, key text, aliases name[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	c record;
	old_timeout text;
BEGIN
	PERFORM runops._check_target(relation);
	PERFORM runops._check_key(relation, key, aliases);

	SELECT l.name, l.def, runops._has_check(relation, l.name, l.def || ' NOT VALID') AS added INTO c
	FROM runops._leaf_checks(relation, key, aliases) l
	WHERE NOT runops._has_check(relation, l.name, l.def)
	ORDER BY added, l.name LIMIT 1;
	IF NOT FOUND THEN
		RETURN false;
	END IF;

	IF c.added THEN
		BEGIN
			EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', relation, c.name);
		EXCEPTION WHEN check_violation THEN
			PERFORM runops._check_rows(relation, key, aliases);
			RAISE;
		END;
	ELSE
		PERFORM runops._check_rows(relation, key, aliases);
		old_timeout := runops._limit_lock_wait();
		PERFORM runops._lock_table(relation);
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', relation, c.name, c.def);
		PERFORM set_config('lock_timeout', old_timeout, true);
	END IF;
	RETURN true;
END
$$;

-- A procedure with a SET clause cannot commit.  The function that it calls sets search_path.
CREATE PROCEDURE runops.prepare_attach(relation regclass, key text, aliases name[] DEFAULT '{}')
LANGUAGE plpgsql
AS $$
BEGIN
	WHILE runops._prepare_step(relation, key, aliases) LOOP
		COMMIT;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE runops.prepare_attach(regclass, text, name[]) IS
	'proves in short transactions that every row of a big table belongs to store legacy, so that attach need not scan it; can be called again';

REVOKE EXECUTE ON ROUTINE
	runops._prepare_step(regclass, text, name[]),
	runops.prepare_attach(regclass, text, name[])
FROM PUBLIC;
