"""What mutation testing makes of what was noticed."""

import pytest

from tests.mutation import SAMPLE, chosen, part_of, reasons, same_sql, survivors, verdict

PURE = [f"bot.risk.guards.x_check__mutmut_{i}" for i in range(10)]
SAMPLED = [f"bot.ledger.db.x_run__mutmut_{i}" for i in range(400)]


def test_all_of_the_pure_storeys_and_the_same_sample_of_others_are_tried():
    tried = chosen(PURE + SAMPLED, everything=False)
    assert set(PURE) <= set(tried)
    assert len(tried) == len(PURE) + SAMPLE
    assert tried == chosen(list(reversed(PURE + SAMPLED)), everything=False)
    assert len(chosen(PURE + SAMPLED, everything=True)) == 410


def test_a_single_module_is_a_part_too():
    assert part_of("bot.queue.xǁSenderǁput__mutmut_3") == "queue"


@pytest.mark.parametrize(("code", "survived"), [(0, True), (33, True), (1, False), (36, False)])
def test_what_no_test_meets_has_survived(code, survived):
    assert (survivors({PURE[0]: code}) == PURE[:1]) is survived


def test_too_little_noticed_and_a_survivor_without_a_reason_are_told():
    results = dict.fromkeys(PURE, 1) | {PURE[0]: 0, PURE[1]: 0}
    few, nobody = verdict(results, {PURE[0]: "equal"})
    assert few == "risk: 80.0 % noticed, at least 90 are to be"
    assert nobody.startswith(f"{PURE[1]}: survived")
    assert verdict(dict.fromkeys(PURE, 1) | {PURE[0]: 0}, {PURE[0]: "equal"}) == []
    (stale,) = verdict(dict.fromkeys(PURE, 1), {PURE[0]: "equal"})
    assert stale.startswith(f"{PURE[0]}: was noticed")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("DELETE FROM lock WHERE key = :key", "delete from lock where key = :key", True),
        ("DELETE FROM lock WHERE key = :key", "DELETE FROM LOCK WHERE KEY = :KEY", False),
        ("ROLLBACK TO item WHERE", "ROLLBACK TO ITEM WHERE", True),
        ("SELECT id FROM lock", "SELECT ID FROM LOCK", False),
        ("SELECT id FROM lock WHERE id = 1", "SELECT id FROM lock where id = 1", True),
        ("UPDATE t SET a = 'open'", "update t set a = 'open'", True),
        ("UPDATE t SET a = 'Open'", "update t set a = 'open'", False),
        ("executor", "EXECUTOR", False),
    ],
)
def test_sql_is_the_same_in_other_letters_and_nothing_else_is(before, after, same):
    code = f"def x_f__mutmut_orig():\n    run({before!r}, 1)\n"
    code += f"def x_f__mutmut_1():\n    run({after!r}, 1)\n"
    assert same_sql(code) == ({"x_f__mutmut_1"} if same else set())
    assert same_sql(code.replace(f"{after!r}, 1", f"{after!r}, 2")) == set()


def test_a_reason_belongs_to_each_line():
    assert reasons("# why\na.b  equal in all cases\n\n") == {"a.b": "equal in all cases"}
    for text in ("a.b\n", "a.b one\na.b two\n"):
        with pytest.raises(SystemExit, match=r"survivors\.txt"):
            reasons(text)
