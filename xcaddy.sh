#!/usr/bin/env bash
# Builds ./caddy with this module inside, and with "run" starts it with Caddyfile.example.
#
#   ./xcaddy.sh        build, if anything changed
#   ./xcaddy.sh run    build, if anything changed, and run the example
#
# Needs Go. Everything it downloads goes into Go's own caches and .build/.
set -euo pipefail
cd "$(dirname "$0")"

command -v go >/dev/null || { echo "install Go first: https://go.dev/dl/" >&2 && exit 1; }

caddy=v2.11.9
xcaddy=v0.4.5
module=github.com/caddy-acrobits/caddy-acrobits-sms

# A build is as good as its inputs: the sources, this script, and the versions of Go and of the modules.
stamp=$({
	go env GOVERSION GOOS GOARCH
	cat xcaddy.sh go.mod go.sum
	find . -path ./.build -prune -o -path ./.git -prune -o \( -name '*.go' -o -name '*.caddyfile' -o -name '*.sql' -o -name '*.html' -o -name '*.css' -o -name '*.js' \) -not -name '*_test.go' -type f -print0 |
		sort -z | xargs -0 cat
} | git hash-object --stdin 2>/dev/null || date +%s%N)

if [[ ! -x caddy || ! -f .build/stamp || $(<.build/stamp) != "$stamp" ]]; then
	mkdir -p .build
	tool=$PWD/.build/xcaddy-$xcaddy
	if [[ ! -x $tool ]]; then
		# A module of its own, because "go install" asks for version lists, which some proxies refuse.
		rm -rf .build/tool && mkdir -p .build/tool
		(
			cd .build/tool
			printf 'module tool\n\ngo 1.26\n\nrequire github.com/caddyserver/xcaddy %s\n\ntool github.com/caddyserver/xcaddy/cmd/xcaddy\n' "$xcaddy" >go.mod
			GOFLAGS= go mod tidy -e >/dev/null 2>&1 || true
			GOFLAGS=-mod=mod go build -trimpath -o "$tool" github.com/caddyserver/xcaddy/cmd/xcaddy
		)
	fi
	# First from what is in the module cache, which needs no network at all; then from the configured proxy.
	build() {
		GOFLAGS=-buildvcs=false "$tool" build "$caddy" --output "$PWD/caddy" "$@" >.build/log 2>&1
	}
	cache=file://$(go env GOMODCACHE)/cache/download
	echo "building Caddy $caddy with $module (the first time takes some minutes)" >&2
	go mod download
	GOPROXY=$cache build --with "$module/caddymodule" --replace "$module=$PWD" ||
		build --with "$module@v0.0.0=$PWD" || {
		cat .build/log >&2
		exit 1
	}
	./caddy list-modules | grep -x http.handlers.acrobits_sms >/dev/null
	echo "$stamp" >.build/stamp
fi

if [[ ${1:-} == run ]]; then
	exec ./caddy run --config Caddyfile.example --adapter caddyfile
fi
