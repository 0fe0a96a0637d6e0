# Two commands do everything on a machine that has Python 3.11 and make:
#   make demo   trains, evaluates, exports and restores with a tiny model, and shows before and after
#   make test   the linter and all tests
PYTHON ?= python3
BIN := .venv/bin
# What TensorFlow says while it starts is of no use to somebody who trains a model.
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: demo test lint format install clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip<26"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,tfio,serving,tuning]"
	$(BIN)/python -m pip check
	touch $@

demo: install
	$(BIN)/tfrestore demo --out demo

test: lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo build *.egg-info
