package sntp

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// answer makes a server's packet for a request sent at client time "sent".
func answer(stamp uint64, arrived, left time.Time) []byte {
	packet := make([]byte, packetSize)
	packet[0] = 4<<3 | 4
	packet[1] = 2
	binary.BigEndian.PutUint64(packet[24:], stamp)
	put(packet[32:40], arrived)
	put(packet[40:48], left)
	return packet
}

func TestEvaluate(t *testing.T) {
	sent := time.Unix(1_700_000_000, 0)
	received := sent.Add(100 * time.Millisecond)
	server := sent.Add(time.Hour)
	packet := answer(7, server.Add(40*time.Millisecond), server.Add(60*time.Millisecond))
	offset, delay, err := evaluate(packet, 7, sent, received)
	if err != nil {
		t.Fatal(err)
	}
	if near := offset - time.Hour; near.Abs() > time.Microsecond {
		t.Errorf("offset %v, want an hour", offset)
	}
	if near := delay - 80*time.Millisecond; near.Abs() > time.Microsecond {
		t.Errorf("delay %v, want 80 ms", delay)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	good := func() []byte { return answer(7, now, now) }
	for name, spoil := range map[string]func([]byte) []byte{
		"short":        func(p []byte) []byte { return p[:47] },
		"client mode":  func(p []byte) []byte { p[0] = 4<<3 | 3; return p },
		"unsynced":     func(p []byte) []byte { p[0] |= 3 << 6; return p },
		"kiss":         func(p []byte) []byte { p[1] = 0; copy(p[12:], "RATE"); return p },
		"foreign":      func(p []byte) []byte { p[31]++; return p },
		"without time": func(p []byte) []byte { clear(p[40:48]); return p },
	} {
		if _, _, err := evaluate(spoil(good()), 7, now, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEras(t *testing.T) {
	var field [8]byte
	for _, when := range []time.Time{time.Unix(0, 0), time.Unix(1_700_000_000, 500_000_000), time.Unix(2_200_000_000, 0)} {
		put(field[:], when)
		if got := get(field[:]); got.Sub(when).Abs() > time.Microsecond {
			t.Errorf("%v came back as %v", when, got)
		}
	}
}

func TestQuery(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	const ahead = 3 * time.Hour
	go func() {
		request := make([]byte, packetSize)
		_, from, err := server.ReadFrom(request)
		if err != nil {
			return
		}
		now := time.Now().Add(ahead)
		_, _ = server.WriteTo(answer(binary.BigEndian.Uint64(request[40:]), now, now), from)
	}()
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	got, err := Query(ctx, server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if (got.Offset - ahead).Abs() > time.Second {
		t.Errorf("offset %v, want about %v", got.Offset, ahead)
	}
}
