package hubspot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// Search tells changed records a few seconds late, at times later; it does not tell archived ones, which are listed apart,
// all there are, in no order of time (developers.hubspot.com/docs/api-reference/search/guide).
const (
	searchPage = 200
	// searchLate is how far before its start the next round begins.
	searchLate = 2 * time.Minute
	// archivedPages is how many pages of 100 of the recycle bin a round lists; the next one goes on from there.
	archivedPages = 10
	archivedPage  = 100
)

// place is how far Changes is; its JSON form is the cursor.
type place struct {
	From  int64  `json:"from"`             // Unix ms: records changed since
	Tie   string `json:"tie,omitempty"`    // of those changed at From: records above this id
	Began int64  `json:"began,omitempty"`  // Unix ms, of this round; 0: it has not begun
	Bin   string `json:"bin,omitempty"`    // where the recycle bin's list goes on
	Pages int    `json:"listed,omitempty"` // of the bin, in this round
	Lists bool   `json:"bins,omitempty"`   // the round is at the recycle bin
}

// Changes searches for records by the time of their last change, in its order, so that no search has more than one page: HubSpot
// shows 10,000 results of one at most. What was archived is found by listing a part of the recycle bin in each round.
func (a *app) Changes(ctx context.Context, object, cursor string, fields []string) (sink.Changes, error) {
	if cursor == "" {
		return place{From: time.Now().Add(-searchLate).UnixMilli()}.page(nil, false)
	}
	var at place
	if err := json.Unmarshal([]byte(cursor), &at); err != nil || at.From <= 0 {
		return sink.Changes{}, fmt.Errorf("look for changes of %s: the place that was kept can't be read", object)
	}
	path, err := a.object(ctx, object)
	if err != nil {
		return sink.Changes{}, fmt.Errorf("look for changes of %s: %w", object, err)
	}
	if at.Began == 0 {
		at.Began = time.Now().UnixMilli()
	}
	if at.Lists {
		return a.archivedSince(ctx, path, at)
	}
	return a.changedSince(ctx, path, at, fields)
}

func (p place) page(records []sink.Record, more bool) (sink.Changes, error) {
	text, err := json.Marshal(p)
	return sink.Changes{Records: records, Next: string(text), More: more}, err
}

// changedSince makes one search.
func (a *app) changedSince(ctx context.Context, path string, at place, fields []string) (sink.Changes, error) {
	modified := "hs_lastmodifieddate"
	if path == "contacts" {
		modified = "lastmodifieddate"
	}
	names := slices.Clone(fields)
	for _, name := range []string{modified, mergedIDs} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	since := strconv.FormatInt(at.From, 10)
	s := search{Groups: []group{{[]filter{{Property: modified, Operator: "GTE", Value: since}}}}, Sorts: []sort{{modified, "ASCENDING"}}, Fields: names, Limit: searchPage}
	if at.Tie != "" {
		s.Groups = []group{{[]filter{{Property: modified, Operator: "EQ", Value: since}, {Property: "hs_object_id", Operator: "GT", Value: at.Tie}}}}
		s.Sorts[0].Property = "hs_object_id"
	}
	answer, err := a.searchPage(ctx, path, s, 0)
	if err != nil {
		return sink.Changes{}, err
	}
	found, last := records(answer.Results, names), len(answer.Results)-1
	switch full := len(answer.Results) >= searchPage; {
	case full && at.Tie != "":
		at.Tie = string(answer.Results[last].ID)
	case full:
		to, err := time.Parse(time.RFC3339Nano, string(answer.Results[last].Properties[modified]))
		if err != nil {
			return sink.Changes{}, fmt.Errorf("search %s: a record has no %s", path, modified)
		}
		if to.UnixMilli() > at.From {
			at.From = to.UnixMilli()
		} else {
			at.Tie = "0" // a page of records that were changed in one millisecond, by an import: they are read by id
		}
	case at.Tie != "":
		at.From, at.Tie = at.From+1, ""
	default:
		at.Lists = true
	}
	return at.page(found, true)
}

// archivedSince lists one page of the recycle bin.
func (a *app) archivedSince(ctx context.Context, path string, at place) (sink.Changes, error) {
	var answer reply
	query := url.Values{"archived": {"true"}, "limit": {strconv.Itoa(archivedPage)}, "properties": {"hs_object_id"}}
	if at.Bin != "" {
		query.Set("after", at.Bin)
	}
	if err := a.call(ctx, rest.Request{
		Method: http.MethodGet, Path: a.path("objects", path), Template: a.path("objects", "{object}"), Query: query, Into: &answer, Records: archivedPage,
	}); err != nil {
		return sink.Changes{}, fmt.Errorf("list archived %s: %w", path, err)
	}
	found := records(answer.Results, nil)
	for i := range found {
		found[i].Archived = true
	}
	at.Bin = string(answer.Paging.Next.After)
	if at.Pages++; at.Bin != "" && at.Pages < archivedPages {
		return at.page(found, true)
	}
	return place{From: at.Began - searchLate.Milliseconds(), Bin: at.Bin}.page(found, false)
}
