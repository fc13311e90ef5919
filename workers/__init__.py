"""The three programs that supervisord runs.

Each wires plain objects together and works until stopped.
"""

import sys

# A worker draws no screens. structlog and httpx load rich wherever they find it, which was a
# seventh of the time that a worker needs to come back; both do without where it is not there.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
