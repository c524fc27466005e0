package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Pipeline is one pipeline block, decoded but not checked: its row expressions are
// still HCL's, for transform to check and compile.
type Pipeline struct {
	Name    string               // with for_each LABEL.KEY
	Each    map[string]cty.Value // each.key and each.value; nil without for_each
	From    TableRef
	To      ObjectRef
	Run     *Schedule      // nil: live()
	Where   hcl.Expression // nil: all rows
	Clean   []NamedExpr    // in the order written; later ones may use earlier ones
	Rejects []Reject
	Key     NamedExpr   // the app's unique field
	Match   []NamedExpr // at most one for now
	Fields  []FieldExpr // all groups, in the order written
	Parents []Parent
	On      On
	// Backfill says what a new or changed pipeline does about the rows that are there: auto, ask or never.
	Backfill string
	Deliver  Deliver
	Guard    Guard
	Verify   Verify
	// Range is the block's header, for diagnostics about the whole.
	Range hcl.Range
}

// TableRef is `from`: source.<kind>.<source>.<alias>.
type TableRef struct {
	Kind, Source, Table string // the source's kind and name, and the label of its table block
	Range               hcl.Range
}

// ObjectRef is `to`: app.<kind>.<app>.<object>.
type ObjectRef struct {
	Kind, App, Object string
	Range             hcl.Range
}

// NamedExpr is one attribute whose value is a row expression.
type NamedExpr struct {
	Name      string
	Expr      hcl.Expression
	NameRange hcl.Range
}

// Group says who owns a field.
type Group string

// The groups of one-way pipelines.
const (
	OwnedBySource Group = "source" // the database owns the field
	OwnedByApp    Group = "app"    // written when the record is created, never again
	Fill          Group = "fill"   // only where the app has nothing
)

// FieldExpr is one field of a `fields` block.
type FieldExpr struct {
	NamedExpr
	Group Group
}

// Parent is a parent block: a row names a record of another pipeline of the same app.
type Parent struct {
	Name     string
	Pipeline string      // the other pipeline's name
	Key      []NamedExpr // the key columns of its table, each with its value in this row
	Kind     string      // `association`, in the app's words; "": the app's default
	Required bool
	Wait     time.Duration // of a required one: how long until a record is listed
	Range    hcl.Range     // the block's header
	// PipelineRange and KindRange are their values' places.
	PipelineRange, KindRange hcl.Range
}

// Field names a parent among the fields that a pipeline compares and keeps: with the pipeline and the kind in it, another
// one of them is another field.
func (p *Parent) Field() string {
	name := "parent." + p.Name + "(" + p.Pipeline
	if p.Kind != "" {
		name += ", " + p.Kind
	}
	return name + ")"
}

// Reject is a reject block.
type Reject struct {
	Name    string
	When    hcl.Expression
	Message hcl.Expression // nil: none; else a template
	Range   hcl.Range
}

// On has the actions of the `on` blocks, with the defaults filled in.
type On struct {
	Delete    string // archive (default) | delete | ignore | set
	Leave     string // archive (default) | delete | ignore | set
	AppDelete string // hold (default) | recreate | forget
	// SetDelete and SetLeave are the fields of the action set; their values do not depend on the row.
	SetDelete, SetLeave []NamedExpr
}

// Deliver has the settings of delivery.
type Deliver struct {
	Linger time.Duration // how long a batch may wait to fill; default 0
}

// Verify says how edits of fields "source" in the app are looked for.
type Verify struct {
	Every       time.Duration // 0: not in rounds
	BeforeWrite bool
	Range       hcl.Range // the block's header
}

// Guard limits what may happen in a rolling hour; a share is of the live records, and
// the floor of 20 records applies to each. Negative: unlimited.
type Guard struct {
	MaxDeletes, MaxChanges, MaxCreates Quota
}

// Quota is a share or a count.
type Quota struct {
	Share float64 // 0.05 is 5 %; negative: no share given
	Count int64   // negative: no count given
}

// Function is a function block: its result is a row expression over its parameters.
type Function struct {
	Name   string
	Params []string
	Result hcl.Expression
	Range  hcl.Range // the block's header
}
