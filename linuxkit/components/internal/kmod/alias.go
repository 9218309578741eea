package kmod

import (
	"path"
	"sort"
	"strings"
)

// Match finds the modules for names (mostly modaliases of devices) in one pass over modules.alias. A pattern is compared only
// with the names that share its beginning; under emulation that is the difference between 20 ms and seconds.
func (m *Modules) Match(names []string) map[string][]string {
	sorted := append([]string{}, names...)
	sort.Strings(sorted)
	found := map[string][]string{}
	for rest := m.aliases; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line, ok := strings.CutPrefix(line, "alias ")
		if !ok {
			continue
		}
		// The module's name is the last word: patterns contain spaces now and then.
		space := strings.LastIndexByte(line, ' ')
		if space < 0 {
			continue
		}
		pattern, module := line[:space], normal(line[space+1:])
		prefix := pattern
		if wild := strings.IndexAny(pattern, "*?["); wild >= 0 {
			prefix = pattern[:wild]
		}
		for i := sort.SearchStrings(sorted, prefix); i < len(sorted) && strings.HasPrefix(sorted[i], prefix); i++ {
			name := sorted[i]
			if m.blacklist[module] || contains(found[name], module) || !matches(pattern, name) {
				continue
			}
			found[name] = append(found[name], module)
		}
	}
	return found
}

// matches is fnmatch without special treatment of "/".
func matches(pattern, name string) bool {
	hide := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(hide.Replace(pattern), hide.Replace(name))
	return err == nil && ok
}
