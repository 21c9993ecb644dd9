package config

// What happens when there is no room: the values of when_full.
const (
	DropOldest = "drop-oldest"
	Reject     = "reject"
	DropNewest = "drop-newest"
)

// fullLane is what the rules of one priority say about a queue without room.
type fullLane struct {
	first    string // path of the first rule
	whenFull string
	own      bool // that rule says so itself, it is not the queue's
	size     Size
	sizeRule string // path of the first rule that says it
}

// whenFull settles when_full and max_size of the up rules: the rules of a lane
// have one policy, the queue's where they say nothing, and one bound, which one
// of them may give for all. Lanes that refuse messages need a bound, or they
// could hold the whole queue.
func (k *checker) whenFull() {
	total := Size(0)
	for i := range k.c.Bridges {
		b := &k.c.Bridges[i]
		var lanes [4]fullLane
		for j := range b.Up {
			if u := &b.Up[j]; u.Priority >= 0 && u.Priority < len(lanes) {
				k.joinLane(&lanes[u.Priority], index(index("bridge", i)+".up", j), u)
			}
		}
		for j := range b.Up {
			if u := &b.Up[j]; u.Priority >= 0 && u.Priority < len(lanes) {
				u.WhenFull, u.MaxSize = lanes[u.Priority].whenFull, lanes[u.Priority].size
			}
		}
		for j := range lanes {
			if b.Enabled && lanes[j].whenFull != "" && lanes[j].whenFull != DropOldest {
				k.boundLane(&lanes[j], &total)
			}
		}
	}
}

// joinLane checks the rule at path against those of its lane before it.
func (k *checker) joinLane(l *fullLane, path string, u *Up) {
	says := u.WhenFull
	if says == "" {
		says = k.c.Queue.WhenFull
	}
	if l.whenFull == "" {
		l.first, l.whenFull, l.own = path, says, u.WhenFull != ""
	}
	if says != l.whenFull {
		k.fail(path+".when_full", "is %s, but that of %s with the same priority (%d) is %s (at %s); a lane has one: make them the same, or give one of the rules another priority",
			says, l.first, u.Priority, l.whenFull, k.c.At(l.first+".when_full"))
	}
	switch {
	case u.MaxSize == 0:
	case l.size == 0:
		l.size, l.sizeRule = u.MaxSize, path
	case u.MaxSize != l.size:
		k.fail(path+".max_size", "is %s, but that of %s with the same priority (%d) is %s (at %s); a lane has one: leave one of them out",
			u.MaxSize, l.sizeRule, u.Priority, l.size, k.c.At(l.sizeRule+".max_size"))
	}
}

// boundLane checks the bound of a lane that refuses messages; total is the sum
// of those before it.
func (k *checker) boundLane(l *fullLane, total *Size) {
	half := k.c.Queue.MaxSize / 2
	switch *total += l.size; {
	case l.size == 0 && l.own:
		k.fail(l.first+".max_size", `is missing: when_full = %q needs a bound; give one, such as "64MiB" (all of them together at most half of queue.max_size, here %s)`, l.whenFull, half)
	case l.size == 0:
		k.fail(l.first+".max_size", `is missing: queue.when_full = %q (at %s) needs a bound for each priority; give one, such as "64MiB", or when_full = "drop-oldest" here`,
			l.whenFull, k.c.At("queue.when_full"))
	case *total > half:
		k.fail(l.sizeRule+".max_size", "brings the lanes with when_full reject or drop-newest to %s; all of them together may have half of queue.max_size, here %s", *total, half)
	}
}
