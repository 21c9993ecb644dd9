package conformance

import "testing"

func TestFlow(t *testing.T) { runChapter(t, flowChapter) }

var flowChapter = chapter{"Flow", []testCase{}}
