package store

import "testing"

func TestAValueThatIsSetLaterCostsNoCommit(t *testing.T) {
	b := newBox(t).open()
	b.publish("m", 1, "session/a")
	b.commit()
	before := b.s.Stats()
	b.s.SetLater(Key("wear"), []byte("1"))
	b.s.SetLater(Key("wear"), []byte("2"))
	b.commit()
	if v, ok := b.s.Get(Key("wear")); !ok || string(v) != "2" {
		t.Errorf("%q, %v", v, ok)
	}
	if now := b.s.Stats(); now.Syncs != before.Syncs || now.Written != before.Written {
		t.Errorf("%d syncs more", now.Syncs-before.Syncs)
	}
	b.crash(1)
	if _, ok := b.s.Get(Key("wear")); ok {
		t.Error("it was on the disk")
	}
	for name, joins := range map[string]func(){
		"another commit": func() { b.publish("m", 1, "session/a"); b.commit() },
		"a snapshot":     b.snapshot,
		"the last one":   b.settle,
	} {
		b.s.SetLater(Key("wear"), []byte(name))
		joins()
		b.crash(2)
		if v, _ := b.s.Get(Key("wear")); string(v) != name {
			t.Errorf("with %s: %q", name, v)
		}
	}
	b.s.SetLater(Key("wear"), []byte("x"))
	b.s.Delete(Key("wear"))
	b.settle()
	b.crash(3)
	if v, ok := b.s.Get(Key("wear")); ok {
		t.Errorf("deleted, and back: %q", v)
	}
}

func TestAllThatIsWrittenIsCounted(t *testing.T) {
	b := newBox(t).open()
	b.publish("m", 1, "session/a")
	b.commit()
	st := b.s.Stats()
	if st.Written <= st.Bytes || st.Syncs <= st.Commits { // the head of the segment, and the directory
		t.Errorf("%+v", st)
	}
	b.snapshot()
	if now := b.s.Stats(); now.Written <= st.Written+100 || now.Syncs <= st.Syncs+1 {
		t.Errorf("a snapshot is not counted: %+v", now)
	}
}
