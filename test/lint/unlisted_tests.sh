#!/bin/sh
# Every test has an expected result, every expected result a test, and what is to
# be run can be run.
#
# Files: sql/*.sql !sql/install/*.sql !sql/include/*.sql !sql/upgrade/* expected/*.out
# Files: test/isolation/specs/*.spec test/isolation/expected/*.out
# Files: test/run test/setup.sh test/*/run .ci/run
#
# On failure: run the test, read the output, and put it in expected/; or delete
# the file that nothing uses.  The Makefile runs what has an expected file.
for f in "$@"; do
	name=$(basename "${f%.*}")
	# another result of the same test ends in a number
	test=${name%_[0-9]}
	case $f in
	sql/*.sql) set -- "expected/$name.out" ;;
	expected/*) set -- "sql/$name.sql" "sql/$test.sql" ;;
	*.spec) set -- "test/isolation/expected/$name.out" ;;
	*.out) set -- "test/isolation/specs/$name.spec" "test/isolation/specs/$test.spec" ;;
	*)
		[ -x "$f" ] || echo "$f:1: is not executable"
		continue
		;;
	esac
	[ -f "$1" ] || [ -f "${2-}" ] || echo "$f:1: there is no $1"
done
