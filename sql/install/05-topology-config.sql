
-- the trigger of those tables of the extension that backends cache

/*
 * Statement trigger: invalidates the caches of the table that was written; see
 * src/topology/config_cache.c.  It has to be ENABLE ALWAYS, so that it also
 * fires on replicas.
 */
CREATE FUNCTION runops._config_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_config_changed';
