//! What EXPLAIN ANALYZE shows of a partition.

use std::time::Duration;

use anyudf_engine::{Control, Counter, Metrics};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, Time};

#[derive(Clone, Debug)]
pub(crate) struct Stats {
    pub(crate) baseline: BaselineMetrics,
    /// Sessions that were opened: none for a partition without rows to call for.
    pub(crate) sessions: Count,
    pub(crate) rows_sent: Count,
    pub(crate) rows_received: Count,
    pub(crate) batches_sent: Count,
    bytes_sent: Count,
    bytes_received: Count,
    /// How long results were waited for.
    pub(crate) wait: Time,
    /// How long the function itself worked, as its worker tells at the end.
    user_time: Time,
}

impl Stats {
    pub(crate) fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name| MetricBuilder::new(metrics).counter(name, partition);
        let time = |name| MetricBuilder::new(metrics).subset_time(name, partition);
        Stats {
            baseline: BaselineMetrics::new(metrics, partition),
            sessions: count("sessions"),
            rows_sent: count("rows_sent"),
            rows_received: count("rows_received"),
            batches_sent: count("batches_sent"),
            bytes_sent: count("bytes_sent"),
            bytes_received: count("bytes_received"),
            wait: time("wait"),
            user_time: time("user_time"),
        }
    }

    /// What moved in a session that is over.
    pub(crate) fn moved(&self, control: &Control) {
        let progress = control.progress();
        self.bytes_sent.add(progress.bytes_sent as usize);
        self.bytes_received.add(progress.bytes_received as usize);
    }

    /// What its worker says of it.
    pub(crate) fn told(&self, metrics: &Metrics) {
        if let Some(nanos) = metrics.counter(Counter::WorkWallNanos) {
            self.user_time.add_duration(Duration::from_nanos(nanos));
        }
    }
}
