package conformance

import "testing"

func TestShared(t *testing.T) { runChapter(t, sharedChapter) }

var sharedChapter = chapter{"Shared", []testCase{}}
