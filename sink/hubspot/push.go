package hubspot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Push sends one batch. An update also sets the key, where the change has one: an
// adopted record gets it that way, and one whose key changed keeps its id.
func (a *app) Push(ctx context.Context, object string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	if len(changes) > maxBatch {
		return nil, fmt.Errorf("push %s: %d changes in a batch, hubspot takes %d", object, len(changes), maxBatch)
	}
	path, err := a.object(ctx, object)
	if errors.Is(err, errNoObject) {
		err = sink.Halt(err)
	}
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", object, err)
	}
	object = path
	switch action {
	case sink.Upsert:
		return a.write(ctx, object, "upsert", changes, appendUpsert)
	case sink.Update:
		return a.write(ctx, object, "update", changes, appendUpdate)
	case sink.Archive, sink.Remove:
		return a.archive(ctx, object, changes)
	}
	return nil, fmt.Errorf("push %s: hubspot has no action %v", object, action)
}

// write does a batch upsert or update.
func (a *app) write(ctx context.Context, object, verb string, changes []sink.Change, appendInput func([]byte, *sink.Change, string) ([]byte, error)) ([]sink.Result, error) {
	b := batch{object: object, changes: changes, results: make([]sink.Result, len(changes))}
	body := b.encode(appendInput)
	if b.sent == 0 {
		return b.results, nil // none of them has a form in HubSpot
	}
	var answer reply
	path, template := a.path("objects", object), a.path("objects", "{object}")
	err := a.call(ctx, rest.Request{
		Method: http.MethodPost, Path: path + "/batch/" + verb, Template: template + "/batch/" + verb,
		Body: json.RawMessage(body), Into: &answer, Writes: true, Records: b.sent,
	})
	if err != nil {
		return b.refused(err)
	}
	b.settle(&answer)
	return b.results, nil
}

// archive moves records to the recycle bin. HubSpot says nothing of ids that it does
// not have, or that are there already.
func (a *app) archive(ctx context.Context, object string, changes []sink.Change) ([]sink.Result, error) {
	b := batch{object: object, changes: changes, results: make([]sink.Result, len(changes))}
	body := b.encode(appendID)
	if b.sent == 0 {
		return b.results, nil
	}
	err := a.call(ctx, rest.Request{
		Method: http.MethodPost, Path: a.path("objects", object) + "/batch/archive",
		Template: a.path("objects", "{object}") + "/batch/archive",
		Body:     json.RawMessage(body), Writes: true, Records: b.sent,
	})
	if err != nil {
		return b.refused(err)
	}
	for i := range changes {
		if b.results[i].Err == nil {
			b.results[i].AppID = changes[i].AppID
		}
	}
	return b.results, nil
}

// batch is one call's changes and what becomes of them.
type batch struct {
	object  string
	changes []sink.Change
	results []sink.Result
	traces  map[string]int // trace id -> index of its change
	sent    int
}

// encode writes the call's body. A change that has no form in HubSpot gets its result
// here and is left out.
func (b *batch) encode(appendInput func([]byte, *sink.Change, string) ([]byte, error)) []byte {
	b.traces = make(map[string]int, len(b.changes))
	body := append(make([]byte, 0, 64+512*len(b.changes)), `{"inputs":[`...)
	for i := range b.changes {
		trace := traceID(b.changes[i].Ref)
		if _, taken := b.traces[trace]; taken || trace == "" {
			b.results[i].Err = errors.New("change has no ref of its own in its batch")
			continue
		}
		at := len(body)
		if b.sent > 0 {
			body = append(body, ',')
		}
		next, err := appendInput(body, &b.changes[i], trace)
		if err != nil {
			body = body[:at]
			b.results[i].Err = err
			continue
		}
		body = next
		b.traces[trace] = i
		b.sent++
	}
	return append(body, ']', '}')
}

// traceID is a change's objectWriteTraceId. HubSpot names no limit for its length;
// a long ref is made short, the same each time.
func traceID(ref string) string {
	if len(ref) <= 64 {
		return ref
	}
	sum := sha256.Sum256([]byte(ref))
	return hex.EncodeToString(sum[:16])
}

func appendUpsert(dst []byte, c *sink.Change, trace string) ([]byte, error) {
	key, err := text(c.Key)
	if err != nil {
		return dst, err
	}
	if key == "" {
		return dst, sink.Reject("EMPTY_KEY", fmt.Errorf("key %s is empty", c.Key.Name))
	}
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, key)
	dst = append(dst, `,"idProperty":`...)
	dst = appendString(dst, c.Key.Name)
	return appendRest(dst, c, trace)
}

func appendUpdate(dst []byte, c *sink.Change, trace string) ([]byte, error) {
	if c.AppID == "" {
		return dst, errors.New("update without the record's id")
	}
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, c.AppID)
	return appendRest(dst, c, trace)
}

func appendRest(dst []byte, c *sink.Change, trace string) ([]byte, error) {
	dst = append(dst, `,"objectWriteTraceId":`...)
	dst = appendString(dst, trace)
	dst = append(dst, `,"properties":{`...)
	first := true
	set := func(f sink.Field) error {
		if f.Name == "" || f.Value.IsUnchanged() {
			return nil
		}
		value, err := text(f)
		if err != nil {
			return err
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendString(dst, f.Name)
		dst = append(dst, ':')
		dst = appendString(dst, value)
		return nil
	}
	inFields := slices.ContainsFunc(c.Fields, func(f sink.Field) bool { return f.Name == c.Key.Name })
	if !c.Key.Value.IsNull() && !inFields {
		if err := set(c.Key); err != nil {
			return dst, err
		}
	}
	for _, f := range c.Fields {
		if err := set(f); err != nil {
			return dst, err
		}
	}
	return append(dst, '}', '}'), nil
}

func appendID(dst []byte, c *sink.Change, _ string) ([]byte, error) {
	if c.AppID == "" {
		return dst, errors.New("archive without the record's id")
	}
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, c.AppID)
	return append(dst, '}'), nil
}

// settle gives each change its result: by trace id where the answer has it, else by
// object id or by the key's value.
func (b *batch) settle(answer *reply) {
	settled := make([]bool, len(b.changes))
	for i := range b.results {
		settled[i] = b.results[i].Err != nil
	}
	byID, byKey := b.names()
	place := func(trace, id, key string) int {
		if i, ok := b.traces[trace]; ok && trace != "" {
			return i
		}
		if i, ok := byID[id]; ok && id != "" {
			return i
		}
		if i, ok := byKey[key]; ok && key != "" {
			return i
		}
		return -1
	}
	for n := range answer.Results {
		r := &answer.Results[n]
		key := ""
		if name := b.changes[0].Key.Name; name != "" {
			key = strings.ToLower(strings.TrimSpace(string(r.Properties[name])))
		}
		i := place(string(r.Trace), string(r.ID), key)
		if i < 0 || settled[i] || r.ID == "" {
			continue
		}
		settled[i] = true
		b.results[i] = sink.Result{AppID: string(r.ID), Created: bool(r.New), Stored: stored(&b.changes[i], r), Kept: kept(&b.changes[i], r)}
	}
	for n := range answer.Errors {
		f := &answer.Errors[n]
		err := f.outcome(b.object)
		for _, trace := range f.Context["objectWriteTraceId"] {
			if i := place(trace, "", ""); i >= 0 && !settled[i] {
				settled[i], b.results[i].Err = true, err
			}
		}
		for _, name := range []string{"ids", "id"} {
			for _, id := range f.Context[name] {
				if i := place("", id, strings.ToLower(id)); i >= 0 && !settled[i] {
					settled[i], b.results[i].Err = true, err
				}
			}
		}
		if b.sent == 1 && len(answer.Results) == 0 { // whatever it does not name
			for i := range settled {
				if !settled[i] {
					settled[i], b.results[i].Err = true, err
				}
			}
		}
	}
	for i := range settled {
		if !settled[i] {
			b.results[i].Err = sink.Unknown(fmt.Errorf("hubspot's answer (%s, %d of %d, %d errors) says nothing of this record",
				known(string(answer.Status)), len(answer.Results), b.sent, len(answer.Errors)))
		}
	}
}

// names indexes the changes by object id and by key, in lower case: HubSpot
// lower-cases addresses. Where two share a name it tells nothing.
func (b *batch) names() (byID, byKey map[string]int) {
	byID, byKey = make(map[string]int, len(b.changes)), make(map[string]int, len(b.changes))
	add := func(to map[string]int, name string, i int) {
		if _, twice := to[name]; twice {
			i = -1
		}
		to[name] = i
	}
	for i := range b.changes {
		c := &b.changes[i]
		if c.AppID != "" {
			add(byID, c.AppID, i)
		}
		if key, err := text(c.Key); err == nil && key != "" {
			add(byKey, strings.ToLower(strings.TrimSpace(key)), i)
		}
	}
	return byID, byKey
}

// stored are the change's fields as HubSpot keeps them.
func stored(c *sink.Change, r *result) []sink.Field {
	if len(r.Properties) == 0 {
		return nil
	}
	fields := make([]sink.Field, 0, len(c.Fields))
	for _, f := range c.Fields {
		value, told := r.Properties[f.Name]
		switch {
		case !told:
		case value == "":
			fields = append(fields, sink.Field{Name: f.Name})
		default:
			fields = append(fields, sink.Field{Name: f.Name, Value: change.OfString(string(value))})
		}
	}
	return fields
}

// kept tells of a lifecycle stage that HubSpot would have had to move back: it answers
// with the stage that the record has.
func kept(c *sink.Change, r *result) []string {
	const stage = "lifecyclestage"
	has := string(r.Properties[stage])
	if has == "" {
		return nil
	}
	for _, f := range c.Fields {
		if f.Name != stage || f.Value.IsUnchanged() {
			continue
		}
		if sent, err := text(f); err == nil && sent != "" && sent != has {
			return []string{stage}
		}
	}
	return nil
}

// refused turns the outcome of a call into the outcome of its changes: alone in its
// batch, a refused record is refused by itself.
func (b *batch) refused(err error) ([]sink.Result, error) {
	var whole *callError
	if !errors.As(err, &whole) {
		return b.unsent(err)
	}
	if b.sent == 1 {
		for i := range b.results {
			if b.results[i].Err == nil {
				b.results[i].Err = whole.outcome(b.object)
			}
		}
		return b.results, nil
	}
	named := b.named(whole)
	if whole.Category == "OBJECT_NOT_FOUND" && len(named) > 0 {
		// Nothing was done, but it is not the named records' refusal: they are gone.
		for i := range b.results {
			switch {
			case b.results[i].Err != nil:
			case slices.Contains(named, b.changes[i].Ref):
				b.results[i].Err = whole.outcome(b.object)
			default:
				b.results[i].Err = sink.RetryAfter(plain{whole}, 0)
			}
		}
		return b.results, nil
	}
	if len(named) == b.sent {
		named = nil // naming all of them helps nobody
	}
	return b.unsent(&sink.BatchError{Code: whole.code(), Refs: named, Err: plain{whole}})
}

// unsent returns an error for the call as a whole, unless some changes have got
// results before it.
func (b *batch) unsent(err error) ([]sink.Result, error) {
	if b.sent == len(b.changes) {
		return nil, err
	}
	for i := range b.results {
		if b.results[i].Err == nil {
			b.results[i].Err = err
		}
	}
	return b.results, nil
}

// named are the refs of the records that a refusal of the whole batch is about. Ids
// that a batch has twice (one record was merged into the other) are told in the
// message and not taken from it: each of the two is taken when it comes alone.
func (b *batch) named(e *callError) []string {
	byID, byKey := b.names()
	var refs []string
	add := func(i int, ok bool) {
		if ok && i >= 0 && !slices.Contains(refs, b.changes[i].Ref) {
			refs = append(refs, b.changes[i].Ref)
		}
	}
	for _, trace := range e.Context["objectWriteTraceId"] {
		i, ok := b.traces[trace]
		add(i, ok)
	}
	for _, id := range slices.Concat(e.Context["ids"], e.Context["id"]) {
		i, ok := byID[id]
		add(i, ok)
		i, ok = byKey[strings.ToLower(id)]
		add(i, ok)
	}
	return refs
}
