#!/bin/sh
# No file is longer than 700 lines, no function longer than 120.
#
# On failure: the file's header says what it is about in one sentence; what does
# not belong to it is another file.
find src sql test .ci -type f \( -name '*.c' -o -name '*.h' -o -name '*.sql' -o -name '*.pl' \
	-o -name '*.pm' -o -name '*.sh' -o -name '*.spec' -o -name run \) ! -name 'runops--*' |
	sort |
	while read -r f; do
		n=$(wc -l <"$f")
		[ "$n" -le 700 ] || echo "$f:700: the file has $n lines"
	done

# C functions end with a brace in the first column, SQL ones with $$;
awk '
	FNR == 1 { start = 0; type = FILENAME ~ /\.sql$/ ? "sql" : "c" }
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
' src/*.c src/*/*.c src/*/*.h sql/install/*.sql
