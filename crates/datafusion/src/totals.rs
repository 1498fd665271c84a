//! What the calls of a plan amount to, for hosts that show it.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

use crate::exec::WorkerExec;
use crate::relation::RelationExec;

/// What one call in a plan amounts to, over all partitions; so far, while the plan runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallTotals {
    /// The call, as EXPLAIN shows it.
    pub call: String,
    /// Sessions that were opened.
    pub sessions: usize,
    /// Rows that were sent.
    pub rows_sent: usize,
    /// Batches in which they were sent.
    pub batches_sent: usize,
    /// Rows that came back.
    pub rows_received: usize,
    /// Bytes of the messages that were sent, once a session has ended.
    pub bytes_sent: usize,
    /// Bytes of the messages that came back, once a session has ended.
    pub bytes_received: usize,
    /// How long results were waited for.
    pub wait: Duration,
    /// How long the function itself worked, as its worker tells when a session has ended.
    pub user_time: Duration,
}

impl CallTotals {
    /// The calls of workers' functions in a plan, from its top.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Vec<CallTotals> {
        let (mut calls, mut left) = (Vec::new(), vec![plan]);
        while let Some(node) = left.pop() {
            let call = match (node.downcast_ref::<WorkerExec>(), node.downcast_ref::<RelationExec>()) {
                (Some(node), _) => Some(node.call().to_owned()),
                (_, Some(node)) => Some(node.call().to_owned()),
                (None, None) => None,
            };
            calls.extend(call.map(|call| CallTotals { call, ..Self::sum(&node.metrics().unwrap_or_default()) }));
            left.extend(node.children().into_iter().rev());
        }
        calls
    }

    /// [`Stats`](crate::exec::Stats) of all partitions.
    fn sum(metrics: &MetricsSet) -> Self {
        let count = |name| metrics.sum_by_name(name).map_or(0, |value| value.as_usize());
        let time = |name| match metrics.sum_by_name(name) {
            Some(MetricValue::Time { time, .. }) => Duration::from_nanos(time.value() as u64),
            _ => Duration::ZERO,
        };
        CallTotals {
            call: String::new(),
            sessions: count("sessions"),
            rows_sent: count("rows_sent"),
            batches_sent: count("batches_sent"),
            rows_received: count("rows_received"),
            bytes_sent: count("bytes_sent"),
            bytes_received: count("bytes_received"),
            wait: time("wait"),
            user_time: time("user_time"),
        }
    }
}
