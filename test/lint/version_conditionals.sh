#!/bin/sh
# Only base/compat.h looks at the server's version.
#
# Files: src/*.c src/*.h test/fuzz/*.c !src/base/compat.h
#
# On failure: write the code for the newest API and put what older servers lack
# in src/base/compat.h; a condition that has to stand elsewhere uses PG17_GE and the
# like.
grep -nE 'PG_VERSION_NUM|PG_MAJORVERSION' "$@"
exit 0
