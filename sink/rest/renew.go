package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-cdc/penstock/sink"
)

// Credentials are what an app lets calls in by, as its block has them: one of the three.
type Credentials struct {
	Token  string      // a bearer token
	Header http.Header // a key in a header of every call
	OAuth  *OAuth
}

// renewEvery is how often credentials that are refused are read again at most: that may run a command.
const renewEvery = 5 * time.Second

// credentials returns those of now.
func (c *Client) credentials() (Credentials, *authority) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.tokens
}

// renew reads the credentials again, since the app has refused these; it tells whether there are others now.
func (c *Client) renew(refused Credentials) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !reflect.DeepEqual(c.current, refused):
		return true // another call was here before
	case c.options.Renew == nil || time.Since(c.renewed) < renewEvery:
		return false
	}
	c.renewed = time.Now()
	fresh, err := c.options.Renew()
	if err != nil || reflect.DeepEqual(fresh, refused) || (fresh.OAuth == nil) != (refused.OAuth == nil) {
		return false // the refusal is what is said
	}
	c.current = fresh
	if fresh.OAuth != nil {
		c.tokens = newAuthority(*fresh.OAuth, c.options.App, c.options.Vault)
		c.tokens.ask = c.ask
	}
	return true
}

// authorized makes a call with the credentials of now, and again with others where the app refuses these and there are others.
func (c *Client) authorized(ctx context.Context, r Request) (Response, error) {
	used, tokens := c.credentials()
	response, err := c.as(ctx, r, used, tokens)
	var halt *sink.HaltError
	if refused := response.Status == http.StatusUnauthorized || tokens != nil && errors.As(err, &halt); !refused || !c.renew(used) {
		return response, err
	}
	used, tokens = c.credentials()
	return c.as(ctx, r, used, tokens)
}

// Again makes a Renew that decodes an app's block again.
func Again[C any](env Env, body hcl.Body, decode func(hcl.Body, *hcl.EvalContext) (*C, hcl.Diagnostics), credentials func(*C) Credentials) func() (Credentials, error) {
	if env.Settings == nil {
		return nil
	}
	return func() (Credentials, error) {
		ctx, err := env.Settings()
		if err != nil {
			return Credentials{}, err
		}
		c, diags := decode(body, ctx)
		if diags.HasErrors() {
			return Credentials{}, errors.New("the block can't be read again") // its diagnostics may quote a secret
		}
		return credentials(c), nil
	}
}
