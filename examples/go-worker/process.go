package main

import (
	"log"
	"net"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

const (
	parentInterval = 200 * time.Millisecond
	hurryPatience  = time.Second
	endPatience    = time.Second
	stallPatience  = 5 * time.Second
)

// SIGTERM: sessions may end by themselves for a while, and are then ended (P3).
func obey(signals <-chan os.Signal, worker *Worker, grace time.Duration, listeners []net.Listener) {
	<-signals
	first := time.Now()
	log.Printf("told to stop; sessions have %v", grace)
	worker.shutdown(false)
	over := time.After(grace)
	for {
		select {
		case <-over:
			hurry(worker, listeners)
		case <-signals:
			if time.Since(first) < time.Second {
				continue // launchers forward what they got themselves
			}
			exit(listeners, 128+int(syscall.SIGTERM))
		}
	}
}

// A worker whose launcher is gone ends (P4). Who lost its parent gets another one.
func watchParent(parent int, worker *Worker, listeners []net.Listener) {
	for os.Getppid() == parent {
		time.Sleep(parentInterval)
	}
	log.Print("who started this worker is gone")
	hurry(worker, listeners)
}

// Ends what is left (C7). Nobody waits here for an engine that does not read: whoever wants this worker to end has a
// limit of a few seconds.
func hurry(worker *Worker, listeners []net.Listener) {
	worker.shutdown(true)
	time.AfterFunc(hurryPatience, func() { exit(listeners, 0) })
}

// Sessions that were ended have their terminator as soon as somebody reads it (M4). Where nobody has read anything for a
// while, nobody will.
func endStalled(worker *Worker, listeners []net.Listener) {
	<-worker.hurry
	for taken := int64(-1); taken != bytesTaken.Load(); {
		taken = bytesTaken.Load()
		time.Sleep(stallPatience)
	}
	exit(listeners, 0)
}

func exit(listeners []net.Listener, status int) {
	for _, listener := range listeners {
		listener.Close() // which removes a socket
	}
	os.Exit(status)
}

// All sessions have ended. What is still under way is the answer to a shutdown, or a heartbeat.
func end(server *grpc.Server) {
	stop := time.AfterFunc(endPatience, server.Stop)
	defer stop.Stop()
	server.GracefulStop()
}
