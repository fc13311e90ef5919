"""Quarantine: what came from outside and could not be read, until it can, or is gone."""

from collections.abc import Sequence

from bot.ledger.db import Tx, insert, run


def keep_only(
    tx: Tx, source: str, found: Sequence[tuple[str, str | None, str]], *, now_us: int
) -> None:
    """Make what is quarantined of a source exactly these: (subject, token or None, why)."""
    run(
        tx,
        "UPDATE quarantine SET cleared_us = :now WHERE source = :source AND cleared_us IS NULL",
        now=now_us,
        source=source,
    )
    for subject, token, why in found:
        values = {"source": source, "subject": subject, "token": token, "why": why}
        insert(tx, "quarantine", {**values, "first_us": now_us, "last_us": now_us}, ignore=True)
        run(
            tx,
            "UPDATE quarantine SET last_us = :now, cleared_us = NULL"
            " WHERE source = :source AND subject = :subject",
            now=now_us,
            source=source,
            subject=subject,
        )
