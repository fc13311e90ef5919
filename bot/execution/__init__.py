"""The life of an order: decide, reserve and sign; post; settle; recover.

`decide` turns a signal into a stored decision, `booking` turns evidence into fills, positions
and PnL, `life` carries every order to its end, and begins with those of an earlier life.
"""
