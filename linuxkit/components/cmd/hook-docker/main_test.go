package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"hooklab.dev/hook/internal/cmdline"
)

func TestDaemonJSON(t *testing.T) {
	for line, want := range map[string]string{
		"a=b": `{"debug":true,"log-driver":"syslog","log-opts":{"syslog-address":"udp://:514"}}`,
		// F44: the key that stands last carries the kernel's newline.
		"x syslog_host=tinkerbell\n": `{"debug":true,"log-driver":"syslog","log-opts":{"syslog-address":"udp://tinkerbell:514"}}`,
		"syslog_host=10.0.0.1 insecure_registries=10.0.0.1:5000,b:80\n": `{"debug":true,"log-driver":"syslog",` +
			`"log-opts":{"syslog-address":"udp://10.0.0.1:514"},"insecure-registries":["10.0.0.1:5000","b:80"]}`,
		"insecure_registries=":  `{"debug":true,"log-driver":"syslog","log-opts":{"syslog-address":"udp://:514"}}`,
		"insecure_registries\n": `{"debug":true,"log-driver":"syslog","log-opts":{"syslog-address":"udp://:514"}}`,
	} {
		path := filepath.Join(t.TempDir(), "docker", "daemon.json")
		if err := configFor(cmdline.Parse(line)).write(path); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%q gives\n%s, want\n%s", line, got, want)
		}
	}
}

func TestProxies(t *testing.T) {
	args := cmdline.Parse("http_proxy=http://no HTTP_PROXY=http://u:p=w@h:3128 NO_PROXY=a,b\n")
	want := []string{"HTTP_PROXY=http://u:p=w@h:3128", "HTTPS_PROXY=", "NO_PROXY=a,b"}
	if got := proxies(args); !reflect.DeepEqual(got, want) {
		t.Errorf("proxies = %q, want %q", got, want)
	}
}
