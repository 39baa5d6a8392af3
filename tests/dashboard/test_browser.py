"""The pages in a real browser: they draw, are quiet, reachable to all, and talk to nobody else."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    && document.querySelector('[data-testid=stMainBlockContainer] [data-testid]')
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
    && charts.every(chart => chart.querySelector('.main-svg .plot, .main-svg .infolayer'));
}"""
PATIENCE_MS = 90_000
UNFOLD_MS = 10_000
PAGES = {  # path -> what only this page shows, and how many charts it has at least
    "": ("Against the run before", 1),
    "scaling": ("Metric", 1),
    "tradeoffs": ("What fits my budget", 3),
    "compare": ("Baseline", 1),
    "history": ("Sequence length", 1),
    "cell": ("This measures the cell again:", 2),
    "profile": ("How near the device's limit", 4),
    "live": ("No suite runs now.", 0),
    "environments": ("What both share", 0),
    "method": ("How a cell may end", 0),
}


@pytest.fixture(scope="module")
def address(scenes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the dashboard as a user would, from a folder that is not the project's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home, root = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("results")
    for scene in ("much", "full", "two environments"):
        for run in scenes[scene].glob("[!.]*"):
            (root / run.name).symlink_to(run)
    paths = [str(Path(dashboard.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "dashboard", "--root", str(root), "--port", str(port)]
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Visit:
    """A window of the browser that writes down what it asks for and complains of."""

    def __init__(self, browser: Any, address: str, kind: str) -> None:
        self.address = address
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context = browser.new_context(color_scheme=kind, reduced_motion="reduce")
        self.page = page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # Streamlit probes for its server below the path of a page that was opened by its address.
        probing = "404" in message.text and "_stcore" in str(message.location)
        if (message.type == "error" and not probing) or "WebGL" in message.text:
            self.complaints.append(message.text)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}/{path}", wait_until="domcontentloaded")
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_function(SETTLED, timeout=PATIENCE_MS)
        assert self.page.locator("[data-testid=stException]").count() == 0

    def unfold(self, box: str) -> None:
        """Open the list of a box; a page that is drawn again just then closes it once."""
        late = pytest.importorskip("playwright.sync_api").TimeoutError
        options = self.page.get_by_role("option")
        for _ in range(PATIENCE_MS // UNFOLD_MS):
            self.page.get_by_role("combobox", name=box).click()
            with suppress(late):
                options.first.wait_for(timeout=UNFOLD_MS)
                return
        pytest.fail(f"the list of {box!r} does not open")

    def close(self) -> None:
        """End the visit and check that it was quiet and private."""
        self.page.context.close()
        own = (self.address, self.address.replace("http", "ws"), "data:", "blob:")
        assert [url for url in self.asked if not url.startswith(own)] == []
        assert self.complaints == []


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_every_page_draws_is_accessible_and_talks_to_nobody_else(
    browser: Any, address: str, kind: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visit = Visit(browser, address, kind)
    page = visit.page
    broken: list[tuple[str, str, str]] = []
    for path, (words, charts) in PAGES.items():
        visit.open(f"{path}?run=run-11&base=run-05&candidate=run-06")
        page.get_by_text(words, exact=False).first.wait_for()
        found = page.get_by_test_id("stPlotlyChart")
        assert found.count() >= charts, path
        assert page.get_by_role("figure").count() >= charts, path
        assert page.locator("a[href^='javascript']").count() == 0
        for rule in axe.run(page).response["violations"]:
            broken += [(path, rule["id"], node["html"][:300]) for node in rule["nodes"]]
    visit.close()
    assert not broken, "\n".join(map(str, broken))


def test_the_way_from_the_answer_to_a_raw_sample_and_back_by_its_address(
    browser: Any, address: str
) -> None:
    visit = Visit(browser, address, "light")
    page = visit.page
    visit.open("?run=full&phase=train_step&contender=local")
    page.get_by_text("only local has a number").first.wait_for()
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_role("combobox", name="Baseline").wait_for()
    visit.settle()
    visit.unfold("Look at a cell")
    label = page.get_by_role("option").nth(2).inner_text()
    page.get_by_role("option").nth(2).click()
    visit.settle()
    page.get_by_role("button", name="Its raw samples").click()
    page.get_by_text("This measures the cell again:").wait_for()
    visit.settle()
    assert "/cell?" in page.url
    contender, phase, length = label.split()
    page.get_by_role("heading", name=f"{contender}, {phase}, {length} tokens").wait_for()
    assert f"cell={contender}-{phase}" in page.url
    page.get_by_text("Raw samples", exact=True).click()
    page.get_by_test_id("stDataFrame").first.wait_for()
    heading = page.get_by_role("heading", level=3).first.inner_text()
    back = Visit(browser, address, "light")
    back.open(page.url.removeprefix(f"{address}/"))
    assert back.page.get_by_role("heading", level=3).first.inner_text() == heading
    back.open("?run=full&phase=train_step&contender=local")
    back.page.get_by_text("only local has a number").first.wait_for()
    for each in (visit, back):
        each.close()


def test_choosing_changes_the_address(browser: Any, address: str) -> None:
    visit = Visit(browser, address, "light")
    page = visit.page
    visit.open("scaling?run=full")
    page.get_by_role("radio", name="Memory").click()
    page.get_by_text("local is smallest").first.wait_for()
    assert "metric=Memory" in page.url
    page.get_by_text("reformer faster from").first.wait_for(state="detached")
    page.keyboard.press("Tab")  # everything is reached by keys: the focus moves on
    assert page.evaluate("document.activeElement.tagName") != "BODY"
    visit.close()


def test_a_foreign_host_and_a_foreign_origin_are_refused(address: str) -> None:
    port = int(address.rpartition(":")[2])
    for name, value in (("Host", "evil.example"), ("Origin", "http://evil.example")):
        assert handshake(port, name, value).startswith("HTTP/1.1 403"), name
    assert handshake(port, "Origin", address).startswith("HTTP/1.1 101")


def handshake(port: int, name: str, value: str) -> str:
    """Ask for the page's WebSocket with one header changed; return the first line of the answer."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        name: value,
    }
    lines = "".join(f"{key}: {text}\r\n" for key, text in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET /_stcore/stream HTTP/1.1\r\n{lines}\r\n".encode())
        return connection.recv(200).decode(errors="replace")
