"""Programs in `benchmarks/` are run by hand and seldom; here at least all of them start."""

import importlib
import pkgutil
import runpy

import pytest

import benchmarks

MODULES = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
PROGRAMS = [
    name for name in MODULES if hasattr(importlib.import_module(f"benchmarks.{name}"), "main")
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_says_what_it_measures_and_how_it_is_called(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    assert not end.value.code
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m benchmarks.{name} ") and "options:" in shown
