--
-- objects.sql
--	  The extension and every object in it other than functions: what they are,
--	  who may use them, that each has a comment, and what a dump carries.
--
BEGIN;
SET search_path = tap, pg_catalog;
SELECT no_plan();

SELECT is(
	(SELECT format('%s, relocatable %s, schema %s', extversion, extrelocatable, extnamespace::regnamespace) FROM pg_extension WHERE extname = 'runops'),
	(SELECT format('%s, relocatable f, schema runops', default_version) FROM pg_available_extensions WHERE name = 'runops'),
	'the extension is installed in its own schema');
SELECT is(
	(SELECT string_agg(e.extname, ', ') FROM pg_depend d
		JOIN pg_extension x ON x.oid = d.objid AND x.extname = 'runops'
		JOIN pg_extension e ON e.oid = d.refobjid
		WHERE d.classid = 'pg_extension'::regclass AND d.refclassid = 'pg_extension'::regclass),
	'postgres_fdw', 'it requires postgres_fdw and nothing else');
-- one to a line
SELECT set_eq(
	$$ SELECT x.oid::regclass::text FROM pg_extension e, unnest(e.extconfig) x(oid) WHERE e.extname = 'runops' $$,
	ARRAY[
		'runops.anchor_config',
		'runops.cascade_config',
		'runops.cascade_queue',
		'runops.cascade_seq',
		'runops.cascade_task',
		'runops.claim_entry',
		'runops.commit_failure',
		'runops.held_rows',
		'runops.idempotency_config',
		'runops.mint_config',
		'runops.reference_config',
		'runops.resolver_config',
		'runops.retention_config',
		'runops.store_config',
		'runops.store_identity',
		'runops.table_config',
		'runops.unblock_config',
		'runops.unique_config'
	], 'a dump carries the configuration');

-- relations
SELECT columns_are('runops', 'store_config', '{store,server,reader,remote_schema}'::name[]);
SELECT columns_are('runops', 'table_config', '{relation,leaf,key,aliases,saved}'::name[]);
SELECT columns_are('runops', 'anchor_config', '{child,parent_key}'::name[]);
SELECT has_view('runops', 'anchors', 'runops.anchors is a view');
SELECT columns_are('runops', 'unblock_config', '{signature,routine,route_kind,calls}'::name[]);
SELECT has_view('runops', 'unblock_routes', 'runops.unblock_routes is a view');
SELECT columns_are('runops', 'unique_config', '{relation,name,entries,stores,touched}'::name[]);
SELECT col_is_pk('runops', 'unique_config', '{relation,name}'::name[], 'a key stands in its table once');
SELECT has_view('runops', 'unique_keys', 'runops.unique_keys is a view');
SELECT columns_are('runops', 'claim_entry', '{scope,key,id,claimed_at,expires_at}'::name[]);
SELECT col_is_pk('runops', 'claim_entry', '{scope,key}'::name[], 'a key belongs to one id');
SELECT ok(NOT has_table_privilege('public', 'runops.claims', 'SELECT'), 'not everybody may see the keys');
SELECT columns_are('runops', 'held_rows', '{store,relation,noted_at}'::name[]);
SELECT col_is_pk('runops', 'store_config', 'store', 'a store stands in its table once');
SELECT col_is_pk('runops', 'table_config', 'relation', 'a routed table stands in its table once');
SELECT has_view('runops', 'stores', 'runops.stores is a view');
SELECT has_view('runops', 'routed_tables', 'runops.routed_tables is a view');
SELECT columns_are('runops', 'reference_config', '{child,child_column,parent,parent_column,name,on_delete,dropped,validated}'::name[]);
SELECT col_is_pk('runops', 'reference_config', '{child,child_column}'::name[], 'a column refers to one table');
SELECT has_view('runops', 'reference_keys', 'runops.reference_keys is a view');
SELECT columns_are('runops', 'cascade_config', '{parent,child,child_column,action,ord,registered}'::name[]);
SELECT col_is_pk('runops', 'cascade_config', '{parent,child,child_column}'::name[], 'a column hangs on a parent once');
SELECT has_view('runops', 'cascades', 'runops.cascades is a view');
SELECT col_is_pk('runops', 'commit_failure', '{id,server,role}'::name[], 'a transaction has a row for each user mapping');
SELECT columns_are('runops', 'commit_failures', '{id,server,role,failed_at,outcome,known_at,asked_at,message,tables,xid,pid}'::name[]);
SELECT ok(NOT has_table_privilege('public', 'runops.commit_failures', 'SELECT'), 'not everybody may see which commits have failed');
SELECT columns_are('runops', 'progress', '{task,object,phase,done,total,rate,started,unit,pid}'::name[]);
SELECT ok(NOT has_table_privilege('public', 'runops.progress', 'SELECT'), 'not everybody may see what is cleaned up');
SELECT has_view('runops', 'claims', 'runops.claims is a view');
SELECT columns_are('runops', 'idempotency_config', '{relation,columns,expires,dead_when}'::name[]);
SELECT has_view('runops', 'idempotency_keys', 'runops.idempotency_keys is a view');
SELECT columns_are('runops', 'retention_config', '{relation,keep}'::name[]);
SELECT has_view('runops', 'retentions', 'runops.retentions is a view');
SELECT columns_are('runops', 'resolver_config', '{slot,query,environment_column,organization_column,ttl,registrant,search_path,keys}'::name[]);
SELECT ok(NOT has_table_privilege('public', 'runops.resolver_config', 'SELECT'), 'not everybody may read the table of resolvers');
SELECT has_view('runops', 'resolvers', 'runops.resolvers is a view');
SELECT has_view('runops', 'watches', 'runops.watches is a view');
SELECT has_enum('runops', 'residency_type', 'residency_type is an enum');
SELECT enum_has_labels('runops', 'residency_type', '{LEGACY,NEW}', 'the labels of residency_type');

-- the wrapper
SELECT is(
	(SELECT format('%s, %s', fdwhandler::regproc, fdwvalidator::regproc) FROM pg_foreign_data_wrapper WHERE fdwname = 'runops_fdw'),
	'runops.runops_fdw_handler, runops.runops_fdw_validator',
	'the wrapper has a handler and a validator of its own');
SELECT ok(NOT has_foreign_data_wrapper_privilege('public', 'runops_fdw', 'USAGE'),
	'not everybody may make a server of the wrapper');

-- rights
SELECT ok(has_schema_privilege('public', 'runops', 'USAGE'), 'everybody may use the schema');
SELECT ok(NOT has_schema_privilege('public', 'runops', 'CREATE'), 'nobody else may create in it');

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
WHERE e.extname = 'runops' AND d.deptype = 'e';

SELECT is_empty(
	$$ SELECT c.oid::regclass FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		WHERE c.relkind IN ('r', 'v') AND has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') $$,
	'nobody else may write to a table of the extension');

-- comments: on what is public, which is what does not begin with an underscore
SELECT is_empty(
	$$ SELECT pg_describe_object(m.classid, m.objid, 0) FROM members m
		LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		LEFT JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		WHERE coalesce(c.relname, p.proname, t.typname, '') NOT LIKE E'\\_%'
		AND (t.oid IS NULL OR t.typtype IN ('e', 'd') OR (t.typtype = 'c' AND (SELECT relkind FROM pg_class r WHERE r.oid = t.typrelid) = 'c'))
		AND obj_description(m.objid, m.classid::regclass::text::name) IS NULL
		ORDER BY 1 $$,
	'every public object has a comment');
SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'the extension has a comment')
FROM pg_extension WHERE extname = 'runops';
SELECT is_empty(
	$$ SELECT pg_describe_object(m.classid, m.objid, 0), obj_description(m.objid, m.classid::regclass::text::name)
		FROM members m WHERE obj_description(m.objid, m.classid::regclass::text::name) ~ '\.\s*$' $$,
	'comments are phrases, as those of PostgreSQL');

-- settings
SELECT is_empty(
	$$ SELECT name FROM pg_settings WHERE name LIKE 'runops.%' AND (short_desc !~ '^[A-Z].*\.$' OR extra_desc !~ '^[A-Z].*\.$') $$,
	'every setting is described by sentences');
SELECT is(
	(SELECT string_agg(format('%s %s %s', name, context, boot_val), ', ' ORDER BY name COLLATE "C") FROM pg_settings WHERE name LIKE 'runops.%'),
	'runops.attach_scan_limit user 1048576, runops.commit_timeout user 60000, runops.control_plane_cache_max_entries postmaster 10000, runops.control_plane_cache_ttl sighup 30000, runops.cross_store_snapshots user error, runops.cross_store_writes user warn, runops.database postmaster postgres, runops.enable_routing superuser on, runops.enable_shipping user on, runops.expect_control_plane_split postmaster off, runops.mint_enabled sighup off, runops.mint_flip_grace sighup 90000, runops.native_realtime_enabled postmaster off, runops.remote_timeout user 0, runops.split_enabled postmaster off, runops.store_lock_timeout user 30000, runops.track_wait_timing superuser on',
	'settings, who may change them, and their defaults');

SELECT * FROM finish();
ROLLBACK;
