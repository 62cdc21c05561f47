//! Alerts: what people in a chat are told about restarts, over HTTP.
//!
//! ```text
//!  watcher -> Alerts -> queue -> Courier -> Receiver: one try -> Slack, Teams, Google Chat, ...
//!            (never waits)      (one task: tries again)
//! ```
//!
//! Beside the work and never in its way: whoever restarts workloads hands a text over and goes on. What
//! does not fit into the queue is dropped, and what cannot be delivered is given up; both are counted.

mod config;
mod courier;
mod payload;
mod receiver;

pub use config::{Address, Config, ConfigError, Sink, VARIABLES};
pub use courier::{Alerts, Courier, QUEUE, TRIES, queue};
pub use receiver::{Pauses, Receiver, ReceiverError};
