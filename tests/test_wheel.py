"""What is in the wheel: everything that a preset needs, and no more than it may weigh."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tfrestore.models.presets import preset_names, shipped_presets

ROOT = Path(__file__).parent.parent
LARGEST_WEIGHTS = 60 * 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built without a network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("tfrestore", "serving", "tuning"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "-w", "out", "."], cwd=source, check=True)
    (path,) = (source / "out").glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_preset_is_in_the_wheel_with_all_its_files(wheel):
    names = set(wheel.namelist())
    for name in preset_names():
        assert any(each.endswith(f"/presets/{name}.yaml") for each in names), name
    for preset in shipped_presets():
        inside = f"tfrestore/models/{preset.family}/presets/{preset.name}"
        for file in preset.folder.iterdir():
            assert wheel.read(f"{inside}/{file.name}") == file.read_bytes()


def test_the_weights_together_are_at_most_60_mib(wheel):
    sizes = [each.file_size for each in wheel.infolist() if each.filename.endswith(".h5")]
    assert len(sizes) == len(shipped_presets())
    assert sum(sizes) <= LARGEST_WEIGHTS
    assert sum(each.compress_size for each in wheel.infolist()) <= LARGEST_WEIGHTS
