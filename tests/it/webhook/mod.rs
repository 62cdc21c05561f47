//! The webhook, in conversation with an API server in memory: what is asked of it, and what it asks.

mod admission;
mod api_server;
mod hostile;
mod keyring;
mod noise;
mod reads;
mod reviews;
mod tls;

pub use api_server::{Webhook, follow_key};
