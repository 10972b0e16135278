-- pg_temp.cuid(seed, kind, n): the n-th cuid of a kind, always the same one, with a time in 2025 or 2026 in it.
CREATE OR REPLACE FUNCTION pg_temp.cuid_time(n bigint) RETURNS timestamp
LANGUAGE sql IMMUTABLE
AS $$SELECT timestamp '2025-07-01' + n % 10000 * interval '37 minutes'$$;

CREATE OR REPLACE FUNCTION pg_temp.cuid(seed bigint, kind text, n bigint) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
	SELECT 'c' || string_agg(substr('0123456789abcdefghijklmnopqrstuvwxyz', (floor(ms / 36::numeric ^ k) % 36)::integer + 1, 1),
							'' ORDER BY k DESC)
		|| left(md5(seed || ' ' || kind || ' ' || n), 16)
	FROM (SELECT trunc(extract(epoch FROM pg_temp.cuid_time(n)) * 1000) AS ms) t, generate_series(0, 7) k
	GROUP BY ms
$$;
