#!/bin/sh
# setup.sh
#	  Install what "make test" and "make demo" need, and print the pg_config.
#
# usage: [PG_CONFIG=path] [PG_MAJOR=number] test/setup.sh [package ...]
#
# With PG_CONFIG in the environment, the script installs nothing and uses this
# PostgreSQL.  Otherwise it uses Debian's PostgreSQL of the major version PG_MAJOR,
# by default 15, and installs its missing packages, which needs root.  Progress goes
# to standard error; standard output has only the path of pg_config.
set -eu

major=${PG_MAJOR:-15}

packages="make gcc libc6-dev clang perl patch
postgresql-$major postgresql-client-$major postgresql-server-dev-$major libpq-dev
libipc-run-perl libtap-parser-sourcehandler-pgtap-perl $*"

# a test that needs one of these is skipped where it is missing; pgTAP gets a
# package only some time after a major release
optional='pgbouncer pg-bsd-indent'
pgtap=postgresql-$major-pgtap
if [ "$major" -gt 18 ]; then
	optional="$optional $pgtap"
else
	packages="$packages $pgtap"
fi

say() {
	echo "$*" >&2
}

# The packages of a list that are not installed, each after a space.
not_installed() {
	for p in $1; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) || status=
		[ "$status" = installed ] || printf ' %s' "$p"
	done
}

if [ -n "${PG_CONFIG:-}" ]; then
	pgxs=$("$PG_CONFIG" --pgxs) || {
		say "PG_CONFIG=$PG_CONFIG does not run"
		exit 1
	}
	[ -f "$pgxs" ] || {
		say "PG_CONFIG=$PG_CONFIG: no server headers, $pgxs does not exist"
		exit 1
	}
	command -v "$PG_CONFIG"
	exit 0
fi

debian_pg_config=/usr/lib/postgresql/$major/bin/pg_config

if command -v dpkg-query >/dev/null 2>&1; then
	missing=$(not_installed "$packages")
	if [ "$(id -u)" -eq 0 ]; then
		for p in $(not_installed "$optional"); do
			# no answer may only mean that apt has no lists yet
			if [ -n "$missing" ] || apt-cache show "$p" >/dev/null 2>&1; then
				missing="$missing $p"
			fi
		done
	fi
	if [ -n "$missing" ]; then
		if [ "$(id -u)" -ne 0 ]; then
			say "missing packages:$missing"
			say "install them as root (apt-get install$missing), or run this as root"
			exit 1
		fi
		say "installing$missing"
		# the package would start a server; nobody asked for one
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
			chmod +x /usr/sbin/policy-rc.d
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
			trap 'exit 1' HUP INT TERM
		fi
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q update >&2
		for p in $optional; do
			apt-cache show "$p" >/dev/null 2>&1 ||
				missing=$(echo "$missing" | tr ' ' '\n' | grep -vx "$p" | tr '\n' ' ')
		done
		# shellcheck disable=SC2086
		apt-get -q install -y --no-install-recommends $missing >&2 </dev/null
	fi
	if [ -x "$debian_pg_config" ]; then
		echo "$debian_pg_config"
		exit 0
	fi
fi

# not a Debian: the pg_config of the PATH, if it has the server's headers
if found=$(command -v pg_config) && [ -f "$(pg_config --pgxs)" ]; then
	echo "$found"
	exit 0
fi
say 'no PostgreSQL with server headers found; set PG_CONFIG'
exit 1
