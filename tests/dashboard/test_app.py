"""Every page over every scene: no exception, and what is missing is explained."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard import __main__ as launcher
from dashboard import data

APP = Path(dashboard.__file__).parent / "app.py"
PAGES = sorted(path.name for path in (APP.parent / "app_pages").glob("[!_]*.py"))
SCENES = ("no runs", "one cell", "all out of memory", "full")


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch):
    """Return a function that opens the app over a results folder."""

    def start(root: Path, *runs: str, **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(APP), "--root", str(root), *runs])
        app = AppTest.from_file(APP, default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        return app.run()

    return start


def words(app: AppTest) -> str:
    kinds = (app.text, app.info, app.error, app.warning, app.caption, app.code)
    return "\n".join(str(each.value) for kind in kinds for each in kind).replace("\\", "")


def chart(app: AppTest) -> dict:
    return json.loads(app.get("plotly_chart")[0].proto.spec)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_every_scene(open_app, scenes, page: str, scene: str) -> None:
    app = open_app(scenes[scene])
    app.switch_page(f"app_pages/{page}").run()
    assert not app.exception
    assert words(app)


def test_no_runs_names_the_command_that_makes_one(open_app, scenes) -> None:
    app = open_app(scenes["no runs"])
    assert "There are no runs here yet" in words(app)
    assert app.code[0].value == "python -m harness run suites/smoke.yaml"


def test_failures_alone_are_shown_and_counted(open_app, scenes) -> None:
    app = open_app(scenes["all out of memory"])
    assert "No cell of this selection has a number: 9 out_of_memory." in words(app)
    assert len(app.get("plotly_chart")) == 1


def test_the_chart_says_its_finding_to_those_who_cannot_see_it(open_app, scenes) -> None:
    app = open_app(scenes["full"])
    assert app.get("plotly_chart")[0].proto.alt.startswith("At 16k tokens, local is fastest")


def test_metric_and_phase_change_the_chart(open_app, scenes) -> None:
    app = open_app(scenes["full"])
    assert chart(app)["layout"]["yaxis"]["title"]["text"].startswith("Time per step")
    app.segmented_control(key="metric").set_value("peak_memory").run()
    assert chart(app)["layout"]["yaxis"]["title"]["text"].startswith("Peak memory")
    before = chart(app)
    app.selectbox(key="phase").set_value("train_step").run()
    assert not app.exception
    assert "train_step" in words(app)
    assert chart(app)["layout"]["xaxis"] == before["layout"]["xaxis"]


def test_a_link_opens_what_it_names(open_app, scenes) -> None:
    app = open_app(scenes["full"], phase="train_step", metric="Memory")
    assert "train_step" in words(app)
    assert chart(app)["layout"]["yaxis"]["title"]["text"].startswith("Peak memory")


def test_notes_of_the_run_are_shown(open_app, scenes) -> None:
    assert "the last line is torn" in words(open_app(scenes["full"]))


def test_runs_can_be_named(open_app, scenes) -> None:
    app = open_app(scenes["no runs"], str(scenes["one cell"] / "one"), str(scenes["full"] / "full"))
    assert app.selectbox(key="run").options == ["one", "full"]
    assert app.selectbox(key="run").value == "one"
    app.selectbox(key="run").set_value("full").run()
    assert "local is fastest" in words(app)


def test_a_name_that_is_no_run_is_explained(open_app, scenes) -> None:
    app = open_app(scenes["full"], "fll")
    assert not app.exception
    assert "no run 'fll'; did you mean 'full'" in words(app)


def test_a_broken_folder_is_named_beside_the_others(open_app, tmp_path: Path, scenes) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "full").symlink_to(scenes["full"] / "full")
    app = open_app(tmp_path)
    assert not app.exception
    assert "broken: no run.json" in words(app)
    assert "local is fastest" in words(app)


def test_settings_that_differ_can_be_chosen(open_app, tmp_path: Path, scenes) -> None:
    folder = tmp_path / "two"
    (folder / "shards").mkdir(parents=True)
    source = scenes["one cell"] / "one"
    (folder / "run.json").write_text((source / "run.json").read_text())
    (shard,) = (source / "shards").iterdir()
    text = shard.read_text()
    (folder / "shards" / shard.name).write_text(text)
    other = re.sub(
        r'"samples":\[(\d+)\]', r'"samples":[9\1]', text.replace('"batch":1', '"batch":8')
    )
    (folder / "shards" / "a-2-3.jsonl").write_text(other)
    app = open_app(tmp_path, metric="Memory")
    assert app.selectbox(key="batch").options == ["1", "8"]
    assert "only transformer has a number: 1.00 MiB" in words(app)
    app.selectbox(key="batch").set_value(8).run()
    assert not app.exception
    assert "batch 8" in words(app)
    assert "only transformer has a number: 86.8 MiB" in words(app)


def test_looking_never_changes_the_shared_rows(open_app, scenes) -> None:
    app = open_app(scenes["full"])
    shared = data.chosen(scenes["full"] / "full")
    before = repr(shared.rows)
    app.selectbox(key="phase").set_value("train_step").run()
    assert repr(shared.rows) == before


def test_the_command_keeps_the_page_private_and_passes_the_runs() -> None:
    command = launcher.command(Path("some"), 8600, ["latest"])
    assert command[:3] == ["streamlit", "run", str(APP)]
    assert command[command.index("--server.address") + 1] == "127.0.0.1"
    assert command[command.index("--browser.gatherUsageStats") + 1] == "false"
    assert command[command.index("--") :] == ["--", "--root", str(Path("some").resolve()), "latest"]


def test_importing_the_dashboard_needs_no_torch() -> None:
    code = (
        "import sys, dashboard.data, dashboard.figures.scaling; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=APP.parents[1])
