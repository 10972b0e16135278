/*
 * Doctor, third part: cascades that make no progress.
 */

/* Cascades whose cleanup fails or does not run. */
CREATE FUNCTION runops._doctor_cascades() RETURNS SETOF runops._finding
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	worker CONSTANT text := CASE WHEN runops._flag() IS NULL THEN ''
								 ELSE coalesce(current_setting('runops.database', true), '') END;
BEGIN
	RETURN QUERY
	SELECT 'error', format('cascade to %s.%I', f.child::regclass, f.child_column),
		format('%s of store "%s" could not be cleaned up, the first one %s: %s',
			   CASE count(*) WHEN 1 THEN 'a row' ELSE count(*) || ' rows' END, f.store,
			   (array_agg(f."row" ORDER BY f.failed_at, f."row"::text))[1], (array_agg(f.message ORDER BY f.failed_at, f."row"::text))[1]),
		'Remove the cause. The rows are tried again within the hour, or at once by runops.cleanup().',
		'rows of a store could not be cleaned up'
	FROM runops.cascade_failure f
	GROUP BY f.child, f.child_column, f.store;

	RETURN QUERY
	SELECT CASE WHEN runops._flag() IS FALSE THEN 'info' ELSE 'warning' END,
		format('cascade to %s.%I', p.child::regclass, p.child_column),
		format('cannot be cleaned up in store "%s", for %s: %s', p.store,
			   CASE count(*) WHEN 1 THEN 'a deleted row' ELSE count(*) || ' deleted rows' END,
			   (array_agg(p.message ORDER BY p.failures DESC, p.entry))[1]),
		'Remove the cause. The cleanup is tried again every minute, or at once by runops.cleanup().',
		'cannot be cleaned up in a store'
	FROM runops.cascade_part p
	WHERE p.failures > 0 AND NOT p.finished
		AND NOT EXISTS (SELECT FROM runops.cascade_failure f
						WHERE f.entry = p.entry AND f.child = p.child AND f.child_column = p.child_column AND f.store = p.store)
	GROUP BY p.child, p.child_column, p.store;

	IF worker <> current_database() THEN
		RETURN QUERY
		SELECT 'warning', format('cascades of %s', q.parent),
			CASE count(*) WHEN 1 THEN 'a deleted row is' ELSE count(*) || ' deleted rows are' END || ' queued, but no worker cleans up in this database',
			format('Set "runops.database" to %L and restart the server, or call runops.cleanup().', current_database()),
			'deleted rows are queued, but no worker cleans up in this database'
		FROM runops.cascade_queue q GROUP BY q.parent;
	ELSE
		RETURN QUERY
		SELECT 'warning', format('cascades of %s', q.parent),
			CASE count(*) WHEN 1 THEN 'a deleted row has' ELSE count(*) || ' deleted rows have' END || ' been queued for ten minutes or more, but no worker has begun',
			'Check the server log, and whether "max_worker_processes" allows one more worker.',
			'deleted rows have been queued for ten minutes or more, but no worker has begun'
		FROM runops.cascade_queue q
		WHERE q.started IS NULL AND q.queued_at < clock_timestamp() - '10 min'::interval
		GROUP BY q.parent;
	END IF;

	RETURN QUERY
	SELECT 'error', format('cascade to %s.%I', c.child, c.child_column), 'the column does not exist any more',
		format('Use runops.drop_cascade(%L, %L, %L).', c.parent, c.child, c.child_column), NULL::text
	FROM runops.cascade_config c
	WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.child AND a.attname = c.child_column AND a.attnum > 0);

	RETURN QUERY
	SELECT 'error', format('cascades of %s', c.parent), 'the trigger is missing or disabled, so deleted rows are not cleaned up',
		'Use runops.drop_cascade() and runops.add_cascade(), or ALTER TABLE ... ENABLE TRIGGER.', NULL::text
	FROM runops.cascade_config c
	WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.parent AND t.tgenabled <> 'D'
					  AND t.tgfoid IN ('runops._cascade_queue()'::regprocedure, 'runops._cascade_queue_row()'::regprocedure))
	GROUP BY c.parent;
END
$$;

REVOKE EXECUTE ON FUNCTION runops._doctor_cascades() FROM PUBLIC;
