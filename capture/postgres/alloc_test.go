package postgres

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// copyData is a message that the server sends while it streams.
func copyData(lsn uint64, message []byte) []byte {
	body := xlogData(lsn, message)
	return append(binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+len(body))), body...)
}

// fed is a source whose server sends the same bytes for ever.
type fed struct {
	capture.Source
	run func(out capture.Output) error
}

func (f *fed) Run(_ context.Context, _ []byte, out capture.Output) error { return f.run(out) }
func (f *fed) Confirm([]byte)                                            {}

// TestAllocations: from the socket to the encoded batch a row takes no memory of its own,
// neither one that is received after its commit nor one of a transaction in progress.
func TestAllocations(t *testing.T) {
	const rows = 2000
	begin, commit := copyData(0, beginMessage(7, 1000)), copyData(0, commitMessage('C', 7, 1000))
	committed, inProgress := begin, copyData(0, append(binary.BigEndian.AppendUint32([]byte{'S'}, 8), 1))
	for n := range rows {
		message := benchTuple([]byte{'I', 0, 0, 0, 1, 'N'})
		switch n % 4 {
		case 1:
			message = rowMessage('U', n, n)
		case 2:
			message = rowMessage('D', n, 0)
		case 3:
			message = rowMessage('U', n, n+1) // a changed key
		}
		committed = append(committed, copyData(uint64(n/3), message)...)
		inProgress = append(inProgress, copyData(uint64(n/3), within(8+uint32(n%5), message))...)
	}
	committed = append(committed, commit...)
	inProgress = append(append(inProgress, copyData(0, []byte{'E'})...), copyData(0, commitMessage('c', 8, 1000))...)

	for name, sent := range map[string][]byte{"committed": committed, "in progress": inProgress} {
		t.Run(name, func(t *testing.T) {
			w, server := wirePair(t)
			go func() {
				for {
					if _, err := server.Write(sent); err != nil {
						return
					}
				}
			}()
			messages := 0
			for b := sent; len(b) > 0; messages++ {
				b = b[1+binary.BigEndian.Uint32(b[1:]):]
			}
			var each float64
			err := capture.Run(t.Context(), &fed{run: func(out capture.Output) error {
				st := benchStream(nil)
				st.out = out
				st.open.transactions.folder = newSpillFolder(t.TempDir(), "shop")
				relation := benchRelation(st)
				var failed error
				each = testing.AllocsPerRun(20, func() {
					for n := 0; n < messages && failed == nil; n++ {
						var body []byte
						if _, body, failed = w.next(); failed != nil {
							return
						}
						failed = st.data(body)
						if tx := st.open.current; tx != nil && len(tx.relations) == 0 {
							relation.place = -1
							tx.relations[1] = relation
						}
					}
				})
				return failed
			}}, sink{}, change.NewEncoder(change.Source{Connector: change.Postgres, Name: "shop"}), capture.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.0f allocations for %d rows", each, rows)
			if each > rows/20 {
				t.Errorf("%.2f allocations a row", each/rows)
			}
		})
	}
}
