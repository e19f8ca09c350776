# Verbs for people and for CI: `make help`. Needs only make and Python >= 3.11; everything else is set up on first use, and a set-up
# that was interrupted goes on where it stopped.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

BOOT := build/boot
UV := $(BOOT)/bin/uv
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
MEMBERS := optimizer-jobs operator cli
export UV_PYTHON_DOWNLOADS := never
unexport PYTHONSAFEPATH

.PHONY: help setup demo demo-down test e2e e2e-replayed check bench crds images model requirements format
help: ## List these verbs
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r verb what; do printf '  make %-14s %s\n' "$$verb" "$$what"; done

setup: $(VENV)/.stamp ## Set up .venv with hash-locked tools and the three members

demo: may-run-pods $(VENV)/.stamp ## The main job end to end on a real cluster (root on Linux, or KUBECONFIG)
	@$(BOOTSTRAP)
	$(PY) -m e2e.demo

demo-down: $(VENV)/.stamp ## Remove everything the demo made
	$(PY) -m e2e.demo down

test: $(VENV)/.stamp ## Unit and integration tests, against a real API server; no root
	$(PY) -m e2e.embedded binaries tests >/dev/null
	$(BIN)/pytest $(ARGS)

e2e: may-run-a-node $(VENV)/.stamp ## The scenarios on a full node with the real engine (root on Linux)
	@$(PY) -m e2e.embedded bootstrap
	$(BIN)/pytest e2e/scenarios --ignore $(REPLAYED) $(ARGS)

# Apart from the others, whose node stays up to their end: limits are a fifth to a seventh of the recorded ones, and beside other work
# its trials may be void.
e2e-replayed: may-run-a-node $(VENV)/.stamp ## A cluster of replayed GPUs on a full node; wants a quiet machine (root on Linux)
	@$(PY) -m e2e.embedded bootstrap
	$(BIN)/pytest $(REPLAYED) $(ARGS)

REPLAYED := e2e/scenarios/test_replayed_cluster.py

check: $(VENV)/.stamp ## Format, lint, types, import contracts, generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy -p e2e
	$(BIN)/lint-imports
	$(PY) -m rightsizer_operator.resource.crd --check
	@if git grep -nIE '$(REGISTRY_HOSTS)' -- . ':!Makefile'; then echo 'error: the lines above name a registry host' >&2; exit 1; fi
	@if git grep -nIE '$(MACHINE_PATHS)'; then echo 'error: the lines above name a path of one machine' >&2; exit 1; fi

# Package and image registries have no place in the tree: lock files and scripts must work behind any mirror.
REGISTRY_HOSTS := ://[A-Za-z0-9.-]*(pypi|pythonhosted|npmjs|proxy\.golang|sum\.golang|crates|deb\.debian|maven)[A-Za-z0-9.-]*\.(org|io|com)
MACHINE_PATHS := (^|[^A-Za-z0-9])/(work|farm|root|home|Users)/

bench: $(VENV)/.stamp ## Every benchmark in turn
	@for name in $(filter-out occasion,$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py))); do \
	  echo "== $$name"; timeout $(BENCH_LIMIT_S) $(PY) -m benchmarks.$$name; echo; done

BENCH_LIMIT_S := 2400

crds: $(VENV)/.stamp ## Generate crds/ from the resource types
	$(PY) -m rightsizer_operator.resource.crd

images: $(VENV)/.stamp ## Build the container images
	$(PY) -m e2e.images

model: $(VENV)/.stamp ## Train the demo's model again
	$(PY) -m e2e.model

format: $(VENV)/.stamp ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

requirements: $(VENV)/.stamp ## Compile the lock files again (Python and Go)
	cd requirements && for name in bootstrap go; do ../$(UV) pip compile $(COMPILE) $$name.in -o $$name.txt; done
	$(UV) pip compile $(COMPILE) --group dev --all-extras $(MEMBERS:%=%/pyproject.toml) \
	  --no-emit-package rightsizer-jobs --no-emit-package rightsizer-operator --no-emit-package rightsizer-cli -o requirements/dev.txt
	UV=$(UV) requirements/compile-images.sh
	$(PY) -m e2e.embedded lock

COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header

.DEFAULT:
	@echo "error: no verb '$@' here, nor a file of that name that is needed; \`make help\` lists the verbs" >&2; exit 2

.PHONY: may-run-pods may-run-a-node
may-run-pods:
	@if [ "$$(id -u)" != 0 ] && [ -z "$${KUBECONFIG:-}" ]; then \
	  echo 'error: this needs a cluster that runs pods. Either run it as root on Linux (it then starts one of its own),' >&2; \
	  echo '       or set KUBECONFIG to a cluster you may use. Nothing was started or changed.' >&2; exit 1; fi

# The scenarios hang engines, damage weights and kill the operator: never on a cluster that somebody else may use.
may-run-a-node:
	@if [ "$$(id -u)" != 0 ]; then \
	  echo 'error: this starts a node of its own: run it as root on Linux. Nothing was started or changed.' >&2; exit 1; fi
	@if [ -n "$${KUBECONFIG:-}" ]; then \
	  echo 'KUBECONFIG is not used here: the scenarios run on a node of their own, which is removed afterwards.' >&2; fi

# What a node of our own needs from Debian; a given cluster needs nothing.
BOOTSTRAP := [ -n "$${KUBECONFIG:-}" ] || $(PY) -m e2e.embedded bootstrap

# --- set-up; each stamp stands for one finished step

$(BOOT)/.stamp: requirements/bootstrap.txt
	@python=; for name in $${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo 'error: no Python >= 3.11 found; install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; fi; \
	echo "setting up $(BOOT) with $$($$python --version)"; \
	$$python -m venv --clear $(BOOT) || { echo 'error: this Python has no venv; on Debian: apt-get install python3-venv' >&2; exit 1; }; \
	$(BOOT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.stamp: $(BOOT)/.stamp requirements/dev.txt $(MEMBERS:%=%/pyproject.toml)
	@[ -x $(PY) ] || $(UV) venv --quiet --python $(BOOT)/bin/python $(VENV)
	@echo 'setting up $(VENV)'
	@$(UV) pip install --quiet -p $(PY) --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet -p $(PY) --no-deps --no-build-isolation $(MEMBERS:%=-e ./%)
	@touch $@
