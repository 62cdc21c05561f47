//! What the tests stand on.

pub mod audit;
pub mod ground;
pub mod shop;
pub mod wait;

pub use ground::Ground;
pub use shop::Shop;
