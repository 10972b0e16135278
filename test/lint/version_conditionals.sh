#!/bin/sh
# Only compat.h looks at the server's version.
#
# On failure: write the code for the newest API and put what older servers lack
# in src/compat.h; a condition that has to stand elsewhere uses PG17_GE and the
# like.
grep -nE 'PG_VERSION_NUM|PG_MAJORVERSION' src/*.c src/*.h test/fuzz/*.c 2>/dev/null |
	grep -v '^src/compat\.h:'
exit 0
