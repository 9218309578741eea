package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]struct {
		names []string
		quiet bool
		fails bool
	}{
		"-q -- net-pf-10": {[]string{"net-pf-10"}, true, false},
		"cdc_ncm":         {[]string{"cdc_ncm"}, false, false},
		"-abq a b":        {[]string{"a", "b"}, true, false},
		"-s -- -odd":      {[]string{"-odd"}, false, false},
		"--quiet loop":    {[]string{"loop"}, true, false},
		"-r loop":         {fails: true},
		"--remove loop":   {fails: true},
		"":                {fails: true},
	} {
		names, quiet, err := parse(strings.Fields(line))
		if !reflect.DeepEqual(names, want.names) || quiet != want.quiet || (err != nil) != want.fails {
			t.Errorf("%q: %v, %v, %v", line, names, quiet, err)
		}
	}
}
