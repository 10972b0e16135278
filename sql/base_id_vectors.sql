-- base_id_vectors: ids of many generators, with the expected classification of each
\getenv abs_srcdir PG_ABS_SRCDIR
\set vectors :abs_srcdir '/test/ids/vectors.tsv'
CREATE TEMP TABLE vectors (
	id text,
	shape text,
	prefix text,
	store_of text,
	classifiable boolean,
	residency text,
	ts_ms bigint,
	ts_unit text,
	ksuid_payload_hex text,
	source text
);
COPY vectors FROM :'vectors' WITH (FORMAT text, HEADER true);
-- One row goes by the length alone, 27 UTF-16 units.  Here the alphabet is asked.
UPDATE vectors SET store_of = 'legacy', classifiable = false, residency = NULL
WHERE id = U&'\+01F642' || repeat('a', 25) RETURNING id, source;
SELECT count(*), count(*) FILTER (WHERE classifiable) AS classifiable FROM vectors;

-- store, classifiable and residency of each
SELECT id, runops.store_of(id), runops.is_classifiable(id), runops.try_residency(id), store_of, classifiable, residency
FROM vectors
WHERE (runops.store_of(id), runops.is_classifiable(id), runops.try_residency(id)::text)
	IS DISTINCT FROM (store_of, classifiable, residency);

-- residency() says the same, or raises the error with the id and its length
CREATE FUNCTION pg_temp.residency(id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN runops.residency(id);
EXCEPTION WHEN SQLSTATE 'RO001' THEN
	RETURN sqlerrm;
END
$$;
SELECT id, pg_temp.residency(id)
FROM vectors
WHERE pg_temp.residency(id) IS DISTINCT FROM
	coalesce(residency, format('unclassifiable run id "%s" (length %s)', id, length(id)));

-- the kind follows from the body alone
SELECT v.id, p.kind, p.body, v.shape
FROM vectors v, runops.parse_id(v.id) p
WHERE p.kind IS DISTINCT FROM CASE
	WHEN p.body ~ '^[0-9A-Za-z]{25}$' THEN 'cuid'
	WHEN p.body ~ '^[0-9A-Za-z]{27}$' THEN 'ksuid'
	WHEN p.body ~ '^[0-9a-v]{24}[a-z0-9]1$' THEN 'runops'
	WHEN p.body ~ '^[0-9a-v]{24}[a-z0-9]2$' THEN 'shard' END
	OR p.kind IS DISTINCT FROM runops.id_kind(v.id);

-- prefix and body make the id again; region and shard stand where they should
SELECT v.id, p.*
FROM vectors v, runops.parse_id(v.id) p
WHERE p.prefix IS DISTINCT FROM v.prefix
	OR coalesce(p.prefix || '_', '') || p.body <> v.id
	OR p.store <> v.store_of
	OR p.region IS DISTINCT FROM CASE p.kind WHEN 'runops' THEN substr(p.body, 25, 1) END
	OR p.shard IS DISTINCT FROM CASE p.kind WHEN 'shard' THEN v.store_of END;

-- time and payload
SELECT p.kind, p.minted_at IS NULL AS no_time, p.payload IS NULL AS no_payload, count(*)
FROM vectors v, runops.parse_id(v.id) p
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

SELECT v.id, v.ts_ms, v.ksuid_payload_hex, p.*
FROM vectors v, runops.parse_id(v.id) p
WHERE (p.kind IN ('ksuid', 'runops', 'shard') OR p.kind = 'cuid' AND p.body LIKE 'c%')
	AND (extract(epoch FROM p.minted_at) * 1000 IS DISTINCT FROM v.ts_ms
		OR encode(p.payload, 'hex') IS DISTINCT FROM v.ksuid_payload_hex);

-- and none where nothing can be decoded
SELECT v.id, p.*
FROM vectors v, runops.parse_id(v.id) p
WHERE (p.kind IS NULL OR p.kind = 'cuid' AND p.body NOT LIKE 'c%')
	AND (p.minted_at IS NOT NULL OR p.payload IS NOT NULL OR p.region IS NOT NULL OR p.shard IS NOT NULL);

-- a KSUID above the largest number of 160 bits is still one, without a time
SELECT count(*), count(p.minted_at), count(p.payload), array_agg(DISTINCT p.store)
FROM vectors v, runops.parse_id(v.id) p
WHERE p.kind = 'ksuid' AND p.body COLLATE "C" > 'aWgEPTl1tmebfsQzFP4bxwgy80V';

DROP TABLE vectors;
