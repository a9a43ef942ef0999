# Thin on purpose: every target is one command you could type yourself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
PACKAGES := runtime/kaas gpu-pool/kaas_pool cuda-emulator/kaas_emulator action-proxy/kaas_proxy local/kaas_local cli/kaas_cli
CODE := $(wildcard $(PACKAGES) scripts benchmarks examples) tests/conftest.py
# Much of a test is waiting for processes that start: one more than there are cores, and each has servers of its own.
JOBS ?= $(shell echo $$(($$(nproc) < 7 ? $$(nproc) + 1 : 8)))
TEST_FOLDERS := $(sort $(dir $(wildcard tests/*/*.py)))

.PHONY: help setup demo test test-all test-plugin test-cluster fuzz lint up down bench gpu-check lock clean

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:  ## Make .venv with everything in it, .venv/bin/kaas included (KAAS_PYTHON picks the interpreter)
	@bash scripts/setup.sh

demo: setup  ## Start the whole stack here, run kernel actions from S3 to S3, check them, stop
	@.venv/bin/kaas demo

test: setup  ## Unit, contract and integration tests, in several processes (JOBS=0: in one)
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-all: setup  ## Everything, slow and end-to-end tests included
	$(PYTHON) -m pytest --slow $(wildcard tests/unit tests/contract tests/integration tests/fuzz tests/e2e tests/gpu) $(ARGS)
	@if command -v mvn >/dev/null; then $(MAKE) test-plugin; else echo "not run: make test-plugin, there is no mvn"; fi

test-plugin: setup  ## Build and test the invoker plugin, with a real pool (JDK 17, Maven)
	KAAS_TEST_PYTHON=$(abspath $(PYTHON)) mvn -B -q -f invoker-plugin/pom.xml verify

test-cluster: setup  ## Install the chart into the cluster of kubectl's context, in namespaces of its own (docs/deploy)
	KAAS_TEST_CLUSTER=1 $(PYTHON) -m pytest tests/cluster $(ARGS)

fuzz: setup  ## Feed made and damaged inputs to whatever reads them (CASES=100000 SEED=1)
	KAAS_FUZZ_CASES=$(or $(CASES),100000) KAAS_FUZZ_SEED=$(or $(SEED),1) \
	    $(PYTHON) -m pytest tests/fuzz --timeout 3600 --hypothesis-seed $(or $(SEED),1) $(ARGS)

lint: setup  ## ruff and mypy, as strict as they go
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy $(CODE)
	@# Apart, because each folder may have a conftest.py of its own.
	@set -e; for folder in $(TEST_FOLDERS); do echo "mypy $$folder"; $(PYTHON) -m mypy $$folder; done

up: setup  ## Start the object store and the GPU pool on this machine
	@.venv/bin/kaas up

down:  ## Stop them
	@.venv/bin/kaas down

bench: setup  ## Measure what this machine can measure
	$(PYTHON) benchmarks/run.py $(ARGS)

gpu-check:  ## Check a machine with an NVIDIA driver; WHEELS=dir works with no network
	@WHEELS="$(WHEELS)" bash scripts/gpu-check.sh

lock:  ## Regenerate the lock files from pyproject.toml
	@bash scripts/lock.sh

clean:  ## Remove what setup and the tools made in this folder
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
