/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the supported PostgreSQL majors.
 *
 * The code is written for the newest API; this header fakes it on older
 * servers.  It is the only place that looks at PG_VERSION_NUM.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_COMPAT_H
#define RUNOPS_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "runops supports PostgreSQL 15, 16, 17 and 18"
#endif

#define PG16_GE (PG_VERSION_NUM >= 160000)
#define PG17_GE (PG_VERSION_NUM >= 170000)
#define PG18_GE (PG_VERSION_NUM >= 180000)

/* PG18 added the module's name and version to the magic block. */
#if PG18_GE
#define RUNOPS_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "runops", .version = RUNOPS_VERSION)
#else
#define RUNOPS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* PG16 split the varlena macros out of postgres.h. */
#if PG16_GE
#include "varatt.h"
#endif

/* PG16 lists outer joins among fs_relids too. */
#if PG16_GE
#define FOREIGN_SCAN_BASE_RELIDS(plan) ((plan)->fs_base_relids)
#else
#define FOREIGN_SCAN_BASE_RELIDS(plan) ((plan)->fs_relids)
#endif

/* PG16 made one object_aclcheck() of the checks of each kind of object. */
#if PG16_GE
#define RUNOPS_SERVER_ACLCHECK(serverid, roleid, mode) \
	object_aclcheck(ForeignServerRelationId, serverid, roleid, mode)
#else
#define RUNOPS_SERVER_ACLCHECK(serverid, roleid, mode) \
	pg_foreign_server_aclcheck(serverid, roleid, mode)
#endif

#endif							/* RUNOPS_COMPAT_H */
