package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log"
	"maps"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"example.org/anyudf/go-worker/udf"
)

// A Worker has the sessions, and answers Manage, which belongs to all of them.
type Worker struct {
	udf.UnimplementedUdfWorkerServer
	formats      map[string]Open
	places       places // for sessions that run at the same time (P10)
	most         int    // of those
	health       *health.Server
	token        string // that callers must show (P9); none if empty
	messageLimit int
	began        time.Time
	totals       totals

	hurry, empty   chan struct{} // closed by these:
	endAll, settle func()        // sessions are to end now (C7); there is none any more (M3), or none is waited for (M4)

	lock    sync.Mutex // held for a moment, by those who begin, end and shut down
	closing bool
}

// Counters of all sessions together. A heartbeat reads them without a lock (M2).
type totals struct {
	active, total, failed, overdue     atomic.Int64
	bytesIn, bytesOut, rowsIn, rowsOut atomic.Int64
}

const (
	defaultMessageLimit = 128 << 20 // P7
	leastMessageLimit   = 4 << 10
	payloadLimit        = 1 << 30
	defaultPlaces       = 256 // P10

	// What may be relied on (M6).
	features = "pipelining,call_timeout,max_message_bytes,stream_windows"
)

func newWorker(settings settings) *Worker {
	w := &Worker{
		formats:      payloadFormats(),
		places:       places{free: settings.places},
		most:         settings.places,
		health:       health.NewServer(),
		token:        os.Getenv("ANYUDF_TOKEN"),
		messageLimit: settings.messageLimit,
		began:        time.Now(),
		hurry:        make(chan struct{}),
		empty:        make(chan struct{}),
	}
	w.endAll = sync.OnceFunc(func() { close(w.hurry) })
	w.settle = sync.OnceFunc(func() { close(w.empty) })
	w.health.SetServingStatus(udf.UdfWorker_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	return w
}

func payloadFormats() map[string]Open {
	formats := maps.Clone(testFunctions)
	formats["function"] = openFunction
	formats["catalog"] = openCatalog
	return formats
}

// Every call passes here before grpc-go opens its stream.
func (w *Worker) admit(ctx context.Context, call *tap.Info) (context.Context, error) {
	if w.token != "" { // P9
		shown := metadata.MD(call.Header).Get("anyudf-token")
		if len(shown) != 1 || subtle.ConstantTimeCompare([]byte(shown[0]), []byte(w.token)) != 1 {
			return ctx, status.Error(codes.Unauthenticated, "the metadata anyudf-token is not what this worker was given (P9)")
		}
	}
	if call.FullMethodName == udf.UdfWorker_Execute_FullMethodName {
		ctx = withLane(ctx)
	}
	return ctx, nil
}

func (w *Worker) Execute(stream stream) error {
	if !w.enter() {
		return status.Error(codes.Unavailable, "the worker is shutting down (M3)")
	}
	lane := laneOf(stream.Context())
	session := &session{worker: w, stream: stream, lane: lane, limit: w.messageLimit}
	defer lane.whenEnded(w.leave) // which is when its terminator is out, or nobody is there any more
	err := session.run()
	if session.hasFailed(err) {
		w.totals.failed.Add(1)
	}
	return err
}

func (w *Worker) enter() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.closing {
		return false
	}
	active := w.totals.active.Add(1)
	w.totals.total.Add(1)
	makeRoom(int(active))
	return true
}

// A goroutine that spins keeps what Go calls a P for 10 ms at a time, and there is one for each core. With functions that
// spin on all of them a heartbeat would wait its turn at every step on its way (M2). With more of them than sessions one
// is always idle, and then it is the kernel that shares the cores: it favours those who have slept.
func makeRoom(sessions int) {
	if wanted := sessions + 4; runtime.GOMAXPROCS(0) < wanted {
		runtime.GOMAXPROCS(2 * wanted)
	}
}

func (w *Worker) leave() {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.totals.active.Add(-1) == 0 && w.closing {
		w.settle()
	}
}

// M3 and M4. It says whether no session was open.
func (w *Worker) shutdown(hurry bool) (settled bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	settled = w.totals.active.Load() == 0
	w.closing = true
	w.health.Shutdown()
	if settled {
		w.settle()
	}
	if hurry {
		w.endAll()
	}
	return settled
}

func (w *Worker) Manage(ctx context.Context, request *udf.WorkerRequest) (*udf.WorkerResponse, error) {
	switch request := request.GetManage().(type) {
	case *udf.WorkerRequest_Heartbeat:
		return &udf.WorkerResponse{Manage: &udf.WorkerResponse_Heartbeat{
			Heartbeat: &udf.HeartbeatResponse{Metrics: w.metrics()}}}, nil
	case *udf.WorkerRequest_Shutdown:
		hurry := request.Shutdown.GetCancelSessions()
		log.Printf("asked to shut down, cancel_sessions %v: %q", hurry, cut(request.Shutdown.GetReason(), 1<<10))
		settled := w.shutdown(hurry)
		if hurry && !settled { // M4
			select {
			case <-w.empty:
				settled = true
			case <-ctx.Done():
				return nil, status.FromContextError(ctx.Err()).Err()
			}
		}
		return &udf.WorkerResponse{Manage: &udf.WorkerResponse_Shutdown{
			Shutdown: &udf.ShutdownResponse{SessionsSettled: settled}}}, nil
	default:
		return nil, status.Error(codes.InvalidArgument, "got a WorkerRequest without a branch that is known (M1)")
	}
}

// What a heartbeat says: the counters (M2), and what the worker announces (M6).
func (w *Worker) metrics() map[string]string {
	metrics := map[string]string{"protocol_versions": "1", "features": features}
	count := func(name string, value int64) { metrics[name] = strconv.FormatInt(value, 10) }
	count("sessions_active", w.totals.active.Load())
	count("sessions_total", w.totals.total.Load())
	count("sessions_failed", w.totals.failed.Load())
	count("calls_overdue", w.totals.overdue.Load())
	count("bytes_in", w.totals.bytesIn.Load())
	count("bytes_out", w.totals.bytesOut.Load())
	count("rows_in", w.totals.rowsIn.Load())
	count("rows_out", w.totals.rowsOut.Load())
	count("memory_rss_bytes", residentBytes())
	count("uptime_ms", time.Since(w.began).Milliseconds())
	count("max_sessions", int64(w.most))
	count("max_message_bytes", int64(w.messageLimit))
	return metrics
}

// The memory that this process holds, where there is procfs; elsewhere what Go took of the system's.
func residentBytes() int64 {
	var resident int64
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if _, err := fmt.Sscanf(string(text), "%d %d", new(int64), &resident); err == nil {
			return resident * int64(os.Getpagesize())
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys - stats.HeapReleased)
}

// A call that is past its time counts until it returns (M2). Nobody can end it: it keeps a goroutine, and no more.
func (w *Worker) overdue(call *call) {
	call.overdue.Do(func() {
		w.totals.overdue.Add(1)
		go func() {
			<-call.done
			w.totals.overdue.Add(-1)
		}()
	})
}

// A function whose session is gone has as long to notice as one that was cancelled (R12).
func (w *Worker) watch(call *call) {
	patience := time.NewTimer(cancelPatience)
	defer patience.Stop()
	select {
	case <-call.done:
	case <-patience.C:
		w.overdue(call)
	}
}
