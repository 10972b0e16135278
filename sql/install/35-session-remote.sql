
-- the store itself, over the gate

CREATE FUNCTION runops.remote_query(store text, query text) RETURNS SETOF jsonb
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_query';

COMMENT ON FUNCTION runops.remote_query(text, text) IS 'internal: rows of a SELECT in the database of a store, each as a jsonb object';
REVOKE EXECUTE ON FUNCTION runops.remote_query(text, text) FROM PUBLIC;

CREATE FUNCTION runops.remote_exec(store text, command text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_exec';

COMMENT ON FUNCTION runops.remote_exec(text, text) IS 'internal: run a command in the database of a store';
REVOKE EXECUTE ON FUNCTION runops.remote_exec(text, text) FROM PUBLIC;

CREATE FUNCTION runops.remote_transaction(store text, commands text[]) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_remote_transaction';

COMMENT ON FUNCTION runops.remote_transaction(text, text[]) IS 'internal: run commands in the database of a store, all or none';
REVOKE EXECUTE ON FUNCTION runops.remote_transaction(text, text[]) FROM PUBLIC;
