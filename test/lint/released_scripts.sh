#!/bin/sh
# A released script never changes: who has installed it, has its objects.
#
# Files: sql/upgrade/* sql/install/*.sql runops.control
#
# On failure: undo the change.  What the next version changes goes to a step
# sql/upgrade/runops--OLD--NEW.sql, after default_version has become the new one;
# CONTRIBUTING.md has the whole procedure.
listed=$(sed -n 's/^[0-9a-f]\{64\} [ *]//p' sql/upgrade/RELEASED)
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" runops.control)

is_listed() {
	echo "$listed" | grep -qxF "$1"
}

(cd sql/upgrade && grep -v '^#' RELEASED | sha256sum --check --quiet 2>&1) |
	grep -v '^sha256sum: WARNING\|no properly formatted' | sed 's|^|sql/upgrade/RELEASED:1: |'
grep -nvE '^(#.*|[0-9a-f]{64} [ *]runops--[^ ]+\.sql)$' sql/upgrade/RELEASED |
	sed 's|^\([0-9]*\):.*|sql/upgrade/RELEASED:\1: is no line of sha256sum|'

for f in "$@"; do
	name=$(basename "$f")
	to=${name%.sql}
	to=${to##*--}
	case $f in
	sql/upgrade/runops--*--*.sql)
		# the step to a version is released with it
		! is_listed "runops--$to.sql" || is_listed "$name" || echo "$f:1: a step to the released $to is not in RELEASED"
		is_listed "runops--$to.sql" || [ "$to" = "$version" ] || echo "$f:1: a step to $to, which is neither released nor the version of runops.control"
		;;
	sql/upgrade/runops--*.sql)
		is_listed "$name" || echo "$f:1: is not in RELEASED; \"make freeze\" writes both"
		;;
	esac
done

if is_listed "runops--$version.sql"; then
	cat sql/install/*.sql | cmp -s - "sql/upgrade/runops--$version.sql" ||
		echo "sql/install:1: differs from the released sql/upgrade/runops--$version.sql"
else
	# every version goes on to the next
	for old in $(echo "$listed" | sed -n 's/^runops--\([^-]*\)\.sql$/\1/p'); do
		[ -n "$(find sql/upgrade -name "runops--$old--*.sql")" ] ||
			echo "sql/upgrade:1: there is no step from the released $old"
	done
fi
exit 0
