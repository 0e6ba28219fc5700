# make demo and make test need Python >= 3.10 and nothing else; both install into .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ALL_CORES = OMP_NUM_THREADS=$$(getconf _NPROCESSORS_ONLN)
BINDINGS = tensorrt-cu12-bindings==10.9.0.34 tensorrt-cu12-bindings==11.4.0.106 tensorrt-lean-cu12-bindings==11.4.0.106
WEB = onnxruntime-web@1.30.0 onnxruntime-node@1.30.0
BROWSER = playwright-core@1.65.1 axe-core@4.14.1
IN_PARALLEL = --numprocesses auto --dist worksteal
TRITON_CLIENT = tritonclient==2.73.0 python-rapidjson==1.25
# NumPy 2 past its requirement: of nvidia-pytriton only the server is used, with the runtime in it.
TRITON_SERVER = nvidia-pytriton==0.7.0 onnxruntime==1.23.2 soundfile soxr typer rich

.PHONY: demo install test test-fast test-gpu test-slow bindings embedding browser triton-client triton-server check-extras lint clean

# Exports the demo checkpoint, separates a song made on the spot, prints the figures.
demo: $(VENV)/.export
	$(BIN)/python -m export.demo

install: $(VENV)/.dev

test: $(VENV)/.dev bindings embedding browser triton-client
	$(BIN)/python -m pytest $(IN_PARALLEL)

# For the inner loop: every room, without what traces a network, takes seconds or runs other programs.
test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not seconds and not needs and not slow and not gpu"

# With an NVIDIA GPU and what can use it (TensorRT, TensorRT-RTX, onnxruntime-gpu): parity and latency of every engine form.
test-gpu: $(VENV)/.dev
	$(ALL_CORES) $(BIN)/python -m pytest -m gpu -s

# Full-size networks: minutes and several GB of memory.
test-slow: $(VENV)/.dev triton-server
	$(ALL_CORES) $(BIN)/python -m pytest -m slow

# Every extra of pyproject.toml in an environment of its own, one after the other: 20 minutes, gigabytes of downloads.
check-extras: $(VENV)/.dev
	$(BIN)/python .ci/extras

# TensorRT's own Python bindings, 3 MB, without which the test that compares the code with them is skipped.
bindings: build/bindings/.made

build/bindings/.made: Makefile | $(VENV)/.dev
	for each in $(BINDINGS); do \
	  $(BIN)/pip download --quiet --no-deps --only-binary :all: --dest build/bindings $$each || exit 1; \
	done
	touch $@

# Triton's messages, 1 MB: not installed beside the tests, as the package pins older versions than theirs.
triton-client: build/triton-client/.made

build/triton-client/.made: Makefile | $(VENV)/.dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/triton-client $(TRITON_CLIENT)
	touch $@

# A real Triton, 500 MB, in an environment of its own, without which the slow test of it is skipped.
triton-server: build/triton-server/.made

build/triton-server/.made: Makefile | $(VENV)/.dev
	$(BIN)/python -m venv --clear build/triton-server
	build/triton-server/bin/pip install --quiet $(TRITON_SERVER)
	build/triton-server/bin/pip install --quiet --no-deps numpy==2.2.6 --editable .
	touch $@

# ONNX Runtime for the programs of docs/embedding.md, 440 MB; what cannot be had here is told, its tests are skipped.
embedding: build/embedding/headers/.made build/embedding/node_modules/.made

build/embedding/headers/.made: .ci/headers
	.ci/headers build/embedding/headers

build/embedding/node_modules/.made: Makefile
	@if [ -z "$$(command -v npm)" ]; then echo "no npm, so no onnxruntime-web and -node: the tests that run them are skipped"; else \
	  npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix build/embedding $(WEB) && touch $@; fi

# What drives Chromium in the tests of the page, and looks for what hinders assistive technology: 17 MB.
browser: build/browser/node_modules/.made

build/browser/node_modules/.made: Makefile
	@if [ -z "$$(command -v npm)" ]; then echo "no npm, so no playwright-core: the tests of the page are skipped"; else \
	  npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix build/browser $(BROWSER) && touch $@; fi

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# --no-compile: Python compiles what is imported when it is, which is far less than what is installed.
$(VENV)/.export: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/pip install --quiet --no-compile --editable ".[run,export]" --constraint constraints.txt
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(BIN)/pip install --quiet --no-compile --editable ".[run,export,dev]" --constraint constraints.txt
	touch $@

# A stamp, written last: a half-made environment is made again.
$(VENV)/.made:
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
