package main

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"example.org/anyudf/go-worker/udf"
)

func (s *session) sayOpened(data []byte) {
	s.counters.opened = time.Now()
	response := initResponse(&udf.InitResponse{Data: data})
	if wrong := s.tooLarge(response); wrong != nil {
		s.fail(wrong)
		return
	}
	s.told = toldOpened
	s.outbox = append(s.outbox, response)
}

func (s *session) sayData(batch []byte) {
	response := &udf.UdfResponse{Response: &udf.UdfResponse_Data{Data: &udf.DataResponse{Data: batch}}}
	if wrong := s.tooLarge(response); wrong != nil {
		s.fail(wrong)
		return
	}
	s.counters.batchesOut++
	s.counters.bytesOut += int64(len(batch))
	s.worker.totals.bytesOut.Add(int64(len(batch)))
	s.outbox = append(s.outbox, response)
}

// What a message is replaced by that the engine would not take (P7).
func (s *session) tooLarge(response *udf.UdfResponse) *failure {
	if size := proto.Size(response); size > s.limit {
		return userError("MESSAGE_TOO_LARGE", "a message of %d bytes is over the engine's limit of %d (P7)", size, s.limit)
	}
	return nil
}

// Bad contents of Init, or an error of the function or of ours. The engine answers with Cancel (R8), and we wait for it,
// but not for ever (C2).
func (s *session) fail(wrong *failure) {
	s.report(wrong)
	switch {
	case s.halfClosed:
		s.waitedEnough()
	case s.asked == askedFinished:
		s.wait(finishPatience)
	default:
		s.wait(errorPatience)
	}
}

// A violation is told, and then it is over (C2).
func (s *session) violated(wrong *failure) {
	if s.told == toldFailed || s.told == toldEnd {
		return // one error is enough (R7)
	}
	s.drop()
	s.report(wrong)
	s.end(s.cancelResponse(nil))
}

// A shutdown does not wait for the engine (C7).
func (s *session) hurried() {
	wrong := workerError("SHUTTING_DOWN", "the worker is shutting down and ends its executions (C7)")
	if s.asked == askedCancelled {
		s.end(s.cancelResponse(wrong)) // the function did not notice in time
		return
	}
	s.drop()
	if s.told != toldFailed {
		s.report(wrong)
	}
	s.end(s.cancelResponse(nil))
}

// Tells an error where the stream stands (R19).
func (s *session) report(wrong *failure) {
	if s.call != nil {
		s.call.stop()
	}
	s.discardInput()
	if s.told == toldNothing {
		s.outbox = append(s.outbox, initResponse(&udf.InitResponse{Error: wrong.onWire(s.limit)}))
	} else {
		s.outbox = append(s.outbox, control(&udf.UdfControlResponse{Control: &udf.UdfControlResponse_Error{
			Error: &udf.ErrorResponse{Error: wrong.onWire(s.limit)}}}))
	}
	s.told = toldFailed
	s.counters.failed = true
}

// The terminator (R13).
func (s *session) end(response *udf.UdfResponse) {
	if s.call != nil {
		s.call.stop()
	}
	s.discardInput()
	s.waiting = nil
	s.told = toldEnd
	s.outbox = append(s.outbox, response)
}

// Output that was not sent yet is of no use any more (R12).
func (s *session) drop() {
	kept := s.outbox[:0]
	for _, message := range s.outbox {
		if message.GetData() == nil && message.GetControl().GetFinish() == nil {
			kept = append(kept, message)
		}
	}
	s.outbox = kept
	s.discardInput()
}

// Cancel takes back a FinishResponse that was not sent yet (R11).
func (s *session) retractable(message *udf.UdfRequest) bool {
	if message.GetControl().GetCancel() == nil || len(s.outbox) == 0 {
		return false
	}
	return s.outbox[len(s.outbox)-1].GetControl().GetFinish() != nil
}

// What a session has done (C8). Rows are counted by those functions that know of any.
type counters struct {
	batchesIn, batchesOut, bytesIn, bytesOut int64
	began, opened                            time.Time
	failed                                   bool
}

func (s *session) metrics() map[string]string {
	metrics := map[string]string{}
	count := func(name string, value int64) { metrics[name] = strconv.FormatInt(value, 10) }
	count("batches_in", s.counters.batchesIn)
	count("batches_out", s.counters.batchesOut)
	count("bytes_in", s.counters.bytesIn)
	count("bytes_out", s.counters.bytesOut)
	if !s.counters.opened.IsZero() {
		count("init_wall_nanos", s.counters.opened.Sub(s.counters.began).Nanoseconds())
		count("processing_wall_nanos", time.Since(s.counters.opened).Nanoseconds())
	}
	if s.call != nil && s.call.countsRows.Load() {
		count("rows_in", s.call.rowsIn.Load())
		count("rows_out", s.call.rowsOut.Load())
	}
	if s.quiet { // nobody else touches its clock any more
		count("work_wall_nanos", s.call.clock.work.Nanoseconds())
	}
	return metrics
}

func (s *session) finishResponse(result []byte) *udf.UdfResponse {
	metrics := s.metrics()
	metrics["status"] = "ok" // S3
	finish := &udf.FinishResponse{Metrics: metrics, Data: result}
	response := control(&udf.UdfControlResponse{Control: &udf.UdfControlResponse_Finish{Finish: finish}})
	if wrong := s.tooLarge(response); wrong != nil {
		finish.Data, finish.Error = nil, wrong.onWire(s.limit)
		s.counters.failed = true
	}
	return response
}

func (s *session) cancelResponse(wrong *failure) *udf.UdfResponse {
	cancel := &udf.CancelResponse{Metrics: s.metrics()}
	if wrong != nil {
		cancel.Error = wrong.onWire(s.limit)
		s.counters.failed = true
	}
	return control(&udf.UdfControlResponse{Control: &udf.UdfControlResponse_Cancel{Cancel: cancel}})
}

func initResponse(init *udf.InitResponse) *udf.UdfResponse {
	return control(&udf.UdfControlResponse{Control: &udf.UdfControlResponse_Init{Init: init}})
}

func control(control *udf.UdfControlResponse) *udf.UdfResponse {
	return &udf.UdfResponse{Response: &udf.UdfResponse_Control{Control: control}}
}

func isTerminator(message *udf.UdfResponse) bool {
	control := message.GetControl()
	return control.GetFinish() != nil || control.GetCancel() != nil
}
