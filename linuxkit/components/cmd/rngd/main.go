// Program rngd feeds the kernel's random pool from a hardware source: "rngd -1" once, before the
// services; without an argument now and then. A machine without a source loses nothing: kernels
// since 5.6 gather enough by themselves.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

const (
	source        = "/dev/hwrng"
	pool          = "/dev/random"
	seedBytes     = 64
	interval      = 5 * time.Minute
	rndAddEntropy = 0x40085203 // _IOW('R', 3, int[2])
)

func main() {
	once := len(os.Args) > 1 && os.Args[1] == "-1"
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for {
		switch err := feed(); {
		case os.IsNotExist(err):
			fmt.Printf("rngd: no %s, the kernel's own sources have to do\n", source)
		case err != nil:
			fmt.Printf("rngd: %v\n", err)
		case once:
			fmt.Printf("rngd: added %d bytes from %s\n", seedBytes, source)
		}
		if once {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(interval):
		}
	}
}

// feed moves seedBytes from the source to the pool and credits them.
func feed() error {
	in, err := os.OpenFile(source, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(pool, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	// struct rand_pool_info: bits of entropy, bytes of data, data.
	info := make([]byte, 8+seedBytes)
	binary.NativeEndian.PutUint32(info[0:], 8*seedBytes)
	binary.NativeEndian.PutUint32(info[4:], seedBytes)
	if _, err := io.ReadFull(in, info[8:]); err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, out.Fd(), rndAddEntropy, uintptr(unsafe.Pointer(&info[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
