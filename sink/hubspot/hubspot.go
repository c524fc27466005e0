// Package hubspot writes contacts, companies, deals and custom objects into HubSpot's CRM.
//
// API: the dated CRM API, by default 2026-09 (/crm/objects/2026-09/{object}/batch/...);
// v1 to v4 lose their support in 2027. Setting api_version = "v3" uses the old paths,
// whose bodies are the same.
//
// Identity: upserts name records by the pipeline's key, a property with unique values
// (hasUniqueValue; a contact's email works too). All else goes by HubSpot's object id.
//
// Limits: 100 records a batch; 100 calls in 10 s for Free and Starter accounts, 190 for
// Professional and Enterprise, 250 with the add-on, all of it learned from the answers;
// 250,000 to 1,000,000 calls a day for all apps of an account; search 5 a second and 200
// records a page, a few seconds behind the writes.
//
// Failures of single records: HubSpot takes the others only if every input has an
// objectWriteTraceId of its own, so every input has one; it names the failed ones by it.
//
// Deleting: the API's delete is the archive: a record goes to the recycle bin, can be
// restored for 90 days and is gone after that. Archive and Remove are therefore the
// same here. GDPR delete is another thing, for contacts alone: it cannot be undone and
// may bar an address from coming back. Only Erase does it.
//
// Lifecycle stages only move forward: HubSpot answers a step back as done and leaves the
// stage as it was, which is told as Kept.
//
// Associations: batches of pairs of records (/crm/associations/2026-09/{from}/{to}/batch/..., or v4's), made and taken away
// as often as one likes. Upserts do not take them, creates would: a create cannot be sent twice.
//
// Docs: developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/batch/upsert-contacts,
// .../docs/api-reference/latest/crm/associations/associate-records/batch/delete-associations,
// .../docs/api-reference/error-handling, .../docs/developer-tooling/platform/usage-guidelines.
package hubspot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"golang.org/x/time/rate"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Sizes and paces of the API (package comment).
const (
	maxBatch   = 100
	concurrent = 6
	freeWindow = 10 * time.Second
	freeCalls  = 100
)

// Config is an app "hubspot" block.
type Config struct {
	Token      string `hcl:"token,optional"`       // of a service key or a private app
	BaseURL    string `hcl:"base_url,optional"`    // https://api.hubapi.com
	APIVersion string `hcl:"api_version,optional"` // 2026-09
	// Calls in Window are the pace, instead of the one that HubSpot's answers name; for
	// an account whose limit others need a part of.
	Calls  int    `hcl:"calls,optional"`
	Window string `hcl:"window,optional"` // a duration, 10s
	// Reserve is the share of window and day that is left to others who call the account: "10%".
	Reserve string `hcl:"reserve,optional"`
	// OAuth instead of a token: all three or none.
	ClientID     string   `hcl:"client_id,optional"`
	ClientSecret string   `hcl:"client_secret,optional"`
	RefreshToken string   `hcl:"refresh_token,optional"`
	Others       hcl.Body `hcl:",remain"`

	settings rest.Settings
	reserve  float64
	body     hcl.Body
}

// credentials are those of the block.
func (c *Config) credentials() rest.Credentials {
	if c.Token != "" {
		return rest.Credentials{Token: c.Token}
	}
	return rest.Credentials{OAuth: &rest.OAuth{Path: tokenPath, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Refresh: c.RefreshToken}}
}

// tokenPath is where OAuth tokens are renewed; the versions v1 and v3 of it lose their support with the rest.
const tokenPath = "/oauth/2026-03/token"

// String has no token in it.
func (c *Config) String() string { return "hubspot at " + c.BaseURL }

// Decode reads an app block's body. It has no side effects.
func Decode(body hcl.Body, ctx *hcl.EvalContext) (*Config, hcl.Diagnostics) {
	c := &Config{body: body}
	diags := gohcl.DecodeBody(body, ctx, c)
	if diags.HasErrors() {
		return nil, diags
	}
	c.settings, diags = rest.DecodeSettings(c.Others, ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	if c.BaseURL == "" {
		c.BaseURL = "https://api.hubapi.com"
	}
	if c.APIVersion == "" {
		c.APIVersion = "2026-09"
	}
	if c.Window == "" {
		c.Window = "10s"
	}
	c.Token = strings.TrimSpace(c.Token) // a file's last line end

	attributes, _ := body.JustAttributes() // for the places; the values have been read
	wrong := func(name, summary, detail string) {
		d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, EvalContext: nil}
		if a := attributes[name]; a != nil {
			d.Subject = a.Expr.Range().Ptr()
			d.Context = a.Range.Ptr()
		} else {
			d.Subject = body.MissingItemRange().Ptr()
		}
		diags = append(diags, d)
	}
	given := 0
	for _, part := range []*string{&c.ClientID, &c.ClientSecret, &c.RefreshToken} {
		if *part = strings.TrimSpace(*part); *part != "" {
			given++
		}
	}
	switch {
	case given > 0 && c.Token != "":
		wrong("token", "Two kinds of credentials", "Give a token, or client_id, client_secret and refresh_token.")
	case given > 0 && given < 3:
		wrong("client_id", "Credentials are not complete", "OAuth needs client_id, client_secret and refresh_token.")
	case given == 3:
	case attributes["token"] == nil:
		wrong("token", "Missing credentials", "Give a service key as token, or client_id, client_secret and refresh_token of an OAuth app.")
	case c.Token == "":
		wrong("token", "Empty token", "The token is empty. Make a service key in HubSpot (Development, Keys, Service keys) and give it through a secret block.")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		wrong("token", "Token is not one", "The token has blanks, line ends or characters other than ASCII in it.")
	}
	if _, err := rest.ParseBase(c.BaseURL); err != nil {
		wrong("base_url", "Invalid base_url", "The "+err.Error()+". HubSpot's own is https://api.hubapi.com.")
	}
	if c.APIVersion != "v3" && !dated(c.APIVersion) {
		wrong("api_version", "Invalid api_version", `Versions are dates such as "2026-09", or "v3".`)
	}
	if c.Calls < 0 {
		wrong("calls", "Invalid calls", "calls is the number of calls in a window, 1 or more.")
	}
	if window, err := time.ParseDuration(c.Window); err != nil || window <= 0 {
		wrong("window", "Invalid window", `window is a duration such as "10s".`)
	}
	if c.Reserve != "" {
		share, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(c.Reserve, "%")), 64)
		if err != nil || !strings.HasSuffix(c.Reserve, "%") || !(share >= 0 && share <= 90) {
			wrong("reserve", "Invalid reserve", `reserve is a share such as "10%", 90 % at most.`)
		}
		c.reserve = share / 100
	}
	return c, diags
}

func dated(version string) bool {
	_, err := time.Parse("2006-01", version)
	return err == nil
}

// app is one connected account.
type app struct {
	name    string
	client  *rest.Client
	version string
	calls   int // from the configuration; 0: learned
	window  time.Duration
	learned atomic.Pointer[pace]
	search  *rate.Limiter
	uniques sync.Map // object.property of those known to have unique values
	customs sync.Map // custom object's name -> as paths have it
	day     atomic.Pointer[quota]
	used    atomic.Pointer[used]
	reserve float64
}

type pace struct {
	calls  int
	window time.Duration
}

// quota is a day's calls of the whole account, and what is left of them.
type quota struct{ calls, left int }

// used is how many calls of the window had been made, ours and others', when a call was sent.
type used struct {
	calls int
	at    time.Time
}

// Open makes the app of a checked configuration. It makes no call.
func Open(c *Config, name string, env rest.Env) (sink.App, error) {
	window, err := time.ParseDuration(c.Window)
	if err != nil {
		return nil, fmt.Errorf("open app %s: read window: %w", name, err)
	}
	a := &app{name: name, version: c.APIVersion, calls: c.Calls, window: window, reserve: c.reserve, search: rate.NewLimiter(4, 1)}
	a.learned.Store(&pace{freeCalls, freeWindow})
	options := rest.Options{
		Env:      env,
		App:      name,
		BaseURL:  c.BaseURL,
		Classify: shouldRetry,
		Timeout:  time.Minute,
		Idle:     concurrent,
	}
	options.Credentials, options.Renew = c.credentials(), rest.Again(env, c.body, Decode, (*Config).credentials)
	if err := c.settings.Apply(&options); err != nil {
		return nil, fmt.Errorf("open app %s: %w", name, err)
	}
	if a.client, err = rest.New(options); err != nil {
		return nil, fmt.Errorf("open app %s: %w", name, err)
	}
	return a, nil
}

// Limits takes 2 % off the rate that HubSpot allows: its clock is not ours.
func (a *app) Limits(string) sink.Limits {
	p := *a.learned.Load()
	if a.calls > 0 {
		p = pace{a.calls, a.window}
	} else {
		p.calls = max(1, int(float64(p.calls)*0.98*(1-a.reserve)))
	}
	l := sink.Limits{Batch: maxBatch, Read: maxBatch, Associate: maxAssociations, Concurrent: concurrent, Calls: p.calls, Window: p.window, Reserve: a.reserve}
	if u, of := a.used.Load(), a.learned.Load(); u != nil && of.window == l.Window {
		l.Used, l.UsedAt = max(0, u.calls-(of.calls-l.Calls)), u.at // without what is left to others
	}
	if q := a.day.Load(); q != nil {
		l.Day, l.DayLeft = q.calls, q.left
	}
	return l
}

// Ping reads one property's definition: a key with no rights to any object fails it.
func (a *app) Ping(ctx context.Context) error {
	var any struct{}
	return a.call(ctx, rest.Request{
		Method: http.MethodGet, Path: a.path("properties", "contacts") + "/email",
		Template: a.path("properties", "{object}") + "/{name}", Into: &any, Timeout: 20 * time.Second,
	})
}

// path is /crm/objects/2026-09/contacts, or /crm/v3/objects/contacts.
func (a *app) path(area, object string) string {
	if a.version == "v3" {
		return "/crm/v3/" + area + "/" + object
	}
	return "/crm/" + area + "/" + a.version + "/" + object
}

// errToken is what is wrong when no call can be made with the token.
var errToken = errors.New("hubspot refuses the token")

// call makes a call, learns the pace from its answer, and has a refused token
// confirmed: HubSpot says that a 401 alone is no proof that the token is bad.
func (a *app) call(ctx context.Context, r rest.Request) error {
	sent := time.Now()
	response, err := a.client.Do(ctx, r)
	a.learn(response.Header, sent)
	if response.Status != http.StatusUnauthorized {
		return err
	}
	again := rest.Request{
		Method: http.MethodGet, Path: a.path("properties", "contacts") + "/email",
		Template: a.path("properties", "{object}") + "/{name}", Timeout: 20 * time.Second,
	}
	confirmation, second := a.client.Do(ctx, again)
	switch {
	case confirmation.Status == http.StatusUnauthorized:
		return sink.Halt(fmt.Errorf("app %s: %w (%w); put a valid one where its secret block reads it (a file or command is read again, an environment variable when penstock starts)", a.name, errToken, err))
	case second == nil:
		return sink.RetryAfter(err, time.Second)
	}
	return err
}

func (a *app) learn(h http.Header, sent time.Time) {
	if day := number(h, "X-HubSpot-RateLimit-Daily"); day > 0 && h.Get("X-HubSpot-RateLimit-Daily-Remaining") != "" {
		a.day.Store(&quota{day, max(0, number(h, "X-HubSpot-RateLimit-Daily-Remaining"))})
	}
	calls := number(h, "X-HubSpot-RateLimit-Max")
	window := time.Duration(number(h, "X-HubSpot-RateLimit-Interval-Milliseconds")) * time.Millisecond
	if calls < 1 || calls > 100_000 || window < 100*time.Millisecond || window > time.Hour {
		return
	}
	if left := h.Get("X-HubSpot-RateLimit-Remaining"); left != "" {
		a.used.Store(&used{min(calls, max(0, calls-number(h, "X-HubSpot-RateLimit-Remaining"))), sent})
	}
	if p := a.learned.Load(); p.calls != calls || p.window != window {
		a.learned.Store(&pace{calls, window})
	}
}

var (
	_ sink.App        = (*app)(nil)
	_ sink.Reader     = (*app)(nil)
	_ sink.Changer    = (*app)(nil)
	_ sink.Describer  = (*app)(nil)
	_ sink.Eraser     = (*app)(nil)
	_ sink.Associator = (*app)(nil)
)
