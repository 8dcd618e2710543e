"""Rows in one transactional database: who owns what, which tag means which manifest, which blob is where.

`engine` runs query functions; `schema` has the tables; every other module holds the queries of one noun.
"""
