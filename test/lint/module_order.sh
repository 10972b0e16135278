#!/bin/sh
# The modules of src/ are those of docs/design.md, and call each other in its order.
#
# Files: src/*.c src/*.h docs/design.md
#
# On failure: a file that is missing in the table "The source" of docs/design.md
# belongs there, with its module.  A call against the order, or a circle, shows
# that a function stands in the wrong module or file: move it down, or let the
# higher module register a callback.  "make callgraph" prints the calls.
exec perl test/lint/module_order.pl "$@"
