"""The house of ARCHITECTURE.md stands: a file imports from lower storeys only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Rooms by storey; what is missing here fails. ARCHITECTURE.md shows the same table.
STOREYS = {
    9: ("workers", "bot.cli"),
    8: ("bot.lab", "bot.web"),
    7: ("bot.runtime", "bot.sim"),
    6: ("bot.detect", "bot.execution"),
    5: ("bot.report", "bot.watchdog"),
    4: ("bot.strategy", "bot.risk", "bot.supervise"),
    3: ("bot.polymarket", "bot.ledger", "bot.queue"),
    2: ("bot.ports", "bot.liveness", "bot.config", "bot.logs"),
    1: ("bot.model", "bot.errors", "bot.failpoints", "bot.process"),
    0: ("bot",),
}
LINES = {room: storey for storey, rooms in STOREYS.items() for room in rooms}
FENCES = {
    "py_clob_client_v2": {"bot.polymarket"},
    "eth_account": {"bot.polymarket"},
    "coincurve": {"bot.polymarket", "bot.sim"},
    "Crypto": {"bot.sim"},
    "web3": {"bot.detect", "bot.polymarket"},
    "boto3": {"bot.config"},
    "sqlmodel": {"bot.ledger"},
    "sqlalchemy": {"bot.ledger"},
    "aiosqlite": {"bot.ledger"},
    "alembic": {"bot.ledger"},
    "rich": {"bot.cli"},
    "typer": {"bot.cli"},
    "supervisor": {"bot.supervise"},
}
FILES = sorted([*ROOT.glob("bot/**/*.py"), *ROOT.glob("workers/*.py")])


def unit_of(module: str) -> str:
    return next(
        name
        for name in sorted(LINES, key=len, reverse=True)
        if module == name or module.startswith(f"{name}.")
    )


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "bot"
                else [node.module]
            )
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_from_lower_storeys_only(path):
    here = unit_of(module_of(path))
    for name in imports(path):
        if name.split(".")[0] not in ("bot", "workers"):
            continue
        there = unit_of(name)
        assert here == there or LINES[there] < LINES[here], (
            f"{here} (storey {LINES[here]}) imports {name} (storey {LINES[there]})"
        )
    assert here != "workers" or not any(name.startswith("workers.") for name in imports(path)), (
        "workers import workers"
    )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_third_party_packages_stay_behind_their_fences(path):
    here = unit_of(module_of(path))
    for name in imports(path):
        owners = FENCES.get(name.split(".")[0])
        assert owners is None or here in owners, f"{here} imports {name}, which belongs to {owners}"


def test_the_simulation_shares_nothing_with_what_it_checks():
    for path in ROOT.glob("bot/sim/*.py"):
        shared = {
            name
            for name in imports(path)
            if name.startswith("bot.") and not name.startswith("bot.sim")
        }
        assert shared <= {"bot.errors", "bot.logs"}, f"{path.name} imports {shared}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 41, (
                f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
            )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_public_name_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module says nothing about itself"
    for node in tree.body:
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(
                    inner, (ast.FunctionDef, ast.AsyncFunctionDef)
                ) and not inner.name.startswith("_"):
                    assert ast.get_docstring(inner), f"{node.name}.{inner.name} has no docstring"


@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("workers.health", {"rich", "eth_utils", "httpx", "sqlmodel", "alembic"}),
        ("workers.monitor", {"rich", "eth_utils", "py_clob_client_v2", "sqlmodel", "alembic"}),
        ("workers.executor", {"rich", "sqlmodel", "alembic"}),
    ],
)
def test_a_worker_loads_nothing_that_it_never_uses(program, unused):
    """What a worker loads is most of the time that it needs to come back."""
    loaded = f"import sys, {program}; print(*(n for n, m in sys.modules.items() if m))"
    found = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = set(found.stdout.split())
    assert program in names and not names & unused
