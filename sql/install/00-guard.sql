/* runops 1.0 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION runops" to load this file. \quit

/*
 * Refuse a schema that somebody else has made, or in which there is something:
 * functions and operators there would be called in place of ours.  Names are
 * qualified because of such objects, too.
 */
DO $$
DECLARE
	why pg_catalog.text;
BEGIN
	SELECT CASE
		WHEN NOT (n.nspowner OPERATOR(pg_catalog.=) r.oid OR o.rolsuper)
			THEN pg_catalog.format('It belongs to role "%s".'::pg_catalog.text, o.rolname)
		WHEN a.grantee IS NOT NULL
			THEN 'Other roles than its owner can create objects in it.'::pg_catalog.text
		WHEN d.objid IS NOT NULL
			THEN 'There are objects in it.'::pg_catalog.text END INTO why
	FROM pg_catalog.pg_namespace n
	JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) current_user
	JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
	LEFT JOIN LATERAL (SELECT x.grantee FROM pg_catalog.aclexplode(n.nspacl) x
		WHERE x.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text
			AND x.grantee OPERATOR(pg_catalog.<>) n.nspowner LIMIT 1) a ON true
	LEFT JOIN LATERAL (SELECT x.objid FROM pg_catalog.pg_depend x
		WHERE x.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
			AND x.refobjid OPERATOR(pg_catalog.=) n.oid
			AND x.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid LIMIT 1) d ON true
	WHERE n.nspname OPERATOR(pg_catalog.=) 'runops'::pg_catalog.name;
	IF why IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = 'schema "runops" cannot be used for the extension',
			DETAIL = why,
			HINT = 'Drop the schema after a look at what is in it; CREATE EXTENSION makes it.';
	END IF;
END
$$;
