package main

import (
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"example.org/anyudf/go-worker/udf"
)

// What is read of session_conf: 64 bits, though a time.Duration holds less (C11, P7).
func TestNumbersOfSessionConf(t *testing.T) {
	worker := newWorker(settings{messageLimit: defaultMessageLimit})
	read := func(key, value string) (*session, *failure) {
		s := &session{worker: worker, limit: worker.messageLimit}
		return s, s.checkInit(&udf.Init{
			DataFormat:  udf.UDFWorkerDataFormat_ARROW,
			Udf:         &udf.UdfPayload{Format: "echo"},
			SessionConf: map[string]string{key: value},
		})
	}
	for value, want := range map[string]time.Duration{
		"1": time.Millisecond, " 250 ": 250 * time.Millisecond, "4294967296": 4294967296 * time.Millisecond,
		"9223372036854775807":  math.MaxInt64 / time.Millisecond * time.Millisecond,
		"18446744073709551615": math.MaxInt64 / time.Millisecond * time.Millisecond,
	} {
		if s, wrong := read("anyudf.call_timeout_ms", value); wrong != nil || s.callLimit != want {
			t.Errorf("%q: %v, %v", value, s.callLimit, wrong)
		}
	}
	for value, want := range map[string]int{"4096": 4096, "18446744073709551615": defaultMessageLimit} {
		if s, wrong := read("anyudf.max_message_bytes", value); wrong != nil || s.limit != want {
			t.Errorf("%q: %v, %v", value, s.limit, wrong)
		}
	}
	for _, wrong := range [][2]string{
		{"anyudf.call_timeout_ms", "0"}, {"anyudf.call_timeout_ms", "-1"}, {"anyudf.call_timeout_ms", "1.5"},
		{"anyudf.call_timeout_ms", "18446744073709551616"}, {"anyudf.call_timeout_ms", ""},
		{"anyudf.max_message_bytes", "4095"},
	} {
		if _, failure := read(wrong[0], wrong[1]); failure == nil || failure.condition != "INVALID_SESSION_CONF" {
			t.Errorf("%v: %v", wrong, failure)
		}
	}
}

// What a function gives for some input, and how it ends.
func play(open Open, request *Request, input ...[]byte) (output [][]byte, call *call) {
	call = begin(open, request, 0, &totals{})
	in := call.input
	for {
		var batch []byte
		if len(input) > 0 {
			batch = input[0]
		} else if in != nil {
			close(in)
			in = nil
		}
		select {
		case in <- batch:
			input = input[1:]
		case batch := <-call.output:
			output = append(output, batch)
		case <-call.done:
			return output, call
		}
	}
}

// A table function that gets input refuses it, when its own output is out; one that gets none ends well (payloads.md).
func TestTableFunctionsTakeNoInput(t *testing.T) {
	run, _ := encodeBatch(exampleBatch())
	series := &Request{Init: &udf.Init{}, Payload: []byte(`{"function": "generate_series", "options": {"stop": 10000}}`)}
	for name, table := range map[string]func(...[]byte) ([][]byte, *call){
		"series": func(input ...[]byte) ([][]byte, *call) { return play(openFunction, series, input...) },
		"catalog": func(input ...[]byte) ([][]byte, *call) {
			return play(openCatalog, &Request{Init: &udf.Init{}}, input...)
		},
	} {
		output, call := table()
		if len(output) == 0 || call.err != nil {
			t.Errorf("%s: %d batches, %v", name, len(output), call.err)
		}
		refused, call := table(run)
		if wrong := blameOf(call.err); len(refused) != len(output) || wrong.condition != "UNEXPECTED_INPUT" || wrong.blame != blameUser {
			t.Errorf("%s: %d batches, %v", name, len(refused), call.err)
		}
	}
}

// The catalogue has a row for each function, and its schema the payload formats (payloads.md).
func TestCatalogue(t *testing.T) {
	output, call := play(openCatalog, &Request{Init: &udf.Init{}})
	decoded, err := decode(<-call.opened, output...)
	if err != nil || len(decoded) != 1 || decoded[0].NumRows() != int64(len(functions)) {
		t.Fatalf("%v, %v", decoded, err)
	}
	values := func(column int) (values []string) {
		for row := range functions {
			values = append(values, decoded[0].Column(column).ValueStr(row))
		}
		return values
	}
	if names := values(0); !slices.Equal(names, []string{"distance_miles", "echo_batches", "generate_series"}) {
		t.Error(names)
	}
	for row, function := range functions {
		for column, want := range map[int]*arrow.Schema{2: function.arguments, 3: function.result} {
			if null := decoded[0].Column(column).IsNull(row); null != (want == nil) {
				t.Errorf("%s: column %d is null: %v", function.name, column, null)
			}
		}
	}
	if formats, _ := decoded[0].Schema().Metadata().GetValue("anyudf.formats"); !strings.HasPrefix(formats, "catalog,echo,") {
		t.Error(formats)
	}
}

// Rows are told as soon as they are known, also where the function was not waited for (R12, C8).
func TestRowsOfACallThatGoesOn(t *testing.T) {
	s := &session{call: &call{totals: &totals{}}}
	if _, told := s.metrics()["rows_in"]; told {
		t.Error("echo knows of rows")
	}
	s.call.countsRows.Store(true)
	s.call.rowsIn.Add(3)
	if metrics := s.cancelResponse(nil).GetControl().GetCancel().GetMetrics(); metrics["rows_in"] != "3" || metrics["rows_out"] != "0" {
		t.Error(metrics)
	}
}

// Behind a shutdown nobody waits for long for an engine that does not read, nor without end for one that does (M4).
func TestReadersHaveALimit(t *testing.T) {
	for reads, want := range map[int]time.Duration{0: stallPatience, 2: 2 * stallPatience, 100: 2 * stallPatience} {
		synctest.Test(t, func(t *testing.T) { // no second of it passes
			worker := newWorker(settings{})
			go endStalled(worker)
			go func() {
				for range reads {
					select {
					case <-time.After(stallPatience / 4):
						bytesTaken.Add(1)
					case <-worker.empty:
						return
					}
				}
			}()
			told := time.Now()
			worker.endAll()
			<-worker.empty
			if took := time.Since(told); took != want {
				t.Errorf("%d reads: it took %v", reads, took)
			}
		})
	}
}

// Who asks for a place has it, or its place in the queue, when the next one asks; and who leaves is not given one (P10).
func TestPlacesAreGivenInOrder(t *testing.T) {
	worker := newWorker(settings{places: 2, messageLimit: defaultMessageLimit})
	sessions := make([]session, 6)
	init := &udf.Init{DataFormat: udf.UDFWorkerDataFormat_ARROW, Udf: &udf.UdfPayload{Format: "echo"}}
	for i := range sessions {
		sessions[i].worker = worker
		sessions[i].hearInit(init)
	}
	for _, step := range []struct {
		leaves int
		have   string
	}{{-1, "ab"}, {3, "ab"}, {0, "abc"}, {2, "abce"}, {1, "abcef"}, {4, "abcef"}, {5, "abcef"}} {
		if step.leaves >= 0 {
			sessions[step.leaves].leave()
		}
		have := ""
		for i := range sessions {
			select {
			case <-sessions[i].granted:
				have += string(rune('a' + i))
			default:
			}
		}
		if have != step.have {
			t.Errorf("%+v: %s", step, have)
		}
	}
	if worker.places.free != 2 {
		t.Errorf("%d places are free", worker.places.free)
	}
}

// A socket that nobody listens on is replaced; what somebody listens on, or is no socket, is left alone (P6).
func TestWhatIsThereAlready(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("the file holds %q", text)
	}
	os.Remove(path)
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil {
		t.Error("a socket that is in use was taken away")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
}
