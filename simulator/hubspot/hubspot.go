// Package hubspot is a local look-alike of HubSpot's CRM API: contacts, companies,
// deals and custom objects, their properties, associations, search, merge and GDPR
// delete, webhooks and OAuth, at the dated version (/crm/objects/2026-09/{type}) and at
// the legacy one (/crm/v3/objects/{type}), which have the same bodies.
//
// Each rule names its source:
//
//	[errors]     developers.hubspot.com/docs/api-reference/error-handling
//	[usage]      developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
//	[contacts]   developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide, and the
//	             batch pages of the 2026-03 reference
//	[properties] developers.hubspot.com/docs/guides/api/crm/properties
//	[search]     developers.hubspot.com/docs/api-reference/2026-03/crm/search-the-crm
//	[schemas]    developers.hubspot.com/docs/api-reference/latest/crm/objects/schemas/guide
//	[associations] developers.hubspot.com/docs/api-reference/latest/crm/associations,
//	             changelog/bug-fix-batch-read-limit-for-hubspot-associations-api
//	[webhooks]   developers.hubspot.com/docs/api-reference/2026-03/webhooks/guide,
//	             .../docs/apps/developer-platform/build-apps/authentication/request-validation
//	[oauth]      developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
//	[restore]    knowledge.hubspot.com/records/restore-deleted-records
//	[node-N] [python-N] [php-N]  issue N of HubSpot/hubspot-api-nodejs, -python, -php
//
// A rule marked (assumed) is what integrators tell of HubSpot, with no page of the
// vendor's found that says it; where two readings were possible it is the stricter.
package hubspot

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// Names of the limits, for simulator.Options.Limits; they are what a 429 gives as
// policyName ([errors]).
const (
	TenSecondly = "TEN_SECONDLY_ROLLING" // 100 (Free, Starter) by default; 190 Professional and Enterprise ([usage])
	Daily       = "DAILY"                // 250,000 by default; up to 1,000,000 ([usage])
	Secondly    = "SECONDLY"             // search: 5 a second for the account ([search])
)

// Option changes what New makes.
type Option func(*app)

// SearchLag is how long a write takes to show in search; 3 s by default. Search is
// eventually consistent ([search], [php-59]).
func SearchLag(d time.Duration) Option { return func(a *app) { a.searchLag = d } }

// PortalID is the account's number as it shows in error texts.
func PortalID(id int) Option { return func(a *app) { a.portal = id } }

// RewritePhones stores phone and mobilephone as a plus sign and digits only, as an
// account with automatic phone formatting does.
func RewritePhones() Option { return func(a *app) { a.rewritePhones = true } }

// ShuffleResults answers batches in an order of its own: HubSpot promises none, and
// results are told apart by id, unique value or objectWriteTraceId.
func ShuffleResults(seed uint64) Option {
	return func(a *app) { a.shuffle = rand.New(rand.NewPCG(seed, 1)) }
}

// RefusePartialEmailUpserts makes an upsert by email fail whole even with trace ids.
// [contacts] says that partial upserts are not supported for email; others have seen
// them work, so they do by default.
func RefusePartialEmailUpserts() Option { return func(a *app) { a.wholeEmailUpserts = true } }

// DocumentedRequired enforces what the guides call required of a new record: a contact's email, firstname or lastname,
// a company's name or domain, a deal's dealname and dealstage. HubSpot's API is seen to take records without them, so
// it does by default.
func DocumentedRequired() Option {
	return func(a *app) {
		for _, t := range *a.types.Load() {
			switch t.name {
			case "contacts":
				t.anyOf = []string{"email", "firstname", "lastname"}
			case "companies":
				t.anyOf = []string{"name", "domain"}
			case "deals":
				t.required = []string{"dealname", "dealstage"}
			}
		}
	}
}

// ExpiredTokens are answered as OAuth tokens past their 30 minutes.
func ExpiredTokens(tokens ...string) Option {
	return func(a *app) { a.expired = append(a.expired, tokens...) }
}

// app is HubSpot. mu guards the records of all types; the definitions of properties
// are replaced whole, so that requests are checked without it.
type app struct {
	env               simulator.Env
	searchLag         time.Duration
	portal            int
	rewritePhones     bool
	wholeEmailUpserts bool
	shuffle           *rand.Rand // guarded by mu
	expired           []string

	types atomic.Pointer[[]*objectType] // replaced whole, under mu

	mu    sync.Mutex
	oauth *oauth                 // nil: any bearer token
	edges map[end]map[end][]kind // associations, both ways
}

// New returns HubSpot with its standard properties and no records.
func New(opts ...Option) simulator.App {
	a := &app{searchLag: 3 * time.Second, portal: 4242424, edges: map[end]map[end][]kind{}}
	standard := standardTypes()
	a.types.Store(&standard)
	for _, opt := range opts {
		opt(a)
	}
	return a
}

func (a *app) Name() string { return "hubspot" }

func (a *app) Start(env simulator.Env) { a.env = env }

func (a *app) Limits() []simulator.Limit {
	return []simulator.Limit{
		{Name: TenSecondly, Max: 100, Window: 10 * time.Second},
		{Name: Daily, Max: 250_000, Window: simulator.Day},
		{Name: Secondly, Max: 5, Window: time.Second},
	}
}

// LimitHeaders sets what [usage] lists; search answers carry none of them ([search]).
func (a *app) LimitHeaders(h http.Header, states []simulator.LimitState) {
	for _, s := range states {
		switch s.Name {
		case TenSecondly:
			h["X-HubSpot-RateLimit-Interval-Milliseconds"] = []string{strconv.FormatInt(s.Window.Milliseconds(), 10)}
			h["X-HubSpot-RateLimit-Max"] = []string{strconv.Itoa(s.Max)}
			h["X-HubSpot-RateLimit-Remaining"] = []string{strconv.Itoa(s.Remaining)}
		case Daily:
			h["X-HubSpot-RateLimit-Daily"] = []string{strconv.Itoa(s.Max)}
			h["X-HubSpot-RateLimit-Daily-Remaining"] = []string{strconv.Itoa(s.Remaining)}
		}
	}
}

// Limited is the 429 of [errors]; HubSpot documents no Retry-After for it.
func (a *app) Limited(s simulator.LimitState) simulator.Reply {
	return limited(s.Name)
}

// Authenticate wants a bearer token; 401 categories as seen in segment-docs pull 6244.
func (a *app) Authenticate(r *http.Request, token string) *simulator.Reply {
	if strings.HasPrefix(r.URL.Path, "/oauth/") {
		return nil // the form has the credentials
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var e *apiError
	switch {
	case !ok || strings.TrimSpace(got) == "":
		e = &apiError{status: 401, category: "INVALID_AUTHENTICATION", message: "Authentication credentials not found. This API supports OAuth 2.0 authentication and private app or service key tokens."}
	case slices.Contains(a.expired, got):
		e = &apiError{status: 401, category: "EXPIRED_AUTHENTICATION", message: "The OAuth token used to make this call expired 7 second(s) ago."}
	case token != "" && got != token:
		e = &apiError{status: 401, category: "INVALID_AUTHENTICATION", message: "The access token is not valid for this account."}
	default:
		a.mu.Lock()
		if a.oauth != nil {
			e = a.oauth.refuses(got, a.env.Now())
		}
		a.mu.Unlock()
	}
	if e == nil {
		return nil
	}
	reply := e.reply()
	return &reply
}

// Routes are served under both versions; 2026-03 is the dated version before 2026-09.
func (a *app) Routes() []simulator.Route {
	usual := []string{TenSecondly, Daily}
	var routes []simulator.Route
	add := func(method, path string, writes bool, limits []string, serve func(*objectType, *simulator.Call) simulator.Reply) {
		routes = append(routes, simulator.Route{
			Pattern: method + " " + path,
			Writes:  writes,
			Limits:  limits,
			Serve: func(c *simulator.Call) simulator.Reply {
				t := a.objectType(c.Request.PathValue("type"))
				if t == nil {
					return (&apiError{status: 400, category: "VALIDATION_ERROR", message: "Unable to infer object type from: " + c.Request.PathValue("type")}).reply()
				}
				if e := contentType(c); e != nil {
					return e.reply()
				}
				return serve(t, c)
			},
		})
	}
	for _, base := range []string{"/crm/objects/2026-09/{type}", "/crm/objects/2026-03/{type}", "/crm/v3/objects/{type}"} {
		add("POST", base+"/batch/create", true, usual, a.batchCreate)
		add("POST", base+"/batch/update", true, usual, a.batchUpdate)
		add("POST", base+"/batch/upsert", true, usual, a.batchUpsert)
		add("POST", base+"/batch/archive", true, usual, a.batchArchive)
		add("POST", base+"/batch/read", false, usual, a.batchRead)
		add("POST", base+"/search", false, []string{Secondly}, a.search)
		add("POST", base+"/gdpr-delete", true, usual, a.gdprDelete)
		add("POST", base+"/merge", true, usual, a.merge)
		add("GET", base, false, usual, a.list)
		add("POST", base, true, usual, a.createOne)
		add("GET", base+"/{id}", false, usual, a.readOne)
		add("PATCH", base+"/{id}", true, usual, a.updateOne)
		add("DELETE", base+"/{id}", true, usual, a.archiveOne)
	}
	for _, base := range []string{"/crm/properties/2026-09/{type}", "/crm/properties/2026-03/{type}", "/crm/v3/properties/{type}"} {
		add("GET", base, false, usual, a.listProperties)
		add("POST", base, false, usual, a.createProperty)
		add("GET", base+"/{name}", false, usual, a.readProperty)
		add("PATCH", base+"/{name}", false, usual, a.updateProperty)
		add("DELETE", base+"/{name}", false, usual, a.deleteProperty)
	}
	for _, base := range []string{"/crm-object-schemas/2026-09/schemas", "/crm-object-schemas/2026-03/schemas", "/crm-object-schemas/v3/schemas", "/crm/v3/schemas"} {
		routes = append(
			routes,
			simulator.Route{Pattern: "GET " + base, Limits: usual, Serve: a.listSchemas},
			simulator.Route{Pattern: "POST " + base, Writes: true, Limits: usual, Serve: a.createSchema},
			simulator.Route{Pattern: "GET " + base + "/{type}", Limits: usual, Serve: a.readSchema},
		)
	}
	routes = append(routes, a.associationRoutes()...)
	return append(routes, a.oauthRoutes()...)
}

// contentType refuses bodies that are not JSON.
func contentType(c *simulator.Call) *apiError {
	if len(c.Body) == 0 {
		return nil
	}
	media, _, _ := strings.Cut(c.Request.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return &apiError{status: 415, category: "VALIDATION_ERROR", message: "Unsupported Media Type: send application/json"}
	}
	return nil
}

func (a *app) objectType(name string) *objectType {
	for _, t := range *a.types.Load() {
		if name == t.name || name == t.singular || name == t.id || name == t.qualified && name != "" {
			return t
		}
	}
	return nil
}

func (a *app) Reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	var standard []*objectType
	for _, t := range *a.types.Load() {
		if t.custom == nil {
			t.reset()
			standard = append(standard, t)
		}
	}
	a.types.Store(&standard)
	a.edges = map[end]map[end][]kind{}
}

var (
	_ simulator.App    = (*app)(nil)
	_ simulator.Hooked = (*app)(nil)
)
