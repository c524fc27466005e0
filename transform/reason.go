package transform

import "sort"

// reasonUnchanged is the reason of Reselect.
const reasonUnchanged = "unchanged"

// reasons are the stable codes of rejections that no reject block made, each with what it means.
var reasons = map[string]string{
	"bad_bool":          "the text does not say yes or no",
	"bad_country":       "not a country known to ISO 3166",
	"bad_currency":      "not a currency of ISO 4217",
	"bad_date":          "the value names no date",
	"bad_email":         "not a usable e-mail address",
	"bad_iban":          "not an IBAN of ISO 13616",
	"bad_json":          "not a JSON document",
	"bad_list":          "a list of lists, which expressions can't read",
	"bad_name":          "an object's name is NULL",
	"bad_number":        "the value is not a number of this type",
	"bad_phone":         "not a valid phone number of the country",
	"bad_option":        "the value is none of those allowed",
	"bad_postcode":      "not a postal code of the country",
	"bad_time":          "the text does not have the layout",
	"bad_url":           "not an address of the web",
	"bad_uuid":          "not a UUID",
	"bad_vat":           "not a VAT identification number of the EU",
	"bad_value":         "the value names no moment and can't be ordered",
	"division_by_zero":  "division by zero",
	"duplicate_name":    "an object has two values of one name",
	"empty_key":         "the app key is empty",
	"internal":          "a fault of penstock's own; please report it",
	"invalid_operation": "the operation has no result, such as infinity minus infinity",
	"not_exact":         "the amount has more digits than the currency",
	"null_key":          "the app key is NULL",
	"overflow":          "the result is out of range",
	"schema_mismatch":   "the row is of another version of the table's schema",
}

// Reasons returns the codes that Result.Reason can have besides the names of reject blocks.
func Reasons() []string {
	out := make([]string, 0, len(reasons))
	for r := range reasons {
		out = append(out, r)
	}
	sort.Strings(out)
	return out
}

// failure is where the last failure was.
type failure struct {
	function string // that could not compute
	clean    string // whose expression it is in
}

// refuse makes a result of a failure. The message names the place and no value.
func (w *Worker) refuse(res *Result, v value, label string) {
	if v.s == reasonUnchanged {
		res.Outcome, res.Reason = Reselect, reasonUnchanged
		w.columns = append(w.columns[:0], int(v.n))
		res.Columns = w.columns
		res.Message = "the value of " + w.program.table.Columns[v.n].Name + " is needed and was not sent, as it did not change"
		return
	}
	res.Outcome, res.Reason = Rejected, v.s
	message := reasons[v.s]
	if w.fail.function != "" {
		message = w.fail.function + "(): " + message
	}
	if w.fail.clean != "" {
		message = "clean." + w.fail.clean + ": " + message
	} else if label != "" {
		message = label + ": " + message
	}
	res.Message = message
}

// recover turns a panic into the rejection of the row: one bad record never stops the others.
func (w *Worker) recover(res *Result) {
	if r := recover(); r != nil {
		*res = Result{}
		w.refuse(res, fail("internal"), "")
	}
}
