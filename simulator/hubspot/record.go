package hubspot

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// objectType is one kind of object with its records. All but defs is guarded by app.mu.
type objectType struct {
	name, singular, title, id string
	identifier                string   // the property that is unique though not marked so: a contact's email
	system                    []string // properties that every answer has, sorted
	usual                     []string // properties of an answer when none are asked for, sorted
	modified                  string   // name of the modification time
	created                   string   // name of the creation time
	qualified                 string   // a custom object's name with the account's number
	custom                    *schema  // nil for HubSpot's own
	required                  []string // properties that a new record must have
	anyOf                     []string // and of which it must have one
	standard                  []*property
	defs                      definitions

	next    uint64 // id of the next record
	byID    map[uint64]*record
	ordered []*record                     // by id, those merged into others and erased among them
	gone    int                           // how many of ordered those are
	lagging []written                     // records with versions that search still shows, by time
	index   map[string]map[string]*record // unique property -> value -> live record
	blocked map[string]bool               // e-mails that a GDPR delete named and no contact had
}

func newObjectType(name, singular, title, id, identifier string, standard []*property, system, usual []string) *objectType {
	t := &objectType{name: name, singular: singular, title: title, id: id, identifier: identifier, standard: standard, system: system, usual: usual, created: "createdate"}
	slices.Sort(t.usual)
	t.modified = "hs_lastmodifieddate"
	if slices.Contains(system, "lastmodifieddate") {
		t.modified = "lastmodifieddate"
	}
	t.reset()
	return t
}

func (t *objectType) reset() {
	t.next = 1
	t.byID = map[uint64]*record{}
	t.ordered, t.gone, t.lagging = nil, 0, nil
	t.index = map[string]map[string]*record{}
	t.blocked = map[string]bool{}
	t.replace(slices.Clone(t.standard))
}

// record is one object. Its versions never change: a write puts a new one in place.
type record struct {
	id      uint64
	created int64 // Unix nanoseconds
	now     *version
	older   []*version // newest first: those that search may still have to show
	into    *record    // merged into this one
	erased  bool
}

// written is a record that was written at a time.
type written struct {
	r  *record
	at int64
}

type version struct {
	fields   []simulator.Field // sorted by name, no empty values
	at       int64             // Unix nanoseconds
	archived bool
	settled  bool // initial data: search shows it at once
}

// snapshot is a record as it was at one moment; it can be read without the lock.
type snapshot struct {
	id      uint64
	created int64
	*version
}

func (r *record) snapshot() snapshot { return snapshot{r.id, r.created, r.now} }

func (r *record) live() bool { return !r.now.archived && r.into == nil && !r.erased }

// find follows merges: the id of a record that was merged into another still finds
// that other; the answer's other id tells of the merge (assumed).
func (t *objectType) find(id string) *record {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil
	}
	r := t.byID[n]
	for r != nil && r.into != nil {
		r = r.into
	}
	if r == nil || r.erased {
		return nil
	}
	return r
}

// findBy finds a live record by a unique property, or any by id when property is "".
func (t *objectType) findBy(property, value string) *record {
	if property == "" || property == "hs_object_id" {
		if r := t.find(value); r != nil && r.live() {
			return r
		}
		return nil
	}
	return t.index[property][value]
}

func value(fields []simulator.Field, name string) string {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value
		}
	}
	return ""
}

// property is a value of the record, its own or HubSpot's.
func (s snapshot) property(t *objectType, name string) string {
	switch name {
	case "hs_object_id":
		return strconv.FormatUint(s.id, 10)
	case t.created:
		return stamp(s.created)
	case t.modified:
		return stamp(s.at)
	}
	return value(s.fields, name)
}

func stamp(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z")
}

// merged overlays sorted fields with sorted changes, where an empty value takes a
// field away, and tells which changes make a difference. It changes neither; all is
// fields itself when nothing differs.
func merged(fields, changes []simulator.Field) (all, changed []simulator.Field) {
	size, differ := len(fields), 0
	i := 0
	for _, c := range changes {
		for i < len(fields) && fields[i].Name < c.Name {
			i++
		}
		switch {
		case i < len(fields) && fields[i].Name == c.Name:
			if c.Value != fields[i].Value {
				differ++
			}
			if c.Value == "" {
				size--
			}
		case c.Value != "":
			size++
			differ++
		}
	}
	if differ == 0 {
		return fields, nil
	}
	all = make([]simulator.Field, 0, size)
	changed = make([]simulator.Field, 0, differ)
	i = 0
	for _, c := range changes {
		for i < len(fields) && fields[i].Name < c.Name {
			all = append(all, fields[i])
			i++
		}
		before := ""
		if i < len(fields) && fields[i].Name == c.Name {
			before = fields[i].Value
			i++
		}
		if c.Value != "" {
			all = append(all, c)
		}
		if c.Value != before {
			changed = append(changed, c)
		}
	}
	return append(all, fields[i:]...), changed
}

// link and unlink keep the index of unique values for the live records.
func (t *objectType) link(r *record) {
	t.eachUnique(r.now.fields, func(property, value string) { t.index[property][value] = r })
}

func (t *objectType) unlink(r *record) {
	t.eachUnique(r.now.fields, func(property, value string) {
		if t.index[property][value] == r {
			delete(t.index[property], value)
		}
	})
}

func (t *objectType) eachUnique(fields []simulator.Field, fn func(property, value string)) {
	for _, name := range t.defs.Load().unique {
		if v := value(fields, name); v != "" {
			fn(name, v)
		}
	}
	if t.identifier != "email" {
		return
	}
	// A contact's further addresses are as unique as its first ([restore]).
	if more := value(fields, "hs_additional_emails"); more != "" {
		for email := range strings.SplitSeq(more, ";") {
			fn("email", email)
		}
	}
}

// put makes v the record's version, keeping those that search still has to show.
func (t *objectType) put(r *record, v *version, lag time.Duration) {
	if lag > 0 {
		shown := v.at - int64(lag)
		keep := append([]*version{r.now}, r.older...)
		for i, old := range keep {
			if old.at <= shown || old.settled {
				keep = keep[:i+1]
				break
			}
		}
		r.older = keep
		t.lagging = append(t.lagging, written{r, v.at})
	}
	t.unlink(r)
	r.now = v
	if r.live() {
		t.link(r)
	}
	for shown := v.at - int64(lag); len(t.lagging) > 0 && t.lagging[0].at <= shown; t.lagging = t.lagging[1:] {
		if old := t.lagging[0].r; old.now.at <= shown {
			old.older = nil
		}
	}
}

// insert adds a record under its id, which is new.
func (t *objectType) insert(r *record) {
	t.byID[r.id] = r
	if n := len(t.ordered); n == 0 || t.ordered[n-1].id < r.id {
		t.ordered = append(t.ordered, r)
	} else {
		at := sort.Search(n, func(i int) bool { return t.ordered[i].id > r.id })
		t.ordered = slices.Insert(t.ordered, at, r)
	}
	t.next = max(t.next, r.id+1)
	if r.live() {
		t.link(r)
	}
}

// visible is the record as search shows it at a time: the newest version that is old
// enough, or none.
func (r *record) visible(shown int64) (snapshot, bool) {
	if r.erased || r.into != nil {
		return snapshot{}, false
	}
	v := r.now
	if v.at > shown && !v.settled {
		v = nil
		for _, old := range r.older {
			if old.at <= shown || old.settled {
				v = old
				break
			}
		}
	}
	if v == nil || v.archived {
		return snapshot{}, false
	}
	return snapshot{r.id, r.created, v}, true
}

// all returns the records that exist, archived ones too, in order of id.
func (t *objectType) all() []snapshot {
	list := make([]snapshot, 0, len(t.ordered)-t.gone)
	for _, r := range t.ordered {
		if r.into == nil && !r.erased {
			list = append(list, r.snapshot())
		}
	}
	return list
}

func (s snapshot) record() simulator.Record {
	return simulator.Record{
		ID:        strconv.FormatUint(s.id, 10),
		Archived:  s.archived,
		Fields:    s.fields,
		CreatedAt: time.Unix(0, s.created),
		UpdatedAt: time.Unix(0, s.at),
	}
}

// appendJSON appends the record as the objects API shows it, with the named
// properties, which are sorted.
func (s snapshot) appendJSON(dst []byte, t *objectType, names []string) []byte {
	dst = append(dst, `{"id":"`...)
	dst = strconv.AppendUint(dst, s.id, 10)
	dst = append(dst, `","properties":{`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = simulator.AppendString(dst, name)
		dst = append(dst, ':')
		switch name {
		case "hs_object_id":
			dst = append(dst, '"')
			dst = strconv.AppendUint(dst, s.id, 10)
			dst = append(dst, '"')
		case t.created:
			dst = simulator.AppendTime(dst, time.Unix(0, s.created))
		case t.modified:
			dst = simulator.AppendTime(dst, time.Unix(0, s.at))
		default:
			if v := value(s.fields, name); v != "" {
				dst = simulator.AppendString(dst, v)
			} else {
				dst = append(dst, "null"...)
			}
		}
	}
	dst = append(dst, `},"createdAt":`...)
	dst = simulator.AppendTime(dst, time.Unix(0, s.created))
	dst = append(dst, `,"updatedAt":`...)
	dst = simulator.AppendTime(dst, time.Unix(0, s.at))
	dst = append(dst, `,"archived":`...)
	dst = strconv.AppendBool(dst, s.archived)
	if s.archived {
		dst = append(dst, `,"archivedAt":`...)
		dst = simulator.AppendTime(dst, time.Unix(0, s.at))
	}
	return dst // without the closing brace: batches add to it
}

// names are the properties to show: the system's and the asked-for ones that are
// defined ([contacts]: others are left out), or the usual ones.
func (t *objectType) names(asked []string) []string {
	if len(asked) == 0 {
		return t.usual
	}
	defs := t.defs.Load()
	names := slices.Clone(t.system)
	for _, name := range asked {
		if defs.byName[name] != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
