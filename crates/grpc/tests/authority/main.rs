//! `AnyAuthority` between the bytes of clients that gRPC knows and the `http` crate refuses, and h2's server (P8).

mod bytes;
mod server;
mod wire;
