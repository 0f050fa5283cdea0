# Two commands do everything from a fresh clone: `make demo` and `make test`. Each sets up what it needs.
# Python 3.13 is found by .ci/python; Node and its packages come from the registries, for tests only.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
CORPUS := $(wildcard ../shared/azure-data)
KEYDRIFT_CORPUS ?= $(if $(CORPUS),$(abspath $(CORPUS)))
export KEYDRIFT_CORPUS
# checkov pins many packages, so it has a place of its own
CHECKOV := .checkov
SBOM ?= dist/sbom.cdx.json
# Three workers: the suite is made for two cores, and some tests wait for processes of their own
WORKERS ?= 3

.PHONY: help setup demo test check lint types unit infra tables fuzz fuzz-inputs audit sbom bench bench-peers lock clean simulate kill

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(STAMP) ## make .venv with the keydrift command in it

$(STAMP): requirements-dev.txt pyproject.toml
	@python=$$(.ci/python) && echo "setting up $(VENV) with $$($$python --version): about half a minute" && $$python -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the story of four lost keys, live (ARGS=--once ends by itself)
	@$(VENV)/bin/keydrift demo $(ARGS)

test: check infra unit ## everything that CI runs

check: lint types

lint: $(STAMP)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .

types: $(STAMP)
	@$(VENV)/bin/mypy

unit: $(STAMP)
	@$(VENV)/bin/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

infra: $(CHECKOV)/.set-up ## checkov over infra/
	@$(CHECKOV)/bin/python .ci/checkov.py

$(CHECKOV)/.set-up: .ci/checkov.txt
	@python=$$(.ci/python) && echo "setting up $(CHECKOV): about half a minute" && $$python -m venv --clear $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/checkov.txt
	@touch $@

tables: $(STAMP) ## infra/tables.json anew from src/keydrift/tables.py
	@PYTHONPATH=src:tests $(PY) -m support.log_tables

fuzz: $(STAMP) ## the evaluator beside an independent oracle, on 200,000 random tenants
	@$(PY) tests/fuzz.py $(ARGS)

simulate: $(STAMP) ## the whole monitor in simulated worlds (SEEDS=10000; REPLAY=file plays a kept history)
	@PYTHONPATH=tests $(PY) tests/simulation/run.py $(if $(REPLAY),--replay $(REPLAY),--seeds $(or $(SEEDS),1000)) $(ARGS)

fuzz-inputs: $(VENV)/.fuzz ## every reader of others' input, guided by coverage (SECONDS=600)
	@$(PY) tests/fuzz_inputs.py --seconds $(or $(SECONDS),600) --workers $(WORKERS) $(ARGS)

$(VENV)/.fuzz: $(STAMP) .ci/fuzz.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/fuzz.txt
	@touch $@

audit: $(STAMP) ## ask PyPI's advisories about every pin; without them it fails
	@$(PY) .ci/audit.py

sbom: $(STAMP) ## what is deployed, as CycloneDX, in dist/sbom.cdx.json
	@mkdir -p $(dir $(SBOM))
	@$(PY) -W ignore -m cyclonedx_py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON --sv 1.6 $(or $(ARGS),--validate) -o $(SBOM)

kill: $(STAMP) ## the function app, killed under load again and again (KILLS=200)
	@PYTHONPATH=src:tests $(PY) tests/kill/run.py --kills $(or $(KILLS),200) $(ARGS)

bench: $(STAMP) ## figures, beside the floor that physics allows (ARGS="--only 4 8"; --quick)
	@$(PY) bench/everything.py $(ARGS)

bench-peers: $(STAMP) ## figures beside Cloud Custodian, Prowler and Cedar, which it installs into .peers/
	@$(PY) bench/everything.py --peers $(ARGS)

lock: $(STAMP) ## pin the dependencies anew, with hashes
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.13 --no-emit-index-url --no-header pyproject.toml -o requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.13 --no-emit-index-url --no-header --extra local --extra dev pyproject.toml -o requirements-dev.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.13 --no-emit-index-url --no-header .ci/checkov.in -o .ci/checkov.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.13 --no-emit-index-url --no-header .ci/fuzz.in -o .ci/fuzz.txt

clean: ## remove what the targets made
	@rm -rf $(VENV) $(CHECKOV) .peers .keydrift .pytest_cache .mypy_cache .ruff_cache .hypothesis
