"""The ledger: what the bot knows, in one SQLite file that survives everything.

`tables` is the schema, `db` opens the file and owns every transaction, and each other module
holds the verbs of one subject. A verb takes an open transaction, so that callers decide what
is committed together.
"""
