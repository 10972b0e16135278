#!/bin/sh
# Text files have no trailing white space, no carriage return, and end with a
# newline; C and SQL are indented by tabs.
#
# Expected results and patches are left out: there a space can mean something.
#
# Files: * !*.out !*.tsv !*.patch !test/fuzz/corpus/*
#
# On failure: most editors do it by themselves with .editorconfig.
for f in "$@"; do
	grep -Iq . "$f" || continue
	grep -nE '[[:blank:]]+$|'"$(printf '\r')" "$f" |
		sed "s|^\([0-9]*\):.*|$f:\1: trailing white space or a carriage return|"
	[ -z "$(tail -c 1 "$f")" ] || echo "$f:1: no newline at the end"
	case $f in
	src/*.c | src/*.h | sql/install/*.sql)
		grep -n '^    ' "$f" | sed "s|^\([0-9]*\):.*|$f:\1: indented by spaces|"
		;;
	esac
done
exit 0
