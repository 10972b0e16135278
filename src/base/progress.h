/*-------------------------------------------------------------------------
 *
 * progress.h
 *	  Declares the progress of set-up functions, which the view
 *	  runops.progress shows.
 *
 * Copyright (c) 2026, The runops authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef RUNOPS_PROGRESS_H
#define RUNOPS_PROGRESS_H

/* Does this backend report progress?  Private to the two functions below. */
extern bool runops_progress_active;

extern void runops_progress_update_blocks(void);
extern void runops_progress_add_rows(uint64 rows);

/*
 * Note how many blocks this backend has read.
 *
 * The checks of ids call this for each row.  So the scan of a command of core,
 * which reports no progress, shows its progress too.
 */
static inline void
runops_progress_note_blocks(void)
{
	if (unlikely(runops_progress_active))
		runops_progress_update_blocks();
}

/*
 * Note that some more rows have been read.
 */
static inline void
runops_progress_note_rows(uint64 rows)
{
	if (unlikely(runops_progress_active))
		runops_progress_add_rows(rows);
}

#endif							/* RUNOPS_PROGRESS_H */
