# What runops_fdw does otherwise than postgres_fdw on purpose: a pattern for the changed lines of a difference, and the reason.
# A line of postgres_fdw begins with "-", one of runops_fdw with "+".
(
	[ qr/^\+ERROR:  cannot access store "\w+" of "\w+": the gate is closed/m, 'a server that cannot be asked closes the gate, and the error says so; the reason is its detail' ],
	[ qr/^\+ERROR:  new row for relation "(?:ft1|rem2)" violates check constraint "(?:ft1_c2|rem2_f1)/m, 'CHECK constraints of a foreign table are enforced here, because core excludes tables by them' ],
	[ qr/^-   822\n\+   821$|^-  +1 \|  2 \| 00001_trig_update /m, 'follows from the rows that a CHECK has refused' ],
	[ qr/^\+ERROR:  cannot move a row of "\w+" (?:out of|to) store/m, 'a row is never moved between databases by an UPDATE: neither half of it could be undone' ],
	[ qr/^- INSERT on batch_cp_upd_test/m, 'follows from the rows that are not moved' ],
	[ qr/^-ERROR:  password or GSSAPI delegated credentials required$/m, 'a password is required, because delegated credentials are not used' ],
	[ qr/^\+WARNING:  skipping "ft1" --- cannot analyze it/m, 'a store that fails must not keep ANALYZE from the other tables' ],
	[ qr/^\+ERROR:  prepared transactions are disabled/m, 'a transaction that has only read can be prepared' ],
	[ qr/^-ERROR:  08006\n\+ \?column\? /m, 'a read needs no transaction in the store, so a lost connection is made anew' ],
	[ qr/^-(?: loopback\d?(?: +\|.*)?|WARNING:  cannot close connection for server.*)$/m, 'the connections are those of the engine, which the functions of postgres_fdw do not know' ],
	[ qr/^-     1\n\+     0$/m, 'postgres_fdw.application_name is not used: the name of a session is runops/ and the number of the backend' ],
	[ qr/^-ERROR:  (?:connection to server "loopback" cannot be used due to abort cleanup failure|no connection to the server)/m, 'the rows of a cursor are kept here before a savepoint can take them away, and a lost connection is made anew' ],
)
