
-- what every table of the extension that backends remember needs

/*
 * Statement trigger: tells the caches of a table that it was written; see
 * src/topology/config_cache.c.  ENABLE ALWAYS it, for the sake of replicas.
 */
CREATE FUNCTION runops._config_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_config_changed';
