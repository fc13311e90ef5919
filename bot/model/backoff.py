"""How long to wait before who did not answer is asked again."""


def longest_s(failures: int, first_s: float, most_s: float) -> float:
    """Return the longest pause after so many failures in a row, seconds.

    `first_s` where there was none, doubled with each, `most_s` at most. Whoever waits draws a
    shorter one by lot, so that a peer that returns is not met by everybody at once.
    """
    return min(most_s, first_s * 2.0 ** min(failures, 60))
