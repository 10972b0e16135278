/*
 * Waits that cross the seam: a function that returns the store in which a
 * waitpoint is completed, and a list of the routines that have to call it.
 */

CREATE FUNCTION runops.completion_store(waitpoint_id text, route_kind text,
		tree_owner_residency runops.residency_type DEFAULT NULL,
		is_cross_tree_idempotency boolean DEFAULT false,
		has_legacy_parent boolean DEFAULT false,
		OUT store text, OUT residency runops.residency_type,
		OUT route_kind text, OUT pinned_reason text)
	RETURNS record
	LANGUAGE c STABLE CALLED ON NULL INPUT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_completion_store';
COMMENT ON FUNCTION runops.completion_store(text, text, runops.residency_type, boolean, boolean) IS
	'the store in which a waitpoint is completed: the store that its id names, or legacy if its waiter belongs to legacy';

-- The number of calls of completion_store in a text of SQL or PL/pgSQL; see src/mint/unblock_routes.c.
CREATE FUNCTION runops._count_calls(body text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_count_calls';
CREATE FUNCTION runops._check_route_kind(route_kind text) RETURNS void
	LANGUAGE c IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_check_route_kind';

-- The signature survives a dump and pg_upgrade, which change the OIDs of routines.
-- (pg_upgrade refuses tables with a column of type regprocedure.)  The OID finds a
-- routine that was renamed.  The row of a routine that was dropped stays, and
-- check_unblock_routes reports it.
CREATE TABLE runops.unblock_config (
	signature text NOT NULL,
	routine oid NOT NULL,
	route_kind text NOT NULL,
	calls int NOT NULL CHECK (calls > 0),
	PRIMARY KEY (signature, route_kind)
);
SELECT pg_catalog.pg_extension_config_dump('runops.unblock_config', '');

CREATE VIEW runops.unblock_routes AS
SELECT coalesce(pg_catalog.to_regprocedure(u.signature), u.routine::pg_catalog.regprocedure) AS routine, u.route_kind, u.calls
FROM runops.unblock_config u;

COMMENT ON TABLE runops.unblock_config IS 'routines that end waits, as add_unblock_route recorded them';
COMMENT ON VIEW runops.unblock_routes IS 'routines that end waits, by kind of route, with the number of calls of completion_store in each';
GRANT SELECT ON runops.unblock_config, runops.unblock_routes TO PUBLIC;

CREATE FUNCTION runops.add_unblock_route(routine regprocedure, route_kind text, calls int DEFAULT 1) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	language name;
	signature text;
BEGIN
	IF routine IS NULL OR calls IS NULL OR calls < 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN routine IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = CASE WHEN routine IS NULL THEN 'routine must not be NULL'
						   ELSE format('invalid number of calls: %s', coalesce(calls::text, 'NULL')) END,
			DETAIL = 'A route is a routine whose body contains this number of calls of runops.completion_store.',
			HINT = 'Pass the routine with the types of its arguments, as in ''public.complete(text)'', and its number of calls.';
	END IF;
	PERFORM runops._check_route_kind(route_kind);

	SELECT l.lanname, format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) INTO language, signature
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE p.oid = routine;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_function',
			MESSAGE = format('routine with OID %s does not exist', routine::oid),
			DETAIL = 'It may have been dropped.',
			HINT = 'Pass the routine with the types of its arguments, as in ''public.complete(text)''.';
	END IF;
	IF language NOT IN ('sql', 'plpgsql') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'feature_not_supported',
			MESSAGE = format('the body of %s cannot be read', routine),
			DETAIL = format('It is written in language "%s".', language),
			HINT = 'Let it call a routine in SQL or PL/pgSQL that calls runops.completion_store.';
	END IF;

	IF NOT runops._insert_config('unblock_config', jsonb_build_object('signature', signature, 'routine', routine::oid,
			'route_kind', route_kind, 'calls', calls)) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('%s is already a route of kind "%s"', routine, route_kind),
			DETAIL = 'The view "runops.unblock_routes" lists the routes.',
			HINT = 'Use runops.drop_unblock_route first to declare another number of calls.';
	END IF;
END
$$;
COMMENT ON FUNCTION runops.add_unblock_route(regprocedure, text, int) IS
	'declares that a routine ends waits by routes of a kind, with its number of calls of completion_store';

CREATE FUNCTION runops.drop_unblock_route(routine regprocedure, route_kind text, if_exists boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._delete_config('unblock_config', jsonb_build_object('signature', u.signature, 'route_kind', u.route_kind))
	FROM runops.unblock_config u
	WHERE coalesce(to_regprocedure(u.signature), u.routine) = drop_unblock_route.routine AND u.route_kind = drop_unblock_route.route_kind;
	IF NOT FOUND AND NOT coalesce(if_exists, false) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('%s is not a route of kind %s', coalesce(routine::text, 'NULL'), coalesce('"' || route_kind || '"', 'NULL')),
			DETAIL = 'No such route was declared.',
			HINT = 'The view "runops.unblock_routes" lists the routes. It shows the OID of a routine that was dropped.';
	END IF;
END
$$;
COMMENT ON FUNCTION runops.drop_unblock_route(regprocedure, text, boolean) IS 'undoes add_unblock_route';

/*
 * If a body is stored as text, its calls are counted if it contains the name of
 * the function.  If a body was parsed when the routine was created, its calls are
 * counted if it depends on the function.
 */
CREATE FUNCTION runops.check_unblock_routes() RETURNS TABLE (routine regprocedure, declared int, found int)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH counted (oid, calls) AS MATERIALIZED (
		SELECT p.oid, runops._count_calls(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc))
		FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE l.lanname IN ('sql', 'plpgsql')
			AND (p.prosqlbody IS NULL AND p.prosrc ~* 'completion_store'
				 OR EXISTS (SELECT FROM pg_depend d
							WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
							AND d.refobjid = 'runops.completion_store(text, text, runops.residency_type, boolean, boolean)'::regprocedure))
			AND NOT EXISTS (SELECT FROM pg_depend d
							WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
							AND d.refclassid = 'pg_extension'::regclass
							AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'runops'))
	), declared (oid, calls) AS (
		SELECT u.routine::oid, sum(u.calls)::int FROM runops.unblock_routes u GROUP BY u.routine
	)
	SELECT coalesce(d.oid, c.oid)::regprocedure, coalesce(d.calls, 0),
		CASE WHEN EXISTS (SELECT FROM pg_proc p WHERE p.oid = coalesce(d.oid, c.oid)) THEN coalesce(c.calls, 0) END
	FROM declared d FULL JOIN counted c ON c.oid = d.oid
	WHERE coalesce(c.calls, 0) <> coalesce(d.calls, 0)
	ORDER BY coalesce(d.oid, c.oid)::regprocedure::text COLLATE "C"
$$;
COMMENT ON FUNCTION runops.check_unblock_routes() IS
	'routines whose number of calls of completion_store is not the declared number, and declared routines that do not exist (found is NULL)';

REVOKE EXECUTE ON FUNCTION
	runops.add_unblock_route(regprocedure, text, int),
	runops.drop_unblock_route(regprocedure, text, boolean),
	runops.check_unblock_routes()
FROM PUBLIC;
