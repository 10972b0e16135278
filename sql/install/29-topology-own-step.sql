/*
 * Steps of set-up functions that run as the owner of the extension; see
 * src/topology/own_step.c.
 *
 * The configuration, the schemas of leaves and the entries of unique keys belong
 * to the owner of the extension, and no role is granted rights on them.  A
 * set-up function runs with the rights of its caller, and calls a step for what
 * these do not suffice for.  The function _step_NAME is told the caller, and
 * checks what that role may do.
 */
CREATE FUNCTION runops._own_step(step text, arguments jsonb) RETURNS jsonb
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_own_step';

-- The owner of the extension.
CREATE FUNCTION runops._own_role() RETURNS oid
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_own_role';

/* Raise unless the role has the rights of the owner of the table. */
CREATE FUNCTION runops._check_owner(caller oid, relation regclass) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_has_role(caller, (SELECT c.relowner FROM pg_class c WHERE c.oid = relation), 'USAGE') IS NOT TRUE THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('must be owner of table %s', relation),
			DETAIL = format('Role "%s" may not change how it is routed.', pg_get_userbyid(caller)),
			HINT = 'Run this as the owner of the table or as a superuser.';
	END IF;
END
$$;

/* Raise unless the role may execute the public function that a step is part of. */
CREATE FUNCTION runops._check_may(caller oid, routine regprocedure) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT has_function_privilege(caller, routine, 'EXECUTE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied for function %s', routine),
			DETAIL = format('Role "%s" may not change the topology of runops.', pg_get_userbyid(caller)),
			HINT = format('Ask a superuser to grant EXECUTE on it to "%s".', pg_get_userbyid(caller));
	END IF;
END
$$;

/*
 * Raise unless the role may write rows of a table of the configuration that have
 * these values: it has the rights of the owner of each table that they name.
 */
CREATE FUNCTION runops._check_config_row(caller oid, config text, r jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	must_name CONSTANT text[] := CASE
		WHEN config IN ('table_config', 'unique_config', 'idempotency_config', 'retention_config') THEN '{relation}'
		WHEN config IN ('anchor_config', 'reference_config') THEN '{child}'
		WHEN config = 'cascade_config' THEN '{parent}'
		WHEN config IN ('store_config', 'unblock_config') THEN '{}' END;
BEGIN
	IF must_name IS NULL OR NOT r ?& must_name THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('rows of "%s" cannot be written so', config),
			DETAIL = 'It is no table of the configuration, or the row names no table.',
			HINT = 'Use the public functions.';
	END IF;
	PERFORM runops._check_owner(caller, x.value::oid::regclass)
	FROM jsonb_each_text(r) AS x
	-- a table that was dropped belongs to nobody
	WHERE x.key IN ('relation', 'leaf', 'child', 'parent') AND EXISTS (SELECT FROM pg_class c WHERE c.oid = x.value::oid);
	IF config = 'store_config' THEN
		PERFORM runops._check_may(caller, 'runops.add_store(text,name,name,name)');
	ELSIF config = 'unblock_config' THEN
		PERFORM runops._check_may(caller, 'runops.add_unblock_route(regprocedure,text,int)');
	ELSIF config = 'unique_config' AND r ? 'entries'
		  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = (r ->> 'entries')::oid
						  AND c.relnamespace = to_regnamespace('runops_unique') AND c.relowner = runops._own_role()) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = 'entries of a unique key are in a table of the extension',
			DETAIL = 'They are in schema "runops_unique".',
			HINT = 'Use runops.add_unique.';
	END IF;
END
$$;

/* Step: insert a row into a table of the configuration; false if there is one of its key. */
CREATE FUNCTION runops._step_insert(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config CONSTANT name := arguments ->> 'config';
	n bigint;
BEGIN
	PERFORM runops._check_config_row(caller, config, arguments -> 'row');
	EXECUTE (SELECT format('INSERT INTO runops.%1$I (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::runops.%1$I, $1) ON CONFLICT DO NOTHING',
						   config, string_agg(quote_ident(k), ', ')) FROM jsonb_object_keys(arguments -> 'row') k)
	USING arguments -> 'row';
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN to_jsonb(n > 0);
END
$$;

/* Step: delete the rows of a table of the configuration with these values; how many. */
CREATE FUNCTION runops._step_delete(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	config CONSTANT name := arguments ->> 'config';
	n bigint;
BEGIN
	PERFORM runops._check_config_row(caller, config, arguments -> 'row');
	EXECUTE (SELECT format('DELETE FROM runops.%1$I c USING jsonb_populate_record(NULL::runops.%1$I, $1) r WHERE %2$s',
						   config, string_agg(format('c.%1$I = r.%1$I', k), ' AND ')) FROM jsonb_object_keys(arguments -> 'row') k)
	USING arguments -> 'row';
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN to_jsonb(n);
END
$$;

/* Step: change the aliases of a routed table, or the stores that a unique key covers, or record that a reference is valid. */
CREATE FUNCTION runops._step_update(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._check_config_row(caller, arguments ->> 'config', arguments -> 'row');
	IF arguments ->> 'config' = 'table_config' THEN
		UPDATE runops.table_config t SET aliases = ARRAY(SELECT jsonb_array_elements_text(arguments -> 'aliases'))
		WHERE t.relation = (arguments -> 'row' ->> 'relation')::oid;
	ELSIF arguments ->> 'config' = 'unique_config' THEN
		UPDATE runops.unique_config u SET stores = ARRAY(SELECT jsonb_array_elements_text(arguments -> 'stores'))
		WHERE u.relation = (arguments -> 'row' ->> 'relation')::oid AND u.name = arguments -> 'row' ->> 'name';
	ELSIF arguments ->> 'config' = 'reference_config' THEN
		UPDATE runops.reference_config r SET validated = true
		WHERE r.child = (arguments -> 'row' ->> 'child')::oid AND r.child_column = arguments -> 'row' ->> 'child_column';
	END IF;
	RETURN NULL;
END
$$;

/* The three steps, for the functions that call them.  Tables are passed as their OIDs. */
CREATE FUNCTION runops._insert_config(config text, r jsonb) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (runops._own_step('insert', jsonb_build_object('config', config, 'row', r)))::boolean $$;
CREATE FUNCTION runops._delete_config(config text, r jsonb) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (runops._own_step('delete', jsonb_build_object('config', config, 'row', r)))::bigint $$;

/* Step: wait for other changes of the topology; see _topology_lock. */
CREATE FUNCTION runops._step_lock(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM runops._check_may(caller, 'runops._topology_lock()');
	PERFORM runops._lock_table('runops.store_config', 'SHARE ROW EXCLUSIVE');
	RETURN NULL;
END
$$;

/*
 * Raise unless a schema that is there can be used: it belongs to the owner of the
 * extension or to a superuser, and no other role may create objects in it.
 *
 * Whoever can put a table in the place of a leaf, a reader or entries leads
 * statements to a server of his own, or has code run by others.  The owners of
 * attached tables create indexes in the schema of these, and nothing else.
 */
CREATE FUNCTION runops._check_own_schema(nsp name) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	owner oid;
	creator text;
BEGIN
	SELECT n.nspowner INTO owner FROM pg_namespace n WHERE n.nspname = nsp;
	IF owner <> runops._own_role() AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = owner) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('schema "%s" cannot be used', nsp),
			DETAIL = format('The schema belongs to role "%s", which may not change the topology.', pg_get_userbyid(owner)),
			HINT = 'Check what the schema contains, then use ALTER SCHEMA ... OWNER TO or DROP SCHEMA.';
	END IF;
	SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE format('role "%s"', pg_get_userbyid(a.grantee)) END INTO creator
	FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = nsp AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
		AND (a.grantee = 0 OR nsp NOT IN ('runops_legacy', 'runops_none')) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('schema "%s" cannot be used', nsp),
			DETAIL = format('Objects can be created in it by %s.', creator),
			HINT = format('Use REVOKE CREATE ON SCHEMA %I, after a look at what is in it.', nsp);
	END IF;
END
$$;

/*
 * Step: make the schema for the leaves of a store unless it is there, and give
 * the owner of a table USAGE on it: foreign keys are checked by queries that name
 * the leaf and run with the owner's rights.  In the schema of the attached tables
 * he also creates indexes; src/setup/leaf_schema.c refuses anything else.
 */
CREATE FUNCTION runops._step_leaf_schema(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	leaf_schema CONSTANT name := runops._leaf_schema(arguments ->> 'store');
	owner CONSTANT oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = (arguments ->> 'relation')::oid);
	privileges CONSTANT text := CASE leaf_schema WHEN runops._leaf_schema(runops._old_table_store()) THEN 'USAGE, CREATE' ELSE 'USAGE' END;
	p text;
BEGIN
	PERFORM runops._check_may(caller, 'runops._topology_lock()');
	IF to_regnamespace(quote_ident(leaf_schema)) IS NULL THEN
		EXECUTE format('CREATE SCHEMA %I', leaf_schema);
	END IF;
	PERFORM runops._check_own_schema(leaf_schema);
	FOREACH p IN ARRAY string_to_array(privileges, ', ') LOOP
		CONTINUE WHEN owner IS NULL OR has_schema_privilege(owner, leaf_schema::text, p);
		PERFORM runops._check_owner(caller, (arguments ->> 'relation')::oid::regclass);
		EXECUTE format('GRANT %s ON SCHEMA %I TO %I', p, leaf_schema, pg_get_userbyid(owner));
	END LOOP;
	RETURN NULL;
END
$$;

/* Step: move a table that is being attached into the schema of a store. */
CREATE FUNCTION runops._step_move_leaf(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation CONSTANT regclass := (arguments ->> 'relation')::oid::regclass;
BEGIN
	PERFORM runops._check_may(caller, 'runops._topology_lock()');
	PERFORM runops._check_owner(caller, relation);
	EXECUTE format('ALTER TABLE %s SET SCHEMA %I', relation, runops._leaf_schema(arguments ->> 'store'));
	RETURN NULL;
END
$$;

-- Run the command that creates a foreign leaf, which core refuses if the routed table has a key; see src/setup/routed_key.c.
CREATE FUNCTION runops._create_leaf(relation regclass, command text) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_create_leaf';

/* Step: add the foreign leaf of one store to a routed table. */
CREATE FUNCTION runops._step_create_leaf(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	relation CONSTANT regclass := (arguments ->> 'relation')::oid::regclass;
	config runops.store_config;
	leaf text;
	owner name;
	schema_name name;
	table_name name;
BEGIN
	PERFORM runops._check_owner(caller, relation);
	SELECT * INTO STRICT config FROM runops.store_config c WHERE c.store = arguments ->> 'store';
	IF NOT has_server_privilege(caller, config.server, 'USAGE') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = format('permission denied for foreign server %s', config.server),
			DETAIL = format('Role "%s" lacks USAGE on it.', pg_get_userbyid(caller)),
			HINT = format('GRANT USAGE ON FOREIGN SERVER %I TO %I.', config.server, pg_get_userbyid(caller));
	END IF;
	leaf := format('%I.%I', runops._leaf_schema(config.store), runops._new_leaf_name(config.store, relation));
	SELECT pg_get_userbyid(c.relowner), n.nspname, c.relname
	INTO STRICT owner, schema_name, table_name
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relation;

	PERFORM runops._create_leaf(relation, format('CREATE FOREIGN TABLE %s PARTITION OF %s FOR VALUES IN (%L%s) SERVER %I '
		'OPTIONS (schema_name %L, table_name %L, truncatable ''false'')',
		leaf, relation, config.store, CASE config.store WHEN 'legacy' THEN ', NULL' ELSE '' END, config.server,
		coalesce(config.remote_schema, schema_name), table_name));
	PERFORM runops._forget_compression(leaf::regclass);
	IF owner <> current_user THEN
		EXECUTE format('ALTER FOREIGN TABLE %s OWNER TO %I', leaf, owner);
	END IF;
	RETURN NULL;
END
$$;

/*
 * Step: make the foreign table that stands for the reader of a store; see src/xact/reader_policy.c.
 * It has no columns: nobody reads it, it only belongs to the reader's server.
 */
CREATE FUNCTION runops._step_create_reader(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	leaf_schema CONSTANT name := runops._leaf_schema(arguments ->> 'store');
BEGIN
	PERFORM runops._check_may(caller, 'runops.add_store(text,name,name,name)');
	EXECUTE format('CREATE FOREIGN TABLE %I.runops_reader () SERVER %I', leaf_schema, arguments ->> 'reader');
	EXECUTE format('COMMENT ON FOREIGN TABLE %I.runops_reader IS %L', leaf_schema,
				   'stands for the reader of the store; has no rows of its own');
	RETURN NULL;
END
$$;

/* Step: drop what stands for the reader of a store that is no more, and schemas of leaves that have become empty. */
CREATE FUNCTION runops._step_clear(caller oid, arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	PERFORM runops._check_may(caller, 'runops._topology_lock()');
	FOR r IN
		SELECT format('%I.%I', n.nspname, c.relname) AS reader
		FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = 'runops_reader' AND NOT c.relispartition
			AND n.nspname ~ '^runops_(legacy|new|none|shard_[a-z0-9])$'
			AND NOT EXISTS (SELECT FROM runops.store_config s WHERE runops._leaf_schema(s.store) = n.nspname AND s.reader IS NOT NULL)
	LOOP
		EXECUTE format('DROP FOREIGN TABLE %s', r.reader);
	END LOOP;
	FOR r IN
		SELECT n.nspname FROM pg_namespace n
		WHERE (n.nspname ~ '^runops_(legacy|new|none|shard_[a-z0-9])$' OR n.nspname = 'runops_unique')
			AND n.nspowner = runops._own_role()
			AND NOT EXISTS (SELECT FROM pg_depend d
							WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
	LOOP
		EXECUTE format('DROP SCHEMA %I', r.nspname);
	END LOOP;
	RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION
	runops._own_step(text, jsonb),
	runops._own_role(),
	runops._check_owner(oid, regclass),
	runops._check_may(oid, regprocedure),
	runops._check_config_row(oid, text, jsonb),
	runops._step_insert(oid, jsonb),
	runops._step_delete(oid, jsonb),
	runops._step_update(oid, jsonb),
	runops._insert_config(text, jsonb),
	runops._delete_config(text, jsonb),
	runops._step_lock(oid, jsonb),
	runops._check_own_schema(name),
	runops._step_leaf_schema(oid, jsonb),
	runops._step_move_leaf(oid, jsonb),
	runops._create_leaf(regclass, text),
	runops._step_create_leaf(oid, jsonb),
	runops._step_create_reader(oid, jsonb),
	runops._step_clear(oid, jsonb)
FROM PUBLIC;
