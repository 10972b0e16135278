
-- minting: the kind of id that the root of a family gets, and functions that mint ids

/*
 * The mint kinds of organizations, and the global mint kind, whose org is NULL.
 * A kind of NULL is an entry that was removed but whose grace period has not
 * passed.  Only set_mint_kind writes here; see src/mint/flip.c for the reason.
 */
CREATE TABLE runops.mint_config (
	org text COLLATE "C" CONSTRAINT mint_config_org_key UNIQUE NULLS NOT DISTINCT,
	kind text CHECK (kind ~ '^(cuid|ksuid|runops|shard:[a-z0-9])$'),
	previous text CHECK (previous ~ '^(cuid|ksuid|runops|shard:[a-z0-9])$'),
	flipped_at timestamptz,
	effective_at timestamptz
);
SELECT pg_catalog.pg_extension_config_dump('runops.mint_config', '');
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON runops.mint_config
	FOR EACH STATEMENT EXECUTE FUNCTION runops._config_changed();
ALTER TABLE runops.mint_config ENABLE ALWAYS TRIGGER config_changed;
COMMENT ON TABLE runops.mint_config IS 'kind of id that the roots of an organization get, as set_mint_kind recorded it';

/* The mint kind of an organization at an instant, whatever the state of the gate. */
CREATE FUNCTION runops._mint_kind_at(org text, at timestamptz) RETURNS text
	LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_mint_kind_at';

CREATE VIEW runops.mint_kinds AS
SELECT c.org, c.kind, c.previous, c.flipped_at,
	runops._mint_kind_at(c.org, pg_catalog.clock_timestamp()) AS effective
FROM runops.mint_config c
WHERE c.kind IS NOT NULL OR c.effective_at > pg_catalog.clock_timestamp();
COMMENT ON VIEW runops.mint_kinds IS 'mint kind of each organization that has one, and the global mint kind, whose organization is NULL';
GRANT SELECT ON runops.mint_kinds TO PUBLIC;

CREATE FUNCTION runops.set_mint_kind(org text, kind text) RETURNS void
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_set_mint_kind';
COMMENT ON FUNCTION runops.set_mint_kind(text, text)
	IS 'sets the kind of id that new roots of an organization get; NULL sets the global kind';
REVOKE EXECUTE ON FUNCTION runops.set_mint_kind(text, text) FROM PUBLIC;

-- Functions that read the mint kinds may need a subtransaction, which a parallel
-- query cannot start.
CREATE FUNCTION runops.mint_kind(org text DEFAULT NULL) RETURNS text
	LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_mint_kind';
COMMENT ON FUNCTION runops.mint_kind(text)
	IS 'kind of id that a new root of an organization gets: cuid, ksuid, runops or shard:c; raises no error';

CREATE FUNCTION runops.inherited_mint_kind(parent text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_inherited_mint_kind';
COMMENT ON FUNCTION runops.inherited_mint_kind(text)
	IS 'kind of id that a child gets, which is the kind of its parent; raises an error if the parent is unclassifiable';

CREATE FUNCTION runops.mint_id(entity text, org text DEFAULT NULL, parent text DEFAULT NULL, region text DEFAULT NULL)
	RETURNS text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_mint_id';
COMMENT ON FUNCTION runops.mint_id(text, text, text, text)
	IS 'new id with the shape of the parent; without a parent, a run or batch gets the kind of its organization';

CREATE FUNCTION runops.mint_batch_id(org text DEFAULT NULL, parent text DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_mint_batch_id';
COMMENT ON FUNCTION runops.mint_batch_id(text, text)
	IS 'new id of a batch, as mint_id makes it';

/* Part of runops.doctor(): mint kinds that have no effect. */
CREATE FUNCTION runops._doctor_minting() RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'warning', format('mint kind %s of %s', k.kind, coalesce('organization ' || min(k.org) ||
			CASE count(*) WHEN 1 THEN '' ELSE format(' and %s more', count(*) - 1) END, 'all organizations')),
		format('store "%s" is not configured, so roots get cuids', s.store),
		'Use runops.add_store(), or runops.set_mint_kind() with another kind.', 'its store is not configured, so roots get cuids'
	FROM runops.mint_kinds k
	CROSS JOIN LATERAL (SELECT CASE WHEN k.kind LIKE 'shard:%' THEN substr(k.kind, 7) ELSE 'new' END) AS s (store)
	WHERE k.kind <> 'cuid' AND NOT EXISTS (SELECT FROM runops.stores x WHERE x.store = s.store)
	GROUP BY k.kind, s.store, k.org IS NULL
	UNION ALL
	SELECT 'info', 'setting runops.mint_enabled', 'is off, so roots get cuids whatever their mint kinds are',
		'Set it to on and reload the configuration.', NULL
	WHERE runops._flag() AND NOT current_setting('runops.mint_enabled')::boolean
	  AND EXISTS (SELECT FROM runops.mint_kinds k WHERE k.kind <> 'cuid')
$$;
