#!/bin/sh
# Text files (a patch apart, where it means an empty line) have no trailing white space, no carriage return, and end with a
# newline; C, Perl and SQL are indented by tabs.
#
# On failure: most editors do it by themselves with .editorconfig.
find . -type f ! -path './.git/*' ! -name '*.out' ! -name '*.tsv' ! -name '*.patch' ! -name '*.patch' ! -path './tmp_*' \
	! -path './results/*' ! -path './output_iso/*' ! -name '*.o' ! -name '*.so' ! -name '*.bc' \
	! -path './test/fuzz/corpus/*' ! -name 'regression.*' ! -name 'runops--*' |
	sort |
	while read -r f; do
		grep -Iq . "$f" || continue
		grep -nE '[[:blank:]]+$' "$f" | sed "s|^\([0-9]*\):.*|${f#./}:\1: trailing white space|"
		[ -z "$(tail -c 1 "$f")" ] || echo "${f#./}:1: no newline at the end"
	done
grep -nE '^    ' src/*.c src/*/*.c src/*/*.h sql/install/*.sql | sed 's/^\([^:]*:[0-9]*\):.*/\1: indented by spaces/'
exit 0
