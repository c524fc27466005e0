package mysql

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// resume is where a source goes on: what the log keeps as its resume point.
type resume struct {
	Version int    `json:"v"`
	Server  string `json:"server"` // the server's identity
	MariaDB bool   `json:"mariadb"`
	Epoch   uint32 `json:"epoch"` // of event ids
	// File and Pos are where the next transaction may begin.
	File string `json:"file"`
	Pos  uint64 `json:"pos"`
	// FileTime is when the file was begun: another time under its name is another file.
	FileTime uint32 `json:"file_time"`
	// GTIDs are the transactions up to there, "" where the server has none.
	GTIDs string `json:"gtids"`
	// Chunk is above every number of a snapshot chunk that was used.
	Chunk uint64 `json:"chunk"`
	// Tables are those captured without a gap: by name, the commit position (in their
	// epoch) that their snapshot has everything below of.
	Tables map[string]tablePoint `json:"tables"`

	gtids  gomysql.GTIDSet // GTIDs, parsed
	tables []byte          // JSON of Tables, nil when it has changed
}

type tablePoint struct {
	Epoch uint32 `json:"epoch"`
	From  uint64 `json:"from"`
}

const resumeVersion = 1

// parseResume reads what appendTo wrote; nil for no text: the very first start.
func parseResume(text []byte) (*resume, error) {
	if len(text) == 0 {
		return nil, nil
	}
	r := &resume{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read resume point: %w", err)
	}
	if r.Version != resumeVersion {
		return nil, fmt.Errorf("read resume point: it has format %d, this penstock knows %d: use the version that wrote it or a newer one", r.Version, resumeVersion)
	}
	if r.Tables == nil {
		r.Tables = map[string]tablePoint{}
	}
	return r, r.parseGTIDs()
}

func (r *resume) parseGTIDs() error {
	if r.GTIDs == "" {
		r.gtids = nil
		return nil
	}
	set, err := gomysql.ParseGTIDSet(flavor(r.MariaDB), r.GTIDs)
	if err != nil {
		return fmt.Errorf("read GTID set: %w", plain(err))
	}
	r.gtids = set
	return nil
}

func flavor(mariadb bool) string {
	if mariadb {
		return gomysql.MariaDBFlavor
	}
	return gomysql.MySQLFlavor
}

// setTable says that a table is captured from a commit position on.
func (r *resume) setTable(name string, from uint64) {
	r.Tables[name] = tablePoint{Epoch: r.Epoch, From: from}
	r.tables = nil
}

// keepTables forgets the tables that keep does not have.
func (r *resume) keepTables(keep func(name string) bool) {
	for name := range r.Tables {
		if !keep(name) {
			delete(r.Tables, name)
		}
	}
	r.tables = nil
}

// appendTo appends the resume point's text.
func (r *resume) appendTo(dst []byte) []byte {
	if r.gtids != nil {
		r.GTIDs = r.gtids.String()
	}
	if r.tables == nil {
		r.tables, _ = json.Marshal(r.Tables) // plain data: cannot fail
	}
	dst = append(dst, `{"v":`...)
	dst = strconv.AppendInt(dst, resumeVersion, 10)
	dst = appendJSONString(append(dst, `,"server":`...), []byte(r.Server))
	dst = strconv.AppendBool(append(dst, `,"mariadb":`...), r.MariaDB)
	dst = strconv.AppendUint(append(dst, `,"epoch":`...), uint64(r.Epoch), 10)
	dst = appendJSONString(append(dst, `,"file":`...), []byte(r.File))
	dst = strconv.AppendUint(append(dst, `,"pos":`...), r.Pos, 10)
	dst = strconv.AppendUint(append(dst, `,"file_time":`...), uint64(r.FileTime), 10)
	dst = appendJSONString(append(dst, `,"gtids":`...), []byte(r.GTIDs))
	dst = strconv.AppendUint(append(dst, `,"chunk":`...), r.Chunk, 10)
	dst = append(append(dst, `,"tables":`...), r.tables...)
	return append(dst, '}')
}

// String is the position in the database's own words.
func (r *resume) String() string {
	if r == nil {
		return ""
	}
	text := r.File + ":" + strconv.FormatUint(r.Pos, 10)
	if r.GTIDs != "" {
		text += ", GTID " + r.GTIDs
	}
	return text
}

// fileBits is how many bits of a commit position the offset in the file takes.
const fileBits = 40

// commitPosition makes the commit position of ids: a file's number and an offset in it.
func commitPosition(file string, offset uint64) (uint64, error) {
	n, err := fileNumber(file)
	if err != nil {
		return 0, err
	}
	if n >= 1<<(63-fileBits) || offset >= 1<<fileBits {
		return 0, fmt.Errorf("position %s:%d is beyond what event ids can hold", file, offset)
	}
	return n<<fileBits | offset, nil
}

// fileNumber returns the number in a binlog file's name: 12 of mysql-bin.000012.
func fileNumber(file string) (uint64, error) {
	_, digits, ok := cutLast(file, '.')
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return 0, fmt.Errorf("binlog file %q has no number at its end", file)
	}
	return n, nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// missing returns the names in want that Tables has not, sorted.
func (r *resume) missing(want []string) (out []string) {
	for _, name := range want {
		if _, ok := r.Tables[name]; !ok {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}
