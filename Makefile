# `make demo` and `make test` set up everything that they need in .venv.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
NEWEST ?= $(shell for p in python3.14 python3.13 python3.12; do \
	  $$p -c '' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
READY := $(VENV)/.ready
export JAX_PLATFORMS ?= cpu
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test quick-test test-newest test-all test-install fault docs docs-check docs-serve lint format typecheck benchmark kit results rerun clean

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "dgmjax needs Python 3.11 or newer; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## train a VAE on the built-in digits and write its report
	$(BIN)/dgmjax train vae_digits

test: $(READY)  ## what continuous integration runs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not fault"

quick-test: $(READY)  ## three minutes of it; tests/quick.txt lists the files
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not fault" $$(grep -v '^#' tests/quick.txt)

test-newest:  ## the same on a newer Python, with the newest JAX that the constraints name
	@test -n "$(NEWEST)" || echo "No Python 3.12 or newer was found; set NEWEST=/path/to/python."
	@test -z "$(NEWEST)" || $(MAKE) test PYTHON=$(NEWEST) VENV=.venv-newest

test-all: $(READY)  ## the slow tests, too
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-install: $(READY)  ## wheel and sdist, installed from the package index into fresh environments
	$(BIN)/python -m pytest -s -m slow tests/test_install.py

fault: $(READY)  ## kills, corruption and other faults, each with its figure
	$(BIN)/python -m pytest -m fault -s

docs: $(READY)  ## the documentation, in build/docs; tutorials are executed, warnings are errors
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

docs-check: $(READY)  ## the same, and that no link is broken; what continuous integration runs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m pytest -s -m slow tests/docs -k site

docs-serve: docs  ## the same, read at http://localhost:8000
	$(BIN)/python -m http.server --bind localhost --directory build/docs 8000

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(READY)
	$(BIN)/mypy

benchmark: $(READY)  ## speed against other libraries; installs them into .peers
	sh benchmarks/install_peers.sh
	$(BIN)/python -m benchmarks.run

TARGET ?= cuda13
kit: $(READY)  ## wheels, data, tests and benchmarks for a machine without a network, in build/kit
	$(BIN)/python -m kit.build --target $(TARGET) $(if $(DGMJAX_DATA),--data $(DGMJAX_DATA))

results: $(READY)  ## the tables of README.md and benchmarks/RESULTS.md, from benchmarks/records
	$(BIN)/python benchmarks/results_table.py

rerun: $(READY)  ## the commands of short records, again; benchmarks/RERUN.md says what moved
	$(BIN)/python -m benchmarks.rerun

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
