#!/bin/sh
# No file is longer than 1000 lines, no function longer than 120.
#
# Files: src/*.c src/*.h test/*.c sql/*.sql test/*.sql test/*.pl test/*.pm test/*.sh test/*.spec
# Files: test/run test/*/run .ci/run !sql/upgrade/*
#
# On failure: the file's header says what it is about in one sentence; what does
# not belong to it is another file.
for f in "$@"; do
	n=$(wc -l <"$f")
	[ "$n" -le 1000 ] || echo "$f:1000: the file has $n lines"
done

# C functions end with a brace in the first column, SQL ones with $$;
awk '
	FNR == 1 {
		start = 0
		type = FILENAME ~ /^sql\/install\// ? "sql" : FILENAME ~ /^src\// ? "c" : ""
	}
	type == "c" && /^[A-Za-z_].*\(/ && !/;[ \t]*$/ && !/^(typedef|struct|enum|union|extern)/ {
		name = $0; sub(/\(.*/, "", name); sub(/.*[ \t*]/, "", name); candidate = name
	}
	type == "c" && /^{/ && candidate != "" { start = FNR; name = candidate; candidate = "" }
	type == "c" && /^}/ && start {
		if (FNR - start + 1 > 120)
			printf "%s:%d: %s() has %d lines\n", FILENAME, start, name, FNR - start + 1
		start = 0
	}
	type == "sql" && /^CREATE (FUNCTION|PROCEDURE)/ {
		start = FNR; name = $3; sub(/\(.*/, "", name)
	}
	type == "sql" && /^\$\$;/ && start {
		if (FNR - start + 1 > 120)
			printf "%s:%d: %s() has %d lines\n", FILENAME, start, name, FNR - start + 1
		start = 0
	}
' "$@"
