package conformance

import "testing"

func TestSubscribe(t *testing.T) { runChapter(t, subscribeChapter) }

var subscribeChapter = chapter{"Subscribe", []testCase{}}
