"""The exchange as the bot uses it: exact orders, typed answers, live books.

Nothing of the exchange's JSON leaves this package: callers see the types of `bot.model`.
"""
