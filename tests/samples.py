"""Where recorded data lives: beside the checkout, never inside it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
SAMPLES = SHARED / "samples"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="recorded data (../shared) is not on this machine"
)
