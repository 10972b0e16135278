
-- the trigger of those tables of the extension that backends cache

/*
 * Statement trigger: invalidates the caches of the table that was written; see
 * src/topology/config_cache.c.  It has to be ENABLE ALWAYS, so that it also
 * fires on replicas.
 */
CREATE FUNCTION runops._config_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_config_changed';

/*
 * Row trigger after DELETE: what another table knows of the row goes with it.
 * Arguments: the other table, its column, and the column of this one.
 *
 * A foreign key would do the same.  But pg_restore with several jobs loads the
 * tables of an extension in any order, and loses a row whose key is not there yet.
 */
CREATE FUNCTION runops._config_deleted() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- a role that may execute this could put it on a table of its own
	IF TG_TABLE_SCHEMA <> 'runops' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'trigger_protocol_violated',
			MESSAGE = format('function "%s" cannot be a trigger of table "%s"', '_config_deleted', TG_TABLE_NAME),
			DETAIL = 'It is a trigger of tables of the extension.',
			HINT = 'Drop the trigger.';
	END IF;
	EXECUTE format('DELETE FROM runops.%I t WHERE t.%I = ($1).%I', TG_ARGV[0], TG_ARGV[1], TG_ARGV[2]) USING OLD;
	RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION runops._config_deleted() FROM PUBLIC;
