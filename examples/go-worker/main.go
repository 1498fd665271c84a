// A worker in Go that keeps docs/protocol.md, as a model for one in another language. README.md says where to begin.
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // P11
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"example.org/anyudf/go-worker/udf"
)

type settings struct {
	id           string
	connection   string
	grace        time.Duration
	standalone   bool
	places       int
	messageLimit int
}

func main() {
	parent := os.Getppid() // before anything else: it may soon be gone (P4)
	log.SetFlags(0)
	settings, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-worker:", err)
		os.Exit(2)
	}
	log.SetPrefix("go-worker " + settings.id + ": ")
	debug.SetGCPercent(50)         // a worker shares its machine with others, and batches are large
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to end (P5)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	listeners, err := listen(settings.connection)
	if err != nil {
		log.Printf("cannot listen: %v", err)
		os.Exit(1)
	}
	worker := newWorker(settings)
	server := newServer(worker)
	for _, listener := range listeners {
		go server.Serve(listener)
	}
	if !settings.standalone {
		go watchParent(parent, worker, settings.grace, listeners)
	}
	go obey(signals, worker, settings.grace, listeners)
	go endStalled(worker)
	<-worker.empty
	end(server)
}

// Flags that are not known are ignored, and what might be their values with them (P1).
func parse(words []string) (settings, error) {
	s := settings{grace: 4 * time.Second, places: defaultPlaces, messageLimit: defaultMessageLimit}
	for i := 0; i < len(words); i++ {
		name, value, joined := strings.Cut(words[i], "=")
		switch name {
		case "--standalone":
			s.standalone = true
			continue
		case "--id", "--connection", "--grace", "--max-sessions", "--max-message-bytes":
		default:
			continue
		}
		if !joined {
			if i++; i == len(words) {
				return s, fmt.Errorf("%s needs a value", name)
			}
			value = words[i]
		}
		number, err := strconv.ParseFloat(value, 64)
		switch isNumber := err == nil; {
		case name == "--id":
			s.id = value
		case name == "--connection":
			s.connection = value
		case name == "--grace" && isNumber && number >= 0 && number < 1e9:
			s.grace = time.Duration(number * float64(time.Second))
		case name == "--max-sessions" && isNumber && number >= 1 && number < 1e9:
			s.places = int(number)
		case name == "--max-message-bytes" && isNumber && number >= leastMessageLimit && number < 1<<31:
			s.messageLimit = int(number)
		default:
			return s, fmt.Errorf("%s cannot be %q", name, value)
		}
	}
	if s.connection == "" {
		return s, fmt.Errorf("--connection WHERE is missing: the path of a socket, or a TCP port")
	}
	return s, nil
}

func newServer(worker *Worker) *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(localCredentials{}),
		grpc.InTapHandle(worker.admit),
		grpc.MaxRecvMsgSize(worker.messageLimit),
		grpc.MaxSendMsgSize(math.MaxInt32), // a session looks after what its engine takes
		grpc.InitialWindowSize(8<<20),      // of a stream (E5)
		grpc.InitialConnWindowSize(1<<30),  // larger than 64 of those together (M6)
		grpc.ReadBufferSize(0),             // our connection reads ahead, and has to be the only one
		grpc.WriteBufferSize(64<<10),       // fewer, larger writes
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Nanosecond, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
			defer survive(&err)
			grpc.SetSendCompressor(ctx, encoding.Identity) // grpc-go would answer gzip in gzip, asked or not
			return next(ctx, request)
		}),
		grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer survive(&err)
			grpc.SetSendCompressor(stream.Context(), encoding.Identity)
			return next(service, stream)
		}),
	)
	udf.RegisterUdfWorkerServer(server, worker)
	grpc_health_v1.RegisterHealthServer(server, worker.health) // M5
	reflection.Register(server)
	return server
}

// No panic is known that a peer can cause. One that is not costs its stream, and no other.
func survive(err *error) {
	if cause := recover(); cause != nil {
		log.Printf("panic: %v\n%s", cause, debug.Stack())
		*err = status.Error(codes.Internal, "the worker panicked; its log says where")
	}
}
