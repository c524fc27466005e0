package rest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

// Settings are the attributes that every app block has beside its own: an app's Config takes the rest of its body
// with `hcl:",remain"` and hands it to DecodeSettings.
type Settings struct {
	Proxy string `hcl:"proxy,optional"` // URL of a proxy; "": as HTTPS_PROXY and NO_PROXY say
	CA    string `hcl:"ca,optional"`    // file of PEM certificates trusted beside the system's
}

// DecodeSettings reads them. It has no side effects; the file is read by Apply.
func DecodeSettings(body hcl.Body, ctx *hcl.EvalContext) (s Settings, diags hcl.Diagnostics) {
	diags = gohcl.DecodeBody(body, ctx, &s)
	if diags.HasErrors() {
		return s, diags
	}
	if _, err := parseProxy(s.Proxy); err != nil {
		d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Invalid proxy", Detail: "The " + err.Error() + ".", Subject: body.MissingItemRange().Ptr()}
		if attributes, _ := body.JustAttributes(); attributes["proxy"] != nil {
			d.Subject = attributes["proxy"].Expr.Range().Ptr()
		}
		diags = append(diags, d)
	}
	return s, diags
}

func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Host == "" || proxy.Scheme != "http" && proxy.Scheme != "https" && proxy.Scheme != "socks5" {
		return nil, errors.New("proxy is no http://, https:// or socks5:// URL") // the parser's error repeats it, password and all
	}
	return proxy, nil
}

// Apply fills in what a Client needs of them.
func (s Settings) Apply(o *Options) error {
	proxy, err := parseProxy(s.Proxy)
	if err != nil {
		return err
	}
	o.Proxy = proxy
	if s.CA == "" {
		return nil
	}
	text, err := os.ReadFile(s.CA)
	if err != nil {
		return fmt.Errorf("read ca: %w", err)
	}
	pool := o.RootCAs
	if pool == nil {
		if pool, err = x509.SystemCertPool(); err != nil {
			pool = x509.NewCertPool()
		}
	} else {
		pool = pool.Clone()
	}
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("read ca: %s has no PEM certificate", s.CA)
	}
	o.RootCAs = pool
	return nil
}
