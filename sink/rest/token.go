package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/penstock-cdc/penstock/sink"
)

// OAuth are the credentials of OAuth 2's refresh token grant (RFC 6749, 6).
type OAuth struct {
	Path                   string // of the token endpoint, below the base URL
	ClientID, ClientSecret string
	Refresh                string // the first refresh token; what the app gives instead is kept in the Vault
	Basic                  bool   // the client's credentials go into the Authorization header instead of the form
}

// Tokens are what an app's authorisation is at the moment.
type Tokens struct {
	Access  string    `json:"access"`
	Expires time.Time `json:"expires"`
	Refresh string    `json:"refresh"`
	// Origin is a digest of the configured refresh token from which these come: another one there is a new
	// authorisation, and they are void.
	Origin string `json:"origin"`
}

// Vault keeps tokens durably.
type Vault interface {
	// Renew hands f the tokens kept for the app (the zero Tokens at first) and keeps what it returns before it
	// returns that. Of all processes that share the vault one at a time runs f for an app. When f returns an error
	// nothing is kept.
	Renew(ctx context.Context, app string, f func(Tokens) (Tokens, error)) (Tokens, error)
}

// early is how long before its end an access token is not used any more: a call may be under way that long.
const early = 2 * time.Minute

// renewal is how long the whole of it may take.
const renewal = 30 * time.Second

// authority has the access token of one app at hand.
type authority struct {
	o      OAuth
	app    string
	vault  Vault
	origin string
	ask    func(ctx context.Context, o OAuth, form url.Values) (Response, error)

	mu     sync.Mutex // held while the token is renewed: all calls wait for that
	tokens Tokens
}

func newAuthority(o OAuth, app string, vault Vault) *authority {
	sum := sha256.Sum256([]byte(o.Refresh))
	return &authority{o: o, app: app, vault: vault, origin: hex.EncodeToString(sum[:])}
}

// access returns a token that is good for a while and is not the refused one.
func (a *authority) access(ctx context.Context, refused string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.good(a.tokens, refused) {
		return a.tokens.Access, nil
	}
	// Whoever asked may give up meanwhile; a new refresh token must be kept all the same, since the old one is void.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewal)
	defer cancel()
	tokens, err := a.vault.Renew(ctx, a.app, func(kept Tokens) (Tokens, error) {
		if kept.Origin != a.origin {
			kept = Tokens{Refresh: a.o.Refresh, Origin: a.origin}
		}
		if a.good(kept, refused) {
			return kept, nil // another process was here before
		}
		return a.renew(ctx, kept)
	})
	if err != nil {
		return "", fmt.Errorf("renew access token: %w", err)
	}
	a.tokens = tokens
	return tokens.Access, nil
}

func (a *authority) good(t Tokens, refused string) bool {
	return t.Access != "" && t.Access != refused && time.Now().Add(min(early, time.Until(t.Expires)/2)).Before(t.Expires)
}

// renew asks for a new access token. Where the answer has a new refresh token the old one is not good any more.
func (a *authority) renew(ctx context.Context, t Tokens) (Tokens, error) {
	asked := time.Now()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}}
	if !a.o.Basic {
		form.Set("client_id", a.o.ClientID)
		form.Set("client_secret", a.o.ClientSecret)
	}
	response, err := a.ask(ctx, a.o, form)
	if err != nil {
		return t, err
	}
	switch response.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return t, sink.Halt(fmt.Errorf("status %d: the app refuses the refresh token or the client's credentials; authorise again, put the new refresh token where its secret block reads it (a file or command is read again, an environment variable when penstock starts)", response.Status))
	}
	if response.Status/100 != 2 {
		err := fmt.Errorf("status %d", response.Status)
		if wait, ok := RetryAfter(response.Header, time.Now()); ok {
			return t, sink.RetryAfter(err, wait)
		}
		return t, err
	}
	var answer struct {
		Access  string  `json:"access_token"`
		Refresh string  `json:"refresh_token"`
		Life    float64 `json:"expires_in"` // seconds
	}
	if json.Unmarshal(response.Body, &answer) != nil || answer.Access == "" {
		return t, errors.New("answer has no access token")
	}
	if answer.Life <= 0 {
		answer.Life = 3600 // RFC 6749 leaves it out where it is documented otherwise; a 401 renews it sooner
	}
	t.Access, t.Expires = answer.Access, asked.Add(time.Duration(min(answer.Life, 1e9)*float64(time.Second)))
	if answer.Refresh != "" {
		t.Refresh = answer.Refresh
	}
	return t, nil
}
