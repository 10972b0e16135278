-- ids: what an id says by its shape alone

CREATE FUNCTION runops.store_of(id pg_catalog.text)
	RETURNS pg_catalog.text
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_store_of';
COMMENT ON FUNCTION runops.store_of(pg_catalog.text)
	IS 'store that an id names by its shape; the partition key of routed tables';

CREATE FUNCTION runops.is_classifiable(id pg_catalog.text)
	RETURNS pg_catalog.bool
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_is_classifiable';
COMMENT ON FUNCTION runops.is_classifiable(pg_catalog.text)
	IS 'does an id have a shape that names a store?';
