// Runs the tests that come with the official Go client against a binary that is called as `consul`.
//
//	go run . -consul PATH [-run PATTERN] [-parallel N] [-keep]
//
// The client's modules come through the Go command. The certificates that the tests read from beside the module are made
// here. Prints every test that does not pass with its reason (what is written in reasons.txt, else what the test printed),
// then how many passed, failed and were skipped; the exit code is 1 when a test fails that reasons.txt does not name, or
// when one of its named tests passes.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

const (
	apiVersion = "v1.32.1"
	sdkVersion = "v0.16.2"
	apiModule  = "github.com/hashicorp/consul/api"
	sdkModule  = "github.com/hashicorp/consul/sdk"
)

func main() {
	consul := flag.String("consul", "", "the binary")
	pattern := flag.String("run", "", "run only tests that match")
	parallel := flag.Int("parallel", 8, "tests at once")
	reasonsFile := flag.String("reasons", "reasons.txt", "tests that are known not to pass, with their reasons")
	keep := flag.Bool("keep", false, "keep the folder, and print its name")
	flag.Parse()
	if err := run(*consul, *pattern, *parallel, *reasonsFile, *keep); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(consul, pattern string, parallel int, reasonsFile string, keep bool) error {
	reasons, err := readReasons(reasonsFile)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "consul-go-suite")
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("the suite lies in", folder)
	} else {
		defer os.RemoveAll(folder)
	}
	if err := prepare(folder, consul); err != nil {
		return err
	}
	outcome, err := test(folder, pattern, parallel)
	if err != nil {
		return err
	}
	return report(outcome, reasons, pattern == "")
}

// Lays out the modules as they lie in their repository: api, sdk, test.
func prepare(folder, consul string) error {
	binary, err := filepath.Abs(consul)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("-consul: %w", err)
	}
	bin := filepath.Join(folder, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(binary, filepath.Join(bin, "consul")); err != nil {
		return err
	}
	for module, place := range map[string]string{
		apiModule + "@" + apiVersion: "api",
		sdkModule + "@" + sdkVersion: "sdk",
	} {
		source, err := download(module)
		if err != nil {
			return err
		}
		if err := copyTree(source, filepath.Join(folder, place)); err != nil {
			return err
		}
	}
	return makeCertificates(filepath.Join(folder, "test"))
}

// The folder of a module that the Go command has fetched.
func download(module string) (string, error) {
	command := exec.Command("go", "mod", "download", "-json", module)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("cannot fetch %s: %w", module, err)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(output, &found); err != nil {
		return "", err
	}
	return found.Dir, nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}

// One line of `go test -json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// What became of each test, by its name; what it printed when it did not pass.
type outcome struct {
	verdicts map[string]string
	printed  map[string][]string
}

// Runs the tests. One that panics ends the program that it is part of, and all that ran or waited beside it: those are run
// again without it.
func test(folder, pattern string, parallel int) (*outcome, error) {
	seen := &outcome{verdicts: map[string]string{}, printed: map[string][]string{}}
	for _, part := range []string{".", "./watch"} {
		wanted, err := list(folder, pattern, part)
		if err != nil {
			return nil, err
		}
		for len(wanted) > 0 {
			if err := seen.run(folder, wanted, part, parallel); err != nil {
				return nil, err
			}
			left := seen.without(wanted)
			if len(left) == len(wanted) {
				return nil, fmt.Errorf("these tests never end: %s", strings.Join(left, " "))
			}
			wanted = left
		}
	}
	return seen, nil
}

func goTest(folder string, arguments ...string) *exec.Cmd {
	command := exec.Command("go", append([]string{"test"}, arguments...)...)
	command.Dir = filepath.Join(folder, "api")
	command.Env = append(cleanEnvironment(), "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"))
	command.Stderr = os.Stderr
	return command
}

// The names of the tests of a package.
func list(folder, pattern, part string) ([]string, error) {
	if pattern == "" {
		pattern = "."
	}
	output, err := goTest(folder, "-list", pattern, part).Output()
	if err != nil {
		return nil, fmt.Errorf("the tests of %s cannot be listed: %w", part, err)
	}
	var names []string
	for _, line := range strings.Split(string(output), "\n") {
		if strings.HasPrefix(line, "Test") {
			names = append(names, line)
		}
	}
	return names, nil
}

// Those of the names that have no verdict yet.
func (o *outcome) without(names []string) []string {
	var left []string
	for _, name := range names {
		if _, isDone := o.verdicts[name]; !isDone {
			left = append(left, name)
		}
	}
	return left
}

func (o *outcome) run(folder string, names []string, part string, parallel int) error {
	pattern := "^(" + strings.Join(names, "|") + ")$"
	command := goTest(folder, "-json", "-count=1", "-timeout=30m", fmt.Sprintf("-parallel=%d", parallel), "-run", pattern, part)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var it event
		if err := json.Unmarshal(lines.Bytes(), &it); err != nil {
			fmt.Println(lines.Text())
			continue
		}
		o.note(it)
	}
	// A failing test makes the command fail, too: what counts are the verdicts.
	_ = command.Wait()
	// One that panics leaves its servers behind, which are of its process group.
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	return lines.Err()
}

func (o *outcome) note(it event) {
	top, _, isPart := strings.Cut(it.Test, "/")
	if top == "" {
		return
	}
	switch it.Action {
	case "output":
		if lines := o.printed[top]; len(lines) < 4000 {
			o.printed[top] = append(lines, it.Output)
		}
	case "pass", "fail", "skip":
		if !isPart {
			o.verdicts[top] = it.Action
			fmt.Printf("%-4s %s\n", it.Action, top)
		}
	}
}

// The client reads its own variables, and the tests must not see those of whoever runs them.
func cleanEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CONSUL_") && !strings.HasPrefix(variable, "LENO_") && !strings.HasPrefix(variable, "PATH=") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// Lines of `TestName reason`.
func readReasons(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	for _, line := range strings.Split(string(content), "\n") {
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && !strings.HasPrefix(name, "#") {
			reasons[name] = strings.TrimSpace(reason)
		}
	}
	return reasons, nil
}

func report(seen *outcome, reasons map[string]string, isWhole bool) error {
	names := make([]string, 0, len(seen.verdicts))
	for name := range seen.verdicts {
		names = append(names, name)
	}
	sort.Strings(names)
	counts := map[string]int{}
	var surprises []string
	fmt.Println("\nNot passed:")
	for _, name := range names {
		verdict := seen.verdicts[name]
		counts[verdict]++
		reason, isKnown := reasons[name]
		switch {
		case verdict == "pass" && isKnown:
			surprises = append(surprises, name+" passes, and reasons.txt says it does not")
		case verdict == "fail" && !isKnown:
			surprises = append(surprises, name+" fails, and reasons.txt gives no reason")
			fmt.Printf("  fail %s: %s\n", name, lastWords(seen.printed[name]))
		case verdict == "fail":
			fmt.Printf("  fail %s: %s\n", name, reason)
		case verdict == "skip" && isKnown:
			fmt.Printf("  skip %s: %s\n", name, reason)
		case verdict == "skip":
			fmt.Printf("  skip %s: %s\n", name, lastWords(seen.printed[name]))
		}
	}
	if isWhole {
		for name := range reasons {
			if _, isThere := seen.verdicts[name]; !isThere {
				surprises = append(surprises, name+" is in reasons.txt, and is no test")
			}
		}
		sort.Strings(surprises)
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	if len(surprises) > 0 {
		return fmt.Errorf("%s", strings.Join(surprises, "\n"))
	}
	return nil
}

// What a test said about itself: its own lines, without the logs of the server that it started.
func lastWords(lines []string) string {
	var said []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		isOwn := strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "Error")
		if isOwn && len(said) < 6 {
			said = append(said, line)
		}
	}
	return strings.Join(said, " | ")
}
