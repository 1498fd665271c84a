package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// Who has connected to a Unix socket must be the owner of this process, or root (P9).
func checkPeer(conn net.Conn) error {
	unix, is := conn.(*net.UnixConn)
	if !is {
		return nil
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Getuid() {
		return fmt.Errorf("user %d has connected, who is neither root nor the worker's own", peer.Uid)
	}
	return nil
}
