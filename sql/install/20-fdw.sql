/*
 * The foreign-data wrapper that connects to the other databases
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
	'connects to the stores of routed tables; has the options of postgres_fdw';

/* May an expression of a catalog have another value in the database of a server, for the same rows? */
CREATE FUNCTION runops._expression_differs(server pg_catalog.oid, expression pg_catalog.pg_node_tree) RETURNS pg_catalog.bool
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'runops_expression_differs';

REVOKE EXECUTE ON FUNCTION runops._expression_differs(pg_catalog.oid, pg_catalog.pg_node_tree) FROM PUBLIC;
