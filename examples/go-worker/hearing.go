package main

import (
	"hash/crc32"
	"math"
	"strconv"
	"strings"
	"time"

	"example.org/anyudf/go-worker/udf"
)

func (s *session) hear(message *udf.UdfRequest) {
	if s.asked == askedCancelled || s.told == toldEnd && !s.retractable(message) {
		return // C4
	}
	switch request := message.GetRequest().(type) {
	case *udf.UdfRequest_Data:
		s.hearData(request.Data.GetData())
	case *udf.UdfRequest_Control:
		switch control := request.Control.GetControl().(type) {
		case *udf.UdfControlRequest_Init:
			s.hearInit(control.Init)
		case *udf.UdfControlRequest_Payload:
			s.hearChunk(control.Payload)
		case *udf.UdfControlRequest_Finish:
			s.hearFinish()
		case *udf.UdfControlRequest_Cancel:
			s.hearCancel()
		default:
			s.violated(violation("got a control message without a branch that is known (R16)"))
		}
	default:
		s.violated(violation("got a message without a branch that is known (R16)"))
	}
}

func (s *session) hearInit(init *udf.Init) {
	if s.asked != askedNothing {
		s.violated(violation("got a second Init (R1)"))
		return
	}
	s.request = &Request{Init: init, Payload: init.GetUdf().GetPayload()}
	s.asked = askedOpen
	if init.GetIsChunkingPayload() {
		s.asked = askedPayload
	}
	wrong := s.checkInit(init)
	if wrong == nil {
		wrong = s.checkPayload()
	}
	if wrong != nil {
		s.fail(wrong)
		return
	}
	s.granted, s.giveBack = s.worker.places.ask()
}

func (s *session) hearChunk(chunk *udf.PayloadChunk) {
	if s.told == toldFailed {
		return // late, and dropped (R4)
	}
	if s.asked != askedPayload {
		s.violated(violation("got a PayloadChunk where none is due (R2)"))
		return
	}
	if len(chunk.GetData()) == 0 && !chunk.GetLast() {
		s.violated(violation("got an empty PayloadChunk that is not the last (C5)"))
		return
	}
	s.request.Payload = append(s.request.Payload, chunk.GetData()...) // grows with what came, not with what is claimed (R3)
	if chunk.GetLast() {
		s.asked = askedOpen
	}
	if wrong := s.checkPayload(); wrong != nil {
		s.fail(wrong)
		return
	}
	s.open()
}

func (s *session) hearData(data []byte) {
	switch {
	case s.told == toldFailed: // it was under way, and is dropped (C2)
	case s.asked == askedOpen: // which may be before InitResponse (C1)
		s.counters.batchesIn++
		s.counters.bytesIn += int64(len(data))
		s.worker.totals.bytesIn.Add(int64(len(data)))
		if !s.quiet {
			s.queue = append(s.queue, data)
			s.bytes += len(data) + queueOverhead
			s.credit()
		}
	case s.asked == askedFinished:
		s.violated(violation("got DataRequest after Finish (R19)"))
	default:
		s.violated(violation("got DataRequest before the payload was whole (R5)"))
	}
}

func (s *session) hearFinish() {
	switch s.asked {
	case askedOpen:
		s.asked = askedFinished
		if s.told == toldFailed {
			s.wait(finishPatience) // C2
		}
		s.mayFinish()
	case askedFinished:
		s.violated(violation("got a second Finish (R10)"))
	default:
		s.violated(violation("got Finish before the payload was whole (R5)"))
	}
}

// The answer is CancelResponse alone, as soon as the function has noticed (R12). InitResponse is not owed any more (C3).
func (s *session) hearCancel() {
	s.asked = askedCancelled
	s.drop()
	if s.call == nil || s.quiet || s.told == toldFailed {
		s.end(s.cancelResponse(nil))
		return
	}
	s.call.stop()
	s.wait(cancelPatience)
}

// Without Cancel or Finish before it, it is a violation that has no ErrorResponse of its own (C6, R19).
func (s *session) hearHalfClose() {
	s.halfClosed = true
	switch {
	case s.told == toldEnd || s.asked == askedCancelled:
	case s.told == toldFailed:
		s.waitedEnough() // no Cancel can come any more (C2)
	case s.asked != askedFinished:
		s.drop()
		s.end(s.cancelResponse(violation("the engine closed its half before Finish or Cancel (C6)")))
	}
}

// What Init says of itself, the version before anything else (R17).
func (s *session) checkInit(init *udf.Init) *failure {
	if init.ProtocolVersion != nil && init.GetProtocolVersion() != 1 {
		return protocolError("UNSUPPORTED_PROTOCOL_VERSION", "protocol version %d is not supported; 1 is (R17)", init.GetProtocolVersion())
	}
	if init.GetDataFormat() != udf.UDFWorkerDataFormat_ARROW {
		return protocolError("UNSUPPORTED_DATA_FORMAT", "data format %d is not supported; ARROW (1) is (R15)", init.GetDataFormat())
	}
	if init.GetUdf() == nil {
		return protocolError("MISSING_FIELD", "Init.udf is not set (R18)")
	}
	if init.GetUdf().GetFormat() == "" {
		return protocolError("MISSING_FIELD", "Init.udf.format is not set (R18)")
	}
	if s.worker.formats[init.GetUdf().GetFormat()] == nil {
		return protocolError("UNKNOWN_PAYLOAD_FORMAT", "the payload format %q is not known (C2)", init.GetUdf().GetFormat())
	}
	milliseconds, wrong := number(init, "anyudf.call_timeout_ms", 1, "C11")
	if wrong != nil {
		return wrong
	}
	s.callLimit = time.Duration(min(milliseconds, mostMilliseconds)) * time.Millisecond
	limit, wrong := number(init, "anyudf.max_message_bytes", leastMessageLimit, "P7")
	if limit > 0 {
		s.limit = int(min(limit, uint64(s.limit)))
	}
	return wrong
}

// The most that a time.Duration holds: 292 years.
const mostMilliseconds = uint64(math.MaxInt64 / time.Millisecond)

// A number of session_conf, or 0 if it is not there.
func number(init *udf.Init, key string, least uint64, rule string) (uint64, *failure) {
	text, set := init.GetSessionConf()[key]
	if !set {
		return 0, nil
	}
	value, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil || value < least {
		return 0, protocolError("INVALID_SESSION_CONF", "session_conf %s is no whole number from %d on, of 64 bits at most (%s)", key, least, rule)
	}
	return value, nil
}

// What has come of the payload must be what it claims to be, if it claims anything. One that is too long never becomes
// right, whatever else comes (R3).
func (s *session) checkPayload() *failure {
	payload, length, whole := s.request.GetUdf(), int64(len(s.request.Payload)), s.asked == askedOpen
	claimed := length
	if payload.PayloadSize != nil {
		claimed = payload.GetPayloadSize()
	}
	if max(length, claimed) > payloadLimit {
		return protocolError("PAYLOAD_TOO_LARGE", "the payload has more than %d bytes (R3)", payloadLimit)
	}
	if length > claimed || whole && length < claimed {
		return protocolError("PAYLOAD_SIZE_MISMATCH", "the payload has %d bytes so far, and %d were claimed (R3)", length, claimed)
	}
	if payload.PayloadCrc32 == nil || !whole {
		return nil
	}
	if sum := crc32.ChecksumIEEE(s.request.Payload); sum != payload.GetPayloadCrc32() {
		return protocolError("PAYLOAD_CHECKSUM_MISMATCH", "the payload has the checksum %08x, and %08x was claimed (R3)", sum, payload.GetPayloadCrc32())
	}
	return nil
}
