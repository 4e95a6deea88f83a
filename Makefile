# Two commands for a fresh machine: `make demo` and `make test`. `make check` is what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-gpu check format lint imports types doctest wheel docs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python cli.py fit --config rgb_bilateral.yaml

test: $(VENV)/.installed
	$(BIN)/python -m pytest tests -n auto

# What takes long, one test each of whose kind is in `make test`, too.
test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest tests -n auto -m "slow and not gpu and not mps and not network"

# On a machine with an NVIDIA GPU or Apple's: everything that needs one.
test-gpu: $(VENV)/.installed
	$(BIN)/python -m pytest tests -m "gpu or mps" -rs

check: format lint imports types test test-slow doctest

format: $(VENV)/.installed
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed
	$(BIN)/ruff check .

imports: $(VENV)/.installed
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/mypy

doctest: $(VENV)/.installed
	$(BIN)/python -m pytest peekaboo --doctest-modules

wheel: $(VENV)/.installed
	.ci/wheel

# The site of the docs, in build/site; fails for a broken link.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

clean:
	rm -rf $(VENV) build *.egg-info
