//! Functions that never return (C11, D11).

use std::time::Duration;

use anyudf_engine::ErrorKind;
use tokio::task::JoinSet;

use crate::support::*;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_millis(200);

/// D11, C11: a caller whose function hangs has its error while the function still hangs; its fifteen neighbours in the same
/// worker lose nothing; the worker takes no new sessions, and is ended when they have finished.
#[tokio::test]
async fn d11_c11_a_hung_function_harms_no_neighbour() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::from_millis(20);
    });
    let mut neighbours = Vec::new();
    for _ in 0..15 {
        neighbours.push(dispatcher.open(echo()).await.expect("it opens"));
    }
    let hung = dispatcher.open(odd_one("hang process").with_call_timeout(DEADLINE)).await.expect("it opens");
    assert_eq!(stats(&dispatcher).await.workers.len(), 1, "they share a worker");
    let afflicted = pid(&dispatcher).await;

    let error = soon("its error", echoed(hung, "a batch")).await.expect_err("it hangs");
    assert_eq!((error.kind(), error.condition()), (ErrorKind::User, "CALL_TIMEOUT"));
    let text = error.to_string();
    assert!(text.contains("`hang process` did not return from process, batch 1 within 200 ms"), "{text}");
    // It hangs still: its worker lives, and is not given to anybody any more.
    assert!(std::path::Path::new(&format!("/proc/{afflicted}")).exists());
    serves(&dispatcher).await;
    assert_ne!(pid(&dispatcher).await, afflicted, "it takes no new sessions");
    assert!(std::path::Path::new(&format!("/proc/{afflicted}")).exists(), "its neighbours are waited for");

    let mut finishing = JoinSet::new();
    for session in neighbours {
        finishing.spawn(async move {
            let (mut input, mut output) = session.split();
            for number in 0..100 {
                input.send([number.to_string().into()]).await?;
                assert_eq!(output.next().await?.as_deref(), Some(number.to_string().as_bytes()));
            }
            input.finish().await?;
            assert_eq!(output.next().await?, None);
            output.close().await
        });
    }
    for finished in soon("the neighbours finish", finishing.join_all()).await {
        finished.expect("unharmed");
    }
    eventually(&dispatcher, "the worker is ended", |now| {
        now.workers.iter().all(|worker| worker.pid != Some(afflicted))
    })
    .await;
    close(dispatcher, &base).await;
}

/// C11, D11: in whatever phase it hangs, the caller is told, and the next session has another worker.
#[tokio::test]
async fn c11_d11_hanging_in_every_phase() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::from_millis(20);
    });
    for (what, phase) in [("hang open", "open"), ("hang process", "process, batch 1"), ("hang finish", "finish")] {
        let run = async {
            let session = dispatcher.open(odd_one(what).with_call_timeout(DEADLINE)).await?;
            echoed(session, "a batch").await
        };
        let error = soon("its error", run).await.expect_err("it hangs");
        assert_eq!((error.kind(), error.condition()), (ErrorKind::User, "CALL_TIMEOUT"), "{what}: {error}");
        assert!(error.to_string().contains(&format!("did not return from {phase}")), "{error}");
        serves(&dispatcher).await;
    }
    let session = dispatcher.open(odd_one("hang cancel").with_call_timeout(DEADLINE)).await.expect("it opens");
    let ended = soon("its end", session.close()).await;
    assert!(ended.to_string().starts_with("cancelled"), "{ended}");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}

/// D11: the session that hangs says so itself, whichever message carries it: no heartbeat is needed to keep the next one out
/// of its worker.
#[tokio::test]
async fn d11_a_hung_call_is_known_by_its_error() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::MAX;
        config.pool.check_after = Duration::MAX;
    });
    for what in ["hang open", "hang process", "hang finish", "hang cancel", "hang cancel after an error"] {
        serves(&dispatcher).await;
        let afflicted = pid(&dispatcher).await;
        // One that stays keeps the worker from being ended.
        let neighbour = dispatcher.open(echo()).await.expect("it opens");
        match dispatcher.open(odd_one(what).with_call_timeout(DEADLINE)).await {
            Ok(session) if what == "hang cancel" => drop(soon("its end", session.close()).await),
            Ok(session) => {
                let control = session.control();
                soon("its error", echoed(session, "a batch")).await.expect_err("it fails");
                soon("its end", control.ended()).await;
            }
            Err(error) => assert_eq!(error.condition(), "CALL_TIMEOUT", "{what}: {error}"),
        }
        serves(&dispatcher).await;
        assert_ne!(pid(&dispatcher).await, afflicted, "{what}");
        assert_eq!(echoed(neighbour, "unharmed").await.expect("it echoes"), "unharmed");
    }
    close(dispatcher, &base).await;
}

/// D11: a neighbour that does not finish within the bound is ended with the worker, and told why.
#[tokio::test]
async fn d11_the_bound_for_neighbours() {
    let (dispatcher, base) = dispatcher(&specification(), |config| {
        config.pool.heartbeat_interval = Duration::from_millis(20);
        config.pool.drain_timeout = Duration::from_millis(100);
    });
    let neighbour = dispatcher.open(echo()).await.expect("it opens");
    let hung = dispatcher.open(odd_one("hang process").with_call_timeout(DEADLINE)).await.expect("it opens");
    soon("its error", echoed(hung, "a batch")).await.expect_err("it hangs");
    let ended = soon("the neighbour's end", neighbour.control().ended()).await;
    assert!(ended.to_string().contains("a call of another session in it hangs"), "{ended}");
    serves(&dispatcher).await;
    close(dispatcher, &base).await;
}
