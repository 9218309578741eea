// Package quamina stands in for the module of this name, which not every module proxy has. Tinkerbell
// matches an agent's attributes with it (auto-enrolment) and references between objects. This one
// knows the values of a pattern as they are and nothing of quamina's operators, so what depends on
// those is not compared with the real program.
package quamina

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// X names a pattern.
type X any

// Quamina holds patterns.
type Quamina struct {
	patterns []pattern
}

type pattern struct {
	name   X
	fields map[string]any
}

// Option is taken and never looked at.
type Option func(*Quamina) error

// New returns a matcher without patterns.
func New(...Option) (*Quamina, error) {
	return &Quamina{}, nil
}

// AddPattern takes a pattern: a JSON object whose leaves are lists of the values that match.
func (q *Quamina) AddPattern(name X, text string) error {
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return err
	}
	if err := check(fields); err != nil {
		return err
	}
	q.patterns = append(q.patterns, pattern{name: name, fields: fields})
	return nil
}

func check(fields map[string]any) error {
	for key, wanted := range fields {
		switch wanted := wanted.(type) {
		case map[string]any:
			if err := check(wanted); err != nil {
				return err
			}
		case []any:
			if len(wanted) == 0 {
				return fmt.Errorf("empty array for %q", key)
			}
		default:
			return fmt.Errorf("pattern malformed, the value of %q is neither an object nor an array", key)
		}
	}
	return nil
}

// MatchesForEvent returns the names of the patterns that event, a JSON object, matches.
func (q *Quamina) MatchesForEvent(event []byte) ([]X, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(event, &fields); err != nil {
		return nil, err
	}
	found := []X{}
	for _, each := range q.patterns {
		if matches(each.fields, fields) {
			found = append(found, each.name)
		}
	}
	return found, nil
}

func matches(wanted map[string]any, event any) bool {
	if several, ok := event.([]any); ok {
		for _, one := range several {
			if matches(wanted, one) {
				return true
			}
		}
		return false
	}
	fields, ok := event.(map[string]any)
	if !ok {
		return false
	}
	for key, each := range wanted {
		value, there := fields[key]
		if !there {
			return false
		}
		deeper, ok := each.(map[string]any)
		if ok && !matches(deeper, value) {
			return false
		}
		if values, ok := each.([]any); ok && !anyOf(values, value) {
			return false
		}
	}
	return true
}

func anyOf(wanted []any, value any) bool {
	several, ok := value.([]any)
	if !ok {
		several = []any{value}
	}
	for _, one := range several {
		for _, each := range wanted {
			if reflect.DeepEqual(each, one) {
				return true
			}
		}
	}
	return false
}
