"""botctl: parse, call, render. Nothing is decided here."""
