package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/integration/binary"
)

// help is what `penstock COMMAND --help` says.
type help struct {
	subcommands, flags []string
	arguments          int  // at most
	any                bool // arguments without end
}

var (
	usageLine = regexp.MustCompile(`(?m)^Usage:\n  penstock(.*)$`)
	subLine   = regexp.MustCompile(`(?m)^  ([a-z]+)  +\S`)
	flagLine  = regexp.MustCompile(`(?m)^ +(?:-\w, +|)--([a-z-]+)`)
)

var known = map[string]*help{}

func helpOf(t *testing.T, command string) *help {
	t.Helper()
	if h := known[command]; h != nil {
		return h
	}
	out, problems, code, err := binary.Output(nil, append(strings.Fields(command), "--help")...)
	if err != nil || code != 0 {
		t.Fatalf("penstock %s --help: %d %v %s", command, code, err, problems)
	}
	h := &help{}
	if _, list, ok := strings.Cut(out, "Available Commands:\n"); ok {
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range subLine.FindAllStringSubmatch(list, -1) {
			h.subcommands = append(h.subcommands, m[1])
		}
	}
	for _, m := range flagLine.FindAllStringSubmatch(out, -1) {
		h.flags = append(h.flags, m[1])
	}
	usage := usageLine.FindStringSubmatch(out)
	if usage == nil {
		t.Fatalf("penstock %s --help has no usage line:\n%s", command, out)
	}
	for _, w := range strings.Fields(usage[1])[len(strings.Fields(command)):] {
		if w != "[flags]" && w != "[command]" {
			h.arguments++
		}
		h.any = h.any || strings.HasSuffix(w, "...")
	}
	known[command] = h
	return h
}

// check says what is wrong with a command line; "" when nothing is. In prose a line may
// stop before its arguments, and flags may have alternatives after them: text|json.
func check(t *testing.T, line string) string {
	t.Helper()
	if i := strings.Index(line, "  #"); i >= 0 {
		line = line[:i]
	}
	words := strings.Fields(line)[1:]
	command, arguments := "", 0
	for i := 0; i < len(words); i++ {
		h := helpOf(t, strings.TrimSpace(command))
		w := words[i]
		name, flag := strings.CutPrefix(w, "--")
		name, _, value := strings.Cut(name, "=")
		switch {
		case flag && !slices.Contains(h.flags, name):
			return "there is no flag --" + name
		case flag:
			if !value && i+1 < len(words) && takesValue(t, command, name) {
				i++
			}
		case slices.Contains(h.subcommands, w) && arguments == 0:
			command += " " + w
		case len(h.subcommands) > 0 && h.arguments == 0:
			return "there is no command " + command + " " + w
		default:
			if arguments++; arguments > h.arguments && !h.any {
				return "too many arguments"
			}
		}
	}
	return ""
}

// takesValue tells whether a flag is followed by its value: help shows a type after it.
func takesValue(t *testing.T, command, flag string) bool {
	t.Helper()
	out, _, _, err := binary.Output(nil, append(strings.Fields(command), "--help")...)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`--` + flag + ` (?:string|stringArray|int|uint|duration)\b`).MatchString(out)
}

// absent are commands that pages name in order to say that they are not there.
var absent = regexp.MustCompile("`penstock snapshot` is not there")

func TestCommands(t *testing.T) {
	n := 0
	for _, p := range pages(t) {
		var lines []string
		for _, f := range p.fences() {
			if f.language == "sh" {
				lines = append(lines, strings.Split(f.text, "\n")...)
			}
		}
		p.text = absent.ReplaceAllString(p.text, "")
		lines = append(lines, p.spans()...)
		for _, line := range lines {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "penstock ") || strings.Contains(line, "{") {
				continue
			}
			n++
			if wrong := check(t, line); wrong != "" {
				t.Errorf("%s: %s: %s", p.name, line, wrong)
			}
		}
	}
	if n < 40 {
		t.Errorf("found %d command lines", n)
	}
	for _, line := range []string{"penstock runn", "penstock run --foo", "penstock dlq lst", "penstock version DIR", "penstock run --timeout 3s a b"} {
		if check(t, line) == "" {
			t.Errorf("%s passes the check", line)
		}
	}
}

// TestEveryCommandIsDocumented finds each command in some page.
func TestEveryCommandIsDocumented(t *testing.T) {
	var all strings.Builder
	for _, p := range pages(t) {
		all.WriteString(p.text)
	}
	var walk func(command string)
	walk = func(command string) {
		h := helpOf(t, command)
		for _, sub := range h.subcommands {
			if sub != "help" {
				walk(strings.TrimSpace(command + " " + sub))
			}
		}
		if len(h.subcommands) == 0 && !strings.Contains(all.String(), "penstock "+command) && !strings.Contains(all.String(), "make "+command) {
			t.Errorf("no page has penstock %s", command)
		}
	}
	walk("")
}

var target = regexp.MustCompile(`(?m)^([a-z-]+):`)

func TestMakeTargets(t *testing.T) {
	var targets []string
	for _, m := range target.FindAllStringSubmatch(read(t, root+"/Makefile"), -1) {
		targets = append(targets, m[1])
	}
	for _, p := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(p.text, -1) {
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s names make %s", p.name, m[1])
			}
		}
	}
}
