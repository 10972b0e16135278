#!/bin/sh
# Every setting, SQLSTATE, function and view has its place in docs/.
#
# On failure: write it into the file that the message names.
sed -n 's/^.*DefineCustom[A-Za-z]*Variable("\(runops\.[a-z_]*\)".*/\1/p' src/base/guc.c | sort -u |
	while read -r name; do
		grep -qF "$name" docs/settings.md || echo "docs/settings.md:1: nothing about $name"
	done
sed -n "s/.*MAKE_SQLSTATE('R','O','\(.\)','\(.\)','\(.\)').*/RO\1\2\3/p" src/base/errcodes.h | sort -u |
	while read -r code; do
		grep -qF "$code" docs/errors.md || echo "docs/errors.md:1: nothing about $code"
	done
cat sql/install/*.sql |
	sed -n -e 's/^COMMENT ON \(FUNCTION\|PROCEDURE\|VIEW\|TYPE\) runops\.\([a-z][a-z_]*\).*/\2/p' |
	grep -vE '^(runops_fdw_|remote_|store_arm$)' | sort -u |
	while read -r name; do
		grep -qwF "$name" docs/functions.md || echo "docs/functions.md:1: nothing about $name"
	done
# what the pages link to exists
for page in README.md CHANGELOG.md docs/*.md test/README.md; do
	grep -noE '\]\([^)# ]+' "$page" | sed 's/\](/ /' | grep -v ' https\{0,1\}:' |
		while read -r line link; do
			[ -e "$(dirname "$page")/$link" ] || echo "$page:$line there is no $link"
		done
done
exit 0
