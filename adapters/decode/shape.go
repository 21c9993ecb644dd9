package decode

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"packetboat/config"
)

// Shape is what a section's expressions (when, set) make of decoded values,
// compiled. It is immutable and shared by all links.
//
// In an expression stand the fields by their names (one that is no identifier
// as $env["temp-1"]), and
//
//	payload       the decoded payload as text
//	value         the same, as a number where it looks like one; only there for
//	              decoders that do not name their fields
//	name          the adapter's name
//	remote, port  as in topics
//	time          when the frame came, in UTC
//
// where a field has one of these names, it is the field. All numbers are
// floating point, so that they mean the same on 32-bit machines; what takes
// whole ones only (%, bitand, indexes) wants int(x).
type Shape struct {
	when *expression  // nil: all frames
	set  []expression // by field
}

type expression struct {
	key     string // "when", "set.kg"
	field   string // that it computes
	program *vm.Program
	names   map[string]bool // that it mentions
	all     bool            // it mentions $env: every name counts
	calls   string          // what is called and no function; a field never is
}

// NewShape compiles a section's expressions over what d decodes. It returns nil
// when there are none. Its error is a *KeyError, or several joined.
func NewShape(when string, set map[string]string, d *Decoding) (*Shape, error) {
	if when == "" && len(set) == 0 {
		return nil, nil
	}
	s := &Shape{}
	env := environment(d)
	var errs []error
	if when != "" {
		e, err := compile("when", when, env, expr.AsBool())
		s.when = &e
		errs = append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		e, err := compile(config.KeyPath("set", name), set[name], env, expr.AsAny())
		e.field = name
		s.set = append(s.set, e)
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// Sets are the names of the fields that s computes, in order.
func (s *Shape) Sets() (names []string) {
	if s == nil {
		return nil
	}
	for _, e := range s.set {
		names = append(names, e.field)
	}
	return names
}

// environment gives the types of what expressions over d can name.
func environment(d *Decoding) types.Map {
	closed := len(d.Fields) > 0
	env := types.Map{
		"payload": types.String, "name": types.String, "remote": types.String, "port": types.String,
		"time": types.TypeOf(time.Time{}),
	}
	if !closed {
		env["value"] = types.Any
	}
	if d.Open {
		for name := range env {
			env[name] = types.Any // a device may have fields of these names
		}
		env[types.Extra] = types.Any
	}
	for _, f := range d.Fields {
		switch f.Type {
		case "float", "int":
			env[f.Name] = types.Float64
		case "string":
			env[f.Name] = types.String
		case "bool":
			env[f.Name] = types.Bool
		default:
			env[f.Name] = types.Any
		}
	}
	return env
}

func compile(key, text string, env types.Map, result expr.Option) (expression, error) {
	e := expression{key: key, names: map[string]bool{}}
	if strings.TrimSpace(text) == "" {
		return e, &KeyError{key, errors.New("is empty: give it an expression, or remove it")}
	}
	var err error
	if e.program, err = expr.Compile(text, expr.Env(env), result); err != nil {
		return e, &KeyError{key, errors.New(compileProblem(err, env))}
	}
	node := e.program.Node()
	ast.Walk(&node, &e)
	if e.calls != "" {
		return e, &KeyError{key, fmt.Errorf("is no valid expression: there is no function %s", e.calls)}
	}
	return e, nil
}

// Visit notes the names that an expression mentions, for ast.Walk.
func (e *expression) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		e.names[n.Value] = true
		e.all = e.all || n.Value == "$env"
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			e.calls = f.Value
		}
	}
}

// compileProblem says in one line what is wrong with an expression and where.
func compileProblem(err error, env types.Map) string {
	msg := problem(err)
	if strings.Contains(msg, "unknown name ") {
		msg += "; there are " + strings.Join(slices.Sorted(maps.Keys(env)), ", ")
	}
	return "is no valid expression: " + msg
}

// problem is expr's error in one line of bounded length.
func problem(err error) string {
	const most = 160
	msg, _, _ := strings.Cut(err.Error(), "\n")
	var at *file.Error
	if errors.As(err, &at) && at.Snippet != "" {
		place := fmt.Sprintf("at character %d", at.Column+1)
		if at.Line > 1 {
			place = fmt.Sprintf("in line %d, %s", at.Line, place)
		}
		msg, _, _ = strings.Cut(at.Message, "\n")
		return shorten(msg, most) + " " + place
	}
	return shorten(msg, most)
}

func shorten(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
