package hubspot

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// tokenLife is an access token's life ([oauth]: expires_in 1800).
const tokenLife = 30 * time.Minute

// oauth is an app of HubSpot's marketplace: only access tokens that it was given are accepted.
type oauth struct {
	client, secret string
	refresh        string // the refresh token that is valid now
	rotate         bool
	issued         int
	tokens         map[string]time.Time // access tokens and their ends
}

// OAuth makes the account one that only an app with these credentials may call: its access tokens come from the token
// endpoint, for the refresh token. HubSpot's refresh tokens stay the same; with rotate each is good for one use, as
// OAuth 2.1 wants it and other vendors do.
func OAuth(client, secret, refresh string, rotate bool) Option {
	return func(a *app) {
		a.oauth = &oauth{client: client, secret: secret, refresh: refresh, rotate: rotate, tokens: map[string]time.Time{}}
	}
}

// refuses tells what is wrong with an access token; app.mu is held.
func (o *oauth) refuses(token string, now time.Time) *apiError {
	end, known := o.tokens[token]
	switch {
	case !known:
		return &apiError{status: 401, category: "INVALID_AUTHENTICATION", message: "The access token is not valid for this account."}
	case !now.Before(end):
		return &apiError{status: 401, category: "EXPIRED_AUTHENTICATION", message: fmt.Sprintf("The OAuth token used to make this call expired %d second(s) ago.", int(now.Sub(end).Seconds()))}
	}
	return nil
}

// token answers at the token endpoint. All parameters must be in the body, except at v1, which takes a query too
// ([oauth]).
func (a *app) token(c *simulator.Call) simulator.Reply {
	refuse := func(status, message string) simulator.Reply {
		return jsonReply(http.StatusBadRequest, map[string]string{"status": status, "message": message, "correlationId": correlationID()})
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil || !strings.HasPrefix(c.Request.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return refuse("BAD_REQUEST", "the body is not a form")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.oauth
	switch {
	case o == nil || form.Get("client_id") != o.client || form.Get("client_secret") != o.secret:
		return refuse("BAD_CLIENT_ID", "missing or unknown client id, or wrong client secret")
	case form.Get("grant_type") != "refresh_token":
		return refuse("BAD_GRANT_TYPE", "missing or unknown grant type")
	case form.Get("refresh_token") != o.refresh:
		return refuse("BAD_REFRESH_TOKEN", "missing or invalid refresh token")
	}
	o.issued++
	access := fmt.Sprintf("access-%d", o.issued)
	o.tokens[access] = a.env.Now().Add(tokenLife)
	if o.rotate {
		o.refresh = fmt.Sprintf("refresh-%d", o.issued)
	}
	return jsonReply(http.StatusOK, map[string]any{
		"token_type": "bearer", "access_token": access, "refresh_token": o.refresh, "expires_in": int(tokenLife.Seconds()),
		"hub_id": a.portal, "scopes": []string{"oauth", "crm.objects.contacts.write"},
	})
}

func (a *app) oauthRoutes() []simulator.Route {
	var routes []simulator.Route
	for _, version := range []string{"v1", "v3", "2026-03", "2026-09"} {
		routes = append(routes, simulator.Route{Pattern: "POST /oauth/" + version + "/token", Writes: true, Serve: a.token})
	}
	return routes
}
