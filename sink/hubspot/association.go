package hubspot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// maxAssociations is how many pairs a batch takes: integrators quote 2,000 for writing.
const maxAssociations = 2000

// associations is /crm/associations/2026-09/deals/contacts, or /crm/v4/associations/deals/contacts.
func (a *app) associations(from, to string) string {
	if a.version == "v3" {
		return "/crm/v4/associations/" + from + "/" + to
	}
	return "/crm/associations/" + a.version + "/" + from + "/" + to
}

// associated is the answer to a batch of associations. The results of a batch of the default type have from and to, those
// of one with types have the ids themselves.
type associated struct {
	Results []pairResult `json:"results"`
	Errors  []failure    `json:"errors"`
}

type pairResult struct {
	FromID word    `json:"fromObjectId"`
	ToID   word    `json:"toObjectId"`
	From   pairEnd `json:"from"`
	To     pairEnd `json:"to"`
}

type pairEnd struct {
	ID word `json:"id"`
}

// UnmarshalJSON takes anything but an object as none.
func (e *pairEnd) UnmarshalJSON(b []byte) error {
	*e = pairEnd{}
	if len(b) == 0 || b[0] != '{' {
		return nil
	}
	type plain pairEnd
	return json.Unmarshal(b, (*plain)(e))
}

// Associate makes associations of the default type of two objects, or takes away all that are between two records:
// HubSpot drops the labels with the default type.
func (a *app) Associate(ctx context.Context, all sink.Associations) ([]error, error) {
	if len(all.Pairs) == 0 {
		return nil, nil
	}
	ends := [2]string{all.From, all.To}
	for i, name := range ends {
		path, err := a.object(ctx, name)
		if errors.Is(err, errNoObject) {
			err = sink.Halt(err)
		}
		if err != nil {
			return nil, fmt.Errorf("associate %s with %s: %w", all.From, all.To, err)
		}
		ends[i] = path
	}
	verb, body := "/batch/associate/default", appendPairs(all.Pairs, false)
	if all.Remove {
		verb, body = "/batch/archive", appendPairs(all.Pairs, true)
	}
	var answer associated
	err := a.call(ctx, rest.Request{
		Method: http.MethodPost, Path: a.associations(ends[0], ends[1]) + verb, Template: a.associations("{from}", "{to}") + verb,
		Body: json.RawMessage(body), Into: &answer, Writes: true, Records: len(all.Pairs),
	})
	errs := make([]error, len(all.Pairs))
	var whole *callError
	switch {
	case err == nil:
		answer.settle(all, errs)
		return errs, nil
	case !errors.As(err, &whole):
		return nil, err
	case len(all.Pairs) == 1:
		errs[0] = whole.outcome(all.From)
		return errs, nil
	}
	return nil, &sink.BatchError{Code: whole.code(), Err: plain{whole}}
}

// appendPairs writes a batch's body. Only what is to be taken away may have several targets, in a list.
func appendPairs(pairs []sink.Pair, several bool) []byte {
	dst := append(make([]byte, 0, 32+64*len(pairs)), `{"inputs":[`...)
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(append(dst, `{"from":{"id":`...), p.From)
		open, end := `},"to":{"id":`, `}}`
		if several {
			open, end = `},"to":[{"id":`, `}]}`
		}
		dst = append(appendString(append(dst, open...), p.To), end...)
	}
	return append(dst, `]}`...)
}

// settle gives each pair its result. An error names its pair by the ids of both records; where it does not, those of which
// the answer says nothing are told to be unknown.
func (r *associated) settle(all sink.Associations, errs []error) {
	if len(r.Errors) == 0 {
		return
	}
	places := map[sink.Pair][]int{}
	for i, p := range all.Pairs {
		places[p] = append(places[p], i)
	}
	named := 0
	for n := range r.Errors {
		f := &r.Errors[n]
		err := f.outcome(all.From)
		found := false
		for _, from := range f.Context["fromObjectId"] {
			for _, to := range f.Context["toObjectId"] {
				for _, i := range places[sink.Pair{From: from, To: to}] {
					errs[i], found = err, true
				}
			}
		}
		if found {
			named++
		} else if len(all.Pairs) == 1 {
			errs[0] = err
			return
		}
	}
	if named == len(r.Errors) {
		return
	}
	told := map[sink.Pair]bool{}
	for n := range r.Results {
		p := sink.Pair{From: string(r.Results[n].FromID), To: string(r.Results[n].ToID)}
		if p.From == "" {
			p = sink.Pair{From: string(r.Results[n].From.ID), To: string(r.Results[n].To.ID)}
		}
		told[p] = true
	}
	for i, p := range all.Pairs {
		if errs[i] == nil && !told[p] {
			errs[i] = sink.Unknown(fmt.Errorf("hubspot's answer (%d of %d, %d errors) says nothing of this association", len(r.Results), len(all.Pairs), len(r.Errors)))
		}
	}
}
