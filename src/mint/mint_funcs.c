/*-------------------------------------------------------------------------
 *
 * mint_funcs.c
 *	  Implements the SQL functions that choose the kind of a new id and make
 *	  it.
 *
 * A family of rows stays in one store because its ids do.  A row with a parent
 * takes the kind of the parent's id, and no flag and no gate is checked.  Only
 * the root of a family follows the flags; see flags.c.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/compat.h"
#include "mint/mint_int.h"

/*
 * The entities that get ids: the prefixes of friendly ids, and rows without a
 * friendly id.  Only runs and batches can be roots.
 */
static const char *const entities[] = {
	"run", "batch", "item", "attempt", "snapshot", "waitpoint", "edge",
	"checkpoint", "restore", "dependency", "queue", "worker", "bulk", "error", "session"
};

#define FIRST_ENTITY_NO_ROOT	2

PG_FUNCTION_INFO_V1(runops_mint_kind);
PG_FUNCTION_INFO_V1(runops_inherited_mint_kind);
PG_FUNCTION_INFO_V1(runops_mint_id);
PG_FUNCTION_INFO_V1(runops_mint_batch_id);

/*
 * mint_kind(org text) returns text
 *
 * The kind of a new root of an organization; NULL stands for an unknown one.
 * If the kind cannot be read, it is cuid; see flags.c.
 */
Datum
runops_mint_kind(PG_FUNCTION_ARGS)
{
	text	   *org = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	PG_RETURN_TEXT_P(runops_mint_name(runops_mint_kind_of_root(org)));
}

/*
 * The kind of a child of this parent, and the parent's region, or '0' if its
 * id has none.
 *
 * Raises unclassifiable_run_id.
 */
static RunopsMintKind
kind_of_child(text *parent, char *region)
{
	RunopsIdParts parts;
	RunopsMintKind kind;

	runops_id_parse(VARDATA_ANY(parent), VARSIZE_ANY_EXHDR(parent), &parts);
	if (parts.kind == RUNOPS_ID_NONE)
		runops_raise_unclassifiable(parent);

	kind.kind = parts.kind;
	kind.shard = parts.kind == RUNOPS_ID_SHARD ? parts.site : '\0';
	*region = parts.kind == RUNOPS_ID_RUNOPS ? parts.site : '0';

	return kind;
}

/*
 * inherited_mint_kind(parent text) returns text
 */
Datum
runops_inherited_mint_kind(PG_FUNCTION_ARGS)
{
	char		region;

	PG_RETURN_TEXT_P(runops_mint_name(kind_of_child(PG_GETARG_TEXT_PP(0), &region)));
}

/*
 * The index of an entity in entities[]; raises if there is no such entity.
 */
static int
entity_number(text *entity)
{
	int			len = entity ? VARSIZE_ANY_EXHDR(entity) : 0;

	if (entity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("entity must not be null"),
				 errhint("Pass the entity that the id is for, such as \"run\".")));

	for (int i = 0; i < lengthof(entities); i++)
		if (len == strlen(entities[i]) && memcmp(VARDATA_ANY(entity), entities[i], len) == 0)
			return i;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized entity \"%s\"", text_to_cstring(entity)),
			 errdetail("An entity is a run, a batch, or a kind of row that belongs to one."),
			 errhint("Pass one of \"run\", \"batch\", \"item\", \"attempt\", \"snapshot\", \"waitpoint\", \"edge\", \"checkpoint\", \"restore\", \"dependency\", \"queue\", \"worker\", \"bulk\", \"error\", \"session\".")));
}

/*
 * A new id.  With a parent it has the parent's kind, for a root it has the
 * kind that the flags give, and else it is a cuid.
 *
 * A child is in the region of its parent unless another region is given.  Each
 * argument may be NULL.
 */
static text *
mint(bool root, text *org, text *parent, text *region)
{
	RunopsMintKind kind = RUNOPS_MINT_CUID;
	char		region_char = '0';

	if (parent != NULL)
		kind = kind_of_child(parent, &region_char);
	else if (root)
		kind = runops_mint_kind_of_root(org);
	if (region != NULL)
		region_char = runops_region_char(region);

	return runops_idgen(kind, region_char);
}

/*
 * mint_id(entity text, org text, parent text, region text) returns text
 */
Datum
runops_mint_id(PG_FUNCTION_ARGS)
{
	int			entity = entity_number(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(mint(entity < FIRST_ENTITY_NO_ROOT,
						  PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
						  PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2),
						  PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3)));
}

/*
 * mint_batch_id(org text, parent text) returns text
 */
Datum
runops_mint_batch_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(mint(true,
						  PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
						  PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
						  NULL));
}
