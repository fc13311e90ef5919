"""HTTP that we serve."""
