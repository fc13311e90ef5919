"""Detection: sources observe leader trades, `merge` folds them, `intake` stores what is new."""
