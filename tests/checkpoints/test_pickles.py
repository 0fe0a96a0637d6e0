"""No pickle in these files may do anything."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import pytest

from tfrestore.checkpoints import open_checkpoint
from tfrestore.checkpoints.pickles import LARGEST_PICKLE, MalformedError, load_pickle
from tfrestore.errors import InputError


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = function, arguments, state

    def __reduce__(self):
        return self.reduced


def archive_of(path, program):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", program)
        archive.writestr("model/version", b"3\n")
    return path


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def malicious(marker):
    """Pickles that would make the file `marker`, each with the name that the answer has to hold."""
    command = f"touch {marker}"
    system = f"{os.system.__module__}.system"
    for protocol in range(6):
        yield pickle.dumps(Calls(os.system, command), protocol), system
        yield pickle.dumps({"state_dict": {"a": Calls(os.system, command)}}, protocol), system
        yield pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')"), protocol), "eval"
        yield pickle.dumps(Calls(subprocess.Popen, ["touch", str(marker)]), protocol), "Popen"
    yield b"(S'" + command.encode() + b"'\nios\nsystem\n.", "os.system"
    yield b"(cos\nsystem\nS'" + command.encode() + b"'\no.", "os.system"
    yield b"\x80\x02\x82\x01.", "EXT1"
    yield (
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.",
        "os.system",
    )
    yield b"\x80\x02c__builtin__\ngetattr\n.", "builtins.getattr"
    yield b"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"
    yield b"\x80\x02cargparse\nNamespace\n)R.", "argparse.Namespace"
    yield b"\x80\x02comegaconf.dictconfig\nDictConfig\n)\x81.", "omegaconf.dictconfig.DictConfig"
    yield b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93.", "fromkeys"


def test_a_malicious_pickle_is_refused_by_name_and_nothing_is_run(tmp_path):
    marker = tmp_path / "marker"
    for number, (program, name) in enumerate(malicious(marker)):
        for path in (archive_of(tmp_path / f"{number}.pt", program), tmp_path / f"{number}.bin"):
            if path.suffix == ".bin":
                path.write_bytes(program)
            with pytest.raises(InputError) as caught, open_checkpoint(path):
                pass
            assert name in str(caught.value)
            assert "nothing of it was run" in str(caught.value)
    assert not marker.exists()


def test_a_refused_name_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "tfrestore_trap.py").write_text("class Trap: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = archive_of(tmp_path / "model.pt", b"\x80\x02ctfrestore_trap\nTrap\n)R.")
    with pytest.raises(InputError, match="tfrestore_trap.Trap"), open_checkpoint(path):
        pass
    assert "tfrestore_trap" not in sys.modules


def load(program):
    return load_pickle(io.BytesIO(program), lambda identity: None)


@pytest.mark.parametrize(
    "program",
    [
        # State for a name of the table, for a tensor's element type, and for a list.
        b"\x80\x02ccollections\nOrderedDict\n}" + text("__call__") + text("x") + b"sb.",
        b"\x80\x02ctorch\nfloat32\n}" + text("name") + text("x") + b"sb.",
        b"\x80\x02]}b.",
        # A name that is no call, a value that is called, arguments that are no tuple.
        b"\x80\x02ctorch\nfloat32\n)R.",
        b"\x80\x02" + text("os.system") + b")R.",
        b"\x80\x02ccollections\nOrderedDict\n]R.",
        # Adding to a tuple, to text; keys without a value; a list as a key.
        b"\x80\x02)K\x01a.",
        b"\x80\x02" + text("a") + b"K\x01K\x02s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02}))K\x01s.",
        # Wrong arguments for what may be called.
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02))tR.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
        b"\x80\x02c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.",
        b"\x80\x02c__builtin__\nset\n" + text("abc") + b"\x85R.",
        b"\x80\x02c__builtin__\ncomplex\n" + text("1") + b"\x85R.",
        b"\x80\x02ctorch\nSize\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nR.",
        # A persistent id that is no storage.
        b"\x80\x02K\x01Q.",
        b"\x80\x02(" + text("module") + b"K\x01K\x01K\x01K\x01tQ.",
        # Lengths without bytes, memo entries that are none, an empty stack, no end.
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x80\x02h\x05.",
        b"\x80\x02.",
        b"\x80\x02K\x01",
        b"\x80\x02t.",
    ],
)
def test_a_program_that_pytorch_does_not_write_is_malformed(program):
    with pytest.raises(MalformedError):
        load(program)


def test_a_place_in_the_memo_costs_nothing_however_large():
    assert load(b"\x80\x02K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff.") == 1


def test_containers_that_hold_each_other_a_billion_times_are_opened_at_once(tmp_path):
    program = b"\x80\x02]q\x00" + 60 * b"h\x00h\x00\x86q\x00" + b"."
    path = archive_of(tmp_path / "laughs.pt", program)
    with open_checkpoint(path) as content:
        assert isinstance(content, tuple)


def test_a_pickle_nested_a_hundred_thousand_deep_is_opened(tmp_path):
    path = archive_of(tmp_path / "deep.pt", b"\x80\x02)" + b"\x85" * 100_000 + b".")
    with open_checkpoint(path) as content:
        assert len(content) == 1


def test_a_pickle_beyond_any_model_is_refused(tmp_path):
    path = archive_of(tmp_path / "long.pt", b"\x80\x02}" + b"0}" * (LARGEST_PICKLE // 2) + b".")
    with pytest.raises(InputError, match="bytes"), open_checkpoint(path):
        pass


def test_a_hostile_name_reaches_the_terminal_as_plain_text(tmp_path):
    program = b"\x80\x04" + text("os\x1b[31m") + text("system\n") + b"\x93."
    path = archive_of(tmp_path / "model.pt", program)
    with pytest.raises(InputError) as caught, open_checkpoint(path):
        pass
    assert str(caught.value).replace(str(path), "").isprintable()
