//! `AnyAuthority` between the bytes of clients that gRPC knows and the `http` crate refuses, and h2's server (P8).

mod layer;
mod server;
mod wire;
