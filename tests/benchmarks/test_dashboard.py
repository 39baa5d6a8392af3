"""A million result rows: the table read back, first page, switch of pages, the server's memory.

Small when benchmarks are off, so that it keeps running. On, with --benchmark-enable, writing the
runs takes two minutes first; DASHBOARD_ROWS makes it fewer.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

import dashboard
from harness import store
from harness.codec import canonical, encode
from harness.schema import (
    Cell,
    Contender,
    Environment,
    Measurement,
    Outcome,
    Protocol,
    Result,
    RunHeader,
)

LENGTHS = tuple(2**k for k in range(8, 18))
NAMES = {
    "transformer": "full",
    "eager": "full",
    "local": "local",
    "reformer": "lsh",
    "new": "linear",
}
SAMPLES, ROWS_A_CELL = 11, 4
MACHINE = Environment(fields={"cpu": "a processor", "device": "cpu"})
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
SETTLED = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
  return app && app.dataset.testScriptState === 'notRunning' && charts.length
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
    && charts.every(chart => chart.querySelector('.main-svg .plot, .main-svg .infolayer'));
}"""


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> int:
    """A million where this is a measurement, few where it is a test."""
    on = request.config.getoption("benchmark_enable")
    return 2_000 if not on else int(os.environ.get("DASHBOARD_ROWS", "1000000"))


@pytest.fixture(scope="module")
def root(rows: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one suite with 5,000 rows each."""
    folder = tmp_path_factory.mktemp("results")
    runs = max(2, rows // 5_000)
    cells = list(_grid(rows // runs // ROWS_A_CELL))
    for number in range(runs):
        _run(folder, number, cells)
    return folder


@pytest.mark.benchmark(group="dashboard")
def test_the_table_of_all_runs_is_read_back(benchmark, root: Path, rows: int) -> None:
    """Warm: all kept tables. `extra_info` has what making them took, once."""
    folders = [run.path for run in store.runs(root)]
    begin, cpu = time.perf_counter(), time.process_time()
    store.frame(*folders)
    benchmark.extra_info["cold_s"] = round(time.perf_counter() - begin, 2)
    benchmark.extra_info["cold_cpu_s"] = round(time.process_time() - cpu, 2)
    table = benchmark.pedantic(lambda: store.frame(*folders), rounds=3)
    assert len(table) == rows


@pytest.mark.benchmark(group="dashboard")
def test_pages_over_all_runs(benchmark, request: pytest.FixtureRequest, root: Path) -> None:
    """Rounds are switches of pages; `extra_info` has the first page and the server's memory."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not request.config.getoption("benchmark_enable") or chromium is None:
        pytest.skip("a measurement in a browser")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=chromium, args=FLAGS)
        shutil.rmtree(root / ".cache")
        for name in ("cold", "warm"):
            with Server(root) as (address, process):
                page = browser.new_page()
                benchmark.extra_info[f"first_page_{name}_s"] = _open(page, address, "")
        with Server(root) as (address, process):
            page = browser.new_page()
            _open(page, address, "")
            _open(page, address, "history")  # reads every run
            links = ["Scaling", "Trade-offs", "Overview"]

            def switch() -> None:
                links.append(links.pop(0))
                page.get_by_role("link", name=links[-1], exact=True).click()
                page.wait_for_function(f"() => document.title && ({SETTLED})()")

            switch()
            benchmark.pedantic(switch, rounds=6)
            memory = process.memory_info().rss
            benchmark.extra_info["server_rss_gb"] = round(memory / 1e9, 3)
        browser.close()


def _open(page: Any, address: str, path: str) -> float:
    """Open a page and return the seconds until it stands."""
    begin = time.perf_counter()
    page.goto(f"{address}/{path}", wait_until="domcontentloaded")
    page.wait_for_function(SETTLED, timeout=120_000)
    return round(time.perf_counter() - begin, 2)


class Server:
    """The dashboard in a process of its own, ready to be asked."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [
            *(sys.executable, "-m", "dashboard", "--root", str(root), "--port", str(self.port)),
        ]

    def __enter__(self) -> tuple[str, psutil.Process]:
        home = Path(dashboard.__file__).parents[1]
        paths = os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            self.command,
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.05)
        return f"http://127.0.0.1:{self.port}", psutil.Process(self.process.pid)

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


def _grid(cells: int) -> Iterator[Cell]:
    made = 0
    for seed in range(cells):
        for batch in (1, 2, 4, 8):
            for phase in ("forward", "train_step"):
                for n in LENGTHS:
                    for name, attention in NAMES.items():
                        if made == cells:
                            return
                        made += 1
                        yield Cell(
                            contender=name, model="transformer", attention=attention, impl="auto",
                            phase=phase, seq_len=n, batch=batch, d_model=256, heads=4, d_ff=1024,
                            layers=2, vocab=256, causal=True, dtype="float32", device="cpu",
                            threads=1, data="stdlib", seed=seed,
                        )  # fmt: skip


def _run(root: Path, number: int, cells: list[Cell]) -> None:
    """Write a run as its writer leaves it, without the writer's syncs to the disk."""
    folder = root / f"20261101T{number:06d}Z-long_seq-0000"
    (folder / "shards").mkdir(parents=True)
    header = RunHeader(
        run_id=folder.name,
        suite="long_seq",
        suite_text="version: 1\n",
        question="Which model is fastest as sequences grow?",
        command=("run", "suites/long_seq.yaml"),
        created_at=str(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)),
        contenders=tuple(
            Contender(id=name, model="transformer", attention=attention, impl="auto")
            for name, attention in NAMES.items()
        ),
        metrics=("latency", "peak_memory", "flops"),
        protocol=Protocol(),
        cells=tuple(cells),
    )
    end = {"state": "finished", "ended_at": header.created_at, "outcomes": {"ok": len(cells)}}
    (folder / "run.json").write_text(json.dumps({"header": encode(header), **end}))
    (folder / f"environment-{MACHINE.id}.json").write_text(json.dumps(encode(MACHINE)))
    dice = random.Random(number)
    with (folder / "shards" / "host-1-1.jsonl").open("w") as file:
        file.write(canonical({"kind": "writer", "schema_version": 1, "host": "x", "pid": 1}) + "\n")
        for cell in cells:
            end = {"kind": "cell_end", "cell_id": cell.id, "result": encode(_result(cell, dice))}
            file.write(canonical(end) + "\n")
        file.write(canonical({"kind": "closed"}) + "\n")


def _result(cell: Cell, dice: random.Random) -> Result:
    base = 1000 * cell.seq_len * cell.batch * (1 + list(NAMES).index(cell.contender))
    times = tuple(round(base * (1 + 0.02 * dice.random())) for _ in range(SAMPLES))
    made = (
        Measurement(metric="latency", unit="ns", better="lower", samples=times, stop="enough"),
        Measurement(metric="peak_memory", unit="byte", better="lower", samples=(1000 * base,)),
        Measurement(metric="flops_model", unit="flop", better="lower", samples=(base,)),
    )
    return Result(cell=cell, outcome=Outcome.OK, measurements=made, environment=MACHINE.id)
