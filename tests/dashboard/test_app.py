"""Every page over every scene: no exception, and what is missing is explained."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from dashboard import __main__ as launcher
from dashboard import data
from harness import store

APP = Path(dashboard.__file__).parent / "app.py"
PAGES = sorted(path.stem for path in (APP.parent / "app_pages").glob("[!_]*.py"))
SCENES = (
    *("no runs", "one cell", "all out of memory", "full", "two environments", "torn shard"),
    "much",
)
NO_RUNS_NEEDED = {"method"}


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch):
    """Return a function that opens a page of the app over a results folder."""

    def start(root: Path, *runs: str, page: str = "overview", **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(APP), "--root", str(root), *runs])
        app = AppTest.from_file(APP, default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        if page != "overview":
            for key, value in query.items():
                app.query_params[key] = value
            app.switch_page(f"app_pages/{page}.py").run()
        return app

    return start


def words(app: AppTest) -> str:
    kinds = (app.text, app.info, app.error, app.warning, app.success, app.markdown, app.code)
    kinds = (*kinds, app.subheader, app.toast)
    return "\n".join(str(each.value) for kind in kinds for each in kind).replace("\\", "")


def specs(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(each.proto.spec) for each in app.get("plotly_chart")]


def alts(app: AppTest) -> list[str]:
    return [each.proto.alt for each in app.get("plotly_chart")]


@pytest.mark.parametrize("scene", SCENES)
def test_every_page_shows_every_scene(open_app, scenes, scene: str) -> None:
    app = open_app(scenes[scene])
    for page in PAGES:
        app.switch_page(f"app_pages/{page}.py").run()
        assert not app.exception, page
        assert words(app) or page in NO_RUNS_NEEDED, page
        assert all(alts(app)), page
        if scene == "no runs" and page not in NO_RUNS_NEEDED:
            assert app.code[0].value == "python -m harness run suites/smoke.yaml", page


def test_no_figure_is_larger_than_a_browser_likes(open_app, scenes) -> None:
    app = open_app(scenes["much"])
    for page in PAGES:
        app.switch_page(f"app_pages/{page}.py").run()
        for spec in specs(app):
            assert sum(points(trace) for trace in spec["data"]) <= 5000, page


def points(trace: dict[str, Any]) -> int:
    x = trace.get("x", [])
    return len(x) if isinstance(x, list) else len(x["bdata"]) // 8


def test_no_runs_names_the_command_that_makes_one(open_app, scenes) -> None:
    assert "There are no runs here yet" in words(open_app(scenes["no runs"]))


def test_the_answer_stands_first_and_failures_are_counted(open_app, scenes) -> None:
    app = open_app(scenes["full"])
    told = words(app)
    assert "At 16k tokens, forward in float32, cpu: local is fastest" in told
    assert "18 of 42 cells have no number" in told
    tiles = {tile.label: tile.value for tile in app.metric}
    assert tiles["Measured"] == "24"
    assert tiles["Out of memory"] == "2"


def test_failures_alone_are_shown_and_counted(open_app, scenes) -> None:
    app = open_app(scenes["all out of memory"])
    assert "No cell of this selection has a number: 9 out of memory." in words(app)
    assert len(specs(app)) == 1


def test_the_chart_says_its_finding_to_those_who_cannot_see_it(open_app, scenes) -> None:
    app = open_app(scenes["full"], page="scaling")
    assert alts(app)[0].startswith("At 16k tokens, local is fastest")


def test_metric_and_phase_change_the_chart(open_app, scenes) -> None:
    app = open_app(scenes["full"], page="scaling")
    assert specs(app)[0]["layout"]["yaxis"]["title"]["text"].startswith("Time per step")
    app.segmented_control(key="metric").set_value("peak_memory").run()
    assert specs(app)[0]["layout"]["yaxis"]["title"]["text"].startswith("Peak memory")
    before = specs(app)[0]
    app.selectbox(key="phase").set_value("train_step").run()
    assert not app.exception
    assert "train_step" in words(app)
    assert specs(app)[0]["layout"]["xaxis"] == before["layout"]["xaxis"]


def test_a_link_opens_what_it_names(open_app, scenes) -> None:
    app = open_app(scenes["full"], phase="train_step", metric="Memory", contender="local")
    assert "train_step" in words(app)
    assert app.pills(key="contender").value == ["local"]
    assert "only local has a number" in alts(app)[0]


def test_a_filter_that_matches_nothing_names_the_culprit(open_app, scenes) -> None:
    app = open_app(scenes["full"], phase="backward")
    assert not app.exception
    assert "0 cells: no phase 'backward' here; there is forward, train_step." in words(app)
    app = open_app(scenes["full"])
    app.pills(key="contender").set_value([]).run()
    assert "0 cells: no contender is chosen" in words(app)
    app.button(key="reset").click().run()
    assert len(app.pills(key="contender").value) == 7


def test_what_was_not_measured_is_said_with_the_command_that_does(open_app, scenes) -> None:
    app = open_app(scenes["full"], page="scaling")
    app.segmented_control(key="metric").set_value("joules_per_token").run()
    assert "Energy per token was not measured in this run." in words(app)
    expected = "run suites/long_seq.yaml --set metrics=[latency,peak_memory,energy]"
    assert expected in app.code[0].value
    for page in ("tradeoffs", "profile"):
        app.switch_page(f"app_pages/{page}.py").run()
        assert len(app.code) >= 2, page


def test_joules_per_token_follow_from_energy(open_app, scenes) -> None:
    app = open_app(scenes["much"], page="scaling")
    app.segmented_control(key="metric").set_value("joules_per_token").run()
    (line,) = (each for each in specs(app)[0]["data"] if each.get("name") == "transformer")
    assert line["y"][0] == pytest.approx(0.5 * 0.01 * 0.5 * 2 / 512)


def test_notes_of_the_run_are_shown(open_app, scenes) -> None:
    for scene in ("full", "torn shard"):
        assert "the last line is torn" in words(open_app(scenes[scene]))


def test_other_machines_are_never_compared_silently(open_app, scenes) -> None:
    app = open_app(scenes["two environments"], page="compare")
    assert "The environments differ: times are not comparable" in words(app)
    counts = {tile.label: tile.value for tile in app.metric}
    assert counts["Not comparable"] == "12"
    app.switch_page("app_pages/environments.py").run()
    assert "Times of these two must not be compared." in words(app)


def test_a_change_is_found_told_and_leads_to_the_cell(open_app, scenes) -> None:
    app = open_app(scenes["much"], page="compare", base="run-05", candidate="run-06")
    assert "slower" in alts(app)[0]
    counts = {tile.label: tile.value for tile in app.metric}
    assert counts["Worse"] == "4"
    assert "20 of 20 cells have numbers on both sides." in words(app)


def test_a_cell_is_shown_down_to_its_samples(open_app, scenes) -> None:
    run = store.open("full", scenes["full"])
    cell = next(r.cell for r in run.results if r.cell.contender == "local" and r.measurements)
    app = open_app(scenes["full"], page="cell", cell=cell.id)
    assert not app.exception
    assert f"--only {cell.id}" in words(app)
    assert app.subheader[0].value.startswith("local, forward, 512 tokens")
    assert len(specs(app)) == 2
    assert len(specs(app)[0]["data"][0]["y"]) == 11


def test_a_name_is_text_wherever_it_appears(open_app, scenes) -> None:
    app = open_app(scenes["much"])
    for page in PAGES:
        app.switch_page(f"app_pages/{page}.py").run()
        assert not app.exception
        for kind in ("markdown", "subheader", "info", "warning", "success", "toast"):
            for element in getattr(app, kind):
                assert "<script>" not in element.value, (page, kind)
                assert not re.search(r"(?<!\\)\]\(javascript", element.value), (page, kind)
        for each in app.get("plotly_chart"):
            assert "<script>" not in each.proto.spec, page


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
    assert "only transformer has a number: 1.00 MiB" in alts(app)[0]
    app.selectbox(key="batch").set_value(8).run()
    assert not app.exception
    assert "batch 8" in words(app)
    assert "only transformer has a number: 86.8 MiB" in alts(app)[0]


def test_a_running_suite_is_followed(open_app, tmp_path: Path, scenes) -> None:
    run = store.open("full", scenes["full"])
    with store.Writer.create(tmp_path, run.header) as writer:
        for result in run.results[:20]:
            writer.start(result.cell, 1)
            writer.end(result)
        writer.start(run.results[20].cell, 1)
        app = open_app(tmp_path, page="live")
        assert not app.exception
        assert f"Now: {run.results[20].cell.id}" in words(app)
        assert "Heartbeat: the last line was written" in words(app)
        writer.finish("interrupted")


def test_looking_never_changes_the_shared_table(open_app, scenes) -> None:
    app = open_app(scenes["full"])
    shared = data.chosen(scenes["full"] / "full")
    before = shared.table.to_csv()
    for page in PAGES:
        app.switch_page(f"app_pages/{page}.py").run()
    assert data.chosen(scenes["full"] / "full") is shared
    assert shared.table.to_csv() == before


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


def test_no_page_lets_html_through() -> None:
    for path in APP.parent.rglob("*.py"):
        text = path.read_text()
        assert "unsafe_allow_html" not in text, path
        assert "st.html(" not in text, path
