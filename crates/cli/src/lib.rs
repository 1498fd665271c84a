//! The commands behind the binary `anyudf`.
mod bench;
mod failure;
mod interrupt;
mod io;
mod start;
mod units;
use clap::Parser;
#[derive(Parser)]
enum A { Bench(bench::BenchArguments), #[command(name = bench::PEER, hide = true)] Peer(bench::PeerArguments) }
/// x
pub fn main() -> std::process::ExitCode {
    let r = match A::parse() { A::Bench(b) => bench::bench(b), A::Peer(p) => bench::peer(&p) };
    match r { Ok(()) => std::process::ExitCode::SUCCESS, Err(f) => f.report() }
}
