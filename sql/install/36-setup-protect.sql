/*
 * Protection of the objects that routed tables need.  A hook in the library makes
 * the final decision; the event trigger loads the library if it is not preloaded.
 */
CREATE FUNCTION runops._protect_start() RETURNS event_trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_protect_start';
CREATE FUNCTION runops._protect_end() RETURNS event_trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'runops_protect_end';

CREATE EVENT TRIGGER runops_protect_start ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP TABLE', 'DROP FOREIGN TABLE', 'DROP SERVER',
				 'DROP FOREIGN DATA WRAPPER', 'DROP FUNCTION', 'DROP ROUTINE', 'DROP OWNED', 'DROP INDEX', 'DROP TRIGGER',
				 'ALTER TABLE', 'ALTER INDEX', 'ALTER SERVER', 'ALTER SCHEMA', 'ALTER FUNCTION', 'ALTER ROUTINE')
	EXECUTE FUNCTION runops._protect_start();
CREATE EVENT TRIGGER runops_protect_end ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE', 'CREATE INDEX')
	EXECUTE FUNCTION runops._protect_end();
COMMENT ON EVENT TRIGGER runops_protect_start IS 'refuses to drop objects that routed tables need';
COMMENT ON EVENT TRIGGER runops_protect_end IS 'reports the commands to run after a change of a routed table';

REVOKE EXECUTE ON FUNCTION runops._protect_start(), runops._protect_end() FROM PUBLIC;
