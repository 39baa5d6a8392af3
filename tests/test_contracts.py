"""The import contracts name whoever climbs the stairs: planted violations, one run."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
# (contract, module that is changed, what it must not import)
PLANTED = [
    ("three storeys: dashboard above harness above models", "models.model", "harness.schema"),
    ("the office: stairs only go down", "harness.stats", "harness.runner"),
    ("the grammar of a suite", "harness.grammar.document", "harness.grammar.selection"),
    ("telling", "harness.telling.words", "harness.telling.tables"),
    ("judging", "harness.judging.conditions", "harness.judging.change"),
    ("storage", "harness.storage.shards", "harness.storage.runs"),
    ("the laboratory", "harness.worker.device", "harness.worker.workload"),
    ("the cellar", "models.kernels.dense", "models.layers.positions"),
    ("shelf entries are strangers", "models.variants.full", "models.variants.local"),
    (
        "shelf entries are strangers",
        "harness.worker.metrics.flops",
        "harness.worker.metrics.latency",
    ),
    ("the office starts without torch", "harness.progress", "torch"),
    ("records need the standard library only", "harness.schema", "pydantic"),
    ("the laboratory needs torch and little else", "harness.worker.measure", "pandas"),
    ("the cellar is a plain PyTorch library", "models.catalog", "scipy"),
    ("the terrace looks in through the office's pure windows", "dashboard.theme", "torch"),
    ("figures are drawn without Streamlit", "dashboard.figures.axes", "streamlit"),
    ("only the store knows the files of results", "harness.compare", "harness.storage.shards"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the linter says of each broken contract, in a copy of the house with all violations."""
    copy = tmp_path_factory.mktemp("house")
    for package in ("harness", "models", "dashboard"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for _, module, target in PLANTED:
        file = copy.joinpath(*module.split(".")).with_suffix(".py")
        file.write_text(file.read_text() + f"\nimport {target}\n")
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    _, _, broken = done.stdout.partition("Broken contracts")
    sections: dict[str, str] = {}
    name = ""
    for line in broken.splitlines():
        if line and not line.startswith(("-", " ", "(")) and line in {c for c, _, _ in PLANTED}:
            name = line
        sections[name] = sections.get(name, "") + line + "\n"
    return sections


@pytest.mark.parametrize(("contract", "module", "target"), PLANTED)
def test_a_planted_violation_is_named_by_its_contract(
    verdicts: dict[str, str], contract: str, module: str, target: str
) -> None:
    assert f"{module} -> {target} " in verdicts[contract]


def test_every_contract_was_put_to_the_test(verdicts: dict[str, str]) -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {table["name"] for table in tables["tool"]["importlinter"]["contracts"]}
    assert names - set(verdicts) <= {"no cycles"}  # broken by the others, named by its own words
