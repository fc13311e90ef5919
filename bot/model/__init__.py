"""The field's words as frozen types, and their pure arithmetic.

Everything else may use them; they use nothing.
"""
