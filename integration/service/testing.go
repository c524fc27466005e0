package service

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// StartPostgres starts a Postgres server for one test: Postgres, stopped at its end.
func StartPostgres(tb testing.TB, version string, opts ...Option) *Server {
	tb.Helper()
	return ForTest(tb, KindPostgres+version, opts...)
}

// StartMySQL starts a MySQL server for one test.
func StartMySQL(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return ForTest(tb, KindMySQL, opts...)
}

// StartMariaDB starts a MariaDB server for one test.
func StartMariaDB(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return ForTest(tb, KindMariaDB, opts...)
}

// StartKafka starts a Kafka broker for one test.
func StartKafka(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return ForTest(tb, KindKafka, opts...)
}

// StartToxiproxy starts a Toxiproxy for one test.
func StartToxiproxy(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return ForTest(tb, KindToxiproxy, opts...)
}

// ForTest starts a server of its own for a test, which may kill and restart it,
// and stops it when the test ends. It ends the test if there can be none.
func ForTest(tb testing.TB, name string, opts ...Option) *Server {
	tb.Helper()
	s, err := Start(tb.Context(), name, append([]Option{Progress(logTo{tb})}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// shared holds the servers of this test binary. It is a global because a test
// binary has no other place that all its tests share.
var shared struct {
	sync.Mutex
	servers map[string]*Server
}

// Shared returns a server that tests use together: the one that the
// environment names (Variable), else one that is started for this test binary
// and ends with it. Tests make a database each (Database) and must not stop it.
func Shared(tb testing.TB, name string) *Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if s := shared.servers[name]; s != nil {
		return s
	}
	s, err := named(name)
	if err == nil && s == nil {
		// Not the test's context: the server outlives it. The watchdog ends it.
		s, err = Start(context.WithoutCancel(tb.Context()), name, Progress(logTo{tb}))
		if err == nil {
			s.lent = true
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	if shared.servers == nil {
		shared.servers = make(map[string]*Server)
	}
	shared.servers[name] = s
	return s
}

// named is the server that the environment names, nil if it names none.
func named(name string) (*Server, error) {
	kind, _, err := lookup(name)
	if err != nil {
		return nil, err
	}
	value := os.Getenv(Variable(name))
	if value == "" {
		return nil, nil
	}
	if kind == KindKafka && !strings.Contains(value, "://") {
		value = "kafka://" + value
	}
	u, err := url.Parse(value)
	if err != nil {
		return nil, fmt.Errorf("read %s: it is no URL", Variable(name)) // err would show the password
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", Variable(name), err)
	}
	s := &Server{Kind: kind, Addr: u.Host, URL: value}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("read %s: %w", Variable(name), err)
	}
	return s, nil
}

// logTo writes progress to a test's log.
type logTo struct{ tb testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	l.tb.Helper()
	l.tb.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
