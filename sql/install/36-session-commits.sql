/*
 * Transactions that this database has rolled back, and that a store has committed
 * or may have committed; see src/session/commit_record.c.
 */

-- One row for each store that was told to commit.  A dump contains it, because the
-- halves that it names are in the stores.
CREATE TABLE runops.commit_failure (
	id bigint NOT NULL,
	server name NOT NULL,
	role name NOT NULL,
	failed_at timestamptz NOT NULL,
	outcome text NOT NULL CHECK (outcome IN ('unknown', 'committed', 'rolled back')),
	known_at timestamptz,
	asked_at timestamptz,
	message text,
	tables text[] NOT NULL,
	xid xid8,
	pid int NOT NULL,
	run text NOT NULL,
	token text,
	PRIMARY KEY (id, server, role)
);
SELECT pg_catalog.pg_extension_config_dump('runops.commit_failure', '');
COMMENT ON TABLE runops.commit_failure IS 'transactions that are rolled back in this database, and what each store has done; kept until they are forgotten';

/* The outcomes that wait in shared memory to be copied to the table. */
CREATE FUNCTION runops._pending_commits(
	OUT id bigint, OUT server text, OUT role oid, OUT failed_at timestamptz, OUT outcome text,
	OUT leaves oid[], OUT xid text, OUT pid int, OUT run text, OUT token text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
	AS 'MODULE_PATHNAME', 'runops_pending_commits';

/* Release the outcomes of a transaction in shared memory, when the current one has committed. */
CREATE FUNCTION runops._release_commit(id bigint) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_release_commit';

/* The names of the routed tables that have these leaves. */
CREATE FUNCTION runops._leaf_tables(leaves oid[]) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ARRAY(SELECT DISTINCT format('%I.%I', c.relnamespace::regnamespace::name, c.relname)
				 FROM unnest(leaves) l (leaf) JOIN pg_inherits i ON i.inhrelid = l.leaf JOIN pg_class c ON c.oid = i.inhparent)
$$;

/* Copy the outcomes from shared memory to the table; they are released when this has committed. */
CREATE FUNCTION runops._copy_commits() RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO runops.commit_failure (id, server, role, failed_at, outcome, known_at, tables, xid, pid, run, token)
	SELECT p.id, p.server, pg_get_userbyid(p.role), p.failed_at, p.outcome,
		CASE WHEN p.outcome <> 'unknown' THEN p.failed_at END, runops._leaf_tables(p.leaves), p.xid::xid8, p.pid, p.run, p.token
	FROM runops._pending_commits() p
	ON CONFLICT DO NOTHING
$$;

CREATE VIEW runops.commit_failures AS
SELECT c.id, c.server, c.role, c.failed_at, c.outcome, c.known_at, c.asked_at, c.message, c.tables, c.xid, c.pid
FROM runops.commit_failure c
UNION ALL
SELECT p.id, p.server::name, pg_catalog.pg_get_userbyid(p.role), p.failed_at, p.outcome, NULL, NULL, NULL,
	runops._leaf_tables(p.leaves), p.xid::xid8, p.pid
FROM runops._pending_commits() p
WHERE NOT EXISTS (SELECT FROM runops.commit_failure c WHERE c.id OPERATOR(pg_catalog.=) p.id);
COMMENT ON VIEW runops.commit_failures IS 'transactions that are rolled back in this database and committed, or perhaps committed, in a store';

-- It runs with the privileges of its owner, so a role needs only EXECUTE.
CREATE FUNCTION runops.resolve_commits() RETURNS bigint
	LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'runops_resolve_commits';
COMMENT ON FUNCTION runops.resolve_commits() IS
	'asks the stores what became of transactions whose COMMIT they have not answered; returns how many stay unknown';

CREATE FUNCTION runops.forget_commit(id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	existed boolean;
BEGIN
	DELETE FROM runops.commit_failure c WHERE c.id = forget_commit.id;
	existed := FOUND;
	IF EXISTS (SELECT FROM runops._pending_commits() p WHERE p.id = forget_commit.id) THEN
		PERFORM runops._release_commit(id);
		existed := true;
	END IF;
	IF NOT existed THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no failed commit %s', coalesce(id::text, 'NULL')),
			DETAIL = 'It was forgotten, or there was none with this number.',
			HINT = 'The view "runops.commit_failures" lists them.';
	END IF;
END
$$;
COMMENT ON FUNCTION runops.forget_commit(bigint) IS 'removes a transaction from commit_failures, after its half was completed or undone';

REVOKE EXECUTE ON FUNCTION
	runops._pending_commits(),
	runops._release_commit(bigint),
	runops._leaf_tables(oid[]),
	runops._copy_commits(),
	runops.resolve_commits(),
	runops.forget_commit(bigint)
FROM PUBLIC;
GRANT SELECT ON runops.commit_failures TO pg_monitor;
GRANT EXECUTE ON FUNCTION
	runops._pending_commits(),
	runops._leaf_tables(oid[])
TO pg_monitor;
