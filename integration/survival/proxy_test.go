package survival

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/integration/service"
)

// proxies are those of a Toxiproxy, between penstock and its servers.
//
// Toxiproxy 2.5.0 locks itself up for good when a toxic is added to a connection, or taken
// from it, whose reader does not read and then goes away: it waits, with the proxy's lock
// held, for a step that writes to where nobody reads any more, while the connection's end
// waits for that lock. (Where the reader is only slow it drops bytes in the middle after
// 5 s.) So toxics are given here only to proxies that have no connection yet, and taken
// away with the whole proxy; both cut its connections. Should it lock up all the same, its
// process is replaced, which cuts all connections and is noted.
type proxies struct {
	server *service.Server
	all    []*proxy
	note   func(format string, args ...any) // may be nil
}

type proxy struct {
	Name     string `json:"name"`
	Listen   string `json:"listen"` // host:port
	Upstream string `json:"upstream"`
	Enabled  bool   `json:"enabled"`
	poisoned bool   // has a toxic
}

func (p *proxies) add(tb testing.TB, name string, port int, upstream string) {
	tb.Helper()
	added := &proxy{Name: name, Listen: fmt.Sprintf("127.0.0.1:%d", port), Upstream: upstream, Enabled: true}
	if err := p.call(http.MethodPost, "/proxies", added); err != nil {
		tb.Fatal(err)
	}
	p.all = append(p.all, added)
}

// listen is the address of a proxy.
func (p *proxies) listen(name string) string { return p.find(name).Listen }

func (p *proxies) find(name string) *proxy {
	for _, x := range p.all {
		if x.Name == name {
			return x
		}
	}
	panic("survival: no proxy " + name)
}

// cut ends all connections of a proxy and refuses new ones until it is mended.
func (p *proxies) cut(name string) error {
	return p.try(func() error { return p.enable(name, false) })
}

func (p *proxies) mend(name string) error {
	return p.try(func() error { return p.enable(name, true) })
}

// toxic cuts a proxy's connections and makes the next ones slow, or breaks them off, until
// all is clean again.
func (p *proxies) toxic(name, kind string, attributes map[string]any) error {
	x := p.find(name)
	return p.try(func() error {
		if err := p.remake(x, false); err != nil {
			return err
		}
		x.poisoned = true
		toxic := map[string]any{"type": kind, "stream": "downstream", "attributes": attributes}
		if err := p.call(http.MethodPost, "/proxies/"+name+"/toxics", toxic); err != nil {
			return err
		}
		return p.enable(name, true)
	})
}

// clean mends all proxies and takes their toxics away.
func (p *proxies) clean() error {
	return p.try(func() error {
		for _, x := range p.all {
			var err error
			if x.poisoned {
				err = p.remake(x, true)
			} else {
				err = p.enable(x.Name, true)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *proxies) enable(name string, on bool) error {
	return p.call(http.MethodPost, "/proxies/"+name, map[string]any{"enabled": on})
}

// remake takes a proxy away with its connections and makes it anew, without toxics.
func (p *proxies) remake(x *proxy, on bool) error {
	if err := p.call(http.MethodDelete, "/proxies/"+x.Name, nil); err != nil {
		return err
	}
	fresh := *x
	fresh.Enabled = on
	x.poisoned = false
	return p.call(http.MethodPost, "/proxies", fresh)
}

// try does something, and once more with a new process if Toxiproxy has locked up.
func (p *proxies) try(do func() error) error {
	err := do()
	if !errors.Is(err, errStuck) {
		return err
	}
	if p.note != nil {
		p.note("toxiproxy answers no more (%v): a new process takes its place, all connections are cut", err)
	}
	if err := p.replace(); err != nil {
		return err
	}
	return do()
}

// replace ends Toxiproxy and starts it anew with the same proxies, all enabled and without toxics.
func (p *proxies) replace() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.server.Kill(); err != nil {
		return err
	}
	if err := p.server.Restart(ctx); err != nil {
		return err
	}
	for _, x := range p.all {
		x.poisoned = false
		if err := p.call(http.MethodPost, "/proxies", x); err != nil {
			return err
		}
	}
	return nil
}

// errStuck is Toxiproxy not answering.
var errStuck = errors.New("no answer")

// api is how Toxiproxy is asked: on one machine an answer takes milliseconds, and its own
// limit of 25 s is most of a round.
var api = &http.Client{Timeout: 5 * time.Second}

func (p *proxies) call(method, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, p.server.URL+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := api.Do(req)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("ask toxiproxy: %w: %w", errStuck, err)
	}
	if err != nil {
		return fmt.Errorf("ask toxiproxy: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("ask toxiproxy: %s %s: %s: %s", method, path, resp.Status, text)
	}
	return err
}

// freePort is a port that is free now.
func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
