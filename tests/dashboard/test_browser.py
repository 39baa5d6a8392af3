"""The page in a real browser: it draws, it is quiet, and it talks to nobody else."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dashboard

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTLED = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
  return app && app.dataset.testConnectionState === 'CONNECTED'
    && app.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
    && charts.length > 0 && charts.every(chart => chart.querySelector('.scatterlayer .trace'));
}"""


@pytest.fixture(scope="module")
def address(scenes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the dashboard as a user would, from a folder that is not the project's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    paths = [str(Path(dashboard.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}
    command = [
        sys.executable,
        "-m",
        "dashboard",
        "--root",
        str(scenes["full"]),
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command,
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        yield ready(server)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        said, _ = server.communicate(timeout=30)
    assert "will be removed" not in said
    assert "Traceback" not in said


def ready(server: "subprocess.Popen[str]") -> str:
    """Return the address once the server says it."""
    assert server.stdout is not None
    for line in server.stdout:
        if "URL: " in line:
            return line.split()[-1]
    raise AssertionError(f"the server ended with {server.wait()}")


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_the_page_draws_and_talks_to_nobody_else(address: str, kind: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    asked: list[str] = []
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(color_scheme=kind, reduced_motion="reduce")
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto(f"{address}/?phase=train_step", wait_until="domcontentloaded")
        page.wait_for_function(SETTLED, timeout=60_000)
        assert page.locator("[data-testid=stException]").count() == 0
        chart = page.get_by_test_id("stPlotlyChart")
        assert chart.locator(".scatterlayer .trace").count() > 5
        assert chart.get_by_text("reformer faster from").count() == 1
        assert page.get_by_text("train_step").count() > 0
        assert page.get_by_role("figure").count() == 1
        page.get_by_role("radio", name="Memory").click()
        page.get_by_text("local is smallest").first.wait_for(timeout=30_000)
        assert "metric=Memory" in page.url
        browser.close()
    own = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
    assert complaints == []
