# runops: PGXS build.  "make demo" and "make test" install what they need.
#
# "make help" prints the lines that begin with two of these signs.  The first
# ones are about targets of PGXS.

## all: build the library and the install script
## install: install them where PG_CONFIG says
## installcheck: run regress, isolation and TAP against what is installed; not as root
## clean: remove what was built

EXTENSION   = runops
EXTVERSION  = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big  = runops
PGFILEDESC  = "runops - one logical table over several databases"
OBJS        = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c))) $(WIN32RES)
DATA_built  = sql/$(EXTENSION)--$(EXTVERSION).sql
# the scripts of released versions, and the steps from one to the next
DATA        = $(filter-out %/$(notdir $(DATA_built)),$(wildcard sql/upgrade/$(EXTENSION)--*.sql))
PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -DRUNOPS_VERSION='"$(EXTVERSION)"' $(ASSERTS)
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare $(WERROR)
SHLIB_LINK  = $(libpq)

# init makes the extension and the store; after it the tests may run in any
# order.  A test without an expected file would abort pg_regress: the lint
# scripts report it instead.
REGRESS = init $(filter-out init %_1,$(sort $(patsubst expected/%.out,%,$(wildcard expected/*.out))))
REGRESS_OPTS   = --temp-instance=./tmp_regress --temp-config=./test/runops.conf
ISOLATION      = init $(filter-out init,$(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=postgres_fdw --load-extension=$(EXTENSION) \
                 --temp-instance=./tmp_isolation --temp-config=./test/runops.conf
TAP_TESTS      = 1
PROVE_TESTS   ?= test/t/*.pl
EXTRA_CLEAN    = tmp_regress tmp_isolation tmp_check $(wildcard src/*.gc?? src/*/*.gc??)

# one locale and encoding for every run, whatever the caller's
export LANG = C.UTF-8
unexport LC_ALL LC_CTYPE LC_COLLATE LC_MESSAGES

ifdef COVERAGE
PG_CFLAGS  += --coverage -O0
SHLIB_LINK += --coverage
endif

# Without pg_config, or with one but without the server's headers, the targets
# that install them must still be reachable.
PG_CONFIG ?= pg_config
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
all install installcheck clean:
	@echo 'no server headers for "$(PG_CONFIG)": install postgresql-server-dev-15 or set PG_CONFIG' >&2; exit 1
endif

$(OBJS): $(wildcard src/*/*.h)

sql/$(EXTENSION)--$(EXTVERSION).sql: $(sort $(wildcard sql/install/*.sql))
	cat $^ > $@

# PG_CONFIG reaches the scripts only if somebody set it; otherwise they take
# Debian's PostgreSQL 15 and install it where it is missing.
GIVEN_PG_CONFIG = $(if $(filter-out file undefined,$(origin PG_CONFIG)),PG_CONFIG='$(PG_CONFIG)')

## test: build, and run every suite, or some: SUITES="regress tap" TESTS="base_ids"
test:
	@$(GIVEN_PG_CONFIG) TESTS='$(TESTS)' test/run $(SUITES)

## test-versions: run the suites on each PostgreSQL, in a Debian of its own; or on some: VERSIONS="17 18"
test-versions:
	@VERSIONS='$(VERSIONS)' TESTS='$(TESTS)' test/versions $(SUITES)

## lint: check the text of the tree, without building; or some scripts: LINTS="errors versions"
lint:
	@test/lint/run $(LINTS)

## indent: give the C files the layout of PostgreSQL's own, by pg_bsd_indent
indent:
	@test/indent/indent || [ $$? -eq 77 ]

## indent-check: show what "make indent" would change
indent-check:
	@test/indent/indent --check || [ $$? -eq 77 ]

## typedefs: write anew the names of types that "make indent" needs
typedefs:
	@PG_CONFIG='$(PG_CONFIG)' test/indent/find-typedefs

## callgraph: print which file calls which functions of which other file
callgraph:
	@perl test/lint/module_order.pl --graph $(wildcard src/*.[ch] src/*/*.[ch])

## coverage: run regress, isolation and tap, or SUITES, and print the share of lines executed
coverage:
	@$(GIVEN_PG_CONFIG) COVERAGE=1 TESTS='$(TESTS)' test/run $(or $(SUITES),regress isolation tap)

## test-cassert: run the suites on a PostgreSQL 15 with assertions, which is built the first time
test-cassert:
	@PG_CONFIG=$$(test/cassert-server) && export PG_CONFIG && TESTS='$(TESTS)' test/run $(SUITES)

## check-memory: run some tests under valgrind, on the server with assertions
check-memory:
	@TESTS='$(TESTS)' test/check-memory $(SUITES)

## bench: measure what routing costs, as ratios; takes some minutes
bench:
	@$(GIVEN_PG_CONFIG) test/run bench

## fault-walk: do harm at every message between control plane and store; takes half an hour; ARGS="--only REGEX"
fault-walk:
	@$(GIVEN_PG_CONFIG) ARGS="$(ARGS)" test/run fault_walk

## soak: let many clients work while stores break, and compare; ARGS="--minutes 10"
soak:
	@$(GIVEN_PG_CONFIG) ARGS="$(ARGS)" test/run soak

## large-results: measure the memory that large results of a store take; ARGS="--rows 10000000"
large-results:
	@$(GIVEN_PG_CONFIG) ARGS="$(ARGS)" test/run large_results

## fdw-suite: run postgres_fdw's own test against runops_fdw; ARGS="--source DIR" names the source of PostgreSQL
fdw-suite:
	@$(GIVEN_PG_CONFIG) ARGS="$(ARGS)" test/run fdw_suite

## core-suite: run PostgreSQL's own tests with the library preloaded; ARGS="--source DIR" names the source
core-suite:
	@$(GIVEN_PG_CONFIG) ARGS="$(ARGS)" test/run core_suite

## demo: show a split on two throw-away clusters, which KEEP=1 leaves running
demo:
	@$(GIVEN_PG_CONFIG) KEEP='$(KEEP)' test/demo/run

## ack: accept the results of the last installcheck, after reading the diff
ack:
	for f in results/*.out; do cp "$$f" expected/; done

# the steps that lead to this version are released with it
## freeze: at a release, keep this version's install script for good
freeze: $(DATA_built)
	@! grep -q ' $(notdir $(DATA_built))$$' sql/upgrade/RELEASED || { echo '$(EXTVERSION) is released already' >&2; exit 1; }
	cp $(DATA_built) sql/upgrade/
	cd sql/upgrade && sha256sum $(notdir $(DATA_built) $(wildcard sql/upgrade/$(EXTENSION)--*--$(EXTVERSION).sql)) >>RELEASED

## help: list the targets
help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' $(firstword $(MAKEFILE_LIST)) | sort | expand -t 18

.PHONY: test test-versions lint callgraph bench fault-walk fdw-suite core-suite soak large-results demo ack indent indent-check typedefs freeze coverage test-cassert check-memory help
