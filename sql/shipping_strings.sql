-- shipping_strings: a backslash in a literal of a session with non-standard strings, which
-- PostgreSQL 19 does not have any more
SELECT current_setting('server_version_num')::int >= 190000 AS only_standard \gset
\if :only_standard
\quit
\endif
SET client_min_messages = warning;
CREATE TABLE strings (id text PRIMARY KEY, n int, secret text);
SELECT runops.attach('strings', 'id');
SELECT count(*) > 0 AS made FROM runops.provision('new') WHERE action = 'create';
INSERT INTO strings VALUES ('0123456789abcdefghijklmn01', 1, E's\'ecret \\ x');
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET backslash_quote = on;
EXPLAIN (COSTS OFF) SELECT n FROM strings WHERE id = '0123456789abcdefghijklmn01' AND secret = 's\'ecret \\ x';
SELECT n FROM strings WHERE id = '0123456789abcdefghijklmn01' AND secret = 's\'ecret \\ x';
UPDATE strings SET secret = 'back\\slash \' OR true --' WHERE id = '0123456789abcdefghijklmn01' RETURNING secret;
SELECT count(*) FROM strings WHERE id = '0123456789abcdefghijklmn01' AND secret = 'x\\\' OR true --';
INSERT INTO strings VALUES ('0123456789abcdefghijklmn01', 2, '\\') ON CONFLICT (id) DO UPDATE SET n = 3, secret = EXCLUDED.secret || '\'' RETURNING n, secret;
RESET standard_conforming_strings;
SELECT * FROM strings;
SELECT runops.detach('strings', true);
DROP TABLE strings;
