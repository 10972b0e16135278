/*
 * Protection of the objects that routed tables need.  A hook in the library makes
 * the final decision; the event trigger loads the library if it is not preloaded.
 */
CREATE FUNCTION runops._protect_start() RETURNS event_trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_protect_start';
CREATE FUNCTION runops._protect_end() RETURNS event_trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_protect_end';

/*
 * Functions that tell the store of an id and are not what the extension made, with
 * the difference; src/setup/frozen.c refuses to change them.  Fixed ids are asked
 * for as well, because a function can be changed where the library is not loaded.
 */
CREATE FUNCTION runops._changed_functions() RETURNS TABLE (function text, finding text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT f.name, 'is not as the extension created it'
	FROM (VALUES ('runops.store_of(text)', 'runops_store_of', 'i', true),
				 ('runops.same_store(text,text)', 'runops_same_store', 'i', false),
				 ('runops.store_arm(text,text,oid,boolean)', 'runops_store_arm', 's', true),
				 ('runops.store_arm(text[],text,oid,boolean)', 'runops_store_arm_array', 's', true)) AS f (name, symbol, volatility, strict)
	LEFT JOIN pg_proc p ON p.oid = to_regprocedure(f.name)
	LEFT JOIN pg_language l ON l.oid = p.prolang
	WHERE (p.prosrc, p.probin, l.lanname, p.provolatile, p.proisstrict, p.prosecdef, p.proconfig, p.prosupport)
		IS DISTINCT FROM (f.symbol, '$libdir/runops', 'c', f.volatility::"char", f.strict, false, NULL, 0)
	UNION ALL
	SELECT 'runops.store_of(text)', format('returns %L for the id %L, and not %L', runops.store_of(i.id), i.id, i.store)
	FROM (VALUES ('c000000000000000000000001', 'legacy'), ('0ujsswThIGTUYm2K8FjOOfXtY1K', 'new'),
				 ('0123456789abcdefghijklmna1', 'new'), ('an id of no shape', 'legacy')) AS i (id, store)
	WHERE runops.store_of(i.id) IS DISTINCT FROM i.store
$$;

/* Raise if one of these functions was changed. */
CREATE FUNCTION runops._check_functions() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	bad record;
BEGIN
	SELECT * INTO bad FROM runops._changed_functions() LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('function %s was changed', bad.function),
			DETAIL = format('It %s.', bad.finding),
			HINT = 'Create it again as the install script of the extension does, and then use runops.verify().';
	END IF;
END
$$;

CREATE EVENT TRIGGER runops_protect_start ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP TABLE', 'DROP FOREIGN TABLE', 'DROP SERVER',
				 'DROP FOREIGN DATA WRAPPER', 'DROP FUNCTION', 'DROP ROUTINE', 'CREATE FUNCTION', 'DROP OWNED', 'DROP INDEX', 'DROP TRIGGER',
				 'ALTER TABLE', 'ALTER FOREIGN TABLE', 'CREATE TRIGGER', 'CREATE INDEX', 'CREATE RULE', 'CREATE POLICY',
				 'ALTER INDEX', 'ALTER SERVER', 'ALTER SCHEMA', 'ALTER FUNCTION', 'ALTER ROUTINE')
	EXECUTE FUNCTION runops._protect_start();
CREATE EVENT TRIGGER runops_protect_end ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE', 'CREATE INDEX')
	EXECUTE FUNCTION runops._protect_end();
COMMENT ON EVENT TRIGGER runops_protect_start IS 'refuses to drop or to alter objects that routed tables need';
COMMENT ON EVENT TRIGGER runops_protect_end IS 'reports the commands to run after a change of a routed table';

/*
 * Step: give leaves the owner of their routed table, and that role what he needs
 * on schemas of leaves and on entries.
 */
CREATE FUNCTION runops._step_follow_owner(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	FOR r IN
		SELECT l.oid::regclass AS leaf, l.relkind, pg_get_userbyid(p.relowner) AS owner, l.relnamespace::regnamespace AS nsp
		FROM runops.table_config t JOIN pg_class p ON p.oid = t.relation
		JOIN pg_inherits i ON i.inhparent = t.relation JOIN pg_class l ON l.oid = i.inhrelid
		WHERE l.relowner <> p.relowner
			AND (l.oid = t.leaf OR l.relkind = 'f')
	LOOP
		EXECUTE format('ALTER %s %s OWNER TO %I', CASE r.relkind WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, r.leaf, r.owner);
		EXECUTE format('GRANT %s ON SCHEMA %s TO %I', CASE r.relkind WHEN 'f' THEN 'USAGE' ELSE 'USAGE, CREATE' END, r.nsp, r.owner);
	END LOOP;
	FOR r IN
		SELECT format('GRANT USAGE ON SCHEMA runops_unique TO %1$I; GRANT SELECT ON %2$s TO %1$I', pg_get_userbyid(p.relowner), u.entries) AS ddl
		FROM runops.unique_config u JOIN pg_class p ON p.oid = u.relation
		WHERE NOT has_table_privilege(p.relowner, u.entries, 'SELECT')
	LOOP
		EXECUTE r.ddl;
	END LOOP;
	RETURN NULL;
END
$$;

/* Event trigger: leaves follow the owner of their routed table. */
CREATE FUNCTION runops._follow_owner() RETURNS event_trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM runops.table_config t JOIN pg_class p ON p.oid = t.relation
			   JOIN pg_inherits i ON i.inhparent = t.relation JOIN pg_class l ON l.oid = i.inhrelid
			   WHERE l.relowner <> p.relowner AND (l.oid = t.leaf OR l.relkind = 'f')) THEN
		PERFORM runops._own_step('follow_owner', '{}');
	END IF;
END
$$;
CREATE EVENT TRIGGER runops_follow_owner ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE')
	EXECUTE FUNCTION runops._follow_owner();
COMMENT ON EVENT TRIGGER runops_follow_owner IS 'gives leaves the owner of their routed table';

REVOKE EXECUTE ON FUNCTION runops._step_follow_owner(oid, jsonb), runops._follow_owner() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION runops._protect_start(), runops._protect_end(), runops._changed_functions(), runops._check_functions() FROM PUBLIC;
