package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/zclconf/go-cty/cty"
)

// Stream is the stream block.
type Stream struct {
	Kind string // embedded | kafka
	// Embedded.
	Retention time.Duration // 0: until every pipeline has it
	Listen    string        // "": no Kafka endpoint
	// Kafka.
	Brokers           []string
	Partitions        int
	ReplicationFactor int
	TLS               *StreamTLS
	SASL              *StreamSASL
	Range             hcl.Range
}

// StreamTLS is stream "kafka" { tls {} }.
type StreamTLS struct {
	CA         string `hcl:"ca,optional"` // file of PEM certificates; "": the system's
	Cert       string `hcl:"cert,optional"`
	Key        string `hcl:"key,optional"`
	ServerName string `hcl:"server_name,optional"`
}

// StreamSASL is stream "kafka" { sasl {} }.
type StreamSASL struct {
	Mechanism string `hcl:"mechanism"` // plain | scram-sha-256 | scram-sha-512
	Username  string `hcl:"username"`
	Password  string `hcl:"password"`
}

// State is the state block.
type State struct {
	Kind       string // sqlite | postgres
	URL        string
	History    History
	Quarantine Quarantine
	Range      hcl.Range
}

// Quarantine bounds what a pipeline keeps in quarantine.
type Quarantine struct {
	MaxAge     time.Duration // 0: any
	MaxRecords int64         // 0: any number
}

// History says how long the changes of records are kept.
type History struct {
	Keep    time.Duration // 0: none is kept
	MaxSize int64         // bytes
}

// Ops is the ops block.
type Ops struct {
	Listen string `hcl:"listen"`
	Range  hcl.Range
}

func (p *Project) decodePenstock(block *hcl.Block) hcl.Diagnostics {
	var raw struct {
		RequiredVersion string         `hcl:"required_version,optional"`
		DataDir         string         `hcl:"data_dir,optional"`
		SchemaCheck     hcl.Expression `hcl:"schema_check,optional"`
	}
	diags := gohcl.DecodeBody(block.Body, p.settings(), &raw)
	p.SchemaCheck, diags = durationOr(raw.SchemaCheck, p.settings(), p.SchemaCheck, diags)
	if p.SchemaCheck <= 0 {
		p.SchemaCheck = 10 * time.Minute
		diags = append(diags, Errorf("E0107", &block.DefRange, "schema_check can't be 0", "It is how often the apps are asked for their fields while penstock runs: \"10m\"."))
	}
	p.RequiredVersion, p.RequiredRange = raw.RequiredVersion, attributeRange(block, "required_version")
	if raw.DataDir != "" {
		p.DataDir = raw.DataDir
		if !filepath.IsAbs(raw.DataDir) {
			p.DataDir = filepath.Join(p.Dir, raw.DataDir)
		}
	}
	return diags
}

func (p *Project) decodeStream(block *hcl.Block) hcl.Diagnostics {
	p.Stream = Stream{Kind: block.Labels[0], Range: block.DefRange}
	var diags hcl.Diagnostics
	switch s := &p.Stream; s.Kind {
	case "embedded":
		var raw struct {
			Retention hcl.Expression `hcl:"retention,optional"`
			Listen    string         `hcl:"listen,optional"`
		}
		diags = gohcl.DecodeBody(block.Body, p.settings(), &raw)
		s.Listen = raw.Listen
		diags = append(diags, addresses(block, "listen", raw.Listen)...)
		s.Retention, diags = durationOr(raw.Retention, p.settings(), 0, diags)
	case "kafka":
		var raw struct {
			Brokers           []string       `hcl:"brokers"`
			Partitions        int            `hcl:"partitions,optional"`
			ReplicationFactor int            `hcl:"replication_factor,optional"`
			Retention         hcl.Expression `hcl:"retention,optional"`
			TLS               *StreamTLS     `hcl:"tls,block"`
			SASL              *StreamSASL    `hcl:"sasl,block"`
		}
		ctx := p.EvalContext()
		diags = gohcl.DecodeBody(block.Body, ctx, &raw)
		s.Brokers, s.Partitions, s.ReplicationFactor, s.TLS, s.SASL = raw.Brokers, raw.Partitions, raw.ReplicationFactor, raw.TLS, raw.SASL
		s.Retention, diags = durationOr(raw.Retention, p.settings(), 0, diags)
		diags = append(diags, addresses(block, "brokers", s.Brokers...)...)
		if len(s.Brokers) == 0 && !diags.HasErrors() {
			diags = append(diags, Errorf("E0107", &block.DefRange, "No brokers", `brokers is a list of at least one "host:port".`))
		}
		if s.SASL != nil {
			switch s.SASL.Mechanism {
			case "plain", "scram-sha-256", "scram-sha-512":
			default:
				diags = append(diags, Errorf("E0107", &block.DefRange, fmt.Sprintf("Unknown mechanism %q", s.SASL.Mechanism), "sasl mechanism is plain, scram-sha-256 or scram-sha-512."))
			}
		}
	default:
		diags = append(diags, unknown(&block.LabelRanges[0], "stream", s.Kind, []string{"embedded", "kafka"}))
	}
	return diags
}

func (p *Project) decodeState(block *hcl.Block) hcl.Diagnostics {
	p.State = State{Kind: block.Labels[0], Range: block.DefRange}
	switch p.State.Kind {
	case "sqlite":
		var raw struct {
			History *struct {
				Keep    hcl.Expression `hcl:"keep,optional"`
				MaxSize hcl.Expression `hcl:"max_size,optional"`
			} `hcl:"history,block"`
			Quarantine *struct {
				MaxAge     hcl.Expression `hcl:"max_age,optional"`
				MaxRecords int64          `hcl:"max_records,optional"`
			} `hcl:"quarantine,block"`
		}
		diags := gohcl.DecodeBody(block.Body, p.settings(), &raw)
		p.State.History = defaultHistory
		if h := raw.History; h != nil {
			p.State.History.Keep, diags = durationOr(h.Keep, p.settings(), defaultHistory.Keep, diags)
			p.State.History.MaxSize, diags = sizeOr(h.MaxSize, p.settings(), defaultHistory.MaxSize, diags)
		}
		if q := raw.Quarantine; q != nil {
			p.State.Quarantine.MaxAge, diags = durationOr(q.MaxAge, p.settings(), 0, diags)
			if p.State.Quarantine.MaxRecords = q.MaxRecords; q.MaxRecords < 0 {
				diags = append(diags, Errorf("E0107", &block.DefRange, "Value can't be used", "max_records is a number of entries; 0 or none: any number."))
			}
		}
		return diags
	case "postgres":
		return hcl.Diagnostics{notYet(&block.DefRange, `state "postgres"`)}
	}
	return hcl.Diagnostics{unknown(&block.LabelRanges[0], "state", p.State.Kind, []string{"sqlite", "postgres"})}
}

func (p *Project) decodeOps(block *hcl.Block) hcl.Diagnostics {
	p.Ops = &Ops{Range: block.DefRange}
	var raw struct {
		Listen string `hcl:"listen"`
	}
	diags := gohcl.DecodeBody(block.Body, p.settings(), &raw)
	p.Ops.Listen = raw.Listen
	return append(diags, addresses(block, "listen", raw.Listen)...)
}

// addresses refuses what is no host:port, at the attribute that says it.
func addresses(block *hcl.Block, name string, all ...string) (diags hcl.Diagnostics) {
	for _, s := range all {
		_, port, err := net.SplitHostPort(s)
		if _, e := strconv.ParseUint(port, 10, 16); err == nil && e == nil || s == "" {
			continue
		}
		diags = append(diags, Errorf("E0107", attributeRange(block, name), fmt.Sprintf("%q is not an address", s), `Write host and port, such as "127.0.0.1:7878".`))
	}
	return diags
}

// attributeRange is where a block's attribute has its value.
func attributeRange(block *hcl.Block, name string) *hcl.Range {
	content, _, _ := block.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if a := content.Attributes[name]; a != nil {
		return a.Expr.Range().Ptr()
	}
	return block.DefRange.Ptr()
}

// defaultHistory is kept where the state block does not say otherwise.
var defaultHistory = History{Keep: 30 * 24 * time.Hour, MaxSize: 1 << 30}

// ParseDuration reads "50ms", "15m", "1h30m", "7d".
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration: write \"50ms\", \"15m\" or \"7d\"", s)
	}
	return d, nil
}

// ParseSize reads "64MiB", "10 GiB", "512": bytes.
func ParseSize(s string) (int64, error) {
	text, factor := s, int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			text, factor = strings.TrimSpace(rest), 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("%q is not a size: write \"64MiB\" or a number of bytes", s)
	}
	return n * factor, nil
}

// ParseQuota reads "2%" or a whole number.
func ParseQuota(s string) (Quota, error) {
	if share, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err == nil && f >= 0 && f <= 100 {
			return Quota{Share: f / 100, Count: -1}, nil
		}
	} else if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return Quota{Share: -1, Count: n}, nil
	}
	return Quota{}, fmt.Errorf("%q is not a limit: write a share such as \"2%%\" or a whole number of records", s)
}

// constant evaluates an attribute that is a plain text or number; ok is false when it is not there.
func constant(expr hcl.Expression, ctx *hcl.EvalContext) (text string, ok bool, diags hcl.Diagnostics) {
	if expr == nil {
		return "", false, nil
	}
	v, diags := expr.Value(ctx)
	if diags.HasErrors() || !v.IsKnown() || v.IsNull() {
		return "", false, diags // what is not known was refused where it comes from
	}
	rng := expr.Range()
	switch {
	case v.Type() == cty.String:
		return v.AsString(), true, nil
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('f', -1), true, nil
	}
	return "", false, append(diags, Errorf("E0107", &rng, "Wrong kind of value", "A text such as \"15m\" or a number is expected here."))
}

func durationOr(expr hcl.Expression, ctx *hcl.EvalContext, otherwise time.Duration, diags hcl.Diagnostics) (time.Duration, hcl.Diagnostics) {
	text, ok, ds := constant(expr, ctx)
	diags = append(diags, ds...)
	if !ok {
		return otherwise, diags
	}
	d, err := ParseDuration(text)
	if err != nil {
		return otherwise, append(diags, badSetting(expr.Range(), err))
	}
	return d, diags
}

func sizeOr(expr hcl.Expression, ctx *hcl.EvalContext, otherwise int64, diags hcl.Diagnostics) (int64, hcl.Diagnostics) {
	text, ok, ds := constant(expr, ctx)
	diags = append(diags, ds...)
	if !ok {
		return otherwise, diags
	}
	n, err := ParseSize(text)
	if err != nil {
		return otherwise, append(diags, badSetting(expr.Range(), err))
	}
	return n, diags
}

func badSetting(rng hcl.Range, err error) *hcl.Diagnostic {
	return Errorf("E0107", &rng, "Value can't be used", err.Error())
}
