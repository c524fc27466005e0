package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Push sends a record or a batch, as the object is declared.
func (a *app) Push(ctx context.Context, name string, action sink.Action, changes []sink.Change) ([]sink.Result, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	o := a.objects[name]
	if o == nil {
		return nil, sink.Halt(fmt.Errorf("push %s: app %s has no object block for it", name, a.name))
	}
	if len(changes) > o.batch {
		return nil, fmt.Errorf("push %s: %d changes in a call, its batch is %d", name, len(changes), o.batch)
	}
	r := o.request(action)
	results := make([]sink.Result, len(changes))
	if r == nil {
		for i := range results {
			results[i].Err = sink.Reject("NO_REQUEST", fmt.Errorf("object %s has no request block for what is deleted", name))
		}
		return results, nil
	}
	b := &batch{o: o, action: action, results: results}
	for i := range changes {
		one, err := o.render(r, action, &changes[i])
		if err == nil && o.batch > 1 && !json.Valid(one.body) {
			err = sink.Reject("TEMPLATE", fmt.Errorf("the body of object %s is no JSON, as a part of a batch must be", name))
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		b.parts, b.sent, b.index = append(b.parts, one), append(b.sent, changes[i]), append(b.index, i)
	}
	if len(b.sent) == 0 {
		return results, nil
	}
	call := b.parts[0]
	body := call.body
	if o.batch > 1 {
		bodies := make([][]byte, len(b.parts))
		for i, part := range b.parts {
			bodies[i] = part.body
		}
		body = o.list(bodies)
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	for name, values := range call.header {
		h[name] = values
	}
	h.Set(a.config.IdempotencyHeader, idempotency(b.sent))
	a.sign(h, body)
	response, err := a.client.Do(ctx, rest.Request{
		Method: r.method, Path: call.path, Template: "/{" + name + "}", Header: h, Body: rest.Form(body), Writes: true, Records: len(b.sent),
	})
	return b.settle(response, err)
}

// batch is one call's changes and what becomes of them.
type batch struct {
	o       *object
	action  sink.Action
	parts   []*rendered
	sent    []sink.Change
	index   []int // of each sent change in results
	results []sink.Result
}

// answered is an answer with a status that is not success, on its way through the client.
type answered struct {
	name     string
	response rest.Response
}

func (e *answered) Error() string {
	return fmt.Sprintf("%s: status %d (request %s)", e.name, e.response.Status, e.response.ID)
}

// classify lets every status through to settle, but for those that only the client knows.
func classify(r rest.Request, response rest.Response) error {
	switch s := response.Status; {
	case s == http.StatusTooManyRequests || s/100 == 3:
		return nil
	}
	return &answered{r.Name(), response}
}

// outcomeOf is what a status means where no record is concerned.
func outcomeOf(err error) error {
	var e *answered
	if !errors.As(err, &e) {
		return err
	}
	switch s := e.response.Status; s {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired:
		return sink.Halt(fmt.Errorf("%w: the endpoint refuses the credentials; put valid ones where their secret block reads them (a file or command is read again, an environment variable when penstock starts)", e))
	}
	return errors.New(e.Error())
}

// settle gives each change its result.
func (b *batch) settle(response rest.Response, err error) ([]sink.Result, error) {
	var refusal *answered
	answer := b.o.answer
	switch status := response.Status; {
	case slices.Contains(answer.Done, status):
	case slices.Contains(answer.Retry, status):
		wait, ok := rest.RetryAfter(response.Header, time.Now())
		if !ok {
			wait = 10 * time.Second
		}
		return b.whole(sink.RetryAfter(text(err, status), wait))
	case err == nil:
		if slices.Contains(answer.Halt, status) {
			return b.whole(sink.Halt(text(err, status)))
		}
	case !errors.As(err, &refusal):
		return b.whole(err)
	default:
		return b.refused(refusal)
	}
	var list []json.RawMessage
	if answer.Results != "" {
		if json.Unmarshal(find(response.Body, answer.Results), &list) != nil || len(list) != len(b.sent) {
			return b.whole(sink.Unknown(fmt.Errorf("status %d: the answer has not a result for each of %d records", status(response), len(b.sent))))
		}
	}
	for n, i := range b.index {
		result := sink.Result{AppID: b.sent[n].AppID, Created: status(response) == http.StatusCreated && len(b.sent) == 1 && b.sent[n].AppID == ""}
		document := response.Body
		if list != nil {
			document = list[n]
			if answer.Error != "" {
				if code := at(document, answer.Error); code != "" {
					b.results[i].Err = sink.Reject(known(code), errors.New("the endpoint does not take the record"))
					continue
				}
			}
		}
		if id := ""; answer.ID != "" && (list != nil || len(b.sent) == 1) {
			if id = at(document, answer.ID); id != "" {
				result.AppID = id
			}
		}
		if result.AppID == "" {
			result.AppID = b.sent[n].Key.Value.Text()
		}
		b.results[i] = result
	}
	return b.results, nil
}

func status(r rest.Response) int { return r.Status }

func text(err error, status int) error {
	if err != nil {
		return errors.New(err.Error())
	}
	return fmt.Errorf("status %d", status)
}

// refused is what a status that is not success comes to: what the block says it means,
// else what it usually does.
func (b *batch) refused(e *answered) ([]sink.Result, error) {
	answer, status := b.o.answer, e.response.Status
	has := func(list []int, usual ...int) bool {
		return slices.Contains(list, status) || slices.Contains(usual, status) && !b.named(status)
	}
	deletes := b.action == sink.Archive || b.action == sink.Remove
	switch {
	case has(answer.Halt, http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired):
		return b.whole(sink.Halt(fmt.Errorf("%w: the endpoint refuses the credentials; put valid ones where their secret block reads them (a file or command is read again, an environment variable when penstock starts)", text(e, status))))
	case has(answer.Gone, http.StatusGone), status == http.StatusNotFound && !b.named(status) && (deletes || b.action == sink.Update && len(b.sent) == 1):
		if len(b.sent) > 1 {
			return b.whole(&sink.BatchError{Code: "GONE", Err: text(e, status)})
		}
		b.results[b.index[0]].Err = fmt.Errorf("%w: %w", text(e, status), sink.ErrGone)
		return b.results, nil
	case has(answer.Rejected, http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity):
		code := fmt.Sprintf("STATUS_%d", status)
		if answer.Error != "" {
			if named := at(e.response.Body, answer.Error); named != "" {
				code = known(named)
			}
		}
		if len(b.sent) > 1 {
			return b.whole(&sink.BatchError{Code: code, Err: text(e, status)})
		}
		b.results[b.index[0]].Err = sink.Reject(code, text(e, status))
		return b.results, nil
	case status >= 500, status == http.StatusRequestTimeout:
		return b.whole(sink.Unknown(text(e, status)))
	}
	return b.whole(text(e, status)) // a wrong path or method: tried again with back-off, shown in status
}

// named tells whether the block says what a status means.
func (b *batch) named(status int) bool {
	a := b.o.answer
	return slices.Contains(slices.Concat(a.Done, a.Rejected, a.Gone, a.Retry, a.Halt), status)
}

// whole returns an error for the call as a whole, unless some changes have got results before it.
func (b *batch) whole(err error) ([]sink.Result, error) {
	if len(b.sent) == len(b.results) {
		return nil, err
	}
	for _, i := range b.index {
		b.results[i].Err = err
	}
	return b.results, nil
}

var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,80}$`)

// known lets through only what has the form of a code: a text may quote values.
func known(code string) string {
	code = strings.TrimSpace(code)
	if codeForm.MatchString(code) {
		return code
	}
	return "REFUSED"
}
