"""The embedded warehouse: one process that owns a ClickHouse engine's directory and speaks ClickHouse's HTTP protocol.

`python -m penstock.local.warehouse --data DIR --port N` starts it. What it does as a ClickHouse server does: statements
in `query` and the body, formats, settings and `{name:Type}` parameters in the address, compression, error codes and
statuses, `/ping`. What it does not: sessions (`session_id` is accepted, but `SET` and `USE` end with the request, and
temporary tables are refused), external tables, native block compression of answers (`compress=1`), and
`INSERT … SELECT … FROM input()`.

Statements may not leave the engine: reading and writing files, addresses, other servers and programs is not granted.
"""
