"""Ledgers as the first design (commit 5eecb5e, schema 0001) left them, each with its exchange.

`make.py` made them; a migration must bring every one to rest, equal to its exchange.
"""
