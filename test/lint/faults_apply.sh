#!/bin/sh
# Every fault that test/diff/prove-faults plants still fits the sources.
#
# Files: test/diff/faults/*.patch
#
# On failure: plant the same fault by hand where the code is now, and write the
# patch anew with "git diff".  A fault that no longer makes sense is deleted.
command -v patch >/dev/null || {
	echo 'there is no program "patch"; test/setup.sh installs it'
	exit 1
}
for f in "$@"; do
	# as prove-faults does it
	said=$(patch -p1 -F3 -f --dry-run <"$f" 2>&1) || echo "$said" | grep -vE '^checking file' | sed "s|^|$f:1: |"
done
exit 0
