package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// believing lets everybody in as who they say they are.
func believing(c *Credentials) (string, byte) { return c.User, packet.Success }

func as(user string) func(*packet.Connect) {
	return func(p *packet.Connect) { p.HasUser, p.User = true, user }
}

func TestUsersThatAreGoneAreDisconnectedAndTheirSessionsStay(t *testing.T) {
	r := rigTCP(t, Options{Authenticate: believing})
	var gone, stays []*client
	for _, v := range []byte{packet.V311, packet.V5} {
		id := string('0' + v)
		gone = append(gone, r.connect(v, "gone"+id, as("eve"), persistent))
		stays = append(stays, r.connect(v, "stays"+id, as("bob")), r.connect(v, "nobody"+id))
	}
	if n := r.b.KickUsers(func(user string) bool { return user != "bob" }); n != 2 {
		t.Errorf("%d clients were ended", n)
	}
	for _, c := range gone {
		c.wantEnd(packet.NotAuthorized)
	}
	for _, c := range stays {
		c.ping()
	}
	if c := r.connect(packet.V5, "gone"+string('0'+byte(packet.V5)), as("bob"), persistent); !c.ack.SessionPresent {
		t.Error("the session is gone, too")
	}
}

func TestWhoIsLetInWithoutANameHasNone(t *testing.T) {
	r := rigTCP(t, Options{Authenticate: func(*Credentials) (string, byte) { return "", packet.Success }})
	r.connect(packet.V5, "a", as("root"))
	r.b.KickUsers(func(user string) bool {
		t.Errorf("user %q", user)
		return false
	})
}

func TestTheReasonsOfRefusedLogins(t *testing.T) {
	for _, c := range []struct {
		name      string
		code, v31 byte // v31 as ParseConnack has the return code
	}{
		{"a wrong password", packet.BadUserNameOrPassword, packet.BadUserNameOrPassword},
		{"no user name", packet.NotAuthorized, packet.NotAuthorized},
		{"too many logins at a time", packet.ServerBusy, packet.ServerUnavailable},
		{"too many that failed", packet.ConnectionRateExceeded, packet.ServerUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigTCP(t, Options{Authenticate: func(*Credentials) (string, byte) { return "", c.code }})
			for v, want := range map[byte]byte{packet.V31: c.v31, packet.V311: c.v31, packet.V5: c.code} {
				d := r.dial()
				ack := d.connect(&packet.Connect{Version: v, ClientID: "a", CleanStart: true})
				if ack.Code != want || v == packet.V5 && ack.ReasonString != refusedLogin(c.code) {
					t.Errorf("CONNACK 0x%02X %q", ack.Code, ack.ReasonString)
				}
				d.wantEnd(0)
			}
		})
	}
}

func TestALoginThatWaitsForLongIsLetInAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{ConnectTimeout: time.Second, Authenticate: func(c *Credentials) (string, byte) {
			time.Sleep(time.Minute)
			return c.User, packet.Success
		}})
		release := r.holdSyncs()
		c := r.dial()
		c.send(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "a", SessionExpiry: 3600, HasUser: true, User: "bob"}))
		time.Sleep(time.Minute)
		synctest.Wait()
		release()
		if _, body := c.wantLate(packet.CONNACK, time.Minute); body[1] != packet.Success {
			t.Errorf("CONNACK %x", body)
		}
		c.ping()
		r.stop()
	})
}

func TestWhatComesWithCONNECTIsAnsweredAfterALogin(t *testing.T) {
	for name, rig := range map[string]func(testing.TB, Options) *rig{"TCP": rigTCP, "in memory": rigPipes} {
		t.Run(name, func(t *testing.T) {
			r := rig(t, Options{Authenticate: func(*Credentials) (string, byte) { return "", packet.Success }})
			c := r.dial()
			c.send(packet.AppendPing(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "a"}), packet.PINGREQ))
			c.wantConnack()
			c.want(packet.PINGRESP)
		})
	}
}
