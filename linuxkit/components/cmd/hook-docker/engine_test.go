package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOneEndsTheOther(t *testing.T) {
	began := time.Now()
	err := runTogether([][]string{{"sleep", "60"}, {"false"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "false: exit status 1") {
		t.Errorf("error %v", err)
	}
	if err := runTogether([][]string{{"true"}, {"sleep", "60"}}, nil); err != nil {
		t.Errorf("a good end gives %v", err)
	}
	err = runTogether([][]string{{"sleep", "60"}, {"no-such-program"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the others were waited for: %v", took)
	}
}

func TestBridgeRule(t *testing.T) {
	subnet, err := waitForSubnet(context.Background(), "lo")
	if err != nil || subnet != netip.MustParsePrefix("127.0.0.0/8") {
		t.Errorf("the loopback's subnet is %v, %v", subnet, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := waitForSubnet(ctx, "no-such-link"); err == nil {
		t.Error("an interface that never comes must end with the context")
	}
	want := "--wait -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"
	if got := strings.Join(rule(netip.MustParsePrefix("172.17.0.0/16")), " "); got != want {
		t.Errorf("rule %s", got)
	}
}
