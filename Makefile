# Every target prints the plain commands that it runs; none needs more than Python 3.11+, git, make.
PYTHON ?= python3
SUITE ?= suites/long_seq.yaml
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GATE_OUT := results/.gate
DEV_READY := $(VENV)/.dev-ready

.PHONY: run test dashboard lint types contracts smoke gate bench gpu gpu-kernels kernels clean

run: $(READY)
	$(BIN)/python -m harness run $(SUITE)

test: $(DEV_READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

dashboard: $(READY)
	$(BIN)/python -m harness dashboard

lint: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/deptry .

types: $(DEV_READY)
	$(BIN)/pyright

contracts: $(DEV_READY)
	$(BIN)/lint-imports

smoke: $(READY)
	$(BIN)/python -m harness run suites/smoke.yaml

# What repeats exactly on any machine, against what is committed. After a change that is meant:
#   python -m harness run suites/exact.yaml
#   python -m harness baseline update latest --to results/baselines/exact.jsonl --accept "why"
gate: $(READY)
	$(BIN)/python -m harness run suites/exact.yaml --out $(GATE_OUT)
	$(BIN)/python -m harness gate latest --out $(GATE_OUT) --baseline results/baselines/exact.jsonl

bench: $(DEV_READY)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable

gpu:
	.ci/gpu

gpu-kernels:
	.ci/gpu-kernels

kernels: $(DEV_READY)
	.ci/kernels

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[tasks]'
	touch $@

$(DEV_READY): $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(READY)
