# Every target makes its own environment (.venv) first. PYTHON names the interpreter to make it with (3.11 to 3.13).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
READY := $(VENV)/.ready

.PHONY: setup demo test coverage check types docs bench web web-page web-test clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=/path/to/python setup"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: setup
	$(BIN)/python scripts/demo.py

test coverage: export OMP_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

# Which lines tests reach; takes half as long again.
coverage: setup
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal --cov=trackertraincode

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types

types: setup
	$(BIN)/mypy trackertraincode scripts docs benchmarks tests

docs: setup
	$(BIN)/python docs/build.py

bench: setup
	$(BIN)/python benchmarks/speed.py --output docs/speed.md $(if $(AFLW2K),--aflw2k $(AFLW2K))

# The page that tracks heads in a browser; needs Node.js 20 or newer. web-test also needs Chromium (CHROMIUM names it).
web: setup web-page
	$(BIN)/python -m trackertraincode web

web-page: web/node_modules/.ready
	cd web && npm run --silent build

web/node_modules/.ready: web/package-lock.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer is needed, with npm: https://nodejs.org"; exit 1; }
	cd web && npm ci --silent
	@touch $@

web-test: setup web-page
	cd web && PATH="$(abspath $(BIN)):$$PATH" npm test

clean:
	rm -rf $(VENV) demo build dist web/node_modules trackertraincode/web/page
