package rest_test

import (
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/sink/rest"
)

func settings(t *testing.T, text string) (rest.Settings, hcl.Diagnostics) {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "app.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return rest.DecodeSettings(f.Body, nil)
}

func TestProxyAndCA(t *testing.T) {
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	t.Cleanup(app.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	reach := func(address, text string) error {
		s, diags := settings(t, text)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		o := rest.Options{App: "crm", BaseURL: address}
		if err := s.Apply(&o); err != nil {
			return err
		}
		c, err := rest.New(o)
		if err != nil {
			return err
		}
		t.Cleanup(c.Close)
		_, err = c.Do(t.Context(), write())
		return err
	}
	if err := reach(app.URL, ""); err == nil {
		t.Error("a certificate that nobody trusts was taken")
	}
	if err := reach(app.URL, fmt.Sprintf("ca = %q", ca)); err != nil {
		t.Errorf("with its own ca: %v", err)
	}
	if err := reach(app.URL, fmt.Sprintf("ca = %q", filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("a ca that is not there")
	}

	var asked string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { asked = r.URL.Host; fmt.Fprint(w, `{}`) })
	if err := reach("http://crm.invalid", fmt.Sprintf("proxy = %q", proxy.URL)); err != nil || asked != "crm.invalid" {
		t.Errorf("through the proxy: asked for %q, %v", asked, err)
	}
	for _, bad := range []string{"http://u:" + secret + "@", "ftp://x", "%zz" + secret} {
		_, diags := settings(t, fmt.Sprintf("proxy = %q", bad))
		if !diags.HasErrors() || diags[0].Subject == nil || strings.Contains(diags.Error(), secret) {
			t.Errorf("proxy %q: %v", bad, diags)
		}
	}
	if _, diags := settings(t, "tokn = 1"); !diags.HasErrors() {
		t.Error("an unknown attribute")
	}
}

func TestCompression(t *testing.T) {
	var got string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		in := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			in = unpacked
		}
		body, _ := io.ReadAll(in)
		got = r.Header.Get("Content-Encoding") + " " + string(body)
		w.Header().Set("Content-Encoding", "gzip")
		out := gzip.NewWriter(w)
		fmt.Fprintf(out, `{"text":%q}`, strings.Repeat("x", 5000))
		_ = out.Close()
	})
	small := client(t, s.URL, func(o *rest.Options) { o.Compress = 100 })
	if _, err := small.Do(t.Context(), write()); err != nil || got != ` {"name":"s3cr3t"}` {
		t.Errorf("a small body: %q, %v", got, err)
	}
	r := write()
	r.Body = map[string]string{"name": strings.Repeat("y", 200)}
	if _, err := small.Do(t.Context(), r); err != nil || !strings.HasPrefix(got, `gzip {"name":"yyy`) {
		t.Errorf("a large body: %.30q, %v", got, err)
	}
	// The limit is on what is unpacked: an answer of 60 bytes can hold a bomb.
	_, err := client(t, s.URL, func(o *rest.Options) { o.MaxReply = 1000 }).Do(t.Context(), write())
	check(t, "large answer", err, "unknown")
}

func TestRequestID(t *testing.T) {
	var sent string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("X-Request-Id")
		w.WriteHeader(http.StatusTeapot)
	})
	var told string
	response, err := client(t, s.URL, func(o *rest.Options) { o.OnCall = func(c rest.Call) { told = c.ID } }).Do(t.Context(), write())
	if sent == "" || response.ID != sent || told != sent || !strings.Contains(err.Error(), sent) {
		t.Errorf("sent %q, response %q, call %q, error %v", sent, response.ID, told, err)
	}
}
