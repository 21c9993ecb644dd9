package store

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Key makes a key of length-prefixed parts, so that Key("sub", id) is a prefix
// of Key("sub", id, filter) and of no other client's keys.
func Key(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return string(b)
}

// KeyParts returns the parts of a key; nil when it is none.
func KeyParts(key string) []string {
	var parts []string
	for len(key) > 0 {
		n, k := binary.Uvarint([]byte(key[:min(len(key), binary.MaxVarintLen32)]))
		if k <= 0 || n > uint64(len(key)-k) {
			return nil
		}
		parts = append(parts, key[k:k+int(n)])
		key = key[k+int(n):]
	}
	return parts
}

// Set stages a value under key. The value must not be changed afterwards.
func (s *Store) Set(key string, value []byte) Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	key = strings.Clone(key)
	s.kv[key] = value
	return s.appendLocked(appendSet(s.scratch[:0], key, value))
}

// SetLater is Set without a commit of its own: the record joins the next one that
// there is, a snapshot, or the last. A crash before that forgets the value.
func (s *Store) SetLater(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key = strings.Clone(key)
	s.kv[key] = value
	s.later = append(slices.DeleteFunc(s.later, func(k string) bool { return k == key }), key)
}

// stageLaterLocked stages what SetLater has left, before a frame is closed.
func (s *Store) stageLaterLocked() {
	for _, key := range s.later {
		if value, ok := s.kv[key]; ok { // else deleted since
			s.sealBuf = appendSet(s.sealBuf[:0], key, value)
			s.wal.Append(s.sealBuf)
		}
	}
	s.later = s.later[:0]
}

// Delete stages the removal of key; the zero Receipt if there is no such key.
func (s *Store) Delete(key string) Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.kv[key]; !ok {
		return Receipt{}
	}
	delete(s.kv, key)
	return s.appendLocked(appendDelete(s.scratch[:0], key))
}

// Get returns the value under key, staged or durable. It must not be changed.
func (s *Store) Get(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.kv[key]
	return v, ok
}

// Each calls f for every key that begins with prefix, in no order. f must not
// call the store.
func (s *Store) Each(prefix string, f func(key string, value []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.kv {
		if strings.HasPrefix(k, prefix) {
			f(k, v)
		}
	}
}
