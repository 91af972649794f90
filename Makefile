# The environment is made once; it is made anew only when what it depends on changes.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: quickstart test test-slow docs benchmark quantizers faults lint format clean

quickstart: $(READY)
	bin/train --flagfile=configs/quickstart.flags

# What Python compiles is kept: for the next call, and for the processes that tests start.
test: $(READY)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "slow or not slow" --hypothesis-profile=deep

# The site, in site/: no network, and no warning. Its search needs a server: python -m http.server -d site
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmark: $(READY)
	TF_ENABLE_ONEDNN_OPTS=1 $(BIN)/python -m benchmarks $(PARTS)

# The table of all quantizers of docs/concepts/quantizers.md.
quantizers: $(READY)
	$(BIN)/python -m benchmarks.quantizers --flagfile=benchmarks/quantizers.flags

# 100 random kills of small runs, and planted faults; FAULTS="--kills=8 --noplanted" for fewer.
faults: $(READY)
	$(BIN)/python tests/faults/harness.py $(FAULTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
