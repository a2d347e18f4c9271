# The set-up is in the targets: `make all` and `make test` need nothing but Python 3.11 and make.
PYTHON ?= python3
CORES ?= 4
PORT ?= 5000
BIND ?= 127.0.0.1
HOSTS ?=
TIER ?= laptop
STORE ?= sqlite:///results/mlflow.db
ARTIFACTS ?= results/mlartifacts
KILLS ?= 100
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TESTABLE := $(VENV)/testable
NEWEST := .venv-newest
PINNED := tests/test_environment.py::test_what_is_installed_here_is_what_is_pinned
# PyTorch's own index alone has torch and torchvision without CUDA.
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)')
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile --constraint constraints.txt $(INDEX) --editable

# MLflow's server answers requests that name it so, which keeps pages of other sites out: by the names
# and addresses of this machine, at any port (a tunnel has one of its own), and by those in HOSTS.
comma := ,
empty :=
ADDRESSES = $(foreach address,$(shell hostname -I 2>/dev/null),$(if $(findstring :,$(address)),,$(address)))
NAMES = $(sort localhost 127.0.0.1 $(BIND) $(shell hostname; hostname -f 2>/dev/null) $(ADDRESSES) \
	$(subst $(comma), ,$(HOSTS)))
listed = $(subst $(empty) $(empty),$(comma),$(strip $(foreach name,$(NAMES),$(1)$(name) $(1)$(name):*)))

# pip leaves compiling to the first import, which must keep what it compiled, or every process does it anew.
unexport PYTHONDONTWRITEBYTECODE

# MLflow's server tells its makers of its use, and waits for jobs of language models, unless told not to.
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false

# A test file goes to one of the processes, so that its fixtures are made once.
SPREAD := --numprocesses auto --dist loadfile --no-loadscope-reorder
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

.PHONY: all figures companion prepare test test-fast test-all test-newest check update bench ui server \
	track crate torture clean help

# An environment is of one folder, which its scripts name, and of one Python. Its mark says of which.
IDENTITY = $$({ cd $(VENV) && pwd -P && bin/python -c 'import sys; print(sys.version)'; } 2>/dev/null || echo none)
ifneq ($(shell test "$(IDENTITY)" = "$$(cat $(INSTALLED) 2>/dev/null)" && echo same),same)
.PHONY: $(INSTALLED)
endif

all: $(INSTALLED) ## Install what is missing and make every figure and table
	$(BIN)/snakemake --cores $(CORES) all

figures: $(INSTALLED) ## Make the paper's figures and tables: take released weights, train the rest
	$(BIN)/snakemake --cores $(CORES) all --configfile config/paper.yaml

prepare: $(INSTALLED) ## Fetch all that comes from outside, for machines that have no way out
	$(BIN)/snakemake --cores 1 fetch_images

companion: $(INSTALLED) ## Make the page to play with of the released weights, without training
	@$(BIN)/python -m dgmpipe.plan.released config/paper.yaml
	$(BIN)/snakemake --cores $(CORES) --configfile config/paper.yaml -- results/paper/companion.html

test: $(TESTABLE) check ## Install what is missing, check and run the tests
	$(PYTEST) -m 'not slowest'

test-fast: $(TESTABLE) ## Run the quick tests, for work on one module
	$(PYTEST) -m 'not slow and not slowest'

test-all: $(TESTABLE) check ## Run every test, those with kills, SLURM, PostgreSQL and a browser too
	$(PYTEST)

test-newest: ## Run the tests of make test-fast in an environment of the newest versions of everything
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --upgrade pip
	$(NEWEST)/bin/python -m pip --disable-pip-version-check install --quiet --no-compile $(INDEX) --editable '.[test]'
	$(NEWEST)/bin/python -m pip check
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest $(SPREAD) -m 'not slow and not slowest' --deselect $(PINNED)

check: $(TESTABLE) ## Check style, format, types and the workflow's structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

update: $(TESTABLE) ## Bring constraints.txt up to the newest versions that fit together
	$(PIP) install --quiet --upgrade pip # older ones search for minutes
	$(PIP) install --quiet --dry-run --ignore-installed --report $(VENV)/newest.json $(INDEX) '.[test]'
	$(BIN)/python .ci/constraints.py $(VENV)/newest.json constraints.txt

bench: $(TESTABLE) ## Measure the speed of everything and write docs/benchmarks.md, on a quiet machine
	$(BIN)/python benchmarks/bench.py $(SECTIONS)

ui: $(INSTALLED) ## Show the runs in MLflow on http://127.0.0.1:5000 (PORT=... for another port)
	$(BIN)/mlflow ui --host 127.0.0.1 --port $(PORT) --backend-store-uri sqlite:///results/mlflow.db

server: $(INSTALLED) ## Serve MLflow to other machines: make server BIND=login1 STORE=postgresql://...
	@echo 'The server answers to: $(NAMES) (HOSTS=name,name adds others)'
	@$(BIN)/mlflow server --host '$(BIND)' --port '$(PORT)' --artifacts-destination '$(ARTIFACTS)' \
		--allowed-hosts '$(call listed,)' --cors-allowed-origins '$(call listed,http://),$(call listed,https://)'

# Not among the arguments, where everybody on this machine would see a password in it.
server: export MLFLOW_BACKEND_STORE_URI := $(STORE)

track: $(INSTALLED) ## Log to MLflow what it missed of the runs under results/
	$(BIN)/dgmpipe track

crate: $(INSTALLED) ## Pack a tier for a reviewer into results/TIER-crate.zip (make crate TIER=paper)
	$(BIN)/dgmpipe crate results/$(TIER) --output results/$(TIER)-crate.zip --force

torture: $(INSTALLED) ## Kill trainings of every model KILLS times (100) and compare what comes out
	$(BIN)/python tests/torture.py --kills $(KILLS)

clean: ## Remove the environments; results stay
	rm -rf $(VENV) $(NEWEST)

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

# An environment without its mark was left half-made, and is made anew. Python compiles what it imports,
# once; pip would compile all of it, which takes minutes.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name a newer one, as in: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) cannot make environments; install its venv module (on Debian: apt install python3-venv)"; exit 1; }
	@test "$(IDENTITY)" = "$$(cat $@ 2>/dev/null)" || $(PYTHON) -m venv --clear $(VENV)
	rm -f $@
	$(INSTALL) .
	$(PIP) check
	@echo "$(IDENTITY)" > $@

# The tools of the tests, beside all that is there; a new environment has none.
$(TESTABLE): $(INSTALLED)
	$(INSTALL) '.[test]'
	$(PIP) check
	@touch $@
