package service

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// An Option changes how a server is started.
type Option func(*options)

type options struct {
	dir      string
	port     int
	detached bool
	fsync    bool
	trust    bool
	heap     string
	settings []string // name=value
	progress io.Writer
}

func newOptions(opts []Option) options {
	o := options{heap: "384m", progress: io.Discard}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// removeDir returns dir if it goes away with the server, else "".
func (o options) removeDir(dir string) string {
	if o.dir != "" {
		return ""
	}
	return dir
}

// InDir keeps data and log in dir, which is made when missing and stays when
// the server stops. A folder with data of an earlier run is used again.
func InDir(dir string) Option { return func(o *options) { o.dir = dir } }

// Port asks for a port instead of a free one.
func Port(port int) Option { return func(o *options) { o.port = port } }

// Detached lets the server outlive the process that starts it. It needs InDir.
func Detached() Option { return func(o *options) { o.detached = true } }

// Fsync makes commits durable against a power cut. Without it they are so
// against a kill of the server, and much faster.
func Fsync(on bool) Option { return func(o *options) { o.fsync = on } }

// Trust lets every user of Postgres in without a password.
func Trust() Option { return func(o *options) { o.trust = true } }

// Heap sets the maximum heap of a Kafka broker, as in "384m".
func Heap(size string) Option { return func(o *options) { o.heap = size } }

// Setting sets one of the server's own settings, over those that are usual
// here: ("wal_level", "replica"), ("binlog-row-image", "MINIMAL"),
// ("message.max.bytes", "1000000").
func Setting(name, value string) Option {
	return func(o *options) { o.settings = append(o.settings, name+"="+value) }
}

// Progress gets a line for everything that takes time, such as downloads.
func Progress(w io.Writer) Option { return func(o *options) { o.progress = w } }

// lookup finds the software by a name as Start takes it.
func lookup(name string) (kind string, _ software, err error) {
	kind = strings.TrimRight(name, "0123456789.")
	version := name[len(kind):]
	fixed := func(versions ...string) error {
		if version == "" || slices.Contains(versions, version) {
			return nil
		}
		return fmt.Errorf("find %s: there is %s only", name, kind+versions[len(versions)-1])
	}
	switch kind {
	case KindPostgres:
		if version == "" {
			version = "18"
		}
		if n, err := strconv.Atoi(version); err != nil || n < 14 || n > 18 {
			return "", nil, fmt.Errorf("find %s: there are postgres14 to postgres18", name)
		}
		return kind, postgres{major: version}, nil
	case KindMySQL:
		return kind, mysql{}, fixed("9")
	case KindMariaDB:
		return kind, mariadb{}, fixed("11", "11.8")
	case KindKafka:
		return kind, kafka{}, fixed("4", kafkaVersion)
	case KindToxiproxy:
		return kind, toxiproxy{}, fixed("2", toxiproxyVersion)
	}
	return "", nil, fmt.Errorf("find server %q: the names are %s", name, strings.Join(Names(), ", "))
}

// Names lists the names that Start takes.
func Names() []string {
	return []string{"postgres14", "postgres15", "postgres16", "postgres17", "postgres18", KindMySQL, KindMariaDB, KindKafka, KindToxiproxy}
}
