// Package http writes to any REST or webhook endpoint, as the app block's templates say:
// n8n, Zapier, an in-house service.
//
// Objects are declared in the block, each with its key, its fields and their types; the
// templates of a request (path, headers, body) are row expressions in which row is the
// record that is sent. A change of a known record is sent with all its fields, since a
// template may need any of them.
//
// Identity: the app's id of a record is what the answer names (answer { id }), else the
// key's value. Nothing can be read back, so a create whose answer is lost is sent again,
// under the idempotency key that it had: the receiver keeps it from being done twice.
//
// Limits: settings; without them the pace is found out (rest.Pace).
package http

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// The pace that an endpoint which says nothing is first called with, and the fastest.
const (
	firstPace = 5
	mostPace  = 200
)

type app struct {
	name    string
	config  *Config
	client  *rest.Client
	pace    *rest.Pace
	objects map[string]*object
	now     func() time.Time
}

// Open makes the app of a checked configuration. It makes no call.
func Open(c *Config, name string, env rest.Env) (sink.App, error) {
	a := &app{name: name, config: c, pace: rest.NewPace(firstPace, mostPace), objects: map[string]*object{}, now: time.Now}
	for _, o := range c.Objects {
		a.objects[o.Name] = o.compiled
	}
	options := rest.Options{
		Env: env, App: name, BaseURL: c.BaseURL, Classify: classify, Timeout: c.timeout, Idle: c.Concurrent, Pace: a.pace, AnyReply: true,
	}
	options.Credentials, options.Renew = c.credentials(), rest.Again(env, c.body, Decode, (*Config).credentials)
	err := c.settings.Apply(&options)
	if err == nil {
		a.client, err = rest.New(options)
	}
	if err != nil {
		return nil, fmt.Errorf("open app %s: %w", name, err)
	}
	return a, nil
}

// Limits are the settings, or the pace that was found out.
func (a *app) Limits(object string) sink.Limits {
	l := sink.Limits{Batch: 1, Concurrent: a.config.Concurrent, Calls: a.config.Calls, Window: a.config.window, Whole: true}
	if o := a.objects[object]; o != nil {
		l.Batch = o.batch
	}
	if l.Calls == 0 {
		l.Calls, l.Window = a.pace.Limit()
	}
	return l
}

// Ping gets the path of the setting ping; without one there is nothing that could be
// asked of an endpoint that is made for writing.
func (a *app) Ping(ctx context.Context) error {
	if a.config.Ping == "" {
		return nil
	}
	r := rest.Request{Method: http.MethodGet, Path: a.config.Ping, Timeout: 20 * time.Second}
	_, err := a.client.Do(ctx, r)
	return outcomeOf(err)
}

// Describe tells what the block declares.
func (a *app) Describe(_ context.Context, name string) (sink.Object, error) {
	o := a.objects[name]
	if o == nil {
		return sink.Object{}, fmt.Errorf("describe %s: app %s has no object block for it", name, a.name)
	}
	return o.described, nil
}

// Declared marks that Describe asks nothing of the endpoint.
func (a *app) Declared() {}

// credentials are those of the block.
func (c *Config) credentials() (k rest.Credentials) {
	switch {
	case c.APIKey != "":
		k.Header = http.Header{http.CanonicalHeaderKey(c.APIKeyHeader): {c.APIKey}}
	case c.ClientID != "":
		k.OAuth = &rest.OAuth{Path: c.TokenPath, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Refresh: c.RefreshToken}
	default:
		k.Token = c.Token
	}
	return k
}

var (
	_ sink.App      = (*app)(nil)
	_ sink.Declared = (*app)(nil)
)

// kinds are the declared types as columns of the templates' row.
var kinds = map[string]change.Kind{
	"text": change.String, "email": change.String, "phone": change.String, "url": change.String, "enum": change.String,
	"int": change.Int, "decimal": change.Decimal, "bool": change.Bool, "timestamp": change.TimestampTZ, "date": change.Date, "list": change.Array,
}

// wrong makes a diagnostic for a setting.
var wrong = config.Errorf
