package docs_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gomysql "github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"go.yaml.in/yaml/v3"

	"github.com/penstock-cdc/penstock/integration/service"
)

// compose is what docker-compose.yml uses of the format; anything else in the file is an error.
type compose struct {
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Build       string            `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Healthcheck *struct {
		Test     []string `yaml:"test"`
		Interval string   `yaml:"interval"`
		Retries  int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

func loadCompose(t *testing.T) compose {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var c compose
	dec := yaml.NewDecoder(file)
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "mysql", "mariadb", "kafka", "simulator", "penstock"} {
		if _, ok := c.Services[name]; !ok {
			t.Fatalf("docker-compose.yml has no service %s", name)
		}
	}
	return c
}

func TestComposeFiles(t *testing.T) {
	c := loadCompose(t)
	published := map[string]string{}
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build == "") {
			t.Errorf("%s has not exactly one of image and build", name)
		}
		if s.Build != "" {
			if _, err := os.Stat(filepath.Join(root, s.Build, "Dockerfile")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s mounts the volume %s, which is not declared", name, from)
				}
			} else if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%s mounts %s: %v", name, from, err)
			}
		}
		for _, p := range s.Ports {
			host, port, ok := strings.Cut(p[:strings.LastIndex(p, ":")], ":")
			if !ok || host != "127.0.0.1" {
				t.Errorf("%s publishes %s to more than this machine", name, p)
			}
			if other := published[port]; other != "" {
				t.Errorf("%s and %s publish port %s", name, other, port)
			}
			published[port] = name
		}
		for on, d := range s.DependsOn {
			other, ok := c.Services[on]
			switch {
			case !ok:
				t.Errorf("%s depends on %s, which is not there", name, on)
			case d.Condition == "service_healthy" && other.Healthcheck == nil:
				t.Errorf("%s waits for the health of %s, which has no healthcheck", name, on)
			}
		}
	}
}

// TestComposeCommands looks at the containers of penstock itself: their commands, the
// files these name, and the environment of the project.
func TestComposeCommands(t *testing.T) {
	c := loadCompose(t)
	inside := func(s composeService, path string) string {
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			to, _, _ = strings.Cut(to, ":")
			if rest, ok := strings.CutPrefix(path, to); ok {
				return filepath.Join(root, from, rest)
			}
		}
		return ""
	}
	for _, name := range []string{"simulator", "penstock"} {
		s := c.Services[name]
		if wrong := check(t, "penstock "+strings.Join(s.Command, " ")); wrong != "" {
			t.Errorf("%s: %s", name, wrong)
		}
		for _, arg := range s.Command {
			if strings.HasPrefix(arg, "/") {
				if _, err := os.Stat(inside(s, arg)); err != nil {
					t.Errorf("%s: %s: %v", name, arg, err)
				}
			}
		}
	}
	penstock := c.Services["penstock"]
	project := inside(penstock, penstock.Command[len(penstock.Command)-1])
	files, err := filepath.Glob(filepath.Join(project, "*.hcl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("project %s: %v, %v", project, files, err)
	}
	var names []string
	var text strings.Builder
	for _, f := range files {
		text.WriteString(read(t, f))
	}
	for _, m := range regexp.MustCompile(`env\("(\w+)"`).FindAllStringSubmatch(text.String(), -1) {
		names = append(names, m[1])
		if _, ok := penstock.Environment[m[1]]; !ok {
			t.Errorf("penstock: the project uses %s, which the environment lacks", m[1])
		}
	}
	for n := range penstock.Environment {
		if !slices.Contains(names, n) {
			t.Errorf("penstock: the project does not use %s", n)
		}
	}
	var env []string
	for n, v := range penstock.Environment {
		env = append(env, n+"="+v)
	}
	validate(t, env, "", project)

	shop, err := url.Parse(penstock.Environment["SHOP_URL"])
	if err != nil {
		t.Fatal(err)
	}
	pg := c.Services[shop.Hostname()].Environment
	password, _ := shop.User.Password()
	if shop.Port() != "5432" || pg["POSTGRES_USER"] != shop.User.Username() || pg["POSTGRES_PASSWORD"] != password || pg["POSTGRES_DB"] != strings.Trim(shop.Path, "/") {
		t.Errorf("SHOP_URL is not that of the service: %v", pg)
	}
	crm, err := url.Parse(penstock.Environment["HUBSPOT_URL"])
	if err != nil {
		t.Fatal(err)
	}
	simulator := c.Services[crm.Hostname()]
	i := slices.Index(simulator.Command, "--listen")
	if _, port, err := net.SplitHostPort(simulator.Command[i+1]); err != nil || port != crm.Port() {
		t.Errorf("HUBSPOT_URL has port %s, the simulator listens at %s", crm.Port(), simulator.Command[i+1])
	}
}

// TestComposeOptions asks real servers whether they know the options that the containers are given.
func TestComposeOptions(t *testing.T) {
	c := loadCompose(t)
	t.Run("postgres", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), service.Shared(t, "postgres18").URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		n := 0
		for _, o := range c.Services["postgres"].Command {
			name, value, ok := strings.Cut(o, "=")
			if !ok {
				continue
			}
			n++
			var enum []string
			if err := conn.QueryRow(t.Context(), "SELECT enumvals FROM pg_settings WHERE name = $1", name).Scan(&enum); err != nil {
				t.Errorf("%s: %v", o, err)
			} else if enum != nil && !slices.Contains(enum, value) {
				t.Errorf("%s is one of %v", o, enum)
			}
		}
		if n == 0 || !slices.Contains(c.Services["postgres"].Command, "wal_level=logical") {
			t.Error("capture needs wal_level=logical")
		}
	})
	for _, name := range []string{"mysql", "mariadb"} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(service.Shared(t, name).URL)
			if err != nil {
				t.Fatal(err)
			}
			password, _ := u.User.Password()
			conn, err := gomysql.Connect(u.Host, u.User.Username(), password, "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			values := map[string]string{}
			for _, o := range c.Services[name].Command {
				option, value, ok := strings.Cut(strings.TrimPrefix(o, "--"), "=")
				variable := strings.ReplaceAll(option, "-", "_")
				values[variable] = value
				r, err := conn.Execute("SHOW GLOBAL VARIABLES LIKE '" + variable + "'")
				if err != nil {
					t.Fatal(err)
				}
				if !ok || r.RowNumber() != 1 {
					t.Errorf("%s is no option of the server", o)
				}
			}
			for variable, want := range map[string]string{"log_bin": "bin", "server_id": "1", "binlog_row_metadata": "FULL"} {
				if values[variable] != want {
					t.Errorf("%s is %q, capture needs %q", variable, values[variable], want)
				}
			}
		})
	}
	t.Run("kafka", func(t *testing.T) {
		client := &kafka.Client{Addr: kafka.TCP(service.Shared(t, "kafka").Addr)}
		meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeBroker, ResourceName: strconv.Itoa(meta.Brokers[0].ID),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, e := range res.Resources[0].ConfigEntries {
			known[e.ConfigName] = true
		}
		env := c.Services["kafka"].Environment
		for name := range env {
			option := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "KAFKA_")), "_", ".")
			if !known[option] {
				t.Errorf("%s: the broker has no setting %s", name, option)
			}
		}
		for _, listener := range strings.Split(env["KAFKA_ADVERTISED_LISTENERS"], ",") {
			if name, _, _ := strings.Cut(listener, ":"); !strings.Contains(env["KAFKA_LISTENERS"], name+":") {
				t.Errorf("listener %s is advertised and not there", name)
			}
		}
		for _, listener := range strings.Split(env["KAFKA_LISTENERS"], ",") {
			if name, _, _ := strings.Cut(listener, ":"); !strings.Contains(env["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"], name+":") {
				t.Errorf("listener %s has no security protocol", name)
			}
		}
	})
}

// TestDockerfile finds the paths that the image is built of.
func TestDockerfile(t *testing.T) {
	for line := range strings.Lines(read(t, filepath.Join(root, "Dockerfile"))) {
		words := strings.Fields(line)
		if len(words) > 2 && words[0] == "COPY" && !strings.HasPrefix(words[1], "--") {
			for _, from := range words[1 : len(words)-1] {
				if _, err := os.Stat(filepath.Join(root, from)); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(line), err)
				}
			}
		}
	}
	text := read(t, filepath.Join(root, "Dockerfile"))
	for _, part := range []string{"VERSION", "./cmd/penstock"} {
		if _, err := os.Stat(filepath.Join(root, part)); err != nil || !strings.Contains(text, part) {
			t.Errorf("the Dockerfile builds without %s: %v", part, err)
		}
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))
	if !strings.Contains(text, "golang:"+version[1]+" ") {
		t.Errorf("the Dockerfile does not build with Go %s", version[1])
	}
}
