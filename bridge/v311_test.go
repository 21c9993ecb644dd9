package bridge

import (
	"context"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/config"
)

// TestOverMQTT311 runs what does not depend on the version once more.
func TestOverMQTT311(t *testing.T) {
	rigVersion = 4
	defer func() { rigVersion = 5 }()
	for _, f := range []func(*testing.T){
		TestQoS2IsExactlyOnceOverPowerCuts,
		TestAPowerCutBeforeTheReleaseIsOnDisk,
		TestQoS2CommandsAreExactlyOnceOverPowerCuts,
		TestAServerThatStopsAcknowledging,
		TestAServerThatIsOnlySlow,
		TestPresenceOnTheStatusTopic,
		TestTheEndWaitsForAcknowledgementsButNotForEver,
		TestTheEndIsNotHeldUpByABlackHole,
		TestQoS0ComesDown,
		TestSubscriptionsThatNoRuleNamesAnyMoreEnd,
		TestACommandIsAnsweredOnlyWhenItIsOnDisk,
		TestRepeatedQoS2CommandsAreTakenOnce,
		TestAFullQueueWithholdsAnswersAndKeepsTheOrder,
		TestWhatNoDownRuleTakesIsAcknowledgedAndCounted,
		TestMessagesOfAHigherLaneLeaveRoomForWhatGoesAgain,
		TestWhatCameDownDoesNotGoUpAgain,
		TestGapsAreToldOnceOverCutsAndPowerCuts,
		TestASessionIsResumedOnlyWhereItWasLastLive,
		TestACloudThatForgotTheSession,
		TestReleasedMessagesGoAgainToACloudThatForgot,
		TestFailoverAndBack,
		TestNothingIsSentBeforeTheNewSessionIsOnDisk,
		TestPubrelWaitsForTheDisk,
		TestWhatWasQueuedOfflineArrivesInOrder,
		TestACutAtAnyPacketBoundaryLosesAndRepeatsNothing,
		TestQoS2StaysExactlyOnceOverManyCuts,
		TestMosquittoGetsEveryMessageOnceAndInOrder,
		TestMosquittoRestartedKeepsTheSession,
		TestQoS1IsRepeatedOnlyWithinTheWindow,
		TestRepeatsAfterACutHaveDupAndTheSameIdentifier,
		TestHigherLanesGoFirst,
		TestWhatComesBackIsNotTakenAgain,
		TestAMessageOnWhichTheServerDisconnectsBlocksNothing,
		TestABacklogLeavesRoomForTheHighestLane,
		TestQoS0GoesDirectlyWhileOnline,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
		t.Run(name[strings.LastIndexByte(name, '.')+1:], f)
	}
}

// TestWhatA311SessionHasIsNotAskedForAgain: its retained messages would come
// each time.
func TestWhatA311SessionHasIsNotAskedForAgain(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Version = 4
		commands(c)
	})
	subscribes := func() (n int) {
		for _, f := range r.cloud.talk() {
			if strings.HasPrefix(f, "SUBSCRIBE") {
				n++
			}
		}
		return n
	}
	life := func(want int) {
		t.Helper()
		r.start()
		r.run()
		r.awaitState(Online)
		r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", QoS: 1})
		r.cloud.await(t, "an answer", func() bool { return len(r.cloud.sessions["gw1"].out) == 0 })
		r.stop()
		if got := subscribes(); got != want {
			t.Errorf("%d SUBSCRIBEs, want %d", got, want)
		}
	}
	subscribe := func(n int) {
		r.start()
		r.run()
		r.cloud.await(t, "the subscription", func() bool {
			u := r.bridge.loadUpstream()
			if len(r.cloud.subs) >= n && u.granted(packet.Filter{Filter: "gw1/cmd/#", QoS: byte(r.cfg.Down[0].QoS)}) {
				return true
			}
			time.AfterFunc(time.Millisecond, r.cloud.cond.Broadcast) // SUBACK makes no event at the cloud
			return false
		})
		r.stop()
	}
	subscribe(1)
	life(1)
	life(1)
	r.cfg.Down[0].QoS = 1
	subscribe(2)
	life(2)
	r.cloud.do(func() { clear(r.cloud.sessions) })
	subscribe(3)
	life(3)
}

func TestWhatA311ServerMayNotSend(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"a SUBSCRIBE":                {0x82, 5, 0, 1, 0, 0, 0},
		"a PUBLISH of QoS 3":         {0x36, 3, 0, 1, 'x'},
		"an endless length":          {0x30, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a PUBACK with a v5 reason":  {0x40, 3, 0, 1, 0x87},
		"a second CONNACK":           {0x20, 2, 0, 0},
		"a packet that is too large": {0x30, 0xff, 0xff, 0xff, 0x7f},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) { c.Version = 4; unhurried(c) })
			r.start()
			r.bridge.dial = func(context.Context, dial.Server) (net.Conn, error) { return r.cloud.dial(nil) }
			r.run()
			r.awaitState(Online)
			r.cloud.raw("gw1", bytes)
			if s := r.awaitState(BackingOff); s.Err == nil {
				t.Errorf("state %v", s)
			} else {
				t.Log(s.Err)
			}
		})
	}
}
