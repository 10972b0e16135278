/*
 * explain(): the stores and the turns of a statement, read from its plan.
 */

/*
 * The nodes of a plan, as EXPLAIN (VERBOSE, FORMAT json) shows it, that use leaves:
 * "relation" is the leaf, "turns" what its first execution costs, and "repeated"
 * whether it costs this again for rows of another part of the plan.
 *
 * A join that is done in a store is one node with several leaves, so the turns are
 * those of the first one.  What is rescanned without new parameters costs nothing.
 */
CREATE FUNCTION runops._plan_leaves(plan jsonb)
RETURNS TABLE (leaf regclass, turns integer, writes boolean, by_row boolean, repeated boolean, reason text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE nodes (node, again) AS (
		SELECT plan -> 0 -> 'Plan', false
		UNION ALL
		SELECT child.node,
			p.again OR child.node ->> 'Parent Relationship' = 'SubPlan'
				OR (p.node ->> 'Node Type' = 'Nested Loop' AND child.node ->> 'Parent Relationship' = 'Inner')
		FROM nodes p, jsonb_array_elements(coalesce(p.node -> 'Plans', '[]')) child (node)
	), used AS (
		SELECT n.*, names.name, names.ord,
			n.node ->> 'Node Type' = 'ModifyTable' AS modifies,
			-- of a write: is it done with the rows that the first node below has read?
			n.node -> 'Plans' -> 0 ->> 'Node Type' <> 'Foreign Scan' OR n.node -> 'Plans' -> 0 ->> 'Operation' = 'Select' AS by_row,
			n.node ->> 'Node Type' = 'Foreign Scan' AND n.node ->> 'Operation' <> 'Select' AS direct
		FROM nodes n, LATERAL (
			-- one table, the tables of a join, of a statement sent as a whole, and the targets of a write
			SELECT format('%I.%I', n.node ->> 'Schema', n.node ->> 'Relation Name'), 1
			WHERE n.node ? 'Relation Name' AND n.node ? 'Schema' AND NOT n.node ? 'Target Tables'
			UNION ALL
			SELECT m[1], o::integer
			FROM regexp_matches(n.node ->> 'Relations', $re$((?:runops_[a-z0-9_]+)\.(?:"(?:[^"]|"")+"|[^\s()"]+))$re$, 'g') WITH ORDINALITY r (m, o)
			UNION ALL
			SELECT l, o::integer FROM jsonb_array_elements_text(coalesce(n.node -> 'Leaves', '[]')) WITH ORDINALITY r (l, o)
			UNION ALL
			SELECT format('%I.%I', t ->> 'Schema', t ->> 'Relation Name'), 1
			FROM jsonb_array_elements(coalesce(n.node -> 'Target Tables', '[]')) t
		) names (name, ord)
	)
	SELECT c.oid::regclass,
		CASE WHEN c.relkind <> 'f' OR u.ord > 1 THEN 0
			-- a direct modification is a turn of the scan below
			WHEN u.modifies AND u.by_row THEN 1
			WHEN u.modifies THEN 0
			ELSE 1 END,
		c.relkind = 'f' AND (u.modifies OR u.direct OR coalesce((u.node ->> 'Writes')::boolean, false)),
		c.relkind = 'f' AND u.modifies AND u.node ->> 'Operation' <> 'Insert' AND u.by_row,
		c.relkind = 'f' AND u.again AND u.node ->> 'Remote SQL' ~ '\$[0-9]' AND u.node ->> 'Node Type' <> 'Custom Scan',
		u.node ->> 'Not Sent as a Whole'
	FROM used u JOIN (
		SELECT x.oid, x.relkind, format('%I.%I', n.nspname, x.relname) AS name
		FROM pg_inherits i JOIN pg_class x ON x.oid = i.inhrelid JOIN pg_namespace n ON n.oid = x.relnamespace
		WHERE i.inhparent IN (SELECT t.relation FROM runops.routed_tables t)
	) c ON c.name = u.name
$$;

/*
 * The query is planned with the rights and the search_path of the caller.  A loop
 * opens a cursor, which refuses more than one statement, and EXPLAIN accepts
 * nothing that it would execute.
 */
CREATE FUNCTION runops.explain(query text)
RETURNS TABLE (relation regclass, stores text[], turns integer, reason text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
AS $$
#variable_conflict use_column
DECLARE
	plan pg_catalog.json;
BEGIN
	FOR plan IN EXECUTE pg_catalog.concat('EXPLAIN (VERBOSE, COSTS OFF, FORMAT json) ', query) LOOP
		RETURN QUERY SELECT * FROM runops._plan_summary(plan::pg_catalog.jsonb);
	END LOOP;
END
$$;
COMMENT ON FUNCTION runops.explain(text) IS 'for each routed table of a statement: its stores, the turns, and why they are not fewer; the statement is not executed';

/* What explain() returns for a plan. */
CREATE FUNCTION runops._plan_summary(plan jsonb)
RETURNS TABLE (relation regclass, stores text[], turns integer, reason text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	WITH leaves AS (
		SELECT i.inhparent::regclass AS relation, runops._store_of_leaf(l.leaf) AS store, l.*
		FROM runops._plan_leaves(plan) l JOIN pg_inherits i ON i.inhrelid = l.leaf
	), by_store AS (
		-- a write has a turn for its COMMIT
		SELECT l.relation, l.store, sum(l.turns) + bool_or(l.writes)::integer AS turns
		FROM leaves l GROUP BY l.relation, l.store
	)
	SELECT r.* FROM (
		-- an upsert whose rows go to the stores that their keys name when it is executed
		SELECT t.relation, array_agg(s.store ORDER BY s.store), NULL::integer,
			'Its rows go store by store, so the turns depend on the stores that their keys name.'
		FROM jsonb_path_query(plan, 'strict $.**."Spread Table"') spread (name)
			JOIN runops.routed_tables t ON t.relation = (
				SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE format('%I.%I', n.nspname, c.relname) = spread.name #>> '{}'),
			LATERAL (SELECT runops._store_of_leaf(i.inhrelid) FROM pg_inherits i WHERE i.inhparent = t.relation) s (store)
		WHERE s.store IS NOT NULL
		GROUP BY t.relation
		UNION ALL
		SELECT l.relation, array_agg(DISTINCT l.store ORDER BY l.store),
			CASE WHEN NOT bool_or(l.repeated) THEN (SELECT sum(s.turns) FROM by_store s WHERE s.relation = l.relation)::integer END,
			concat_ws(' ',
				string_agg(DISTINCT l.reason, ' '),
				CASE WHEN count(DISTINCT l.store) > 1 THEN 'The keys that are known do not name one store.' END,
				CASE WHEN bool_or(l.repeated) THEN 'A store is asked again for each row of another part of the plan.' END,
				CASE WHEN bool_or(l.by_row) THEN 'Each row that is written after the first costs one more turn.' END)
		FROM leaves l
		WHERE NOT jsonb_path_exists(plan, 'strict $.**."Spread Table"')
		GROUP BY l.relation
	) r (relation, stores, turns, reason)
	ORDER BY r.relation::text COLLATE "C"
$$;
