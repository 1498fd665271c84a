package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"syscall"
)

// A number is a TCP port on both loopback addresses, anything else the path of a Unix socket (P2).
func listen(where string) ([]net.Listener, error) {
	port, err := strconv.ParseUint(where, 10, 16)
	if err != nil {
		listener, err := listenUnix(where)
		return []net.Listener{listener}, err
	}
	four, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", where))
	if err != nil {
		return nil, err
	}
	if port == 0 {
		where = strconv.Itoa(four.Addr().(*net.TCPAddr).Port)
	}
	six, err := net.Listen("tcp6", net.JoinHostPort("::1", where))
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
		log.Printf("warning: only IPv4 is served: %v", err)
		return []net.Listener{four}, nil
	}
	return []net.Listener{four, six}, nil
}

func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil { // P6
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		peer, err := net.Dial("unix", path)
		if err == nil {
			peer.Close()
			return nil, fmt.Errorf("somebody answers on the socket %s: it is in use", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // nobody listens; anything else does not say so
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	before := syscall.Umask(0o177) // so that it has mode 0600 from the beginning (P9)
	defer syscall.Umask(before)
	return net.Listen("unix", path)
}
