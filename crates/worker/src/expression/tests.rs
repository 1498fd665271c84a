use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyudf_arrow::expression::{Call as Called, FORMAT};
use anyudf_arrow::{Encoder, encode_schema};
use anyudf_grpc::Credit;
use anyudf_protocol::{PayloadAssembly, wire};
use arrow::array::Int32Array;
use arrow::datatypes::DataType;

use super::*;
use crate::clock::{CallClock, Reading};
use crate::counters::{Counters, Totals};
use crate::link::{ToUser, link};
use crate::{Worker, scalar, thread};

/// C11: each function of an expression has the whole time, not what those before it have left.
#[test]
fn c11_each_call_has_its_own_time() {
    let (hour, totals) = (Duration::from_secs(3600), Arc::new(Totals::default()));
    let clock = CallClock::new(Some(hour), Instant::now());
    let (user, ends) = link(clock, Arc::new(Counters::new(totals)), usize::MAX >> 4);
    let limits = Arc::new(Mutex::new(Vec::new()));
    let (shared, told) = (Arc::clone(&user.shared), Arc::clone(&limits));
    let tells = scalar("tells").argument("n", DataType::Int32).returns(DataType::Int32).over(move |columns| {
        told.lock().unwrap().push(shared.clock.read(Instant::now()));
        Ok(Arc::clone(&columns[0]))
    });

    let mut expression = Expression::new();
    let first = expression.call(Called::new("tells", [Argument::Column(0)])).unwrap();
    let second = expression.call(Called::new("tells", [Argument::Call(first)])).unwrap();
    expression.result(second).unwrap();
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    let payload = expression.encode().unwrap();
    let udf = wire::UdfPayload { format: FORMAT.into(), payload, ..Default::default() };
    let payload = PayloadAssembly::new(&udf, 1 << 20).and_then(PayloadAssembly::verify).unwrap();
    let input_schema = Some(encode_schema(&batch.schema()));
    let init = wire::Init { udf: Some(udf), input_schema, ..Default::default() };

    let encoder = Encoder::new(batch.schema(), usize::MAX).unwrap();
    for message in encoder.encode(&batch) {
        user.tell(ToUser::Data(message.unwrap().into_bytes(), Credit::free()));
    }
    user.tell(ToUser::Finish);
    let format = Arc::clone(&Worker::new().with(tells).into_formats()[FORMAT]);
    thread::run(ends, &*format, Invocation::new(init, payload, 1 << 20));
    match limits.lock().unwrap()[..] {
        [Reading::NotBefore(first), Reading::NotBefore(second)] => assert!(second > first),
        ref others => panic!("{others:?}"),
    }
}
