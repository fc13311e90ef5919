"""A simulated Polymarket on loopback that verifies what the real one verifies.

A program of its own process. It shares no code with the client it checks: hashing, signatures,
amounts, fees and JSON shapes are written here a second time, from the exchange's rules. From
`bot` it imports errors only. All amounts are integers in millionths.

It is never kinder than the exchange: whatever was found in the field is here too, and a drill
switches it on by `POST /sim/do` (bot/sim/director.py says how, and what `heal` takes back).
"""
