#!/bin/sh
# C functions that do not know how long their target is, or whose randomness can
# be guessed, are not used.
#
# Files: src/*.c src/*.h
#
# On failure: strlcpy, snprintf, psprintf, strtoint and the like from PostgreSQL;
# pg_strong_random.  malloc leaks on error: palloc.
grep -nE '\b(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|strtok|atoi|atol|atoll|gets|sscanf|rand|srand|srandom|drand48|alloca|malloc|calloc|realloc|strdup|system|popen) ?\(|\brandom ?\( ?\)' \
	"$@"
exit 0
