#!/bin/sh
# The C files have the layout that "make indent" gives them.
#
# Files: src/*.c src/*.h test/fuzz/*.c test/ids/*.c
#
# On failure: run "make indent".  Where the result looks odd, the code is easier
# to write in another way than the layout to argue with.  After a new type, or the
# first use of one of PostgreSQL's, "make typedefs" comes before.
exec test/indent/indent --check "$@"
