"""The executor's own code in virtual time, against a faulty exchange, with a seed."""
