package conformance

// elsewhere are tests of other packages that show statements: what needs a
// crash in the right moment, and the bridge, which is a client.
var elsewhere = []struct{ shows, pkg, test string }{
	{"5.0/4.1.0-1 3.1.1/4.1.0-1 5.0/4.4.0-1 3.1.1/4.4.0-1", "broker", "TestNothingIsLostOverCutsAndCrashes"},
	{"5.0/4.1.0-1 3.1.1/4.1.0-1 3.1.1/3.1.2-5 5.0/3.1.2-23", "broker/store", "TestEveryPromiseSurvivesACrashAnywhere"},
	{"5.0/4.3.2-4 5.0/4.3.3-8 5.0/4.3.3-11 5.0/4.3.3-4 3.1.1/4.3.2-2 3.1.1/4.3.3-2 3.1.1/4.3.3-1 5.0/4.6.0-2 3.1.1/4.6.0-2", "broker", "TestAnswersWaitForTheDisk"},
	{"5.0/4.3.3-10 5.0/4.3.3-12 5.0/4.3.3-6 5.0/4.6.0-1 3.1.1/4.3.3-1 3.1.1/4.3.3-2 3.1.1/4.6.0-1", "broker/qos", "TestQoS2IsExactlyOnceAndInOrderOverCrashesAndLosses"},
	{"5.0/4.3.3-10 3.1.1/4.3.3-2", "broker", "TestIdentifiersOfACleanSessionDoNotOutliveACrash"},
	{"5.0/2.2.1-4 5.0/4.3.2-1 5.0/4.3.3-1 5.0/2.2.1-3 3.1.1/2.3.1-4 3.1.1/2.3.1-2", "broker/store", "TestNoIdentifierIsUsedTwiceBeforeTheFirstUseIsDurablyOver"},
	{"5.0/3.3.2-5 5.0/3.3.2-6", "broker/store", "TestExpiryNeedsNoClock"},
	{"3.1.1/4.8.0-2 5.0/4.13.2-1", "broker", "TestWhatNoSegmentHoldsIsRefused"},
	{"5.0/3.3.1-5 3.1.1/3.3.1-5", "broker/store", "TestRetainedMessagesSurvive"},
	{"5.0/1.5.5-1 5.0/2.1.3-1 3.1.1/2.2.2-1", "broker/packet", "TestMalformedPacketsAreRefusedWithTheRightCode"},
	{"5.0/6.0.0-1 5.0/6.0.0-2 3.1.1/6.0.0-1 3.1.1/6.0.0-2", "broker/transport", "TestFrames"},
	{"5.0/6.0.0-4 3.1.1/6.0.0-4", "broker/transport", "TestUpgrades"},
	{"5.0/4.7.2-1 3.1.1/4.7.2-1 5.0/4.7.3-4 3.1.1/4.7.3-4", "broker/topic", "TestFiltersMatchNames"},
	{"5.0/3.1.2-20", "bridge", "TestKeepAlive/an idle connection is kept"},
	{"5.0/3.1.2-21 5.0/3.2.2-21", "bridge", "TestKeepAlive/the server's keep alive counts"},
	{"5.0/3.2.2-4", "bridge", "TestAServerThatResumesWhatItWasToldToDrop"},
	{"5.0/3.2.2-5 5.0/4.4.0-1", "bridge", "TestACloudThatForgotTheSession"},
	{"5.0/3.2.2-5", "bridge", "TestReleasedMessagesGoAgainToACloudThatForgot"},
	{"5.0/3.2.2-11 5.0/3.2.2-14", "bridge", "TestWhatTheServerCannotTakeAtAll/QoS above its maximum is lowered, RETAIN left out"},
	{"5.0/3.2.2-15", "bridge", "TestWhatTheServerCannotTakeAtAll/larger than its maximum packet size"},
	{"5.0/3.3.4-7 5.0/3.3.4-8 5.0/4.9.0-1 5.0/4.9.0-2 5.0/4.9.0-3", "bridge", "TestNeverMoreInFlightThanTheServerTakes"},
	{"5.0/3.3.1-1 5.0/4.4.0-1 5.0/4.6.0-1 5.0/2.2.1-3", "bridge", "TestRepeatsAfterACutHaveDupAndTheSameIdentifier"},
	{"5.0/4.3.3-5 5.0/4.3.3-4 5.0/4.6.0-4", "bridge", "TestPubrelWaitsForTheDisk"},
	{"5.0/4.3.3-7", "bridge", "TestWhatMayHaveBeenSentDoesNotExpireAtQoS2"},
	{"5.0/4.3.3-10 5.0/4.3.3-11", "bridge", "TestRepeatedQoS2CommandsAreTakenOnce"},
	{"5.0/4.5.0-2 5.0/3.3.4-1", "bridge", "TestACommandIsAnsweredOnlyWhenItIsOnDisk"},
	{"5.0/4.6.0-2 5.0/4.6.0-3", "bridge", "TestAFullQueueWithholdsAnswersAndKeepsTheOrder"},
	{"5.0/4.4.0-2 5.0/4.3.3-9", "bridge", "TestMessagesThatTheServerDoesNotTake"},
	{"5.0/3.8.3-1 5.0/3.8.3-2", "bridge", "TestSubscriptionsAskForWhatTheRulesSay"},
	{"5.0/3.10.3-1 5.0/3.10.3-2", "bridge", "TestSubscriptionsThatNoRuleNamesAnyMoreEnd"},
	{"5.0/4.13.2-1", "bridge", "TestADisconnectByTheServerIsExplained"},
	{"3.1.1/7.0.0-1", "bridge", "TestMosquittoGetsEveryMessageOnceAndInOrder"},
	{"3.1.1/7.0.0-1", "bridge", "TestCommandsComeDown"},
}

// exceptions are statements that nothing shows, and why.
var exceptions = []struct{ of, reason string }{
	{"5.0/4.12.0-2 5.0/4.12.0-4 5.0/4.12.0-5 5.0/4.12.1-2",
		"enhanced authentication is not supported: CONNECT with a method is refused with 0x8C, AUTH ends the connection"},
}

const preface = `# Conformance

What shows each normative statement of MQTT 5.0 and 3.1.1. *Who* is bound: S the server, C the client, B both. The statements
are paraphrased; the wording that counts is the standard's.

"Connect: a second CONNECT …" is a case of ` + "`broker/conformance`" + `, which speaks raw bytes to a real broker over TCP and WebSocket:
` + "`go test ./broker/conformance -run 'TestConnect/5.0/a_second_CONNECT' -v`" + `. Each case runs once for each version for
which it names statements. With ` + "`-addr HOST:PORT`" + ` the cases that need no broker of their own run against another
broker. Tests of other packages stand with their package. The bridge is a client, so statements about clients name its tests.

This file is written by ` + "`go test ./broker/conformance -update`" + `, and the test fails when it is not what the tests say, when
nothing shows a statement that binds the server, or when a test that is named here does not exist.
`
