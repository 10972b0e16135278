--
-- functions.sql
--	  Every public function is what the documentation says: arguments, result,
--	  volatility, strictness, parallel safety, and who may call it.
--
BEGIN;
SET search_path = tap, pg_catalog;
SELECT no_plan();

CREATE TEMP TABLE documented (
	kind "char", name name, arguments text, result text,
	volatility "char", strict boolean, parallel "char", public boolean);
INSERT INTO documented VALUES
	-- ids
	('f', 'store_of', 'id text', 'text', 'i', true, 's', true),
	('f', 'residency', 'id text', 'runops.residency_type', 'i', true, 's', true),
	('f', 'try_residency', 'id text', 'runops.residency_type', 'i', true, 's', true),
	('f', 'id_kind', 'id text', 'text', 'i', true, 's', true),
	('f', 'is_classifiable', 'id text', 'boolean', 'i', true, 's', true),
	('f', 'same_store', 'alias text, key text', 'boolean', 'i', false, 's', true),
	('f', 'parse_id', 'id text, OUT kind text, OUT prefix text, OUT body text, OUT store text, OUT minted_at timestamp with time zone, OUT region text, OUT shard text, OUT payload bytea', 'record', 'i', true, 's', true),
	('f', 'gen_cuid', '', 'text', 'v', false, 's', true),
	('f', 'gen_ksuid', 'payload bytea DEFAULT NULL::bytea', 'text', 'v', false, 's', true),
	('f', 'gen_run_ops_id', 'region text DEFAULT NULL::text', 'text', 'v', false, 's', true),
	('f', 'gen_shard_id', 'shard text', 'text', 'v', false, 's', true),
	('f', 'to_friendly_id', 'entity text, id text', 'text', 'i', true, 's', true),
	('f', 'from_friendly_id', 'friendly_id text, entity text DEFAULT NULL::text', 'text', 'i', false, 's', true),
	-- minting
	('f', 'mint_kind', 'org text DEFAULT NULL::text', 'text', 's', false, 'u', true),
	('f', 'inherited_mint_kind', 'parent text', 'text', 'i', true, 's', true),
	('f', 'mint_id', 'entity text, org text DEFAULT NULL::text, parent text DEFAULT NULL::text, region text DEFAULT NULL::text', 'text', 'v', false, 'u', true),
	('f', 'mint_batch_id', 'org text DEFAULT NULL::text, parent text DEFAULT NULL::text', 'text', 'v', false, 'u', true),
	('f', 'set_mint_kind', 'org text, kind text', 'void', 'v', false, 'u', false),
	-- references
	('f', 'add_reference', 'child regclass, child_column name, parent regclass, parent_column name DEFAULT NULL::name, not_valid boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('p', 'validate_reference', 'IN child regclass, IN child_column name, IN parent regclass', NULL, 'v', false, 'u', false),
	('f', 'drop_reference', 'child regclass, child_column name, parent regclass, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	-- topology
	('f', 'add_store', 'store text, server name, reader name DEFAULT NULL::name, remote_schema name DEFAULT NULL::name', 'void', 'v', false, 'u', false),
	('f', 'drop_store', 'store text, force boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('p', 'prepare_attach', 'IN relation regclass, IN key text, IN aliases name[] DEFAULT ''{}''::name[]', NULL, 'v', false, 'u', false),
	('f', 'attach', 'relation regclass, key text, aliases name[] DEFAULT ''{}''::name[], lock_timeout interval DEFAULT ''00:00:05''::interval, force boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'undo_prepare_attach', 'relation regclass', 'void', 'v', false, 'u', false),
	('f', 'detach', 'relation regclass, force boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'provision', 'store text, dry_run boolean DEFAULT false, relation regclass DEFAULT NULL::regclass', 'TABLE(object text, action text, ddl text, detail text)', 'v', false, 'u', false),
	('f', 'verify', 'relation regclass DEFAULT NULL::regclass, max_rows integer DEFAULT 1000', 'TABLE(relation regclass, store text, finding text, id text, belongs_to text, detail text)', 'v', false, 'u', false),
	-- seams
	('p', 'prepare_anchor', 'IN child regclass, IN child_key name, IN parent_key name', NULL, 'v', false, 'u', false),
	('f', 'add_anchor', 'child regclass, child_key name, parent_key name, lock_timeout interval DEFAULT ''00:00:05''::interval, force boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'undo_prepare_anchor', 'child regclass, child_key name, parent_key name', 'void', 'v', false, 'u', false),
	('f', 'completion_store', 'waitpoint_id text, route_kind text, tree_owner_residency runops.residency_type DEFAULT NULL::runops.residency_type, is_cross_tree_idempotency boolean DEFAULT false, has_legacy_parent boolean DEFAULT false, OUT store text, OUT residency runops.residency_type, OUT route_kind text, OUT pinned_reason text', 'record', 's', false, 'r', true),
	('f', 'add_unblock_route', 'routine regprocedure, route_kind text, calls integer DEFAULT 1', 'void', 'v', false, 'u', false),
	('f', 'drop_unblock_route', 'routine regprocedure, route_kind text, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'check_unblock_routes', '', 'TABLE(routine regprocedure, declared integer, found integer)', 'v', false, 'u', false),
	('f', 'drop_anchor', 'child regclass, child_key name, parent_key name, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	-- uniqueness
	('f', 'claim', 'scope text, key text, id text, ttl interval DEFAULT ''30 days''::interval, wait interval DEFAULT ''00:00:05''::interval, OUT claimed boolean, OUT id text, OUT claimed_at timestamp with time zone', 'record', 'v', false, 'u', true),
	('f', 'release_claim', 'scope text, key text, id text', 'boolean', 'v', false, 'u', true),
	('f', 'add_unique', 'relation regclass, columns name[], predicate text DEFAULT NULL::text, name name DEFAULT NULL::name', 'name', 'v', false, 'u', false),
	('p', 'prepare_unique', 'IN relation regclass, IN columns name[], IN predicate text DEFAULT NULL::text, IN name name DEFAULT NULL::name', NULL, 'v', false, 'u', false),
	('f', 'drop_unique', 'relation regclass, name name, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'rebuild_unique', 'relation regclass, name name', 'bigint', 'v', false, 'u', false),
	('f', 'check_unique', 'relation regclass DEFAULT NULL::regclass, max_rows integer DEFAULT 1000', 'TABLE(relation regclass, name name, store text, finding text, key text)', 'v', false, 'u', false),
	('f', 'prune_claims', 'max_rows integer DEFAULT 1000', 'bigint', 'v', false, 'u', false),
	-- reads
	('f', 'set_retention', 'relation regclass, keep interval', 'void', 'v', false, 'u', false),
	('f', 'read_through', 'relation regclass, id text, scope jsonb DEFAULT NULL::jsonb', 'TABLE(source text, "row" jsonb)', 's', false, 'u', true),
	('f', 'read_many', 'relation regclass, ids text[]', 'TABLE(ord bigint, id text, source text, "row" jsonb)', 's', true, 'u', true),
	('f', 'read_page', 'relation regclass, scope jsonb, sort name, page_size integer, after jsonb DEFAULT NULL::jsonb, descending boolean DEFAULT true', 'TABLE(cursor jsonb, "row" jsonb)', 's', false, 'u', true),
	('f', 'read_run_for_event', 'relation regclass, id text, environment_column name DEFAULT ''runtimeEnvironmentId''::name, slot text DEFAULT ''environment''::text', 'TABLE(outcome text, run jsonb, environment jsonb)', 'v', false, 'u', true),
	('f', 'idempotency_store', 'org text DEFAULT NULL::text, parent text DEFAULT NULL::text', 'text', 's', false, 'r', true),
	('f', 'add_idempotency', 'relation regclass, columns name[], expires name DEFAULT NULL::name, dead_when text DEFAULT NULL::text', 'void', 'v', false, 'u', false),
	('f', 'drop_idempotency', 'relation regclass, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'find_idempotent', 'relation regclass, key jsonb, org text DEFAULT NULL::text, parent text DEFAULT NULL::text', 'TABLE(outcome text, store text, id text, "row" jsonb)', 'v', false, 'u', true),
	('f', 'reset_idempotency', 'relation regclass, key jsonb DEFAULT NULL::jsonb, ids text[] DEFAULT NULL::text[]', 'TABLE(store text, rows bigint)', 'v', false, 'u', true),
	-- control plane
	('f', 'add_resolver', 'slot text, query text, environment_column name DEFAULT NULL::name, organization_column name DEFAULT NULL::name, ttl interval DEFAULT NULL::interval', 'void', 'v', false, 'u', false),
	('f', 'drop_resolver', 'slot text, if_exists boolean DEFAULT false', 'void', 'v', true, 'u', false),
	('f', 'resolve', 'slot text, VARIADIC key text[]', 'jsonb', 'v', false, 'u', false),
	('f', 'invalidate_environment', 'id text', 'void', 'v', true, 'u', false),
	('f', 'invalidate_organization', 'id text', 'void', 'v', true, 'u', false),
	('f', 'watch', 'relation regclass, environment_column name DEFAULT NULL::name, organization_column name DEFAULT NULL::name, slots text[] DEFAULT NULL::text[]', 'void', 'v', false, 'u', false),
	('f', 'unwatch', 'relation regclass, if_exists boolean DEFAULT false', 'void', 'v', true, 'u', false),
	-- cascades
	('f', 'add_cascade', 'parent regclass, child regclass, child_column name, action text DEFAULT ''delete''::text', 'void', 'v', false, 'u', false),
	('f', 'drop_cascade', 'parent regclass, child regclass, child_column name, if_exists boolean DEFAULT false', 'void', 'v', false, 'u', false),
	('f', 'check_reference', 'child regclass DEFAULT NULL::regclass, max_values integer DEFAULT 1000', 'TABLE(relation regclass, child_column name, parent regclass, value text)', 'v', false, 'u', false),
	('f', 'check_cascade', 'parent regclass DEFAULT NULL::regclass, repair boolean DEFAULT false, max_values integer DEFAULT 1000', 'TABLE(cascade_parent regclass, child regclass, child_column name, value text, queued boolean)', 'v', false, 'u', false),
	('f', 'cleanup', 'max_rows integer DEFAULT 1000', 'bigint', 'v', false, 'u', false),
	-- two-phase commit
	('f', 'finish_prepared', 'store text DEFAULT NULL::text', 'bigint', 'v', false, 'u', false),
	-- watching
	('f', 'recheck', 'store text DEFAULT NULL::text, accept_new_identity boolean DEFAULT false', 'TABLE(store text, verdict text, reason text, checked_at timestamp with time zone)', 'v', false, 'u', false),
	('f', 'explain', 'query text', 'TABLE(relation regclass, stores text[], turns integer, reason text)', 'v', true, 'u', true),
	('f', 'resolve_commits', '', 'bigint', 'v', false, 'u', false),
	('f', 'forget_commit', 'id bigint', 'void', 'v', false, 'u', false),
	('f', 'status', '', 'TABLE(item text, state text, reason text, since timestamp with time zone)', 's', false, 'r', false),
	('f', 'doctor', 'detail boolean DEFAULT false', 'TABLE(severity text, count bigint, object text, finding text, hint text)', 'v', false, 'u', false),
	('f', 'reset_stats', '', 'void', 'v', true, 'u', false);

-- functions without an underscore that are parts of others; not documented
CREATE TEMP TABLE internal (name name);
INSERT INTO internal VALUES
	('runops_fdw_handler'), ('runops_fdw_validator'),
	('remote_query'), ('remote_exec'), ('remote_transaction'),
	('store_arm');

CREATE TEMP VIEW members AS
SELECT p.*
FROM pg_depend d
JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
WHERE e.extname = 'runops' AND d.deptype = 'e';

-- what is documented
SELECT is(
	(SELECT string_agg(format('%s(%s) -> %s, volatility %s, strict %s, parallel %s, public %s',
			p.proname, pg_get_function_arguments(p.oid), coalesce(pg_get_function_result(p.oid), 'none'),
			p.provolatile, p.proisstrict, p.proparallel,
			has_function_privilege('public', p.oid, 'EXECUTE')), '; ')
	 FROM members p WHERE p.proname = d.name AND p.prokind = d.kind
		AND p.pronamespace = 'runops'::regnamespace),
	format('%s(%s) -> %s, volatility %s, strict %s, parallel %s, public %s',
		d.name, d.arguments, coalesce(d.result, 'none'), d.volatility, d.strict, d.parallel, d.public),
	format('%s is as documented', d.name))
FROM documented d;

-- what is there
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.proname NOT LIKE E'\\_%'
		AND p.proname NOT IN (SELECT name FROM documented UNION SELECT name FROM internal)
		ORDER BY 1 $$,
	'every function without a leading underscore is documented');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.proname LIKE E'\\_%'
		AND pg_catalog.obj_description(p.oid, 'pg_proc') IS NOT NULL $$,
	'functions with a leading underscore are not presented to users by a comment');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.pronamespace <> 'runops'::regnamespace $$,
	'every function is in the schema of the extension');

-- rights
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.prosecdef
		AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false) $$,
	'a SECURITY DEFINER function pins its search_path');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p JOIN pg_language l ON l.oid = p.prolang
		WHERE l.lanname = 'plpgsql' AND p.prokind = 'f' AND p.proname <> 'explain'
		AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false) $$,
	'a PL/pgSQL function pins its search_path, but for the one whose statement has the names of its caller');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p
		WHERE p.provolatile = 'v' AND p.proname !~ '^(gen_|mint_)'
		AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'fdw_handler'::regtype)
		AND p.proname NOT IN ('runops_fdw_validator', '_resolver_stats', 'claim', 'explain', 'release_claim', 'find_idempotent', 'reset_idempotency', 'read_run_for_event')
		AND has_function_privilege('public', p.oid, 'EXECUTE') $$,
	'what changes something may not be called by everybody');

-- the attributes fit each other
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.proisstrict AND p.pronargdefaults > 0
		AND pg_get_function_arguments(p.oid) LIKE '%DEFAULT NULL%' $$,
	'no STRICT function has an argument that is NULL by default');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM members p WHERE p.proleakproof AND p.provolatile <> 'i' $$,
	'only immutable functions are leakproof');

SELECT * FROM finish();
ROLLBACK;
