//! Checks on writing to the key tables: [`admission`] of keys, their deletion with their issuer
//! ([`cascade`]), keys that stay out ([`withdrawn`]), tokens that do ([`revoked`]), the order of writers ([`lock`]), the row that
//! has the rules ([`issuer`]), and the difference between two key sets ([`changes`]).

pub mod admission;
mod cascade;
pub mod changes;
pub mod errors;
pub mod issuer;
pub mod lock;
mod revoked;
pub mod withdrawn;
