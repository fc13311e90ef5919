"""Sabotage, once per rule: a copy of the code breaks it, and the test that guards it must fail.

The drills `sabotage.*` break the laws that need a process to die (re-sign on retry, record after
the POST, one trade a transaction); here are those that a changed line breaks.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("bot", "workers", "migrations", "tests", "pyproject.toml", "supervisord.conf")
#: rule -> (file, the line that keeps it, the line that breaks it, the test that must notice)
MUTANTS = {
    "commits are synced": (
        "bot/ledger/db.py", "PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF",
        "tests/integration/test_power_cut.py::test_no_acknowledged_transaction_is_lost_in_a_power_cut",
    ),
    "transactions begin immediate": (
        "bot/ledger/db.py", '"BEGIN IMMEDIATE"', '"BEGIN DEFERRED"',
        "tests/integration/test_ledger.py::test_three_processes_that_read_and_write_lose_no_update",
    ),
    "a guard that raises says no": (
        "bot/risk/guards.py", "        except Exception as error:  # a guard that cannot answer says no\n            return",
        "        except Exception as error:\n            continue\n            return",
        "tests/unit/test_risk.py::test_a_guard_that_raises_counts_as_no",
    ),
    "duplicated means landed": (
        "bot/polymarket/outcomes.py", 'return Accepted("duplicate")', 'return Rejected(_R.PAYLOAD, "duplicated")',
        "tests/unit/test_outcomes.py::test_duplicated_means_landed",
    ),
    "a server error proves nothing": (
        "bot/polymarket/outcomes.py", 'return Unknown(f"HTTP {status}")\n    try', 'return Rejected(_R.EXCHANGE, "")\n    try',
        "tests/unit/test_outcomes.py::test_a_server_error_proves_nothing",
    ),
    "facts are grouped by maximum": (
        "bot/model/totals.py", "return max(totals.values(), default=(0, 0))", "return min(totals.values(), default=(0, 0))",
        "tests/unit/test_totals.py::test_streams_never_exceed_and_complete_answers_always_reach_the_truth",
    ),
    "no byte leaves after the deadline": (
        "bot/execution/send.py", "if sent_us >= order.deadline_us:", "if sent_us < 0:",
        "tests/integration/test_recovery.py::test_no_byte_leaves_after_the_deadline",
    ),
    "a failed fill is taken back": (
        "bot/execution/fills.py", "if known is None or fill.settlement is Settlement.FAILED:", "if known is None:",
        "tests/integration/test_execution.py::test_a_failed_settlement_is_taken_back_once",
    ),
    "what is in flight counts against the caps": (
        "bot/ledger/positions.py", 'flying = f"SELECT SUM(reserved) FROM', 'flying = f"SELECT 0 * SUM(reserved) FROM',
        "tests/integration/test_execution.py::test_concurrent_signals_never_exceed_the_caps",
    ),
    "work that raises takes no neighbour with it": (
        "bot/ledger/db.py", '        db.execute("ROLLBACK TO item")\n        db.execute("RELEASE item")\n        return error',
        '        db.execute("RELEASE item")\n        return error',
        "tests/integration/test_ledger.py::test_what_waits_together_commits_together_and_one_that_raises_is_undone_alone",
    ),
    "a state is changed from the state that was read": (
        "bot/ledger/orders.py", " WHERE id = :id AND state = :old", " WHERE id = :id AND :old = :old",
        "tests/integration/test_ledger.py::test_an_order_is_moved_only_from_the_state_it_was_read_in",
    ),
    "an ended order frees its budget once it is proven": (
        "bot/execution/fills.py", "if short >= CENT or", "if",
        "tests/integration/test_recovery.py::test_only_evidence_ends_what_the_exchange_has",
    ),
    'pongs make nothing fresh': (
        'bot/polymarket/books.py', 'time.monotonic() - self.stream.data_heard',
        'time.monotonic() - self.stream.heard',
        'tests/integration/test_unkind.py::test_a_channel_that_answers_pings_alone_makes_no_book_fresh',
    ),
    'a lapsed subscription is asked for again': (
        'bot/polymarket/stream.py', 'last = self.heard if self.silence_s is None else self.data_heard',
        'last = self.heard',
        'tests/integration/test_unkind.py::test_a_lapsed_subscription_is_asked_for_again_though_pings_are_answered',
    ),
    'a page at login is weather': (
        'bot/polymarket/clob.py', '            if not _refusal(reply):\n                raise Unavailable',
        '            if reply.status >= 429:\n                raise Unavailable',
        'tests/integration/test_unkind.py::test_a_page_at_login_is_weather_and_a_refusal_of_the_key_is_not',
    ),
    'an answer may be a millionth above its trades': (
        'bot/execution/fills.py', 'if short >= CENT or',
        'if short > 0 or',
        'tests/integration/test_unkind.py::test_an_answer_a_millionth_above_its_trades_ends_its_order',
    ),
    'one unreadable trade locks nothing': (
        'bot/polymarket/clob.py', '                    unreadable.append(Unreadable(str(error), _named(bytes(row))))',
        '                    raise Unavailable(str(error)) from None',
        'tests/integration/test_unkind.py::test_one_unreadable_trade_locks_nothing_and_is_told',
    ),
    'amounts are decimal text': (
        'bot/polymarket/outcomes.py', '    return (min(int(made * MICRO), making), int(took * MICRO)) if fits else (0, 0)',
        '    scale = MICRO if fits else 1\n    return (min(int(made * scale), making), int(took * scale))',
        'tests/unit/test_outcomes.py::test_amounts_are_decimal_text_and_what_does_not_fit_proves_nothing',
    ),
    'fees are cut, on the average price': (
        'bot/model/fees.py', 'return int(exact // _STEP) * _STEP',
        'return int((exact + _STEP // 2) // _STEP) * _STEP',
        'tests/unit/test_wire.py::test_fees_are_cut_as_in_real_charges',
    ),
    'a funder is proven': (
        'bot/polymarket/wallet.py', '    if funder in wallets[signature_type]:\n        return',
        '    if funder:\n        return',
        'tests/unit/test_wallet.py',
    ),
    'an unfinished story fails': (
        'bot/lab/demo.py', 'problems = _unfinished(truth) + judgement.problems',
        'problems = judgement.problems',
        'tests/integration/test_unkind.py::test_a_story_that_was_not_finished_fails',
    ),
    'a crash loop stops entries alone': (
        'bot/runtime.py', '                ControlMode.PAUSED,\n                reason=reason,',
        '                ControlMode.HALTED,\n                reason=reason,',
        'tests/integration/test_unkind.py::test_a_crash_loop_stops_entries_for_a_while_and_a_reboot_is_nobodys_fault',
    ),
    'a reboot is no crash': (
        'bot/runtime.py', 'limits.crash_window_s * MICRO, booted_us)',
        'limits.crash_window_s * MICRO, booted_us - 10**9)',
        'tests/integration/test_unkind.py::test_a_crash_loop_stops_entries_for_a_while_and_a_reboot_is_nobodys_fault',
    ),
    'a pause is not cut short': (
        'bot/ledger/control.py', 'AND COALESCE(until_us, :forever) >= COALESCE(:until, :forever)',
        'AND 0 = COALESCE(:until, 1)',
        'tests/integration/test_unkind.py::test_a_pause_is_never_cut_short_and_a_halt_keeps_its_first_reason',
    ),
    'a bought trade is shown as bought': (
        'bot/report/lists.py', "ORDER BY COALESCE(e.verdict, '') = 'copied' DESC, s.seq DESC",
        'ORDER BY s.seq DESC',
        'tests/integration/test_unkind.py::test_a_trade_that_was_bought_and_grew_too_late_is_shown_as_bought',
    ),
    'a slow beat is no hang': (
        'bot/report/status.py', '_gauge(b["detail"], "beat_s") or DEFAULT_BEAT_S',
        'DEFAULT_BEAT_S',
        'tests/integration/test_unkind.py::test_a_slow_beat_is_no_hang_and_locked_entries_are_on_the_first_screen',
    ),
    'reconcile agrees only when it knows': (
        'bot/cli/maintain.py', '        return Unavailable.exit_code\n    say(',
        '        return 0\n    say(',
        'tests/integration/test_unkind.py::test_reconcile_says_that_it_agrees_only_when_it_knows',
    ),
    'last known facts serve exits': (
        'bot/execution/decide.py', 'if leaving and known is not None:',
        'if leaving and known is not None and signal.shares < 0:',
        'tests/integration/test_exits.py::test_an_exit_lives_on_the_last_known_facts',
    ),
    'no decision waits long for one market': (
        'bot/execution/decide.py', 'PATIENCE_S = 3',
        'PATIENCE_S = 300',
        'tests/integration/test_exits.py::test_a_hanging_market_delays_no_other_exit',
    ),
    'who is followed no more is followed out': (
        'bot/execution/decide.py', 'if settings is None and not (signal.side is Side.SELL or held.complement):',
        'if settings is None:',
        'tests/integration/test_exits.py::test_a_leader_who_is_followed_no_more_is_followed_out',
    ),
    'what has settled is sold': (
        'bot/execution/decide.py', '    if shares < CENT:\n        return None',
        '    if shares < wanted.shares:\n        return None',
        'tests/integration/test_exits.py::test_a_fill_that_never_mines_holds_up_its_own_shares_only',
    ),
    'dust is nothing': (
        'bot/ledger/positions.py', 'f"SELECT SUM(shares) FROM position WHERE shares >= {CENT} AND token = "',
        'f"SELECT SUM(shares) FROM position WHERE shares >= {CENT * 0} AND token = "',
        'tests/integration/test_exits.py::test_dust_makes_no_side_taken',
    ),
    'a doubted ledger asks the wallet': (
        'bot/execution/decide.py', '        return there + CENT <= ours',
        '        return False',
        'tests/integration/test_exits.py::test_an_uncompared_ledger_asks_the_wallet_before_it_sells',
    ),
    "a token with forgotten trades waits": (
        "bot/execution/decide.py", "        return None  # trades of it are unknown here", "        pass  # trades of it are unknown here",
        "tests/integration/test_exits.py::test_a_restored_ledger_sells_nothing_again",
    ),
    'an exit has a floor': (
        'bot/strategy/mirror.py', '    limit = max(slipped, floor)',
        '    limit = slipped',
        'tests/unit/test_mirror.py::test_no_exit_is_ever_offered_below_its_floor',
    ),
    'an exit needs a book that is not frozen': (
        'bot/strategy/mirror.py', 'if view.now_us - book.seen_us > s.book_max_age_s * MICRO:',
        'if view.now_us - book.seen_us < 0:',
        'tests/unit/test_mirror.py::test_an_exit_waits_for_a_book_that_is_not_frozen',
    ),
    "lookups are stamped with the exchange's time": (
        'bot/execution/evidence.py', ' + min(self._venue.skew_s, 0)',
        '',
        'tests/integration/test_exits.py::test_our_clock_ahead_hides_none_of_our_trades',
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """Break every rule, each in a copy of its own, two at a time."""
    pool = ThreadPoolExecutor(2)
    started = {
        rule: pool.submit(attempt, rule, tmp_path_factory.mktemp("broken")) for rule in MUTANTS
    }
    yield started
    pool.shutdown(cancel_futures=True)


def attempt(rule: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the guarding test over a copy of the code in which a rule is broken."""
    path, line, broken, test = MUTANTS[rule]
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder)
    text = (folder / path).read_text()
    assert text.count(line) == 1, "the rule is kept by another line now: name that one"
    (folder / path).write_text(text.replace(line, broken))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder), "COPYBOT_TEST_PATIENCE_S": "6"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_broken_rule_is_noticed(rule, attempts):
    process = attempts[rule].result(timeout=1800)
    assert process.returncode == 1, process.stdout[-2000:] + process.stderr[-500:]
    assert "failed" in process.stdout
