# make demo    see it work: a sealed daemon, a bundle, a builder, a build
# make test    everything that CI runs
.PHONY: demo test coverage lint bed bench fuzz schemas share site format clean

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BED = tests/engines/bed.py
AT_ONCE = --numprocesses 3 --dist loadgroup --no-loadscope-reorder

$(VENV)/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.made
	$(BIN)/python -m tests.engines.demo

test: lint bed
	$(BIN)/python -m pytest $(AT_ONCE)

# The same tests, and which lines they run: not in CI, since it takes a third more time.
coverage: lint bed
	$(BIN)/coverage run -m pytest $(AT_ONCE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.made
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Real engines, builders and registries, in a cache; see tests/engines/README.md.
bed: $(VENV)/.made
	$(BIN)/python $(BED)

bench: $(VENV)/.made bed
	$(BIN)/python -m tests.bench

# A million inputs for whatever reads a bundle; INPUTS=10000 for a look.
fuzz: $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(INPUTS)

schemas: $(VENV)/.made
	$(BIN)/python -m schemas.generate

share: $(VENV)/.made
	$(BIN)/python -m share.generate

# The documentation as a site, in docs/site/.
site: $(VENV)/.made
	rm -rf docs/site
	$(BIN)/zensical build --clean --strict --config-file docs/en.yml
	$(BIN)/zensical build --clean --strict --config-file docs/zh.yml

format: $(VENV)/.made
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) dist docs/site docs/.cache .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
