#!/bin/sh
# Every setting, SQLSTATE, function and view has its place in docs/, every lint in
# CONTRIBUTING.md, and what the pages link to exists.
#
# Files: src/base/guc.c src/base/errcodes.h sql/install/*.sql
# Files: README.md CHANGELOG.md CONTRIBUTING.md docs/*.md test/README.md test/lint/*.sh
#
# On failure: write it into the file that the message names.
pages=
install=
for f in "$@"; do
	case $f in
	*.md) pages="$pages $f" ;;
	*.sql) install="$install $f" ;;
	esac
done

# Complain about each name of the input that a page lacks, and if there is none.
all_in() {
	any=
	while read -r name; do
		any=1
		grep -qwF "$name" "$1" || echo "$1:1: nothing about $name"
	done
	[ "$any" ] || echo "$1:1: this script knows no name that belongs here"
}

sed -n 's/^.*DefineCustom[A-Za-z]*Variable("\(runops\.[a-z_]*\)".*/\1/p' src/base/guc.c | sort -u |
	all_in docs/settings.md
sed -n "s/.*MAKE_SQLSTATE('R', *'O', *'\(.\)', *'\(.\)', *'\(.\)').*/RO\1\2\3/p" src/base/errcodes.h | sort -u |
	all_in docs/errors.md
# shellcheck disable=SC2086
sed -n -e 's/^COMMENT ON \(FUNCTION\|PROCEDURE\|VIEW\|TYPE\) runops\.\([a-z][a-z_]*\).*/\2/p' $install |
	grep -vE '^(runops_fdw_|remote_|store_arm$)' | sort -u |
	all_in docs/functions.md

for f in "$@"; do
	case $f in
	test/lint/*) basename "$f" .sh ;;
	esac
done | all_in CONTRIBUTING.md

for page in $pages; do
	grep -noE '\]\([^)# ]+' "$page" | sed 's/\](/ /' | grep -v ' https\{0,1\}:' |
		while read -r line link; do
			[ -e "$(dirname "$page")/$link" ] || echo "$page:$line there is no $link"
		done
done
exit 0
