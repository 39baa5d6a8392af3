"""A result says which code it belongs to."""

from pathlib import Path

from harness.worker import blueprint, sources


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "variant.py"
    file.write_text("a = 1\n")
    before = sources.of_file(file)
    file.write_text("a = 2\n")
    assert sources.of_file(file) != before
    assert len(before) == sources.DIGITS


def test_a_changed_moved_or_added_kernel_changes_the_fingerprint_of_the_models(
    tmp_path: Path,
) -> None:
    (tmp_path / "kernels").mkdir()
    kernel = tmp_path / "kernels" / "dense.py"
    kernel.write_text("a = 1\n")
    seen = {sources.of_models.__wrapped__(tmp_path)}
    kernel.write_text("a = 2\n")
    seen.add(sources.of_models.__wrapped__(tmp_path))
    kernel.rename(tmp_path / "dense.py")
    seen.add(sources.of_models.__wrapped__(tmp_path))
    (tmp_path / "new.py").write_text("")
    seen.add(sources.of_models.__wrapped__(tmp_path))
    assert len(seen) == 4


def test_editing_a_variant_of_ones_own_changes_what_its_cell_says(job, tmp_path: Path) -> None:
    original = Path(job().plugins[0])
    plugin = tmp_path / original.name
    plugin.write_text(original.read_text())
    assert drawn(job, plugin) == drawn(job, original)
    plugin.write_text(plugin.read_text() + "\n# edited\n")
    assert drawn(job, plugin) != drawn(job, original)


def drawn(job, plugin: Path) -> str:
    return blueprint.draw(job().cell, (str(plugin),)).source
