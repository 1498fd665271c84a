//! One connection: its calls, `Manage`, and what ordinary gRPC tools ask for (M5).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyudf_protocol::wire;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, Request};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field, string};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::authority::AnyAuthority;
use super::session::Session;
use super::stream::{Arrival, Input, Output};
use super::{Ending, Seat, Shared, metrics};
use crate::mutant::Mutation as M;

const SERVICE: &str = "org.apache.spark.udf.worker.UdfWorker";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: [&str; 2] = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Serves one connection until it is closed.
pub(crate) async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let handshake = Builder::new()
        .initial_window_size(8 << 20)
        .initial_connection_window_size(1 << 30)
        .handshake::<_, Bytes>(AnyAuthority::new(io, !shared.is(M::PercentIsRefused)))
        .await;
    let Ok(mut connection) = handshake else { return };
    let mut state = shared.state.subscribe();
    let mut told = false;
    loop {
        tokio::select! {
            call = connection.accept() => match call {
                Some(Ok((request, reply))) => drop(tokio::spawn(call_of(request, reply, Arc::clone(&shared)))),
                Some(Err(_)) | None => return,
            },
            _ = state.wait_for(|state| state.leaving), if !told => {
                told = true;
                connection.graceful_shutdown();
            }
        }
    }
}

async fn call_of(request: Request<RecvStream>, mut reply: SendResponse<Bytes>, shared: Arc<Shared>) {
    let (head, body) = request.into_parts();
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    if shared.is(M::OnlyLocalhost) && authority != "localhost" {
        return reply.send_reset(h2::Reason::PROTOCOL_ERROR);
    }
    let Ok(mut output) = Output::new(reply) else { return };
    let (service, method) = head.uri.path().trim_start_matches('/').split_once('/').unwrap_or_default();
    if shared.refuses(&head.headers, method) {
        return output.end(16, "the token is another");
    }
    let encoding = head.headers.get("grpc-encoding").map_or(&b"identity"[..], |encoding| encoding.as_bytes());
    let gzip = encoding == b"gzip" && !shared.is(M::GzipIsNotUnderstood);
    if !gzip && encoding != b"identity" && !shared.is(M::AnyEncodingIsTaken) {
        return output.end(12, "the encoding is not understood");
    }
    let mut input = Input::new(body, gzip, shared.limit(), shared.is(M::FlagIsIgnored));
    if (service, method) == (SERVICE, "Execute") {
        if shared.state.borrow().ending != Ending::Not && !shared.is(M::NewStreamsAreTaken) {
            return output.end(14, "the worker is shutting down");
        }
        let seat = Seat::take(&shared);
        let expires = deadline(&head.headers).map(|deadline| Instant::now() + deadline);
        return Session::new(shared, input, output, expires).run(seat).await;
    }
    let question = match input.next().await {
        Arrival::Message(question, _) => question,
        Arrival::Refused(code, why) => return output.end(code, &why),
        Arrival::HalfClose => return output.end(13, "there is no message"),
        Arrival::Broken => return,
    };
    let answer = match (service, method) {
        (SERVICE, "Manage") => manage(&question, &shared).await,
        (HEALTH, "Check") if !shared.is(M::HealthIsNotThere) => health(&question, &shared),
        (service, "ServerReflectionInfo") if REFLECTION.contains(&service) => reflection(&question, &shared),
        _ if shared.is(M::UnknownMethodIsInternal) => Err(13),
        _ => Err(12),
    };
    match answer {
        Ok(answer) => {
            output.push(&answer, false);
            if output.pump().await {
                output.end(0, "");
            }
        }
        Err(code) => output.end(code, ""),
    }
}

fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

async fn manage(question: &[u8], shared: &Shared) -> Result<Vec<u8>, u32> {
    use wire::worker_request::Manage as Asked;
    use wire::worker_response::Manage;

    let garbage: u32 = if shared.is(M::GarbageIsAWrongArgument) { 3 } else { 13 };
    let question = wire::WorkerRequest::decode(question).map_err(|_| garbage)?;
    let ending = shared.state.borrow().ending;
    if shared.is(M::ManageGoesDown) && ending != Ending::Not {
        return Err(14);
    }
    let asked = match question.manage {
        None if shared.is(M::EmptyManageIsAHeartbeat) => Asked::Heartbeat(wire::Heartbeat {}),
        asked => asked.ok_or(3_u32)?,
    };
    let answer = match asked {
        Asked::Heartbeat(_) if shared.is(M::HeartbeatIsAnsweredByShutdown) => {
            Manage::Shutdown(wire::ShutdownResponse { sessions_settled: false })
        }
        Asked::Heartbeat(_) => {
            let waits = |mutation, count: &std::sync::atomic::AtomicU64| shared.is(mutation) && count.load(Relaxed) > 0;
            while waits(M::HeartbeatWaitsForCalls, &shared.counts.calling)
                || waits(M::HeartbeatWaitsForTheReader, &shared.counts.sending)
            {
                sleep(Duration::from_millis(5)).await;
            }
            Manage::Heartbeat(wire::HeartbeatResponse { metrics: metrics::of_the_worker(shared) })
        }
        Asked::Shutdown(shutdown) => {
            let settled = shared.shut_down(shutdown.cancel_sessions()).await;
            Manage::Shutdown(wire::ShutdownResponse { sessions_settled: settled })
        }
    };
    Ok(wire::WorkerResponse { manage: Some(answer) }.encode_to_vec())
}

/// HealthCheckRequest has one field, the name of a service; HealthCheckResponse one, its status.
fn health(mut question: &[u8], shared: &Shared) -> Result<Vec<u8>, u32> {
    let mut service = String::new();
    while !question.is_empty() {
        let (tag, kind) = decode_key(&mut question).map_err(|_| 13_u32)?;
        match tag {
            1 => string::merge(kind, &mut service, &mut question, DecodeContext::default()),
            _ => skip_field(kind, tag, &mut question, DecodeContext::default()),
        }
        .map_err(|_| 13_u32)?;
    }
    let serves = shared.state.borrow().ending == Ending::Not || shared.is(M::HealthAlwaysServes);
    match &service[..] {
        "" | SERVICE => Ok(vec![0x08, if serves { 1 } else { 2 }]),
        _ => Err(5),
    }
}

/// ServerReflectionResponse { list_services_response (6): { service (1): { name (1) } … } }, the one question that is
/// answered here.
fn reflection(question: &[u8], shared: &Shared) -> Result<Vec<u8>, u32> {
    if !question.windows(2).any(|key| key[0] == 7 << 3 | 2) {
        return Err(12);
    }
    let field = |tag, bytes: &[u8]| {
        let mut whole = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut whole);
        encode_varint(bytes.len() as u64, &mut whole);
        whole.extend_from_slice(bytes);
        whole
    };
    let names = [SERVICE, HEALTH, REFLECTION[0], REFLECTION[1]];
    let names = &names[usize::from(shared.is(M::ReflectionForgetsTheProtocol))..];
    let services: Vec<_> = names.iter().flat_map(|name| field(1, &field(1, name.as_bytes()))).collect();
    Ok(field(6, &services))
}
