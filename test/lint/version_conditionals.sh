#!/bin/sh
# Only base/compat.h looks at the server's version.
#
# On failure: write the code for the newest API and put what older servers lack
# in src/base/compat.h; a condition that has to stand elsewhere uses PG17_GE and the
# like.
grep -nE 'PG_VERSION_NUM|PG_MAJORVERSION' src/*.c src/*/*.c src/*/*.h test/fuzz/*.c |
	grep -v '^src/base/compat\.h:'
exit 0
