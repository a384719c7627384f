# Two commands do all set-up: `make demo` and `make test`. PYTHON names a Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

.PHONY: demo preset test test-all lint clean

demo: $(VENV)/installed  ## install, run the whole pipeline on the embedded data set, print what it gave
	dvc repro
	@cat results/clusters.json results/metrics.json
	@echo "pictures: results/images.png results/clusters.png results/rows.png results/grid.png results/snapshots.png; curve: results/denoiser/curve.csv"

preset: $(VENV)/installed  ## NAME=voc64_boxed: write params.yaml, whole; what differs is in presets/
	@python -m selfguide.presets "$(NAME)"

test: $(VENV)/installed-dev  ## linters aside, everything that CI checks, in a few minutes
	python -m pytest

test-all: $(VENV)/installed-dev  ## with the slow tests, and new examples for the property tests
	HYPOTHESIS_PROFILE=random python -m pytest -m "not gpu"

lint: $(VENV)/installed-dev
	ruff format --check .
	ruff check .
	mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:  ## remove the environment and everything computed; raw data stays
	git clean -fdxq -e /data/raw -e '*.dvc' data models logs
	rm -rf $(VENV) .scratch .dvc/cache .dvc/tmp
