package docker

import "strings"

// SplitReference splits an image name into what the engine's API calls fromImage and tag; the tag is "latest"
// where the name has none, and a digest stands in the tag's place.
func SplitReference(image string) (name, tag string) {
	if name, digest, ok := strings.Cut(image, "@"); ok {
		// A tag before a digest says nothing: the digest decides.
		plain, _ := cutTag(name)
		return plain, digest
	}
	name, tag = cutTag(image)
	if tag == "" {
		tag = "latest"
	}
	return name, tag
}

// cutTag cuts at the last colon unless that belongs to the registry's port.
func cutTag(name string) (string, string) {
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 || strings.Contains(name[colon:], "/") {
		return name, ""
	}
	return name[:colon], name[colon+1:]
}

// Domain is the registry an image name leads to, by docker's rule: the first part is a host when it has a dot,
// a colon or capitals, or is "localhost"; otherwise the image is on docker.io.
func Domain(image string) string {
	first, _, ok := strings.Cut(image, "/")
	switch {
	case !ok, !strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first:
		return "docker.io"
	case first == "index.docker.io":
		return "docker.io"
	}
	return first
}
