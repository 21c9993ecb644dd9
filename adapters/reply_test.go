package adapters

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// withReplies adds commands whose answers and states are published.
func withReplies(retries int) func(r *rig, o *Options) {
	return func(r *rig, o *Options) {
		withCommands("set")(r, o)
		o.Command.Reply, o.Command.States, o.Command.Retries = "reply", "state", retries
	}
}

// answering opens a link to a device that answers each line as f says; "" is
// nothing.
func (r *running) answering(f func(line string) string) net.Conn {
	d, _ := r.serve(r.ctx, Place{})
	r.t.Cleanup(func() { _ = d.Close() })
	r.wg.Go(func() {
		lines := bufio.NewScanner(d)
		for lines.Scan() {
			if a := f(lines.Text()); a != "" {
				_, _ = io.WriteString(d, a)
			}
		}
	})
	return d
}

// states are what became of the commands, in short.
func (r *rig) states() (list []string) {
	for _, p := range r.broker.payloads("state") {
		var s commandState
		if err := json.Unmarshal([]byte(p), &s); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d %s", s.Seq, s.State))
	}
	return list
}

func correlated(data string, response string) func(*store.Delivery) {
	return func(d *store.Delivery) {
		if response != "" {
			d.Props = packet.AppendStringProp(d.Props, packet.PropResponseTopic, response)
		}
		d.Props = packet.AppendStringProp(d.Props, packet.PropCorrelationData, data)
	}
}

func TestTheNextFrameIsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withReplies(0))
		d := r.answering(func(line string) string { return "OK " + line + "\n" })
		_, _ = io.WriteString(d, "reading 1\n")
		synctest.Wait()
		r.cmds.send("set", "a", correlated("\x00\x01", ""))
		r.cmds.send("set", "b", correlated("\x02", "mine/reply"))
		r.cmds.send("set", "c")
		r.expect([]uint64{1, 2, 3}, nil)
		_, _ = io.WriteString(d, "reading 2\n")
		synctest.Wait()
		if got := r.broker.payloads("gw/dev"); !reflect.DeepEqual(got, []string{"reading 1", "reading 2"}) {
			t.Errorf("readings %q", got)
		}
		if got := r.broker.payloads("reply"); !reflect.DeepEqual(got, []string{"OK a", "OK c"}) {
			t.Errorf("replies %q", got)
		}
		if got := r.broker.payloads("mine/reply"); !reflect.DeepEqual(got, []string{"OK b"}) {
			t.Errorf("replies on the response topic %q", got)
		}
		want := []string{"1 queued", "2 queued", "3 queued", "1 sent", "1 acked", "2 sent", "2 acked", "3 sent", "3 acked"}
		got := r.states()
		for _, w := range want {
			if !strings.Contains(strings.Join(got, ","), w) {
				t.Errorf("states %q, without %s", got, w)
			}
		}
		for _, m := range r.broker.messages() {
			var data []byte
			_ = packet.EachProp(m.Props, func(id byte, v, _ []byte) bool {
				if id == packet.PropCorrelationData {
					data = append(data, v...)
				}
				return true
			})
			if strings.HasPrefix(string(m.Payload), "OK a") && string(data) != "\x00\x01" || strings.HasPrefix(string(m.Payload), "OK b") && string(data) != "\x02" {
				t.Errorf("%s with correlation data %q", m.Payload, data)
			}
		}
		if st := r.s.Stats(); st.Replies != 3 || st.CommandsSent != 3 || st.Published != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestACommandWithoutAnAnswerIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withReplies(2))
		var got []string
		r.answering(func(line string) string {
			got = append(got, line)
			if line == "b" || len(got) == 3 {
				return "yes\n"
			}
			return ""
		})
		start := time.Now()
		r.cmds.send("set", "a")
		r.cmds.send("set", "b")
		time.Sleep(time.Minute)
		r.cmds.send("set", "c")
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"a", "a", "a", "b", "c", "c", "c"}; !reflect.DeepEqual(got, want) {
			t.Errorf("written %q", got)
		}
		states := strings.Join(r.states(), ",")
		if !strings.Contains(states, "1 acked") || !strings.Contains(states, "2 acked") || !strings.HasSuffix(states, "3 sent,3 timeout") {
			t.Errorf("states %s", states)
		}
		if st := r.s.Stats(); st.CommandsUnanswered != 1 || st.CommandsSent != 3 {
			t.Errorf("stats %+v after %v", st, time.Since(start))
		}
	})
}

func TestCommandsThatAreNotWrittenAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, withReplies(0))
		r.cmds.send("set", "late", func(d *store.Delivery) { d.HasExpiry, d.Expiry = true, 10 })
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.states(); !reflect.DeepEqual(got, []string{"1 queued", "1 expired"}) {
			t.Errorf("states %q", got)
		}
	})
}

func TestPollsKeepTheirTimesAndTakeTurnsWithCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := run(t, func(r *rig, o *Options) {
			withReplies(0)(r, o)
			o.Poll = &PollOptions{Every: 5 * time.Second, Request: []byte("?\n"), Timeout: time.Second, Retries: 1}
		})
		var asked []string
		var dead atomic.Bool
		r.answering(func(line string) string {
			asked = append(asked, fmt.Sprintf("%v %s", time.Since(start), line))
			if dead.Load() {
				return ""
			}
			if line == "?" {
				time.Sleep(700 * time.Millisecond)
				return "23.5\n"
			}
			return "OK\n"
		})
		time.Sleep(5*time.Second + 100*time.Millisecond)
		r.cmds.send("set", "x") // while the second poll is not answered yet
		time.Sleep(4 * time.Second)
		dead.Store(true)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		want := []string{"0s ?", "5s ?", "5.7s x", "10s ?", "11s ?", "15s ?"}
		if !reflect.DeepEqual(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
		if got := r.broker.payloads("gw/dev"); !reflect.DeepEqual(got, []string{"23.5", "23.5"}) {
			t.Errorf("readings %q", got)
		}
		if got := r.broker.payloads("reply"); !reflect.DeepEqual(got, []string{"OK"}) {
			t.Errorf("replies %q", got)
		}
		if st := r.s.Stats(); st.Polls != 4 || st.PollsUnanswered != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestMistakesOfPolls(t *testing.T) {
	for _, tt := range []struct {
		poll PollOptions
		key  string
	}{
		{PollOptions{Every: time.Second, Timeout: time.Second, Request: []byte("x")}, "poll.timeout"},
		{PollOptions{Every: time.Second, Timeout: time.Millisecond}, "poll.send"},
	} {
		var bad *KeyError
		if err := tt.poll.check(); !errors.As(err, &bad) || bad.Key != tt.key {
			t.Errorf("%+v: %v", tt.poll, err)
		}
	}
}
