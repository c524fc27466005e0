// Command services installs, starts and stops the servers that penstock's
// tests need. See integration/service/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock-cdc/penstock/integration/service"
)

const usage = `usage:
  services install [NAME...]            put binaries into the cache
  services run [-with NAMES] -- CMD...  start servers, run CMD with their URLs in its environment, stop them
  services start [-fsync] [-set NAME=VALUE] DIR NAME [PORT]
                                        start a server that stays, or go on with the one of DIR; prints its URL
  services stop DIR                     stop it and keep its data
  services kill DIR                     the same with SIGKILL
names: `

// byDefault is what install and run take when nothing is named.
var byDefault = []string{"postgres18", "mysql", "mariadb", "kafka"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
	}
	os.Exit(code)
}

var errUsage = errors.New("wrong usage")

func dispatch(ctx context.Context, args []string) (int, error) {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	code, err := 0, error(nil)
	switch verb {
	case "install":
		err = install(ctx, args)
	case "run":
		code, err = run(ctx, args)
	case "start":
		err = start(ctx, args)
	case "stop":
		err = end(args, func(s *service.Server) error { return s.Halt(ctx) })
	case "kill":
		err = end(args, (*service.Server).Kill)
	default:
		err = errUsage
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintln(os.Stderr, usage+strings.Join(service.Names(), " "))
		return 64, nil
	}
	if err != nil && code == 0 {
		code = 1
	}
	return code, err
}

// options parses flags; what is wrong with them is in the error.
func options(name string, args []string, define func(*flag.FlagSet)) ([]string, error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	define(flags)
	if err := flags.Parse(args); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, err, errUsage)
	}
	return flags.Args(), nil
}

func install(ctx context.Context, names []string) error {
	if len(names) == 0 {
		names = append(byDefault, "toxiproxy")
	}
	for _, name := range names {
		version, err := service.Install(ctx, name, service.Progress(os.Stderr))
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, name, version)
	}
	return nil
}

// run returns the exit code of the command.
func run(ctx context.Context, args []string) (int, error) {
	var with string
	args, err := options("run", args, func(f *flag.FlagSet) {
		f.StringVar(&with, "with", strings.Join(byDefault, ","), "")
	})
	if err != nil {
		return 0, err
	}
	if len(args) == 0 {
		return 0, errUsage
	}
	names := strings.FieldsFunc(with, func(r rune) bool { return r == ',' || r == ' ' })
	servers := make([]*service.Server, len(names))
	defer func() {
		for _, s := range servers {
			if s != nil {
				// Past ctx: it may be over because of a signal.
				if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
					fmt.Fprintln(os.Stderr, "services:", err)
				}
			}
		}
	}()
	group, starting := errgroup.WithContext(ctx)
	for i, name := range names {
		group.Go(func() error {
			s, err := service.Start(starting, name, service.Progress(os.Stderr))
			servers[i] = s
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = os.Environ()
	for i, s := range servers {
		value := s.URL
		if s.Kind == service.KindKafka {
			value = s.Addr
		}
		cmd.Env = append(cmd.Env, service.Variable(names[i])+"="+value)
	}
	err = cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() > 0 {
		return failed.ExitCode(), nil
	}
	return 0, err
}

func start(ctx context.Context, args []string) error {
	var opts []service.Option
	args, err := options("start", args, func(f *flag.FlagSet) {
		f.BoolFunc("fsync", "", func(v string) error {
			on, err := strconv.ParseBool(v)
			opts = append(opts, service.Fsync(on))
			return err
		})
		f.Func("set", "", func(v string) error {
			name, value, ok := strings.Cut(v, "=")
			if !ok {
				return errors.New("-set takes NAME=VALUE")
			}
			opts = append(opts, service.Setting(name, value))
			return nil
		})
	})
	if err != nil {
		return err
	}
	if len(args) < 2 || len(args) > 3 {
		return errUsage
	}
	if len(args) == 3 {
		port, err := strconv.Atoi(args[2])
		if err != nil {
			return fmt.Errorf("read port %q: %w", args[2], errUsage)
		}
		opts = append(opts, service.Port(port))
	}
	s, err := service.StartIn(ctx, args[0], args[1], append(opts, service.Progress(os.Stderr))...)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, s.URL)
	return nil
}

// end stops the server of a folder; one that is down is fine.
func end(args []string, how func(*service.Server) error) error {
	if len(args) != 1 {
		return errUsage
	}
	s, err := service.Open(args[0])
	if errors.Is(err, service.ErrNoServer) {
		return nil
	}
	if err != nil {
		return err
	}
	return how(s)
}
