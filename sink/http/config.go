package http

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Config is an app "http" block.
type Config struct {
	BaseURL string `hcl:"base_url"`
	// Credentials: a bearer token, a key in a header, OAuth, or none.
	Token        string `hcl:"token,optional"`
	APIKey       string `hcl:"api_key,optional"`
	APIKeyHeader string `hcl:"api_key_header,optional"` // X-Api-Key
	ClientID     string `hcl:"client_id,optional"`
	ClientSecret string `hcl:"client_secret,optional"`
	RefreshToken string `hcl:"refresh_token,optional"`
	TokenPath    string `hcl:"token_path,optional"` // below base_url
	// SigningKey signs every body: see Signature.
	SigningKey        string     `hcl:"signing_key,optional"`
	Signature         *Signature `hcl:"signature,block"`
	IdempotencyHeader string     `hcl:"idempotency_header,optional"` // Idempotency-Key
	Ping              string     `hcl:"ping,optional"`               // a path that answers 2xx to a GET
	Calls             int        `hcl:"calls,optional"`
	Window            string     `hcl:"window,optional"`
	Concurrent        int        `hcl:"concurrent,optional"` // 4
	Timeout           string     `hcl:"timeout,optional"`    // 30s
	Objects           []*Object  `hcl:"object,block"`
	Others            hcl.Body   `hcl:",remain"`

	window, timeout time.Duration
	settings        rest.Settings
	body            hcl.Body
}

// Object is an object block.
type Object struct {
	Name     string            `hcl:"name,label"`
	Key      string            `hcl:"key"`
	Fields   map[string]string `hcl:"fields"` // name to type
	Required []string          `hcl:"required,optional"`
	Batch    int               `hcl:"batch,optional"`   // records in a call, 1
	Records  string            `hcl:"records,optional"` // of a batch: the member that has the list; "": the body is the list
	Requests []*Request        `hcl:"request,block"`
	Answer   *Answer           `hcl:"answer,block"`

	compiled *object
}

// Request is a request block; its label is what it is for: upsert, update or delete.
type Request struct {
	Action  string         `hcl:"action,label"`
	Method  string         `hcl:"method,optional"`
	Path    hcl.Expression `hcl:"path,optional"`
	Headers hcl.Expression `hcl:"headers,optional"`
	Body    hcl.Expression `hcl:"body,optional"`
}

// Answer is an answer block. Paths are names and numbers with dots between them.
type Answer struct {
	ID      string `hcl:"id,optional"`      // of the record's id
	Results string `hcl:"results,optional"` // of a batch's list of results, in the order of its records
	Error   string `hcl:"error,optional"`   // of a result's or an error's code
	// Statuses that mean something else than usual.
	Done     []int `hcl:"done,optional"`
	Rejected []int `hcl:"rejected,optional"`
	Gone     []int `hcl:"gone,optional"`
	Retry    []int `hcl:"retry,optional"`
	Halt     []int `hcl:"halt,optional"`
}

// Signature says how bodies are signed: HMAC-SHA-256 with signing_key, of the time in
// seconds, a dot and the body, or of the body alone where there is no timestamp header.
type Signature struct {
	Header    string  `hcl:"header,optional"`           // X-Signature
	Timestamp *string `hcl:"timestamp_header,optional"` // X-Timestamp; "": none
	Encoding  string  `hcl:"encoding,optional"`         // hex, base64
	Prefix    string  `hcl:"prefix,optional"`           // in front of the signature: sha256=
}

// String has no secret in it.
func (c *Config) String() string { return "http at " + c.BaseURL }

// Decode reads an app block's body and compiles its templates. It has no side effects.
func Decode(body hcl.Body, ctx *hcl.EvalContext) (*Config, hcl.Diagnostics) {
	c := &Config{body: body, APIKeyHeader: "X-Api-Key", IdempotencyHeader: "Idempotency-Key", Concurrent: 4, Window: "1s", Timeout: "30s"}
	content, diags := blocks(body)
	if diags.HasErrors() {
		return nil, diags
	}
	if diags = gohcl.DecodeBody(body, ctx, c); diags.HasErrors() {
		return nil, diags
	}
	if c.settings, diags = rest.DecodeSettings(c.Others, ctx); diags.HasErrors() {
		return nil, diags
	}
	c.defaults()
	at := func(name string) *hcl.Range {
		if a := content[name]; a != nil {
			return a.Expr.Range().Ptr()
		}
		return body.MissingItemRange().Ptr()
	}
	bad := func(name, summary, detail string, args ...any) {
		diags = append(diags, wrong("E0107", at(name), summary, fmt.Sprintf(detail, args...)))
	}
	if _, err := rest.ParseBase(c.BaseURL); err != nil {
		bad("base_url", "Invalid base_url", "The %v.", err)
	}
	ways := 0
	for _, given := range []bool{c.Token != "", c.APIKey != "", c.ClientID+c.ClientSecret+c.RefreshToken+c.TokenPath != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		bad("token", "Two kinds of credentials", "Give one of token, api_key, and client_id with client_secret, refresh_token and token_path.")
	}
	if oauth := []string{c.ClientID, c.ClientSecret, c.RefreshToken, c.TokenPath}; slices.Contains(oauth, "") && strings.Join(oauth, "") != "" {
		bad("client_id", "Credentials are not complete", "OAuth needs client_id, client_secret, refresh_token and token_path.")
	}
	for name, value := range map[string]string{"token": c.Token, "api_key": c.APIKey, "ping": c.Ping} {
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad(name, "Invalid "+name, "%s has blanks, line ends or characters other than ASCII in it.", name)
		}
	}
	if c.Ping != "" && !strings.HasPrefix(c.Ping, "/") {
		bad("ping", "Invalid ping", "ping is a path below base_url and starts with a slash.")
	}
	if c.Signature != nil && c.SigningKey == "" {
		bad("signing_key", "Nothing to sign with", "A signature block needs signing_key, from a secret block.")
	}
	if s := c.Signature; s != nil && s.Encoding != "hex" && s.Encoding != "base64" {
		bad("signature", "Invalid encoding", "A signature's encoding is hex or base64.")
	}
	if c.Calls < 0 || c.Concurrent < 1 || c.Concurrent > 64 {
		bad("concurrent", "Invalid limits", "calls is 1 or more, concurrent 1 to 64.")
	}
	for name, to := range map[string]*time.Duration{"window": &c.window, "timeout": &c.timeout} {
		text := map[string]string{"window": c.Window, "timeout": c.Timeout}[name]
		d, err := config.ParseDuration(text)
		if err != nil || d <= 0 {
			bad(name, "Invalid "+name, "%s is a duration such as \"10s\".", name)
		}
		*to = d
	}
	if len(c.Objects) == 0 {
		bad("object", "No object", "Declare what is sent: object \"customers\" { key = \"id\", fields = { email = \"text\" } }.")
	}
	seen := map[string]bool{}
	for _, o := range c.Objects {
		if seen[o.Name] {
			bad("object", "Object declared twice", "There are two blocks for object %q.", o.Name)
		}
		seen[o.Name] = true
		var ds hcl.Diagnostics
		o.compiled, ds = compile(o, body.MissingItemRange())
		diags = append(diags, ds...)
	}
	return c, diags
}

func (c *Config) defaults() {
	for _, d := range []struct {
		value *string
		usual string
	}{{&c.APIKeyHeader, "X-Api-Key"}, {&c.IdempotencyHeader, "Idempotency-Key"}, {&c.Window, "1s"}, {&c.Timeout, "30s"}} {
		if *d.value == "" {
			*d.value = d.usual
		}
	}
	if c.Concurrent == 0 {
		c.Concurrent = 4
	}
	for _, secret := range []*string{&c.Token, &c.APIKey, &c.ClientSecret, &c.RefreshToken, &c.SigningKey} {
		*secret = strings.TrimSpace(*secret) // a file's last line end
	}
	if c.SigningKey != "" && c.Signature == nil {
		c.Signature = &Signature{}
	}
	if s := c.Signature; s != nil {
		if s.Header == "" {
			s.Header = "X-Signature"
		}
		if s.Timestamp == nil {
			usual := "X-Timestamp"
			s.Timestamp = &usual
		}
		if s.Encoding == "" {
			s.Encoding = "hex"
		}
	}
	for _, o := range c.Objects {
		o.Batch = max(o.Batch, 1)
		if o.Answer == nil {
			o.Answer = &Answer{}
		}
	}
}

// blocks returns the attributes of a body that has blocks too, for their places.
func blocks(body hcl.Body) (hcl.Attributes, hcl.Diagnostics) {
	schema, _ := gohcl.ImpliedBodySchema(Config{})
	content, _, diags := body.PartialContent(schema)
	return content.Attributes, diags
}

// methods are those that a request may have.
var methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
