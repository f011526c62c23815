# Everything here can be run twice in a row, and with no network once its parts are there.

PARTS   := .parts
ENGINE  := $(PARTS)/node_modules/.stamp
COUNTRY := $(PARTS)/country.mmdb
DEV     := node_modules/.stamp
BIN     := bin/footfall
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export CGO_ENABLED := 0
# A test that needs longer than this hangs.
TEST_TIMEOUT := 30m

.PHONY: run build parts test test-quick race lint bench soak ceilings fuzz generate demo clean

## run: set up, build and serve with the embedded store
run: build
	$(BIN) serve $(ARGS)

## demo: set up, build, fill a demo site and serve it
demo: build
	$(BIN) demo $(ARGS)

build: parts
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/footfall

## parts: the embedded engine and the country data, below .parts
parts: $(ENGINE) $(COUNTRY)

$(ENGINE): deploy/parts/package.json deploy/parts/package-lock.json
	@deploy/need npm npm nodejs
	mkdir -p $(PARTS)
	cp deploy/parts/package.json deploy/parts/package-lock.json $(PARTS)/
	cd $(PARTS) && npm ci --no-fund --no-audit --loglevel=error
	touch $@

$(COUNTRY): $(ENGINE) $(wildcard cmd/geodata/*.go)
	go run ./cmd/geodata $(PARTS)/node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb $@

$(DEV): package.json package-lock.json
	@deploy/need npm npm nodejs
	npm ci --no-fund --no-audit --loglevel=error
	touch $@

.PHONY: test-parts
test-parts: parts $(DEV)
	@deploy/need chromium chromium
	@deploy/need clickhouse-server clickhouse-server clickhouse-client
	@deploy/need promtool prometheus
	@deploy/need systemd-analyze systemd

## test: every test: unit, real ClickHouse server, embedded engine, real browser
test: test-parts build
	go tool gotestsum --format pkgname -- -p 2 -timeout $(TEST_TIMEOUT) ./...

## test-quick: the packages that start nothing
test-quick: $(DEV)
	go test ./event ./anonymize ./beacon/email ./collector/classify ./dashboard/auth ./dashboard/statsapi

## race: the packages that share memory, under the race detector
race: test-parts
	@deploy/need gcc gcc libc6-dev
	CGO_ENABLED=1 go test -race -timeout $(TEST_TIMEOUT) ./event ./anonymize ./collector/... ./dashboard/auth

lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go')) && test -z "$$bad" || { echo "gofmt would change: $$bad"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

## bench: each benchmark beside a floor or peer measured in the same run, as a ratio
bench: test-parts
	go test -run '^$$' -bench 'FullPath|Sync' -benchtime 5s ./collector
	go test -run '^$$' -bench 'InsertRatio|Overview' -benchtime 3x -timeout 1h ./store

## soak: the crash test for SOAK seconds on each store; FOOTFALL_SEED=N makes it another one
SOAK := 300
soak: test-parts
	FOOTFALL_SOAK_SECONDS=$(SOAK) go test -run 'TestCrash(Search|Damage)' -count 1 -timeout 0 -v ./cmd/footfall

## ceilings: the hostile loads as large as the tables that bound them: minutes
ceilings: test-parts
	FOOTFALL_CEILINGS=1 go test -run 'TestCeilings|TestSpoolAtItsCap' -count 1 -timeout 1h -v ./cmd/footfall

## fuzz: every fuzz target for FUZZTIME inputs. A number, since go test can take the end of a
## time (10s) for a failure: "context deadline exceeded"
FUZZTIME := 50000x
fuzz:
	@git grep -o '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed 's|/[^/]*_test.go:func | |' | \
	while read -r pkg target; do \
		echo "$$pkg $$target"; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$pkg || exit 1; \
	done

## generate: rebuild the committed scripts
generate: $(DEV)
	go generate ./...

clean:
	rm -rf bin artifacts
