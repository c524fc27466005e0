package service

import (
	"fmt"
	"runtime"
	"strings"
)

// notHere says what to do about a server that cannot be installed on this machine.
func notHere(kind string) error {
	return fmt.Errorf("install %s: there are no binaries for %s/%s that are known here; run `docker compose up -d %s` and set %s to what it listens on",
		kind, runtime.GOOS, runtime.GOARCH, kind, Variable(kind))
}

// Variable is the environment variable that names a running server to Shared:
// PENSTOCK_TEST_POSTGRES17_URL for "postgres17", PENSTOCK_TEST_MYSQL_URL,
// PENSTOCK_TEST_MARIADB_URL, PENSTOCK_TEST_KAFKA (host:port),
// PENSTOCK_TEST_TOXIPROXY_URL. A version is part of the name for Postgres alone.
func Variable(name string) string {
	kind := strings.TrimRight(name, "0123456789.")
	switch {
	case kind == KindKafka:
		return "PENSTOCK_TEST_KAFKA"
	case name == KindPostgres:
		kind = "postgres18"
	case kind == KindPostgres:
		kind = name
	}
	return "PENSTOCK_TEST_" + strings.ToUpper(kind) + "_URL"
}
