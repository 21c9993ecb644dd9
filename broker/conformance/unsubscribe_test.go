package conformance

import "testing"

func TestUnsubscribe(t *testing.T) { runChapter(t, unsubscribeChapter) }

var unsubscribeChapter = chapter{"Unsubscribe", []testCase{}}
