"""The product shown and proven on the simulated exchange."""
