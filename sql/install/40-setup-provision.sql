/*
 * Provision: creates in a store the objects that routed tables need there.
 */

/* Raise unless the store is configured and is in another database. */
CREATE FUNCTION runops._check_remote_store(store text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server name;
BEGIN
	SELECT s.server INTO server FROM runops.stores s WHERE s.store = _check_remote_store.store;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO004',
			MESSAGE = format('store %s is not configured', coalesce('"' || store || '"', 'NULL')),
			DETAIL = 'No store of this name was added.',
			HINT = 'The view "runops.stores" lists the stores; runops.add_store() adds one.';
	END IF;
	IF server IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('store "%s" is this database itself', store),
			DETAIL = 'Its tables are the attached tables.',
			HINT = 'Name a store that has a server.';
	END IF;
END
$$;

/* The given routed table, or all routed tables if none is given. */
CREATE FUNCTION runops._routed_relations(relation regclass) RETURNS regclass[]
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF relation IS NOT NULL AND NOT EXISTS (SELECT FROM runops.routed_tables t WHERE t.relation = _routed_relations.relation) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('table %s is not routed', relation),
			DETAIL = 'The table exists only in this database.',
			HINT = 'The view "runops.routed_tables" lists the routed tables; runops.attach() routes one.';
	END IF;
	RETURN ARRAY(SELECT t.relation FROM runops.routed_tables t
				 WHERE t.relation = _routed_relations.relation OR _routed_relations.relation IS NULL
				 ORDER BY t.relation::oid);
END
$$;

/* A row if the server of a store has the option two_phase, and the store can prepare no transaction. */
CREATE FUNCTION runops._two_phase_parity(store text) RETURNS TABLE (object text, action text, ddl text, detail text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	server name;
BEGIN
	SELECT s.server INTO server
	FROM runops.stores s JOIN pg_foreign_server f ON f.srvname = s.server
	CROSS JOIN LATERAL pg_options_to_table(f.srvoptions) o
	WHERE s.store = _two_phase_parity.store AND o.option_name = 'two_phase' AND o.option_value::boolean;
	IF FOUND AND runops._remote_object(store,
			'SELECT jsonb_build_object(''max'', current_setting(''max_prepared_transactions'')::bigint) AS max',
			'{"max": "number"}') ->> 'max' = '0' THEN
		RETURN QUERY SELECT format('server %I', server), 'drift',
			'ALTER SYSTEM SET max_prepared_transactions = 100',
			'"max_prepared_transactions" is 0 there, so no transaction can be prepared, and those over two databases fail; the change needs a restart';
	END IF;
END
$$;

/*
 * One remote transaction creates everything except the labels of enums.  Another
 * transaction adds these first, because a new label cannot be used in the
 * transaction that adds it.
 */
CREATE FUNCTION runops.provision(store text, dry_run boolean DEFAULT false, relation regclass DEFAULT NULL)
RETURNS TABLE (object text, action text, ddl text, detail text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	patience CONSTANT text := 'SET LOCAL lock_timeout = ''5s''';
	relations regclass[];
	here jsonb;
	rows runops._parity[];
	commands text[];
	blocker runops._parity;
BEGIN
	PERFORM runops._check_remote_store(store);
	relations := runops._routed_relations(relation);
	PERFORM runops._gate_require(store);
	IF NOT coalesce(dry_run, false) THEN
		PERFORM runops._topology_lock();
	END IF;

	here := runops._facts_here(relations);
	rows := ARRAY(SELECT r FROM runops._parity_rows(store, relations, here) r);

	IF NOT coalesce(dry_run, false) THEN
		SELECT r.* INTO blocker FROM unnest(rows) r
		WHERE r.kind = 'type' AND r.action = 'drift' AND r.detail LIKE 'missing%' LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_object',
				MESSAGE = format('%s is missing in store "%s"', blocker.object, store),
				DETAIL = 'Only enums, domains and composite types can be created from here. Nothing was changed.',
				HINT = coalesce('Run there: ' || blocker.ddl || ';', 'Create it there first.');
		END IF;

		commands := ARRAY(SELECT r.ddl FROM unnest(rows) r WHERE r.action = 'create' AND r.kind = 'label');
		IF cardinality(commands) > 0 THEN
			PERFORM runops.remote_transaction(store, patience || commands);
		END IF;
		commands := ARRAY(SELECT r.ddl FROM unnest(rows) r WHERE r.action = 'create' AND r.kind <> 'label');
		IF cardinality(commands) > 0 THEN
			PERFORM runops.remote_transaction(store, patience || commands);
		END IF;

		-- A unique key that is older than the store has no entries for its rows yet.
		PERFORM runops._unique_cover(store, relations);

		-- The new objects belong to the caller's remote user, so check privileges again.
		IF EXISTS (SELECT FROM unnest(rows) r WHERE r.action = 'create' AND r.kind IN ('schema', 'table')) THEN
			rows := ARRAY(SELECT r FROM unnest(rows) r WHERE r.kind <> 'privilege')
				|| ARRAY(SELECT r FROM runops._privilege_parity(store, relations, runops._facts_there(store, relations, here)) r);
		END IF;
	END IF;

	RETURN QUERY SELECT r.object, r.action, r.ddl, r.detail FROM unnest(rows) r;
	RETURN QUERY SELECT r.object, r.action, r.ddl, r.detail FROM runops._two_phase_parity(store) r;
END
$$;
COMMENT ON FUNCTION runops.provision(text, boolean, regclass) IS 'creates in a store the objects that routed tables need there, and reports differences';

REVOKE EXECUTE ON FUNCTION
	runops._facts_here(regclass[]),
	runops._facts_there(text, regclass[], jsonb),
	runops._parity_rows(text, regclass[], jsonb),
	runops._mapped_users(text),
	runops._token_parity(text, jsonb),
	runops._privilege_parity(text, regclass[], jsonb),
	runops._two_phase_parity(text),
	runops.provision(text, boolean, regclass)
FROM PUBLIC;
