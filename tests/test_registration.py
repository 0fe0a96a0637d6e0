import subprocess
import sys

import pytest

CLASSES = ["UNet", "InpainterRestorer", "InpainterTrainer", "STFT", "GriffinLim", "GapDetection"]
CLASSES += ["MultiResolutionSTFTDiscriminator", "SpectralNormalizedConv2D"]
CHECK = f"""
import sys, keras
registered = keras.saving.get_custom_objects()
missing = [name for name in {CLASSES} if f"tfrestore>{{name}}" not in registered]
print("missing", missing)
"""


def run(script):
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_package_loads_no_library_and_no_class():
    script = (
        "import sys, tfrestore, tfrestore.models, tfrestore.layers, tfrestore.data\n"
        "import tfrestore.restore, tfrestore.models.presets, tfrestore.output_files\n"
        "heavy = {'keras', 'tensorflow', 'soundfile', 'soxr', 'lameenc', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(script) == "[]\n"


@pytest.mark.parametrize(
    "first",
    [
        "import keras, tfrestore",
        "import tfrestore.models.inpainter.recipe",
    ],
)
def test_every_class_is_registered_whatever_is_imported_first(first):
    assert run(f"{first}\n{CHECK}") == "missing []\n"


def test_a_saved_restorer_loads_where_only_the_package_was_imported(random_run, tmp_path):
    from tfrestore.restorer import Restorer

    path = tmp_path / "restorer.keras"
    Restorer.from_preset(random_run).save(path)
    script = (
        f"import tfrestore, keras\nprint(type(keras.saving.load_model({str(path)!r})).__name__)"
    )
    assert run(script) == "InpainterRestorer\n"
