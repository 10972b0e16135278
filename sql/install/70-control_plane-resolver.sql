
-- resolvers: queries that read values of the control plane, and a cache of these values

/*
 * A query runs with the privileges of the role in its row, so only the owner may
 * write here.  Other roles use add_resolver.  src/control_plane/resolver.c uses
 * the numbers of the columns.
 */
CREATE TABLE runops.resolver_config (
	slot text NOT NULL PRIMARY KEY,
	query text NOT NULL,
	environment_column name,
	organization_column name,
	ttl interval,
	registrant regrole NOT NULL,
	search_path text NOT NULL,
	keys integer NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('runops.resolver_config', '');
COMMENT ON TABLE runops.resolver_config IS 'resolvers, as add_resolver recorded them';
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.resolver_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.resolver_config ENABLE ALWAYS TRIGGER config_changed;

CREATE FUNCTION runops._resolver_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_resolver_changed';
CREATE TRIGGER resolver_changed AFTER INSERT OR UPDATE OR DELETE ON runops.resolver_config
	FOR EACH ROW EXECUTE FUNCTION runops._resolver_changed();
ALTER TABLE runops.resolver_config ENABLE ALWAYS TRIGGER resolver_changed;

CREATE FUNCTION runops.add_resolver(slot text, query text, environment_column name DEFAULT NULL,
	organization_column name DEFAULT NULL, ttl interval DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_add_resolver';
CREATE FUNCTION runops.drop_resolver(slot text, if_exists boolean DEFAULT false) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_drop_resolver';
CREATE FUNCTION runops.resolve(slot text, VARIADIC key text[]) RETURNS jsonb
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_resolver_resolve';

COMMENT ON FUNCTION runops.add_resolver(text, text, name, name, interval) IS 'registers the query that reads a value of the control plane';
COMMENT ON FUNCTION runops.drop_resolver(text, boolean) IS 'drops a resolver and the values that it has cached';
COMMENT ON FUNCTION runops.resolve(text, text[]) IS 'returns a value of the control plane, from the cache or from the query; NULL if there is none';
REVOKE EXECUTE ON FUNCTION runops.add_resolver(text, text, name, name, interval) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.drop_resolver(text, boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops.resolve(text, text[]) FROM PUBLIC;

CREATE FUNCTION runops._resolver_stats(OUT slot text, OUT entries bigint, OUT bytes bigint,
	OUT hits bigint, OUT negative_hits bigint, OUT misses bigint, OUT evictions bigint,
	OUT invalidations bigint)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_resolver_stats';

-- Without a cache nothing is counted, so the counters are NULL and not zero.
CREATE VIEW runops.resolvers AS
SELECT c.slot, c.query, c.environment_column, c.organization_column, c.ttl, c.registrant, c.keys,
	s.entries, s.bytes, s.hits, s.negative_hits, s.misses, s.evictions, s.invalidations
FROM runops.resolver_config c
LEFT JOIN runops._resolver_stats() s ON s.slot OPERATOR(pg_catalog.=) c.slot;
COMMENT ON VIEW runops.resolvers IS 'resolvers, with the cache counters of each';
GRANT SELECT ON runops.resolvers TO PUBLIC;
