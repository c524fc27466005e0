package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
)

// AlertKinds are what an alert can be about.
var AlertKinds = []string{"quarantine", "lag", "stalled", "credentials", "guard", "wal_retention"}

// Alert is an alert block.
type Alert struct {
	Kind, Name string // webhook
	URL        string
	SigningKey string   // "": not signed
	On         []string // of AlertKinds
	Repeat     time.Duration
	// From where on it is worth an alert.
	Quarantine   Rate
	Lag, Stalled time.Duration
	WALRetention int64 // bytes
	Range        hcl.Range

	body hcl.Body
}

// Rate is a number of records within a time.
type Rate struct {
	Count  int64
	Within time.Duration
}

// ParseRate reads "100 in 1h".
func ParseRate(s string) (Rate, error) {
	count, within, _ := strings.Cut(s, " in ")
	n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
	d, derr := ParseDuration(strings.TrimSpace(within))
	if err != nil || derr != nil || n < 1 || d < time.Minute || d > 7*24*time.Hour {
		return Rate{}, fmt.Errorf("%q is not a rate: write \"100 in 1h\", with a time between \"1m\" and \"7d\"", s)
	}
	return Rate{n, d}, nil
}

func (p *Project) decodeAlert(block *hcl.Block) (*Alert, hcl.Diagnostics) {
	a := &Alert{
		Kind: block.Labels[0], Name: block.Labels[1], On: AlertKinds, Repeat: 4 * time.Hour,
		Quarantine: Rate{100, time.Hour}, Lag: 10 * time.Minute, Stalled: 15 * time.Minute, WALRetention: 10 << 30, Range: block.DefRange, body: block.Body,
	}
	if a.Kind != "webhook" {
		return a, hcl.Diagnostics{unknown(&block.LabelRanges[0], "alert", a.Kind, []string{"webhook"})}
	}
	var raw struct {
		URL          string         `hcl:"url"`
		SigningKey   string         `hcl:"signing_key,optional"`
		On           []string       `hcl:"on,optional"`
		Repeat       hcl.Expression `hcl:"repeat,optional"`
		Quarantine   hcl.Expression `hcl:"quarantine,optional"`
		Lag          hcl.Expression `hcl:"lag,optional"`
		Stalled      hcl.Expression `hcl:"stalled,optional"`
		WALRetention hcl.Expression `hcl:"wal_retention,optional"`
	}
	diags := gohcl.DecodeBody(block.Body, p.EvalContext(), &raw)
	if diags.HasErrors() {
		return a, diags
	}
	a.URL, a.SigningKey = raw.URL, raw.SigningKey
	attrs, _ := block.Body.JustAttributes()
	rng := attrs["url"].Expr.Range()
	// The text may be a secret: it is not shown.
	if u, err := url.Parse(a.URL); a.URL != notSet && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		diags = append(diags, Errorf("E0107", &rng, "Invalid url", "An alert's url is an absolute address such as https://example.com/hooks/penstock."))
	}
	if attr := attrs["on"]; attr != nil {
		a.On = raw.On
		rng := attr.Expr.Range()
		if len(a.On) == 0 {
			diags = append(diags, Errorf("E0107", &rng, "An alert about nothing", "Name what it is about: on = [\"credentials\", \"guard\"], or leave it out for all."))
		}
		for _, kind := range a.On {
			if !slices.Contains(AlertKinds, kind) {
				diags = append(diags, unknown(&rng, "kind of alert", kind, AlertKinds))
			}
		}
	}
	settings := p.settings()
	for _, d := range []struct {
		name string
		expr hcl.Expression
		to   *time.Duration
	}{{"repeat", raw.Repeat, &a.Repeat}, {"lag", raw.Lag, &a.Lag}, {"stalled", raw.Stalled, &a.Stalled}} {
		*d.to, diags = durationOr(d.expr, settings, *d.to, diags)
		if *d.to < time.Minute {
			rng := d.expr.Range()
			diags = append(diags, badSetting(rng, fmt.Errorf("%s is at least \"1m\"", d.name)))
		}
	}
	a.WALRetention, diags = sizeOr(raw.WALRetention, settings, a.WALRetention, diags)
	text, ok, ds := constant(raw.Quarantine, settings)
	if diags = append(diags, ds...); ok {
		rate, err := ParseRate(text)
		if err != nil {
			return a, append(diags, badSetting(raw.Quarantine.Range(), err))
		}
		a.Quarantine = rate
	}
	return a, diags
}
