"""One trade, after it was seen.

`decide`, `send`, `evidence` (prove), `fills` (apply), `reconcile` (compare). `loop` carries every
signal and every order to its end, beginning with what an earlier life left; `assemble` wires all of
it, for the worker, the tests and the lab alike.
"""
