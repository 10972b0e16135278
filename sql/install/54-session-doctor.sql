/*
 * Doctor: transactions that are committed in a part of the databases only.
 */

/* Transactions that this database has rolled back, and that a store has committed or may have committed. */
CREATE FUNCTION runops._doctor_commits() RETURNS SETOF runops._finding
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'error', format('transaction %s', x.id),
		format('is rolled back in this database and %s%s%s', x.committed, CASE WHEN x.committed <> '' AND x.unknown <> '' THEN ', and ' ELSE '' END, x.unknown),
		CASE WHEN x.unknown <> ''
			THEN 'The store is asked again, also by runops.resolve_commits(). To know it at once, look for the rows in '
			ELSE 'Complete or undo what it has written to ' END
		|| coalesce(x.tables, 'the store') || format('. Then use runops.forget_commit(%s).', x.id),
		CASE WHEN x.unknown <> '' THEN 'is rolled back in this database, and it is not known whether a store has committed it'
			ELSE 'is rolled back in this database and committed in a store' END
	FROM (SELECT c.id,
			coalesce('committed in server ' || string_agg(quote_ident(c.server), ', ' ORDER BY c.server) FILTER (WHERE c.outcome = 'committed'), '') AS committed,
			coalesce('perhaps committed in server ' || string_agg(quote_ident(c.server), ', ' ORDER BY c.server) FILTER (WHERE c.outcome = 'unknown'), '') AS unknown,
			(SELECT string_agg(DISTINCT t.name, ', ') FROM runops.commit_failures f CROSS JOIN LATERAL unnest(f.tables) t (name)
			 WHERE f.id = c.id AND f.outcome <> 'rolled back') AS tables
		  FROM runops.commit_failures c GROUP BY c.id) AS x
	WHERE x.committed <> '' OR x.unknown <> ''
$$;

REVOKE EXECUTE ON FUNCTION runops._doctor_commits() FROM PUBLIC;
