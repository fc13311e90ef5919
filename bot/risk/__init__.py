"""Hard limits, pure. They may only lower or refuse."""
