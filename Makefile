# runops: PGXS build.  "make demo" and "make test" install what they need.

EXTENSION   = runops
EXTVERSION  = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big  = runops
PGFILEDESC  = "runops - one logical table over several databases"
OBJS        = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c))) $(WIN32RES)
DATA_built  = sql/$(EXTENSION)--$(EXTVERSION).sql
PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -DRUNOPS_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare $(WERROR)
SHLIB_LINK  = $(libpq)

REGRESS = setup
REGRESS_OPTS   = --temp-instance=./tmp_regress --temp-config=./test/runops.conf
ISOLATION      = $(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=postgres_fdw --load-extension=$(EXTENSION) \
                 --temp-instance=./tmp_isolation --temp-config=./test/runops.conf
TAP_TESTS      = 1
PROVE_TESTS   ?= test/t/*.pl
EXTRA_CLEAN    = tmp_regress tmp_isolation tmp_check $(wildcard src/*.gcno src/*.gcda)

ifdef COVERAGE
PG_CFLAGS  += --coverage -O0
SHLIB_LINK += --coverage
endif

# Without pg_config the targets that install it must still be reachable.
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
endif

$(OBJS): $(wildcard src/*.h)

sql/$(EXTENSION)--$(EXTVERSION).sql: $(sort $(wildcard sql/install/*.sql))
	cat $^ > $@
