//! The metrics of a terminator, in whichever shape they come (C8).
//!
//! Field 1 of FinishResponse and CancelResponse is `map<string, string>` in Spark 4.3.0 and became a message of
//! optional counters later. Both are length-delimited, so the generated code takes the field as raw bytes and this
//! module reads either shape into one type. Sent is always the shape of 4.3.0.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use prost::Message;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $tag:literal $name:ident),* $(,)?) => {
        /// A counter that the protocol names. The discriminant is its field number in the later shape (C8).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Counter { $($(#[$doc])* $variant = $tag),* }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),*];

            /// The key on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => stringify!($name)),* }
            }
        }

        /// The shape that came after 4.3.0.
        #[derive(Clone, PartialEq, Message)]
        struct CounterMessage { $(
            #[prost(uint64, optional, tag = $tag)]
            $name: Option<u64>,
        )* }

        impl CounterMessage {
            fn iter(&self) -> impl Iterator<Item = (Counter, u64)> {
                [$((Counter::$variant, self.$name)),*]
                    .into_iter()
                    .filter_map(|(counter, value)| Some((counter, value?)))
            }
        }
    };
}

counters! {
    /// Bytes of data received, framing left out.
    BytesIn = 1 bytes_in,
    /// Bytes of data sent, framing left out.
    BytesOut = 2 bytes_out,
    /// Rows received.
    RowsIn = 3 rows_in,
    /// Rows sent.
    RowsOut = 4 rows_out,
    /// Batches received.
    BatchesIn = 5 batches_in,
    /// Batches sent.
    BatchesOut = 6 batches_out,
    /// Time from Init to InitResponse.
    InitWallNanos = 7 init_wall_nanos,
    /// Time from InitResponse to the terminator.
    ProcessingWallNanos = 8 processing_wall_nanos,
    /// Time in which the function waited for input.
    ReceiveWallNanos = 9 receive_wall_nanos,
    /// Time in which the function waited to send.
    SendWallNanos = 10 send_wall_nanos,
    /// Time spent in the function itself.
    WorkWallNanos = 11 work_wall_nanos,
    /// Processor time spent in the function itself.
    WorkCpuNanos = 12 work_cpu_nanos,
}

/// Counters and other named values. Absent means unknown, zero means measured zero (C8).
///
/// ```
/// use anyudf_protocol::{Counter, Metrics};
///
/// let metrics = Metrics::default().with(Counter::RowsIn, 3).with_other("status", "ok");
/// let again = Metrics::decode(&metrics.encode());
/// assert_eq!(again.counter(Counter::RowsIn), Some(3));
/// assert_eq!(again.counter(Counter::RowsOut), None);
/// assert_eq!(again.get("status").as_deref(), Some("ok"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    counters: BTreeMap<Counter, u64>,
    others: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct MapEntry {
    #[prost(string, tag = 1)]
    key: String,
    #[prost(string, tag = 2)]
    value: String,
}

impl Metrics {
    /// The value of a counter, if it was measured.
    pub fn counter(&self, counter: Counter) -> Option<u64> {
        self.counters.get(&counter).copied()
    }

    /// Sets a counter.
    pub fn set(&mut self, counter: Counter, value: u64) {
        self.counters.insert(counter, value);
    }

    /// Sets a value that the protocol has no name for, such as a metric of the function. A key that is the name of a
    /// counter sets the counter when the value is a number.
    pub fn set_other(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        let counter = Counter::ALL.iter().find(|counter| counter.name() == key);
        match (counter, value.parse()) {
            (Some(&counter), Ok(number)) => self.set(counter, number),
            _ => drop(self.others.insert(key, value)),
        }
    }

    /// The same metrics with a counter.
    pub fn with(mut self, counter: Counter, value: u64) -> Self {
        self.set(counter, value);
        self
    }

    /// The same metrics with a value that the protocol has no name for.
    pub fn with_other(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_other(key, value);
        self
    }

    /// The counters alone, without the values that the protocol has no name for.
    pub fn without_others(self) -> Self {
        Metrics { others: BTreeMap::new(), ..self }
    }

    /// The value under a name, as text.
    pub fn get(&self, name: &str) -> Option<String> {
        match self.others.get(name) {
            Some(value) => Some(value.clone()),
            None => self.counters.iter().find(|(counter, _)| counter.name() == name).map(|(_, v)| v.to_string()),
        }
    }

    /// Names and values: the counters in the order of their numbers, then the others by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        let counters = self.counters.iter().map(|(counter, value)| (counter.name(), value.to_string()));
        counters.chain(self.others.iter().map(|(key, value)| (key.as_str(), value.clone())))
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.others.is_empty()
    }

    /// Reads the raw field, each occurrence either an entry of the map or the later message. What is neither, or
    /// has no name, is left out: metrics never fail an execution (C8).
    pub fn decode(field: &[Bytes]) -> Self {
        let mut metrics = Metrics::default();
        for occurrence in field {
            // A counter is a varint and both fields of an entry are length-delimited, so no bytes are both.
            if let Ok(message) = CounterMessage::decode(&**occurrence) {
                for (counter, value) in message.iter() {
                    metrics.set(counter, value);
                }
            } else if let Ok(entry) = MapEntry::decode(&**occurrence)
                && !entry.key.is_empty()
            {
                metrics.set_other(entry.key, entry.value);
            }
        }
        metrics
    }

    /// The raw field in the shape of Spark 4.3.0: one entry of `map<string, string>` each.
    pub fn encode(&self) -> Vec<Bytes> {
        let entry = |(key, value): (&str, String)| MapEntry { key: key.into(), value }.encode_to_vec().into();
        self.iter().map(entry).collect()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        iter.into_iter().fold(Metrics::default(), |metrics, (key, value)| metrics.with_other(key, value))
    }
}
