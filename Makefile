# The entry points for people. Every target works alone, from a fresh clone, and can be repeated.

.DEFAULT_GOAL := help
.PHONY: help setup build install uninstall dist quickstart test test-faults lint docs bench oracles clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the C libraries (Debian, Ubuntu); does nothing when they are there
	@scripts/setup

build: setup ## Build eagle-train and eagle-run into .build/release
	@scripts/version
	swift build -c release

install: ## Install programs, manual pages and completions: PREFIX=/usr/local, DESTDIR= (after make build)
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install

uninstall: ## Remove what make install has put there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install --uninstall

dist: setup ## A tarball and a Debian package for machines without Swift, in .build/dist
	@scripts/dist

quickstart: ## Everything once: real model, capture, training on 2 MPI ranks, export, decoding
	@scripts/quickstart

test: setup ## Run every test
	@scripts/test

test-faults: setup ## Kills, dead ranks, damaged files, full disks: the long form (make test has a short one)
	EAGLE_FAULT_KILLS=$${EAGLE_FAULT_KILLS:-120} scripts/test --filter FaultTests

lint: ## Check the style of every Swift file
	swift format lint --strict --recursive --parallel Package.swift Sources Tests Examples

docs: build ## Documentation of the library's interface, as pages for a browser
	@scripts/docs

bench: build ## Speeds of training and capture, with PyTorch if it is installed, and of decoding
	@scripts/bench

oracles: build ## Compare with transformers, PyTorch, speculators, OpenVINO and others (after quickstart)
	@scripts/oracles

clean: ## Remove what was built; models and checkpoints stay
	rm -rf .build Sources/CEagleVersion/commit.h*
