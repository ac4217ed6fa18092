# make demo   train on generated voices, measure on a voice never heard, and hear a clip of each class
# make test   lint, import rules, and the tests on TensorFlow, JAX and PyTorch
# make test-long   the checks that take minutes, and are left out of make test
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

# What depends on the backend; all other tests run once, on TensorFlow.
BACKEND_TESTS := tests/layers tests/models tests/distillation tests/experiments tests/notebooks tests/contract \
	tests/benchmarks/test_operations.py tests/benchmarks/test_training_step.py \
	tests/prediction/test_stream.py tests/prediction/test_answer_file.py tests/test_recognizer.py \
	tests/serving/test_export.py tests/serving/test_dft_by_matrices.py tests/serving/test_listening.py
# TensorFlow Serving's releases lag: an export is also loaded with this library, of which nothing is imported.
OLD_TENSORFLOW := 2.17.1
export KERAS_VITSER_OTHER_TENSORFLOW ?= $(CURDIR)/.venv/tensorflow-$(OLD_TENSORFLOW)/tensorflow

.PHONY: demo test test-long lint test-once test-tensorflow test-jax test-torch test-kserve test-tfio clean

demo: .venv/.installed-demo
	$(BIN)/keras-vitser train demo

# Two at a time, as most of a test keeps one core busy, the longest first; each one's output comes when it ends (GNU
# Make 4).
test: lint .venv/tensorflow-$(OLD_TENSORFLOW)
	rm -rf $(RESULTS)
	$(MAKE) --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		test-once test-tensorflow test-jax test-torch test-tfio test-kserve
	@$(BIN)/python tests/total.py $(RESULTS)/*.xml

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test-once: .venv/.installed-test .venv/tensorflow-$(OLD_TENSORFLOW)
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q -rs -m "not long" --junit-xml=$(RESULTS)/once.xml \
		$(addprefix --ignore=,$(BACKEND_TESTS))

test-tensorflow test-jax test-torch: test-%: .venv/.installed-test
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q -rs -m "not long" --junit-xml=$(RESULTS)/$*.xml $(BACKEND_TESTS)

# What KServe's own server has of the REST contract; in an environment of its own, as it wants older packages.
test-kserve: .venv/kserve/.installed
	KERAS_BACKEND=tensorflow .venv/kserve/bin/python -m pytest -q -rs --junit-xml=$(RESULTS)/kserve.xml \
		tests/contract/test_rest.py -k kserve

# tensorflow-io works with older releases of TensorFlow only; the core is tested there too.
test-tfio: .venv/tfio/.installed
	KERAS_BACKEND=tensorflow KERAS_VITSER_TENSORFLOW_IO=1 .venv/tfio/bin/python -m pytest -q -rs -m "not long" \
		--junit-xml=$(RESULTS)/tfio.xml tests/audio tests/layers tests/models tests/benchmarks/test_tfio_reading.py

test-long: .venv/.installed-test .venv/tensorflow-$(OLD_TENSORFLOW)
	set -e; for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -rs -m long; \
	done

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/.installed-demo: pyproject.toml | .venv/bin/python
	$(PIP) -e ".[tensorflow-cpu,track]"
	touch $@

# torch first: its plain name in one step with others may bring several GB of CUDA packages.
.venv/.installed-test: pyproject.toml | .venv/bin/python
	$(PIP) "torch==2.13.0" $(TORCH_PIP_ARGS)
	$(PIP) -e ".[tensorflow-cpu,jax,torch,track,tune,export,serve,app,ray,hub,dev]"
	touch $@ .venv/.installed-demo

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
