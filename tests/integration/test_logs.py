"""Logs: printable, redacted, and quiet about what libraries know."""

import json
import logging

import structlog

from bot.logs import logging_to_stdout


def test_lines_are_json_printable_and_without_secrets(capsys):
    with logging_to_stdout("executor", "DEBUG", as_json=True):
        structlog.get_logger("bot.test").info(
            "seen", title="\x1b[31mred", private_key="hush", signature="0xhush"
        )
        logging.getLogger("botocore.parsers").debug("Response body: hush")
        logging.getLogger("hpack").info("poly_passphrase=hush")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["seen"]
    assert lines[0]["worker"] == "executor"
    assert lines[0]["title"].isprintable()
    assert "hush" not in json.dumps(lines)


def test_a_traceback_is_kept_on_one_line(capsys):
    with logging_to_stdout("health", "INFO", as_json=True):
        try:
            raise RuntimeError("on purpose")
        except RuntimeError:
            structlog.get_logger("bot.test").exception("worker.crashed")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "RuntimeError: on purpose" in json.loads(out)["exception"]
