"""Mutation testing (make mutants): break the product line by line, and see which tests notice.

All mutants of the pure storeys are tried, by the tests of units, and of each other part a sample
that stays the same while its code does; `--all` tries every one, which takes a night. What nobody
notices within a minute of tests has survived, and has a line with its reason in `survivors.txt`.
"""

import argparse
import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SURVIVORS = ROOT / "tests" / "survivors.txt"
#: Part -> the percentage of its mutants that must be noticed.
PURE = {"model": 90, "strategy": 90, "risk": 90}
SAMPLED = {"detect": 80, "execution": 80, "ledger": 80, "queue": 80}
PARTS = PURE | SAMPLED
SAMPLE = 60
#: Exit codes of a mutant's tests: a failure, an error of pytest, and too long by far (mutmut).
_LATE = frozenset({24, 36, 152, 255, -24})
_KILLED = _LATE | {1, 3}
_COPIED = (
    "bot", "tests", "workers", "migrations", "supervisord.conf", "config.example.toml", "README.md",
    "ARCHITECTURE.md", "Makefile", "pyproject.toml",
)  # fmt: skip
#: Tests that read the code itself would notice every mutant, or every copy of a line.
_SETTINGS = """
[tool.mutmut]
source_paths = ["bot"]
only_mutate = {only}
also_copy = {copied}
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider", "-p", "tests.minute"]
pytest_add_cli_args_test_selection = {tests}
# What is logged, and where drills may strike, changes nothing that the bot does.
do_not_mutate_patterns = ["logger\\\\.", "failpoints\\\\.reach", "_reach\\\\("]
timeout_constant = 20
timeout_multiplier = 3
"""
_SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|AND|OR|ON|ORDER|COALESCE"
    r"|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b"
)
_KEPT = re.compile(r":\w+|'[^']*'")
_NAMED = re.compile(r"\b(SELECT|RETURNING|AS)\b")
_READERS = ("--ignore=tests/unit/test_architecture.py", "--ignore=tests/unit/test_failpoints.py")


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that are tried together, in a copy of the project, by the same tests."""

    name: str
    parts: Mapping[str, int]
    tests: tuple[str, ...]
    probe: str  #: a small module: trying it makes all mutants, and learns which tests meet which

    @property
    def folder(self) -> Path:
        """Return where its copy is."""
        return ROOT / "mutants" / self.name

    def copy(self) -> None:
        """Copy the project as it is now; what was found for lines that are the same is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            source, target = ROOT / name, self.folder / name
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        only = [f"bot/{part}.py" if part == "queue" else f"bot/{part}/*" for part in self.parts]
        copied = [name for name in _COPIED if name not in ("bot", "tests")]
        with (self.folder / "pyproject.toml").open("a") as file:
            tests = [*self.tests, *_READERS]
            file.write(_SETTINGS.format(only=only, copied=copied, tests=tests))

    def run(self, *names: str) -> None:
        """Let mutmut try mutants."""
        command = [sys.executable, "-m", "mutmut", "run", *names]
        subprocess.run(command, cwd=self.folder, check=True)

    def results(self) -> dict[str, int | None]:
        """Return the exit code of each mutant's tests; None: not tried yet."""
        found: dict[str, int | None] = {}
        for path in sorted((self.folder / "mutants" / "bot").rglob("*.meta")):
            same = same_sql(path.with_suffix("").read_text())
            codes = dict(json.loads(path.read_text())["exit_code_by_key"])
            found |= {n: code for n, code in codes.items() if n.rpartition(".")[2] not in same}
        return {name: code for name, code in found.items() if part_of(name) in self.parts}


GROUPS = (
    Group("pure", PURE, ("tests/unit", "--ignore=tests/unit/sim"), "bot.risk.breaker*"),
    Group("others", SAMPLED, ("tests/unit", "tests/integration"), "bot.ledger.tally*"),
)


@dataclass(frozen=True, slots=True)
class Share:
    """How many mutants of one part were tried, and how many of them were noticed."""

    part: str
    tried: int
    killed: int
    late: int  #: of those noticed: by taking too long, which a slow machine may do as well

    @property
    def percent(self) -> float:
        """Return the part that was noticed, of a hundred."""
        return 100 * self.killed / self.tried if self.tried else 0.0


def chosen(names: Iterable[str], *, everything: bool) -> list[str]:
    """Return which mutants are tried; the sample of a part is told by the names themselves."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(part_of(name), []).append(name)
    tried: list[str] = []
    for part, mutants in sorted(found.items()):
        ordered = sorted(mutants, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        tried += ordered if everything or part in PURE else ordered[:SAMPLE]
    return tried


def same_sql(source: str) -> set[str]:
    """Return the mutants in mutated code that write SQL in other letters: it does the same."""
    found = {
        node.name: _texts(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    same = set()
    for name, texts in found.items():
        before = found.get(f"{name.partition('__mutmut_')[0]}__mutmut_orig", [])
        changed = [pair for pair in zip(before, texts, strict=False) if pair[0] != pair[1]]
        if len(before) == len(texts) and changed and all(_same(*pair) for pair in changed):
            same.add(name)
    return same


def _texts(function: ast.AST) -> list[str]:
    """Return every constant of a function as text, in the order of the code."""
    return [str(node.value) for node in ast.walk(function) if isinstance(node, ast.Constant)]


def _same(before: str, after: str) -> bool:
    # Texts, and the names of values and of what comes back, are what their letters are.
    return (
        before.lower() == after.lower()
        and _SQL.search(before) is not None
        and _KEPT.findall(before) == _KEPT.findall(after)
        and (not _raised(before, after) or _NAMED.search(before) is None)
    )


def _raised(before: str, after: str) -> bool:
    return any(new not in (old, old.lower()) for old, new in zip(before, after, strict=True))


def part_of(name: str) -> str:
    """Return the part of the product that a mutant ('bot.risk.guards.x_check__mutmut_1') is in."""
    return name.split(".")[1]


def shares(results: Mapping[str, int]) -> list[Share]:
    """Return what became of each part's mutants: name -> exit code of its tests."""
    return [
        Share(
            part,
            sum(part_of(name) == part for name in results),
            sum(part_of(name) == part and code in _KILLED for name, code in results.items()),
            sum(part_of(name) == part and code in _LATE for name, code in results.items()),
        )
        for part in PARTS
    ]


def survivors(results: Mapping[str, int]) -> list[str]:
    """Return the mutants that nobody has noticed."""
    return sorted(name for name, code in results.items() if code not in _KILLED)


def reasons(text: str) -> dict[str, str]:
    """Return the reason of every known survivor: lines of 'name  reason', or '# comment'."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
    if len(found) != len(lines):
        raise SystemExit(f"{SURVIVORS}: every line is 'mutant reason', each mutant once")
    return found


def verdict(results: Mapping[str, int], known: Mapping[str, str]) -> list[str]:
    """Return what is wrong: too little noticed, or a survivor nobody has given a reason for."""
    wrong = [
        f"{share.part}: {share.percent:.1f} % noticed, at least {PARTS[share.part]} are to be"
        for share in shares(results)
        if share.tried and share.percent < PARTS[share.part]
    ]
    survived = survivors(results)
    wrong += [
        f"{name}: survived, and has no line in {SURVIVORS.name}"
        for name in survived
        if name not in known
    ]
    stale = [name for name in results if name in known and name not in survived]
    return wrong + [f"{name}: was noticed, its line in {SURVIVORS.name} is old" for name in stale]


def tried(group: Group, *, only: str, everything: bool) -> dict[str, int]:
    """Try what is chosen of a group, and return the results."""
    group.copy()
    group.run(group.probe)
    names = [name for name in group.results() if only in ("", part_of(name))]
    mutants = chosen(names, everything=everything)
    before = group.results()
    # What has survived is tried again: tests may have come, which mutmut does not look for.
    if left := [name for name in mutants if before[name] not in _KILLED]:
        group.run(*left)
    found = group.results()
    return {name: code for name in mutants if (code := found[name]) is not None}


def main() -> int:
    """Try mutants, show what was noticed, and return 1 where that is too little."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every mutant: a night")
    parser.add_argument("--only", default="", help="one part: " + ", ".join(PARTS))
    options = parser.parse_args()
    results: dict[str, int] = {}
    for group in GROUPS:
        if options.only in ("", *group.parts):
            results |= tried(group, only=options.only, everything=options.all)
    for share in shares(results):
        if share.tried:
            noticed = f"{share.killed} of {share.tried} noticed, {share.percent:.1f} %"
            print(f"{share.part:10} {noticed}, {share.late} of them by taking too long")
    wrong = verdict(results, reasons(SURVIVORS.read_text()))
    print("\n".join([*wrong, "FAIL" if wrong else "PASS"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
