"""Strategies: pure functions from a view of the world to a proposal or a skip."""
