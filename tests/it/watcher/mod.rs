//! The watcher, unmodified, in conversation with an API server in memory, on a clock that jumps.

mod arrival;
mod change;
mod cron_jobs;
pub mod csi;
mod faults;
mod fights;
mod jobs;
mod kinds;
mod labels;
mod leadership;
mod logs;
mod metrics;
mod order;
mod scope;
mod settings;
mod simulation;
mod world;

pub use world::{
    HOME, SHOP, World, config_map, deployment, installation_key, name, next_image, secret, until,
};
