//go:build !linux

package main

import "net"

// Elsewhere the mode of the socket has to do.
func checkPeer(net.Conn) error { return nil }
