# `make demo` and `make test` start from nothing: they build .venv, and rebuild it only when the
# requirements change. Everything runs on one thread per rank; parallelism comes from MPI.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Two files of tests at a time, then those that start MPI ranks, which need the cores to themselves.
TESTS_OF_ONE_PROCESS := -n 2 --dist loadfile --no-loadscope-reorder -m 'not parallel and not long'
TESTS_OF_RANKS := -m 'parallel and not long'

export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export NUMBA_NUM_THREADS := 1

.PHONY: demo test test-long coverage lint docs clean

demo: .venv/run.stamp
	$(BIN)/mpirun -n 2 $(BIN)/allegro-md inputs/quickstart.toml --overwrite
	@echo; echo "the run directory inputs/run-quickstart:"; ls -l inputs/run-quickstart
	@echo; echo "first and last rows of thermo.csv:"
	@sed -n '1,2p' inputs/run-quickstart/thermo.csv; tail -n 2 inputs/run-quickstart/thermo.csv

test: lint
	$(BIN)/python -m pytest $(TESTS_OF_ONE_PROCESS)
	$(BIN)/python -m pytest $(TESTS_OF_RANKS)

test-long: .venv/dev.stamp
	$(BIN)/python -m pytest -m long --timeout 3600

coverage: .venv/dev.stamp
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(TESTS_OF_ONE_PROCESS)
	$(BIN)/coverage run -m pytest $(TESTS_OF_RANKS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/docs/index.html in a browser"

.venv/python.stamp:
	$(PYTHON) -m venv .venv
	touch $@

.venv/run.stamp: pyproject.toml constraints.txt .venv/python.stamp
	$(INSTALL) -e '.[mpi]'
	touch $@

# What `make demo` needs is among it: one installation instead of two.
.venv/dev.stamp: pyproject.toml constraints.txt .venv/python.stamp
	$(INSTALL) -e '.[mpi,dev,import,lmdb]'
	touch .venv/run.stamp $@

.venv/docs.stamp: pyproject.toml constraints.txt .venv/python.stamp
	$(INSTALL) -e '.[docs]'
	touch $@

clean:
	rm -rf .venv build *.egg-info inputs/run-*
