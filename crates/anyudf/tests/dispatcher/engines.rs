//! Engines that end badly, and several at once (D3, D5).

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyudf_engine::{Dispatcher, DispatcherConfig, Transport};
use rustix::process::Signal;

use crate::support::*;

/// Where an engine that is started as a process has its sockets.
const BASE: &str = "TEST_DISPATCHER_BASE";

/// Set when its workers listen on a port.
const OVER_TCP: &str = "TEST_DISPATCHER_OVER_TCP";

/// What the process does that is an engine: holds a session, says which process serves it, and waits to be killed.
pub(crate) fn engine() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = DispatcherConfig::default();
        config.worker.launch.socket_base = env::var_os(BASE).map(Into::into);
        let specification = match env::var_os(OVER_TCP) {
            // It does not look after its parent (P4).
            Some(_) => behind(r#""$0" "$@" & sleep 600"#).with_transport(Transport::Tcp),
            None => specification(),
        };
        let dispatcher = Dispatcher::new(&specification, config).expect("the specification is good");
        let session = dispatcher.open(echo()).await.expect("it opens");
        println!("\nserved by {}", pid(&dispatcher).await);
        std::future::pending::<()>().await;
        drop(session);
    });
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// D3, D5, P4: of an engine that was killed no process, socket or directory is left after a few seconds, also while another
/// engine in the same place goes on undisturbed.
#[tokio::test]
async fn d3_d5_p4_nothing_survives_a_killed_engine() {
    let (dispatcher, base) = dispatcher(&specification(), |_| {});
    let session = dispatcher.open(echo()).await.expect("it opens");
    let mut child = process("engine").env(BASE, base.path()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut words = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("served by ")?.parse().ok());
    let worker: u32 = words.next().expect("it says so");
    let directories = || std::fs::read_dir(base.path()).expect("it is there").count();
    assert!(exists(worker) && directories() == 2);

    signal(child.id(), Signal::KILL);
    child.wait().expect("it is ours");
    soon("all is gone", async {
        while exists(worker) || directories() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(echoed(session, "undisturbed").await.expect("it echoes"), "undisturbed");
    close(dispatcher, &base).await;
}

/// D3, D5: the same of workers that have no socket in the directory, and of programs that do not look after their parent.
#[tokio::test]
async fn d3_d5_no_worker_on_a_port_survives_a_killed_engine() {
    let base = tempfile::tempdir().expect("a directory");
    let mut child = process("engine");
    child.env(BASE, base.path()).env(OVER_TCP, "yes").stdout(Stdio::piped());
    let mut child = child.spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut words = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("served by ")?.parse().ok());
    let worker: u32 = words.next().expect("it says so");
    assert!(exists(worker));
    signal(child.id(), Signal::KILL);
    child.wait().expect("it is ours");
    soon("all is gone", async {
        while exists(worker) || std::fs::read_dir(base.path()).expect("it is there").count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
