package survival

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	penstock "github.com/penstock-cdc/penstock/integration/binary"
	"github.com/penstock-cdc/penstock/integration/service"
)

func TestMain(m *testing.M) { penstock.Main(m) }

// settings come from the environment; README.md describes them.
type settings struct {
	seed    uint64 // of the first round; the next have the numbers after it
	rounds  int    // for each database; 0: as many as fit into the time
	time    time.Duration
	servers []string
	streams []string
}

func settingsOf(t *testing.T) settings {
	s := settings{time: 4 * time.Minute, servers: []string{"postgres18", "mysql"}, streams: []string{embedded, kafka}}
	if testing.Short() {
		s.time = time.Minute
	}
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
		if err != nil && os.Getenv(name) != "" {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	if n := number("PENSTOCK_CHAOS_MINUTES"); n > 0 {
		s.time = time.Duration(n) * time.Minute
	}
	s.rounds = int(number("PENSTOCK_CHAOS_ROUNDS"))
	if s.seed = number("PENSTOCK_CHAOS_SEED"); s.seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		s.seed = binary.BigEndian.Uint64(b[:])>>32*1000 + 1
	}
	if v := os.Getenv("PENSTOCK_CHAOS_DATABASES"); v != "" {
		s.servers = strings.Split(v, ",")
	}
	if v := os.Getenv("PENSTOCK_CHAOS_STREAMS"); v != "" {
		s.streams = strings.Split(v, ",")
	}
	return s
}

// TestSurvival runs rounds on each database, one after the other; the databases run side
// by side. A seed draws what happens in a round and when.
func TestSurvival(t *testing.T) {
	s := settingsOf(t)
	t.Logf("first seed %d: PENSTOCK_CHAOS_SEED=%d repeats this run", s.seed, s.seed)
	for _, server := range s.servers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, server)
			start := time.Now()
			done, longest := 0, time.Duration(0)
			for failures := 0; failures < 3; done++ {
				if s.rounds > 0 && done == s.rounds || s.rounds == 0 && done > 0 && time.Since(start)+longest > s.time {
					break
				}
				seed, began := s.seed+uint64(done), time.Now()
				if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { newRound(t, l, s, seed).run() }) {
					failures++
				}
				longest = max(longest, time.Since(began))
			}
			t.Logf("%d rounds on %s in %s", done, server, time.Since(start).Round(time.Second))
		})
	}
}

// lane is the servers of one kind of database, which its rounds use one after the other.
type lane struct {
	name     string
	database *service.Server
	proxy    *proxies
	broker   *service.Server // nil until a round wants one
}

func newLane(t *testing.T, server string) *lane {
	l := &lane{name: server, database: service.ForTest(t, server), proxy: &proxies{server: service.StartToxiproxy(t)}}
	l.proxy.add(t, "database", freePort(t), l.database.Addr)
	return l
}

// kafka starts the lane's broker. It tells clients the proxy's address as its own, so
// that all that penstock says to it goes through the proxy.
func (l *lane) kafka(t *testing.T) *service.Server {
	if l.broker == nil {
		outside := freePort(t)
		broker, err := service.Kafka(t.Context(), service.Setting("advertised.listeners", fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", outside)))
		if err != nil {
			t.Fatal(err)
		}
		l.broker = broker
		l.proxy.add(t, "kafka", outside, broker.Addr)
	}
	return l.broker
}
