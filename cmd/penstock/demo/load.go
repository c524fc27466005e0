package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// load is a workload on the customers table: inserts, updates and deletes in small
// transactions, one in twenty-five of them dirty, one in ten rolled back.
type load struct {
	conn *pgx.Conn
	rand *rand.Rand
	next int64
	live []int64
	done counts
}

// counts is what the load has committed.
type counts struct{ transactions, inserts, updates, deletes, rolledBack int }

var (
	firstNames = []string{"ada", "GRACE", "  alan ", "Edsger", "barbara", "donald", "Margaret", "jean-luc", "o'neil", "Zoë"}
	lastNames  = []string{"lovelace", "HOPPER", "turing", "Dijkstra", "liskov", "knuth", "hamilton", "PICARD", "mcCarthy", "müller"}
	dirtyMails = []string{"", "nobody", "a@", "@example.com", "two words@example.com"}
)

func newLoad(ctx context.Context, url string, seed uint64) (*load, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect workload: %w", err)
	}
	return &load{conn: conn, rand: rand.New(rand.NewPCG(seed, 1)), next: 1}, nil
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// email is sometimes dirty; clean ones differ by id, as the app demands.
func (l *load) email(id int64) *string {
	if l.rand.IntN(25) == 0 {
		if l.rand.IntN(3) == 0 {
			return nil
		}
		mail := pick(l.rand, dirtyMails)
		return &mail
	}
	mail := fmt.Sprintf("customer%d.v%d@example.com", id, l.rand.IntN(1000))
	switch l.rand.IntN(4) {
	case 0:
		mail = "  " + mail + " "
	case 1:
		mail = strings.ToUpper(mail)
	}
	return &mail
}

func (l *load) phone() *string {
	var number string
	switch l.rand.IntN(4) {
	case 0:
		return nil
	case 1:
		number = "call me maybe"
	case 2:
		number = fmt.Sprintf("(212) 555-%04d", l.rand.IntN(10000))
	default:
		number = fmt.Sprintf("+1 212-555-%04d", l.rand.IntN(10000))
	}
	return &number
}

// seed inserts n customers in one transaction.
func (l *load) seed(ctx context.Context, n int) error {
	return pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error {
		for range n {
			if err := l.insert(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *load) insert(ctx context.Context, tx pgx.Tx) error {
	id := l.next
	l.next++
	_, err := tx.Exec(ctx, `INSERT INTO public.customers (id, email, first_name, last_name, phone, country, mrr_cents, is_test) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		id, l.email(id), pick(l.rand, firstNames), pick(l.rand, lastNames), l.phone(), "US", l.rand.IntN(1_000_000), l.rand.IntN(50) == 0)
	l.live = append(l.live, id)
	l.done.inserts++
	return err
}

// step is one transaction.
func (l *load) step(ctx context.Context) error {
	before, live := l.done, append([]int64(nil), l.live...)
	tx, err := l.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for range 1 + l.rand.IntN(5) {
		if err := l.change(ctx, tx); err != nil {
			return err
		}
	}
	if l.rand.IntN(10) == 0 {
		l.done, l.live = before, live
		l.done.rolledBack++
		return tx.Rollback(ctx)
	}
	l.done.transactions++
	return tx.Commit(ctx)
}

func (l *load) change(ctx context.Context, tx pgx.Tx) error {
	at := 0
	if len(l.live) > 0 {
		at = l.rand.IntN(len(l.live))
	}
	switch n := l.rand.IntN(100); {
	case n < 30 || len(l.live) == 0:
		return l.insert(ctx, tx)
	case n < 33:
		id := l.live[at]
		l.live = append(l.live[:at], l.live[at+1:]...)
		l.done.deletes++
		_, err := tx.Exec(ctx, `DELETE FROM public.customers WHERE id = $1`, id)
		return err
	case n < 36:
		l.done.updates++
		_, err := tx.Exec(ctx, `UPDATE public.customers SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE id = $1`, l.live[at])
		return err
	case n < 60:
		l.done.updates++
		_, err := tx.Exec(ctx, `UPDATE public.customers SET email = $2, phone = $3 WHERE id = $1`, l.live[at], l.email(l.live[at]), l.phone())
		return err
	default:
		l.done.updates++
		_, err := tx.Exec(ctx, `UPDATE public.customers SET mrr_cents = $2, first_name = $3 WHERE id = $1`, l.live[at], l.rand.IntN(1_000_000), pick(l.rand, firstNames))
		return err
	}
}

// run makes about rate transactions a second until the time is up, and says after each how far it is.
func (l *load) run(ctx context.Context, d time.Duration, rate int, report func(counts)) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-tick.C:
			if err := l.step(ctx); err != nil {
				return fmt.Errorf("run workload: %w", err)
			}
			report(l.done)
		}
	}
}
