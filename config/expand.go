package config

import (
	"errors"
	"fmt"
	"strings"
)

// expandEnv replaces ${NAME} by the variable's value and $${ by ${. Any other $
// stands for itself.
func expandEnv(s string, getenv func(string) (string, bool)) (string, error) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		s = s[i+2:]
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", errors.New("has a ${ without its }; a literal ${ is written $${")
		}
		name := s[:end]
		if !envName(name) {
			return "", fmt.Errorf("%q is no name of an environment variable; a literal ${ is written $${", name)
		}
		v, ok := getenv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		b.WriteString(v)
		s = s[end+1:]
	}
}

func envName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// expand replaces the environment variables in every string below n.
func (n *node) expand(path string, getenv func(string) (string, bool), report func(pos Position, key, msg string)) {
	if s, ok := n.val.(string); ok {
		v, err := expandEnv(s, getenv)
		if err != nil {
			n.bad = true
			report(n.pos, path, err.Error())
		}
		n.env = v != s
		n.val = v
	}
	for _, name := range n.names {
		n.kids[name].expand(join(path, name), getenv, report)
	}
	for i, item := range n.items {
		item.expand(index(path, i), getenv, report)
	}
}
