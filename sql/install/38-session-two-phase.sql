/*
 * Two-phase commit: the decisions, and what stores still have prepared.
 */

/*
 * The transactions that are committed by two phases.  A row that is committed
 * decides that its transaction is to be committed in the stores, and is kept until
 * it is; see src/session/two_phase.c.  A dump does not contain it, because a copy
 * must not decide over the transactions of the original.
 */
CREATE TABLE runops.commit_decision (
	transaction text NOT NULL,
	decided_at timestamptz NOT NULL,
	stores text[] NOT NULL,
	gids text[] NOT NULL
);
-- the table has no key, and deletes must not fail if a publication contains all tables
ALTER TABLE runops.commit_decision REPLICA IDENTITY FULL;
COMMENT ON TABLE runops.commit_decision IS 'transactions over stores that are committed by two phases; kept until all stores have committed';

-- A lock on the table serializes the passes of src/session/finisher.c.
CREATE TABLE runops.finisher_error (
	store text NOT NULL PRIMARY KEY,
	message text NOT NULL,
	since timestamptz NOT NULL
);
COMMENT ON TABLE runops.finisher_error IS 'why the prepared transactions of a store could not be finished the last time';

GRANT SELECT ON runops.commit_decision, runops.finisher_error TO PUBLIC;

CREATE FUNCTION runops.finish_prepared(store text DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_finish_prepared';
COMMENT ON FUNCTION runops.finish_prepared(text) IS
	'commits or rolls back what transactions of this database have left prepared in one store or all';

CREATE FUNCTION runops._prepared_decision(gid text) RETURNS text
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_prepared_decision';

/*
 * The transactions of control planes that are prepared in the database of a store.
 * Without an answer of the store, the result is one row with the error.
 */
CREATE FUNCTION runops._prepared_in(store text) RETURNS TABLE (gid text, prepared timestamptz, owner name, decision text, age interval, error text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	message text;
	state text;
	context text;
BEGIN
	RETURN QUERY
	SELECT r ->> 'gid', (r ->> 'prepared')::timestamptz, (r ->> 'owner')::name,
		runops._prepared_decision(r ->> 'gid'), (r ->> 'age')::interval, NULL::text
	FROM runops.remote_query(store, $q$
		SELECT x.gid, x.prepared, x.owner, clock_timestamp() - x.prepared AS age
		FROM pg_prepared_xacts x WHERE x.database = current_database() AND starts_with(x.gid, 'runops_')
		ORDER BY x.prepared, x.gid$q$) r;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE, context = PG_EXCEPTION_CONTEXT;
	IF runops._cancelled_here(state, context) THEN
		RAISE;
	END IF;
	RETURN QUERY SELECT NULL::text, NULL::timestamptz, NULL::name, NULL::text, NULL::interval, message;
END
$$;

/* Does the server of a store have the option two_phase, or a decision that is kept? */
CREATE FUNCTION runops._may_have_prepared(store text) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM runops.stores s JOIN pg_foreign_server f ON f.srvname = s.server
				   CROSS JOIN LATERAL pg_options_to_table(f.srvoptions) o
				   WHERE s.store = _may_have_prepared.store AND o.option_name = 'two_phase')
		OR EXISTS (SELECT FROM runops.commit_decision d WHERE _may_have_prepared.store = ANY (d.stores))
$$;

CREATE VIEW runops.prepared_transactions AS
SELECT s.store, p.gid, p.prepared, p.owner,
	CASE WHEN p.gid IS NOT NULL THEN coalesce(p.decision, 'not ours') END AS decision,
	p.age, coalesce(p.error, e.message) AS last_error
FROM runops.stores s
CROSS JOIN LATERAL runops._prepared_in(s.store) p
LEFT JOIN runops.finisher_error e ON e.store OPERATOR(pg_catalog.=) s.store
WHERE s.server IS NOT NULL AND runops._may_have_prepared(s.store);
COMMENT ON VIEW runops.prepared_transactions IS 'transactions that are prepared in stores, and what is decided over them';

CREATE FUNCTION runops._two_phase_stats(
	OUT committed bigint, OUT rolled_back bigint, OUT left_prepared bigint,
	OUT finished_commit bigint, OUT finished_rollback bigint)
	RETURNS SETOF record
	LANGUAGE C STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'runops_two_phase_stats';

CREATE VIEW runops.two_phase_stats AS
SELECT s.committed, s.rolled_back, s.left_prepared, s.finished_commit, s.finished_rollback
FROM runops._two_phase_stats() s;
COMMENT ON VIEW runops.two_phase_stats IS 'how many transactions in stores were committed by two phases since the server was started; of all databases';
GRANT SELECT ON runops.two_phase_stats TO PUBLIC;

/* Raise if a store has transactions of this database that are prepared and cannot be finished. */
CREATE FUNCTION runops._require_finished(store text, what text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	message text;
BEGIN
	IF NOT runops._may_have_prepared(store) THEN
		RETURN;
	END IF;
	PERFORM runops.finish_prepared(store);
	SELECT count(p.decision), max(p.error) INTO n, message FROM runops._prepared_in(store) p;
	IF n > 0 OR message IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'RO006',
			MESSAGE = format('cannot %s while transactions are prepared in store "%s"', what, store),
			DETAIL = coalesce(message, format('Number of transactions that are not finished there: %s.', n)),
			HINT = 'The view "runops.prepared_transactions" shows them. runops.finish_prepared() finishes those that are decided.';
	END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION
	runops.finish_prepared(text),
	runops._prepared_decision(text),
	runops._prepared_in(text),
	runops._may_have_prepared(text),
	runops._require_finished(text, text)
FROM PUBLIC;
