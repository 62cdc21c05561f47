//! What the tests stand on.

pub mod audit;
pub mod deploys;
pub mod detour;
pub mod ground;
pub mod image;
pub mod memory;
pub mod recorder;
pub mod replica;
pub mod rollouts;
pub mod shop;
pub mod wait;
pub mod webhook;
pub mod workload;

pub use ground::Ground;
pub use shop::Shop;
