package conformance

import "testing"

func TestProperty(t *testing.T) { runChapter(t, propertyChapter) }

var propertyChapter = chapter{"Property", []testCase{}}
