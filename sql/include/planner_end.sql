-- undo planner.sql
\set ECHO none
SELECT count(runops.detach(relation, force => true)) FROM runops.routed_tables \gset
SELECT count(runops.drop_store(store, force => true)) FROM runops.stores WHERE store = 'a' \gset
SET client_min_messages = warning;
DROP SERVER :server CASCADE;
DROP SCHEMA :schema CASCADE;
\connect runops_store
SET client_min_messages = warning;
DROP SCHEMA :schema, :server CASCADE;
\set ECHO all
