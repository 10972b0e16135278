
-- functions that run SQL in the database of a store, through the gate

CREATE FUNCTION runops.remote_query(store text, query text) RETURNS SETOF jsonb
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_query';

COMMENT ON FUNCTION runops.remote_query(text, text) IS 'internal: rows of a SELECT in the database of a store, each as a jsonb object';
REVOKE EXECUTE ON FUNCTION runops.remote_query(text, text) FROM PUBLIC;

CREATE FUNCTION runops.remote_exec(store text, command text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_exec';

COMMENT ON FUNCTION runops.remote_exec(text, text) IS 'internal: runs a command in the database of a store';
REVOKE EXECUTE ON FUNCTION runops.remote_exec(text, text) FROM PUBLIC;

CREATE FUNCTION runops.remote_transaction(store text, commands text[]) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_transaction';

COMMENT ON FUNCTION runops.remote_transaction(text, text[]) IS 'internal: runs commands in the database of a store in one transaction';
REVOKE EXECUTE ON FUNCTION runops.remote_transaction(text, text[]) FROM PUBLIC;

/*
 * The rows of a query that runs as the owner of a table; see
 * src/session/owner_query.c.
 *
 * Code of the owner (keys, predicates, casts, domains) must be evaluated only in
 * such a query.  The same holds for queries that are sent to a store about rows of
 * the table.  The caller must have the privileges of the owner.
 */
CREATE FUNCTION runops._owner_query(relation regclass, query text, store text DEFAULT NULL, store_query text DEFAULT NULL) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_owner_query';
REVOKE EXECUTE ON FUNCTION runops._owner_query(regclass, text, text, text) FROM PUBLIC;

/*
 * An SQL expression for the text of a value.
 *
 * Any role may have written the cast of a type to text, so only casts of types in
 * pg_catalog are used.  With such a cast the expression can use an index.
 */
CREATE FUNCTION runops._text_sql(expression text, type oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN '(%s)::text' ELSE 'format(''%%s'', %s)' END, expression)
	FROM pg_type t WHERE t.oid = type
$$;
REVOKE EXECUTE ON FUNCTION runops._text_sql(text, oid) FROM PUBLIC;

/*
 * The object that a query in a store gives as the one column of its one row, with
 * members of these types, by jsonb_typeof: nothing else is used of an answer.
 */
CREATE FUNCTION runops._remote_object(store text, query text, members jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rows CONSTANT jsonb[] := ARRAY(SELECT q FROM runops.remote_query(store, query) q);
	found jsonb;
	wrong text;
BEGIN
	IF jsonb_typeof(rows[1]) = 'object' THEN
		SELECT e.value INTO found FROM jsonb_each(rows[1]) e;
	END IF;
	IF cardinality(rows) <> 1 THEN
		wrong := format('It gave %s rows where one was asked for.', cardinality(rows));
	ELSIF jsonb_typeof(found) IS DISTINCT FROM 'object' THEN
		wrong := 'It gave no object.';
	ELSE
		SELECT format('Member "%s" of the object that it gave is not of type %s.', m.key, m.value) INTO wrong
		FROM jsonb_each_text(members) m
		WHERE jsonb_typeof(found -> m.key) IS DISTINCT FROM m.value
		ORDER BY m.key LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'protocol_violation',
			MESSAGE = format('store "%s" does not answer like PostgreSQL', store),
			DETAIL = wrong,
			HINT = 'Check which program the host and port of its server lead to.';
	END IF;
	RETURN found;
END
$$;

REVOKE EXECUTE ON FUNCTION runops._remote_object(text, text, jsonb) FROM PUBLIC;
