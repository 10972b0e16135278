/*
 * The progress of set-up functions that take long; see src/base/progress.c.
 */

-- Show a phase of this session, and end it.  An error or the end of the transaction ends it, too.
CREATE FUNCTION runops._progress_phase(command text, phase text, relation regclass, blocks bigint DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_progress_phase';
CREATE FUNCTION runops._progress_end() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_progress_end';

-- The phases of all sessions of this database, for the view "progress".
CREATE FUNCTION runops._progress(OUT pid int, OUT relation oid, OUT command text, OUT phase text,
								 OUT blocks_done bigint, OUT blocks_total bigint, OUT rows_done bigint, OUT started timestamptz)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_progress';

/* The number of blocks of a table, with its partitions. */
CREATE FUNCTION runops._table_blocks(relation regclass) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(sum(pg_relation_size(t.relid)), 0)::bigint / current_setting('block_size')::bigint
	FROM (SELECT relation UNION SELECT p.relid FROM pg_partition_tree(relation) p) AS t (relid)
$$;

REVOKE EXECUTE ON FUNCTION
	runops._progress_phase(text, text, regclass, bigint),
	runops._progress_end(),
	runops._progress(),
	runops._table_blocks(regclass)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION runops._progress() TO pg_monitor;
