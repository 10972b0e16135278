/*
 * Prepare: proves before attach that the rows of a big table belong to store
 * legacy.  Otherwise attach scans the table while all other sessions wait.
 */

/*
 * Take the next step towards a table that attach need not scan.
 *
 * The first step adds the missing CHECKs, which then hold for new rows only.  It
 * locks the table, but only for as long as it takes to change the catalogs.  The
 * second step validates them for old rows, all in one scan, and blocks neither
 * readers nor writers.
 *
 * Returns false when nothing is left to do.  Returns NULL if there are rows that
 * do not belong to legacy: then the CHECKs that were not validated are dropped, so
 * that they stop nobody.  The newest rows are looked at before the CHECKs are
 * added, because a wrong alias most likely shows there.
 */
CREATE FUNCTION runops._prepare_step(relation regclass, key text, aliases name[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	newest_blocks CONSTANT int := 1000;
	missing text;
	added text;
	unwanted text;
	old_timeout text;
BEGIN
	PERFORM runops._check_target(relation);
	PERFORM runops._check_key(relation, key, aliases);

	SELECT string_agg(format('ADD CONSTRAINT %I %s NOT VALID', l.name, l.def), ', ') FILTER (WHERE NOT l.is_added),
		string_agg(format('VALIDATE CONSTRAINT %I', l.name), ', ') FILTER (WHERE l.is_added),
		string_agg(format('DROP CONSTRAINT %I', l.name), ', ')
	INTO missing, added, unwanted
	FROM (SELECT c.name, c.def, runops._has_check(relation, c.name, c.def || ' NOT VALID') AS is_added
		  FROM runops._leaf_checks(relation, key, aliases) c
		  WHERE NOT runops._has_check(relation, c.name, c.def)) AS l;

	IF missing IS NOT NULL THEN
		PERFORM runops._progress_phase('prepare_attach', 'looking at the newest rows', relation,
									   least(runops._table_blocks(relation), newest_blocks));
		PERFORM runops._check_rows(relation, key, aliases, newest_blocks);
		PERFORM runops._progress_phase('prepare_attach', 'waiting for the lock', relation);
		old_timeout := runops._limit_lock_wait();
		PERFORM runops._lock_table(relation);
		EXECUTE format('ALTER TABLE %s %s', relation, missing);
		PERFORM set_config('lock_timeout', old_timeout, true);
	ELSIF added IS NOT NULL THEN
		PERFORM runops._progress_phase('prepare_attach', 'checking rows', relation, runops._table_blocks(relation));
		BEGIN
			EXECUTE format('ALTER TABLE %s %s', relation, added);
		EXCEPTION WHEN check_violation THEN
			old_timeout := runops._limit_lock_wait();
			PERFORM runops._lock_table(relation);
			EXECUTE format('ALTER TABLE %s %s', relation, unwanted);
			PERFORM set_config('lock_timeout', old_timeout, true);
			RETURN NULL;
		END;
	ELSE
		RETURN false;
	END IF;
	RETURN true;
END
$$;

-- A procedure with a SET clause cannot commit.  The function that it calls sets search_path.
CREATE PROCEDURE runops.prepare_attach(relation regclass, key text, aliases name[] DEFAULT '{}')
LANGUAGE plpgsql
AS $$
DECLARE
	more boolean;
BEGIN
	LOOP
		more := runops._prepare_step(relation, key, aliases);
		EXIT WHEN NOT more;
		COMMIT;
		IF more IS NULL THEN
			PERFORM runops._check_rows(relation, key, aliases);
		END IF;
	END LOOP;
END
$$;
COMMENT ON PROCEDURE runops.prepare_attach(regclass, text, name[]) IS
	'proves in short transactions that every row of a big table belongs to store legacy, so that attach need not scan it; can be called again';

CREATE FUNCTION runops.undo_prepare_attach(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	actions text;
	old_timeout text;
BEGIN
	PERFORM runops._check_target(relation);
	old_timeout := runops._limit_lock_wait();
	PERFORM runops._lock_table(relation);
	-- Another constraint of such a name is the user's own.
	SELECT string_agg(format('DROP CONSTRAINT %I', c.conname), ', ') INTO actions
	FROM pg_constraint c
	WHERE c.conrelid = relation AND c.contype = 'c'
		AND (c.conname = 'runops_store' AND pg_get_constraintdef(c.oid) LIKE 'CHECK (((runops.store\_of(%'
			 OR c.conname LIKE 'runops\_alias\_%' AND pg_get_constraintdef(c.oid) LIKE 'CHECK (runops.same\_store(%');
	IF actions IS NULL THEN
		RAISE NOTICE 'table % is not prepared, skipping', relation;
	ELSE
		EXECUTE format('ALTER TABLE %s %s', relation, actions);
	END IF;
	PERFORM set_config('lock_timeout', old_timeout, true);
END
$$;
COMMENT ON FUNCTION runops.undo_prepare_attach(regclass) IS
	'drops what prepare_attach has added to a table that is not attached';

REVOKE EXECUTE ON ROUTINE
	runops._prepare_step(regclass, text, name[]),
	runops.prepare_attach(regclass, text, name[]),
	runops.undo_prepare_attach(regclass)
FROM PUBLIC;
