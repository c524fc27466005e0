package hubspot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// event is one entry of a webhook's array ([webhooks]).
type event struct {
	EventID        uint64   `json:"eventId"`
	SubscriptionID int      `json:"subscriptionId"`
	PortalID       int      `json:"portalId"`
	AppID          int      `json:"appId"`
	OccurredAt     int64    `json:"occurredAt"` // Unix ms
	Type           string   `json:"subscriptionType"`
	Attempt        int      `json:"attemptNumber"`
	ObjectID       uint64   `json:"objectId"`
	ObjectType     string   `json:"objectTypeId,omitempty"`
	ChangeSource   string   `json:"changeSource"`
	ChangeFlag     string   `json:"changeFlag,omitempty"`
	Property       string   `json:"propertyName,omitempty"`
	Value          *string  `json:"propertyValue,omitempty"`
	Primary        uint64   `json:"primaryObjectId,omitempty"`
	Merged         []uint64 `json:"mergedObjectIds,omitempty"`
}

// Events are one for each property that changed, or one for what became of the record. Custom objects' types begin
// with object instead of their own name ([webhooks]).
func (a *app) Events(seq uint64, c simulator.Change) []simulator.Event {
	t := a.objectType(c.Object)
	if t == nil {
		return nil
	}
	id, _ := strconv.ParseUint(c.ID, 10, 64)
	name := t.singular
	if t.custom != nil {
		name = "object"
	}
	source := "INTEGRATION"
	if c.ByPerson {
		source = "CRM_UI"
	}
	e := event{PortalID: a.portal, AppID: 1, OccurredAt: c.Time.UnixMilli(), ObjectID: id, ObjectType: t.id, ChangeSource: source}
	var all []simulator.Event
	add := func(kind string, e event) {
		e.EventID = seq*1000 + uint64(len(all))
		e.Type = name + "." + kind
		e.SubscriptionID = len(kind) // one for each kind
		all = append(all, e)
	}
	switch c.Action {
	case "create":
		made := e
		made.ChangeFlag = "NEW"
		add("creation", made)
	case "archive":
		gone := e
		gone.ChangeFlag = "DELETED"
		add("deletion", gone)
	case "restore":
		add("restore", e)
	case "merge":
		m := e
		m.Merged = []uint64{id}
		m.Primary, _ = strconv.ParseUint(c.Into, 10, 64)
		add("merge", m)
	case "erase":
		add("privacyDeletion", e)
	}
	for _, f := range c.Fields {
		p := e
		p.Property, p.Value = f.Name, &f.Value
		add("propertyChange", p)
	}
	return all
}

// Message is signed by version 3: base64 of HMAC-SHA256, keyed with the app's secret, of method, URI, body and
// timestamp ([webhooks]).
func (a *app) Message(events []simulator.Event, hook simulator.Webhook, attempt int, now time.Time) ([]byte, http.Header) {
	list := make([]event, len(events))
	for i, e := range events {
		list[i] = e.(event)
		list[i].Attempt = attempt
	}
	body, err := json.Marshal(list)
	if err != nil {
		panic(err) // our own type, which marshals
	}
	at := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(hook.Secret))
	mac.Write([]byte(http.MethodPost + hook.URL))
	mac.Write(body)
	mac.Write([]byte(at))
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-HubSpot-Signature-v3", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	h.Set("X-HubSpot-Request-Timestamp", at)
	return body, h
}

// Retries: all but five statuses by which a receiver says that it does not want the events (community.hubspot.com
// 277558).
func (a *app) Retries(status int) bool {
	switch status {
	case 400, 401, 403, 404, 405:
		return false
	}
	return true
}
