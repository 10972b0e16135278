#!/bin/sh
# Every test has an expected result, and every expected result a test.
#
# On failure: run the test, read the output, and put it in expected/; or delete
# the file that nothing uses.  The Makefile runs what has an expected file.
for f in sql/*.sql; do
	name=$(basename "$f" .sql)
	case $name in *--*) continue ;; esac
	[ -f "expected/$name.out" ] || echo "$f:1: there is no expected/$name.out"
done
for f in expected/*.out; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .out)
	[ -f "sql/$name.sql" ] || [ -f "sql/${name%_[0-9]}.sql" ] ||
		echo "$f:1: there is no sql/$name.sql"
done
for f in test/isolation/specs/*.spec; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .spec)
	[ -f "test/isolation/expected/$name.out" ] ||
		echo "$f:1: there is no test/isolation/expected/$name.out"
done
for f in test/isolation/expected/*.out; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .out)
	[ -f "test/isolation/specs/$name.spec" ] || [ -f "test/isolation/specs/${name%_[0-9]}.spec" ] ||
		echo "$f:1: there is no test/isolation/specs/$name.spec"
done
for f in test/run test/setup.sh test/*/run .ci/run; do
	[ -x "$f" ] || echo "$f:1: is not executable"
done
