# make demo       segments a real brain MRI
# make test       all tests except the slow ones
# make test-all   all tests
# make test-slow  only the slow tests: 500 damaged inputs, kills, trainings in processes, large images
# make test-offline    the tests in a Linux namespace without any network
# make constraints  compiles constraints.txt from pyproject.toml; needs uv
# make audit      checks these versions for known vulnerabilities; needs uv and a network
# make pictures   the pictures of the panel and the slice views in Resources
# make sample     the sample image that the extension ships
# All install what they need into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: demo pictures sample test test-all test-slow test-offline doctest lint format constraints audit clean

demo: $(VENV)/installed
	$(BIN)/interactiveseg demo --output demo_output

pictures: $(VENV)/installed
	$(BIN)/python Testing/panel_pictures.py

sample: $(VENV)/installed
	$(BIN)/python Testing/sample_image.py

# the tests' own processes, three for two cores as they often wait for others, use one thread: another number of threads rounds differently
test test-all test-slow test-offline doctest: export OMP_NUM_THREADS = 1
# and compile a module once
test test-all test-slow test-offline doctest: export PYTHONDONTWRITEBYTECODE =
test: lint doctest
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

test-all: lint doctest
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile -m ""

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile -m slow

test-offline: $(VENV)/installed
	unshare --map-root-user --net $(BIN)/python Testing/without_network.py $(BIN)/python -m pytest --numprocesses 3 \
		--dist loadfile

# the examples in docstrings
doctest: $(VENV)/installed
	$(BIN)/python -m pytest --doctest-modules InteractiveSegLib

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=InteractiveSeg $(BIN)/lint-imports

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

UV ?= uv
COMPILE := $(UV) pip compile pyproject.toml - --extra test --extra demo --universal --python-version 3.10 --no-header \
	--no-annotate --quiet --output-file compiled.txt $(if $(UPGRADE),--upgrade)

# keeps pinned versions where possible; UPGRADE=1 takes the newest ones
constraints:
	grep -v '^#' constraints.txt > compiled.txt
	echo pip | $(COMPILE)
	(grep '^#' constraints.txt; cat compiled.txt) > constraints.new
	mv constraints.new constraints.txt
	rm compiled.txt

audit:
	$(UV) tool run pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) demo_output build *.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,demo]"
	touch $@
