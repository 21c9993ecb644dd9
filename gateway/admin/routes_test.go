package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func apiDoc(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEveryRouteIsDocumentedAndNoOther: a heading for each, with its method.
func TestEveryRouteIsDocumentedAndNoOther(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	served := slices.Concat(w.mux().patterns, w.opt.API.handler().patterns)
	served = slices.DeleteFunc(served, func(p string) bool {
		_, path, both := strings.Cut(p, " ")
		return !both || !strings.HasPrefix(path, "/v1/") && path != "/metrics" && path != "/healthz" && path != "/readyz" // pages
	})
	var told []string
	for _, m := range regexp.MustCompile("(?m)^### `((?:GET|POST) /[^`?]*)").FindAllStringSubmatch(apiDoc(t), -1) {
		told = append(told, m[1])
	}
	for _, p := range served {
		if !slices.Contains(told, p) {
			t.Errorf("docs/api.md has no heading for %s", p)
		}
	}
	for i, p := range told {
		if !slices.Contains(served, p) || slices.Contains(told[:i], p) {
			t.Errorf("docs/api.md has %s, which is not served, or twice", p)
		}
	}
}

// TestTheExamplesOfTheDocumentationAreOfTheirTypes: the answers, with no field that
// there is not.
func TestTheExamplesOfTheDocumentationAreOfTheirTypes(t *testing.T) {
	types := map[string]func() any{
		"GET /v1/status": func() any { return new(Status) }, "GET /v1/queues": func() any { return new(Queues) },
		"GET /v1/bridges": func() any { return new(Bridges) }, "POST /v1/bridges/reset": func() any { return new(Reset) },
		"GET /v1/clients": func() any { return new(Clients) }, "GET /v1/adapters": func() any { return new(AdapterList) },
		"GET /v1/topics": func() any { return new(Topics) }, "GET /v1/log": func() any { return new(LogLines) },
		"GET /v1/history": func() any { return new(History) }, "GET /v1/wear": func() any { return new(Wear) },
		"GET /v1/config": func() any { return new(Configuration) }, "POST /v1/reload": func() any { return new(Changes) },
		"GET /v1/messages": func() any { return new(line) }, "POST /v1/verify": func() any { return new(line) },
		"POST /v1/rename":       func() any { return new(struct{ Renamed []string }) },
		"POST /v1/purge":        func() any { return new(struct{ Purged uint64 }) },
		"POST /v1/import":       func() any { return new(importReply) },
		"POST /v1/replay":       func() any { return new(struct{ Replayed uint64 }) },
		"POST /v1/clients/kick": func() any { return new(struct{ Kicked bool }) },
	}
	parts := strings.Split(apiDoc(t), "\n### `")
	seen := 0
	for _, part := range parts[1:] {
		route := part[:strings.IndexAny(part, "`?")]
		_, rest, found := strings.Cut(part, "```json\n")
		if !found {
			continue
		}
		example, _, _ := strings.Cut(rest, "```")
		make, known := types[route]
		if !known {
			t.Errorf("%s has an example of no known type", route)
			continue
		}
		seen++
		for d := json.NewDecoder(strings.NewReader(example)); d.More(); {
			d.DisallowUnknownFields()
			if err := d.Decode(make()); err != nil {
				t.Errorf("%s: %v", route, err)
				break
			}
		}
	}
	if seen != len(types) {
		t.Errorf("%d examples, of %d types", seen, len(types))
	}
}
