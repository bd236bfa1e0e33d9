//! Checks on writing to the key tables: [`admission`] of keys, their deletion with their issuer
//! ([`cascade`]), keys that stay out ([`withdrawn`]), the order of writers ([`lock`]), and
//! the difference between two key sets ([`changes`]).

pub mod admission;
mod cascade;
pub mod changes;
pub mod errors;
pub mod lock;
pub mod withdrawn;
