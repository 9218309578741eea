// Package sntp asks a time server once and sets the clock (RFC 4330, a client's part).
package sntp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// epoch is 1970 in seconds of NTP's first era, which began in 1900.
const epoch = 2208988800

const packetSize = 48

// Offset is what the local clock lacks, as one server sees it.
type Offset struct {
	Server string
	Offset time.Duration
	Delay  time.Duration
}

// Query asks one server; host may carry a port, 123 otherwise.
func Query(ctx context.Context, host string) (Offset, error) {
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(host, "123")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return Offset{}, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return Offset{}, err
		}
	}
	var packet [packetSize]byte
	packet[0] = 4<<3 | 3 // version 4, client
	sent := time.Now()
	put(packet[40:48], sent)
	sentStamp := binary.BigEndian.Uint64(packet[40:48])
	if _, err := conn.Write(packet[:]); err != nil {
		return Offset{}, err
	}
	n, err := conn.Read(packet[:])
	if err != nil {
		return Offset{}, err
	}
	offset, delay, err := evaluate(packet[:n], sentStamp, sent, time.Now())
	return Offset{Server: conn.RemoteAddr().String(), Offset: offset, Delay: delay}, err
}

// evaluate reads an answer; sentStamp is what the request carried as its transmit time.
func evaluate(answer []byte, sentStamp uint64, sent, received time.Time) (offset, delay time.Duration, err error) {
	if len(answer) < packetSize {
		return 0, 0, fmt.Errorf("the answer has %d bytes, not %d", len(answer), packetSize)
	}
	switch mode := answer[0] & 7; {
	case mode != 4:
		return 0, 0, fmt.Errorf("the answer has mode %d, not 4 (server)", mode)
	case answer[0]>>6 == 3:
		return 0, 0, errors.New("the server's clock is not synchronised")
	case answer[1] == 0:
		return 0, 0, fmt.Errorf("the server refuses (kiss of death %q)", answer[12:16])
	case binary.BigEndian.Uint64(answer[24:32]) != sentStamp:
		return 0, 0, errors.New("the answer belongs to another request")
	case binary.BigEndian.Uint64(answer[40:48]) == 0:
		return 0, 0, errors.New("the answer has no time")
	}
	arrived, left := get(answer[32:40]), get(answer[40:48])
	offset = (arrived.Sub(sent) + left.Sub(received)) / 2
	return offset, received.Sub(sent) - left.Sub(arrived), nil
}

// put and get convert NTP's 32.32 bit seconds. A value whose top bit is clear lies in the era that
// begins in 2036 (RFC 4330 §3).
func put(field []byte, t time.Time) {
	seconds := uint64(t.Unix()+epoch) << 32 // the era is lost here, as it must be
	fraction := uint64(t.Nanosecond()) << 32 / uint64(time.Second)
	binary.BigEndian.PutUint64(field, seconds|fraction)
}

func get(field []byte) time.Time {
	value := binary.BigEndian.Uint64(field)
	seconds := int64(value >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	nanoseconds := int64((value & (1<<32 - 1)) * uint64(time.Second) >> 32)
	return time.Unix(seconds-epoch, nanoseconds)
}

// SetClock moves the system's clock by offset at once.
func SetClock(offset time.Duration) error {
	now := syscall.NsecToTimeval(time.Now().Add(offset).UnixNano())
	return syscall.Settimeofday(&now)
}
