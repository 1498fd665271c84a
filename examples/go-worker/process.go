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
	orphanGrace    = 3 * time.Second // with the rest, less than the 5 s of P4
	hurryPatience  = time.Second
	endPatience    = time.Second
	stallPatience  = 2 * time.Second
)

// SIGTERM: sessions may end by themselves for a while, and are then ended (P3).
func obey(signals <-chan os.Signal, worker *Worker, grace time.Duration, listeners []net.Listener) {
	<-signals
	first := time.Now()
	log.Printf("told to stop; sessions have %v", grace)
	drain(worker, grace, listeners)
	for range signals {
		if time.Since(first) >= time.Second { // launchers forward what they got themselves
			exit(listeners, 128+int(syscall.SIGTERM))
		}
	}
}

// The same for a worker whose launcher is gone (P4), as it is known by: who loses its parent gets another one. Where
// process 1 is the launcher, as in a container, nothing outlives it.
func watchParent(parent int, worker *Worker, grace time.Duration, listeners []net.Listener) {
	for os.Getppid() == parent {
		time.Sleep(parentInterval)
	}
	log.Print("who started this worker is gone")
	drain(worker, min(grace, orphanGrace), listeners)
}

// Nobody waits behind the grace for an engine that does not read: whoever wants this worker to end has a limit of a few
// seconds.
func drain(worker *Worker, grace time.Duration, listeners []net.Listener) {
	worker.shutdown(false)
	time.AfterFunc(grace, func() {
		worker.shutdown(true)
		time.AfterFunc(hurryPatience, func() { exit(listeners, 0) })
	})
}

// Sessions that were ended have their terminator as soon as somebody reads it. Where nobody has read anything for a
// while, nobody will, and whoever still reads then has the same time once more (M4).
func endStalled(worker *Worker) {
	<-worker.hurry
	taken := bytesTaken.Load()
	time.Sleep(stallPatience)
	if bytesTaken.Load() != taken {
		time.Sleep(stallPatience)
	}
	worker.settle()
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
