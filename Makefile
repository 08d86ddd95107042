# Every target installs what it needs and lacks from this system's packages, by
# cmd/atalaya-lab/packages.sh, which says so first. Go is the only thing it expects.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME  ?= 20s
FUZZSHORT ?= 3000x
BENCHARGS ?=

LINT_VERSION := 2.15.0
LINT_DIR     := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/atalaya-lab/golangci-lint-$(LINT_VERSION)
PACKAGES     := cmd/atalaya-lab/packages.sh
AS_ROOT      := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help build demo test bench lint fuzz mutate clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/atalaya (static) and bin/atalaya-lab
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

demo: build ## watch real containers die and come back, in under a minute (root or sudo)
	@$(PACKAGES) demo
	@[ -z "$(AS_ROOT)" ] || echo "make demo: real containers need root, so the demo runs by sudo"
	@$(AS_ROOT) bin/atalaya-lab demo --agent bin/atalaya

# One package after the other: a VM that one of them boots without KVM takes the cores that another measures
# milliseconds with. The race detector watches everything but the lab, whose tests drive built binaries,
# containers and whole hosts, where it would only see the test's own goroutines.
test: ## run every test, those on real containers too (root or sudo; as a user those skip)
	@$(PACKAGES) test
	@[ -z "$(AS_ROOT)" ] || echo "make test: not root, so the tests on real containers skip; 'sudo make test' runs them"
	$(GO) vet ./...
	$(GO) test -race -p 1 -timeout 15m $$($(GO) list ./... | grep -v '/cmd/atalaya-lab')
	$(GO) test -p 1 -timeout 15m ./cmd/atalaya-lab/...
	$(GO) test -v -run '^TestStepProperties$$' ./agent/health -rapid.checks 10000 -rapid.seed 20261125
	@$(MAKE) --no-print-directory parsers FUZZTIME=$(FUZZSHORT)

.PHONY: parsers
parsers:
	@for pkg in ./agent/engine ./agent/diagnose; do \
		bin=$$(mktemp -d) && $(GO) test -c -fuzz Fuzz -o $$bin/fuzz.test $$pkg && \
		for f in $$($$bin/fuzz.test -test.list '^Fuzz'); do \
			(cd $$pkg && $$bin/fuzz.test -test.run '^$$' -test.fuzz "^$$f\$$" -test.fuzztime $(FUZZTIME) -test.fuzzcachedir $$bin/cache >$$bin/log 2>&1) || { cat $$bin/log; exit 1; }; \
			echo "ok  	$$pkg $$f for $(FUZZTIME)"; \
		done; rm -rf $$bin; \
	done

bench: build ## measure the agent beside the floor program, on 50 and 200 containers (root or sudo)
	@$(PACKAGES) bench
	@[ -z "$(AS_ROOT)" ] || echo "make bench: real containers need root, so the benchmark runs by sudo"
	@$(AS_ROOT) bin/atalaya-lab bench --agent bin/atalaya $(BENCHARGS)

lint: $(LINT_DIR)/golangci-lint ## check format, vet and the linters of .golangci.yml
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || \
		{ echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(LINT_DIR)/golangci-lint run ./...

$(LINT_DIR)/golangci-lint:
	@mkdir -p $(LINT_DIR)
	@have=$$($(GO) env GOPATH)/bin/golangci-lint; \
	if "$$have" version 2>/dev/null | grep -qF 'version $(LINT_VERSION) '; then cp "$$have" $@; else \
		echo "make lint: building golangci-lint $(LINT_VERSION) once, about two minutes"; \
		GOFLAGS= GOBIN=$(LINT_DIR) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION); \
	fi

fuzz: build ## run every fuzz test for FUZZTIME (20s), 100,000 random timelines, and the wrong edits of the core
	$(GO) test -v -timeout 60m -run 'Properties' ./agent/health -rapid.checks 100000
	bin/atalaya-lab edits
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

mutate: build ## change each scripted engine's reply in one place: the tests must notice (ENGINE=openvz for one)
	bin/atalaya-lab mutate $(if $(ENGINE),--engine $(ENGINE)) $(if $(REPLY),--reply $(REPLY))

clean: ## remove what was built, and what killed tests left behind
	@[ ! -x bin/atalaya-lab ] || $(AS_ROOT) bin/atalaya-lab sweep
	rm -rf bin dist coverage.out
