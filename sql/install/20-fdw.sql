/*
 * The foreign-data wrapper through which every other database is reached
 */

CREATE FUNCTION runops.runops_fdw_handler()
RETURNS pg_catalog.fdw_handler
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION runops.runops_fdw_handler() IS
	'handler of the foreign-data wrapper runops_fdw';

CREATE FUNCTION runops.runops_fdw_validator(options pg_catalog.text[], catalog pg_catalog.oid)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION runops.runops_fdw_validator(pg_catalog.text[], pg_catalog.oid) IS
	'validator of the foreign-data wrapper runops_fdw';

CREATE FOREIGN DATA WRAPPER runops_fdw
	HANDLER runops.runops_fdw_handler
	VALIDATOR runops.runops_fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER runops_fdw IS
	'reaches the stores of routed tables; its options are postgres_fdw''s';
