package survival

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// proxies are those of a Toxiproxy, between penstock and its servers.
type proxies struct {
	api    string
	listen map[string]string // host:port by name
}

func (p *proxies) add(tb testing.TB, name string, port int, upstream string) {
	tb.Helper()
	if p.listen == nil {
		p.listen = map[string]string{}
	}
	p.listen[name] = fmt.Sprintf("127.0.0.1:%d", port)
	err := p.call(http.MethodPost, "/proxies", map[string]any{"name": name, "listen": p.listen[name], "upstream": upstream, "enabled": true})
	if err != nil {
		tb.Fatal(err)
	}
}

// cut ends all connections of a proxy and refuses new ones until it is mended.
func (p *proxies) cut(name string) error {
	return p.call(http.MethodPost, "/proxies/"+name, map[string]any{"enabled": false})
}

func (p *proxies) mend(name string) error {
	return p.call(http.MethodPost, "/proxies/"+name, map[string]any{"enabled": true})
}

// toxic makes connections slow or deaf, old ones too, until all toxics are taken away.
func (p *proxies) toxic(name, kind string, attributes map[string]any) error {
	return p.call(http.MethodPost, "/proxies/"+name+"/toxics", map[string]any{"type": kind, "stream": "downstream", "attributes": attributes})
}

// clean mends all proxies and takes their toxics away.
func (p *proxies) clean() error { return p.call(http.MethodPost, "/reset", nil) }

func (p *proxies) call(method, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, p.api+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask toxiproxy: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict { // that toxic is there already
		err = fmt.Errorf("ask toxiproxy: %s: %s", resp.Status, text)
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
