import subprocess
import sys

import pytest

from tfrestore import audio


def test_every_public_name_can_be_loaded():
    for name in audio.__all__:
        assert getattr(audio, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = audio.nothing


def test_importing_the_package_loads_no_library():
    script = (
        "import sys, tfrestore.audio; "
        "print([m for m in ('tensorflow', 'soundfile', 'soxr', 'lameenc', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
