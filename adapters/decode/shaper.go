package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/expr-lang/expr/vm"
)

// Source is what an expression can know of a frame beside its value.
type Source struct {
	Name, Remote, Port string
	Time               time.Time
}

// Shaper evaluates a Shape for one link. It belongs to one goroutine.
type Shaper struct {
	shape  *Shape
	failed func(key string, err error)

	vm      vm.VM
	env     map[string]any
	results []Field
	object  object
}

// NewShaper makes the shaper of a link. failed is told of each expression that
// cannot be evaluated for a frame; the error's text is short and says why, so
// that the same cause has the same text.
func (s *Shape) NewShaper(failed func(key string, err error)) *Shaper {
	return &Shaper{shape: s, failed: failed, env: map[string]any{}}
}

// Apply shapes v, which then aliases the Shaper until the next Apply. It
// reports whether the frame is wanted: whether when is not false.
//
// The fields that set computes replace those of the same name, new ones follow
// in the order of their names, and all of them together are the payload: a JSON
// object. Each expression sees what was decoded, none what another one
// computes. One that fails leaves its field as it was decoded, or out; a when
// that fails keeps the frame, as it was not said that it is not wanted.
func (s *Shaper) Apply(v *Value, from Source) (wanted bool) {
	clear(s.env)
	if e := s.shape.when; e != nil {
		if result, err := s.run(e, v, from); err != nil {
			s.failed(e.key, err)
		} else if result == false {
			return false
		}
	}
	if len(s.shape.set) == 0 {
		return true
	}
	s.results = s.results[:0]
	for i := range s.shape.set {
		e := &s.shape.set[i]
		result, err := s.run(e, v, from)
		if err == nil {
			result, err = fieldValue(result)
		}
		if err != nil {
			s.failed(e.key, err)
			continue
		}
		s.results = append(s.results, Field{e.field, result})
	}
	s.object.begin()
	s.object.fields = append(s.object.fields, v.Fields...)
	for _, r := range s.results {
		s.put(r)
	}
	s.object.end(v)
	return true
}

// put replaces the last field of that name: the one that counts.
func (s *Shaper) put(r Field) {
	for i := len(s.object.fields) - 1; i >= 0; i-- {
		if f := &s.object.fields[i]; f.Name == r.Name {
			f.Value = r.Value
			return
		}
	}
	s.object.fields = append(s.object.fields, r)
}

func (s *Shaper) run(e *expression, v *Value, from Source) (any, error) {
	s.provide(e, v, from)
	result, err := s.vm.Run(e.program, s.env)
	if err != nil {
		return nil, errors.New(problem(err))
	}
	return result, nil
}

// provide puts into the environment what e mentions and is not there yet.
func (s *Shaper) provide(e *expression, v *Value, from Source) {
	for _, own := range [...]string{"payload", "value", "name", "remote", "port", "time"} {
		if _, have := s.env[own]; have || !e.all && !e.names[own] {
			continue
		}
		switch own {
		case "payload":
			s.env[own] = string(v.Payload)
		case "value":
			s.env[own] = forExpression(Guess(v.Payload))
		case "name":
			s.env[own] = from.Name
		case "remote":
			s.env[own] = from.Remote
		case "port":
			s.env[own] = from.Port
		case "time":
			s.env[own] = from.Time.UTC()
		}
	}
	for i := range v.Fields {
		if f := &v.Fields[i]; e.all || e.names[f.Name] {
			s.env[f.Name] = forExpression(f.Value)
		}
	}
}

// forExpression gives a field's value as expressions see it.
func forExpression(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case JSON:
		var parts any
		if json.Unmarshal([]byte(v), &parts) != nil {
			return string(v)
		}
		return parts
	}
	return v
}

// fieldValue gives an expression's result as the value of a field.
func fieldValue(x any) (any, error) {
	switch x := x.(type) {
	case nil, string, bool, int64:
		return x, nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, errors.New("the result is no finite number")
		}
		return x, nil
	case int:
		return int64(x), nil
	case time.Time:
		return x.UTC().Format("2006-01-02T15:04:05.000Z07:00"), nil
	case time.Duration:
		return x.Seconds(), nil
	}
	switch r := reflect.ValueOf(x); {
	case r.CanInt():
		return r.Int(), nil
	case r.CanUint() && r.Uint() > math.MaxInt64:
		return r.Uint(), nil
	case r.CanUint():
		return int64(r.Uint()), nil
	case r.CanFloat():
		return fieldValue(r.Float())
	case r.Kind() != reflect.Map && r.Kind() != reflect.Slice:
		return nil, fmt.Errorf("the result is a %T, which is no value of a field", x)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return nil, errors.New("the result cannot be written as JSON: " + shorten(err.Error(), 100))
	}
	return JSON(bytes.TrimSpace(b.Bytes())), nil
}
