package demo

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/penstock-cdc/penstock/simulator"
)

// contact is what the CRM must have for a customer. The rules of customers.hcl are
// written here once more, in plain Go, so that the comparison does not trust penstock.
type contact map[string]string

// expected reads the database and says which contacts there must be and which customers
// must have been rejected, by customer id.
func expected(ctx context.Context, conn *pgx.Conn) (want map[string]contact, rejected map[string]bool, err error) {
	rows, err := conn.Query(ctx, `SELECT id, coalesce(email, ''), first_name, last_name, coalesce(phone, ''), mrr_cents FROM public.customers WHERE deleted_at IS NULL AND NOT is_test`)
	if err != nil {
		return nil, nil, fmt.Errorf("read customers: %w", err)
	}
	want, rejected = map[string]contact{}, map[string]bool{}
	for rows.Next() {
		var id, cents int64
		var email, first, last, phone string
		if err := rows.Scan(&id, &email, &first, &last, &phone, &cents); err != nil {
			return nil, nil, err
		}
		email = strings.ToLower(strings.TrimSpace(email))
		if local, domain, ok := strings.Cut(email, "@"); !ok || local == "" || domain == "" || strings.Contains(email, " ") {
			rejected[strconv.FormatInt(id, 10)] = true
			continue
		}
		key := strconv.FormatInt(id, 10)
		want[key] = contact{
			"shop_customer_id": key, "email": email, "firstname": title(first), "lastname": title(last), "phone": e164(phone),
			"shop_mrr": fmt.Sprintf("%d.%02d", cents/100, cents%100),
		}
	}
	return want, rejected, rows.Err()
}

func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		defer func() { start = !unicode.IsLetter(r) }()
		if start {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, strings.TrimSpace(s))
}

// e164 is right for the forms of numbers that the load makes.
func e164(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	switch len(digits) {
	case 10:
		return "+1" + digits
	case 11:
		return "+" + digits
	}
	return ""
}

// difference is one way in which database and CRM disagree.
type difference struct{ key, what string }

// compare finds every difference between what must be and the CRM's live contacts.
// Customers that were rejected may have a contact from an earlier, clean version of their row.
func compare(want map[string]contact, have []simulator.Record, rejected map[string]bool) (diffs []difference, fields int) {
	seen := map[string]bool{}
	for _, rec := range have {
		got := map[string]string{}
		for _, f := range rec.Fields {
			got[f.Name] = f.Value
		}
		key := got["shop_customer_id"]
		switch {
		case rec.Archived:
			continue
		case key == "":
			diffs = append(diffs, difference{rec.ID, "a contact of nobody's"})
			continue
		case seen[key]:
			diffs = append(diffs, difference{key, "a second contact of the same customer"})
			continue
		}
		seen[key] = true
		contact, ok := want[key]
		if !ok {
			if !rejected[key] {
				diffs = append(diffs, difference{key, "a contact that should be gone"})
			}
			continue
		}
		for name, value := range contact {
			fields++
			if got[name] != value && !sameNumber(name, got[name], value) {
				diffs = append(diffs, difference{key, "field " + name + " differs"})
			}
		}
	}
	for key := range want {
		if !seen[key] {
			diffs = append(diffs, difference{key, "no contact"})
		}
	}
	sort.Slice(diffs, func(i, j int) bool { return diffs[i].key < diffs[j].key })
	return diffs, fields
}

// sameNumber allows 12.5 for 12.50: the CRM keeps numbers, not their zeros.
func sameNumber(name, a, b string) bool {
	if name != "shop_mrr" {
		return false
	}
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && x == y
}
