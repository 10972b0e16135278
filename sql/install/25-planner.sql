
-- planner: functions that run-time pruning evaluates.  The planner adds calls of
-- them to queries, which run as any role, so PUBLIC may execute them.

CREATE FUNCTION runops.store_arm(id pg_catalog.text, store pg_catalog.text,
		relation pg_catalog.oid, named pg_catalog.bool)
	RETURNS pg_catalog.text
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_store_arm';
COMMENT ON FUNCTION runops.store_arm(pg_catalog.text, pg_catalog.text, pg_catalog.oid, pg_catalog.bool)
	IS 'internal: the store if the id belongs to it or is unclassifiable, else NULL';

CREATE FUNCTION runops.store_arm(ids pg_catalog.text[], store pg_catalog.text,
		relation pg_catalog.oid, named pg_catalog.bool)
	RETURNS pg_catalog.text
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_store_arm_array';
COMMENT ON FUNCTION runops.store_arm(pg_catalog.text[], pg_catalog.text, pg_catalog.oid, pg_catalog.bool)
	IS 'internal: the store if one of the ids belongs to it or is unclassifiable, else NULL';
