"""Configuration: what may be set, where it comes from, where secrets and files are."""
