# Two commands for a fresh machine: `make demo` and `make test`. `make check` is what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-gpu check format lint types doctest clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python cli.py fit --config depth_bilateral.yaml

test: $(VENV)/.installed
	$(BIN)/python -m pytest tests

# On a machine with an NVIDIA GPU or Apple's: everything that needs one.
test-gpu: $(VENV)/.installed
	$(BIN)/python -m pytest tests -m "gpu or mps" -rs

check: format lint types test doctest

format: $(VENV)/.installed
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed
	$(BIN)/ruff check .

types: $(VENV)/.installed
	$(BIN)/mypy

doctest: $(VENV)/.installed
	$(BIN)/python -m pytest peekaboo --doctest-modules

clean:
	rm -rf $(VENV) build *.egg-info
