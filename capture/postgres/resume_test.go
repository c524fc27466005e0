package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestResume(t *testing.T) {
	known := &resume{Snapshot: snapshotDone, LSN: 7}
	if err := known.publish(&server{version: 180001, publication: &publicationInfo{oid: 4000000001, xmin: 8}, relations: []*relationInfo{{oid: 5, member: 4000000000}, {oid: 6}}}); err != nil {
		t.Fatal(err)
	}
	if p := known.Published; p.Server != 18 || p.OID != 4000000001 || p.XMin != 8 || p.Members.of(5) != 4000000000 || p.Members.of(6) != 0 {
		t.Errorf("got %+v", p)
	}
	for _, r := range []*resume{
		{}, known,
		{System: "7123", Timeline: 3, Standby: true, Epoch: 1, Attempt: 2, Snapshot: snapshotDone, LSN: 1<<40 + 0xabc, Last: 0x10, Tables: []uint32{16384, 4000000000}, Keys: map[uint32][]string{16384: {"a", "b"}, 17: nil}},
	} {
		text := r.appendTo(nil)
		got, err := parseResume(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(got.Tables) == 0 {
			got.Tables = nil
		}
		if d := cmp.Diff(r, got, cmpopts.IgnoreUnexported(resume{}, published{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
	if r, err := parseResume(nil); r != nil || err != nil {
		t.Errorf("no resume point: got %v, %v", r, err)
	}
	for _, bad := range []string{"x", `{"v":2,"lsn":"0/0","last":"0/0"}`, `{"v":1,"lsn":"zz","last":"0/0"}`, `{"v":1,"lsn":"0/0","last":""}`} {
		if _, err := parseResume([]byte(bad)); err == nil {
			t.Errorf("resume point %s was taken", bad)
		}
	}
}

func TestLeftTimeline(t *testing.T) {
	const history = "1\t0/3000000\tno recovery target specified\n\n2\t1/A0000060\tbefore 2000-01-01\n"
	for timeline, want := range map[int32]uint64{1: 0x3000000, 2: 1<<32 + 0xa0000060} {
		if got, known := leftTimeline(history, timeline); !known || got != want {
			t.Errorf("timeline %d: got %x %v, want %x", timeline, got, known, want)
		}
	}
	if _, known := leftTimeline(history, 3); known {
		t.Error("timeline 3 was found")
	}
}
