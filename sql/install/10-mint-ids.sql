-- ids: functions that read the shape of an id, and functions that generate ids

-- Every role may use the schema.  EXECUTE on a function that is not for every
-- role is revoked where the function is created.
GRANT USAGE ON SCHEMA runops TO PUBLIC;

CREATE TYPE runops.residency_type AS ENUM ('LEGACY', 'NEW');
COMMENT ON TYPE runops.residency_type
	IS 'family of stores that a row belongs to';

-- The partition key of routed tables.  Its rule is frozen: a changed rule would
-- hide rows that are already stored, so a new rule needs a new function.
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
	IS 'whether the shape of an id names a store';

CREATE FUNCTION runops.same_store(alias pg_catalog.text, key pg_catalog.text)
	RETURNS pg_catalog.bool
	LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_same_store';
COMMENT ON FUNCTION runops.same_store(pg_catalog.text, pg_catalog.text)
	IS 'whether an alias names no store or the same store as the key; used in the CHECK that declares an alias';

CREATE FUNCTION runops.id_kind(id pg_catalog.text)
	RETURNS pg_catalog.text
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_id_kind';
COMMENT ON FUNCTION runops.id_kind(pg_catalog.text)
	IS 'kind of an id: cuid, ksuid, runops or shard; NULL if unclassifiable';

CREATE FUNCTION runops.residency(id pg_catalog.text)
	RETURNS runops.residency_type
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_residency';
COMMENT ON FUNCTION runops.residency(pg_catalog.text)
	IS 'residency of an id; raises an error if the id is unclassifiable';

CREATE FUNCTION runops.try_residency(id pg_catalog.text)
	RETURNS runops.residency_type
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_try_residency';
COMMENT ON FUNCTION runops.try_residency(pg_catalog.text)
	IS 'residency of an id; NULL if the id is unclassifiable';

CREATE FUNCTION runops.parse_id(id pg_catalog.text,
		OUT kind pg_catalog.text, OUT prefix pg_catalog.text,
		OUT body pg_catalog.text, OUT store pg_catalog.text,
		OUT minted_at pg_catalog.timestamptz, OUT region pg_catalog.text,
		OUT shard pg_catalog.text, OUT payload pg_catalog.bytea)
	RETURNS pg_catalog.record
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10
	AS 'MODULE_PATHNAME', 'runops_parse_id';
COMMENT ON FUNCTION runops.parse_id(pg_catalog.text)
	IS 'parts of an id; a part that the id does not have is NULL; raises no error';

CREATE FUNCTION runops.to_friendly_id(entity pg_catalog.text, id pg_catalog.text)
	RETURNS pg_catalog.text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_to_friendly_id';
COMMENT ON FUNCTION runops.to_friendly_id(pg_catalog.text, pg_catalog.text)
	IS 'id with the prefix of an entity; the id is unchanged if it already has that prefix';

CREATE FUNCTION runops.from_friendly_id(friendly_id pg_catalog.text,
		entity pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.text
	LANGUAGE c IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_from_friendly_id';
COMMENT ON FUNCTION runops.from_friendly_id(pg_catalog.text, pg_catalog.text)
	IS 'id without its prefix; if an entity is given, the prefix must be that entity';

-- Generators

CREATE FUNCTION runops.gen_cuid()
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_gen_cuid';
COMMENT ON FUNCTION runops.gen_cuid()
	IS 'new cuid, an id of store legacy';

CREATE FUNCTION runops.gen_ksuid(payload pg_catalog.bytea DEFAULT NULL)
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_gen_ksuid';
COMMENT ON FUNCTION runops.gen_ksuid(pg_catalog.bytea)
	IS 'new KSUID, an id of store new; its payload begins with the given bytes, at most 16';

CREATE FUNCTION runops.gen_run_ops_id(region pg_catalog.text DEFAULT NULL)
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_gen_run_ops_id';
COMMENT ON FUNCTION runops.gen_run_ops_id(pg_catalog.text)
	IS 'new run-ops id, an id of store new that contains a region';

CREATE FUNCTION runops.gen_shard_id(shard pg_catalog.text)
	RETURNS pg_catalog.text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_gen_shard_id';
COMMENT ON FUNCTION runops.gen_shard_id(pg_catalog.text)
	IS 'new id of the shard that the character names';
