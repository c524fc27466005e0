package http

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

// usual is the body of a request without a template:
//
//	{"action":"upsert","change":"...","key":"7","id":"...","fields":{"email":"...","mrr":12.50}}
//
// A NULL is null; fields that are not sent are not there.
func (o *object) usual(action sink.Action, c *sink.Change) []byte {
	b := append([]byte(`{"action":`), quote(action.String())...)
	b = append(append(b, `,"change":`...), quote(c.Ref)...)
	b = append(append(b, `,"key":`...), quote(c.Key.Value.Text())...)
	if c.AppID != "" {
		b = append(append(b, `,"id":`...), quote(c.AppID)...)
	}
	if action == sink.Upsert || action == sink.Update {
		b = append(b, `,"fields":{`...)
		first := true
		for _, f := range c.Fields {
			if f.Value.IsUnchanged() || f.Name == o.key {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(append(b, quote(f.Name)...), ':')
			b = append(b, member(f.Value)...)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// quote is a text as JSON.
func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string: never fails
	return b
}

// member is a value as JSON: numbers and booleans as such, with all their digits, JSON as
// it is, anything else as text.
func member(v change.Value) []byte {
	switch v.Kind() {
	case change.Null:
		return []byte("null")
	case change.Bool, change.Int, change.Uint, change.Float, change.Decimal, change.JSON, change.Array, change.Object:
		if text := []byte(v.Text()); json.Valid(text) { // NaN is none
			return text
		}
	case change.Bytes:
		return quote(base64.StdEncoding.EncodeToString([]byte(v.Text())))
	}
	return quote(v.Text())
}

// sign adds the headers by which the receiver knows that a body is ours and not old.
func (a *app) sign(h http.Header, body []byte) {
	s := a.config.Signature
	if s == nil {
		return
	}
	mac := hmac.New(sha256.New, []byte(a.config.SigningKey))
	if *s.Timestamp != "" {
		now := strconv.FormatInt(a.now().Unix(), 10)
		h.Set(*s.Timestamp, now)
		mac.Write([]byte(now + "."))
	}
	mac.Write(body)
	sum := hex.EncodeToString(mac.Sum(nil))
	if s.Encoding == "base64" {
		raw, _ := hex.DecodeString(sum)
		sum = base64.StdEncoding.EncodeToString(raw)
	}
	h.Set(s.Header, s.Prefix+sum)
}

// idempotency is the key of a call: the same when the same changes are sent again.
func idempotency(changes []sink.Change) string {
	if len(changes) == 1 {
		return changes[0].Ref
	}
	sum := sha256.New()
	for i := range changes {
		sum.Write([]byte(strconv.Itoa(len(changes[i].Ref)) + ":" + changes[i].Ref))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// list joins the bodies of a batch.
func (o *object) list(bodies [][]byte) []byte {
	var b []byte
	if o.records != "" {
		b = append(append(append(b, '{'), quote(o.records)...), ':')
	}
	b = append(b, '[')
	for i, one := range bodies {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, one...)
	}
	b = append(b, ']')
	if o.records != "" {
		b = append(b, '}')
	}
	return b
}

// at is what lies at a path (data.0.id) of a JSON document, as text; "" for nothing, an
// object or a list.
func at(document []byte, path string) string {
	raw := find(document, path)
	var text string
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
		return ""
	case raw[0] == '"':
		_ = json.Unmarshal(raw, &text) // "" if it is none
		return text
	}
	return string(raw)
}

// find is the JSON at a path; nil where there is nothing.
func find(document []byte, path string) json.RawMessage {
	raw := json.RawMessage(document)
	if !json.Valid(raw) {
		return nil
	}
	for step := range strings.SplitSeq(path, ".") {
		if step == "" {
			continue
		}
		var members map[string]json.RawMessage
		var items []json.RawMessage
		if json.Unmarshal(raw, &members) == nil {
			raw = members[step]
		} else if n, err := strconv.Atoi(step); err == nil && json.Unmarshal(raw, &items) == nil && n >= 0 && n < len(items) {
			raw = items[n]
		} else {
			return nil
		}
		if raw == nil {
			return nil
		}
	}
	return raw
}
