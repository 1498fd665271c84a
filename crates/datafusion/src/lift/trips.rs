//! Which calls are made together.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::mask::needs_only;
use super::reuse::{Behind, aliased, with_column};
use crate::function::WorkerFunction;
use crate::node::{Argument, Call, CallNode, Trip, TripCall};

/// So many calls go together at most: a worker makes those of one session one after the other.
const MOST_CALLS: usize = 64;

/// The calls in trips, each over the results of those before it.
///
/// Calls go together when they are of one worker, which takes [several at once](crate::worker::Registered::takes_expressions),
/// for the same rows, and none of them needs the engine to compute something of the results of another. A function whose
/// arguments are all constant is called once, so that it travels with such alone. Results come back where `is_used` says so of
/// their column, or another trip needs them.
pub(super) fn trips(calls: Vec<Call>, is_used: impl Fn(&str) -> bool) -> Vec<Trip> {
    let mut trips: Vec<Trip> = Vec::new();
    for call in calls {
        // Not before the last one whose results it needs; in that very one if it takes them as they are.
        let last =
            trips.iter().rposition(|trip| call.arguments.iter().chain(&call.mask).any(|expr| !needs_none(expr, trip)));
        match (last.unwrap_or(0)..trips.len()).find(|&place| goes_with(&call, &trips[place])) {
            Some(place) => join(&mut trips[place], call),
            None => trips.push(Trip::of(call)),
        }
    }
    let needed: Vec<Vec<bool>> = trips
        .iter()
        .map(|trip| {
            trip.calls.iter().map(|call| is_used(&call.column) || needed_elsewhere(&call.column, &trips)).collect()
        })
        .collect();
    for (trip, needed) in trips.iter_mut().zip(needed) {
        for (call, needed) in trip.calls.iter_mut().zip(needed) {
            call.returns = needed;
        }
        // What nobody needs was called for nothing else than to be called.
        if trip.calls.iter().all(|call| !call.returns) {
            trip.calls.iter_mut().for_each(|call| call.returns = true);
        }
    }
    trips
}

/// The plan with the call in a trip that is made below for the same rows, if there is one that it goes with, and its column.
pub(super) fn board(plan: &LogicalPlan, call: &Call) -> Result<Option<(LogicalPlan, Expr)>> {
    let is_there = |expr: &Expr| needs_only(expr, |column| plan.schema().has_column(column));
    if !call.arguments.iter().chain(&call.mask).all(is_there) {
        return Ok(None);
    }
    if let Some(node) = CallNode::of(plan) {
        if !goes_with(call, &node.trip) {
            return Ok(None);
        }
        let mut trip = node.trip.clone();
        let result = call.result();
        join(&mut trip, call.clone());
        return Ok(Some((CallNode::new(node.input.clone(), trip)?.into_plan(), result)));
    }
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(inner) = Behind::of_alias(alias).call(call)? else { return Ok(None) };
            board(&alias.input, &inner)?.map(|(input, result)| aliased(alias, input, result)).transpose()
        }
        LogicalPlan::Projection(projection) => {
            let behind = Behind::of(projection);
            let Some(inner) = behind.call(call)?.filter(|_| behind.is_plain(call)) else { return Ok(None) };
            board(&projection.input, &inner)?.map(|(input, result)| with_column(projection, input, result)).transpose()
        }
        _ => Ok(None),
    }
}

/// Whether the call may be made in this trip.
fn goes_with(call: &Call, trip: &Trip) -> bool {
    let Some(function) = WorkerFunction::of(&call.function) else { return false };
    let of_same = |known: &TripCall| {
        let is_of_same = |known: &WorkerFunction| known.worker() == function.worker() && is_patient(known);
        WorkerFunction::of(&known.function).is_some_and(is_of_same)
    };
    let takes_whole = |argument: &Expr| place_of(argument, trip).is_some() || needs_none(argument, trip);
    function.worker().takes_expressions
        && is_patient(function)
        && trip.calls.len() < MOST_CALLS
        && trip.calls.iter().all(of_same)
        && trip.mask == call.mask
        && call.arguments.iter().all(takes_whole)
        && call.mask.iter().all(|mask| needs_none(mask, trip))
        && is_once(call, function, trip) == trip_is_once(trip)
}

/// Whether it has no limit of its own for each call: one that has is called by itself.
fn is_patient(function: &WorkerFunction) -> bool {
    function.entry().timeout.is_none()
}

/// Whether the trip's results do not matter to an expression.
fn needs_none(expr: &Expr, trip: &Trip) -> bool {
    needs_only(expr, |column| !trip.calls.iter().any(|known| known.column == column.name))
}

/// The call of the trip whose result this is, as it is.
fn place_of(argument: &Expr, trip: &Trip) -> Option<usize> {
    let Expr::Column(column) = argument else { return None };
    let is_result = |known: &TripCall| column.relation.is_none() && known.column == column.name;
    trip.calls.iter().position(is_result)
}

/// Whether it would be called once in this trip, for all rows.
fn is_once(call: &Call, function: &WorkerFunction, trip: &Trip) -> bool {
    let is_constant = |argument: &Expr| match place_of(argument, trip) {
        Some(_) => trip_is_once(trip),
        None => matches!(argument, Expr::Literal(..)),
    };
    !function.is_volatile() && call.arguments.iter().all(is_constant)
}

/// Whether all of it is called once, for all rows.
fn trip_is_once(trip: &Trip) -> bool {
    trip.calls.iter().all(|call| {
        let is_constant =
            |argument: &Argument| matches!(argument, Argument::Given(Expr::Literal(..)) | Argument::Result(_));
        let volatile = WorkerFunction::of(&call.function).is_none_or(WorkerFunction::is_volatile);
        !volatile && call.arguments.iter().all(is_constant)
    })
}

fn join(trip: &mut Trip, call: Call) {
    let Call { function, arguments, mask: _, column } = call;
    let argument = |argument: Expr| match place_of(&argument, trip) {
        Some(place) => Argument::Result(place),
        None => Argument::Given(argument),
    };
    let arguments = arguments.into_iter().map(argument).collect();
    trip.calls.push(TripCall { function: Arc::clone(&function), arguments, column, returns: true });
}

/// Whether a trip needs this result from another one, or its own mask does.
fn needed_elsewhere(column: &str, trips: &[Trip]) -> bool {
    trips.iter().any(|trip| trip.given().any(|expr| !needs_only(expr, |needed| needed.name != column)))
}
