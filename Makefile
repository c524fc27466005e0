# penstock. `make help` lists the targets.
GO      ?= go
BIN     := bin/penstock
VERSION := $(shell cat VERSION)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
SERVICES := $(GO) run ./integration/service/cmd/services
LINT    := .cache/bin/golangci-lint
LINT_VERSION := v2.12.2

.DEFAULT_GOAL := help
.PHONY: help build demo test test-all race lint fmt docs fuzz check integration soak chaos bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/penstock
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/penstock

demo: build ## the main job on embedded defaults, with a kill -9 in the middle; KEEP=1 leaves it running
	$(BIN) demo $(if $(KEEP),--keep)

test: check ## start what the tests need and run them (at most 25 minutes on 2 cores)
	$(SERVICES) run -- $(GO) test -count 1 -p 2 -timeout 24m ./...

test-all: check ## every test, every database version, with the race detector
	PENSTOCK_TEST_ALL=1 $(SERVICES) run -with postgres14,postgres15,postgres16,postgres17,postgres18,mysql,mariadb,kafka -- $(GO) test -count 1 -race -p 2 -timeout 120m ./...

race: ## the unit tests with the race detector
	$(SERVICES) run -- $(GO) test -race -short -p 2 -timeout 40m ./...

check: ## formatting and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt these files:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

lint: $(LINT) ## golangci-lint
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/.cache/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

docs: ## write the generated parts of docs: functions, reasons, error codes, settings
	$(GO) test ./transform -run TestLanguagePage -update
	$(GO) test ./docs -run 'TestErrorTables|TestReferenceOfSettings' -update

FUZZTIME ?= 1m
FUZZ     ?= .
fuzz: ## every fuzz target for FUZZTIME (1m), or those that FUZZ matches: make fuzz FUZZ=transform FUZZTIME=1h
	@git grep -o 'func Fuzz[A-Za-z0-9]*' -- '*_test.go' | sed 's|\(.*\)/[^/]*:func |\1 |' | grep -e '$(FUZZ)' | while read -r folder name; do \
		echo "$$folder $$name"; $(GO) test "./$$folder" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1; done

integration: ## the scenarios on real databases and a real broker alone
	$(SERVICES) run -- $(GO) test -count 1 -timeout 24m ./integration/...

MODELS ?= TestModel TestFamilies TestVerifyModel
soak: ## random runs of intake and dispatch with seeds that are new: make soak ROUNDS=10000 MODELS=TestModel
	$(foreach test,$(MODELS),$(GO) test ./sink -run '^$(test)$$' -timeout 12h -rounds $(ROUNDS) &&) true

ROUNDS ?= 200
SEED   ?= 0
chaos: ## long survival run: make chaos ROUNDS=n SEED=s (a seed repeats a run)
	$(SERVICES) run -with postgres18,mysql,kafka -- env PENSTOCK_CHAOS_ROUNDS=$(ROUNDS) PENSTOCK_CHAOS_SEED=$(SEED) $(GO) test -count 1 -v -timeout 12h -run TestSurvival ./integration/survival

bench: ## benchmarks against the raw limit; results in docs/performance.md are from this
	$(SERVICES) run -with postgres18,mysql -- $(GO) run ./bench

clean: ## remove what was built
	rm -rf bin .cache
