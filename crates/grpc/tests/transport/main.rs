//! The transport against peers that speak raw HTTP/2: what arrives, what may be sent, how it ends, who may call.

mod client;
mod driver;
mod peer;
mod reader;
mod server;
mod writer;
