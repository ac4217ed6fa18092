# make demo        train on generated voices, measure on voices never heard, and hear a clip of each class
# make test        lint, import rules, types, and the tests on TensorFlow, JAX and PyTorch: 20 minutes on two cores at most
# make test-more   whole processes, KServe, tensorflow-io, Ray, hubs, browser, notebooks: 25 minutes more at most
# make test-long   the checks that take minutes each, and are left out of both
# make benchmarks  every claim of speed beside its peer: an hour
# Each makes .venv and installs what it needs; the second time, nothing.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Where PyTorch's CPU build comes from another index: TORCH_PIP_ARGS="--extra-index-url <that index>"
TORCH_PIP_ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RESULTS := .venv/test-results
export TF_CPP_MIN_LOG_LEVEL ?= 2
# PyTorch's threads wait for each other by spinning, which takes the cores from what runs beside them.
export OMP_WAIT_POLICY ?= passive

# TensorFlow Serving's releases lag: an export is also loaded with this library, of which nothing is imported.
OLD_TENSORFLOW := 2.17.1
export KERAS_VITSER_OTHER_TENSORFLOW ?= $(CURDIR)/.venv/tensorflow-$(OLD_TENSORFLOW)/tensorflow

PYTEST := -m pytest -q -rs
APART := not (long or more or kserve or tfio)
# A skip for something that KERAS_VITSER_REQUIRE names is a failure; an environment of its own has less in it.
comma := ,
require = $(if $(KERAS_VITSER_REQUIRE),KERAS_VITSER_REQUIRE="$(filter $(1),$(subst $(comma), ,$(KERAS_VITSER_REQUIRE)))")
timed = start=$$(date +%s); $(2); status=$$?; seconds=$$(($$(date +%s) - start)); \
	echo "$(1): $$((seconds / 60)) min $$((seconds % 60)) s"; [ $$status = 0 ]
# Two jobs at a time, as most of a test keeps one core busy, the longest first; the output of each comes when it ends
# (GNU Make 4). All run to their end, so that the total is of all.
jobs = rm -rf $(RESULTS); $(call timed,tests,$(MAKE) --keep-going --jobs 2 \
	$(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(1:%=test-%)); \
	$(BIN)/python tests/total.py $(1:%=$(RESULTS)/%.xml) && [ $$status = 0 ]
# In minutes, each beside another: 6, 5, 4, 4 (9.5 in all), after 3 of installing. Of TensorFlow's two the first is the
# rooms that train.
TESTS := training tensorflow jax torch
TRAINING := tests/distillation tests/experiments tests/training
# In minutes, each beside another: 20, 7, 10, 4, 3, 0 (23 in all), after 2.5 of installing.
MORE := more-tensorflow notebooks more-jax more-torch tfio kserve

# Two processes at a time, which should not fight for two cores with many threads each.
test test-more test-long: export OMP_NUM_THREADS ?= 1
test test-more test-long: export OPENBLAS_NUM_THREADS ?= 1
test test-more test-long: export TF_NUM_INTRAOP_THREADS ?= 1
test test-more test-long: export TF_NUM_INTEROP_THREADS ?= 1

.PHONY: demo benchmarks test test-more test-long lint install-test install-more $(TESTS:%=test-%) $(MORE:%=test-%) clean

# Networks as small as the demo's are trained faster by one thread than by two that wait for each other.
demo: export TF_NUM_INTRAOP_THREADS ?= 1
demo: .venv/.installed-demo
	$(BIN)/keras-vitser train demo

benchmarks: .venv/.installed-test
	$(BIN)/python -m benchmarks

test:
	@$(call timed,installing,$(MAKE) --no-print-directory install-test)
	@$(MAKE) --no-print-directory lint
	@$(call jobs,$(TESTS))

test-more:
	@$(call timed,installing,$(MAKE) --no-print-directory install-more)
	@$(call jobs,$(MORE))

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test-training: .venv/.installed-test
	KERAS_BACKEND=tensorflow $(BIN)/python $(PYTEST) -m "$(APART)" --junit-xml=$(RESULTS)/training.xml $(TRAINING)

test-tensorflow test-jax test-torch: test-%: .venv/.installed-test
	KERAS_BACKEND=$* $(BIN)/python $(PYTEST) -m "$(APART)" --junit-xml=$(RESULTS)/$*.xml \
		$(if $(filter tensorflow,$*),$(TRAINING:%=--ignore=%))

# Many small programs that run a few times each: JAX compiles them in half the time. A JAX that does not know one of
# these flags ends with a line that names it; then: make test XLA_FLAGS=
test-jax: export XLA_FLAGS ?= --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false

test-more-tensorflow test-more-jax test-more-torch: test-more-%: install-more
	KERAS_BACKEND=$* $(BIN)/python $(PYTEST) -m "more and not (long or kserve or tfio)" \
		--junit-xml=$(RESULTS)/more-$*.xml --ignore=tests/test_notebooks.py

test-notebooks: install-more
	KERAS_BACKEND=tensorflow $(BIN)/python $(PYTEST) -m more --junit-xml=$(RESULTS)/notebooks.xml tests/test_notebooks.py

# What KServe's own server has of the REST contract; in an environment of its own, as it wants older packages.
test-kserve: .venv/kserve/.installed
	KERAS_BACKEND=tensorflow $(call require,kserve) .venv/kserve/bin/python $(PYTEST) -m kserve \
		--junit-xml=$(RESULTS)/kserve.xml tests/contract/test_rest.py

# tensorflow-io works with older releases of TensorFlow only; the core is tested there too.
test-tfio: .venv/tfio/.installed
	KERAS_BACKEND=tensorflow $(call require,recordings tensorflow tfio) \
		.venv/tfio/bin/python $(PYTEST) -m "not (long or more or kserve)" --junit-xml=$(RESULTS)/tfio.xml \
		tests/audio tests/layers tests/models tests/benchmarks/test_tfio_reading.py

test-long: install-more
	set -e; for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BIN)/python $(PYTEST) -m "long and not (kserve or tfio)"; \
	done

install-test: .venv/.installed-test
install-more: .venv/.installed-more .venv/tensorflow-$(OLD_TENSORFLOW) .venv/tfio/.installed .venv/kserve/.installed

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.installed-demo: pyproject.toml | .venv/bin/python
	$(PIP) -e ".[tensorflow-cpu,track]"
	touch $@

# torch first: its plain name in one step with others may bring several GB of CUDA packages.
.venv/.installed-test: pyproject.toml | .venv/bin/python
	$(PIP) "torch==2.13.0" $(TORCH_PIP_ARGS)
	$(PIP) -e ".[tensorflow-cpu,jax,torch,track,tune,export,serve,av,dev]"
	touch $@ .venv/.installed-demo

.venv/.installed-more: pyproject.toml .venv/.installed-test
	$(PIP) -e ".[app,ray,hub]"
	touch $@

.venv/tensorflow-$(OLD_TENSORFLOW): | .venv/bin/python
	rm -rf $@.part
	$(PIP) --no-deps --target $@.part tensorflow-cpu==$(OLD_TENSORFLOW)
	mv $@.part $@

.venv/kserve/.installed: | .venv/bin/python
	.venv/bin/python -m venv .venv/kserve
	.venv/kserve/bin/python -m pip install --quiet --disable-pip-version-check kserve==0.21.0 tensorflow-cpu==2.21.0 pytest
	touch $@

.venv/tfio/.installed: pyproject.toml | .venv/bin/python
	.venv/bin/python -m venv .venv/tfio
	.venv/tfio/bin/python -m pip install --quiet --disable-pip-version-check -e ".[tfio]" \
		"pytest>=9.0" "hypothesis>=6.170" "librosa>=0.11"
	touch $@

clean:
	rm -rf .venv
